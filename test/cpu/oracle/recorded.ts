/**
 * Answers that hosts have given, recorded with the cases they are about: so both personalities of the emulated processor are compared with their
 * makers' hosts on any. The file is lines of JSON, a case each, complete in itself, since numbers of the generator's cases lose their meaning when it
 * changes. An answer is a digest of all that the host said, or values of the parts that the case is there for, or both.
 *
 * `main.ts --record FILE` asks the host for its maker's answers to all cases of the file and writes them into it.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import { answerText, flagNames, GPR_NAMES, hex64, outcomeName, type ResultAt } from "./compare.ts";
import type { Engine } from "./engine.ts";
import { commonBackground } from "./generator.ts";
import { Case, CaseBatch, Result } from "./records.ts";

export interface RecordedAnswer {
	/** Of the whole answer ({@link digestOf}). */
	readonly digest?: string;
	/** Parts of it by the names and in the words of reports; "unchanged": a word of memory that the case leaves. */
	readonly values?: Readonly<Record<string, string>>;
}

export interface RecordedCase {
	/** Where it comes from: kind of case, seed and number, which the generator of that time made it of. */
	readonly from: string;
	/** The instructions' names, for people. */
	readonly names: string;
	/** Bytes of the case by the names of records.ts, in hexadecimal; what is not there is zero. */
	readonly input: Readonly<Record<string, string>>;
	/** Flags that an instruction of it may leave undefined. */
	readonly undefinedFlags: number;
	readonly answers: Readonly<Partial<Record<CpuVendor, RecordedAnswer>>>;
}

export const RECORD_FILE = fileURLToPath(new URL("recorded.jsonl", import.meta.url));

export function readRecords(file = RECORD_FILE): RecordedCase[] {
	const lines = readFileSync(file, "utf8").trim().split("\n");
	return lines.map((line) => JSON.parse(line) as RecordedCase);
}

export function formatRecords(cases: readonly RecordedCase[]): string {
	return cases.map((entry) => `${JSON.stringify(entry)}\n`).join("");
}

/** What of a case is recorded: where each begins, and its bytes. */
const PARTS: Readonly<Record<string, readonly [at: number, bytes: number]>> = {
	codeLength: [Case.codeLength, 1],
	mode: [Case.mode, 1],
	step: [Case.step, 1],
	mxcsr: [Case.mxcsr, 4],
	rip: [Case.rip, 8],
	rflags: [Case.rflags, 8],
	x87Control: [Case.x87Control, 2],
	x87Status: [Case.x87Status, 2],
	x87Tags: [Case.x87Tags, 1],
	code: [Case.code, Case.maxCode],
	gpr: [Case.gpr, 128],
	xmm: [Case.xmm, 256],
	st: [Case.st, 128],
	window: [Case.window, 4],
	windowContent: [Case.windowContent, Case.windowBytes],
};

/** A case of a batch as it is recorded: zeros at the end of a part are left out, and parts of nothing else. */
export function inputOf(batch: CaseBatch, index: number): Record<string, string> {
	const input: Record<string, string> = {};
	for (const [name, [at, bytes]] of Object.entries(PARTS)) {
		const from = batch.offset(index) + at;
		const text = Buffer.from(batch.bytes.subarray(from, from + bytes))
			.toString("hex")
			.replace(/(00)+$/, "");
		if (text !== "") input[name] = text.length % 2 === 0 ? text : `${text}0`;
	}
	return input;
}

/** Runs recorded cases on an engine, one at a time: cases apart may share a slot of the code pages. */
export class RecordRunner {
	private readonly batch = new CaseBatch(1, commonBackground());

	constructor(private readonly engine: Engine) {
		this.batch.count = 1;
	}

	async run({ input }: RecordedCase): Promise<ResultAt> {
		const { batch } = this;
		batch.bytes.fill(0, batch.offset(0));
		for (const [name, text] of Object.entries(input)) {
			batch.bytes.set(Buffer.from(text, "hex"), batch.offset(0) + PARTS[name]![0]);
		}
		const bytes = (await this.engine.run(batch)).slice();
		return { view: new DataView(bytes.buffer), offset: 0 };
	}
}

