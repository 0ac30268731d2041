/**
 * The options of Xen's own command line (its documentation's "Xen Hypervisor Command Line Options"): those that have a meaning for the
 * guest that stands for dom0, and by name those that have none. Each may stand several times: an occurrence sets what it names, and leaves
 * what else an earlier one has set.
 */
import { LOG_LEVELS, type LogLevel } from "../../machine/log.ts";
import { GrubError, type Place } from "./errors.ts";

/** A size of dom0_mem that depends on how much memory there is: `-SIZE`, `FRACTION%`, `SIZE+FRACTION%`, or the last two with a minus. */
export interface RelativeSize {
	/** Added to the fraction. */
	readonly bytes: number;
	readonly percent: number;
	/** What is left of all memory without that much. */
	readonly below: boolean;
}

/** Bytes. */
export type MemorySize = number | RelativeSize;

export interface MemoryOptions {
	readonly size?: MemorySize;
	readonly least?: MemorySize;
	readonly most?: MemorySize;
}

/** Where Xen looks for microcode among its modules. */
export interface MicrocodeOption {
	/** A module's number, counted from 0, or from the end if it is negative; 0 is none. */
	readonly module: number;
	/** In archives. */
	readonly scan: boolean;
}

/** What the options ask for; undefined if they say nothing. */
export interface XenOptions {
	/** The size, and the bounds for what is taken. */
	readonly memory: MemoryOptions;
	/** Bounds for the number of vCPUs. */
	readonly vcpus: { readonly least: number; readonly most: number } | undefined;
	/** The least urgent messages of the hypervisor's log that are shown; undefined: the log is not shown. */
	readonly log: { readonly host: LogLevel | "none"; readonly guest: LogLevel | "none" } | undefined;
	readonly microcode: MicrocodeOption;
	/** What stands after "--": words for dom0's kernel. */
	readonly dom0Words: readonly string[];
	/** Options, as they stand, that mean nothing here. */
	readonly notApplicable: readonly string[];
}

/** What was read so far. */
interface Draft {
	memory: MemoryOptions;
	vcpus: XenOptions["vcpus"];
	console: string | undefined;
	host: LogLevel | "none" | undefined;
	guest: LogLevel | "none" | undefined;
	microcode: MicrocodeOption;
}

/** A value that an option cannot have: what it is not, and what to write. */
class WrongValue extends Error {
	constructor(
		reason: string,
		readonly remedy: string,
	) {
		super(reason);
	}
}

