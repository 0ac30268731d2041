/** GRUB 2's `regexp`: whether a string fits a POSIX extended regular expression, and variables for what its groups are. */
import type { Invocation } from "./commands.ts";
import { CommandFailure } from "./errors.ts";
import type { Interpreter } from "./interpreter.ts";

const CLASSES: Readonly<Record<string, string>> = {
	alpha: "A-Za-z",
	digit: "0-9",
	alnum: "A-Za-z0-9",
	upper: "A-Z",
	lower: "a-z",
	space: "\\s",
	blank: " \\t",
	punct: "!-\\/:-@\\[-`{-~",
	xdigit: "0-9A-Fa-f",
};

/** The expression in JavaScript's words; undefined where it is none. */
function translate(text: string): RegExp | undefined {
	// In brackets a backslash is a character, and "]" is one if it comes first.
	const source = text.replaceAll(
		/\\[\s\S]|\[(\^?)(\]?(?:\[:[a-z]+:\]|[^\]])*)\]/g,
		(whole, not: string | undefined, inside: string | undefined) => {
			if (inside === undefined) return whole;
			const set = inside
				.replaceAll(/[\\\]]|\[(?!:[a-z]+:\])/g, "\\$&")
				.replaceAll(/\[:([a-z]+):\\\]/g, (_, name: string) => CLASSES[name] ?? "");
			return `[${not}${set}]`;
		},
	);
	try {
		return new RegExp(source);
	} catch {
		return undefined;
	}
}

/** regexp [--set [NUMBER:]VARIABLE]... EXPRESSION STRING */
export function regexp(grub: Interpreter, { words, place }: Invocation): number {
	const wanted: string[] = [];
	const operands: string[] = [];
	for (let index = 0; index < words.length; index++) {
		const word = words[index] as string;
		if (word === "--set" || word === "-s") wanted.push(words[++index] ?? "");
		else if (word.startsWith("--set=")) wanted.push(word.slice("--set=".length));
		else operands.push(word);
	}
	const [expression, string, more] = operands;
	if (expression === undefined || string === undefined || more !== undefined) {
		throw new CommandFailure(place, "regexp: two arguments are expected");
	}
	const pattern = translate(expression);
	if (pattern === undefined) throw new CommandFailure(place, `regexp: "${expression}" is no regular expression`);
	const match = pattern.exec(string);
	if (match === null) return 1;
	for (const each of wanted) {
		const [, number = "1", variable = ""] = /^(?:(\d+):)?(.*)$/.exec(each) ?? [];
		grub.context.variables.set(variable, match[Number(number)] ?? "");
	}
	return 0;
}
