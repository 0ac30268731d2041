/**
 * GRUB 2's script language as tokens ("Writing full configuration files directly" in its manual): words with their quotes and
 * variables, and what separates commands.
 */
import { GrubError } from "./errors.ts";

/** A piece of a word. Quoted text is not split into several words when a variable in it is replaced by its value. */
export type WordPart =
	| { readonly kind: "text"; readonly text: string; readonly quoted: boolean }
	| { readonly kind: "variable"; readonly name: string; readonly quoted: boolean };

export interface Word {
	readonly kind: "word";
	readonly line: number;
	readonly parts: readonly WordPart[];
	/** The word as it stands, where nothing in it is quoted or a variable: what may be a keyword. */
	readonly bare: string | undefined;
}

export type Token =
	| Word
	| { readonly kind: "end" | "{" | "}"; readonly line: number }
	| { readonly kind: "file-end"; readonly line: number };

const BLANK = /[ \t\r]/;
/** What ends a word that is not quoted. */
const META = /[{}|&;<> \t\r\n]/;
/** Names of variables; digits, `*`, `@`, `#` and `?` are the parameters and the last status. */
const VARIABLE = /^(?:[A-Za-z_][A-Za-z0-9_]*|\d+|[*@#?])/;

class Lexer {
	readonly tokens: Token[] = [];
	private at = 0;
	private line: number;

	constructor(
		private readonly text: string,
		private readonly file: string,
		firstLine: number,
	) {
		this.line = firstLine;
	}

	run(): Token[] {
		for (;;) {
			this.skipBlanks();
			const character = this.text[this.at];
			if (character === undefined) break;
			if (character === "\n" || character === ";") {
				this.tokens.push({ kind: "end", line: this.line });
				if (character === "\n") this.line++;
				this.at++;
			} else if (character === "{" || character === "}") {
				this.tokens.push({ kind: character, line: this.line });
				this.at++;
			} else if (META.test(character)) {
				throw this.error(`"${character}" is not something that GRUB's language has here`, "Quote it, or take it out.");
			} else this.readWord();
		}
		this.tokens.push({ kind: "end", line: this.line }, { kind: "file-end", line: this.line });
		return this.tokens;
	}

	private error(reason: string, remedy: string, line = this.line): GrubError {
		return new GrubError({ file: this.file, line }, reason, remedy);
	}

	/** Blanks, comments, and lines that go on behind a backslash. */
	private skipBlanks(): void {
		for (;;) {
			const character = this.text[this.at];
			if (character === "\\" && this.text[this.at + 1] === "\n") {
				this.at += 2;
				this.line++;
			} else if (character === "#") {
				const end = this.text.indexOf("\n", this.at);
				this.at = end < 0 ? this.text.length : end;
			} else if (character !== undefined && BLANK.test(character)) this.at++;
			else return;
		}
	}

	private readWord(): void {
		const { line } = this;
		const parts: WordPart[] = [];
		const text = (piece: string, quoted: boolean): void => {
			const last = parts.at(-1);
			if (last?.kind === "text" && last.quoted === quoted) {
				parts[parts.length - 1] = { ...last, text: last.text + piece };
			} else parts.push({ kind: "text", text: piece, quoted });
		};
		for (;;) {
			const character = this.text[this.at];
			if (character === undefined || META.test(character)) break;
			this.at++;
			if (character === "'") text(this.until("'", line), true);
			else if (character === '"') this.readQuoted(line, parts, text);
			else if (character === "\\") this.readEscape(text);
			else if (character === "$") this.readVariable(parts, text, false);
			else text(character, false);
		}
		const [only] = parts;
		const bare = parts.length === 1 && only?.kind === "text" && !only.quoted ? only.text : undefined;
		this.tokens.push({ kind: "word", line, parts, bare });
	}

	/** Text to the quote that ends it; the place moves behind that. */
	private until(quote: string, line: number): string {
		const end = this.text.indexOf(quote, this.at);
		if (end < 0) throw this.error(`the quote ${quote} is not closed`, "Close it.", line);
		const found = this.text.slice(this.at, end);
		this.line += found.split("\n").length - 1;
		this.at = end + 1;
		return found;
	}

	private readEscape(text: (piece: string, quoted: boolean) => void): void {
		const next = this.text[this.at++];
		if (next === "\n") this.line++;
		else if (next !== undefined) text(next, true);
	}

	private readQuoted(line: number, parts: WordPart[], text: (piece: string, quoted: boolean) => void): void {
		text("", true);
		for (;;) {
			const character = this.text[this.at++];
			if (character === undefined) throw this.error('the quote " is not closed', "Close it.", line);
			if (character === '"') return;
			const next = this.text[this.at];
			// Within quotes a backslash is only taken away before what it may protect there.
			if (character === "\\" && next !== undefined && '$"\\\n'.includes(next)) this.readEscape(text);
			else if (character === "$") this.readVariable(parts, text, true);
			else {
				if (character === "\n") this.line++;
				text(character, true);
			}
		}
	}

	/** What follows a dollar sign: a variable, or nothing of the kind. */
	private readVariable(parts: WordPart[], text: (piece: string, quoted: boolean) => void, quoted: boolean): void {
		const braced = this.text[this.at] === "{";
		const rest = this.text.slice(this.at + (braced ? 1 : 0), this.at + 256);
		const name = VARIABLE.exec(rest)?.[0];
		if (name === undefined || (braced && rest[name.length] !== "}")) {
			// $"text" and $'text' are text to be translated.
			if (!braced && !quoted && (rest[0] === '"' || rest[0] === "'")) return;
			if (braced)
				throw this.error("a variable's name is missing or not closed", "Write it in braces behind the dollar sign.");
			text("$", quoted);
			return;
		}
		this.at += name.length + (braced ? 2 : 0);
		parts.push({ kind: "variable", name, quoted });
	}
}

/**
 * @param file its name for messages
 * @throws GrubError where a quote is not closed or a character is not possible
 */
export function tokenize(text: string, file: string, firstLine = 1): readonly Token[] {
	return new Lexer(text, file, firstLine).run();
}
