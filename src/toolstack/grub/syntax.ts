/** GRUB 2's script language as a tree of statements: commands, if, for, while, until, function. */
import { GrubError } from "./errors.ts";
import { type Token, tokenize, type Word } from "./lexer.ts";

export interface Command {
	readonly kind: "command";
	readonly line: number;
	/** The name of the command and its arguments, before variables are replaced. */
	readonly words: readonly Word[];
	/** The block behind the arguments of menuentry and submenu. */
	readonly block: Script | undefined;
}

export type Statement =
	| Command
	| {
			readonly kind: "if";
			readonly line: number;
			readonly branches: readonly { readonly condition: Script; readonly body: Script }[];
			readonly otherwise: Script;
	  }
	| {
			readonly kind: "for";
			readonly line: number;
			readonly name: string;
			readonly words: readonly Word[];
			readonly body: Script;
	  }
	| {
			readonly kind: "while";
			readonly line: number;
			readonly condition: Script;
			readonly until: boolean;
			readonly body: Script;
	  }
	| { readonly kind: "function"; readonly line: number; readonly name: string; readonly body: Script };

export type Script = readonly Statement[];

/** How deep statements may lie in each other. */
const DEEPEST = 100;
/** Words with a meaning at the place of a command's name that are not ours to carry out. */
const UNSUPPORTED = ["case", "esac", "select", "time", "[["];
const ENDINGS = ["then", "elif", "else", "fi", "do", "done"];

class Parser {
	private at = 0;
	private depth = 0;

	constructor(
		private readonly tokens: readonly Token[],
		private readonly file: string,
	) {}

	parse(): Script {
		const script = this.script([]);
		const token = this.peek();
		if (token.kind !== "file-end") throw this.unexpected(token, "nothing is open that it could close");
		return script;
	}

	private peek(): Token {
		// The list ends with "file-end", which is never passed.
		return this.tokens[Math.min(this.at, this.tokens.length - 1)] as Token;
	}

	private next(): Token {
		const token = this.peek();
		this.at++;
		return token;
	}

	private error(
		line: number,
		reason: string,
		remedy = "Correct the file; grub-script-check tells what GRUB thinks of it.",
	): GrubError {
		return new GrubError({ file: this.file, line }, reason, remedy);
	}

	private unexpected(token: Token, why: string): GrubError {
		const what = token.kind === "word" ? `"${token.bare ?? "a word"}"` : `"${token.kind}"`;
		return token.kind === "file-end"
			? this.error(token.line, `the file ends too early: ${why}`)
			: this.error(token.line, `${what} is not expected here: ${why}`);
	}

	private skipEnds(): void {
		while (this.peek().kind === "end") this.at++;
	}

	/** Statements up to one of the keywords, a "}" or the end of the file, which are left. */
	private script(endings: readonly string[]): Script {
		if (++this.depth > DEEPEST) throw this.error(this.peek().line, "too many statements lie in each other");
		const statements: Statement[] = [];
		for (;;) {
			this.skipEnds();
			const token = this.peek();
			if (token.kind === "}" || token.kind === "file-end") break;
			if (token.kind === "word" && token.bare !== undefined) {
				if (endings.includes(token.bare)) break;
				if (ENDINGS.includes(token.bare)) throw this.unexpected(token, `${endings.join(" or ") || "a command"} is`);
			}
			statements.push(this.statement());
		}
		this.depth--;
		return statements;
	}

	/** Takes one of the keywords. */
	private keyword(names: readonly string[], opened: string, line: number): string {
		const token = this.next();
		if (token.kind === "word" && token.bare !== undefined && names.includes(token.bare)) return token.bare;
		throw this.unexpected(
			token,
			`"${opened}" of line ${line} waits for ${names.map((name) => `"${name}"`).join(" or ")}`,
		);
	}

	private block(owner: string, line: number): Script {
		const open = this.next();
		if (open.kind !== "{") throw this.unexpected(open, `${owner} needs a block in braces`);
		const body = this.script([]);
		const close = this.next();
		if (close.kind !== "}") throw this.unexpected(close, `the block of line ${line} is not closed`);
		return body;
	}

	private statement(): Statement {
		const token = this.peek();
		if (token.kind !== "word") throw this.unexpected(token, "a command is");
		const { line, bare } = token;
		if (bare !== undefined && UNSUPPORTED.includes(bare)) {
			throw this.error(line, `"${bare}" is not supported`, "Write it with if, or take it out.");
		}
		switch (bare) {
			case "if":
				this.at++;
				return this.ifStatement(line);
			case "for":
				this.at++;
				return this.forStatement(line);
			case "while":
			case "until":
				this.at++;
				return {
					kind: "while",
					line,
					condition: this.script(["do"]),
					until: bare === "until",
					body: this.loop(bare, line),
				};
			case "function": {
				this.at++;
				const name = this.name("function");
				this.skipEnds();
				return { kind: "function", line, name, body: this.block(`function ${name}`, line) };
			}
			default:
				return this.command(line);
		}
	}

	private name(of: string): string {
		const token = this.next();
		if (token.kind === "word" && token.bare !== undefined) return token.bare;
		throw this.unexpected(token, `${of} needs a name`);
	}

	private ifStatement(line: number): Statement {
		const branches: { condition: Script; body: Script }[] = [];
		for (;;) {
			const condition = this.script(["then"]);
			this.keyword(["then"], "if", line);
			branches.push({ condition, body: this.script(["elif", "else", "fi"]) });
			const ending = this.keyword(["elif", "else", "fi"], "if", line);
			if (ending === "elif") continue;
			const otherwise = ending === "else" ? this.script(["fi"]) : [];
			if (ending === "else") this.keyword(["fi"], "if", line);
			return { kind: "if", line, branches, otherwise };
		}
	}

	private forStatement(line: number): Statement {
		const name = this.name("for");
		this.keyword(["in"], "for", line);
		const words: Word[] = [];
		for (let token = this.next(); token.kind !== "end"; token = this.next()) {
			if (token.kind !== "word") throw this.unexpected(token, "a list of words is");
			words.push(token);
		}
		this.skipEnds();
		return { kind: "for", line, name, words, body: this.loop("for", line) };
	}

	private loop(opened: string, line: number): Script {
		this.keyword(["do"], opened, line);
		const body = this.script(["done"]);
		this.keyword(["done"], opened, line);
		return body;
	}

	private command(line: number): Command {
		const words: Word[] = [];
		for (let token = this.peek(); token.kind === "word"; token = this.peek()) {
			words.push(token);
			this.at++;
		}
		const block = this.peek().kind === "{" ? this.block("it", line) : undefined;
		return { kind: "command", line, words, block };
	}
}

/**
 * @param file its name for messages
 * @throws GrubError where it is not GRUB's language, or needs more of it than is supported
 */
export function parseScript(text: string, file: string): Script {
	return new Parser(tokenize(text, file), file).parse();
}
