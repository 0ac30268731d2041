/** What the commands' programs have in common: errors become messages and exit statuses, and a reader that has gone ends them. */
import { setFlagsFromString } from "node:v8";
import { describeError, ExitStatus, fileError } from "./errors.ts";

/**
 * The programs run for seconds, and V8 would spend a part of that on inlining in our functions, more than it gains. It counts for what is loaded from
 * then on: the programs import the machine when they need it. docs/performance.md has it for users of the library.
 */
const V8_FLAGS = ["--max-inlined-bytecode-size-cumulative=200"];
/** Lets V8 move what emitted code hardly ever does out of the way of the rest. Later versions do that without a flag, and would complain of it. */
if (Number.parseInt(process.versions.v8, 10) <= 13) V8_FLAGS.push("--experimental-wasm-branch-hinting");

/** Runs a program to its end. */
export async function runProgram(main: (args: readonly string[]) => Promise<void>): Promise<void> {
	process.stdout.on("error", (error: NodeJS.ErrnoException) => {
		// Whoever reads our output has gone, as `paravirt inspect KERNEL | head` does.
		if (error.code === "EPIPE") process.exit(141);
		process.stderr.write(describeError(fileError("standard output", error)).text);
		process.exit(ExitStatus.hostError);
	});
	process.stderr.on("error", (error: NodeJS.ErrnoException) => {
		process.exit(error.code === "EPIPE" ? 141 : ExitStatus.hostError);
	});
	for (const flag of V8_FLAGS) setFlagsFromString(flag);
	try {
		await main(process.argv.slice(2));
	} catch (error) {
		const { text, status } = describeError(error);
		process.stderr.write(text);
		process.exitCode = status;
	}
	// What is still open - a socket, a timer, standard input - is of no use to anybody now, and would keep the command from ending.
	await Promise.all([process.stdout, process.stderr].map(written));
	process.exit();
}

/** Resolved when all that was written to a stream has left the process, or cannot. */
function written(stream: NodeJS.WriteStream): Promise<void> {
	return new Promise((resolve) => {
		stream.write("", () => resolve());
	});
}
