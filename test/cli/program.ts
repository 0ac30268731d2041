/** Runs programs for tests, first of all the command itself from its source: what they print and how they end. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** The command, from its source. */
export const PARAVIRT = [process.execPath, "--import", "tsx", MAIN] as const;

export interface Outcome {
	/** Exit status; null where a signal has ended it. */
	readonly status: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

export interface ProgramOptions {
	/** What is written to its standard input. */
	readonly input?: string;
	/** Standard input is not closed after that. */
	readonly keepOpen?: boolean;
	/** Called with all that it has printed, whenever that is more; what it returns is typed. */
	readonly answer?: (stdout: string) => string;
	readonly env?: NodeJS.ProcessEnv;
	/** Milliseconds after which it is killed; it has no limit by default. */
	readonly patience?: number;
}

/** Runs a program to its end. */
export async function runProgram(
	[program, ...args]: readonly [string, ...string[]],
	{ input = "", keepOpen = false, answer, env, patience }: ProgramOptions = {},
): Promise<Outcome> {
	const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env });
	let stdout = "";
	let stderr = "";
	child.stdout.on("data", (data) => {
		stdout += data;
		const more = answer?.(stdout) ?? "";
		if (more !== "") child.stdin.write(more);
	});
	child.stderr.on("data", (data) => {
		stderr += data;
	});
	// It may end before it has read all of it.
	child.stdin.on("error", () => {});
	child.stdin.write(input);
	if (!keepOpen) child.stdin.end();
	const timer = patience === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), patience);
	const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
	clearTimeout(timer);
	return { status, stdout, stderr };
}

/** Runs `paravirt ARGUMENTS`. */
export function runParavirt(args: readonly string[], options: ProgramOptions = {}): Promise<Outcome> {
	return runProgram([...PARAVIRT, ...args], options);
}
