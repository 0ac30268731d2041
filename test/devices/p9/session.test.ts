import { execFileSync } from "node:child_process";
import {
	chmodSync,
	existsSync,
	lstatSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MalformedMessage } from "../../../src/devices/p9/codec.ts";
import { LockTable } from "../../../src/devices/p9/locks.ts";
import { Message, NO_FID } from "../../../src/devices/p9/protocol.ts";
import { openNodeFolder } from "../../../src/platform/node/folder.ts";
import { Client, type ClientOptions, encode, u8, u16, u32, u64 } from "./client.ts";

/** A folder with a secret beside it, which no test may reach. */
let base: string;
let shared: string;
const clients: Client[] = [];

beforeEach(() => {
	base = mkdtempSync(join(tmpdir(), "paravirt-p9-"));
	shared = join(base, "shared");
	mkdirSync(join(shared, "sub/deep"), { recursive: true });
	mkdirSync(join(base, "outside"));
	writeFileSync(join(base, "outside/secret"), "secret");
	writeFileSync(join(shared, "file"), "contents");
	writeFileSync(join(shared, "sub/inner"), "inner");
});
afterEach(async () => {
	for (const client of clients.splice(0)) {
		await client.session.end();
		client.folder.close();
	}
	// Guests make paths that are longer than Node.js can remove.
	execFileSync("rm", ["-rf", base]);
});

function connect(options: ClientOptions = {}, path = shared): Client {
	const client = new Client(openNodeFolder(path, true), options);
	clients.push(client);
	return client;
}

const openHandles = (): number => readdirSync("/proc/self/fd").length;

