/**
 * The benchmark's guest: an initramfs with busybox, the program `bench` (guest/bench.c, compiled here) and an /init that prints BOOT-OK,
 * works through the items that its kernel's command line names, prints ALL-DONE and powers off. The same bytes for every runner.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { debianBusybox, debianGuest } from "../src/guests/debian.ts";

import { buildInitramfs, regularFile } from "../src/guests/initramfs.ts";
import { debianFiles32 } from "./debian32.ts";

/** Nothing that depends on the compiler's idea of this machine: the same instructions and the same rounding everywhere. */
const COMPILER_OPTIONS = [
	"-O2",
	"-static",
	"-fno-pie",
	"-no-pie",
	"-ffp-contract=off",
	"-fno-math-errno",
	"-fno-tree-vectorize",
];

/** As Debian's i386 is compiled, but with SSE2: what its x87 code computes depends on what stays in registers. */
const OPTIONS_32 = ["-m32", "-march=i686", "-msse2", "-mfpmath=sse"];

export interface BenchGuest {
	/** Paths. */
	readonly kernel: string;
	readonly ramdisk: string;
	/** Of the host, to run the same work natively. */
	readonly program: string;
	readonly script: string;
	readonly busybox: string;
	readonly release: string;
}

/** Steers guest/bench.sh: environment variables, which in a guest come from the kernel's command line. */
export type Work = Readonly<Record<string, string>>;

const source = (name: string): string => fileURLToPath(new URL(`guest/${name}`, import.meta.url));

/**
 * Compiles and packs the guest into `directory`.
 * @param kernel a vmlinuz; undefined: Debian's, from the cache or the machine's apt.
 */
export async function buildGuest(directory: string, kernel: string | undefined): Promise<BenchGuest> {
	const debian = kernel === undefined ? await debianGuest() : undefined;
	return pack(directory, [], {
		kernel: debian?.kernel ?? (kernel as string),
		busybox: await debianBusybox(),
		release: debian?.release ?? "",
	});
}

/** The same for processors without 64-bit mode: Debian's 686 kernel and busybox of i386, and a program compiled for that. */
export async function buildGuest32(directory: string): Promise<BenchGuest> {
	return pack(directory, OPTIONS_32, await debianFiles32());
}

/** Whether the compiler can make programs for i386 (Debian: gcc-multilib). */
export function compilesFor32(): boolean {
	const options = [...OPTIONS_32, "-static", "-x", "c", "-o", "/dev/null", "-"];
	return spawnSync("gcc", options, { input: '#include <stdio.h>\nint main(void) { return puts(""); }\n' }).status === 0;
}

async function pack(
	directory: string,
	options: readonly string[],
	files: { readonly kernel: string; readonly busybox: string; readonly release: string },
): Promise<BenchGuest> {
	mkdirSync(directory, { recursive: true });
	const program = join(directory, "bench");
	const compiler = [...COMPILER_OPTIONS, ...options, "-o", program, source("bench.c")];
	execFileSync("gcc", compiler, { stdio: "inherit" });
	const busybox = join(directory, "busybox");
	copyFileSync(files.busybox, busybox);
	chmodSync(busybox, 0o755);
	const archive = buildInitramfs({
		busybox: readFileSync(busybox),
		files: [
			regularFile("init", readFileSync(source("init")), 0o755),
			regularFile("bench.sh", readFileSync(source("bench.sh")), 0o755),
			regularFile("bench", readFileSync(program), 0o755),
		],
	});
	const ramdisk = join(directory, "initramfs.gz");
	writeFileSync(ramdisk, gzipSync(archive, { level: 9 }));
	return { kernel: files.kernel, ramdisk, program, script: source("bench.sh"), busybox, release: files.release };
}

/** What bench.sh prints when the host's hardware does the work. */
export function runNatively(guest: BenchGuest, directory: string, work: Work): string {
	const { PATH } = process.env;
	return execFileSync(guest.busybox, ["sh", guest.script], {
		encoding: "utf8",
		env: {
			PATH,
			BENCH_BIN: guest.program,
			BENCH_BB: guest.busybox,
			BENCH_TMP: directory,
			BENCH_TRUE: "/bin/true",
			...work,
		},
	});
}
