/** Assembles echo.S, with the machine's binutils, into a kernel that the library and the command can boot. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Whether this machine can assemble x86-64 code. */
export const canAssemble = process.arch === "x64" && spawnSync("as", ["--version"]).status === 0;

/** A new directory with the kernel "echo" in it. */
export function assembleEchoGuest(): { readonly directory: string; readonly kernel: string } {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-echo-"));
	const object = join(directory, "echo.o");
	const kernel = join(directory, "echo");
	execFileSync("as", ["--64", "-o", object, fileURLToPath(new URL("echo.S", import.meta.url))]);
	execFileSync("ld", ["-N", "--no-warn-rwx-segments", "-Ttext=0x100000", "-e", "entry", "-o", kernel, object]);
	return { directory, kernel };
}