describe("a session", () => {
	it("agrees on a version and the size of messages, and begins with that", async () => {
		const client = connect();
		const version = (size: number, name: string): [number, string] => {
			const reply = client.send("version", u32(size), name);
			return [reply.u32(), reply.string()];
		};
		expect(version(2 ** 31, "9P2000.L")).toEqual([65536, "9P2000.L"]);
		expect(version(8192, "9P2000.L")).toEqual([8192, "9P2000.L"]);
		expect(client.error("getattr", u32(0), u64(0))).toBe("EBADF");
		expect(client.error("version", u32(100), "9P2000.L")).toBe("EMSGSIZE");
		expect(version(8192, "9P2000.u")).toEqual([8192, "unknown"]);
		await expect(client.raw(encode(Message.clunk, 1, [u32(0)]))).rejects.toThrow(MalformedMessage);
	});

	it("walks, step by step, as far as there is something", () => {
		const client = connect();
		const steps = (...names: string[]): number | string => {
			const answer = client.ask("walk", u32(0), u32(90), u16(names.length), ...names);
			if (typeof answer === "string") return answer;
			const count = answer.u16();
			if (count === names.length) client.send("clunk", u32(90));
			return count;
		};
		expect(steps()).toBe(0);
		expect(steps("sub", "deep")).toBe(2);
		expect(steps("sub", "nothing", "deep")).toBe(1);
		expect(steps("nothing")).toBe("ENOENT");
		expect(steps("file", "x")).toBe(1);
		expect(steps("sub", "..", "file")).toBe(3);
		expect(steps("sub", "..", "..", "..", "outside")).toBe(4);
		expect(steps("..", "..", "sub", "deep", "..", "inner")).toBe(6);
		for (const name of ["", ".", "a/b", "sub/deep", "/etc", "x\0y"]) expect(steps(name)).toBe("ENOENT");
		expect(steps(...Array.from({ length: 17 }, () => ".."))).toBe("EINVAL");
	});

	it("creates, writes, reads, renames, links and removes", () => {
		const client = connect();
		client.create("sub", "new", "hello");
		expect(readFileSync(join(shared, "sub/new"), "utf8")).toBe("hello");
		const open = client.walk("sub/new");
		client.send("lopen", u32(open), u32(2));
		const moved = client.walk("sub");
		expect(client.error("renameat", u32(client.walk("sub")), "new", u32(client.walk("")), "newer")).toBe("");
		expect(client.error("rename", u32(moved), u32(0), "sub2")).toBe("");
		// Fids follow what the client itself has renamed.
		expect(client.error("getattr", u32(moved), u64(0))).toBe("");
		expect(client.walk("deep", moved)).toBeGreaterThan(0);
		expect(client.send("write", u32(open), u64(5), u32(1), new Uint8Array([33])).u32()).toBe(1);
		expect(client.read("newer")).toBe("hello!");
		client.send("link", u32(0), u32(client.walk("newer")), "second");
		client.send("unlinkat", u32(0), "newer", u32(0));
		expect(client.read("second")).toBe("hello!");
		client.send("mkdir", u32(0), "directory", u32(0o755), u32(NO_FID));
		expect(client.error("unlinkat", u32(0), "directory", u32(0))).toBe("EISDIR");
		expect(client.error("unlinkat", u32(0), "sub2", u32(0x200))).toBe("ENOTEMPTY");
		client.send("unlinkat", u32(0), "directory", u32(0x200));
		client.send("symlink", u32(0), "link", "/etc/passwd", u32(NO_FID));
		const link = client.send("readlink", u32(client.walk("link")));
		expect(link.string()).toBe("/etc/passwd");
		client.send("remove", u32(client.walk("link")));
		expect(client.list("")).toEqual([".", "..", "file", "second", "sub2"]);
		// A file that is open is still there when its name has gone.
		client.send("unlinkat", u32(0), "second", u32(0));
		expect(client.send("read", u32(open), u64(0), u32(100)).u32()).toBe(6);
		const attributes = client.send("getattr", u32(open), u64(0x7ff));
		attributes.data(8 + 13 + 4 + 4 + 4);
		expect(attributes.u64()).toBe(0);
	});

	it("takes names as bytes", () => {
		const client = connect();
		const name = String.fromCharCode(0xff, 0xe4, 0x20, 0x80);
		client.create("", name, "odd");
		client.send("mkdir", u32(0), `${name}d`, u32(0o755), u32(NO_FID));
		client.create(`${name}d`, "in", "inside");
		expect(client.list("")).toContain(name);
		expect(client.read(name)).toBe("odd");
		expect(client.read(`${name}d/in`)).toBe("inside");
		expect(readdirSync(Buffer.from(shared), "latin1")).toContain(name);
	});

	it("lists large directories in pieces, and from where a client was", () => {
		const client = connect();
		for (let index = 0; index < 300; index++) writeFileSync(join(shared, `sub/number-${index}`), "");
		expect(client.list("sub", 200).length).toBe(304);
		const fid = client.walk("sub");
		client.send("lopen", u32(fid), u32(0));
		const first = (offset: number): string => {
			const reply = client.send("readdir", u32(fid), u64(offset), u32(60));
			reply.data(4 + 13 + 9);
			return reply.string();
		};
		const seen = [0, 1, 2, 3, 4, 5].map(first);
		expect(new Set(seen).size).toBe(6);
		expect([first(3), first(5), first(0), first(4)]).toEqual([seen[3], seen[5], ".", seen[4]]);
		expect(client.error("readdir", u32(fid), u64(0), u32(10))).toBe("EINVAL");
		expect(client.send("readdir", u32(fid), u64(60_000), u32(100)).u32()).toBe(0);
		expect(client.error("readdir", u32(fid), u64(2 ** 60), u32(100))).toBe("EINVAL");
	});

	it("sets attributes", () => {
		const client = connect();
		const fid = client.walk("file");
		const set = (valid: number, mode: number, size = 0, seconds = 0): string =>
			client.error(
				"setattr",
				u32(fid),
				u32(valid),
				...[mode, 0, 0].map(u32),
				...[size, seconds, 0, seconds, 500_000_000].map(u64),
			);
		expect(set(1, 0o600)).toBe("");
		expect(set(8, 0, 3)).toBe("");
		expect(set(0x10 | 0x20 | 0x80 | 0x100, 0, 0, 1_000_000)).toBe("");
		const stats = statSync(join(shared, "file"));
		expect([stats.mode & 0o7777, stats.size, stats.mtimeMs, stats.atimeMs]).toEqual([0o600, 3, 1e9 + 500, 1e9]);
		// What would let others of the host run a guest's program with this user's rights.
		expect(set(1, 0o4755)).toBe("EPERM");
		expect(client.error("lcreate", u32(client.walk("")), "suid", u32(1), u32(0o4755), u32(NO_FID))).toBe("EPERM");
		expect(set(0x20 | 0x100, 0, 0, 2 ** 62)).toBe("EINVAL");
		const before = process.umask(0o077);
		try {
			client.send("mkdir", u32(0), "open", u32(0o2777), u32(NO_FID));
			client.send("mknod", u32(0), "regular", u32(0o100666), u32(0), u32(0), u32(NO_FID));
		} finally {
			process.umask(before);
		}
		expect(statSync(join(shared, "open")).mode & 0o7777).toBe(0o2777);
		expect(statSync(join(shared, "regular")).mode & 0o7777).toBe(0o666);
	});

	it("refuses what Node.js cannot do, and what it does not know", () => {
		const client = connect();
		expect(client.error("mknod", u32(0), "fifo", u32(0o010644), u32(0), u32(0), u32(0))).toBe("EPERM");
		expect(client.error("mknod", u32(0), "null", u32(0o020666), u32(1), u32(3), u32(0))).toBe("EPERM");
		expect(client.error("xattrwalk", u32(0), u32(5), "user.x")).toBe("EOPNOTSUPP");
		expect(client.error("xattrcreate", u32(0), "user.x", u64(5), u32(0))).toBe("EOPNOTSUPP");
		expect(client.error("auth", u32(5), "", "", u32(0))).toBe("EOPNOTSUPP");
		expect(client.error("attach", u32(5), u32(0), "", "", u32(0))).toBe("EBADF");
		const statfs = client.send("statfs", u32(0));
		statfs.u32();
		expect(statfs.u32()).toBeGreaterThan(0);
	});

	it("that is read-only changes nothing", () => {
		const before = execFileSync("ls", ["-laR", "--full-time", shared], { encoding: "utf8" });
		const client = connect({ readOnly: true });
		const file = client.walk("file");
		const errors = [
			client.error("lopen", u32(file), u32(1)),
			client.error("lopen", u32(file), u32(2)),
			client.error("lopen", u32(file), u32(0o1000)),
			client.error("lcreate", u32(client.walk("")), "x", u32(0), u32(0o644), u32(0)),
			client.error("mkdir", u32(0), "x", u32(0o755), u32(0)),
			client.error("symlink", u32(0), "x", "y", u32(0)),
			client.error("mknod", u32(0), "x", u32(0o100644), u32(0), u32(0), u32(0)),
			client.error("link", u32(0), u32(file), "x"),
			client.error("rename", u32(file), u32(0), "x"),
			client.error("renameat", u32(0), "file", u32(0), "x"),
			client.error("unlinkat", u32(0), "file", u32(0)),
			client.error("remove", u32(client.walk("file"))),
			client.error("setattr", u32(file), u32(1), u32(0), u32(0), u32(0), ...[0, 0, 0, 0, 0].map(u64)),
		];
		expect(new Set(errors)).toEqual(new Set(["EROFS"]));
		client.send("lopen", u32(file), u32(0));
		expect(client.error("write", u32(file), u64(0), u32(1), new Uint8Array(1))).toBe("EROFS");
		expect(client.read("file")).toBe("contents");
		expect(execFileSync("ls", ["-laR", "--full-time", shared], { encoding: "utf8" })).toBe(before);
	});

	it("keeps guests' locks apart, and releases a guest's at its end", async () => {
		const locks = new LockTable();
		const [one, two] = [connect({ locks }), connect({ locks })];
		const lock = (client: Client, fid: number, type: number, start: number, length: number, process = 1): number =>
			client.send("lock", u32(fid), u8(type), u32(0), u64(start), u64(length), u32(process), "host").u8();
		const [a, b] = [one.walk("file"), two.walk("file")];
		expect(lock(one, a, 1, 0, 100)).toBe(0);
		expect(lock(two, b, 0, 50, 10)).toBe(1);
		expect(lock(two, b, 0, 100, 0)).toBe(0);
		expect(lock(one, a, 0, 150, 10)).toBe(0);
		expect(lock(one, a, 1, 150, 10)).toBe(1);
		const conflict = two.send("getlock", u32(b), u8(1), u64(0), u64(0), u32(1), "host");
		expect([conflict.u8(), conflict.u64(), conflict.u64(), conflict.u32(), conflict.string()]).toEqual([
			1,
			0,
			100,
			1,
			"host",
		]);
		// In the middle of a range: two are left.
		expect(lock(one, a, 2, 40, 20)).toBe(0);
		expect(lock(two, b, 1, 40, 20)).toBe(0);
		expect(lock(two, b, 1, 30, 20)).toBe(1);
		await one.session.end();
		expect(lock(two, b, 1, 0, 0)).toBe(0);
		await two.session.end();
		expect(locks.size).toBe(0);
	});

	it("has limits, and gives handles back", async () => {
		const before = openHandles();
		const client = connect({ limits: { fids: 20, open: 5 } });
		for (let index = 0; index < 19; index++) client.walk("file");
		expect(() => client.walk("file")).toThrow("ENFILE");
		for (let fid = 1; fid <= 5; fid++) client.send("lopen", u32(fid), u32(0));
		expect(client.error("lopen", u32(6), u32(0))).toBe("EMFILE");
		expect(client.error("lopen", u32(5), u32(0))).toBe("EBADF");
		client.send("clunk", u32(5));
		expect(client.error("lopen", u32(6), u32(0))).toBe("");
		expect(openHandles()).toBe(before + 6);
		await client.session.end();
		expect(openHandles()).toBe(before + 1);
	});

	it("bounds the length of paths", () => {
		const client = connect();
		const name = "n".repeat(250);
		let fid = 0;
		let depth = 0;
		for (let error = ""; error === ""; depth++) {
			error = client.error("mkdir", u32(fid), name, u32(0o755), u32(NO_FID));
			if (error !== "") expect(error).toBe("ENAMETOOLONG");
			else fid = client.walk(name, fid);
		}
		expect(depth).toBe(17);
		expect(client.error("mkdir", u32(0), "x".repeat(300), u32(0o755), u32(NO_FID))).toBe("ENAMETOOLONG");
		// A rename that makes the paths below it too long.
		const deep = client.walk(`${name}/${name}`);
		client.send("mkdir", u32(0), "m".repeat(250), u32(0o755), u32(NO_FID));
		client.send("renameat", u32(0), name, u32(client.walk("m".repeat(250))), name);
		expect(client.error("getattr", u32(deep), u64(0))).toBe("");
		expect(client.error("getattr", u32(fid), u64(0))).toBe("ENAMETOOLONG");
	});

	it("answers a flush behind the request that it is about, and drops replies of an earlier session", async () => {
		const client = new Client(openNodeFolder(shared, false));
		clients.push(client);
		const fid = client.walk("file");
		client.send("lopen", u32(fid), u32(1));
		const order: string[] = [];
		const sync = client.raw(encode(Message.fsync, 7, [u32(fid), u32(0)])).then(() => order.push("fsync"));
		const flush = client.raw(encode(Message.flush, 8, [u16(7)])).then(() => order.push("flush"));
		await expect(client.raw(encode(Message.clunk, 7, [u32(fid)]))).rejects.toThrow("tag 7 is in use");
		client.send("clunk", u32(fid));
		await Promise.all([sync, flush]);
		expect(order).toEqual(["fsync", "flush"]);
		const again = client.walk("file");
		client.send("lopen", u32(again), u32(1));
		let late = false;
		client.session.handle(encode(Message.fsync, 9, [u32(again), u32(1)]), () => {
			late = true;
		});
		await client.session.end();
		expect(late).toBe(false);
	});
});

