/** For terminal.test.ts: the terminal attached to a console that repeats what is typed, until one of the ways out. */
import type { ReadStream } from "node:tty";
import { attachTerminal } from "../../src/cli/terminal.ts";

const way = process.argv[2];
let print: (data: Uint8Array) => void = () => {};

/** Keeps the program running until it is left, as a guest would. */
const clock = setInterval(() => {}, 1000);

const detach = attachTerminal(
	{
		write(data) {
			print(data);
			if (way === "exception") throw new Error("something went wrong");
			if (way === "exit") process.exit(7);
		},
		pendingInput: 0,
		onInputTaken: () => () => {},
		onOutput(listener) {
			print = listener;
			return () => {};
		},
	},
	process.stdin as ReadStream,
	process.stdout,
	() => {
		clearInterval(clock);
		detach();
		process.stdout.write("left\n");
	},
);
print(new TextEncoder().encode("\x1b[?25lready\n"));
