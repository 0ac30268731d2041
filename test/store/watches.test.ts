import { describe, expect, it } from "vitest";
import { createStore } from "./machine.ts";

describe("watches", () => {
	it("fire once when set, then for every change at and below, after the reply", () => {
		const client = createStore().client(0);
		client.ask("watch", "/a|token|");
		client.ask("write", "/a/b/c|1");
		client.ask("write", "/ab|1");
		client.ask("setPerms", "/a/b|n0|r5|");
		expect(client.ask("setPerms", "/a/b|n0|r0|")).toBe("OK|");
		client.ask("rm", "/a/b|");
		expect(client.log).toEqual([
			"watch OK|",
			"watchEvent /a|token|",
			"write OK|",
			"watchEvent /a/b/c|token|",
			"write OK|",
			"setPerms OK|",
			"watchEvent /a/b|token|",
			"setPerms OK|",
			"watchEvent /a/b|token|",
			"rm OK|",
			"watchEvent /a/b|token|",
		]);
	});

	it("fire for a removed parent with their own path, and not for what did not exist", () => {
		const client = createStore().client(0);
		client.ask("write", "/a/b/c/d|1");
		for (const path of ["/a/b/c", "/a/b/c/d", "/a/b/none", "/a", "/"]) client.ask("watch", `${path}|${path}|`);
		client.takeEvents();
		client.ask("rm", "/a/b|");
		expect(client.takeEvents()).toEqual(["/a/b/c/d|/a/b/c/d|", "/a/b/c|/a/b/c|", "/a/b|/a|", "/a/b|/|"]);
	});

	it("tell relative paths where they were asked for by such", () => {
		const { client, store } = createStore();
		const guest = client(5);
		guest.ask("watch", "device|r|");
		guest.ask("watch", "/local/domain/5/device|a|");
		store.write("/local/domain/5/device/vbd", "1");
		expect(guest.takeEvents()).toEqual([
			"device|r|",
			"/local/domain/5/device|a|",
			"device/vbd|r|",
			"/local/domain/5/device/vbd|a|",
		]);
		expect(guest.ask("unwatch", "/local/domain/5/device|r|")).toBe("OK|");
		store.write("/local/domain/5/device/vbd", "2");
		expect(guest.takeEvents()).toEqual(["/local/domain/5/device/vbd|a|"]);
	});

	it("are one for each path and token of a client", () => {
		const { client } = createStore();
		const [first, second] = [client(0), client(0)];
		expect(first.ask("watch", "/a|t|")).toBe("OK|");
		expect(first.ask("watch", "/a|t|")).toBe("!EEXIST");
		expect(second.ask("watch", "/a|t|")).toBe("OK|");
		expect(first.ask("unwatch", "/a|u|")).toBe("!ENOENT");
		expect(first.ask("unwatch", "/a|t|")).toBe("OK|");
		first.takeEvents();
		second.takeEvents();
		first.ask("write", "/a|1");
		expect([first.takeEvents(), second.takeEvents()]).toEqual([[], ["/a|t|"]]);
		expect(second.ask("resetWatches", "|")).toBe("OK|");
		first.ask("write", "/a|1");
		expect(second.takeEvents()).toEqual([]);
	});

	it("do not tell of what a domain may not read", () => {
		const { client, store } = createStore();
		const guest = client(5);
		guest.ask("watch", "/|t|");
		guest.takeEvents();
		store.write("/private/a", "1");
		expect(guest.takeEvents()).toEqual([]);
		store.setPermissions("/private/a", ["n0", "r5"]);
		store.write("/private/a", "2");
		expect(guest.takeEvents()).toEqual(["/private/a|t|", "/private/a|t|"]);
		store.setPermissions("/private/a", ["n0"]);
		expect(guest.takeEvents()).toEqual(["/private/a|t|"]);
		store.write("/private/a", "3");
		expect(guest.takeEvents()).toEqual([]);
		store.setPermissions("/private/a", ["n0", "r5"]);
		guest.takeEvents();
		store.remove("/private/a");
		expect(guest.takeEvents()).toEqual(["/private/a|t|"]);
	});

	it("tell of special events those who may read them", () => {
		const { client } = createStore();
		const [tools, guest] = [client(0), client(5)];
		guest.ask("watch", "@introduceDomain|t|");
		guest.takeEvents();
		client(6);
		expect(guest.takeEvents()).toEqual([]);
		expect(tools.ask("setPerms", "@introduceDomain|n0|r5|")).toBe("OK|");
		expect(tools.ask("getPerms", "@introduceDomain|")).toBe("n0|r5|");
		expect(tools.ask("setPerms", "@anything|n0|")).toBe("!EINVAL");
		client(7);
		expect(guest.takeEvents()).toEqual(["@introduceDomain|t|"]);
	});

	it("tell of a transaction's changes when it is committed, each once", () => {
		const client = createStore().client(0);
		client.ask("watch", "/|t|");
		client.takeEvents();
		const aborted = client.begin();
		client.ask("write", "/x|1", aborted);
		client.ask("transactionEnd", "F|", aborted);
		const id = client.begin();
		client.ask("write", "/b|1", id);
		client.ask("write", "/a|1", id);
		client.ask("write", "/b|2", id);
		expect(client.takeEvents()).toEqual([]);
		expect(client.ask("transactionEnd", "T|", id)).toBe("OK|");
		expect(client.takeEvents()).toEqual(["/b|t|", "/a|t|"]);
	});

	it("do not wait twice for a client that does not look", () => {
		const { client, store } = createStore();
		const guest = client(5);
		guest.ask("watch", "a|t|");
		guest.takeEvents();
		const { flush } = guest;
		guest.flush = () => {};
		for (let count = 0; count < 1000; count++) store.write("/local/domain/5/a", `${count}`);
		guest.flush = flush;
		guest.flush();
		expect(guest.takeEvents()).toEqual(["a|t|"]);
	});

	it("are lost beyond what may wait for a domain", () => {
		const { client, store } = createStore({ pendingBytes: 10_000 });
		const guest = client(5);
		guest.ask("watch", "a|t|");
		guest.takeEvents();
		guest.flush = () => {};
		for (let count = 0; count < 1000; count++) store.write(`/local/domain/5/a/${count}`, "");
		let bytes = 0;
		for (let piece = guest.connection.peek(); piece !== undefined; piece = guest.connection.peek()) {
			bytes += piece.length;
			guest.connection.advance(piece.length);
		}
		expect(bytes).toBeGreaterThan(1000);
		expect(bytes).toBeLessThan(10_000);
	});

	it("call back in this program, once the change is complete", () => {
		const { store, log } = createStore();
		const seen: string[] = [];
		const stop = store.watch("/a", (path) => {
			seen.push(`${path}=${store.read("/a/b")}`);
			if (store.read("/a/b") === "1") store.write("/a/b", "2");
		});
		store.transaction((inside) => {
			inside.write("/a/b", "1");
			inside.write("/a/c", "1");
		});
		expect(seen).toEqual(["/a=undefined", "/a/b=1", "/a/c=2", "/a/b=2"]);
		stop();
		store.write("/a/b", "3");
		expect(seen.length).toBe(4);
		store.watch("/a", () => {
			throw new Error("oops");
		});
		expect(log.join()).toContain("oops");
	});
});
