/** `xl console`: the user's terminal, or pipes, as a domain's console. */
import type { WriteStream } from "node:tty";
import type { Stream } from "../../daemon/client.ts";
import { UsageError } from "../errors.ts";
import { ConsoleTerminal, ESCAPE_KEY, followWindow } from "../terminal.ts";
import { operand, type Session, type Verb, wholeNumber } from "./verb.ts";

export interface ConsoleOptions {
	/** Which of its consoles: 0 is the first. */
	readonly number: number;
	/** Goes on with the domain that is started in its place when it ends. */
	readonly restarts: boolean;
	/** The character that leaves it, where it is on a terminal. */
	readonly escapeKey: number;
	/** Of pipes: the end of the input leaves the console, too. */
	readonly leavesAtEnd: boolean;
}

export interface AttachedConsole {
	/** Resolved when the domain has ended, or the user has left its console. */
	readonly ended: Promise<void>;
}

/**
 * Resolved when the console is attached: all that the domain writes from then on is shown.
 * @throws RemoteError if the daemon has no such domain or console
 */
export async function attachConsole(
	session: Session,
	domain: string,
	{ number, restarts, escapeKey, leavesAtEnd }: ConsoleOptions,
): Promise<AttachedConsole> {
	const client = await session.another();
	const interactive = process.stdin.isTTY && process.stdout.isTTY;
	let output: (bytes: Uint8Array) => void = () => {};
	let attach: () => void = () => {};
	const attached = new Promise<void>((resolve) => {
		attach = resolve;
	});
	const stream = client.stream("console", { domain, number, restarts }, (event) => {
		attach();
		output(Buffer.from(event.output, "base64"));
	});
	let detach: () => void | Promise<void> = () => {};
	const left = new Promise<void>((leave) => {
		detach = interactive
			? onTerminal(
					stream,
					escapeKey,
					leave,
					(listener) => {
						output = listener;
					},
					// Our /init follows the size of the first console's window.
					number === 0 ? (size) => client.request("terminalSize", { domain, ...size }) : undefined,
				)
			: onPipes(
					stream,
					(listener) => {
						output = listener;
					},
					() => {
						if (!leavesAtEnd) return;
						session.note("paravirt: the input has ended; xl console --wait stays until the domain's end");
						leave();
					},
				);
	});
	const ended = Promise.race([stream.result, left])
		.then(() => {})
		.finally(async () => {
			await detach();
			client.close();
		});
	await Promise.race([attached, ended]);
	return { ended };
}

type SetOutput = (listener: (bytes: Uint8Array) => void) => void;

function onTerminal(
	stream: Stream<"console">,
	escapeKey: number,
	leave: () => void,
	setOutput: SetOutput,
	setSize: ((size: { readonly rows: number; readonly columns: number }) => Promise<unknown>) | undefined,
): () => Promise<void> {
	const window = process.stdout as WriteStream;
	const port = {
		write: (bytes: Uint8Array) => {
			stream.write(bytes);
		},
		pendingInput: 0,
		onInputTaken: () => () => {},
		onOutput: (listener: (bytes: Uint8Array) => void) => {
			setOutput(listener);
			return () => setOutput(() => {});
		},
	};
	const terminal = new ConsoleTerminal(process.stdin, window, leave, escapeKey);
	terminal.connect(port);
	if (setSize === undefined) return () => terminal.release();
	const tellSize = (rows: number, columns: number): void => {
		// A domain that has ended has no use for it.
		setSize({ rows, columns }).catch(() => {});
	};
	const size = {
		write: (_: string, value: string) => {
			const [rows = 0, columns = 0] = value.split(" ").map(Number);
			tellSize(rows, columns);
		},
	};
	if (window.rows > 0) tellSize(window.rows, window.columns);
	const stopSizes = followWindow(window, size);
	return () => {
		stopSizes();
		return terminal.release();
	};
}

/** Milliseconds without output after which what was typed is taken to have been answered; and after which it is left whatever is said. */
const QUIET = 1000;
const LONGEST = 10_000;

/**
 * What comes on standard input is typed.
 * @param ended is called after its end, when the guest has said nothing for a while
 */
function onPipes(stream: Stream<"console">, setOutput: SetOutput, ended: () => void): () => void {
	const { stdin, stdout } = process;
	let quiet: NodeJS.Timeout | undefined;
	let longest: NodeJS.Timeout | undefined;
	setOutput((bytes) => {
		stdout.write(bytes);
		quiet?.refresh();
	});
	const type = (bytes: Uint8Array): void => {
		if (!stream.write(bytes)) stdin.pause();
	};
	stream.onDrain(() => stdin.resume());
	const end = (): void => {
		quiet = setTimeout(ended, QUIET);
		longest = setTimeout(ended, LONGEST);
	};
	stdin.on("data", type);
	stdin.once("end", end);
	return () => {
		clearTimeout(quiet);
		clearTimeout(longest);
		stdin.removeListener("data", type);
		stdin.removeListener("end", end);
		stdin.pause();
	};
}

/** xenconsole's: a character, or ^ and one that Ctrl makes of it. @throws UsageError */
function escapeCharacter(text: string): number {
	const match = /^(\^?)([\x20-\x7e])$/.exec(text);
	if (match === null)
		throw new UsageError(`console: -e: "${text}" is no character`, "Give a character, or ^ with one: ^].");
	const code = (match[2] as string).toUpperCase().charCodeAt(0);
	return match[1] === "^" ? code & 0x1f : (match[2] as string).charCodeAt(0);
}

export const CONSOLE_VERB: Verb = {
	name: "console",
	operands: "[options] <Domain>",
	count: [1, 1],
	summary: "Attach to domain's console (Ctrl-] leaves it)",
	options: [
		{ short: "t", value: "<type>", help: "The kind of console: pv, which is all that PV guests have." },
		{ short: "n", value: "<number>", help: "Its number: 0 (default), or that of a channel with connection=pty." },
		{ short: "e", value: "<escape>", help: "The character that leaves it, e.g. ^] (default) or x." },
		{ short: "w", long: "wait", help: "Of pipes: stay after the input's end until the domain's." },
	],
	async run(args, session) {
		const type = args.value("t") ?? "pv";
		if (type !== "pv") throw new UsageError(`console: a PV guest has no console of type "${type}"`, "It has pv.");
		const escapeKey = args.value("e");
		const { ended } = await attachConsole(session, operand(args, 0), {
			number: wholeNumber("console", "console number", args.value("n") ?? "0"),
			restarts: false,
			escapeKey: escapeKey === undefined ? ESCAPE_KEY : escapeCharacter(escapeKey),
			leavesAtEnd: !args.has("w"),
		});
		await ended;
	},
};
