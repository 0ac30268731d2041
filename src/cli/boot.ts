/** `paravirt boot`: a guest on the user's terminal, from its first instruction to its end. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { WriteStream } from "node:tty";
import type { CommandDef } from "citty";
import { MAX_INDIRECT_SEGMENTS } from "../backends/block/segments.ts";
import { isBzImage, parseBzImage } from "../formats/bzimage.ts";
import { ImageError, type ImageErrorCode } from "../formats/errors.ts";
import { cacheDirectory } from "../guests/cache.ts";
import { COMMAND_WORD, SHARE_WORD } from "../guests/init.ts";
import { commandFile } from "../guests/initramfs.ts";
import { kernelCache } from "../guests/kernel-cache.ts";
import { attachPipes } from "../guests/piped-input.ts";
import { STATUS_NODE } from "../guests/session.ts";
import type { DomainEnd, GuestDomain } from "../host/host.ts";
import { machineOverhead } from "../host/machine.ts";
import { Host } from "../host/node.ts";
import { formatProfile, profileFormatOf } from "../host/profile-format.ts";
import { formatCrashReport } from "../xen/crash.ts";
import { checkGuestOptions, checkMemory, type GuestOptions, MOST_MEMORY, MOST_VCPUS } from "./boot-options.ts";
import { ExitStatus, fileError, UsageError } from "./errors.ts";
import {
	checkGrubOptions,
	type GrubGuest,
	type GrubOptions,
	grubGuest,
	isShown,
	memoryOf,
	openConfiguration,
	vcpusOf,
} from "./grub.ts";
import { findGuest, type GuestFiles } from "./guest-files.ts";
import { argumentsOf, type GuestOptionName } from "./guest-options.ts";
import { Arguments } from "./options.ts";
import { createProgress } from "./progress.ts";
import { ConsoleTerminal, followWindow, onEveryExit, terminalArguments } from "./terminal.ts";

const MIB = 2 ** 20;
const USUAL_MEMORY = 512 * MIB;
/** Lines of the hypervisor's log that are printed with a crash. */
const CRASH_LOG_LINES = 20;

/** What --grub says itself. */
const KERNEL_OPTIONS = ["ramdisk", "suite", "update"] as const;

const DAMAGES: readonly ImageErrorCode[] = ["not-a-kernel", "truncated", "malformed", "corrupt-payload"];

/** The kernel's command line: --cmdline's, or our words first, so that --append can say otherwise. */
function commandLine(
	options: GuestOptions,
	files: GuestFiles,
	entry: string | undefined,
	interactive: boolean,
): string {
	if (options.cmdline !== undefined) return options.cmdline;
	const words = ["console=hvc0"];
	// Linux's front end takes 32 by itself: a megabyte is eight requests then.
	if (options.disks.length > 0) words.push(`xen_blkfront.max_indirect_segments=${MAX_INDIRECT_SEGMENTS}`);
	if (entry !== undefined) words.push(entry);
	if (files.ownRamdisk && interactive) words.push(...terminalArguments(process.stdout, process.env));
	if (files.ownRamdisk && !interactive) words.push("paravirt.input=pipe");
	if (files.ownRamdisk) words.push(...options.shares.map(({ tag }) => `${SHARE_WORD}=${tag}`));
	// Only what the command prints is to be seen.
	if (options.command !== undefined) words.push(COMMAND_WORD, "quiet", "loglevel=0");
	if (options.append !== "") words.push(options.append);
	return words.join(" ");
}

/** How a run ended: the guest by itself, or we ended it. */
type Outcome = DomainEnd | "left" | "timeout";

