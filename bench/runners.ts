/** Who runs the benchmark's guest: the columns of its table. A new engine or option is a new entry in RUNNERS. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchGuest, Work } from "./guest.ts";

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

const paravirt: Runner = {
	name: "paravirt",
	description: "this project, as built in dist/",
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
	missing: () => (spawnSync(QEMU, ["--version"]).status === 0 ? undefined : `${QEMU} is not installed`),
	command: (guest, work) => [
		QEMU,
		...["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", String(MEMORY_MIB)],
		...["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio"],
		...["-kernel", guest.kernel, "-initrd", guest.ramdisk, "-append", `console=ttyS0 ${words(work)}`],
	],
};

/** In the order of the table's columns; ratios are to the first. */
export const RUNNERS: readonly Runner[] = [paravirt, qemu];
