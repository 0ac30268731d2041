/** The Unix-domain socket: by hand, and with Debian's xenstore-utils where this machine has them. */
import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type StoreSocket, serveStore } from "../../src/host/node/store-socket.ts";
import { encodePacket, encodeText } from "../../src/store/packet.ts";
import { XsType } from "../../src/xen/abi/xenstore.ts";
import { createStore, type Message, MessageReader, type TestStore } from "./machine.ts";

const run = promisify(execFile);
/** Debian's package, installed or unpacked into a directory that this names. */
const tools = (process.env as { PARAVIRT_XENSTORE_UTILS?: string }).PARAVIRT_XENSTORE_UTILS;
const environment = {
	...process.env,
	...(tools && {
		PATH: `${tools}/usr/bin:${(process.env as { PATH?: string }).PATH}`,
		LD_LIBRARY_PATH: `${tools}/usr/lib/x86_64-linux-gnu`,
	}),
};
const hasTools = spawnSync("xenstore-ls", ["--help"], { env: environment }).error === undefined;

describe("the store's socket", () => {
	let directory: string;
	let path: string;
	let world: TestStore;
	let served: StoreSocket;

	beforeEach(async () => {
		directory = mkdtempSync(join(tmpdir(), "paravirt-store-"));
		path = join(directory, "socket");
		world = createStore();
		served = await serveStore(world.server, path);
	});
	afterEach(async () => {
		await served.close();
		rmSync(directory, { recursive: true });
	});

	function connect(onMessage: (message: Message) => void): Promise<Socket> {
		const reader = new MessageReader();
		const socket = createConnection(path);
		socket.on("data", (data: Uint8Array) => reader.read(data).forEach(onMessage));
		return new Promise((resolve) => socket.once("connect", () => resolve(socket)));
	}
	const message = (type: keyof typeof XsType, text: string, reqId: number): Uint8Array =>
		encodePacket({ type: XsType[type], reqId, txId: 0 }, encodeText(text.replaceAll("|", "\0")));

	it("answers a thousand requests that come at once, in order, and pieces of one", async () => {
		world.store.write("/a", "x".repeat(4000));
		const got: number[] = [];
		let finish: () => void = () => {};
		const finished = new Promise<void>((resolve) => {
			finish = resolve;
		});
		const socket = await connect(({ reqId, text }) => {
			if (text.length === 4000) got.push(reqId);
			if (got.length === 1000) finish();
		});
		for (let id = 0; id < 999; id++) socket.write(message("read", "/a|", id));
		for (const byte of message("read", "/a|", 999)) socket.write(new Uint8Array([byte]));
		await finished;
		expect(got).toEqual(Array.from({ length: 1000 }, (_, index) => index));
		socket.destroy();
	});

	it("hangs up on a message that is too long, and forgets a client that goes", async () => {
		const socket = await connect(() => {});
		const closed = new Promise((resolve) => socket.once("close", resolve));
		socket.write(new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0]));
		await closed;
		const second = await connect(() => second.destroy());
		second.write(message("watch", "/a|t|", 1));
		await new Promise((resolve) => second.once("close", resolve));
		await new Promise((resolve) => setTimeout(resolve, 20));
		expect(world.server.watches.matching({ text: "/a", names: ["a"] }, false)).toEqual([]);
	});

	it("is the user's own, and replaces only one that nobody serves", async () => {
		expect(statSync(path).mode & 0o777).toBe(0o600);
		await expect(serveStore(world.server, path)).rejects.toMatchObject({ code: "EADDRINUSE" });
	});

	it.skipIf(!hasTools)("speaks to Debian's xenstore-utils", async () => {
		const env = { ...environment, XENSTORED_PATH: path };
		const xenstore = async (command: string, ...args: string[]): Promise<string> =>
			(await run(`xenstore-${command}`, args, { env })).stdout;
		await xenstore("write", "/a/b", "one", "/a/c", "two");
		await xenstore("chmod", "/a/b", "n0", "r7");
		expect(await xenstore("read", "/a/b")).toBe("one\n");
		expect(await xenstore("list", "/a")).toBe("b\nc\n");
		const listing = await xenstore("ls", "-p", "/a");
		expect(listing.replace(/[ .]+\(/g, " (")).toBe('b = "one" (n0,r7)\nc = "two" (n0)\n');
		expect(world.store.permissions("/a/b")).toEqual(["n0", "r7"]);
		await expect(xenstore("read", "/none")).rejects.toThrow("couldn't read path /none");
		for (let index = 0; index < 600; index++) world.store.makeDirectory(`/many/child-number-${index}`);
		expect((await xenstore("list", "/many")).split("\n").length).toBe(601);

		const watcher = spawn("xenstore-watch", ["-n", "3", "/a"], { env, stdio: ["ignore", "pipe", "inherit"] });
		let seen = "";
		const ended = new Promise((resolve) => watcher.once("close", resolve));
		watcher.stdout.on("data", (data: Uint8Array) => {
			if (seen === "") world.store.write("/a/b", "three");
			seen += new TextDecoder().decode(data);
			if (seen === "/a\n/a/b\n") void xenstore("rm", "/a/c");
		});
		await ended;
		expect(seen).toBe("/a\n/a/b\n/a/c\n");
		expect(world.store.list("/a")).toEqual(["b"]);
	});
});
