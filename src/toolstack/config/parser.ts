/** Parses xl's configuration files: KEY=VALUE and KEY+=VALUE, separated by lines or semicolons (xl.cfg(5), "Syntax"). */
import { ConfigError } from "./errors.ts";
import { type Token, tokenize } from "./lexer.ts";

/** A string or a number. xl takes the one for the other wherever it can be read so. */
export interface Atom {
	readonly text: string;
	readonly quoted: boolean;
	readonly line: number;
}

export interface List {
	readonly items: readonly Value[];
	readonly line: number;
}

export type Value = Atom | List;

export function isList(value: Value): value is List {
	return "items" in value;
}

/** Settings by their keys: of a key that is set again, the last counts. */
export type Settings = ReadonlyMap<string, Setting>;

export interface Setting {
	readonly key: string;
	readonly value: Value;
	readonly file: string;
	/** Where it was set last. */
	readonly line: number;
}

/** Lists within lists within lists: more is no configuration. */
const DEEPEST = 32;

/**
 * @param file the name for messages
 * @param before settings that those of `text` add to, and replace
 * @param problem gets what is wrong, and the next line is read on; without it, it is thrown
 * @throws ConfigError
 */
export function parseConfig(
	text: string,
	file: string,
	before: Settings = new Map(),
	problem: (error: ConfigError) => void = (error) => {
		throw error;
	},
): Map<string, Setting> {
	const settings = new Map(before);
	const reader = new Reader(tokenize(text, file, problem), file);
	while (!reader.atEnd()) {
		if (reader.takeSeparator()) continue;
		try {
			const setting = reader.setting(settings);
			settings.set(setting.key, setting);
			reader.endSetting();
		} catch (error) {
			if (!(error instanceof ConfigError)) throw error;
			problem(error);
			reader.skipLine();
		}
	}
	return settings;
}

class Reader {
	private at = 0;

	constructor(
		private readonly tokens: readonly Token[],
		private readonly file: string,
	) {}

	atEnd(): boolean {
		return this.peek().kind === "end";
	}

	takeSeparator(): boolean {
		const { kind, text } = this.peek();
		if (kind !== "newline" && text !== ";") return false;
		this.at++;
		return true;
	}

	/** Goes to the end of the line. */
	skipLine(): void {
		while (!this.atEnd() && this.peek().kind !== "newline") this.at++;
	}

	setting(settings: Settings): Setting {
		const { file } = this;
		const key = this.next();
		if (key.kind !== "name") throw this.unexpected(key, "an option's name");
		const operator = this.next();
		if (operator.text !== "=" && operator.text !== "+=") throw this.unexpected(operator, `"=" behind ${key.text}`);
		const value = this.value(0);
		const before = settings.get(key.text);
		const { line } = key;
		if (operator.text === "=" || before === undefined) return { key: key.text, value, file, line };
		return { key: key.text, value: this.append(key, before.value, value), file, line };
	}

	endSetting(): void {
		if (!this.atEnd() && !this.takeSeparator()) throw this.unexpected(this.peek(), "the end of the line");
	}

	private value(depth: number): Value {
		const token = this.next();
		if (token.kind === "string" || token.kind === "number") {
			return { text: token.text, quoted: token.kind === "string", line: token.line };
		}
		if (token.text !== "[" || token.kind !== "punctuation") throw this.unexpected(token, "a value");
		if (depth === DEEPEST) throw new ConfigError("syntax", this.file, token.line, "lists too deep", "Make it flatter");
		const items: Value[] = [];
		for (;;) {
			this.skipNewlines();
			if (this.take("]")) return { items, line: token.line };
			items.push(this.value(depth + 1));
			this.skipNewlines();
			if (this.take("]")) return { items, line: token.line };
			if (!this.take(",")) throw this.unexpected(this.peek(), '"," or "]"');
		}
	}

	/** `+=` adds text to text, and items to a list; nothing else. */
	private append(key: Token, before: Value, added: Value): Value {
		if (isList(before) && isList(added)) return { ...before, items: [...before.items, ...added.items] };
		if (!isList(before) && !isList(added)) {
			return { text: before.text + added.text, quoted: true, line: before.line };
		}
		const reason = `${key.text} += adds a ${isList(added) ? "list" : "string"} to a ${isList(before) ? "list" : "string"}`;
		throw new ConfigError("invalid-value", this.file, key.line, reason, "Give both as lists, or both as strings");
	}

	private skipNewlines(): void {
		while (this.peek().kind === "newline") this.at++;
	}

	private take(punctuation: string): boolean {
		const { kind, text } = this.peek();
		if (kind !== "punctuation" || text !== punctuation) return false;
		this.at++;
		return true;
	}

	private peek(): Token {
		return this.tokens[this.at] as Token;
	}

	private next(): Token {
		const token = this.peek();
		if (token.kind !== "end") this.at++;
		return token;
	}

	private unexpected({ kind, text, line }: Token, wanted: string): ConfigError {
		const found = kind === "end" ? "the end of the file" : kind === "newline" ? "the end of the line" : `"${text}"`;
		const remedy =
			kind === "name" ? 'Put text in quotes: name = "value"' : "xl.cfg(5), Syntax, tells how settings are written";
		return new ConfigError("syntax", this.file, line, `${found} where ${wanted} belongs`, remedy);
	}
}
