/** What the commands' programs have in common: errors become messages and exit statuses, and a reader that has gone ends them. */
import { describeError, ExitStatus, fileError } from "./errors.ts";

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
	try {
		await main(process.argv.slice(2));
	} catch (error) {
		const { text, status } = describeError(error);
		process.stderr.write(text);
		process.exitCode = status;
	}
}
