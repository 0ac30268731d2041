/** Sockets of the host behind a guest's connections: how they are let go of. */
import { createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { nodeNetwork } from "../../../src/platform/node/network.ts";

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

type ClientSocket = ReturnType<typeof nodeNetwork.connectTcp>;

/** What is done with a socket to which data comes, before it is let go of with a reset; and whether the other end reads. */
const HISTORIES = [
	{ when: "at once", reads: true, before: async () => {} },
	{ when: "right behind its end", reads: true, before: async (socket: ClientSocket) => socket.end() },
	{
		when: "behind its end",
		reads: true,
		before: async (socket: ClientSocket) => {
			socket.end();
			await new Promise((resolve) => setTimeout(resolve, 50));
		},
	},
	{
		when: "behind its end, with data that waits",
		reads: false,
		before: async (socket: ClientSocket) => {
			socket.write(new Uint8Array(1 << 23));
			socket.end();
		},
	},
];

test.each(HISTORIES)("a socket that is reset $when is gone, and the other end knows", async ({ before, reads }) => {
	await expect.poll(openSockets).toBe(0);
	const { port, ended } = await sender(reads);
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
	await before(socket);
	socket.destroy(true);
	expect(["ECONNRESET", "EPIPE"]).toContain(await ended);
	await expect.poll(openSockets).toBe(0);
});
