/**
 * The user's terminal as a guest's console: raw, so that every key goes to the guest, and back as it was on every way out -
 * return, exception, signal. SIGKILL is the one that nothing can be done about (`reset` helps then).
 */

import type { ReadStream, WriteStream } from "node:tty";
import { SIZE_NODE } from "../guests/init.ts";
import { TerminalModes } from "./terminal-modes.ts";

/** Ctrl-], by which `xl console` is left too. */
export const ESCAPE_KEY = 0x1d;

const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;
const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGQUIT: 3 } as const;

/** A guest's console, as the two kinds of input here use it. */
export interface ConsolePort {
	/** Gives input to the guest. */
	write(data: Uint8Array): void;
	/** Bytes of input that the guest had no room for yet. */
	readonly pendingInput: number;
	/** Calls `listener` each time that the guest has all input. Returns what stops that. */
	onInputTaken(listener: () => void): () => void;
	/** Calls `listener` with each piece of output. Returns what stops that. */
	onOutput(listener: (data: Uint8Array) => void): () => void;
}

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

/**
 * Connects a terminal to a console until the returned function is called.
 * @param leave called when the user presses Ctrl-], or `escapeKey`
 */
export function attachTerminal(
	console: ConsolePort,
	input: ReadStream,
	output: NodeJS.WritableStream,
	leave: () => void,
	escapeKey = ESCAPE_KEY,
): () => void {
	const modes = new TerminalModes();
	const toGuest = (data: Uint8Array): void => {
		const end = data.indexOf(escapeKey);
		if (end !== 0) console.write(end < 0 ? data : data.subarray(0, end));
		if (end >= 0) leave();
	};
	const rawAgain = (): void => {
		input.setRawMode(true);
	};
	const stopOutput = console.onOutput((data) => {
		modes.follow(data);
		output.write(data);
	});
	const detach = onEveryExit(() => {
		input.removeListener("data", toGuest);
		process.removeListener("SIGCONT", rawAgain);
		stopOutput();
		output.write(modes.restore());
		input.setRawMode(false);
		input.pause();
	});
	input.setRawMode(true);
	input.on("data", toGuest);
	// Whoever stops the process from outside gets the terminal from the shell as the shell left it.
	process.on("SIGCONT", rawAgain);
	return detach;
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
