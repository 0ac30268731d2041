/** Who runs the benchmark's guest: the columns of its table. A new engine or option is a new entry in RUNNERS. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BenchGuest, compilesFor32, type Work } from "./guest.ts";

/** What all guests get. */
export const MEMORY_MIB = 512;

/** What a runner counts itself. */
export interface Counters {
	readonly instructions: number;
	readonly mips: number;
}

export interface Runner {
	readonly name: string;
	readonly description: string;
	/** Which of the guest's builds it runs. */
	readonly bits: 32 | 64;
	/** Of the program; where it can run. */
	version(): string;
	/** Why it cannot run here; undefined where it can. */
	missing(): string | undefined;
	/** Program and arguments that boot the guest with its console on standard output. */
	command(guest: BenchGuest, work: Work, directory: string): string[];
	/** After a run. */
	counters?(directory: string): Counters | undefined;
}

const COMMAND = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

function words(work: Work): string {
	return Object.entries(work)
		.map(([name, value]) => `${name}=${value}`)
		.join(" ");
}

function firstLine(program: string, options: readonly string[]): string {
	return spawnSync(program, options, { encoding: "utf8" }).stdout?.split("\n")[0]?.trim() ?? "";
}

const paravirt: Runner = {
	name: "paravirt",
	description: "this project, as built in dist/",
	bits: 64,
	version: () => `${firstLine(process.execPath, [COMMAND, "--version"])} on Node.js ${process.version}`,
	missing: () => (existsSync(COMMAND) ? undefined : "not built: npm run build"),
	command: (guest, work, directory) => [
		process.execPath,
		COMMAND,
		"boot",
		guest.kernel,
		`--ramdisk=${guest.ramdisk}`,
		`--memory=${MEMORY_MIB}M`,
		`--append=${words(work)}`,
		`--stats=${join(directory, "statistics.json")}`,
	],
	counters: (directory) => {
		const file = join(directory, "statistics.json");
		if (!existsSync(file)) return undefined;
		const { instructions, mips } = JSON.parse(readFileSync(file, "utf8")) as Counters;
		return { instructions, mips };
	},
};

const QEMU = "qemu-system-x86_64";

const qemu: Runner = {
	name: "qemu",
	description: "QEMU TCG (q35, -cpu max): the same kernel on emulated hardware",
	bits: 64,
	version: () => firstLine(QEMU, ["--version"]),
	missing: () => (spawnSync(QEMU, ["--version"]).status === 0 ? undefined : `${QEMU} is not installed`),
	command: (guest, work) => [
		QEMU,
		...["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", String(MEMORY_MIB)],
		...["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio"],
		...["-kernel", guest.kernel, "-initrd", guest.ramdisk, "-append", `console=ttyS0 ${words(work)}`],
	],
};

const V86_SCRIPT = fileURLToPath(new URL("v86.mjs", import.meta.url));
/** Debian's package seabios; v86's own has none. */
const BIOS = ["/usr/share/seabios/bios.bin", "/usr/share/seabios/vgabios.bin"];

const v86: Runner = {
	name: "v86",
	description: "v86 on Node.js: Debian's i386 kernel (686), a 32-bit build of the same program",
	bits: 32,
	version: () => {
		const { version } = createRequire(import.meta.url)("v86/package.json") as { readonly version: string };
		return `v86 ${version} on Node.js ${process.version}`;
	},
	missing: () => {
		if (!existsSync(fileURLToPath(new URL("../node_modules/v86", import.meta.url)))) return "not installed: npm ci";
		if (!BIOS.every((file) => existsSync(file))) return "no BIOS: apt-get install seabios";
		return compilesFor32() ? undefined : "gcc makes no 32-bit programs: apt-get install gcc-multilib";
	},
	command: (guest, work) => [
		process.execPath,
		V86_SCRIPT,
		guest.kernel,
		guest.ramdisk,
		String(MEMORY_MIB),
		...BIOS,
		words(work),
	],
};

/** In the order of the table's columns; ratios are to the first. */
export const RUNNERS: readonly Runner[] = [paravirt, qemu, v86];
