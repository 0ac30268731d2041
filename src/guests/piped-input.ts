/**
 * Standard input that is no terminal: what it holds is typed on the console, and its end is Ctrl-D. With our own initramfs the
 * input waits until /init asks for it (READY_QUERY); the guest's line discipline then keeps every line, and the Ctrl-D behind
 * them, until a program reads. Other ramdisks get the input at once, and Ctrl-D repeated while the console is quiet: a shell
 * that edits its line throws away a Ctrl-D that comes while another program runs, but the end of a pipe does not go away either.
 */
import type { Readable } from "node:stream";
import type { ConsolePort } from "../toolstack/guest-domain.ts";
import { READY_QUERY } from "./session.ts";

const CTRL_D = new Uint8Array([4]);
const NEWLINE = 10;
const QUIET_MILLISECONDS = 1000;
/** Bytes that wait for the guest before no more are read: input may have any length. */
const MOST_WAITING = 1 << 20;

export interface PipedInputOptions {
	/** The guest asks with READY_QUERY before it wants input; the query is taken out of the output. */
	readonly handshake: boolean;
}

/** Connects streams to a console until the returned function is called. */
export function attachPipes(
	console: ConsolePort,
	input: NodeJS.ReadableStream,
	output: NodeJS.WritableStream,
	options: PipedInputOptions,
): () => void {
	let ready = !options.handshake;
	let held: Uint8Array[] = [];
	let heldSize = 0;
	let ended = false;
	let lastByte = NEWLINE;
	let quiet: NodeJS.Timeout | undefined;

	const send = (data: Uint8Array): void => {
		if (ready) console.write(data);
		else {
			held.push(data);
			heldSize += data.length;
		}
		if (heldSize + console.pendingInput > MOST_WAITING) input.pause();
	};
	const repeatEnd = (): void => {
		clearTimeout(quiet);
		quiet = setTimeout(() => {
			if (console.pendingInput === 0) console.write(CTRL_D);
			repeatEnd();
		}, QUIET_MILLISECONDS);
	};
	const onData = (data: Uint8Array | string): void => {
		const bytes = typeof data === "string" ? Buffer.from(data) : data;
		lastByte = bytes.at(-1) ?? lastByte;
		send(bytes);
	};
	const onEnd = (): void => {
		ended = true;
		// Behind an unfinished line the first Ctrl-D only ends the line.
		if (lastByte !== NEWLINE) send(CTRL_D);
		if (options.handshake) send(CTRL_D);
		else repeatEnd();
	};
	const query = new QueryFilter(READY_QUERY, () => {
		ready = true;
		for (const data of held) console.write(data);
		held = [];
		heldSize = 0;
	});
	const stopTaken = console.onInputTaken(() => {
		if (!ended) input.resume();
	});
	const stopOutput = console.onOutput((data) => {
		output.write(options.handshake ? query.filter(data) : data);
		if (ended && !options.handshake) repeatEnd();
	});
	input.on("data", onData);
	// A guest that was started again finds the input as the one before left it.
	if ((input as Partial<Readable>).readableEnded === true) onEnd();
	else input.on("end", onEnd);
	input.resume();
	return () => {
		stopOutput();
		stopTaken();
		clearTimeout(quiet);
		input.removeListener("data", onData);
		input.removeListener("end", onEnd);
		input.pause();
	};
}

/** Takes the first occurrence of a query out of a stream that comes in pieces, and tells of it. */
export class QueryFilter {
	private readonly query: Uint8Array;
	private found = false;
	private matched = 0;

	constructor(
		query: string,
		private readonly tell: () => void,
	) {
		this.query = new TextEncoder().encode(query);
	}

	filter(data: Uint8Array): Uint8Array {
		if (this.found) return data;
		const kept: number[] = [];
		for (const [index, byte] of data.entries()) {
			if (byte === this.query[this.matched]) {
				if (++this.matched < this.query.length) continue;
				this.found = true;
				this.tell();
				return Uint8Array.from([...kept, ...data.subarray(index + 1)]);
			}
			// The query begins with ESC and has it nowhere else: a failed match can only start anew at this byte.
			kept.push(...this.query.subarray(0, this.matched));
			this.matched = byte === this.query[0] ? 1 : 0;
			if (this.matched === 0) kept.push(byte);
		}
		return Uint8Array.from(kept);
	}
}
