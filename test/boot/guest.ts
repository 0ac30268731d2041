/**
 * Boots Debian's stock kernel on the library and types a list of commands at its shell. The clock is deterministic, and the input is
 * typed at the moment the guest asks for it, so that two runs are the same to the instruction.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { EngineOptions } from "../../src/cpu/engine.ts";
import { FileType, writeArchive } from "../../src/formats/cpio.ts";
import { debianGuest, type FetchOptions, guestInitramfs } from "../../src/guests/debian.ts";
import { READY_QUERY } from "../../src/guests/session.ts";
import { type DomainEnd, Host, type Statistics } from "../../src/index.ts";

const MIB = 2 ** 20;
/** What the machine has beside a guest's memory. */
const OVERHEAD = 32 * MIB;
const decoder = new TextDecoder();

export interface Images {
	readonly release: string;
	readonly kernel: Uint8Array;
	readonly ramdisk: Uint8Array;
}

/** A kernel of Debian's and an initramfs for it, to which another archive is appended with the tests' own programs in it. */
export async function debianImages(options: FetchOptions = {}): Promise<Images> {
	const guest = await debianGuest(options);
	const [kernel, own] = await Promise.all([readFileSync(guest.kernel), guestInitramfs(guest, options)]);
	const more = writeArchive([
		{ path: "bin/i386", type: FileType.regular, permissions: 0o755, data: assemble32BitProgram() },
		{ path: "bin/ptrace", type: FileType.regular, permissions: 0o755, data: compile("ptrace.c") },
		{ path: "bin/processor", type: FileType.regular, permissions: 0o755, data: compile("processor.c") },
	]);
	const ramdisk = new Uint8Array(own.length + more.length);
	ramdisk.set(own);
	ramdisk.set(more, own.length);
	return { release: guest.release, kernel, ramdisk };
}

function assemble32BitProgram(): Uint8Array {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-i386-"));
	try {
		const [object, program] = [join(directory, "i386.o"), join(directory, "i386")];
		execFileSync("as", ["--32", "-o", object, fileURLToPath(new URL("i386.S", import.meta.url))]);
		execFileSync("ld", ["-m", "elf_i386", "-o", program, object]);
		return readFileSync(program);
	} finally {
		rmSync(directory, { recursive: true });
	}
}

function compile(source: string): Uint8Array {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-program-"));
	try {
		const program = join(directory, "program");
		execFileSync("gcc", ["-O1", "-static", "-o", program, fileURLToPath(new URL(source, import.meta.url))]);
		return readFileSync(program);
	} finally {
		rmSync(directory, { recursive: true });
	}
}

/** A command and what it must print. */
export interface Check {
	readonly name: string;
	/** A line of the shell, or several. */
	readonly command: string;
	readonly expected: string | RegExp;
	/** Exit status; 0 where nothing is said. */
	readonly status?: number;
}

export interface Answer {
	/** Without the kernel's messages. */
	readonly output: string;
	readonly status: number;
}

export interface SessionOptions {
	readonly vcpus?: number;
	readonly memory?: number;
	/** Seconds of the host's time, after which the guest is destroyed. */
	readonly limit?: number;
	readonly processor?: EngineOptions;
}

export interface Session {
	readonly console: string;
	/** By the checks' names; a check that the guest did not come to has none. */
	readonly answers: ReadonlyMap<string, Answer>;
	readonly end: DomainEnd;
	/** The hypervisor's. */
	readonly log: string;
	readonly statistics: Statistics;
}

const KERNEL_MESSAGE = /^\[ *\d+\.\d+\] .*\n/gm;

/** Boots, types the checks' commands and `poweroff -f`, and waits for the end. */
export async function runSession(
	images: Images,
	checks: readonly Check[],
	{ vcpus = 1, memory = 256 * MIB, limit = 240, processor = {} }: SessionOptions = {},
): Promise<Session> {
	const host = new Host({ memory: memory + OVERHEAD, clock: "deterministic", processor });
	const lines = checks.map(({ name, command }) => `echo '<<${name}'\n${command}\necho ">>$?"\n`);
	const input = `${lines.join("")}poweroff -f\n`;
	let console = "";
	let asked = false;
	const domain = await host.createDomain(
		{
			kernel: images.kernel,
			ramdisk: images.ramdisk,
			commandLine: "console=hvc0 paravirt.input=pipe",
			memory,
			vcpus,
		},
		(created) => {
			created.console.onOutput((data) => {
				console += decoder.decode(data);
				if (asked || !console.includes(READY_QUERY)) return;
				asked = true;
				created.console.write(input);
			});
		},
	);
	const timer = setTimeout(() => domain.destroy(), limit * 1000);
	try {
		const end = await Promise.race([domain.ended, host.failed]);
		const text = console.replaceAll("\r\n", "\n");
		return {
			console: text,
			answers: readAnswers(text, checks),
			end,
			log: host.log,
			statistics: host.statistics(),
		};
	} finally {
		clearTimeout(timer);
		domain.destroy();
		host.stop();
	}
}

function readAnswers(console: string, checks: readonly Check[]): Map<string, Answer> {
	const text = console.replaceAll(KERNEL_MESSAGE, "");
	const answers = new Map<string, Answer>();
	for (const { name } of checks) {
		const start = text.indexOf(`<<${name}\n`);
		const end = start < 0 ? null : /^(.*?)>>(\d+)\n/s.exec(text.slice(start + name.length + 3));
		if (end !== null) answers.set(name, { output: end[1] as string, status: Number(end[2]) });
	}
	return answers;
}

/** What a healthy guest's log never has. */
const COMPLAINTS =
	/\bWARNING\b|\bBUG\b|\b[Oo]ops\b|Call Trace|cut here|panic|lockup|\bstall|hung task|\(XEN\)|segfault|general protection|protection fault|trap invalid|unable to handle|bad page|scheduling while atomic|nobody cared|Xen hypervisor/;
/** Lines that match and complain of nothing. */
const HARMLESS = /This is not a bug/;

/** The lines of a console or a log that complain. */
export function complaints(text: string): string[] {
	return text.split("\n").filter((line) => COMPLAINTS.test(line) && !HARMLESS.test(line));
}

/** The lines of the hypervisor's log that are its own: what a guest says to the emergency console is marked with its number. */
export function hypervisorComplaints(log: string): string[] {
	return log.split("\n").filter((line) => line !== "" && !/^\(XEN\) \(d\d+\) /.test(line));
}