const UNITS: Readonly<Record<string, number>> = { b: 1, "": 2 ** 10, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** `[-]SIZE`, `[-][SIZE+]FRACTION%`: a number without a unit is KiB; it may be octal or hexadecimal, as in C. */
function memorySize(text: string): MemorySize {
	const match = /^(-?)(?:(0x[0-9a-f]+|\d+)([bkmgt]?))?(?:(^-?|\+)(\d{1,2})%)?$/i.exec(text);
	const [, minus, digits, unit = "", , percent] = match ?? [];
	if (digits === undefined && percent === undefined) {
		throw new WrongValue(
			`"${text}" is no size`,
			"Give a number with K, M or G, a share such as 50%, or both as 1G+10%.",
		);
	}
	const number = /^0\d/.test(digits ?? "") ? Number.parseInt(digits ?? "", 8) : Number(digits ?? 0);
	const bytes = number * (UNITS[unit.toLowerCase()] as number);
	const below = minus === "-";
	return below || percent !== undefined ? { bytes, percent: Number(percent ?? 0), below } : bytes;
}

/** dom0_mem=SIZE,min:SIZE,max:SIZE, any of them. */
function dom0Memory(before: MemoryOptions, value: string): MemoryOptions {
	const memory: { -readonly [K in keyof MemoryOptions]: MemoryOptions[K] } = { ...before };
	for (const part of value.split(",")) {
		if (part.startsWith("min:")) memory.least = memorySize(part.slice(4));
		else if (part.startsWith("max:")) memory.most = memorySize(part.slice(4));
		else memory.size = memorySize(part);
	}
	return memory;
}

/** dom0_max_vcpus=N, MIN-MAX or MIN-, which set both bounds, or -MAX, which sets one. */
function dom0Vcpus(before: XenOptions["vcpus"], value: string): XenOptions["vcpus"] {
	const match = /^(?:(\d+)|(\d*)-(\d*))$/.exec(value);
	if (match === null) throw new WrongValue(`"${value}" is no number of vCPUs`, "Write N or MIN-MAX.");
	const [, exact, least, most] = match;
	if (exact !== undefined) return { least: Number(exact), most: Number(exact) };
	return { least: Number(least || (before?.least ?? 1)), most: Number(most || Number.POSITIVE_INFINITY) };
}

/** LEVEL, or LEVEL/RATE-LIMITED LEVEL: what is shown at all is what counts. */
function logLevel(value: string): LogLevel | "none" {
	const level = value.split("/").at(-1) as string;
	if (level === "none") return "none";
	if (level === "all") return "debug";
	const found = LOG_LEVELS.find((name) => name === level);
	if (found === undefined)
		throw new WrongValue(`"${level}" is no level`, `Write none, ${LOG_LEVELS.join(", ")} or all.`);
	return found;
}

/** Xen's words for yes and no (parse_bool). */
const YES = ["yes", "on", "true", "enable", "1"];
const NO = ["no", "off", "false", "disable", "0"];

/** ucode=N, scan, scan=BOOLEAN; what concerns how it is loaded is not ours. */
function microcode(before: MicrocodeOption, value: string): MicrocodeOption {
	let { module, scan } = before;
	for (const part of value.split(",")) {
		const [name, given = "yes"] = part.split("=");
		if (/^(?:0x[0-9a-f]+|-?\d+)$/i.test(part)) module = Number(part);
		else if (name === "scan") scan = YES.includes(given);
		else if (name === "no-scan") scan = false;
	}
	return { module, scan };
}

/** Options that have a value, with what they set. */
const OPTIONS: Readonly<Record<string, (draft: Draft, value: string) => void>> = {
	dom0_mem: (draft, value) => {
		draft.memory = dom0Memory(draft.memory, value);
	},
	dom0_max_vcpus: (draft, value) => {
		draft.vcpus = dom0Vcpus(draft.vcpus, value);
	},
	console: (draft, value) => {
		draft.console = value;
	},
	loglvl: (draft, value) => {
		draft.host = logLevel(value);
	},
	guest_loglvl: (draft, value) => {
		draft.guest = logLevel(value);
	},
	ucode: (draft, value) => {
		draft.microcode = microcode(draft.microcode, value);
	},
};

/**
 * Options that ask for what is so in any case: the log is kept as it comes, a crash restarts nothing, and there is no BIOS to be called.
 */
const ALWAYS_SO: Readonly<Record<string, boolean>> = {
	sync_console: true,
	noreboot: true,
	"no-real-mode": true,
	edd: false,
};

/** Whether a word is an option of {@link ALWAYS_SO} with the value that is so: NAME, NAME=BOOLEAN or no-NAME. */
function isAlwaysSo(name: string, value: string | undefined): boolean {
	const positive = Object.hasOwn(ALWAYS_SO, name);
	const wanted = ALWAYS_SO[positive ? name : name.replace(/^no-/, "")];
	if (wanted === undefined) return false;
	if (!positive) return value === undefined && !wanted;
	return value === undefined ? wanted : (wanted ? YES : NO).includes(value);
}

/** @throws GrubError if an option that counts has a value that it cannot have */
export function parseXenOptions(words: readonly string[], place: Place): XenOptions {
	const end = words.indexOf("--");
	const draft: Draft = {
		memory: {},
		vcpus: undefined,
		console: undefined,
		host: undefined,
		guest: undefined,
		microcode: { module: 0, scan: false },
	};
	const notApplicable: string[] = [];
	for (const word of end < 0 ? words : words.slice(0, end)) {
		const [, name = word, value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
		const set = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
		try {
			if (set !== undefined) set(draft, value ?? "");
			else if (!isAlwaysSo(name, value)) notApplicable.push(word);
		} catch (error) {
			if (!(error instanceof WrongValue)) throw error;
			throw new GrubError(place, `${word}: ${error.message}`, error.remedy);
		}
	}
	const asked = draft.console !== undefined || draft.host !== undefined || draft.guest !== undefined;
	// Xen's own defaults: warnings and errors of both.
	const log =
		asked && draft.console !== "none" ? { host: draft.host ?? "warning", guest: draft.guest ?? "warning" } : undefined;
	const { memory, vcpus, microcode: found } = draft;
	const dom0Words = end < 0 ? [] : words.slice(end + 1);
	return { memory, vcpus, log, microcode: found, dom0Words, notApplicable };
}

/** What the bounds leave of a number. A greatest value that is less than the least wins, as in Xen. */
export function bounded(value: number, { least = 0, most = Number.POSITIVE_INFINITY }): number {
	return Math.min(Math.max(value, least), most);
}

/**
 * Bytes for the guest: the size that is asked for within the bounds that are, and never more than there is.
 * @param usual what it gets if no size is asked for
 * @param all what a guest can have at the most
 */
export function dom0MemorySize(memory: MemoryOptions, usual: number, all: number): number {
	const { size, least = 0, most = all } = memory;
	const bytes = (wanted: MemorySize): number => {
		if (typeof wanted === "number") return wanted;
		const sum = wanted.bytes + Math.floor((wanted.percent * all) / 100);
		return wanted.below ? Math.max(all - sum, 0) : sum;
	};
	// As in Xen, a size of nothing is none at all.
	const wanted = (size === undefined ? 0 : bytes(size)) || usual;
	return Math.min(bounded(wanted, { least: bytes(least), most: bytes(most) }), all);
}
