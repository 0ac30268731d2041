/** The Unix-domain socket, spoken to by hand; test/boot/xenstore-utils.test.ts has Debian's own programs for it. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type StoreSocket, serveStore } from "../../src/platform/node/store-socket.ts";
import { encodePacket, encodeText } from "../../src/store/packet.ts";
import { XsType } from "../../src/xen/abi/xenstore.ts";
import { createStore, type Message, MessageReader, type TestStore } from "./machine.ts";

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

	it("serves many clients beside hostile ones, and keeps nothing of those that went", async () => {
		// Each raises a counter by transactions that begin anew on EAGAIN: none may be lost.
		const clients = 8;
		const rounds = 10;
		world.store.write("/counter", "0");
		const hostile = await Promise.all(
			Array.from({ length: 8 }, async (_, index) => {
				const socket = await connect(() => {});
				socket.on("error", () => {});
				for (let piece = 0; piece < 40 && socket.writable; piece++) {
					const bytes = Uint8Array.from({ length: 40 }, (_, at) => (index * 31 + piece * 17 + at * at * 7) & 0xff);
					const packet = { type: (index + piece) % 25, reqId: piece, txId: piece % 3 };
					// Messages of all types with nonsense in them; half of the clients end with one that is none.
					socket.write(encodePacket(packet, bytes));
					socket.write(message("watch", `/counter|${index}-${piece}|`, piece));
					socket.write(message("transactionStart", "|", piece));
				}
				if (index % 2 === 0) socket.write(new Uint8Array(100).fill(0xff));
				return socket;
			}),
		);
		const raise = async (): Promise<void> => {
			let answer: (message: Message) => void = () => {};
			const socket = await connect((received) => answer(received));
			const ask = (type: keyof typeof XsType, text: string, txId: number): Promise<string> =>
				new Promise((resolve) => {
					answer = (received) => resolve(received.text.replaceAll("\0", "|"));
					socket.write(encodePacket({ type: XsType[type], reqId: 1, txId }, encodeText(text.replaceAll("|", "\0"))));
				});
			for (let done = 0; done < rounds; ) {
				const id = Number.parseInt(await ask("transactionStart", "|", 0), 10);
				const value = Number(await ask("read", "/counter|", id));
				await ask("write", `/counter|${value + 1}`, id);
				if ((await ask("transactionEnd", "T|", id)) === "OK|") done++;
			}
			socket.destroy();
		};
		await Promise.all(Array.from({ length: clients }, raise));
		expect(world.store.read("/counter")).toBe(String(clients * rounds));
		for (const socket of hostile) socket.destroy();
		const counter = { text: "/counter", names: ["counter"] };
		await expect.poll(() => world.server.watches.matching(counter, false).length, { timeout: 10_000 }).toBe(0);
	});

	it("is the user's own, and replaces only one that nobody serves", async () => {
		expect(statSync(path).mode & 0o777).toBe(0o600);
		await expect(serveStore(world.server, path)).rejects.toMatchObject({ code: "EADDRINUSE" });
	});
});
