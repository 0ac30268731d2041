/**
 * Command-line options: their values, and the checks that citty leaves out (it takes unknown options and missing values in
 * silence). The definitions are citty's.
 */
import type { ArgsDef } from "citty";
import { nearestName } from "../toolstack/nearest.ts";
import { parseSize as sizeOf } from "../toolstack/sizes.ts";
import { UsageError } from "./errors.ts";

export { nearestName };

/** A size in bytes: "512M", "2G", "1.5GiB"; a number alone is MiB. @throws UsageError */
export function parseSize(option: string, text: string): number {
	const size = sizeOf(text);
	if (size !== undefined) return size;
	throw new UsageError(`--${option}: "${text}" is no size`, "Give a number with K, M or G, for example 512M.");
}

/** A whole number from `least` to `most`. */
export function parseCount(option: string, text: string, least: number, most: number): number {
	const count = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
	if (!(count >= least && count <= most)) {
		const remedy = `Give a whole number from ${least} to ${most}.`;
		throw new UsageError(`--${option}: "${text}" is not possible`, remedy);
	}
	return count;
}

/** Seconds, fractions allowed. */
export function parseSeconds(option: string, text: string): number {
	const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : 0;
	if (!(seconds > 0)) {
		throw new UsageError(`--${option}: "${text}" is no time`, "Give a number of seconds, for example 60.");
	}
	return seconds;
}

/** One of `choices`. */
export function parseChoice<T extends string>(option: string, text: string, choices: readonly T[]): T {
	const choice = choices.find((candidate) => candidate === text);
	if (choice === undefined) {
		throw new UsageError(`--${option}: "${text}" is not possible`, `Give one of: ${choices.join(", ")}.`);
	}
	return choice;
}

/**
 * Checks the arguments of a subcommand against its definition, and writes each option with its value as one argument
 * ("--name=value"), so that citty reads a value that begins with a dash as such.
 * @throws UsageError for an unknown option (with the nearest one), a missing or unwanted value, or too many arguments.
 */
export function checkArguments(args: readonly string[], definition: ArgsDef): string[] {
	const names = Object.keys(definition).filter((name) => definition[name]?.type !== "positional");
	const positionals = Object.keys(definition).length - names.length;
	const checked: string[] = [];
	const files: string[] = [];
	for (let index = 0; index < args.length; index++) {
		const argument = args[index] as string;
		if (argument === "--") {
			files.push(...args.slice(index + 1));
			break;
		}
		if (!argument.startsWith("-") || argument === "-") {
			files.push(argument);
			continue;
		}
		const equals = argument.indexOf("=");
		const name = (equals < 0 ? argument : argument.slice(0, equals)).replace(/^--?/, "");
		if (!argument.startsWith("--") || !names.includes(name)) throw unknownOption(argument, names);
		if (definition[name]?.type === "boolean") {
			if (equals >= 0) throw new UsageError(`--${name} takes no value`, `Write --${name} alone.`);
			checked.push(argument);
			continue;
		}
		const value = equals < 0 ? args[++index] : argument.slice(equals + 1);
		if (value === undefined) {
			const hint = (definition[name] as { valueHint?: string }).valueHint ?? "VALUE";
			throw new UsageError(`--${name} needs a value`, `Write --${name} ${hint}.`);
		}
		checked.push(`--${name}=${value}`);
	}
	if (files.length > positionals) {
		throw new UsageError(
			`"${files[positionals]}" is one argument too many`,
			"Options that hold spaces need quotes, for example --append 'quiet panic=1'.",
		);
	}
	return files.length === 0 ? checked : [...checked, "--", ...files];
}

/** What {@link checkArguments} has found. */
export class Arguments<Name extends string = string> {
	private readonly options: readonly string[];
	readonly positionals: readonly string[];

	/** @param checked as checkArguments returns them */
	constructor(checked: readonly string[]) {
		const end = checked.indexOf("--");
		this.options = end < 0 ? checked : checked.slice(0, end);
		this.positionals = end < 0 ? [] : checked.slice(end + 1);
	}

	/** All values of an option, in order. */
	all(name: Name): string[] {
		const prefix = `--${name}=`;
		return this.options.filter((word) => word.startsWith(prefix)).map((word) => word.slice(prefix.length));
	}

	/** The value that counts: the last. */
	text(name: Name): string | undefined {
		return this.all(name).at(-1);
	}

	/** Whether it is given, with a value or as a flag. */
	has(name: Name): boolean {
		return this.options.some((word) => word === `--${name}` || word.startsWith(`--${name}=`));
	}
}

function unknownOption(argument: string, names: readonly string[]): UsageError {
	const given = argument.replace(/=.*/s, "");
	const nearest = nearestName(given.replace(/^-+/, ""), names);
	const remedy = nearest === undefined ? "paravirt --help lists the options." : `Did you mean --${nearest}?`;
	return new UsageError(`unknown option ${given}`, remedy);
}
