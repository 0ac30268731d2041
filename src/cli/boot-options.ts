/** The values of the options of `paravirt boot` and `paravirt run`, checked. */

import { CPU_VENDORS, type CpuVendor, DEFAULT_VENDOR } from "../cpu/vendor.ts";
import { machineOverhead } from "../host/machine.ts";
import { MAX_FRAMES, PAGE_SIZE } from "../memory/map.ts";
import type { DiskSpecification } from "../toolstack/config/disk.ts";
import { type P9Specification, parseShare, ShareSpecificationError } from "../toolstack/config/p9.ts";
import { NetworkError, parseForward, parseVif } from "../toolstack/config/vif.ts";
import type { NetworkRequest } from "../toolstack/network-interfaces.ts";
import { parseTraceCategories } from "../xen/trace.ts";
import { checkDisks } from "./disks.ts";
import { UsageError } from "./errors.ts";
import { CLOCKS, type GuestOptionName, LOG_TRACE, TIERS, TRACES } from "./guest-options.ts";
import { type Arguments, parseChoice, parseCount, parseSeconds, parseSize } from "./options.ts";

const MIB = 2 ** 20;
/** MAX_VIRT_CPUS of a PV guest with 2-level event channels' vcpu_info in shared_info is 32; Linux registers more itself. */
export const MOST_VCPUS = 64;
const LEAST_MEMORY = 16 * MIB;
/** Bytes that a guest can have at the most. */
export const MOST_MEMORY = MAX_FRAMES * PAGE_SIZE - machineOverhead(MAX_FRAMES * PAGE_SIZE);

/** --net's word for an interface with all that is usual. */
const NAT = "nat";

/** What differs between the commands. */
export interface Particulars {
	readonly kernel: string | undefined;
	/** Disks as the user names them. */
	readonly disks: readonly string[];
	/** Words for the kernel's command line. */
	readonly append: string;
	/** Runs in the guest in place of a shell; its exit status is the outcome. */
	readonly command: readonly string[] | undefined;
}

/** The values of the options, checked. */
export interface GuestOptions extends Omit<Particulars, "disks"> {
	readonly ramdisk: string | undefined;
	/** The whole command line; undefined: it is made of words of ours, and {@link Particulars.append}. */
	readonly cmdline: string | undefined;
	/** Bytes; undefined where it is not given. */
	readonly memory: number | undefined;
	readonly vcpus: number | undefined;
	readonly disks: readonly DiskSpecification[];
	readonly shares: readonly P9Specification[];
	readonly networks: readonly NetworkRequest[];
	readonly clock: (typeof CLOCKS)[number];
	readonly tier: (typeof TIERS)[number];
	readonly vendor: CpuVendor;
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
}

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
export function checkMemory(memory: number, what: string): void {
	if (memory < LEAST_MEMORY) throw new UsageError(`${what} is too little for Linux`, "Give 128M or more.");
	if (memory <= MOST_MEMORY) return;
	throw new UsageError(`${what} is more than a machine can have`, `Give at most ${Math.floor(MOST_MEMORY / MIB)}M.`);
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

/** What would add words to the command line cannot go with one that is given as a whole. @throws UsageError */
function checkCommandLine(
	given: Arguments<GuestOptionName>,
	command: readonly string[] | undefined,
): string | undefined {
	const line = given.text("cmdline");
	if (line === undefined) return undefined;
	const remedy = "Leave one of them out, or write its words into --cmdline.";
	if (given.has("append")) throw new UsageError("--append: --cmdline is the whole command line", remedy);
	if (command !== undefined) {
		throw new UsageError("--cmdline: a command in the guest needs words of ours there", "Leave --cmdline out.");
	}
	return line;
}

/** @throws UsageError, FileError for a disk's image */
export async function checkGuestOptions(
	given: Arguments<GuestOptionName>,
	{ disks, ...particulars }: Particulars,
): Promise<GuestOptions> {
	const text = (name: GuestOptionName): string | undefined => given.text(name);
	const trace = checkTrace(text("trace"));
	const sizes = { memory: text("memory"), vcpus: text("vcpus") };
	const memory = sizes.memory === undefined ? undefined : parseSize("memory", sizes.memory);
	if (memory !== undefined) checkMemory(memory, `--memory: ${sizes.memory}`);
	const timeout = text("timeout");
	const suite = text("suite");
	const update = given.has("update");
	if (suite !== undefined && !/^[a-z][a-z0-9-]*$/.test(suite)) {
		throw new UsageError(`--suite: "${suite}" is no name of a Debian suite`, "Give a name such as trixie or sid.");
	}
	if (particulars.kernel !== undefined && (suite !== undefined || update)) {
		throw new UsageError("--suite and --update are about Debian's kernel", "Leave the other kernel out, or them.");
	}
	return {
		...particulars,
		ramdisk: text("ramdisk"),
		cmdline: checkCommandLine(given, particulars.command),
		memory,
		vcpus: sizes.vcpus === undefined ? undefined : parseCount("vcpus", sizes.vcpus, 1, MOST_VCPUS),
		shares: given.all("share").map(checkShare),
		networks: checkNetworks(given.all("net"), given.all("forward")),
		clock: parseChoice("clock", text("clock") ?? "real", CLOCKS),
		tier: parseChoice("tier", text("tier") ?? "both", TIERS),
		vendor: parseChoice("cpu-vendor", text("cpu-vendor") ?? DEFAULT_VENDOR, CPU_VENDORS),
		stats: text("stats"),
		profile: text("profile"),
		...trace,
		reboot: !given.has("no-reboot"),
		timeout: timeout === undefined ? undefined : parseSeconds("timeout", timeout),
		suite,
		update,
		disks: await checkDisks(disks),
	};
}
