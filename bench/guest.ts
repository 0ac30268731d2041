/**
 * The benchmark's guest: an initramfs with busybox, the program `bench` (guest/bench.c, compiled here) and an /init that prints BOOT-OK,
 * works through the items that its kernel's command line names, prints ALL-DONE and powers off. The same bytes for every runner.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { debianBusybox, debianGuest } from "../src/guests/debian.ts";
import { buildInitramfs, regularFile } from "../src/guests/initramfs.ts";

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
	mkdirSync(directory, { recursive: true });
	const program = join(directory, "bench");
	execFileSync("gcc", [...COMPILER_OPTIONS, "-o", program, source("bench.c")], { stdio: "inherit" });
	const debian = kernel === undefined ? await debianGuest() : undefined;
	const busybox = join(directory, "busybox");
	copyFileSync(await debianBusybox(), busybox);
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
	return {
		kernel: debian?.kernel ?? (kernel as string),
		ramdisk,
		program,
		script: source("bench.sh"),
		busybox,
		release: debian?.release ?? "",
	};
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
