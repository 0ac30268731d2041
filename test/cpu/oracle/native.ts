/**
 * Builds native.c with the host's C compiler and runs batches of cases in it. Relies on gcc (or $CC), x86-64 and Linux.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import type { CaseBatch } from "./records.ts";

const SOURCE = fileURLToPath(new URL("./native.c", import.meta.url));
const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/paravirt-oracle/", import.meta.url));
const compiler = process.env["CC"] ?? "gcc";

/** Why this host cannot be the oracle, or undefined where it can. */
export function unavailable(): string | undefined {
	if (process.arch !== "x64" || process.platform !== "linux") {
		return `the oracle is an x86-64 Linux host's own processor; this is ${process.platform} on ${process.arch}`;
	}
	if (hostVendor() === undefined)
		return "the maker of this host's processor is none of those that src/cpu/vendor.ts knows";
	try {
		execFileSync(compiler, ["--version"], { stdio: "ignore" });
	} catch {
		return `no C compiler: ${compiler} does not start (set CC)`;
	}
	return undefined;
}

/** Builds native.c unless this version of it is built, and returns the program's path. */
export function build(): string {
	const version = createHash("sha256").update(readFileSync(SOURCE)).digest("hex").slice(0, 16);
	const program = join(CACHE, `native-${version}`);
	if (existsSync(program)) return program;
	mkdirSync(CACHE, { recursive: true });
	const temporary = `${program}.${process.pid}`;
	// The signal handler runs with the cases' FS base, so no stack protector, which would look there.
	execFileSync(compiler, ["-O2", "-Wall", "-fno-stack-protector", "-o", temporary, SOURCE], { stdio: "inherit" });
	renameSync(temporary, program);
	return program;
}

/** The host's processor as an engine for whole batches. */
export class Native {
	private readonly program = build();
	private readonly directory = mkdtempSync(join(tmpdir(), "paravirt-oracle-"));
	private runs = 0;

	/** Runs a batch; resolves with the results, one after the other as records.ts lays them out. The batch may be reused after. */
	async run(batch: CaseBatch): Promise<Uint8Array> {
		const name = join(this.directory, String(this.runs++));
		const input = `${name}.cases`;
		const output = `${name}.results`;
		await writeFile(input, batch.file());
		await new Promise<void>((resolve, reject) => {
			const child = spawn(this.program, [input, output], { stdio: ["ignore", "inherit", "inherit"] });
			child.on("error", reject);
			child.on("close", (code, signal) => {
				if (code === 0) resolve();
				else reject(new Error(`native oracle ended with ${signal ?? `status ${code}`}; cases in ${input}`));
			});
		});
		const results = await readFile(output);
		rmSync(input);
		rmSync(output);
		return results;
	}

	/** Removes temporary files. */
	close(): void {
		rmSync(this.directory, { recursive: true, force: true });
	}
}

/** CPUID's feature names of the host, as the kernel lists them. */
export function hostFeatures(): ReadonlySet<string> {
	const line = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
	return new Set((line?.[1] ?? "").trim().split(/\s+/));
}

/** The maker of the host's processor, as CPUID names it; undefined where it is none that {@link CpuVendor} knows. Hygon's are AMD's design. */
export function hostVendor(): CpuVendor | undefined {
	const name = /^vendor_id\s*:\s*(\S+)/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
	if (name === "GenuineIntel") return "intel";
	return name === "AuthenticAMD" || name === "HygonGenuine" ? "amd" : undefined;
}