async function runGuest(
	options: GuestOptions,
	{ files, commandLine: entry, xen }: Partial<GrubGuest> & { readonly files: GuestFiles },
): Promise<number> {
	const interactive = process.stdin.isTTY && process.stdout.isTTY;
	const memory = memoryOf(options.memory, USUAL_MEMORY, xen, MOST_MEMORY);
	checkMemory(memory, `dom0_mem: ${Math.floor(memory / MIB)} MiB`);
	const vcpus = vcpusOf(options.vcpus, 1, xen);
	if (vcpus > MOST_VCPUS) throw new UsageError(`dom0_max_vcpus: ${vcpus} is too many`, "Give fewer with --vcpus.");
	const host = new Host({
		memory: memory + machineOverhead(memory),
		clock: options.clock,
		processor: { tier: options.tier, vendor: options.vendor },
		...(options.profile === undefined ? {} : { profile: {} }),
		kernelCache: kernelCache(join(cacheDirectory(), "kernels")),
		trace: { categories: options.trace, sink: (line) => process.stderr.write(`${line}\n`) },
	});
	host.onLog((line, kind) => {
		if (options.log || isShown(kind, xen)) process.stderr.write(`(XEN) ${line}\n`);
	});
	const line = commandLine(options, files, entry, interactive);
	const handshake =
		files.ownRamdisk &&
		line.includes("paravirt.input=pipe") &&
		(options.command !== undefined || !/\b(?:rdinit|root)=/.test(line));
	let leave: (outcome: "left" | "timeout") => void = () => {};
	const left = new Promise<Outcome>((resolve) => {
		leave = resolve;
	});
	let detach: () => void = () => {};
	const output = process.stdout as WriteStream;
	// One terminal for all restarts: it is never the host's shell that reads what is typed meanwhile.
	let terminal: ConsoleTerminal | undefined;
	const attach = ({ console, store }: GuestDomain): void => {
		if (!interactive) {
			detach = attachPipes(console, process.stdin, process.stdout, { handshake });
			return;
		}
		terminal ??= new ConsoleTerminal(process.stdin, output, () => leave("left"));
		terminal.connect(console);
		const stopSizes = followWindow(output, store);
		detach = () => {
			stopSizes();
			terminal?.disconnect();
		};
	};
	const timer = options.timeout === undefined ? undefined : setTimeout(() => leave("timeout"), options.timeout * 1000);
	const allowSignals = onEveryExit(() => host.stop());
	const guest = {
		name: "guest",
		kernel: files.kernel,
		kernelName: files.kernelName,
		...(files.ramdisk === undefined ? {} : { ramdisk: files.ramdisk }),
		ramdiskName: files.ramdiskName,
		commandLine: line,
		memory,
		vcpus,
		disks: options.disks,
		shares: options.shares,
		networks: options.networks,
	};
	try {
		// What cannot be written is better known before a long run than after it.
		if (options.stats !== undefined) await writeResult(options.stats, "", "a");
		if (options.profile !== undefined) await writeResult(options.profile, "", "a");
		for (;;) {
			const domain = await host.createDomain(guest, attach);
			const outcome = await Promise.race([domain.ended, left, host.failed]);
			detach();
			if (options.reboot && typeof outcome !== "string" && outcome.reason === "reboot") {
				process.stderr.write("paravirt: the guest asked for a restart; starting it again\n");
				await domain.destroy();
				continue;
			}
			if (options.stats !== undefined) {
				await writeResult(options.stats, `${JSON.stringify(host.statistics(), undefined, "\t")}\n`, "w");
			}
			if (options.profile !== undefined && host.profile !== undefined) {
				await writeResult(options.profile, formatProfile(host.profile, profileFormatOf(options.profile)), "w");
			}
			const status = options.command === undefined ? undefined : domain.store.read(STATUS_NODE);
			await domain.destroy();
			if (options.command === undefined || typeof outcome === "string" || outcome.reason !== "poweroff") {
				return report(outcome, options, host.log);
			}
			if (status !== undefined && /^\d{1,3}$/.test(status)) return Number(status);
			process.stderr.write("paravirt: the guest was powered off before the command had ended\n");
			return ExitStatus.noStatus;
		}
	} finally {
		detach();
		clearTimeout(timer);
		host.stop();
		await terminal?.release();
		allowSignals();
	}
}

async function writeResult(file: string, text: string, flag: "a" | "w"): Promise<void> {
	await writeFile(file, text, { flag }).catch((error: unknown) => {
		throw fileError(file, error);
	});
}

