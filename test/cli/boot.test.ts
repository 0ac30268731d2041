import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assembleEchoGuest, canAssemble } from "../host/echo-guest.ts";
import { type Outcome, runParavirt } from "./program.ts";

describe.runIf(canAssemble)("paravirt boot", () => {
	let directory = "";
	let kernel = "";
	let ramdisk = "";
	beforeAll(() => {
		({ directory, kernel } = assembleEchoGuest());
		ramdisk = join(directory, "ramdisk");
		writeFileSync(ramdisk, "a ramdisk of the user's");
	});
	afterAll(() => rmSync(directory, { recursive: true }));

	/** Boots the echo guest with `input` on a pipe that stays open where `keepOpen`; `answer` sees all output and may type more. */
	function boot(
		input: string,
		args: readonly string[] = [],
		keepOpen = false,
		answer?: (output: string) => string,
	): Promise<Outcome> {
		const all = ["boot", kernel, "--ramdisk", ramdisk, "--memory", "16M", ...args];
		return runParavirt(all, { input, keepOpen, ...(answer && { answer }) });
	}

	it.concurrent("types standard input on the console and ends with the guest", async () => {
		expect(await boot("abc.", ["--append", "more words "])).toEqual({
			status: 0,
			stdout: "console=hvc0 more words ABC",
			stderr: "",
		});
	});

	it.concurrent.each(["", "kernel.of=another -s", "console=ttyS0"])(
		"gives the kernel exactly the command line that is wanted: %j",
		async (line) => {
			for (const command of ["boot", "run"]) {
				const words = command === "boot" ? ["boot", kernel] : ["run", "--kernel", kernel];
				const all = [...words, "--ramdisk", ramdisk, "--memory", "16M", `--cmdline=${line}`];
				expect(await runParavirt(all, { input: "abc." })).toEqual({ status: 0, stdout: `${line}ABC`, stderr: "" });
			}
		},
	);

	it.concurrent("refuses what would add to a command line that is given as a whole", async () => {
		const refused = async (args: readonly string[], what: string): Promise<void> => {
			const { status, stdout, stderr } = await runParavirt([...args, "--cmdline", "x"]);
			expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
			expect(stderr).toContain(what);
		};
		await refused(["boot", kernel, "--append", "y"], "--append: --cmdline is the whole command line");
		await refused(["run", ramdisk, "--root", "xvda1"], "--root: --cmdline is the whole command line");
		const { status, stderr } = await runParavirt(["run", "--cmdline", "x", "--", "true"]);
		expect(status).toBe(2);
		expect(stderr).toContain("--cmdline: a command in the guest needs words of ours there");
	});

	it.concurrent("ends with the guest though its input goes on", async () => {
		expect(await boot(".", [], true)).toMatchObject({ status: 0, stdout: "console=hvc0" });
	});

	it.concurrent("starts a guest that asks for a restart again, with the same console", async () => {
		const { status, stdout, stderr } = await boot("a*", [], true, (output) =>
			output.split("console=hvc0").length === 3 && !output.endsWith("B") ? "b." : "",
		);
		expect(stdout).toBe("console=hvc0Aconsole=hvc0B");
		expect(stderr).toBe("paravirt: the guest asked for a restart; starting it again\n");
		expect(status).toBe(0);
	});

	it.concurrent("ends a guest that asks for a restart where that is not wanted", async () => {
		const { status, stdout, stderr } = await boot("a*", ["--no-reboot"], true);
		expect(stdout).toBe("console=hvc0A");
		expect(stderr).toContain("asked for a restart; it has been ended");
		expect(status).toBe(0);
	});

	it.concurrent("has status 3 and a report where the guest crashes", async () => {
		const { status, stderr } = await boot("!");
		expect(status).toBe(3);
		expect(stderr).toMatch(/Domain 1 \(guest\) crashed: /);
		expect(stderr).toMatch(/rax 0000000000000123/);
		expect(stderr).toContain("Call trace:");
	});

	it.concurrent("has status 4 where time is up", async () => {
		const { status, stderr } = await boot("", ["--timeout", "0.5"], true);
		expect(status).toBe(4);
		expect(stderr).toContain("still running after 0.5 seconds");
	});

	it.concurrent("writes statistics", async () => {
		const file = join(directory, "statistics.json");
		expect(await boot("a.", ["--stats", file, "--clock", "deterministic"])).toMatchObject({ status: 0 });
		const statistics = JSON.parse(readFileSync(file, "utf8"));
		expect(statistics).toMatchObject({ clock: "deterministic", hypercalls: { event_channel_op: 2 } });
		expect(statistics.cpuSeconds).toBeGreaterThan(0);
		expect(statistics.tlbMisses).toBeGreaterThan(0);
		const { interpreted, translated, translator, decoded } = statistics.execution;
		expect(interpreted + translated).toBe(statistics.instructions);
		expect(decoded.pages).toBeGreaterThan(0);
		expect(translator.liveRegions).toBeLessThanOrEqual(translator.regions);
	});

	it.concurrent("traces hypercalls on standard error", async () => {
		const { stderr } = await boot("a.", ["--trace", "hypercalls"]);
		expect(stderr).toMatch(/^d1v0 event_channel_op\(/m);
		expect(stderr).toMatch(/^d1v0 sched_op\(/m);
	});

	it.concurrent("tells where statistics cannot be written", async () => {
		const { status, stderr } = await boot(".", ["--stats", join(directory, "no/such/file")]);
		expect(status).toBe(1);
		expect(stderr).toContain("no/such/file: no such file");
	});
});
