/** `paravirt boot`: a guest on the user's terminal, from its first instruction to its end. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ReadStream, WriteStream } from "node:tty";
import type { ArgsDef, CommandDef } from "citty";
import { MAX_INDIRECT_SEGMENTS } from "../backends/block/segments.ts";
import { MAX_FRAMES, PAGE_SIZE } from "../cpu/layout.ts";
import { cacheDirectory } from "../guests/cache.ts";
import { COMMAND_WORD, SHARE_WORD, STATUS_NODE } from "../guests/init.ts";
import { commandFile } from "../guests/initramfs.ts";
import { kernelCache } from "../guests/kernel-cache.ts";
import type { DomainEnd, GuestDomain } from "../host/host.ts";
import { machineOverhead } from "../host/machine.ts";
import { Host } from "../host/node/host.ts";
import { formatProfile, profileFormatOf } from "../host/profile-format.ts";
import { type DiskSpecification, DiskSpecificationError, parseDisk } from "../toolstack/config/disk.ts";
import { type P9Specification, parseShare, ShareSpecificationError } from "../toolstack/config/p9.ts";
import { NetworkError, parseForward, parseVif } from "../toolstack/config/vif.ts";
import type { NetworkRequest } from "../toolstack/network-interfaces.ts";
import { isBzImage, parseBzImage } from "../xen/boot/bzimage.ts";
import { ImageError, type ImageErrorCode } from "../xen/boot/errors.ts";
import { formatCrashReport } from "../xen/crash.ts";
import { parseTraceCategories, TraceCategory } from "../xen/trace.ts";
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
import { parseChoice, parseCount, parseSeconds, parseSize, repeatedValues } from "./options.ts";
import { attachPipes } from "./piped-input.ts";
import { createProgress } from "./progress.ts";
import { attachTerminal, followWindow, onEveryExit, terminalArguments } from "./terminal.ts";

const MIB = 2 ** 20;
/** MAX_VIRT_CPUS of a PV guest with 2-level event channels' vcpu_info in shared_info is 32; Linux registers more itself. */
const MOST_VCPUS = 64;
const USUAL_MEMORY = 512 * MIB;
const LEAST_MEMORY = 16 * MIB;
const MOST_MEMORY = MAX_FRAMES * PAGE_SIZE - machineOverhead(MAX_FRAMES * PAGE_SIZE);
const CLOCKS = ["real", "deterministic"] as const;
const TIERS = ["interpreter", "translator", "both"] as const;

/** --net's word for an interface with all that is usual. */
const NAT = "nat";

/** The hypervisor's log is a trace too, for those who look on. */
const LOG_TRACE = "log";
const TRACES = [...Object.keys(TraceCategory), LOG_TRACE];
/** Lines of the hypervisor's log that are printed with a crash. */
const CRASH_LOG_LINES = 20;

const DAMAGES: readonly ImageErrorCode[] = ["not-a-kernel", "truncated", "malformed", "corrupt-payload"];

export const BOOT_ARGS: ArgsDef = {
	kernel: {
		type: "positional",
		required: false,
		description: "vmlinuz or ELF kernel with Xen PV support (default: Debian's, from the cache or the machine's apt)",
		valueHint: "KERNEL",
	},
	ramdisk: {
		type: "string",
		description: "Initial ramdisk (default: busybox and the kernel's modules)",
		valueHint: "FILE",
	},
	append: { type: "string", description: "Words to add to the kernel's command line", valueHint: "ARGS" },
	grub: {
		type: "string",
		description: "Boot what an entry of a grub.cfg, grub.conf or menu.lst describes",
		valueHint: "FILE",
	},
	entry: {
		type: "string",
		description: "That entry: its number, 1>2, or its title (default: the configuration's)",
		valueHint: "N",
	},
	root: {
		type: "string",
		description: "Folder in which that configuration's paths begin (default: the one that its /boot is in)",
		valueHint: "DIR",
	},
	list: { type: "boolean", description: "Print that configuration's entries, and boot nothing" },
	memory: { type: "string", description: "The guest's memory, e.g. 2G (default: 512M)", valueHint: "SIZE" },
	vcpus: { type: "string", description: "Number of virtual CPUs (default: 1)", valueHint: "N" },
	disk: {
		type: "string",
		description: "A disk as xl describes it, e.g. disk.qcow2,qcow2,xvda,rw; may be given several times (docs/disks.md)",
		valueHint: "SPEC",
	},
	share: {
		type: "string",
		description: "A folder of the host, at /mnt/TAG in our ramdisk; may be given several times (docs/shares.md)",
		valueHint: "PATH[:TAG][:ro]",
	},
	net: {
		type: "string",
		description:
			"A network interface: nat, or as xl describes it, e.g. bridge=lan; may be given several times (docs/networks.md)",
		valueHint: "SPEC",
	},
	forward: {
		type: "string",
		description:
			"A port of the host that leads to the guest's, e.g. 8080:80 or udp:5353:53; may be given several times",
		valueHint: "[ADDRESS:]PORT:PORT",
	},
	clock: {
		type: "string",
		description: "real, or deterministic: time is the number of executed instructions",
		valueHint: "real|deterministic",
		default: "real",
	},
	tier: {
		type: "string",
		description:
			"How to execute: the interpreter alone, or both it and the translator for hot code; translator: for all code",
		valueHint: "interpreter|translator|both",
		default: "both",
	},
	profile: {
		type: "string",
		description:
			"Write the guest's hottest functions to FILE: a table; a flame graph where FILE ends in .svg or .folded",
		valueHint: "FILE",
	},
	stats: { type: "string", description: "Write statistics to FILE as JSON", valueHint: "FILE" },
	trace: {
		type: "string",
		description: `Print on standard error as it happens: ${TRACES.join(", ")}`,
		valueHint: "WHAT[,WHAT]",
	},
	"no-reboot": { type: "boolean", description: "End where the guest asks for a restart, instead of starting it again" },
	timeout: { type: "string", description: "End the guest after S seconds, with status 4", valueHint: "S" },
	suite: {
		type: "string",
		description: "Debian suite to take the kernel from, e.g. trixie or sid",
		valueHint: "SUITE",
	},
	update: { type: "boolean", description: "Fetch Debian's current kernel even where one is in the cache" },
};