describe("nothing outside the folder", () => {
	/** Every way to what lies behind a name, by what it answers. */
	function reach(client: Client, ...names: string[]): string[] {
		const last = names.at(-1) as string;
		const directory = names.slice(0, -1);
		const fid = (path: readonly string[]): number | undefined => {
			try {
				return client.walk(path.join("/"));
			} catch {
				return undefined;
			}
		};
		const parent = fid(directory);
		const at = fid(names);
		const found: string[] = [];
		if (at !== undefined) {
			found.push(client.error("lopen", u32(at), u32(2)), client.error("lopen", u32(at), u32(0)));
			found.push(client.error("setattr", u32(at), u32(8), u32(0), u32(0), u32(0), ...[0, 0, 0, 0, 0].map(u64)));
			found.push(client.error("setattr", u32(at), u32(1), u32(0o777), u32(0), u32(0), ...[0, 0, 0, 0, 0].map(u64)));
			found.push(client.error("mkdir", u32(at), "made", u32(0o755), u32(0)));
			found.push(client.error("lcreate", u32(at), "made", u32(2), u32(0o755), u32(0)));
		}
		if (parent !== undefined) {
			found.push(client.error("lcreate", u32(parent), last, u32(2 | 0o1000), u32(0o644), u32(0)));
		}
		return found;
	}

	function untouched(): void {
		expect(readFileSync(join(base, "outside/secret"), "utf8")).toBe("secret");
		expect(readdirSync(join(base, "outside"))).toEqual(["secret"]);
		expect(statSync(join(base, "outside/secret")).mode & 0o777).toBe(0o644);
	}

	it("by symbolic links that the guest or others made", () => {
		chmodSync(join(base, "outside/secret"), 0o644);
		const client = connect();
		client.send("symlink", u32(0), "absolute", join(base, "outside/secret"), u32(NO_FID));
		client.send("symlink", u32(0), "directory", "../outside", u32(NO_FID));
		symlinkSync(join(base, "outside/new"), join(shared, "dangling"));
		symlinkSync("/proc/self/root", join(shared, "root"));
		for (const name of ["absolute", "directory", "dangling", "root"]) {
			const answers = reach(client, name);
			expect(answers).not.toContain("");
			expect(answers.length).toBe(7);
		}
		expect(client.error("walk", u32(client.walk("directory")), u32(99), u16(1), "secret")).toBe("ENOTDIR");
		const walked = client.send("walk", u32(0), u32(98), u16(2), "directory", "secret");
		expect(walked.u16()).toBe(1);
		expect(() => client.list("directory")).toThrow("ELOOP");
		// A link's further name is a link, and what is set is set of the link itself.
		client.send("link", u32(0), u32(client.walk("absolute")), "hard");
		expect(lstatSync(join(shared, "hard")).isSymbolicLink()).toBe(true);
		const link = client.walk("absolute");
		const times = [0, 1000, 0, 1000, 0].map(u64);
		expect(client.error("setattr", u32(link), u32(0x1b0), u32(0), u32(0), u32(0), ...times)).toBe("");
		expect(lstatSync(join(shared, "absolute")).mtimeMs).toBe(1_000_000);
		expect(statSync(join(base, "outside/secret")).mtimeMs).toBeGreaterThan(1_000_000);
		untouched();
	});

	it("by names", () => {
		const client = connect();
		for (const name of ["..", ".", "", "../outside/secret", "/etc/passwd", "sub/../../outside/secret", "a\0b"]) {
			const answers = [
				client.error("lcreate", u32(client.walk("")), name, u32(2), u32(0o644), u32(0)),
				client.error("mkdir", u32(0), name, u32(0o755), u32(0)),
				client.error("symlink", u32(0), name, "x", u32(0)),
				client.error("unlinkat", u32(0), name, u32(0)),
				client.error("unlinkat", u32(0), name, u32(0x200)),
				client.error("renameat", u32(0), "file", u32(0), name),
				client.error("renameat", u32(0), name, u32(0), "stolen"),
				client.error("link", u32(0), u32(client.walk("file")), name),
				client.error("attach", u32(70), u32(NO_FID), "", `${name === "" ? ".." : name}`, u32(0)),
			];
			expect(answers.every((answer) => ["EINVAL", "ENOENT"].includes(answer))).toBe(true);
		}
		expect(client.send("walk", u32(0), u32(71), u16(3), "..", "..", "..").u16()).toBe(3);
		expect(client.list("")).toEqual([".", "..", "file", "sub"]);
		expect(client.error("getattr", u32(71), u64(0))).toBe("");
		untouched();
	});

	it("when a directory becomes a link under the guest's hands", () => {
		const client = connect();
		const directory = client.walk("sub");
		const file = client.walk("sub/inner");
		rmSync(join(shared, "sub"), { recursive: true });
		symlinkSync("../outside", join(shared, "sub"));
		expect(client.error("walk", u32(directory), u32(50), u16(1), "secret")).toBe("ENOTDIR");
		expect(client.error("lcreate", u32(directory), "made", u32(2), u32(0o644), u32(0))).toBe("ENOTDIR");
		expect(client.error("lopen", u32(file), u32(2))).toBe("ENOTDIR");
		expect(client.error("lopen", u32(directory), u32(0))).toBe("ELOOP");
		untouched();
	});

	it("when a directory is moved out of the folder", () => {
		const client = connect();
		const deep = client.walk("sub/deep");
		execFileSync("mv", [join(shared, "sub"), join(base, "elsewhere")]);
		expect(client.error("lcreate", u32(deep), "made", u32(2), u32(0o644), u32(0))).toBe("ENOENT");
		expect(client.error("walk", u32(deep), u32(51), u16(2), "..", "..")).toBe("ENOENT");
		expect(readdirSync(join(base, "elsewhere/deep"))).toEqual([]);
	});

	it("by FIFOs and devices, which are not opened either", () => {
		const client = connect();
		execFileSync("mkfifo", [join(shared, "fifo")]);
		const fid = client.walk("fifo");
		for (const flags of [0, 1, 2]) expect(client.error("lopen", u32(fid), u32(flags))).toBe("ENXIO");
		expect(client.error("lcreate", u32(client.walk("")), "fifo", u32(1), u32(0o644), u32(0))).toBe("ENXIO");
		expect(client.list("")).toContain("fifo");
	});

	it("while another program swaps a directory and a link all the time", async () => {
		mkdirSync(join(shared, "swap"));
		writeFileSync(join(shared, "swap/secret"), "harmless");
		// As fast as it can: the name is now a directory, now a link to what lies outside.
		const script = `
			const fs = require("fs");
			process.chdir(${JSON.stringify(shared)});
			fs.symlinkSync("../outside", "other");
			for (const end = Date.now() + 800; Date.now() < end;) {
				fs.renameSync("swap", "aside"); fs.renameSync("other", "swap");
				fs.renameSync("swap", "other"); fs.renameSync("aside", "swap");
			}`;
		const { spawn } = await import("node:child_process");
		const swapper = spawn(process.execPath, ["-e", script], { stdio: "inherit" });
		let running = true;
		swapper.once("close", () => {
			running = false;
		});
		const client = connect();
		const seen = new Map<string, number>();
		const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
		while (running) {
			for (let round = 0; round < 20; round++) {
				try {
					count(client.read("swap/secret"));
					client.create("swap", "made", "x", 2);
					client.send("unlinkat", u32(client.walk("swap")), "secret2", u32(0));
				} catch (error) {
					count((error as Error).message);
				}
			}
			client.session.fids.clear();
			client.send("attach", u32(0), u32(NO_FID), "", "", u32(NO_FID));
			await new Promise((resolve) => setImmediate(resolve));
		}
		expect(seen.get("secret")).toBeUndefined();
		expect(seen.get("harmless")).toBeGreaterThan(0);
		untouched();
	}, 30_000);
});

