import { describe, expect, it } from "vitest";
import { createStore } from "./machine.ts";

describe("reading and writing", () => {
	it("keeps values, creates parents, lists children in the order of their creation", () => {
		const client = createStore().client(0);
		expect(client.ask("write", "/a/b/c|value")).toBe("OK|");
		expect(client.ask("write", "/a/z|")).toBe("OK|");
		expect(client.ask("mkdir", "/a/d|")).toBe("OK|");
		expect(client.ask("read", "/a/b/c|")).toBe("value");
		expect(client.ask("read", "/a/b|")).toBe("");
		expect(client.ask("directory", "/a|")).toBe("b|z|d|");
		expect(client.ask("directory", "/a/d|")).toBe("");
		expect(client.ask("write", "/a/b/c|1\0|2")).toBe("OK|");
		expect(client.ask("read", "/a/b/c|")).toBe("1||2");
		expect(client.ask("mkdir", "/a/b/c|")).toBe("OK|");
		expect(client.ask("read", "/a/b/c|")).toBe("1||2");
	});

	it("removes nodes with all below them", () => {
		const { client: connect, server } = createStore();
		const client = connect(0);
		client.ask("write", "/a/b/c|1");
		const before = server.store.entriesOf(0);
		expect(client.ask("rm", "/a/b|")).toBe("OK|");
		expect(server.store.entriesOf(0)).toBe(before - 2);
		expect(client.ask("read", "/a/b/c|")).toBe("!ENOENT");
		expect(client.ask("rm", "/a/b|")).toBe("OK|");
		expect(client.ask("rm", "/a/b/c|")).toBe("!ENOENT");
		expect(client.ask("rm", "/|")).toBe("!EINVAL");
	});

	it("refuses what is no path", () => {
		const client = createStore().client(0);
		const long = `/${"a".repeat(3072)}`;
		for (const path of ["", "a", "/a/", "//", "/a//b", "/a b", "/é", "/a\x01", "@a", long]) {
			expect([path, client.ask("write", `${path}|1`)]).toEqual([path, "!EINVAL"]);
			expect([path, client.ask("read", `${path}|`)]).toEqual([path, "!EINVAL"]);
		}
		expect(client.ask("write", `${long.slice(0, -1)}|1`)).toBe("OK|");
	});

	it("refuses payloads that are not what a request has", () => {
		const client = createStore().client(0);
		client.ask("write", "/a|1");
		expect(client.ask("read", "/a")).toBe("!EINVAL");
		expect(client.ask("read", "/a|/a|")).toBe("!EINVAL");
		expect(client.ask("read", "")).toBe("!EINVAL");
		expect(client.ask("write", "/a")).toBe("!EINVAL");
		expect(client.ask("setPerms", "/a|")).toBe("!EINVAL");
		expect(client.ask("setPerms", "/a|x1|")).toBe("!EINVAL");
		expect(client.ask("setPerms", "/a|r99999|")).toBe("!ENOENT");
		expect(client.ask("watch", "/a|")).toBe("!EINVAL");
		expect(client.ask("directoryPart", "/a|")).toBe("!EINVAL");
		expect(client.ask("introduce", "1|2|")).toBe("!EINVAL");
		for (const type of [15, 16, 20, 23, 0xffff, 0xffff_ffff]) expect(client.ask(type, "/a|")).toBe("!ENOSYS");
		expect(client.ask("read", "/a|", 77)).toBe("!ENOENT");
	});

	it("takes relative paths of domains only", () => {
		const { client, store } = createStore();
		const guest = client(5);
		expect(guest.ask("write", "data/x|1")).toBe("OK|");
		expect(store.read("/local/domain/5/data/x")).toBe("1");
		expect(guest.ask("read", "/local/domain/5/data/x|")).toBe("1");
		expect(guest.ask("write", `data/${"x".repeat(2044)}|1`)).toBe("!EINVAL");
	});

	it("answers lists that are longer than a message by parts", () => {
		const client = createStore().client(0);
		const names = Array.from({ length: 700 }, (_, index) => `node-number-${index}`);
		for (const name of names) client.ask("mkdir", `/many/${name}|`);
		expect(client.ask("directory", "/many|")).toBe("!E2BIG");
		let list = "";
		for (let part = ""; !part.endsWith("||"); list += part) {
			const answer = client.ask("directoryPart", `/many|${list.length}|`);
			expect(answer.length).toBeLessThanOrEqual(4096);
			part = answer.slice(answer.indexOf("|") + 1);
		}
		expect(list.slice(0, -2).split("|")).toEqual(names);
		const generation = client.ask("directoryPart", "/many|0|").split("|")[0];
		expect(client.ask("directoryPart", "/many|99999|")).toBe(`${generation}||`);
		client.ask("write", "/many/node-number-1/below|1");
		expect(client.ask("directoryPart", "/many|0|").split("|")[0]).toBe(generation);
		client.ask("rm", "/many/node-number-1|");
		expect(client.ask("directoryPart", "/many|0|").split("|")[0]).not.toBe(generation);
		client.ask("mkdir", "/none|");
		expect(client.ask("directoryPart", "/none|0|")).toMatch(/^\d+\|\|$/);
	});
});

