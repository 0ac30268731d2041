/**
 * A raw image as a writable root: `paravirt run` executes a command in its system, `paravirt boot` starts a shell on it; what both write is in
 * the image, whose file system is whole after each.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianGuest } from "../../src/guests/debian.ts";
import { runParavirt } from "../cli/program.ts";
import { debianImage, hasImageTools } from "./debian-image.ts";
import { complaints } from "./guest.ts";

/** Of one boot, on a busy machine. */
const LIMIT = 300_000;
const { PATH = "" } = process.env;
const env = { ...process.env, PATH: `${PATH}:/usr/sbin:/sbin` };

describe.runIf(hasImageTools)("a raw image as the root", () => {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-raw-"));
	const image = join(directory, "root.raw");
	beforeAll(async () => {
		await debianGuest();
		execFileSync("cp", ["--sparse=always", await debianImage([]), image]);
	}, 1_800_000);
	afterAll(() => rmSync(directory, { recursive: true }));

	/** What is in the image's file system, which must be one without a fault, and unmounted. */
	function contents(path: string): string {
		execFileSync("e2fsck", ["-fn", image], { env, stdio: "pipe" });
		const state = execFileSync("dumpe2fs", ["-h", image], { env, encoding: "utf8", stdio: "pipe" });
		expect(state).toMatch(/^Filesystem state: +clean$/m);
		expect(state).not.toContain("needs_recovery");
		return execFileSync("debugfs", ["-R", `cat ${path}`, image], {
			...{ env, encoding: "utf8", maxBuffer: 2 ** 24 },
			stdio: ["ignore", "pipe", "ignore"],
		});
	}

	it(
		"has a command run in its system, whose status and output are the command's own",
		async () => {
			const script = "head -n 1 /etc/os-release; dpkg -s libc6 | grep Status; seq 50000 >/root/run; exit 7";
			const { status, stdout } = await runParavirt([
				"run",
				image,
				"--clock",
				"deterministic",
				"--",
				"sh",
				"-c",
				script,
			]);
			expect({ status, lines: stdout.split("\n").slice(-3) }).toEqual({
				status: 7,
				lines: [expect.stringMatching(/^PRETTY_NAME="Debian/), "Status: install ok installed", ""],
			});
			expect(contents("/root/run").split("\n").length).toBe(50_001);
		},
		LIMIT,
	);

	it(
		"boots to a shell that works on it",
		async () => {
			const commands = [
				"findmnt -n -o SOURCE,FSTYPE /; md5sum </root/run",
				"cp -a /usr/share/doc /root/copy; seq 200000 >/root/numbers; rm /root/run",
				"sync; echo 3 >/proc/sys/vm/drop_caches; diff -r /usr/share/doc /root/copy && md5sum </root/numbers",
				"mount -o remount,ro / && echo o >/proc/sysrq-trigger; read",
			];
			let asked = false;
			const answer = (text: string): string => {
				if (asked || !/# $/.test(text)) return "";
				asked = true;
				return `stty -echo; PS1= PS2=\n${commands.join("\n")}\n`;
			};
			const append = "root=/dev/xvda rw init=/bin/bash quiet";
			const { status, stdout } = await runParavirt(
				["boot", "--disk", `${image},raw,xvda,rw`, "--append", append, "--clock", "deterministic"],
				{ keepOpen: true, answer },
			);
			const text = stdout.replaceAll("\r", "");
			expect(text).toContain("/dev/xvda ext4\n");
			// md5sum of the output of seq 50000 and of seq 200000.
			const sums = [50_000, 200_000].map((last) => execFileSync("md5sum", { input: sequence(last), encoding: "utf8" }));
			expect(text.match(/^[0-9a-f]{32} {2}-\n/gm)).toEqual(sums);
			expect(complaints(text)).toEqual([]);
			expect(status).toBe(0);
			expect(contents("/root/numbers")).toBe(sequence(200_000));
			expect(contents("/root/run")).toBe("");
		},
		LIMIT,
	);
});

/** What seq prints. */
function sequence(last: number): string {
	return Array.from({ length: last }, (_, index) => `${index + 1}\n`).join("");
}
