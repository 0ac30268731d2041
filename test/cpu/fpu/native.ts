/** Builds native.c with the host's gcc and runs records through it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { arch, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Why the host cannot be the oracle, or undefined where it can. */
export function whyNoOracle(): string | undefined {
	if (arch() !== "x64") {
		return `the host is ${arch()}, not x86-64`;
	}
	return spawnSync("gcc", ["--version"]).status === 0 ? undefined : "gcc is missing";
}

/** @returns the records as the host's processor leaves them. */
export function runNatively(records: Uint8Array): Uint8Array {
	const folder = mkdtempSync(join(tmpdir(), "paravirt-x87-"));
	try {
		const program = join(folder, "native");
		const source = join(dirname(fileURLToPath(import.meta.url)), "native.c");
		const built = spawnSync("gcc", ["-O1", "-o", program, source], { encoding: "utf8" });
		if (built.status !== 0) {
			throw new Error(`gcc: ${built.stderr}`);
		}
		const run = spawnSync(program, [], { input: records, maxBuffer: records.length + 1 });
		if (run.status !== 0 || run.stdout.length !== records.length) {
			throw new Error(`the native program ended with ${run.status ?? run.signal} after ${run.stdout.length} bytes`);
		}
		return new Uint8Array(run.stdout);
	} finally {
		rmSync(folder, { recursive: true });
	}
}
