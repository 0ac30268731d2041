import { describe, expect, it } from "vitest";
import { createStore } from "./machine.ts";

describe("transactions", () => {
	it("see the store as it was, and their own changes", () => {
		const client = createStore().client(0);
		client.ask("write", "/a|1");
		const id = client.begin();
		client.ask("write", "/b|1", id);
		client.ask("write", "/a|2");
		expect(client.ask("read", "/a|", id)).toBe("1");
		expect(client.ask("read", "/b|", id)).toBe("1");
		expect(client.ask("read", "/b|")).toBe("!ENOENT");
		expect(client.ask("transactionStart", "|", id)).toBe("!EBUSY");
		expect(client.ask("transactionEnd", "X|", id)).toBe("!EINVAL");
		expect(client.ask("transactionEnd", "F|", id)).toBe("OK|");
		expect(client.ask("transactionEnd", "F|", id)).toBe("!ENOENT");
		expect(client.ask("transactionEnd", "F|")).toBe("!ENOENT");
		expect(client.ask("read", "/b|")).toBe("!ENOENT");
	});

	/** What happens beside a transaction that has read or written: whether it can still be committed. */
	const cases: readonly [string, readonly [string, string], readonly [string, string], string][] = [
		["two nodes of one parent are written", ["write", "/d/a|1"], ["write", "/d/b|1"], "OK|"],
		["two nodes of one parent are created", ["mkdir", "/d/x|"], ["mkdir", "/d/y|"], "OK|"],
		["the same node is created", ["mkdir", "/d/x|"], ["mkdir", "/d/x|"], "!EAGAIN"],
		["a parent is written whose child is", ["write", "/d/a|1"], ["write", "/d|1"], "OK|"],
		["what was read is written", ["read", "/d/a|"], ["write", "/d/a|2"], "!EAGAIN"],
		["below what was read something is written", ["read", "/d|"], ["write", "/d/a|2"], "OK|"],
		["what was missed is created", ["read", "/d/x|"], ["write", "/d/x|1"], "!EAGAIN"],
		["a listed directory gets a child", ["directory", "/d|"], ["mkdir", "/d/x|"], "!EAGAIN"],
		["a listed directory's child is written", ["directory", "/d|"], ["write", "/d/a|2"], "OK|"],
		["a removed tree is changed", ["rm", "/d|"], ["write", "/d/a|2"], "!EAGAIN"],
		["a written node's parent is removed", ["write", "/d/a|2"], ["rm", "/d|"], "!EAGAIN"],
		["a new node's parent gets other permissions", ["mkdir", "/d/x|"], ["setPerms", "/d|n0|r5|"], "!EAGAIN"],
		["a read node gets other permissions", ["read", "/d/a|"], ["setPerms", "/d/a|n0|r5|"], "!EAGAIN"],
		["elsewhere a tree is removed", ["write", "/d/a|2"], ["rm", "/e|"], "OK|"],
	];
	for (const [name, inside, outside, outcome] of cases) {
		it(`end with ${outcome.replace("|", "")} where ${name}`, () => {
			const client = createStore().client(0);
			for (const path of ["/d/a", "/d/b", "/e/f"]) client.ask("write", `${path}|0`);
			const id = client.begin();
			client.ask(inside[0] as "read", inside[1], id);
			client.ask("write", "/other|1", id);
			expect(client.ask(outside[0] as "read", outside[1])).toBe("OK|");
			expect(client.ask("transactionEnd", "T|", id)).toBe(outcome);
			expect(client.ask("read", "/other|")).toBe(outcome === "OK|" ? "1" : "!ENOENT");
		});
	}

	it("merge with what others have committed", () => {
		const { client, store, server } = createStore();
		const tools = client(0);
		store.write("/d/a", "0");
		const [first, second] = [tools.begin(), tools.begin()];
		tools.ask("write", "/d/x/y|1", first);
		tools.ask("write", "/d/a|1", second);
		tools.ask("rm", "/d/a|", second);
		tools.ask("write", "/d/a/new|2", second);
		const before = server.store.entriesOf(0);
		expect(tools.ask("transactionEnd", "T|", first)).toBe("OK|");
		expect(tools.ask("transactionEnd", "T|", second)).toBe("OK|");
		expect([store.read("/d/x/y"), store.read("/d/a"), store.read("/d/a/new")]).toEqual(["1", "", "2"]);
		expect(server.store.entriesOf(0)).toBe(before + 3);
	});

	it("count against the quota when they end", () => {
		const { client, server } = createStore({ entries: 5 });
		const guest = client(5);
		const room = 5 - server.store.entriesOf(5);
		const ids = [guest.begin(), guest.begin()];
		for (const [index, id] of ids.entries()) {
			for (let count = 0; count < room - 1; count++) guest.ask("mkdir", `t${index}-${count}|`, id);
		}
		expect(guest.ask("transactionEnd", "T|", ids[0] as number)).toBe("OK|");
		expect(guest.ask("transactionEnd", "T|", ids[1] as number)).toBe("!ENOSPC");
		expect(server.store.entriesOf(5)).toBe(4);
	});

	it("of the program are made at once, or not at all", () => {
		const { store } = createStore();
		const seen: unknown[] = [];
		store.watch("/a", () => seen.push([store.read("/a/b"), store.read("/a/c")]));
		seen.length = 0;
		store.transaction((inside) => {
			inside.write("/a/b", "1");
			inside.write("/a/c", "2");
		});
		expect(seen).toEqual([
			["1", "2"],
			["1", "2"],
		]);
		const fails = (): void =>
			store.transaction((inside) => {
				inside.write("/a/b", "3");
				throw new Error("no");
			});
		expect(fails).toThrow("no");
		expect(store.read("/a/b")).toBe("1");
	});
});
