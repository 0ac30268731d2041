/**
 * The user's terminal as a guest's console: raw, so that every key goes to the guest, and back as it was on every way out -
 * return, exception, signal. SIGKILL is the one that nothing can be done about (`reset` helps then).
 */

import { closeSync, constants, openSync, readSync } from "node:fs";
import type { ReadStream, WriteStream } from "node:tty";
import { SIZE_NODE } from "../guests/session.ts";
import type { ConsolePort } from "../toolstack/guest-domain.ts";
import { TerminalModes } from "./terminal-modes.ts";
import { TerminalQueries } from "./terminal-queries.ts";

/** Ctrl-], by which `xl console` is left too. */
export const ESCAPE_KEY = 0x1d;

/** Milliseconds that a terminal has to answer what a guest's program asked it; a network may be in between. Some never do. */
const ANSWER_PATIENCE = 300;
const ANSWER_INTERVAL = 10;

const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGQUIT: 3 } as const;

/** Calls `restore` once, whichever way the process ends, and ends it for signals with 128 + their number. */
export function onEveryExit(restore: () => void): () => void {
	let done = false;
	const once = (): void => {
		if (done) return;
		done = true;
		restore();
	};
	const handlers = ENDING_SIGNALS.map((signal) => {
		const handler = (): void => {
			once();
			process.exit(128 + SIGNAL_NUMBERS[signal]);
		};
		process.on(signal, handler);
		return () => process.removeListener(signal, handler);
	});
	process.on("exit", once);
	return () => {
		once();
		process.removeListener("exit", once);
		for (const remove of handlers) remove();
	};
}

/** A terminal of this process, with the number of its descriptor. */
export type TerminalInput = ReadStream & { readonly fd: number };

/** What a raw terminal tells of. */
export interface TerminalListener {
	/** Keys, and the terminal's answers to what programs ask it. */
	onKeys(keys: Uint8Array): void;
	/** The terminal itself has gone: its window was closed, its line hung up. */
	onGone(): void;
}

/**
 * A terminal whose every key goes to `listener` until it is released. What is typed meanwhile and has not been read by then is thrown away:
 * it was meant for what has ended, and must not become a command for the host's shell.
 */
export class RawTerminal {
	private readonly restore: () => void;

	/** @param beforeRestore writes what brings the screen to rest */
	constructor(input: TerminalInput, { onKeys, onGone }: TerminalListener, beforeRestore: () => void) {
		// libuv does nothing if it believes that the mode is set already, and a shell has set another since it stopped us.
		const rawAgain = (): void => {
			input.setRawMode(false);
			input.setRawMode(true);
		};
		this.restore = onEveryExit(() => {
			beforeRestore();
			input.removeListener("data", onKeys);
			input.pause();
			discardInput(input);
			process.removeListener("SIGCONT", rawAgain);
			input.setRawMode(false);
			input.removeListener("end", onGone);
			input.removeListener("error", onGone);
		});
		input.on("end", onGone);
		input.on("error", onGone);
		input.setRawMode(true);
		input.on("data", onKeys);
		// Somebody who had the terminal before may have paused it.
		input.resume();
		// Whoever stops the process from outside gets the terminal from the shell as the shell left it.
		process.on("SIGCONT", rawAgain);
	}

	/** Gives it back as it was. */
	release(): void {
		this.restore();
	}
}

/** Throws away what the terminal has of input that nobody has read. */
function discardInput(input: TerminalInput): void {
	while (input.read() !== null) {}
	let descriptor: number;
	try {
		// A description of its own, so that reading ends if there is no more.
		descriptor = openSync(`/dev/fd/${input.fd}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
	} catch {
		return;
	}
	try {
		const buffer = new Uint8Array(4096);
		while (readSync(descriptor, buffer) > 0) {}
	} catch {
		// EAGAIN: nothing is left. EIO: the terminal has gone.
	} finally {
		closeSync(descriptor);
	}
}

/**
 * The user's terminal as the console of one guest after another: it stays raw, and Ctrl-] leaves, also while one guest has ended and the next has not
 * been built. What is typed in between is thrown away.
 */
export class ConsoleTerminal {
	private readonly terminal: RawTerminal;
	private readonly queries = new TerminalQueries();
	private modes = new TerminalModes();
	private console: ConsolePort | undefined;
	private stopOutput: () => void = () => {};
	private released = false;

	/** @param leave called when the user presses `escapeKey`, or the terminal has gone */
	constructor(
		input: TerminalInput,
		private readonly output: NodeJS.WritableStream,
		leave: () => void,
		escapeKey = ESCAPE_KEY,
	) {
		const onKeys = (keys: Uint8Array): void => {
			this.queries.followInput(keys);
			if (this.released) return;
			const end = keys.indexOf(escapeKey);
			if (end !== 0) this.console?.write(end < 0 ? keys : keys.subarray(0, end));
			if (end >= 0) leave();
		};
		this.terminal = new RawTerminal(input, { onKeys, onGone: leave }, () => this.disconnect());
	}

	/** Makes it the terminal of this console, and of no other. */
	connect(console: ConsolePort): void {
		this.disconnect();
		this.console = console;
		this.stopOutput = console.onOutput((data) => {
			this.modes.follow(data);
			this.queries.followOutput(data);
			this.output.write(data);
		});
	}

	/** The console has ended: the screen comes to rest, with what its programs had switched on. */
	disconnect(): void {
		this.console = undefined;
		this.stopOutput();
		this.stopOutput = () => {};
		const rest = this.modes.restore();
		if (rest !== "") this.output.write(rest);
		this.modes = new TerminalModes();
	}

	/** Gives the terminal back as it was, when the answers have come that it still owes to the guest's programs. */
	async release(): Promise<void> {
		if (this.released) return;
		this.released = true;
		this.disconnect();
		for (const deadline = performance.now() + ANSWER_PATIENCE; this.queries.unanswered; ) {
			if (performance.now() >= deadline) break;
			await new Promise((resolve) => setTimeout(resolve, ANSWER_INTERVAL));
		}
		this.terminal.release();
	}
}

/**
 * Tells the guest of each change of the window's size, until the returned function is called. The console's protocol does not carry it: it is
 * written to the guest's part of xenstore, where our /init watches for it (docs/guests.md).
 */
export function followWindow(output: WriteStream, store: { write(path: string, value: string): void }): () => void {
	const tell = (): void => {
		if (output.rows > 0 && output.columns > 0) store.write(SIZE_NODE, `${output.rows} ${output.columns}`);
	};
	output.on("resize", tell);
	return () => output.removeListener("resize", tell);
}

/** Rows and columns for the guest's terminal, as words for its kernel's command line that our /init understands. */
export function terminalArguments(output: WriteStream, environment: NodeJS.ProcessEnv): string[] {
	const { TERM } = environment;
	const words: string[] = [];
	if (TERM !== undefined && /^[\w.+-]{1,40}$/.test(TERM)) words.push(`paravirt.term=${TERM}`);
	if (output.rows > 0) words.push(`paravirt.rows=${output.rows}`);
	if (output.columns > 0) words.push(`paravirt.columns=${output.columns}`);
	return words;
}
