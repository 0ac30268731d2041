import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { GUEST_MODULES } from "../../src/guests/initramfs.ts";
import { type Outcome, runParavirt } from "./program.ts";

const directory = mkdtempSync(join(tmpdir(), "paravirt-cli-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Runs the command with no input and an empty cache. */
function paravirt(...args: string[]): Promise<Outcome> {
	return paravirtIn(directory, ...args);
}

function paravirtIn(cache: string, ...args: string[]): Promise<Outcome> {
	return runParavirt(args, { env: { ...process.env, XDG_CACHE_HOME: cache, NO_COLOR: "1" } });
}

function file(name: string, contents: string | Uint8Array): string {
	const path = join(directory, name);
	writeFileSync(path, contents);
	return path;
}

/** A cache with Debian's kernel in it, which is no kernel any more. */
function damagedCache(): string {
	const cache = join(directory, "damaged");
	for (const [name, contents] of [
		["guests/default/vmlinuz", "rubbish"],
		["guests/default/guest.json", JSON.stringify({ release: "6.1", packages: {}, wanted: GUEST_MODULES })],
		["guests/default/modules/modules.dep", ""],
		["busybox/busybox", ""],
		["busybox/busybox.json", "{}"],
	] as const) {
		const path = join(cache, "paravirt", name);
		mkdirSync(dirname(path), { recursive: true });
		writeFileSync(path, contents);
	}
	return cache;
}

describe("the command", () => {
	it.concurrent("tells its version and how to use it", async () => {
		expect((await paravirt("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
		const help = await paravirt("--help");
		expect(help).toMatchObject({ status: 0, stderr: "" });
		expect(help.stdout).toMatch(/^ {2}boot .*\n {2}run .*\n {2}inspect /m);
		const { stdout } = await paravirt("boot", "--help");
		for (const option of ["ramdisk", "append", "memory", "vcpus", "clock", "stats", "trace", "timeout"]) {
			expect(stdout).toContain(`--${option} `);
		}
		const run = await paravirt("run", "--help");
		expect(run.status).toBe(0);
		for (const option of ["disk", "share", "forward", "net", "root", "kernel", "own-kernel", "memory"]) {
			expect(run.stdout).toContain(`--${option}`);
		}
	});

	it.concurrent("tells how to get another kernel where the one in the cache is damaged", async () => {
		const ramdisk = file("any-ramdisk", "x");
		const { status, stderr } = await paravirtIn(damagedCache(), "boot", "--ramdisk", ramdisk);
		expect(stderr).toMatch(/vmlinuz: it is neither .*\nFetch it again: paravirt boot --update\.\n$/);
		expect(status).toBe(1);
	});

	it.concurrent("tells where the cache cannot be written", async () => {
		const { status, stderr } = await paravirtIn(file("cache-file", ""), "boot");
		expect(stderr).toMatch(/cache-file.paravirt: a part of the path is no directory\n.*XDG_CACHE_HOME/);
		expect(status).toBe(1);
	});

	const text = file("text", "This is no kernel.\n".repeat(100));
	const elf = file("elf", "\x7fELF");
	const missing = join(directory, "missing");
	const refused: readonly (readonly [name: string, args: string[], status: number, message: string, remedy: string])[] =
		[
			["no command", ["bot"], 2, "unknown command bot", "Did you mean paravirt boot?"],
			["an unknown option", ["boot", "--memroy", "1G"], 2, "unknown option --memroy", "Did you mean --memory?"],
			["an unknown option before a command", ["--verison"], 2, "unknown option --verison", "--version"],
			["a bad size", ["boot", "--memory", "lots"], 2, '--memory: "lots" is no size', "512M"],
			["too little memory", ["boot", "--memory", "4M"], 2, "--memory: 4M is too little", "128M or more"],
			["too much memory", ["boot", "--memory", "9T"], 2, "--memory: 9T is more than", "at most"],
			["a bad number", ["boot", "--vcpus", "0"], 2, '--vcpus: "0" is not possible', "from 1 to"],
			["a bad clock", ["boot", "--clock", "slow"], 2, '--clock: "slow"', "real, deterministic"],
			[
				"a bad disk",
				["boot", "--disk", "a.img,,xvda,r", "--disk=a.img,vmdk,xvdb"],
				2,
				"--disk a.img,vmdk,xvdb: unknown format vmdk",
				"raw or qcow2",
			],
			["a bad trace", ["boot", "--trace", "all,nothing"], 2, '--trace: "all,nothing"', "hypercalls"],
			["a bad suite", ["boot", "--suite", "../x"], 2, '--suite: "../x"', "trixie"],
			["no such kernel", ["boot", missing], 1, `${missing}: no such file`, "Check the path."],
			["a directory", ["boot", directory], 1, `${directory}: is a directory`, "Name a file"],
			["an empty name", ["boot", ""], 1, '"": no such file', "Check the path."],
			["half an ELF header", ["boot", elf, "--ramdisk", text], 1, `${elf}: it ends inside its ELF header`, "again"],
			[
				"no place for statistics",
				["boot", elf, "--ramdisk", text, "--stats", directory],
				1,
				`${directory}: is a`,
				"Name",
			],
			["no such ramdisk", ["boot", text, "--ramdisk", missing], 1, `${missing}: no such file`, "Check"],
			["no image's action", ["image"], 2, "image needs an action and a file", "image create FILE"],
			["a small image", ["image", "create", missing, "--size", "1M"], 2, "--size: 1M is too small", "1G"],
			["no package's name", ["image", "create", missing, "--packages", "a_b"], 2, '--packages: "a_b"', "a,b"],
			["an image that is there", ["image", "create", text], 2, `${text} exists already`, "--force"],
			["an entry of nothing", ["boot", "--entry", "1"], 2, "--entry needs --grub", "--grub FILE"],
			["no configuration", ["boot", "--grub", missing], 1, `${missing}: no such file`, "Check the path."],
			["no command to run", ["run", "--"], 2, "run: no command behind --", "leave it out"],
			["an option of boot's alone", ["run", "--grub", text], 2, "unknown option --grub", "lists the options"],
			["no image to run", ["run", missing], 1, `${missing}: no such file`, "Check the path."],
			["a root without a disk", ["run", "--root", "xvda"], 2, "--root: there is no disk", "--disk FILE"],
			["a folder without a path", ["run", "--share", ":tag"], 2, "--share :tag: the folder is missing", "PATH"],
			["a bad forward", ["run", "--forward", "80"], 2, "--forward 80: that is no forward", "8080:80"],
			["two kernels", ["run", text, "--own-kernel", "--kernel", elf], 2, "--kernel: with --own-kernel", "Leave one"],
			["no image with a kernel", ["run", "--own-kernel"], 2, "--own-kernel: there is no image", "IMAGE --own-kernel"],
			["a command in a whole system", ["run", text, "--own-kernel", "--", "ls"], 2, "--own-kernel: a command", "out"],
			["no kernel to inspect", ["inspect"], 2, "inspect needs a kernel", "paravirt inspect KERNEL"],
		];

	it.concurrent.each(refused)("refuses %s with a reason and a remedy", async (_, args, status, message, remedy) => {
		const outcome = await paravirt(...args);
		expect(outcome).toMatchObject({ status, stdout: "" });
		const [first, second] = outcome.stderr.split("\n");
		expect(first).toContain(`paravirt: ${message}`);
		expect(second).toContain(remedy);
		expect(outcome.stderr).not.toContain("    at ");
	});
});
