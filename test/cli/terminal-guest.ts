/** For terminal.test.ts: the terminal of a console that repeats what is typed, until one of the ways out; "r" restarts the guest. */
import { setTimeout as sleep } from "node:timers/promises";
import { ConsoleTerminal } from "../../src/cli/terminal.ts";

const [, , way] = process.argv;
const encoder = new TextEncoder();
let print: (data: Uint8Array) => void = () => {};

/** Keeps the program running until it is left, as a guest would. */
const clock = setInterval(() => {}, 1000);

const terminal = new ConsoleTerminal(process.stdin, process.stdout, () => {
	clearInterval(clock);
	void terminal.release().then(() => process.stdout.write("left\n"));
});

async function restart(): Promise<void> {
	terminal.disconnect();
	process.stdout.write("between guests\n");
	await sleep(500);
	boot();
}

function boot(): void {
	terminal.connect({
		write(typed) {
			const data = typeof typed === "string" ? encoder.encode(typed) : typed;
			print(data);
			if (way === "exception") throw new Error("something went wrong");
			if (way === "busy") {
				print(encoder.encode("busy\n"));
				Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
			}
			if (way === "exit" || way === "busy") process.exit(7);
			if (data.includes(0x72)) void restart();
		},
		pendingInput: 0,
		onInputTaken: () => () => {},
		onOutput(listener) {
			print = listener;
			return () => {
				print = () => {};
			};
		},
	});
	print(encoder.encode("\x1b[?25lready\n"));
	if (way === "ask") print(encoder.encode("\x1b[6n"));
}
boot();
if (way === "stop") process.on("SIGCONT", () => print(encoder.encode("continued\n")));
