/** The user's terminal while it is a guest's console, and afterwards. */
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { TerminalQueries } from "../../src/cli/terminal-queries.ts";
import { assembleEchoGuest, canAssemble } from "../host/echo-guest.ts";
import { canDriveTerminal, runOnTerminal, type TerminalOptions, type TerminalStep } from "./on-terminal.ts";
import { PARAVIRT } from "./program.ts";

const GUEST = fileURLToPath(new URL("terminal-guest.ts", import.meta.url));

/** Runs terminal-guest.ts on a terminal of its own. */
const onTerminal = (way: string, steps: readonly TerminalStep[], options?: TerminalOptions) =>
	runOnTerminal([process.execPath, "--import", "tsx", GUEST, way], steps, options);

/** c_lflag's ICANON and ECHO (termios.h). */
const COOKED = 0o2 | 0o10;

describe("what a terminal still has to answer", () => {
	const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
	const cases: readonly (readonly [output: readonly string[], input: readonly string[], unanswered: boolean])[] = [
		[["text\x1b[31m\x1b[2J"], [], false],
		[["\x1b[6n"], [], true],
		[["\x1b", "[", "6", "n"], [], true],
		[["\x1b[6n"], ["\x1b[12;34R"], false],
		[["\x1b[6n"], ["\x1b[12", ";34R"], false],
		[["\x1b[6n\x1b[c"], ["\x1b[12;34R"], true],
		[["\x1b[6n\x1b[c"], ["\x1b[12;34R\x1b[?62;22c"], false],
		[["\x1b[6n"], ["\x1b[A", "typed"], true],
		[["\x1b[>c\x1b[?1049$p\x1b]11;?\x07\x1b[18t"], ["\x1b[>0;115;0c\x1b[?1049;2$y"], true],
		[
			["\x1b[>c\x1b[?1049$p\x1b]11;?\x07\x1b[18t"],
			["\x1b[>0;115;0c\x1b[?1049;2$y\x1b]11;rgb:0/0/0\x07\x1b[8;24;80t"],
			false,
		],
	];
	it.each(cases)("%j, and %j from the terminal: %s", (output, input, unanswered) => {
		const queries = new TerminalQueries();
		for (const piece of output) queries.followOutput(bytes(piece));
		for (const piece of input) queries.followInput(bytes(piece));
		expect(queries.unanswered).toBe(unanswered);
	});
});

describe.runIf(canDriveTerminal)("the terminal", () => {
	const ways: readonly (readonly [name: string, way: string, step: TerminalStep, status: number])[] = [
		["Ctrl-]", "leave", ["ready", "\x1d"], 0],
		["an exception", "exception", ["ready", "x"], 1],
		["process.exit", "exit", ["ready", "x"], 7],
		["SIGINT", "signal", ["ready", "", "SIGINT"], 130],
		["SIGTERM", "signal", ["ready", "", "SIGTERM"], 143],
		["SIGHUP", "signal", ["ready", "", "SIGHUP"], 129],
		["SIGQUIT", "signal", ["ready", "", "SIGQUIT"], 131],
	];

	it.concurrent.each(ways)("is raw, and as it was after %s", async (_, way, step, status) => {
		const outcome = await onTerminal(way, [step]);
		expect(outcome.status, outcome.output).toBe(status);
		expect((outcome.during?.[3] ?? COOKED) & COOKED).toBe(0);
		expect(outcome.after).toEqual(outcome.before);
		expect(outcome.output).toContain("\x1b[?25h");
	});

	it("gives every key to the guest, also what signals elsewhere", async () => {
		const { output, left } = await onTerminal("leave", [["ready", "a\x03b\x1a\x1dc"]]);
		expect(output).toContain("a\x03b\x1a");
		expect(output).not.toContain("c");
		expect(left).toBe("");
	});

	it("is the next guest's after each restart, at rest in between; what is typed then is nobody's", async () => {
		const { output, left, status, steps } = await onTerminal("leave", [
			["ready", "r"],
			["between", "never heard\r"],
			["ready", "first"],
			["first", "r"],
			["between", "never heard\r"],
			["ready", "second"],
			["second", "\x1d"],
		]);
		expect({ steps, status, left }).toEqual({ steps: 0, status: 0, left: "" });
		expect(output).not.toContain("never");
		expect(output.split("\x1b[?25h\x1b[0mbetween guests")).toHaveLength(3);
	});

	it("is left between two guests, too", async () => {
		const { status, steps, output } = await onTerminal("leave", [
			["ready", "r"],
			["between", "\x1d"],
		]);
		expect({ status, steps }, output).toEqual({ status: 0, steps: 0 });
	});

	it("is raw again when the program was stopped, and goes on after a shell has had the terminal", async () => {
		const { during, status, output } = await onTerminal("stop", [
			["ready", "", "SIGSTOP", "SIGCONT"],
			["continued", "\x1d"],
		]);
		expect(status, output).toBe(0);
		expect((during?.[3] ?? COOKED) & COOKED).toBe(0);
	});

	it("leaves nothing to the shell that was typed before the guest ended", async () => {
		const { left, status, steps } = await onTerminal("busy", [
			["ready", "x"],
			["busy", "never read\r"],
		]);
		expect({ left, status, steps }).toEqual({ left: "", status: 7, steps: 0 });
	});

	it.each([0, 0.1])("answers no question of the guest's to the shell, %f seconds later", async (answerDelay) => {
		const { left, status, output } = await onTerminal("ask", [["ready", "\x1d"]], { answerDelay });
		expect({ left, status }, output).toEqual({ left: "", status: 0 });
	});
});

describe.runIf(canDriveTerminal && canAssemble)("paravirt boot on a terminal", () => {
	const { directory, kernel } = canAssemble ? assembleEchoGuest() : { directory: "", kernel: "" };
	afterAll(() => rmSync(directory, { recursive: true, force: true }));
	const command = [...PARAVIRT, "boot", kernel, "--memory", "16M", "--append", "ready"];

	it("has keys for the guest after two restarts, and none for the shell", async () => {
		const { status, left, steps, output } = await runOnTerminal(command, [
			["ready", "a*never"],
			["A", ""],
			["ready", "b*never"],
			["B", ""],
			["ready", "c"],
			["C", "\x1d"],
		]);
		expect({ status, left, steps }, output).toEqual({ status: 0, left: "", steps: 0 });
		expect(output).toContain("Left the console");
		expect(output).not.toContain("EVER");
	});

	it("is the shell's again after the guest has ended", async () => {
		const { before, after, status, left } = await runOnTerminal(command, [
			["ready", "*"],
			["ready", ".never"],
		]);
		expect({ status, left, after }).toEqual({ status: 0, left: "", after: before });
	});
});
