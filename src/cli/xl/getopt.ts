/** Options as xl's verbs have them, by getopt_long's rules: `-cp`, `-d3`, `-d 3`, `--domain=3`, before and behind operands, up to `--`. */
import { UsageError } from "../errors.ts";

export interface VerbOption {
	/** A letter, where it has one. */
	readonly short?: string;
	readonly long?: string;
	/** What its value is called, where it has one. */
	readonly value?: string;
	readonly help: string;
}

export interface Arguments {
	readonly operands: readonly string[];
	/** Whether an option is there: by its letter, or its long name where it has none. */
	has(name: string): boolean;
	/** The value of an option, the last where it is given more than once. */
	value(name: string): string | undefined;
}

/** By what an option is asked for. */
function nameOf({ short, long }: VerbOption): string {
	return short ?? long ?? "";
}

/**
 * @param verb for messages
 * @throws UsageError for an option that the verb does not have, or that lacks its value
 */
export function getopt(verb: string, args: readonly string[], options: readonly VerbOption[]): Arguments {
	const operands: string[] = [];
	const found = new Map<string, string>();
	const remedy = `paravirt xl help ${verb} lists the options.`;
	const rest = [...args];
	const takeValue = (option: VerbOption, shown: string, attached: string | undefined): string => {
		const value = option.value === undefined ? "" : (attached ?? rest.shift());
		if (value === undefined) throw new UsageError(`${verb}: ${shown} needs a value`, `Write ${shown} ${option.value}.`);
		return value;
	};
	for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
		if (word === "--") {
			operands.push(...rest);
			break;
		}
		if (word.startsWith("--")) {
			const [name = "", ...values] = word.slice(2).split("=");
			const option = options.find(({ long }) => long === name);
			if (option === undefined) throw new UsageError(`${verb}: unknown option --${name}`, remedy);
			if (option.value === undefined && values.length > 0) {
				throw new UsageError(`${verb}: --${name} takes no value`, `Write --${name} alone.`);
			}
			found.set(nameOf(option), takeValue(option, `--${name}`, values.length > 0 ? values.join("=") : undefined));
		} else if (word.startsWith("-") && word !== "-") {
			for (let letters = word.slice(1); letters !== ""; ) {
				const letter = letters[0] as string;
				const option = options.find(({ short }) => short === letter);
				if (option === undefined) throw new UsageError(`${verb}: unknown option -${letter}`, remedy);
				const attached = option.value === undefined ? "" : letters.slice(1).replace(/^=/, "");
				found.set(nameOf(option), takeValue(option, `-${letter}`, attached === "" ? undefined : attached));
				letters = option.value === undefined ? letters.slice(1) : "";
			}
		} else operands.push(word);
	}
	return { operands, has: (name) => found.has(name), value: (name) => found.get(name) };
}