/** Digest of an answer, less the flags that are undefined after it. */
export function digestOf(answer: ResultAt, { undefinedFlags }: RecordedCase): string {
	return createHash("sha256").update(answerText(answer, undefinedFlags)).digest("hex").slice(0, 16);
}

/** A part of an answer by its name in reports: "rax", "st3", "data+0x998", "rflags CF", ... */
export function partOf(answer: ResultAt, what: string): string {
	const u16 = (at: number): number => answer.view.getUint16(answer.offset + at, true);
	const u32 = (at: number): number => answer.view.getUint32(answer.offset + at, true);
	const hex = (value: number): string => `0x${value.toString(16)}`;
	const register = GPR_NAMES.indexOf(what);
	if (register >= 0) return hex64(answer, Result.gpr + register * 8);
	const [, file, number] = /^(st|xmm)(\d+)$/.exec(what) ?? [];
	if (file === "st") {
		const at = Result.st + Number(number) * 16;
		return `${hex(u16(at + 8))}:${hex64(answer, at).slice(2)}`;
	}
	if (file === "xmm") {
		const at = Result.xmm + Number(number) * 16;
		return `${hex64(answer, at + 8)}:${hex64(answer, at).slice(2)}`;
	}
	if (what.startsWith("data+")) {
		const offset = Number(what.slice("data+".length));
		for (let i = 0; i < u32(Result.changes); i++) {
			const at = Result.bytes + i * 16;
			if (u32(at) === offset) return hex64(answer, at + 8);
		}
		return "unchanged";
	}
	if (what.startsWith("rflags ")) return flagNames(u32(Result.rflags));
	switch (what) {
		case "outcome":
			return outcomeName(answer, true);
		case "rip":
			return hex64(answer, Result.rip);
		case "x87 status":
			return hex(u16(Result.x87Status));
		default:
			throw new RangeError(`"${what}" is no part of an answer`);
	}
}

/** The names of all parts that the makers' answers to a case are recorded of. */
function partsOf({ answers }: RecordedCase): string[] {
	return [...new Set(Object.values(answers).flatMap(({ values = {} }) => Object.keys(values)))];
}

/** What of the recorded answer an engine does not give: empty where it agrees. */
export function disagreements(answer: ResultAt, recorded: RecordedCase, vendor: CpuVendor): string[] {
	const { digest, values = {} } = recorded.answers[vendor] ?? {};
	const found = Object.entries(values)
		.filter(([what, value]) => partOf(answer, what) !== value)
		.map(([what, value]) => `${what}: recorded ${value}, got ${partOf(answer, what)}`);
	if (found.length === 0 && digest !== undefined && digest !== digestOf(answer, recorded)) {
		found.push("another answer than recorded, in parts that the record does not have");
	}
	return found.map((text) => `${recorded.from} (${recorded.names}): ${text}`);
}

/**
 * The cases with a host's answers. Where the emulated processor of the same maker says something else to the last bit, what it says has been found
 * right within what is undefined or has not: only the parts that the case is there for are recorded then.
 */
export async function record(
	cases: readonly RecordedCase[],
	vendor: CpuVendor,
	host: Engine,
	emulated: Engine,
): Promise<RecordedCase[]> {
	const [native, own] = [new RecordRunner(host), new RecordRunner(emulated)];
	const recorded: RecordedCase[] = [];
	for (const entry of cases) {
		const answer = await native.run(entry);
		const digest = digestOf(answer, entry);
		const parts = partsOf(entry);
		const values = Object.fromEntries(parts.map((what) => [what, partOf(answer, what)]));
		const known: RecordedAnswer = {
			...(digest === digestOf(await own.run(entry), entry) ? { digest } : {}),
			...(parts.length === 0 ? {} : { values }),
		};
		recorded.push({ ...entry, answers: { ...entry.answers, [vendor]: known } });
	}
	return recorded;
}
