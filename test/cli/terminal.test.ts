import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

interface Outcome {
	readonly before: number[];
	readonly during: number[] | null;
	readonly after: number[];
	readonly output: string;
	readonly status: number | null;
}

/** Runs terminal-guest.ts on a terminal of its own. */
async function onTerminal(way: string, keys: string, signal: string): Promise<Outcome> {
	const command = [process.execPath, "--import", "tsx", here("terminal-guest.ts"), way];
	const child = spawn("python3", [here("on-terminal.py"), keys, signal, ...command], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	let text = "";
	for await (const piece of child.stdout) text += piece;
	return JSON.parse(text) as Outcome;
}

const hasPython = spawnSync("python3", ["--version"]).status === 0;
/** c_lflag's ICANON and ECHO (termios.h). */
const COOKED = 0o2 | 0o10;

describe.runIf(hasPython && process.platform === "linux")("the terminal", () => {
	const ways: readonly (readonly [name: string, way: string, keys: string, signal: string, status: number])[] = [
		["Ctrl-]", "leave", "\\x1d", "", 0],
		["an exception", "exception", "x", "", 1],
		["process.exit", "exit", "x", "", 7],
		["SIGINT", "signal", "", "SIGINT", 130],
		["SIGTERM", "signal", "", "SIGTERM", 143],
		["SIGHUP", "signal", "", "SIGHUP", 129],
	];

	it.concurrent.each(ways)("is raw, and as it was after %s", async (_, way, keys, signal, status) => {
		const outcome = await onTerminal(way, keys, signal);
		expect(outcome.status, outcome.output).toBe(status);
		expect((outcome.during?.[3] ?? COOKED) & COOKED).toBe(0);
		expect(outcome.after).toEqual(outcome.before);
		expect(outcome.output).toContain("\x1b[?25h");
	});

	it("gives every key to the guest, also what signals elsewhere", async () => {
		const { output } = await onTerminal("leave", "a\\x03b\\x1a\\x1dc", "");
		expect(output).toContain("a\x03b\x1a");
		expect(output).not.toContain("c");
	});
});
