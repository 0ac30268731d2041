/** Reads settings as the kinds of values that options have, as libxlu's xlu_cfg_get_* do: a string may hold a number. */
import { ConfigError } from "./errors.ts";
import type { OptionKind } from "./options.ts";
import { type Atom, isList, type Setting, type Settings, type Value } from "./parser.ts";

/** Octal, decimal or hexadecimal, as in C. */
export function parseNumber(text: string): number | undefined {
	const match = /^\s*(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\s*$/.exec(text);
	if (match === null) return undefined;
	const [, sign, digits = ""] = match;
	const value = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
	return Number.isSafeInteger(value) ? (sign === "-" ? -value : value) : undefined;
}

export class SettingsReader {
	/** @param settings of which each is of its option's kind */
	constructor(
		private readonly settings: Settings,
		readonly file: string,
	) {}

	has(key: string): boolean {
		return this.settings.has(key);
	}

	text(key: string): string | undefined {
		const setting = this.settings.get(key);
		return setting === undefined ? undefined : this.atom(setting).text;
	}

	/** @throws ConfigError outside `least` to `most` */
	number(key: string, least = 0, most = Number.MAX_SAFE_INTEGER): number | undefined {
		const setting = this.settings.get(key);
		if (setting === undefined) return undefined;
		const { text } = this.atom(setting);
		const value = parseNumber(text);
		if (value === undefined) throw this.invalid(key, `"${text}" is no number`, "Give a number, such as 2");
		if (value < least || value > most) {
			const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
			throw this.invalid(key, `${value} is not possible`, `Give ${range}`);
		}
		return value;
	}

	/** Items of a list; each must be text. */
	list(key: string): readonly string[] {
		const setting = this.settings.get(key);
		if (setting === undefined) return [];
		if (!isList(setting.value)) throw this.invalid(key, "it is no list", `Write ${key} = [ 'VALUE', 'VALUE' ]`);
		return setting.value.items.map((item) => {
			if (!isList(item)) return item.text;
			throw this.invalid(key, "a list within the list", `Write ${key} = [ 'VALUE', 'VALUE' ]`);
		});
	}

	textOrList(key: string): string | readonly string[] | undefined {
		const setting = this.settings.get(key);
		if (setting === undefined) return undefined;
		return isList(setting.value) ? this.list(key) : setting.value.text;
	}

	/** Where an option is set, as messages begin: "FILE:LINE". */
	place(key: string): string {
		const { file, line } = this.settings.get(key) ?? { file: this.file, line: 0 };
		return line === 0 ? file : `${file}:${line}`;
	}

	/** What is wrong with an option's value. */
	invalid(key: string, reason: string, remedy: string, cause?: unknown): ConfigError {
		const setting = this.settings.get(key);
		const { file, line } = setting ?? { file: this.file, line: 0 };
		return new ConfigError("invalid-value", file, line, `${key}: ${reason}`, remedy, { cause });
	}

	private atom(setting: Setting): Atom {
		if (!isList(setting.value)) return setting.value;
		throw this.invalid(setting.key, "it is a list", "Give one value, without brackets");
	}
}

/** Whether a value is of the kind at all. */
export function isOfKind(value: Value, kind: OptionKind): boolean {
	if (isList(value)) return kind === "list" || kind === "string or list";
	if (kind === "list") return false;
	return (kind !== "number" && kind !== "boolean") || parseNumber(value.text) !== undefined;
}
