/**
 * Runs GRUB 2's script language as GRUB does when it shows a menu and boots an entry: variables, functions, blocks. Commands are in
 * commands.ts. One that is not there, and one that fails, is told of and passed over, as GRUB does it.
 */
import { COMMANDS } from "./commands.ts";
import { CommandFailure, GrubError, GrubStatus, type Place } from "./errors.ts";
import type { GrubFiles } from "./files.ts";
import type { Word } from "./lexer.ts";
import type { Loaded } from "./loaded.ts";
import type { MenuEntry } from "./menu.ts";
import type { Command, Script, Statement } from "./syntax.ts";

/** Commands that one run may execute, and calls and sourced files that may lie in each other: what is beyond is a loop. */
const MOST_COMMANDS = 10_000;
const DEEPEST_CALLS = 50;

/** A menu entry of GRUB 2, with what is run when it is chosen. */
export interface ScriptEntry extends MenuEntry {
	readonly entries: readonly ScriptEntry[] | undefined;
	/** $1 and what follows: the title, and words that are no options. */
	readonly parameters: readonly string[];
	readonly body: Script;
	/** Variables and functions as they are when it is chosen. */
	readonly context: Context;
}

/** Functions and variables; a submenu has its own, which begin with the exported ones. */
export class Context {
	constructor(
		readonly variables: Map<string, string>,
		readonly exported: Set<string>,
		readonly functions: Map<string, { readonly body: Script; readonly file: string }>,
	) {}

	/** What a submenu sees of it. */
	inner(): Context {
		const kept = [...this.variables].filter(([name]) => this.exported.has(name));
		return new Context(new Map(kept), new Set(this.exported), this.functions);
	}

	/** The same, to be changed by an entry that is run. */
	copy(): Context {
		return new Context(new Map(this.variables), new Set(this.exported), new Map(this.functions));
	}
}

/** How a list of statements ended: the status of its last command, and whether more is left than that. */
interface Outcome {
	readonly status: number;
	readonly leave?: { readonly kind: "break" | "continue" | "return"; levels: number } | undefined;
}

/** What a script says. */
export interface Output {
	/** Gets what `echo` prints. */
	print(text: string): void;
	/** Is told of a command that GRUB, too, would complain of. */
	warn(failure: GrubError): void;
}

/** What commands work on. */
export class Interpreter {
	readonly entries: ScriptEntry[] = [];
	loaded: Loaded | undefined;
	/** The file that is read now. */
	file: string;
	private parameters: readonly string[] = [];
	private status = 0;
	private executed = 0;
	private depth = 0;

	constructor(
		readonly files: GrubFiles,
		file: string,
		readonly context: Context,
		readonly output: Output,
	) {
		this.file = file;
	}

	get(name: string): string {
		return this.context.variables.get(name) ?? "";
	}

	/** The parameters of the function or entry that runs: $1 and what follows. */
	get arguments(): readonly string[] {
		return this.parameters;
	}

	setParameters(parameters: readonly string[]): void {
		this.parameters = parameters;
	}

	/** Runs statements with parameters of their own. */
	async call(script: Script, parameters: readonly string[], place: Place, file = this.file): Promise<number> {
		if (++this.depth > DEEPEST_CALLS) {
			throw new GrubError(place, "functions or files call each other without an end", "Correct the file.");
		}
		const before = { parameters: this.parameters, file: this.file };
		this.parameters = parameters;
		this.file = file;
		try {
			return (await this.run(script)).status;
		} finally {
			this.parameters = before.parameters;
			this.file = before.file;
			this.depth--;
		}
	}

	/** The entries that statements make in a context of their own: a submenu's. */
	async menuOf(context: Context, body: Script, parameters: readonly string[], place: Place): Promise<ScriptEntry[]> {
		const inner = new Interpreter(this.files, place.file, context, this.output);
		inner.depth = this.depth;
		inner.executed = this.executed;
		await inner.call(body, parameters, place);
		this.executed = inner.executed;
		return inner.entries;
	}

	private async run(script: Script): Promise<Outcome> {
		let outcome: Outcome = { status: 0 };
		for (const statement of script) {
			outcome = await this.statement(statement);
			this.status = outcome.status;
			if (outcome.leave !== undefined) break;
		}
		return outcome;
	}

	private async statement(statement: Statement): Promise<Outcome> {
		switch (statement.kind) {
			case "function":
				this.context.functions.set(statement.name, { body: statement.body, file: this.file });
				return { status: 0 };
			case "if":
				for (const { condition, body } of statement.branches) {
					const tried = await this.run(condition);
					if (tried.leave !== undefined) return tried;
					if (tried.status === 0) return this.run(body);
				}
				return this.run(statement.otherwise);
			case "for":
				return this.forLoop(statement);
			case "while":
				return this.whileLoop(statement);
			default:
				return this.command(statement);
		}
	}

	/** @returns whether the loop that a `break` or `continue` came out of goes on, or how it ends */
	private afterBody(outcome: Outcome): Outcome | undefined {
		const { leave } = outcome;
		if (leave === undefined) return undefined;
		if (leave.kind === "return") return outcome;
		if (leave.levels > 1) return { status: 0, leave: { kind: leave.kind, levels: leave.levels - 1 } };
		return leave.kind === "break" ? { status: 0 } : undefined;
	}