describe("permissions", () => {
	it("lets a domain do what the list says", () => {
		const { client, store } = createStore();
		const guest = client(5);
		client(6);
		store.write("/shared", "1");
		for (const [permissions, read, write] of [
			[["n0"], "!EACCES", "!EACCES"],
			[["n0", "r5"], "1", "!EACCES"],
			[["n0", "w5"], "!EACCES", "OK|"],
			[["n0", "b5"], "1", "OK|"],
			[["r0"], "1", "!EACCES"],
			[["b0", "n5"], "!EACCES", "!EACCES"],
			[["n5"], "1", "OK|"],
			[["n0", "r6", "n5", "b5"], "!EACCES", "!EACCES"],
		] as const) {
			store.setPermissions("/shared", permissions);
			expect([permissions, guest.ask("read", "/shared|")]).toEqual([permissions, read]);
			expect([permissions, guest.ask("write", "/shared|1")]).toEqual([permissions, write]);
		}
	});

	it("tells of a missing node only where the nearest one above may be read", () => {
		const { client, store } = createStore();
		const guest = client(5);
		store.write("/private", "");
		expect(guest.ask("read", "/private/a/b|")).toBe("!EACCES");
		store.setPermissions("/private", ["n0", "r5"]);
		expect(guest.ask("read", "/private/a/b|")).toBe("!ENOENT");
		expect(guest.ask("write", "/private/a/b|")).toBe("!EACCES");
	});

	it("gives a domain what it creates, with its parent's list", () => {
		const { client, store } = createStore();
		const guest = client(5);
		store.write("/shared", "");
		store.setPermissions("/shared", ["n0", "b5", "r6"]);
		expect(guest.ask("mkdir", "/shared/a/b|")).toBe("OK|");
		expect(store.permissions("/shared/a")).toEqual(["n5", "b5", "r6"]);
		expect(store.permissions("/shared/a/b")).toEqual(["n5", "b5", "r6"]);
		store.write("/shared/a/c", "");
		expect(store.permissions("/shared/a/c")).toEqual(["n5", "b5", "r6"]);
	});

	it("lets the owner change the list, but not the owner", () => {
		const { client, store } = createStore();
		const guest = client(5);
		guest.ask("write", "a|1");
		expect(guest.ask("setPerms", "a|n5|r0|")).toBe("OK|");
		expect(guest.ask("getPerms", "a|")).toBe("n5|r0|");
		expect(guest.ask("setPerms", "a|n0|b5|")).toBe("!EPERM");
		store.write("/shared", "");
		store.setPermissions("/shared", ["n0", "b5"]);
		expect(guest.ask("setPerms", "/shared|b5|")).toBe("!EACCES");
		expect(guest.ask("setPerms", "nothing|n5|")).toBe("!ENOENT");
		expect(guest.ask("setPerms", "a|n7|")).toBe("!ENOENT");
	});

	it("gives a device model the rights of its target", () => {
		const { client } = createStore();
		const [tools, model, target] = [client(0), client(5), client(6)];
		target.ask("write", "a|1");
		expect(model.ask("read", "/local/domain/6/a|")).toBe("!EACCES");
		expect(model.ask("setTarget", "5|6|")).toBe("!EACCES");
		expect(tools.ask("setTarget", "5|7|")).toBe("!ENOENT");
		expect(tools.ask("setTarget", "5|6|")).toBe("OK|");
		expect(model.ask("read", "/local/domain/6/a|")).toBe("1");
		expect(target.ask("read", "/local/domain/5|")).toBe("!EACCES");
		tools.ask("release", "6|");
		client(6).ask("write", "a|2");
		expect(model.ask("read", "/local/domain/6/a|")).toBe("!EACCES");
	});

	it("keeps what only domain 0 may ask", () => {
		const guest = createStore().client(5);
		expect(guest.ask("introduce", "5|1|1|")).toBe("!EACCES");
		expect(guest.ask("release", "5|")).toBe("!EACCES");
		expect(guest.ask("resume", "5|")).toBe("!EACCES");
		expect(guest.ask("control", "help|")).toBe("!EACCES");
		expect(guest.ask("setPerms", "@releaseDomain|n0|r5|")).toBe("!EACCES");
		expect(guest.ask("getPerms", "@releaseDomain|")).toBe("!EINVAL");
		expect(guest.ask("getDomainPath", "7|")).toBe("/local/domain/7|");
		expect(guest.ask("isDomainIntroduced", "5|")).toBe("!EACCES");
	});
});

