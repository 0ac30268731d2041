/**
 * Words of xl's configuration files (xl.cfg(5); the language of libxlu's xlu_cfg). A line's end separates settings, except within a list
 * and behind a backslash.
 */
import { ConfigError } from "./errors.ts";

export type TokenKind = "name" | "number" | "string" | "punctuation" | "newline" | "end";

export interface Token {
	readonly kind: TokenKind;
	/** A string's without quotes and escapes. */
	readonly text: string;
	readonly line: number;
}

/** White space, comments, and lines that are continued. */
const BLANK = /(?:[ \t\r\f\v]|\\\r?\n|#[^\n]*)+/y;
const NEWLINE = /\n/y;
const NUMBER = /(?:0[xX][0-9a-fA-F]+|[0-9]+)(?![0-9A-Za-z_])/y;
const NAME = /[A-Za-z][A-Za-z0-9_]*/y;
const STRING = /"((?:[^"\\\n]|\\[^\n])*)"|'((?:[^'\\\n]|\\[^\n])*)'/y;
const PUNCTUATION = /\+=|[=[\],;]/y;

const RULES: readonly (readonly [kind: TokenKind, pattern: RegExp])[] = [
	["newline", NEWLINE],
	["number", NUMBER],
	["name", NAME],
	["string", STRING],
	["punctuation", PUNCTUATION],
];

/** C's escapes, without those that are numbers. */
const ESCAPES: Readonly<Record<string, string>> = {
	a: "\x07",
	b: "\b",
	f: "\f",
	n: "\n",
	r: "\r",
	t: "\t",
	v: "\v",
	"\\": "\\",
	'"': '"',
	"'": "'",
};
const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))/gs;

/**
 * The words of `text`, the last of kind "end".
 * @param problem gets what is wrong; nothing of that line is left then
 */
export function tokenize(text: string, file: string, problem: (error: ConfigError) => void): Token[] {
	const tokens: Token[] = [];
	let line = 1;
	let at = 0;
	const match = (pattern: RegExp): RegExpExecArray | null => {
		pattern.lastIndex = at;
		const found = pattern.exec(text);
		if (found !== null) at = pattern.lastIndex;
		return found;
	};
	while (at < text.length) {
		const blank = match(BLANK);
		if (blank !== null) {
			line += blank[0].split("\n").length - 1;
			continue;
		}
		let found: RegExpExecArray | null = null;
		const rule = RULES.find(([, pattern]) => {
			found = match(pattern);
			return found !== null;
		});
		const [whole = "", double, single] = (found ?? []) as readonly (string | undefined)[];
		const token =
			rule === undefined
				? unexpected(text.slice(at), file, line)
				: rule[0] === "string"
					? stringToken(double ?? single ?? "", file, line)
					: { kind: rule[0], text: whole, line };
		if (!(token instanceof ConfigError)) {
			tokens.push(token);
			if (token.kind === "newline") line++;
			continue;
		}
		problem(token);
		while (tokens.length > 0 && tokens.at(-1)?.kind !== "newline") tokens.pop();
		const end = text.indexOf("\n", at);
		at = end < 0 ? text.length : end;
	}
	tokens.push({ kind: "end", text: "", line });
	return tokens;
}

/** A string without its escapes, or what is wrong with one of them. */
function stringToken(content: string, file: string, line: number): Token | ConfigError {
	let unknown: string | undefined;
	const text = content.replace(ESCAPE, (all, hexadecimal?: string, octal?: string, letter?: string) => {
		if (hexadecimal !== undefined) return String.fromCharCode(Number.parseInt(hexadecimal, 16));
		if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
		const meant = ESCAPES[letter as string];
		if (meant === undefined) unknown ??= all;
		return meant ?? all;
	});
	if (unknown === undefined) return { kind: "string", text, line };
	return new ConfigError("syntax", file, line, `unknown escape ${unknown} in a string`, "Write \\\\ for a backslash");
}

function unexpected(rest: string, file: string, line: number): ConfigError {
	const [first = ""] = rest;
	if (first === '"' || first === "'") {
		const remedy = `Close it with ${first} on the same line`;
		return new ConfigError("syntax", file, line, "a string that does not end", remedy);
	}
	const [word = first] = /^[^\s=[\],;'"#]+/.exec(rest) ?? [];
	const shown = word.length > 30 ? `${word.slice(0, 30)}...` : word;
	return new ConfigError("syntax", file, line, `unexpected "${shown}"`, 'Put text in quotes: name = "value"');
}
