/** `paravirt xl`: finds the verb, checks its arguments, and prints help as xl does. */
import { nearestName } from "../../toolstack/nearest.ts";
import { UsageError } from "../errors.ts";
import { wrap } from "../usage.ts";
import { CONSOLE_VERB } from "./console-verb.ts";
import { DEVICE_VERBS } from "./device-verbs.ts";
import { getopt, type VerbOption } from "./getopt.ts";
import { LIFECYCLE_VERBS } from "./lifecycle-verbs.ts";
import { LISTING_VERBS } from "./listing-verbs.ts";
import { REFUSED_VERBS } from "./refused.ts";
import { TOP_VERB } from "./top-verb.ts";
import { Session, type Streams, type Verb } from "./verb.ts";

const [CREATE, ...OTHERS] = LIFECYCLE_VERBS;

export const VERBS: readonly Verb[] = [
	...(CREATE === undefined ? [] : [CREATE]),
	...LISTING_VERBS,
	CONSOLE_VERB,
	...OTHERS,
	...DEVICE_VERBS,
	TOP_VERB,
];

const HELP: VerbOption = { short: "h", long: "help", help: "Print this help." };

/** xl's own options: what they are about (its lock, progress and time stamps) is not there, but for -N. */
const GLOBAL_OPTIONS = /^-[vfNtT]+$/;

/** @returns the exit status */
export async function runXl(args: readonly string[], streams: Streams = process): Promise<number> {
	const first = args.findIndex((word) => !GLOBAL_OPTIONS.test(word));
	const globals = first < 0 ? args : args.slice(0, first);
	const [name, ...rest] = first < 0 ? [] : args.slice(first);
	if (name === undefined || name === "help" || name === "-h" || name === "--help") {
		streams.stdout.write(rest[0] === undefined || rest[0].startsWith("-") ? overview() : help(findVerb(rest[0])));
		return name === undefined ? 1 : 0;
	}
	const verb = findVerb(name);
	const options = [...(verb.options ?? []), HELP];
	const parsed = getopt(verb.name, rest, options);
	if (parsed.has("h")) {
		streams.stdout.write(help(verb));
		return 0;
	}
	const [least, most] = verb.count;
	const count = parsed.operands.length;
	if (count < least || count > most) {
		const what = count < least ? "too few arguments" : `"${parsed.operands[most]}" is one argument too many`;
		throw new UsageError(`${verb.name}: ${what}`, `Write ${usageLine(verb)}.`);
	}
	const session = new Session(
		globals.some((word) => word.includes("N")),
		streams,
	);
	try {
		return (await verb.run(parsed, session)) ?? 0;
	} finally {
		await session.close();
	}
}

/** @throws UsageError for what is no verb of ours */
function findVerb(name: string): Verb {
	const verb = VERBS.find((each) => each.name === name);
	if (verb !== undefined) return verb;
	const reason = Object.hasOwn(REFUSED_VERBS, name) ? REFUSED_VERBS[name] : undefined;
	if (reason !== undefined) {
		throw new UsageError(`xl ${name} is not supported by paravirt: ${reason}`, "paravirt xl help lists what is.");
	}
	const nearest = nearestName(
		name,
		VERBS.map((each) => each.name),
	);
	const remedy = nearest === undefined ? "paravirt xl help lists the commands." : `Did you mean ${nearest}?`;
	throw new UsageError(`command "${name}" not implemented`, remedy);
}

function usageLine({ name, operands }: Verb): string {
	return `xl ${name}${operands === "" ? "" : ` ${operands}`}`;
}

/** Its first four lines are skipped by xl's completion, as are those of xl's. */
function overview(): string {
	const rows = VERBS.map(({ name, summary }) => ` ${name.padEnd(19)} ${summary}\n`);
	return `Usage xl [-vfNtT] <subcommand> [args]\n\nxl full list of subcommands:\n\n${rows.join("")}`;
}

/** Where explanations of options begin. */
const INDENT = 28;

function help(verb: Verb): string {
	const rows = [HELP, ...(verb.options ?? [])].map(({ short, long, value, help: text }) => {
		const names = [short === undefined ? "" : `-${short}`, long === undefined ? "" : `--${long}`];
		const shown = names.filter((each) => each !== "").join(", ");
		return `${`${shown}${value === undefined ? "" : `=${value}`}`.padEnd(INDENT - 1)} ${wrap(text, INDENT)}\n`;
	});
	const usage = wrap(`Usage: ${usageLine(verb)}`, "Usage: ".length);
	return `${usage}\n\n${wrap(`${verb.summary}.`, 0)}\n\nOptions:\n\n${rows.join("")}`;
}