describe("quotas", () => {
	it("limits nodes, their size, watches, transactions and permissions of a domain, not of domain 0", () => {
		const { client, server } = createStore({ entries: 20, watches: 3, transactions: 2 });
		const [tools, guest] = [client(0), client(5)];
		const room = 20 - server.store.entriesOf(5);
		for (let index = 0; index < room; index++) expect(guest.ask("mkdir", `n${index}|`)).toBe("OK|");
		expect(guest.ask("mkdir", "more|")).toBe("!ENOSPC");
		expect(guest.ask("write", "n0|1")).toBe("OK|");
		expect(tools.ask("write", "/local/domain/5/more/and/more|1")).toBe("OK|");
		guest.ask("rm", "more|");
		guest.ask("rm", "n1|");
		expect(guest.ask("mkdir", "a/b|")).toBe("!ENOSPC");
		expect(guest.ask("directory", "|")).toBe("!EINVAL");
		expect(guest.ask("mkdir", "again|")).toBe("OK|");

		expect(guest.ask("write", `n0|${"x".repeat(2000)}`)).toBe("OK|");
		expect(guest.ask("write", `n0|${"x".repeat(2048)}`)).toBe("!ENOSPC");
		expect(tools.ask("write", `/big|${"x".repeat(4000)}`)).toBe("OK|");

		for (const token of ["1", "2", "3"]) expect(guest.ask("watch", `n0|${token}|`)).toBe("OK|");
		expect(guest.ask("watch", "n0|4|")).toBe("!E2BIG");
		guest.ask("unwatch", "n0|1|");
		expect(guest.ask("watch", "n0|4|")).toBe("OK|");

		guest.begin();
		guest.begin();
		expect(guest.ask("transactionStart", "|")).toBe("!ENOSPC");
		expect(guest.ask("setPerms", "n0|n5|r1|r2|r3|r4|r6|")).toBe("!ENOSPC");
	});

	it("bears trees of the greatest depth", () => {
		const { client, server } = createStore();
		const guest = client(5);
		const deep = "a/".repeat(900).slice(0, -1);
		const before = server.store.entriesOf(5);
		guest.ask("watch", `${deep}|t|`);
		for (let round = 0; round < 3; round++) {
			const id = guest.begin();
			expect(guest.ask("write", `${deep}|1`, id)).toBe("OK|");
			guest.ask("write", "other|1");
			expect(guest.ask("transactionEnd", "T|", id)).toBe("OK|");
			expect(server.store.entriesOf(5)).toBe(before + 901);
			expect(guest.ask("read", `${deep}|`)).toBe("1");
			guest.takeEvents();
			expect(guest.ask("rm", "a|")).toBe("OK|");
			expect(guest.takeEvents()).toEqual([`${deep}|t|`]);
			guest.ask("rm", "other|");
		}
		server.release(5);
		expect(server.store.entriesOf(5)).toBe(0);
	});

	it("limits what a transaction remembers", () => {
		const { client } = createStore({ transactionNodes: 10, transactionBytes: 3000 });
		const guest = client(5);
		const reads = guest.begin();
		const answers = Array.from({ length: 12 }, (_, index) => guest.ask("read", `none${index}|`, reads));
		expect(answers.filter((answer) => answer === "!ENOENT").length).toBe(9);
		expect(answers.at(-1)).toBe("!ENOSPC");
		const writes = guest.begin();
		expect(guest.ask("write", `a|${"x".repeat(1900)}`, writes)).toBe("OK|");
		expect(guest.ask("write", `a|${"x".repeat(1900)}`, writes)).toBe("!ENOSPC");
		expect(guest.ask("transactionEnd", "T|", writes)).toBe("OK|");
	});
});

