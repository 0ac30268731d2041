/** Sockets of the host behind a guest's connections: how they are let go of. */
import { createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { nodeNetwork } from "../../../src/host/node/network.ts";

const openSockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

/** Somebody who sends without end, and reads or not. @returns its port, and the error that a call ended with */
async function sender(reads: boolean): Promise<{ port: number; ended: Promise<string | undefined> }> {
	const data = Buffer.alloc(1 << 17);
	let end: (code: string | undefined) => void;
	const ended = new Promise<string | undefined>((resolve) => {
		end = resolve;
	});
	const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
		let code: string | undefined;
		const send = (): void => {
			while (socket.writable && socket.write(data)) {
				// More.
			}
		};
		socket.on("drain", send);
		socket.on("error", (error: NodeJS.ErrnoException) => {
			code = error.code;
		});
		socket.on("close", () => {
			server.close();
			end(code);
		});
		if (reads) socket.resume();
		send();
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	return { port: (server.address() as { port: number }).port, ended };
}

/** What is done with a socket to which data comes, before it is let go of with a reset. */
const HISTORIES = {
	"at once": async () => {},
	"right behind its end": async (socket) => socket.end(),
	"behind its end": async (socket) => {
		socket.end();
		await new Promise((resolve) => setTimeout(resolve, 50));
	},
	"behind its end, with data that waits": async (socket) => {
		socket.write(new Uint8Array(1 << 23));
		socket.end();
	},
} satisfies Record<string, (socket: ReturnType<typeof nodeNetwork.connectTcp>) => Promise<unknown>>;

test.each(Object.entries(HISTORIES))(
	"a socket that is reset %s is gone, and the other end knows",
	async (name, history) => {
		await expect.poll(openSockets).toBe(0);
		const { port, ended } = await sender(!name.includes("waits"));
		let first: () => void;
		const heard = new Promise<void>((resolve) => {
			first = resolve;
		});
		const ignore = (): void => {};
		const socket = nodeNetwork.connectTcp("127.0.0.1", port, {
			connected: ignore,
			data: () => first(),
			end: ignore,
			drained: ignore,
			closed: ignore,
		});
		await heard;
		await history(socket);
		socket.destroy(true);
		expect(["ECONNRESET", "EPIPE"]).toContain(await ended);
		await expect.poll(openSockets).toBe(0);
	},
);