	private async forLoop(loop: Statement & { readonly kind: "for" }): Promise<Outcome> {
		let outcome: Outcome = { status: 0 };
		for (const value of this.expand(loop.words)) {
			this.context.variables.set(loop.name, value);
			outcome = await this.run(loop.body);
			const end = this.afterBody(outcome);
			if (end !== undefined) return end;
		}
		return { status: outcome.status };
	}

	private async whileLoop(loop: Statement & { readonly kind: "while" }): Promise<Outcome> {
		let status = 0;
		for (;;) {
			this.count({ file: this.file, line: loop.line });
			const tried = await this.run(loop.condition);
			if (tried.leave !== undefined) return tried;
			if ((tried.status === 0) === loop.until) return { status };
			const outcome = await this.run(loop.body);
			const end = this.afterBody(outcome);
			if (end !== undefined) return end;
			status = outcome.status;
		}
	}

	private count(place: Place): void {
		if (++this.executed <= MOST_COMMANDS) return;
		throw new GrubError(place, `more than ${MOST_COMMANDS} commands were run`, "Correct the loop.");
	}

	private async command(command: Command): Promise<Outcome> {
		const place = { file: this.file, line: command.line };
		this.count(place);
		const [name, ...words] = this.expand(command.words);
		if (name === undefined) return { status: 0 };
		if (name === "!") return this.negated(command, words, place);
		return this.execute(command, name, words, place);
	}

	private isKnown(name: string): boolean {
		return Object.hasOwn(COMMANDS, name) || this.context.functions.has(name);
	}

	/** "! COMMAND": a status of 0 becomes 1, any other 0. */
	private async negated(command: Command, words: readonly string[], place: Place): Promise<Outcome> {
		const [name, ...rest] = words;
		if (name === undefined) return { status: 0 };
		if (!this.isKnown(name)) return this.execute(command, name, rest, place);
		const outcome = await this.execute(command, name, rest, place);
		return outcome.leave === undefined ? { status: outcome.status === 0 ? 1 : 0 } : outcome;
	}

	private async execute(command: Command, name: string, words: readonly string[], place: Place): Promise<Outcome> {
		const leave = leaving(name, words, this.status);
		if (leave !== undefined) return leave;
		const run = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
		const called = this.context.functions.get(name);
		try {
			if (run !== undefined) return { status: await run(this, { name, words, block: command.block, place }) };
			if (called !== undefined) return { status: await this.call(called.body, words, place, called.file) };
			const equals = name.indexOf("=");
			if (equals < 0) throw new CommandFailure(place, `can't find command "${name}"`, GrubStatus.none);
			this.context.variables.set(name.slice(0, equals), name.slice(equals + 1));
			return { status: 0 };
		} catch (error) {
			if (!(error instanceof CommandFailure)) throw error;
			this.output.warn(error);
			return { status: error.status };
		}
	}

	/**
	 * Replaces variables. What is not quoted is split at blanks, and nothing is left of it where it is empty; "$@" is a word for each
	 * parameter.
	 */
	expand(words: readonly Word[]): string[] {
		return words.flatMap(({ parts }) => {
			const results: string[] = [];
			let current: string | undefined;
			const add = (pieces: readonly string[]): void => {
				for (const [index, piece] of pieces.entries()) {
					if (index > 0 && current !== undefined) results.push(current);
					if (index > 0) current = undefined;
					current = (current ?? "") + piece;
				}
			};
			for (const part of parts) {
				if (part.kind === "text") add([part.text]);
				else if (!part.quoted) {
					const pieces = this.values(part.name)
						.join(" ")
						.split(/[ \t\n]+/);
					// Blanks at either end divide it from its neighbours too.
					if (pieces.length > 1 && pieces[0] === "" && current !== undefined) {
						results.push(current);
						current = undefined;
					}
					add(pieces.filter((piece) => piece !== ""));
					if (pieces.length > 1 && pieces.at(-1) === "" && current !== undefined) {
						results.push(current);
						current = undefined;
					}
				} else if (part.name === "@") add(this.values(part.name));
				else add([this.values(part.name).join(" ")]);
			}
			if (current !== undefined) results.push(current);
			return results;
		});
	}

	private values(name: string): readonly string[] {
		if (name === "?") return [String(this.status)];
		if (name === "#") return [String(this.parameters.length)];
		if (name === "@" || name === "*") return this.parameters;
		if (/^\d+$/.test(name)) return [this.parameters[Number(name) - 1] ?? ""];
		return [this.get(name)];
	}
}

/** break, continue and return: how they leave what runs. */
function leaving(name: string, words: readonly string[], status: number): Outcome | undefined {
	const value = Number(words[0] ?? Number.NaN);
	switch (name) {
		case "break":
		case "continue":
			return { status: 0, leave: { kind: name, levels: Number.isNaN(value) ? 1 : Math.max(value, 1) } };
		case "return": {
			const result = Number.isNaN(value) ? status : value;
			return { status: result, leave: { kind: "return", levels: 0 } };
		}
		default:
			return undefined;
	}
}