describe("domains", () => {
	it("serves them between introduction and release, and tells of both", () => {
		const { client, store, server } = createStore();
		const tools = client(0);
		tools.ask("watch", "@introduceDomain|in|");
		tools.ask("watch", "@releaseDomain|out|");
		const guest = client(5);
		guest.ask("watch", "@releaseDomain|mine|");
		guest.ask("write", "a|1");
		client(6);
		store.write("/shared", "1");
		store.setPermissions("/shared", ["n0", "r5", "r6"]);
		store.write("/local/domain/6/of-5", "");
		store.setPermissions("/local/domain/6/of-5", ["n5"]);
		tools.takeEvents();
		server.domainShutDown(5);
		server.domainShutDown(5);
		expect(tools.takeEvents()).toEqual(["@releaseDomain|out|"]);
		expect(tools.ask("resume", "5|")).toBe("OK|");
		server.domainShutDown(5);
		expect(tools.ask("release", "5|")).toBe("OK|");
		expect(tools.takeEvents()).toEqual(["@releaseDomain|out|", "@releaseDomain|out|"]);
		expect(["0", "5", "6", "32752"].map((domid) => tools.ask("isDomainIntroduced", `${domid}|`))).toEqual([
			"T|",
			"F|",
			"T|",
			"T|",
		]);
		expect(tools.ask("release", "5|")).toBe("!ENOENT");
		expect(tools.ask("isDomainIntroduced", "5|")).toBe("F|");
		expect(store.read("/local/domain/5/a")).toBeUndefined();
		expect(store.read("/local/domain/6/of-5")).toBeUndefined();
		expect(store.permissions("/shared")).toEqual(["n0", "r6"]);
		expect(server.store.entriesOf(5)).toBe(0);
		expect(guest.events).toEqual(["@releaseDomain|mine|"]);
		client(5);
		expect(tools.takeEvents()).toEqual(["@introduceDomain|in|"]);
	});

	it("refuses to introduce what is not there", () => {
		const tools = createStore().client(0);
		expect(tools.ask("introduce", "9|1|1|")).toBe("!EINVAL");
		expect(tools.ask("introduce", "0|1|1|")).toBe("!EINVAL");
		expect(tools.ask("release", "9|")).toBe("!ENOENT");
		expect(tools.ask("release", "0|")).toBe("!EINVAL");
		expect(tools.ask("control", "help|")).toContain("print");
		expect(tools.ask("control", "nonsense|")).toBe("!EINVAL");
	});
});
