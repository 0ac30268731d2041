/**
 * Tap devices on Node.js, which has no call that opens one: socat does (its address TUN), and passes each frame on as a datagram of UDP on the
 * loopback. Both ends are connected, so that the kernel drops what any other program sends there.
 */
import { spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { type HostTap, HostTapError } from "../../devices/net/tap.ts";
import { findProgram } from "./programs.ts";

const LOOPBACK = "127.0.0.1";
/** Bytes that may wait for the host's kernel. */
const MOST_QUEUED = 1 << 22;
/** A datagram's largest payload, which is more than a frame of a tap device without offloads has. */
const LARGEST = 65507;
/** Runs a program that ends when the pipe of descriptor 3 does: also where we are killed. */
const WHILE_WE_ARE = '"$@" & child=$!; exec 2>&-; read _ <&3; kill $child';
const BUILD_ONE = "Make one that you may use as root (ip tuntap add dev NAME mode tap user USER), or run as root";

/** What socat says when it cannot, and what to do then. */
const FAILURES: readonly (readonly [pattern: RegExp, reason: string, remedy: string])[] = [
	[/tun.*No such file/i, "the host has no /dev/net/tun", "Load the kernel's module tun"],
	[/tun.*Permission denied/i, "you may not use /dev/net/tun", BUILD_ONE],
	[/Operation not permitted/i, "you may not make tap devices, nor use this one", BUILD_ONE],
	[/Device or resource busy/i, "another program uses it", "Give another name"],
	[/Invalid argument/i, "there is an interface of that name that is no tap device", "Give another name"],
];

/** @throws HostTapError */
export async function openTap(name: string, onFrame: (frame: Uint8Array) => void): Promise<HostTap> {
	const program = findProgram("socat");
	if (program === undefined) {
		throw new HostTapError("tap devices need the program socat, which is not there", "Install socat, or use the NAT");
	}
	const socket = createSocket("udp4");
	socket.on("error", () => {});
	socket.bind(0, LOOPBACK);
	await once(socket, "listening");
	// One that is there is as its owner has made it.
	const up = existsSync(`/sys/class/net/${name}`) ? "" : ",iff-up";
	const child = spawn(
		"/bin/sh",
		[
			...["-c", WHILE_WE_ARE, "tap", program, "-d", "-d", "-b", String(LARGEST)],
			`UDP4:${LOOPBACK}:${socket.address().port},bind=${LOOPBACK}:0`,
			`TUN,tun-name=${name},tun-type=tap,iff-no-pi${up}`,
		],
		{ stdio: ["ignore", "ignore", "pipe", "pipe"], detached: true, env: { ...process.env, LC_ALL: "C" } },
	);
	const [, , stderr, hold] = child.stdio as unknown as [null, null, Readable, Writable];
	hold.on("error", () => {});
	const close = (): void => {
		hold.end();
		socket.close();
	};
	const lost = new Promise<string>((resolve) => {
		const said: string[] = [];
		stderr.setEncoding("utf8").on("data", (text: string) => {
			said.push(...text.split("\n").filter((line) => / [EF] /.test(line)));
			said.splice(0, said.length - 3);
		});
		child.once("error", (error) => resolve(error.message));
		stderr.once("close", () =>
			resolve(said.join("; ").replace(/\S+ \S+ socat\[\d+\] [EF] /g, "") || "socat has ended"),
		);
	});
	try {
		socket.connect(await peerPort(stderr, lost), LOOPBACK);
		await once(socket, "connect");
	} catch (error) {
		close();
		throw error;
	}
	socket.on("message", onFrame);
	let closed = false;
	return {
		name,
		lost,
		send: (frame) => {
			if (!closed && frame.length <= LARGEST) send(socket, frame);
		},
		close: () => {
			if (!closed) close();
			closed = true;
		},
	};
}

function send(socket: Socket, frame: Uint8Array): void {
	// Errors are about frames before it, which are lost.
	if (socket.getSendQueueSize() < MOST_QUEUED) socket.send(frame.slice(), () => {});
}

/** The port that socat sends from, as soon as it has the device. @throws HostTapError where it ends before that */
function peerPort(stderr: Readable, lost: Promise<string>): Promise<number> {
	return new Promise((resolve, reject) => {
		let said = "";
		stderr.on("data", function look(text: string) {
			said += text;
			const port = /connected from local address AF=2 [\d.]+:(\d+)/.exec(said)?.[1];
			if (port === undefined || !said.includes("starting data transfer loop")) return;
			stderr.off("data", look);
			resolve(Number(port));
		});
		void lost.then((why) => {
			const [, reason = why, remedy = "Look whether socat works"] =
				FAILURES.find(([pattern]) => pattern.test(why)) ?? [];
			reject(new HostTapError(reason, remedy));
		});
	});
}