/** The values of the options, checked. */
export interface BootOptions extends GrubOptions {
	readonly kernel: string | undefined;
	readonly ramdisk: string | undefined;
	readonly append: string;
	/** Bytes; undefined where it is not given. */
	readonly memory: number | undefined;
	readonly vcpus: number | undefined;
	readonly disks: readonly DiskSpecification[];
	readonly shares: readonly P9Specification[];
	readonly networks: readonly NetworkRequest[];
	readonly clock: (typeof CLOCKS)[number];
	readonly tier: (typeof TIERS)[number];
	readonly stats: string | undefined;
	readonly profile: string | undefined;
	/** Bits of TraceCategory. */
	readonly trace: number;
	readonly log: boolean;
	/** Start the guest again when it asks for that. */
	readonly reboot: boolean;
	readonly timeout: number | undefined;
	readonly suite: string | undefined;
	readonly update: boolean;
	/** Runs in the guest in place of a shell; its exit status is the outcome. */
	readonly command: readonly string[] | undefined;
}

type Values = Readonly<Record<string, unknown>>;

function checkTrace(list: string | undefined): { readonly trace: number; readonly log: boolean } {
	if (list === undefined) return { trace: 0, log: false };
	const names = list.split(",");
	const others = names.filter((name) => name !== LOG_TRACE);
	const trace = others.length === 0 ? 0 : parseTraceCategories(others.join(","));
	if (trace === undefined) {
		const remedy = `Give one or more of, separated by commas: ${TRACES.join(", ")}.`;
		throw new UsageError(`--trace: "${list}" is not possible`, remedy);
	}
	return { trace, log: names.includes(LOG_TRACE) || names.includes("all") };
}

/** @param what the option with its value */
function checkMemory(memory: number, what: string): void {
	if (memory < LEAST_MEMORY) throw new UsageError(`${what} is too little for Linux`, "Give 128M or more.");
	if (memory <= MOST_MEMORY) return;
	throw new UsageError(`${what} is more than a machine can have`, `Give at most ${Math.floor(MOST_MEMORY / MIB)}M.`);
}

function checkDisk(specification: string): DiskSpecification {
	try {
		return parseDisk(specification);
	} catch (error) {
		if (!(error instanceof DiskSpecificationError)) throw error;
		throw new UsageError(`--disk ${specification}: ${error.reason}`, error.remedy);
	}
}

function checkShare(specification: string): P9Specification {
	try {
		return parseShare(specification);
	} catch (error) {
		if (!(error instanceof ShareSpecificationError)) throw error;
		throw new UsageError(`--share ${specification}: ${error.reason}`, `${error.remedy}.`);
	}
}

/** The interfaces of --net; what --forward opens leads to the first one, which is there for that alone where none is given. */
function checkNetworks(specifications: readonly string[], forwards: readonly string[]): NetworkRequest[] {
	const check = <T>(option: string, text: string, parse: (text: string) => T): T => {
		try {
			return parse(text);
		} catch (error) {
			if (!(error instanceof NetworkError)) throw error;
			throw new UsageError(`--${option} ${text}: ${error.reason}`, `${error.remedy}.`);
		}
	};
	const given = specifications.length === 0 && forwards.length > 0 ? [NAT] : specifications;
	const networks: NetworkRequest[] = given.map((text) =>
		check("net", text, (spec) => parseVif(spec === NAT ? "" : spec)),
	);
	const [first, ...others] = networks;
	if (first === undefined) return [];
	return [{ ...first, forwards: forwards.map((text) => check("forward", text, parseForward)) }, ...others];
}

