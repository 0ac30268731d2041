/** The command `paravirt boot` with Debian's kernel: how guests end, and what they are given. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianGuest } from "../../src/guests/debian.ts";
import { type Outcome, runParavirt } from "../cli/program.ts";
import { complaints } from "./guest.ts";

const MIB = 2 ** 20;

/** @param input lines for the guest's shell */
async function boot(input: string, ...args: string[]): Promise<Outcome> {
	const outcome = await runParavirt(["boot", ...args], { input });
	return { ...outcome, stdout: outcome.stdout.replaceAll("\r\n", "\n") };
}

describe("paravirt boot with Debian's kernel", () => {
	let directory = "";
	beforeAll(async () => {
		// Fetched here, where it may take its time.
		await debianGuest();
		directory = mkdtempSync(join(tmpdir(), "paravirt-boot-"));
	}, 600_000);
	afterAll(() => rmSync(directory, { recursive: true }));

	it("reports a crash of the kernel, with the names of its functions, and ends with status 3", async () => {
		const { status, stdout, stderr } = await boot("echo c >/proc/sysrq-trigger\n", "--clock", "deterministic");
		expect(status).toBe(3);
		expect(stdout).toContain("Kernel panic - not syncing: sysrq triggered crash");
		expect(stderr).toMatch(/^Domain 1 \(guest\) crashed: /m);
		expect(stderr).toMatch(/ rax [0-9a-f]{16}$/m);
		const trace = stderr.slice(stderr.indexOf("Call trace:"));
		for (const name of ["xen_reboot", "panic", "sysrq_handle_crash", "write_sysrq_trigger", "vfs_write"]) {
			expect(trace).toMatch(new RegExp(`\\b${name}\\+0x`));
		}
	});

	it("powers off at the end of its input; 96 MiB are enough", async () => {
		const { status, stdout } = await boot("grep MemTotal /proc/meminfo\n", "--memory", "96M");
		expect(status).toBe(0);
		expect(stdout).toMatch(/^MemTotal: +\d{4,5} kB$/m);
		expect(complaints(stdout)).toEqual([]);
	});

	it("ends a guest whose time is up with status 4", async () => {
		const { status, stdout, stderr } = await boot("", "--timeout", "4");
		expect(status).toBe(4);
		expect(stderr).toContain("still running after 4 seconds");
		expect(stdout === "" || stdout.includes("Linux version")).toBe(true);
	});

	it("refuses a ramdisk that is larger than the memory", async () => {
		const ramdisk = join(directory, "ramdisk");
		writeFileSync(ramdisk, new Uint8Array(80 * MIB));
		const { status, stderr } = await boot("", "--ramdisk", ramdisk, "--memory", "96M");
		expect(status).toBe(1);
		expect(stderr).toContain(`${ramdisk}: the ramdisk of 80 MiB (unpacked) does not fit into the domain's 96 MiB`);
		expect(stderr).toMatch(/--memory \d+M/);
	});

	it("refuses a memory that the kernel's own start does not fit into", async () => {
		const { status, stderr } = await boot("", "--memory", "64M");
		expect(status).toBe(1);
		expect(stderr).toMatch(/vmlinuz: it needs \d+ MiB to start and the domain has 64 MiB/);
		expect(stderr).toMatch(/--memory \d+M/);
	});
});
