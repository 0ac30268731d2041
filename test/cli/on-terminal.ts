/** Runs a program on a terminal of its own, by on-terminal.py. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { runProgram } from "./program.ts";

const DRIVER = fileURLToPath(new URL("on-terminal.py", import.meta.url));

/** Whether this machine has what the driver needs. */
export const canDriveTerminal = process.platform === "linux" && spawnSync("python3", ["--version"]).status === 0;

/** When the text has been printed since the step before, the keys are pressed and the signals are sent. */
export type TerminalStep = readonly [text: string, keys: string, ...signals: NodeJS.Signals[]];

export interface TerminalOutcome {
	/** c_iflag, c_oflag, c_cflag and c_lflag of the terminal (termios.h); meanwhile: at the last step. */
	readonly before: number[];
	readonly during: number[] | null;
	readonly after: number[];
	readonly output: string;
	/** Input that the program has not read: it would be the shell's. */
	readonly left: string;
	/** Steps that were not come to. */
	readonly steps: number;
	/** Exit status; null if it had to be killed. */
	readonly status: number | null;
}

export interface TerminalOptions {
	readonly env?: NodeJS.ProcessEnv;
	/** Seconds until the terminal answers what it is asked; 0 by default. */
	readonly answerDelay?: number;
	/** Seconds after which the program is killed; 60 by default. */
	readonly patience?: number;
}

export async function runOnTerminal(
	command: readonly string[],
	steps: readonly TerminalStep[],
	{ env = process.env, answerDelay = 0, patience = 60 }: TerminalOptions = {},
): Promise<TerminalOutcome> {
	const { stdout, stderr } = await runProgram(["python3", DRIVER, JSON.stringify(steps), ...command], {
		env: { ...env, ANSWER_DELAY: String(answerDelay), PATIENCE: String(patience) },
	});
	if (stdout === "") throw new Error(`the terminal's driver has failed: ${stderr}`);
	return JSON.parse(stdout) as TerminalOutcome;
}