/** @throws UsageError */
export function checkBootOptions(values: Values, rawArgs: readonly string[], command?: readonly string[]): BootOptions {
	const text = (name: string): string | undefined => {
		const value = values[name];
		return typeof value === "string" ? value : undefined;
	};
	const trace = checkTrace(text("trace"));
	const given = { memory: text("memory"), vcpus: text("vcpus") };
	const memory = given.memory === undefined ? undefined : parseSize("memory", given.memory);
	if (memory !== undefined) checkMemory(memory, `--memory: ${given.memory}`);
	const timeout = text("timeout");
	const suite = text("suite");
	const kernel = text("kernel");
	// citty takes --no-reboot for the negation of an option --reboot.
	const { update: updateValue, reboot: rebootValue, list } = values;
	const update = updateValue === true;
	if (suite !== undefined && !/^[a-z][a-z0-9-]*$/.test(suite)) {
		throw new UsageError(`--suite: "${suite}" is no name of a Debian suite`, "Give a name such as trixie or sid.");
	}
	const grub = { grub: text("grub"), entry: text("entry"), root: text("root"), list: list === true };
	checkGrubOptions(grub);
	if (grub.grub !== undefined && (kernel ?? text("ramdisk") ?? suite ?? (update || undefined)) !== undefined) {
		const remedy = "Leave KERNEL, --ramdisk, --suite and --update out; --append adds to its command line.";
		throw new UsageError("--grub says which kernel and ramdisk are booted", remedy);
	}
	if (kernel !== undefined && (suite !== undefined || update)) {
		throw new UsageError("--suite and --update are about Debian's kernel", "Leave KERNEL out, or them.");
	}
	return {
		kernel,
		ramdisk: text("ramdisk"),
		append: text("append") ?? "",
		memory,
		vcpus: given.vcpus === undefined ? undefined : parseCount("vcpus", given.vcpus, 1, MOST_VCPUS),
		...grub,
		disks: repeatedValues(rawArgs, "disk").map(checkDisk),
		shares: repeatedValues(rawArgs, "share").map(checkShare),
		networks: checkNetworks(repeatedValues(rawArgs, "net"), repeatedValues(rawArgs, "forward")),
		clock: parseChoice("clock", text("clock") ?? "real", CLOCKS),
		tier: parseChoice("tier", text("tier") ?? "both", TIERS),
		stats: text("stats"),
		profile: text("profile"),
		...trace,
		reboot: values["no-reboot"] !== true && rebootValue !== false,
		timeout: timeout === undefined ? undefined : parseSeconds("timeout", timeout),
		suite,
		update,
		command,
	};
}

/** The kernel's command line: ours first, so that --append can say otherwise. */
function commandLine(options: BootOptions, files: GuestFiles, entry: string | undefined, interactive: boolean): string {
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
	options: BootOptions,
	{ files, commandLine: entry, xen }: Partial<GrubGuest> & { readonly files: GuestFiles },
): Promise<number> {
	const interactive = process.stdin.isTTY && process.stdout.isTTY;
	const memory = memoryOf(options.memory, USUAL_MEMORY, xen);
	checkMemory(memory, `dom0_mem: ${Math.floor(memory / MIB)} MiB`);
	const vcpus = vcpusOf(options.vcpus, 1, xen);
	if (vcpus > MOST_VCPUS) throw new UsageError(`dom0_max_vcpus: ${vcpus} is too many`, "Give fewer with --vcpus.");
	const host = new Host({
		memory: memory + machineOverhead(memory),
		clock: options.clock,
		processor: { tier: options.tier },
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
	const attach = ({ console, store }: GuestDomain): void => {
		if (!interactive) {
			detach = attachPipes(console, process.stdin, process.stdout, { handshake });
			return;
		}
		const output = process.stdout as WriteStream;
		const stop = attachTerminal(console, process.stdin as ReadStream, output, () => leave("left"));
		const stopSizes = followWindow(output, store);
		detach = () => {
			stopSizes();
			stop();
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
		allowSignals();
	}
}

async function writeResult(file: string, text: string, flag: "a" | "w"): Promise<void> {
	await writeFile(file, text, { flag }).catch((error: unknown) => {
		throw fileError(file, error);
	});
}

/** Tells on standard error how it ended, where that is not plain; the exit status. */
function report(outcome: Outcome, options: BootOptions, log: string): number {
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
	args: BOOT_ARGS,
	async run({ args: values, rawArgs }) {
		await bootGuest(checkBootOptions(values, rawArgs));
	},
};

/** Boots what the options say, and sets the exit status. */
export async function bootGuest(options: BootOptions): Promise<void> {
	const { grub } = options;
	if (grub !== undefined) {
		const configuration = await openConfiguration({ ...options, grub });
		if (options.list) {
			process.stdout.write(configuration.list());
			return;
		}
		const notice = (text: string): boolean => process.stderr.write(`paravirt: ${text}\n`);
		process.exitCode = await runGuest(options, await grubGuest(configuration, options.entry, notice));
		return;
	}
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