/** Tells on standard error how it ended, where that is not plain; the exit status. */
function report(outcome: Outcome, options: GuestOptions, log: string): number {
	if (outcome === "left") {
		process.stderr.write("\nLeft the console; the guest has been ended.\n");
		return ExitStatus.poweredOff;
	}
	if (outcome === "timeout") {
		process.stderr.write(`paravirt: the guest was still running after ${options.timeout} seconds (--timeout)\n`);
		return ExitStatus.timeout;
	}
	if (outcome.reason === "poweroff") return ExitStatus.poweredOff;
	if (outcome.reason === "reboot") {
		process.stderr.write("paravirt: the guest asked for a restart; it has been ended (--no-reboot)\n");
		return ExitStatus.poweredOff;
	}
	const lines = log.trimEnd().split("\n").slice(-CRASH_LOG_LINES);
	if (!options.log) process.stderr.write(`The hypervisor's log:\n${lines.join("\n")}\n\n`);
	const what = outcome.crash === undefined ? undefined : formatCrashReport(outcome.crash);
	const reason = outcome.crashReason ?? `the guest shut itself down: ${outcome.reason}`;
	process.stderr.write(`${what ?? `paravirt: ${reason}`}\n`);
	return ExitStatus.crashed;
}

/** As `uname -r` will tell it, where the image does. */
function releaseOf(kernel: Uint8Array, name: string): string | undefined {
	return isBzImage(kernel) ? parseBzImage(kernel, name).kernelVersion.split(" ")[0] : undefined;
}

/** A kernel of Debian's that cannot be read was damaged in the cache. */
function withUpdateRemedy(error: unknown, kernel: string): unknown {
	if (!(error instanceof ImageError) || error.file !== kernel || !DAMAGES.includes(error.code)) return error;
	return new ImageError(error.code, error.file, error.reason, "Fetch it again: paravirt boot --update");
}

export const bootCommand: CommandDef = {
	args: argumentsOf("boot"),
	async run({ rawArgs }) {
		const given = new Arguments<GuestOptionName>(rawArgs);
		const [kernel] = given.positionals;
		const [grub, entry, root] = [given.text("grub"), given.text("entry"), given.text("root")];
		const choice = { grub, entry, root, list: given.has("list") };
		checkGrubOptions(choice);
		if (grub !== undefined && (kernel !== undefined || KERNEL_OPTIONS.some((name) => given.has(name)))) {
			const remedy = "Leave KERNEL, --ramdisk, --suite and --update out; --append adds to its command line.";
			throw new UsageError("--grub says which kernel and ramdisk are booted", remedy);
		}
		const particulars = { kernel, append: given.text("append") ?? "", disks: given.all("disk"), command: undefined };
		const options = await checkGuestOptions(given, particulars);
		await (grub === undefined ? bootGuest(options) : bootEntry(options, { ...choice, grub }));
	},
};

/** Boots what an entry of a boot loader's configuration says, and sets the exit status. */
async function bootEntry(options: GuestOptions, choice: GrubOptions & { readonly grub: string }): Promise<void> {
	const configuration = await openConfiguration(choice);
	const notice = (text: string): boolean => process.stderr.write(`paravirt: ${text}\n`);
	for (const warning of configuration.warnings) notice(warning);
	if (choice.list) {
		process.stdout.write(configuration.list());
		return;
	}
	process.exitCode = await runGuest(options, await grubGuest(configuration, choice.entry, notice));
}

/** Boots what the options say, and sets the exit status. */
export async function bootGuest(options: GuestOptions): Promise<void> {
	const progress = await createProgress();
	let files: GuestFiles;
	try {
		const fetch = {
			suite: options.suite,
			update: options.update,
			progress: progress.listener,
			files: options.command === undefined ? [] : [commandFile(options.command)],
		};
		files = await findGuest(options.kernel, options.ramdisk, fetch, releaseOf);
	} finally {
		progress.stop();
	}
	try {
		process.exitCode = await runGuest(options, { files });
	} catch (error) {
		throw options.kernel === undefined ? withUpdateRemedy(error, files.kernelName) : error;
	}
}
