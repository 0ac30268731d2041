/** GRUB 2's `test` and `[`: expressions on strings, numbers and files. */

import { GrubError, type Place } from "./errors.ts";
import type { GrubFiles } from "./files.ts";

type Compare = (left: string, right: string) => boolean;
const number = (text: string): number => Number(/^\s*[-+]?(?:0x[0-9a-f]+|\d+)/i.exec(text)?.[0] ?? 0);

const BINARY: Readonly<Record<string, Compare>> = {
	"=": (left, right) => left === right,
	"==": (left, right) => left === right,
	"!=": (left, right) => left !== right,
	"<": (left, right) => left < right,
	"<=": (left, right) => left <= right,
	">": (left, right) => left > right,
	">=": (left, right) => left >= right,
	"-eq": (left, right) => number(left) === number(right),
	"-ne": (left, right) => number(left) !== number(right),
	"-lt": (left, right) => number(left) < number(right),
	"-le": (left, right) => number(left) <= number(right),
	"-gt": (left, right) => number(left) > number(right),
	"-ge": (left, right) => number(left) >= number(right),
};
/** Comparisons of files' times, and of numbers behind a common prefix. */
const UNSUPPORTED = /^-(?:[no]t-?\d*|p[gl]t)$/;

class Expression {
	private at = 0;

	constructor(
		private readonly words: readonly string[],
		private readonly files: GrubFiles,
		private readonly place: Place,
	) {}

	/** Both sides are always read, since what follows lies after them. What is missing counts as true, and an end of its own ends it. */
	async run(): Promise<boolean> {
		let value = await this.and();
		while (this.take("-o")) value = (await this.and()) || value;
		return value;
	}

	/** Terms that must all be true, with -a between them or nothing. */
	private async and(): Promise<boolean> {
		let value = true;
		while (this.at < this.words.length && this.words[this.at] !== "-o" && this.words[this.at] !== ")") {
			if (!this.take("-a")) value = (await this.not()) && value;
		}
		return value;
	}

	private async not(): Promise<boolean> {
		let negated = false;
		while (this.take("!")) negated = !negated;
		return this.at === this.words.length || (await this.primary()) !== negated;
	}

	private take(word: string): boolean {
		if (this.words[this.at] !== word) return false;
		this.at++;
		return true;
	}

	private async primary(): Promise<boolean> {
		const [first, second, third] = this.words.slice(this.at, this.at + 3);
		if (first === undefined) return true;
		if (second !== undefined && third !== undefined) {
			if (UNSUPPORTED.test(second)) {
				throw new GrubError(this.place, `test: "${second}" is not supported`, "Decide it in a copy of the file.");
			}
			const compare = Object.hasOwn(BINARY, second) ? BINARY[second] : undefined;
			if (compare !== undefined) {
				this.at += 3;
				return compare(first, third);
			}
		}
		if (first === "(") {
			this.at++;
			const value = await this.run();
			this.take(")");
			return value;
		}
		if (second !== undefined && /^-[zndefs]$/.test(first)) {
			this.at += 2;
			if (first === "-z") return second === "";
			return first === "-n" ? second !== "" : this.file(first, second);
		}
		this.at++;
		return first !== "";
	}

	private async file(operator: string, path: string): Promise<boolean> {
		const found = await this.files.find(path, this.place);
		if (found === undefined) return false;
		if (operator === "-d") return found.kind === "directory";
		if (operator === "-f") return found.kind === "file";
		if (operator === "-s") return found.kind === "file" && (await this.files.host.read(found.path)).length > 0;
		return true;
	}
}

/** @throws GrubError if it uses an operator that is not supported */
export function evaluateTest(words: readonly string[], files: GrubFiles, place: Place): Promise<boolean> {
	return new Expression(words, files, place).run();
}
