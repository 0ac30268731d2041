/**
 * Runs tiny guests on real Xen 4.17: Debian's hypervisor and a Debian dom0 under QEMU's software emulation, all guests in one run,
 * one after the other.
 */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { type ArchiveEntry, FileType, writeArchive } from "../../src/formats/cpio.ts";
import { xenHost } from "./xen-host.ts";

export interface RealRun {
	/** The guest's lines, then `end=REASON`. */
	readonly verdicts: string;
	/** What xl and Xen said. */
	readonly log: string;
}

/** SHUTDOWN_* of public/sched.h, as our library names them. What is none of them, xl destroys and our library calls a crash. */
const REASONS = ["poweroff", "reboot", "suspend", "crash", "watchdog", "softReset"];

/** Guest memory in MiB, as run.ts gives it. */
const MEMORY = 16;

/** Real Xen needs SMAP off for PV guests where QEMU is 7.2; Xen's own console is COM2, so that COM1 is dom0's alone. */
const MACHINE =
	"-M q35 -accel tcg -cpu max,-smap,vendor=GenuineIntel -smp 1 -m 1024 -display none -nodefaults -no-user-config -no-reboot";
const XEN_ARGUMENTS = "placeholder com2=115200,8n1 console=com2 dom0_mem=512M,max:512M guest_loglvl=all noreboot=0";
const DOM0_ARGUMENTS = "console=ttyS0 loglevel=1 rdinit=/init";

/**
 * @param kernels paths; a guest is called as its file.
 * @param seconds of the host's time for the whole run.
 * @throws Error where QEMU does not come to the end: its message names the file with what was said.
 */
export async function runOnRealXen(kernels: readonly string[], seconds = 900): Promise<Map<string, RealRun>> {
	const host = await xenHost();
	const directory = await mkdtemp(join(tmpdir(), "paravirt-real-xen-"));
	const initramfs = join(directory, "initramfs");
	const xenLog = join(directory, "xen.log");
	const archive = gzipSync(writeArchive(await guestFiles(kernels)), { level: 1 });
	await writeFile(initramfs, Buffer.concat([await readFile(host.initramfs), archive]));
	const output = await qemu(
		[
			...MACHINE.split(" "),
			...["-serial", "stdio", "-serial", `file:${xenLog}`],
			...["-kernel", host.xen, "-append", XEN_ARGUMENTS],
			...["-initrd", `${host.kernel} ${DOM0_ARGUMENTS},${initramfs}`],
		],
		join(directory, "console.log"),
		seconds,
	);
	if (!output.includes("\nCOMPLETE\n")) throw new Error(`real Xen did not run to the end: see ${directory}`);
	await rm(directory, { recursive: true });
	return parse(output);
}

async function guestFiles(kernels: readonly string[]): Promise<ArchiveEntry[]> {
	const init = await readFile(fileURLToPath(new URL("dom0-init.sh", import.meta.url)));
	const regular = (path: string, data: Uint8Array): ArchiveEntry => ({
		path,
		type: FileType.regular,
		permissions: 0o755,
		data,
	});
	const entries = [regular("init", init)];
	for (const kernel of kernels) {
		const name = basename(kernel);
		const settings = { name, type: "pv", kernel: `/guests/${name}`, memory: MEMORY, vcpus: 1 };
		const events = { on_poweroff: "destroy", on_reboot: "destroy", on_crash: "destroy" };
		const config = Object.entries({ ...settings, ...events }).map(
			([key, value]) => `${key}=${JSON.stringify(value)}\n`,
		);
		entries.push(regular(`guests/${name}`, await readFile(kernel)));
		entries.push(regular(`guests/${name}.cfg`, new TextEncoder().encode(config.join(""))));
	}
	return entries;
}

function qemu(args: readonly string[], log: string, seconds: number): Promise<string> {
	return new Promise((resolve, reject) => {
		const child = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "inherit"] });
		const limit = setTimeout(() => child.kill(), seconds * 1000);
		const copy = createWriteStream(log);
		let output = "";
		child.stdout.setEncoding("latin1").on("data", (text: string) => {
			output += text;
			copy.write(text);
		});
		child.on("error", reject);
		child.on("close", () => {
			clearTimeout(limit);
			copy.end();
			resolve(output.replaceAll("\r", ""));
		});
	});
}

function parse(output: string): Map<string, RealRun> {
	const runs = new Map<string, RealRun>();
	const [complete = ""] = output.split(/^COMPLETE$/m);
	const [, ...sections] = complete.split(/^BEGIN /m);
	for (const section of sections) {
		const [name = "", ...lines] = section.split("\n");
		const verdicts: string[] = [];
		const log: string[] = [];
		let end = "destroyed";
		for (const line of lines) {
			const [, word, rest] = /^(END|LOG) (.*)$/.exec(line) ?? [];
			if (word === "END") end = REASONS[Number(rest)] ?? "crash";
			else if (word === "LOG") log.push(rest as string);
			else if (line !== "") verdicts.push(line);
		}
		runs.set(name, { verdicts: [...verdicts, `end=${end}`, ""].join("\n"), log: log.join("\n") });
	}
	return runs;
}
