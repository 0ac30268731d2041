/** paravirt-xl as a program: it starts the daemon, which outlives it; a terminal as the console; a daemon that is killed. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { DaemonClient } from "../../../src/daemon/client.ts";
import { daemonPaths } from "../../../src/daemon/paths.ts";
import { ownEnvironment } from "../../daemon/running.ts";
import { assembleGuest, guestSources } from "../../guests/build.ts";
import { assembleEchoGuest, canAssemble } from "../../host/echo-guest.ts";
import { runOnTerminal, type TerminalStep } from "../on-terminal.ts";
import { type Outcome, runProgram } from "../program.ts";

const program = (name: string): string => fileURLToPath(new URL(`../../../src/cli/${name}.ts`, import.meta.url));
const COMMAND = [process.execPath, "--import", "tsx", program("paravirt-xl")] as const;

describe.runIf(canAssemble && process.platform === "linux")("paravirt-xl", () => {
	const { directory: home, environment } = ownEnvironment();
	const guest = canAssemble ? assembleEchoGuest() : { directory: home, kernel: "" };
	const file = join(guest.directory, "ready.cfg");
	writeFileSync(file, `name = "ready"\nkernel = "echo"\nextra = "ready"\nmemory = 8\n`);
	/** It says some lines and powers off. */
	const versions = guestSources().find(({ name }) => name === "xen_version");
	const brief = canAssemble && versions !== undefined ? assembleGuest(versions, guest.directory) : "";
	const paths = daemonPaths(environment);
	const xl = (...args: string[]): Promise<Outcome> => runProgram([...COMMAND, ...args], { env: environment });
	afterAll(async () => {
		const client = await DaemonClient.connect(paths).catch(() => undefined);
		await client?.request("stop", { force: true });
		await client?.closed;
		rmSync(guest.directory, { recursive: true, force: true });
		rmSync(home, { recursive: true, force: true });
	});

	it("starts one daemon for commands that come at once, and another where that was killed", async () => {
		mkdirSync(join(home, "paravirt"), { mode: 0o700 });
		const inItsDirectory = { ...environment, PWD: guest.directory };
		const create = (name: string): Promise<Outcome> =>
			runProgram([...COMMAND, "create", "-q", file, `name="${name}"`, `kernel="${guest.kernel}"`], {
				env: inItsDirectory,
			});
		const made = await Promise.all([create("one"), create("two")]);
		expect(made).toMatchObject([{ status: 0 }, { status: 0 }]);
		const client = await DaemonClient.connect(paths);
		expect((await client.request("list", {})).map(({ name }) => name).sort()).toEqual(["Domain-0", "one", "two"]);
		process.kill(client.daemon.pid, "SIGKILL");
		await client.closed;
		const after = await xl("list");
		// Unless the other command has started a daemon too, which was late.
		if (after.stderr !== "") {
			expect(after.stderr).toMatch(
				/^paravirt: the daemon \(process \d+\) was killed, and its domains are lost: (?:one|two) \(1\), (?:one|two) \(2\)\nIts log may tell why: .+\n$/,
			);
			expect(after.stdout).toMatch(/^Name .*\nDomain-0 {37}0 .*\n$/);
		}
		// The other command may have started a daemon too, which was late and stands in for the dead one now.
		expect((await xl("pause", "one")).stderr).toMatch(/no daemon runs|no domain called "one"/);
		expect(await create("ready")).toMatchObject({ status: 0 });
		const again = await DaemonClient.connect(paths);
		expect((await again.request("list", {})).map(({ name }) => name)).toEqual(["Domain-0", "ready"]);
		again.close();
	}, 300_000);

	it.each([["-c"], ["-Fc"]])("shows all that a domain says which is soon gone: create %s", async (...options) => {
		const name = `brief${options.length}`;
		const settings = [`name="${name}"`, `kernel="${brief}"`];
		const { status, stdout, stderr } = await runProgram([...COMMAND, "create", "-q", ...options, file, ...settings], {
			env: environment,
		});
		expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
		expect(stdout).toMatch(/^version=0x40011\n/);
		expect(stdout).toMatch(/\n$/);
	});

	const ways: readonly (readonly [name: string, step: TerminalStep, status: number])[] = [
		["q", ["ready", "q"], 0],
		["Ctrl-C", ["ready", "\x03"], 0],
		["SIGTERM", ["ready", "", "SIGTERM"], 143],
	];
	it.each(ways)(
		"shows top on a terminal, again and again until %s, and leaves it as it was",
		async (_, step, status) => {
			// The domain's name, once in each screen.
			const steps = [["ready", ""], ["ready", ""], step] as const;
			const outcome = await runOnTerminal([...COMMAND, "top", "-d", "0.1"], steps, { env: environment });
			expect(outcome.status, outcome.output).toBe(status);
			expect((outcome.during?.[3] ?? 0o13) & 0o13).toBe(0);
			expect(outcome.after).toEqual(outcome.before);
			const { output } = outcome;
			// The alternate screen, without a cursor; and both as they were.
			expect(output.startsWith("\x1b[?1049h\x1b[?25l")).toBe(true);
			expect(output.endsWith("\x1b[?25h\x1b[?1049l")).toBe(true);
			const screens = output.split("\x1b[H").slice(1);
			expect(screens.length).toBeGreaterThanOrEqual(3);
			for (const screen of screens.slice(0, 3)) {
				// The terminal's line discipline adds carriage returns of its own.
				const lines = screen.replaceAll("\r", "").split("\x1b[K\n");
				expect(lines[0]).toMatch(/^xentop - \d\d:\d\d:\d\d {3}Xen 4\.17/);
				expect(lines[1]).toMatch(/^2 domains: \d running, \d blocked, \d paused, 0 crashed, 0 dying, 0 shutdown$/);
				expect(lines[3]).toMatch(/^ {6}NAME {2}STATE {3}CPU\(sec\) CPU\(%\)/);
				expect(lines[5]).toMatch(/^ {5}ready [-rb]{6} +\d+ +\d+\.\d +8192 /);
			}
		},
		300_000,
	);

	it("has a terminal as the console: raw, left with Ctrl-] while the guest goes on, and as it was afterwards", async () => {
		const steps = [["ready", "abc\x03\x1dd"]] as const;
		const outcome = await runOnTerminal([...COMMAND, "console", "ready"], steps, { env: environment });
		expect(outcome.status, outcome.output).toBe(0);
		expect(outcome.output).toContain("ready");
		// ICANON, ECHO and ISIG of c_lflag.
		expect((outcome.during?.[3] ?? 0o13) & 0o13).toBe(0);
		expect(outcome.after).toEqual(outcome.before);
		expect(outcome.left).toBe("");
		const left = await runProgram([...COMMAND, "console", "ready"], { env: environment, input: "y" });
		expect(left).toMatchObject({ status: 0, stderr: expect.stringContaining("console --wait stays") });
		expect(left.stdout).toContain("Y");
		const piped = await runProgram([...COMMAND, "console", "-w", "ready"], { env: environment, input: "x." });
		expect(piped).toMatchObject({ status: 0, stderr: "" });
		expect(piped.stdout).toContain("X");
		expect(piped.stdout).not.toContain("D");
	}, 300_000);
});
