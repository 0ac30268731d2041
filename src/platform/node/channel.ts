/**
 * The host's side of channels on Node.js. A socket is Node's own. A pseudo-terminal is one of script(1) (util-linux), as Node.js has no call that
 * makes one: script stands between the terminal's master and two pipes, and a shell keeps the terminal open for as long as we are there.
 */
import { spawn } from "node:child_process";
import { createServer, type Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import {
	type ChannelConnection,
	type ChannelEvents,
	type HostChannel,
	HostChannelError,
} from "../../devices/console/host-channel.ts";
import { findProgram } from "./programs.ts";
import { listenAt } from "./unix-socket.ts";

/** Bytes that may wait for a program on the host before the guest waits, or, on a terminal that nobody need read, more is lost. */
const MOST_QUEUED = 1 << 18;
/** Connections that wait for the one before them to end. */
const MOST_WAITING = 8;
/** Raw, as a channel's bytes have no meaning to a terminal; then it tells its name, and stays until the pipe of descriptor 3 ends. */
const HOLD_TERMINAL = "stty raw -echo && tty && read _ <&3";

export function openChannel(
	connection: ChannelConnection,
	path: string | undefined,
	events: ChannelEvents,
): Promise<HostChannel> {
	return connection === "pty" ? openTerminal(events) : openSocket(path ?? "", events);
}

const SOCKET_ERRORS: Readonly<Record<string, string>> = {
	EADDRINUSE: "there is such a file already, and it is no socket that has been left behind",
	// libuv says so where there is no such directory, too.
	EACCES: "there is no such directory, or its permissions do not allow it",
	EINVAL: "the path is too long for a socket",
};

async function openSocket(path: string, { onInput, onRoom }: ChannelEvents): Promise<HostChannel> {
	const sockets: Socket[] = [];
	let flowing = true;
	/** The first has the channel; the others wait. */
	const serve = (socket: Socket): void => {
		socket.on("data", onInput);
		socket.on("drain", onRoom);
		if (flowing) socket.resume();
	};
	const server = createServer({ pauseOnConnect: true }, (socket) => {
		socket.on("error", () => {});
		if (sockets.length > MOST_WAITING) {
			socket.destroy();
			return;
		}
		sockets.push(socket);
		if (sockets[0] === socket) serve(socket);
		socket.once("close", () => {
			const wasFirst = sockets[0] === socket;
			sockets.splice(sockets.indexOf(socket), 1);
			const [next] = sockets;
			if (wasFirst && next !== undefined) serve(next);
			onRoom();
		});
	});
	try {
		await listenAt(server, path);
	} catch (error) {
		const reason = SOCKET_ERRORS[(error as NodeJS.ErrnoException).code ?? ""] ?? (error as Error).message;
		throw new HostChannelError(`there can be no socket ${path}: ${reason}`, "Give another path", { cause: error });
	}
	return {
		path,
		write(bytes) {
			const [socket] = sockets;
			if (socket === undefined || !socket.writable) return true;
			socket.write(bytes);
			return socket.writableLength < MOST_QUEUED;
		},
		flow(on) {
			flowing = on;
			const [socket] = sockets;
			if (on) socket?.resume();
			else socket?.pause();
		},
		close() {
			server.close();
			for (const socket of sockets) socket.destroySoon();
		},
	};
}

function openTerminal({ onInput }: ChannelEvents): Promise<HostChannel> {
	const program = findProgram("script");
	const remedy = "Install util-linux (Debian: bsdutils), or give connection=socket with a path";
	if (program === undefined) {
		throw new HostChannelError("a pseudo-terminal needs the program script, which is not there", remedy);
	}
	const child = spawn(program, ["-q", "-c", HOLD_TERMINAL, "/dev/null"], {
		stdio: ["pipe", "pipe", "ignore", "pipe"],
		env: { ...process.env, SHELL: "/bin/sh" },
		// A signal from a terminal, meant for us, is none of its business.
		detached: true,
	});
	const [stdin, stdout, , hold] = child.stdio as unknown as [Writable, Readable, null, Writable];
	for (const stream of [stdin, hold]) stream.on("error", () => {});
	return new Promise((resolve, reject) => {
		const fail = (): void => reject(new HostChannelError(`${program} makes no pseudo-terminal`, remedy));
		child.once("error", fail);
		child.once("close", fail);
		let heading = Buffer.alloc(0);
		stdout.on("data", function read(bytes: Buffer) {
			heading = Buffer.concat([heading, bytes]);
			const end = heading.indexOf("\n");
			if (end < 0) return;
			stdout.off("data", read);
			stdout.on("data", onInput);
			const rest = heading.subarray(end + 1);
			if (rest.length > 0) onInput(rest);
			resolve({
				path: heading.toString("latin1", 0, end).trim(),
				write(piece) {
					if (stdin.writable && stdin.writableLength < MOST_QUEUED) stdin.write(piece);
					return true;
				},
				flow: (on) => {
					if (on) stdout.resume();
					else stdout.pause();
				},
				close() {
					hold.end();
					stdin.end();
					stdout.destroy();
				},
			});
		});
	});
}
