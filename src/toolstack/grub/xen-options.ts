/**
 * The options of Xen's own command line (its documentation's "Xen Hypervisor Command Line Options"): those that have a meaning for the
 * guest that stands for dom0, and by name those that have none.
 */
import { LOG_LEVELS, type LogLevel } from "../../xen/log.ts";
import { GrubError, type Place } from "./errors.ts";

/** What the options ask for; undefined where they say nothing. */
export interface XenOptions {
	/** Bytes: the size, and the bounds for what is taken where no size is given. */
	readonly memory: { readonly size?: number; readonly least?: number; readonly most?: number };
	/** Bounds for the number of vCPUs. */
	readonly vcpus: { readonly least: number; readonly most: number } | undefined;
	/** The least urgent messages of the hypervisor's log that are shown; undefined: the log is not shown. */
	readonly log: { readonly host: LogLevel | "none"; readonly guest: LogLevel | "none" } | undefined;
	/** Options, as they stand, that mean nothing here. */
	readonly notApplicable: readonly string[];
}

const UNITS: Readonly<Record<string, number>> = { b: 1, "": 2 ** 10, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/**
 * Options that ask for what is so in any case: the log is kept as it comes, a crash restarts nothing, and there is no BIOS to be called.
 */
const ALWAYS_SO = ["sync_console", "noreboot", "no-real-mode", "edd=off"];

/** A size as in Xen: a number alone is KiB. */
function size(text: string, word: string, place: Place): number {
	const match = /^(\d+|0x[0-9a-f]+)([bkmgt]?)$/i.exec(text);
	if (match === null) {
		throw new GrubError(
			place,
			`${word}: "${text}" is no size`,
			"Give a number with K, M or G; there is no machine to take a share of.",
		);
	}
	return Number(match[1]) * (UNITS[(match[2] as string).toLowerCase()] as number);
}

/** dom0_mem=SIZE,min:SIZE,max:SIZE, any of them. */
function dom0Memory(value: string, word: string, place: Place): XenOptions["memory"] {
	const memory: { size?: number; least?: number; most?: number } = {};
	for (const part of value.split(",")) {
		if (part.startsWith("min:")) memory.least = size(part.slice(4), word, place);
		else if (part.startsWith("max:")) memory.most = size(part.slice(4), word, place);
		else memory.size = size(part, word, place);
	}
	return memory;
}

/** dom0_max_vcpus=N, or MIN-MAX with either left out. */
function dom0Vcpus(value: string, word: string, place: Place): XenOptions["vcpus"] {
	const match = /^(?:(\d+)|(\d*)-(\d*))$/.exec(value);
	if (match === null) throw new GrubError(place, `${word}: "${value}" is no number of vCPUs`, "Write N or MIN-MAX.");
	const [, exact, least, most] = match;
	if (exact !== undefined) return { least: Number(exact), most: Number(exact) };
	return { least: Number(least || 1), most: Number(most || Number.POSITIVE_INFINITY) };
}

/** LEVEL, or LEVEL/RATE-LIMITED LEVEL: what is shown at all is what counts. */
function logLevel(value: string, word: string, place: Place): LogLevel | "none" {
	const level = value.split("/").at(-1) as string;
	if (level === "none") return "none";
	if (level === "all") return "debug";
	const found = LOG_LEVELS.find((name) => name === level);
	if (found === undefined) {
		throw new GrubError(place, `${word}: "${level}" is no level`, `Write none, ${LOG_LEVELS.join(", ")} or all.`);
	}
	return found;
}

/** @throws GrubError where an option that counts has a value that it cannot have */
export function parseXenOptions(words: readonly string[], place: Place): XenOptions {
	let memory: XenOptions["memory"] = {};
	let vcpus: XenOptions["vcpus"];
	let console: string | undefined;
	let hostLevel: LogLevel | "none" | undefined;
	let guestLevel: LogLevel | "none" | undefined;
	const notApplicable: string[] = [];
	for (const word of words) {
		const equals = word.indexOf("=");
		const name = equals < 0 ? word : word.slice(0, equals);
		const value = equals < 0 ? "" : word.slice(equals + 1);
		if (name === "dom0_mem") memory = dom0Memory(value, word, place);
		else if (name === "dom0_max_vcpus") vcpus = dom0Vcpus(value, word, place);
		else if (name === "console") console = value;
		else if (name === "loglvl") hostLevel = logLevel(value, word, place);
		else if (name === "guest_loglvl") guestLevel = logLevel(value, word, place);
		else if (!ALWAYS_SO.includes(word)) notApplicable.push(word);
	}
	const asked = console !== undefined || hostLevel !== undefined || guestLevel !== undefined;
	// Xen's own defaults: warnings and errors of both.
	const log =
		asked && console !== "none" ? { host: hostLevel ?? "warning", guest: guestLevel ?? "warning" } : undefined;
	return { memory, vcpus, log, notApplicable };
}

/** What the bounds leave of a number. */
export function bounded(value: number, { least = 0, most = Number.POSITIVE_INFINITY }): number {
	return Math.min(Math.max(value, least), most);
}
