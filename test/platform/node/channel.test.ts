/** The host's side of channels: a socket that one program at a time has, and a pseudo-terminal of the system's script(1). */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { ChannelEvents } from "../../../src/devices/console/host-channel.ts";
import { openChannel } from "../../../src/platform/node/channel.ts";

const directory = mkdtempSync(join(tmpdir(), "paravirt-channel-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Who hears of a channel: what it has got, and waits for it. */
function listener() {
	let text = "";
	let room = 0;
	let heard: () => void = () => {};
	const events: ChannelEvents = {
		onInput: (bytes) => {
			text += Buffer.from(bytes).toString("latin1");
			heard();
		},
		onRoom: () => {
			room++;
			heard();
		},
	};
	const until = async (condition: () => boolean): Promise<void> => {
		while (!condition()) {
			await new Promise<void>((resolve) => {
				heard = resolve;
			});
		}
	};
	return { events, text: () => text, room: () => room, until };
}

async function connected(path: string): Promise<Socket> {
	const socket = createConnection(path);
	await once(socket, "connect");
	return socket;
}

async function received(socket: Socket, length: number): Promise<string> {
	let text = "";
	while (text.length < length) text += String(((await once(socket, "data")) as [Buffer])[0]);
	return text;
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe("a channel's socket", () => {
	const path = join(directory, "socket");

	it("is the user's own, carries bytes both ways, to one program after the other, and is gone at the end", async () => {
		const { events, text, until } = listener();
		const channel = await openChannel("socket", path, events);
		expect(channel.path).toBe(path);
		expect(statSync(path).mode & 0o777).toBe(0o600);
		expect(channel.write(bytes("nobody hears this"))).toBe(true);
		const first = await connected(path);
		const second = await connected(path);
		second.write("second");
		first.write("first ");
		await until(() => text() === "first ");
		channel.write(bytes("for the first"));
		expect(await received(first, 13)).toBe("for the first");
		first.destroy();
		await until(() => text() === "first second");
		channel.write(bytes("for the second"));
		expect(await received(second, 14)).toBe("for the second");
		const gone = once(second, "close");
		second.resume();
		channel.close();
		await gone;
		expect(existsSync(path)).toBe(false);
	});

	it("makes the guest wait for a program that does not read, and the program for a guest that does not", async () => {
		const { events, text, room, until } = listener();
		const channel = await openChannel("socket", path, events);
		channel.flow(false);
		const socket = await connected(path);
		socket.pause();
		socket.write("early");
		const piece = new Uint8Array(1 << 16).fill(0x61);
		let sent = 0;
		// The connection may not have been heard of yet: then nobody listens.
		while (channel.write(piece)) {
			sent++;
			expect(sent).toBeLessThan(10_000);
			await new Promise((resolve) => setImmediate(resolve));
		}
		expect(text()).toBe("");
		channel.flow(true);
		await until(() => text() === "early");
		const before = room();
		socket.resume();
		await until(() => room() > before);
		expect(channel.write(piece)).toBe(true);
		socket.destroy();
		channel.close();
	});

	it("replaces a socket that nobody listens to, and nothing else", async () => {
		const { events } = listener();
		const child = spawnSync(process.execPath, [
			"-e",
			`require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
		]);
		expect(child.signal).toBe("SIGKILL");
		expect(existsSync(path)).toBe(true);
		const channel = await openChannel("socket", path, events);
		await expect(openChannel("socket", path, events)).rejects.toThrow("there is such a file already");
		(await connected(path)).destroy();
		channel.close();
		const file = join(directory, "file");
		writeFileSync(file, "precious");
		await expect(openChannel("socket", file, events)).rejects.toThrow("there is such a file already");
		expect(readFileSync(file, "utf8")).toBe("precious");
		await expect(openChannel("socket", join(directory, "no/such"), events)).rejects.toThrow(
			"there is no such directory",
		);
	});
});

describe.runIf(spawnSync("script", ["--version"]).status === 0)("a channel's pseudo-terminal", () => {
	it("carries all bytes as they are, to programs that come and go, and is gone at the end", async () => {
		const { events, text, until } = listener();
		const channel = await openChannel("pty", undefined, events);
		expect(channel.path).toMatch(/^\/dev\/pts\/\d+$/);
		const all = Buffer.from(Array.from({ length: 256 }, (_, code) => code));
		for (let round = 1; round <= 2; round++) {
			const file = await open(channel.path, "r+");
			await file.write(all);
			await until(() => text().length === 256 * round);
			expect(text().slice(-256)).toBe(all.toString("latin1"));
			channel.write(all);
			const got: Buffer[] = [];
			for (let size = 0; size < 256; size += got.at(-1)?.length ?? 0) {
				const { buffer, bytesRead } = await file.read(Buffer.alloc(256));
				got.push(buffer.subarray(0, bytesRead));
			}
			expect(Buffer.concat(got)).toEqual(all);
			await file.close();
		}
		channel.close();
		for (let tries = 0; existsSync(channel.path) && tries < 200; tries++)
			await new Promise((resolve) => setTimeout(resolve, 20));
		expect(existsSync(channel.path)).toBe(false);
	});
});