describe("clients that send anything", () => {
	it("get replies or end their session, and nothing throws or leaks", async () => {
		const types = [...Object.values(Message), 0, 7, 255];
		const field = fc.oneof(
			fc.integer({ min: 0, max: 4 }).map(u32),
			fc.constantFrom(u8(1), u16(1), u16(0), u64(0), u64(2 ** 63), u32(0xffff_ffff), u32(0o1102)),
			fc.constantFrom("", "..", "sub", "file", "link", "a/b", "\0"),
			fc.uint8Array({ maxLength: 12 }),
		);
		const message = fc.tuple(fc.constantFrom(...types), fc.nat(3), fc.array(field, { maxLength: 8 }));
		const before = openHandles();
		await fc.assert(
			fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (messages) => {
				const client = new Client(openNodeFolder(shared, true), { limits: { fids: 8, open: 3 } });
				for (const [type, tag, fields] of messages) {
					const reply = await client.raw(encode(type, tag, fields)).catch((error: unknown) => {
						expect(error).toBeInstanceOf(MalformedMessage);
						return undefined;
					});
					if (reply !== undefined) expect(new DataView(reply.buffer).getUint32(0, true)).toBe(reply.length);
				}
				await client.session.end();
				client.folder.close();
				expect(client.logged).toEqual([]);
				// The test's runner wants to be heard, too.
				await new Promise((resolve) => setImmediate(resolve));
			}),
			{ numRuns: 120 },
		);
		expect(openHandles()).toBe(before);
		expect(readFileSync(join(base, "outside/secret"), "utf8")).toBe("secret");
		expect(readdirSync(base).sort()).toEqual(["outside", "shared"]);
	});
});

describe("opening a folder", () => {
	it("says why it cannot be", () => {
		expect(() => openNodeFolder(join(base, "none"), true)).toThrow("ENOENT");
		expect(() => openNodeFolder(join(shared, "file"), true)).toThrow("ENOTDIR");
		expect(existsSync(join(base, "none"))).toBe(false);
		symlinkSync("shared", join(base, "link"));
		expect(connect({}, join(base, "link")).list("")).toContain("file");
		expect(readlinkSync(join(base, "link"))).toBe("shared");
	});
});
