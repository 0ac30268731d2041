/**
 * Compares two results of a case. First everything, exactly and fast; only what differs is looked at again with the tables of what is undefined
 * (undefined.ts) and what differs between makers (differences.ts).
 */

import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import {
	eitherFault,
	entersMmxAtFault,
	misalignedMode,
	offsetNotCanonical,
	partialAtFault,
	sameSelector,
	sanitised,
	tolerance,
	unpredictableBytes,
	x87Tolerance,
} from "./differences.ts";
import { NEVER_ENDS, Result } from "./records.ts";
import {
	type Subject,
	undefinedBits,
	undefinedDestination,
	undefinedFlags,
	undefinedStatus,
	undefinedX87,
} from "./undefined.ts";

/** CF PF AF ZF SF DF OF NT AC ID. TF, IF and IOPL are the host's; RF is set in the frame of every fault. */
const COMPARED_FLAGS = 0x24_4cd5;
const WITH_ERROR_CODE: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);
const PAGE_FAULT = 14;
const BREAKPOINT = 3;
const STEPPED = 1;

export const GPR_NAMES = [
	"rax",
	"rcx",
	"rdx",
	"rbx",
	"rsp",
	"rbp",
	"rsi",
	"rdi",
	"r8",
	"r9",
	"r10",
	"r11",
	"r12",
	"r13",
	"r14",
	"r15",
];
const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs"];
const FLAG_NAMES: readonly (readonly [number, string])[] = [
	[0x1, "CF"],
	[0x4, "PF"],
	[0x10, "AF"],
	[0x40, "ZF"],
	[0x80, "SF"],
	[0x400, "DF"],
	[0x800, "OF"],
	[0x4000, "NT"],
	[0x4_0000, "AC"],
	[0x20_0000, "ID"],
];

/** Something that differs: what, and both values as text. */
export interface Difference {
	readonly what: string;
	readonly expected: string;
	readonly got: string;
}

export interface ResultAt {
	readonly view: DataView;
	readonly offset: number;
}

function equalWords(a: ResultAt, b: ResultAt, from: number, bytes: number): boolean {
	for (let at = from; at < from + bytes; at += 4) {
		if (a.view.getInt32(a.offset + at, true) !== b.view.getInt32(b.offset + at, true)) return false;
	}
	return true;
}

function u32(result: ResultAt, at: number): number {
	return result.view.getUint32(result.offset + at, true);
}

/** Whether two results agree in everything that is always compared. */
export function agree(expected: ResultAt, got: ResultAt): boolean {
	const vector = u32(expected, Result.vector);
	if (vector !== u32(got, Result.vector)) return false;
	if (WITH_ERROR_CODE.has(vector) && u32(expected, Result.error) !== u32(got, Result.error)) return false;
	if (vector === PAGE_FAULT && !equalWords(expected, got, Result.cr2, 8)) return false;
	if (((u32(expected, Result.rflags) ^ u32(got, Result.rflags)) & COMPARED_FLAGS) !== 0) return false;
	if (!equalWords(expected, got, Result.rip, 8) || !equalWords(expected, got, Result.mxcsr, 8)) return false;
	if (!equalWords(expected, got, Result.selectors, 12) || !equalWords(expected, got, Result.fsBase, 16)) return false;
	if (expected.view.getUint8(expected.offset + Result.x87Tags) !== got.view.getUint8(got.offset + Result.x87Tags))
		return false;
	if (!equalWords(expected, got, Result.gpr, 512)) return false;
	const changes = u32(expected, Result.changes);
	if (changes !== u32(got, Result.changes)) return false;
	return equalWords(expected, got, Result.bytes, changes * 16);
}

/** {@link vectorName} without the "present" bit of a page fault where that is Linux's invention. */
export function outcomeName(result: ResultAt, stepped: boolean): string {
	const text = vectorName(result, stepped);
	const [, code, address] = /^#PF\((0x[0-9a-f]+)\) at (0x[0-9a-f]+)$/.exec(text) ?? [];
	if (code === undefined || !sanitised(Number(BigInt.asIntN(64, BigInt(address!))))) return text;
	return `#PF(${hex32(Number(code) & ~1)}) at ${address}`;
}

/** All that {@link agree} compares, as text, less some flags. */
export function answerText(answer: ResultAt, ignoredFlags: number): string {
	const words = (from: number, bytes: number): string =>
		Array.from({ length: bytes / 8 }, (_, index) => hex64(answer, from + index * 8)).join(" ");
	const tags = answer.view.getUint8(answer.offset + Result.x87Tags);
	return [
		outcomeName(answer, false),
		hex32(u32(answer, Result.rflags) & COMPARED_FLAGS & ~ignoredFlags),
		words(Result.rip, 8),
		words(Result.mxcsr, 8),
		hex32(tags),
		hex32(u32(answer, Result.selectors)),
		words(Result.selectors + 4, 8),
		words(Result.fsBase, 16),
		words(Result.gpr, 512),
		words(Result.bytes, u32(answer, Result.changes) * 16),
	].join("\n");
}

export function hex64(result: ResultAt, at: number): string {
	return `0x${result.view
		.getBigUint64(result.offset + at, true)
		.toString(16)
		.padStart(16, "0")}`;
}

function hex32(value: number): string {
	return `0x${(value >>> 0).toString(16)}`;
}

export function flagNames(rflags: number): string {
	return FLAG_NAMES.filter(([bit]) => (rflags & bit) !== 0)
		.map(([, name]) => name)
		.join(" ");
}

export function vectorName(result: ResultAt, stepped: boolean): string {
	const vector = u32(result, Result.vector);
	if (vector === BREAKPOINT || (stepped && vector === STEPPED)) return "completed";
	if (vector >= 0xf0) return vector === NEVER_ENDS ? "never ends" : `exit ${vector - 0xf0}`;
	const names: Readonly<Record<number, string>> = {
		0: "#DE",
		1: "#DB",
		4: "#OF",
		5: "#BR",
		6: "#UD",
		7: "#NM",
		10: "#TS",
		11: "#NP",
		12: "#SS",
		13: "#GP",
		14: "#PF",
		16: "#MF",
		17: "#AC",
		19: "#XM",
	};
	const error = WITH_ERROR_CODE.has(vector) ? `(${hex32(u32(result, Result.error))})` : "";
	const cr2 = vector === PAGE_FAULT ? ` at ${hex64(result, Result.cr2)}` : "";
	return `${names[vector] ?? `vector ${vector}`}${error}${cr2}`;
}

function xmmClose(expected: ResultAt, got: ResultAt, at: number, error: number): boolean {
	for (let lane = 0; lane < 16; lane += 4) {
		const a = expected.view.getFloat32(expected.offset + at + lane, true);
		const b = got.view.getFloat32(got.offset + at + lane, true);
		if (Object.is(a, b)) continue;
		if (!(Math.abs(a - b) <= error * Math.abs(a))) return false;
	}
	return true;
}

function stClose(expected: ResultAt, got: ResultAt, at: number, ulps: number): boolean {
	// Sign, exponent and fraction in one number: neighbours differ by one also across powers of two.
	const ordered = (result: ResultAt): bigint => {
		const top = BigInt(result.view.getUint16(result.offset + at + 8, true));
		return (top << 63n) | (result.view.getBigUint64(result.offset + at, true) & 0x7fff_ffff_ffff_ffffn);
	};
	const difference = ordered(expected) - ordered(got);
	return difference >= -ulps && difference <= ulps;
}

/** What {@link differences} needs to know of a case beside its two results. */
export interface CaseFacts {
	/** Address of the first instruction. */
	readonly rip: number;
	/** The instruction, where it is a single one. */
	readonly subject: Subject | undefined;
	/** Whose answer is expected. */
	readonly vendor: CpuVendor;
	/** Flags that instructions of a sequence may leave undefined. */
	readonly undefinedFlags: number;
	/** The eight bytes of memory at a data offset before the case ran. */
	readonly memory: (offset: number) => bigint;
}

type Add = (what: string, expected: string, got: string) => void;

function outcome(expected: ResultAt, got: ResultAt, subject: Subject | undefined, add: Add): void {
	const vector = u32(expected, Result.vector);
	const other = u32(got, Result.vector);
	const cr2 = (result: ResultAt): number => Number(result.view.getBigInt64(result.offset + Result.cr2, true));
	let same = vector === other;
	if (same && WITH_ERROR_CODE.has(vector)) {
		let errors = u32(expected, Result.error) ^ u32(got, Result.error);
		if (vector === PAGE_FAULT && sanitised(cr2(expected))) errors &= ~1;
		same = errors === 0 && (vector !== PAGE_FAULT || cr2(expected) === cr2(got));
	}
	if (!same && subject !== undefined) same = eitherFault(subject, vector, other);
	if (!same) same = offsetNotCanonical(vector, other, cr2(got));
	if (!same) add("outcome", vectorName(expected, true), vectorName(got, true));
	if (!equalWords(expected, got, Result.rip, 8)) add("rip", hex64(expected, Result.rip), hex64(got, Result.rip));
}

function segments(expected: ResultAt, got: ResultAt, add: Add): void {
	for (let i = 0; i < 6; i++) {
		const at = Result.selectors + i * 2;
		const a = expected.view.getUint16(expected.offset + at, true);
		const b = got.view.getUint16(got.offset + at, true);
		if (!sameSelector(a, b)) add(SEGMENT_NAMES[i]!, hex32(a), hex32(b));
	}
	for (const [name, at] of [
		["fs base", Result.fsBase],
		["gs base", Result.gsBase],
	] as const) {
		if (!equalWords(expected, got, at, 8)) add(name, hex64(expected, at), hex64(got, at));
	}
}

function floatingPoint(
	expected: ResultAt,
	got: ResultAt,
	{ subject, vendor }: CaseFacts,
	completed: boolean,
	add: Add,
): void {
	const close = subject !== undefined ? tolerance(subject) : 0;
	for (let i = 0; i < 16; i++) {
		const at = Result.xmm + i * 16;
		if (equalWords(expected, got, at, 16)) continue;
		if (close > 0 && xmmClose(expected, got, at, close)) continue;
		const text = (result: ResultAt): string => `${hex64(result, at + 8)}:${hex64(result, at).slice(2)}`;
		add(`xmm${i}`, text(expected), text(got));
	}
	const u16 = (result: ResultAt, at: number): number => result.view.getUint16(result.offset + at, true);
	const word = (what: string, a: number, b: number, ignored: number): void => {
		if (((a ^ b) & ~ignored) !== 0) add(what, hex32(a), hex32(b));
	};
	const mxcsr = u32(expected, Result.mxcsr);
	word("mxcsr", mxcsr, u32(got, Result.mxcsr), 0);
	if (subject !== undefined && (undefinedX87(subject) || (!completed && entersMmxAtFault(subject, vendor)))) return;
	const ulps = subject !== undefined ? x87Tolerance(subject) : 0;
	for (let i = 0; i < 8; i++) {
		const at = Result.st + i * 16;
		if (equalWords(expected, got, at, 12)) continue;
		if (ulps > 0 && stClose(expected, got, at, ulps)) continue;
		const text = (result: ResultAt): string =>
			`${hex32(result.view.getUint16(result.offset + at + 8, true))}:${hex64(result, at).slice(2)}`;
		add(`st${i}`, text(expected), text(got));
	}
	word("x87 control", u16(expected, Result.x87Control), u16(got, Result.x87Control), 0);
	const ignored = subject !== undefined ? undefinedStatus(subject) : 0;
	word("x87 status", u16(expected, Result.x87Status), u16(got, Result.x87Status), ignored);
	const tags = (result: ResultAt): number => result.view.getUint8(result.offset + Result.x87Tags);
	word("x87 tags", tags(expected), tags(got), 0);
}

/** Everything in which two results differ, less what is undefined. An empty list: they agree. */
export function differences(expected: ResultAt, got: ResultAt, facts: CaseFacts): Difference[] {
	const found: Difference[] = [];
	const add: Add = (what, a, b) => {
		found.push({ what, expected: a, got: b });
	};
	const { subject } = facts;
	if (misalignedMode(u32(expected, Result.mxcsr))) return found;
	const vector = u32(expected, Result.vector);
	// A fault behind the instruction, where fetching the next one fails, is no fault of the instruction.
	const completed =
		vector === BREAKPOINT ||
		vector === STEPPED ||
		u32(expected, Result.rip) !== facts.rip ||
		u32(expected, Result.rip + 4) !== 0;
	outcome(expected, got, subject, add);

	const ignored = subject === undefined ? facts.undefinedFlags : completed ? undefinedFlags(subject) : 0;
	const flags = (u32(expected, Result.rflags) ^ u32(got, Result.rflags)) & COMPARED_FLAGS & ~ignored;
	if (flags !== 0) {
		add(`rflags ${flagNames(flags)}`, flagNames(u32(expected, Result.rflags)), flagNames(u32(got, Result.rflags)));
	}

	const skipped = subject !== undefined && completed && undefinedDestination(subject);
	const bits = subject !== undefined && completed ? undefinedBits(subject) : 0;
	const destination =
		subject === undefined
			? -1
			: subject.form.operands[0]?.kind === "modrmRm"
				? subject.encoded.rm
				: subject.encoded.register;
	for (let i = 0; i < 16; i++) {
		const at = Result.gpr + i * 8;
		if (equalWords(expected, got, at, 8) || (skipped && i === destination)) continue;
		const low = u32(expected, at) ^ u32(got, at);
		if (!completed && subject !== undefined && partialAtFault(subject)) continue;
		// In compatibility mode there is no upper half; what a switch of modes leaves there is undefined.
		if (low === 0 && expected.view.getUint16(expected.offset + Result.selectors + 2, true) === 0x23) continue;
		if (i === destination && (low & ~bits) === 0 && u32(expected, at + 4) === u32(got, at + 4)) continue;
		add(GPR_NAMES[i]!, hex64(expected, at), hex64(got, at));
	}
	segments(expected, got, add);
	floatingPoint(expected, got, facts, completed, add);
	const partial = !completed && subject !== undefined && partialAtFault(subject);
	if (!(skipped && destination === -1) && !partial) memoryDifferences(expected, got, facts, add);
	return found;
}

function memoryDifferences(expected: ResultAt, got: ResultAt, facts: CaseFacts, add: Add): void {
	const words = (result: ResultAt): Map<number, bigint> => {
		const map = new Map<number, bigint>();
		for (let i = 0; i < u32(result, Result.changes); i++) {
			const at = result.offset + Result.bytes + i * 16;
			map.set(result.view.getUint32(at, true), result.view.getBigUint64(at + 8, true));
		}
		return map;
	};
	const a = words(expected);
	const b = words(got);
	const { subject } = facts;
	const unpredictable = subject !== undefined && subject.encoded.memory >= 0 ? unpredictableBytes(subject) : [];
	let count = 0;
	for (const offset of [...new Set([...a.keys(), ...b.keys()])].sort((x, y) => x - y)) {
		const before = facts.memory(offset);
		let difference = (a.get(offset) ?? before) ^ (b.get(offset) ?? before);
		for (let byte = 0; byte < 8; byte++) {
			const within = offset + byte - (subject?.encoded.memory ?? 0);
			if (unpredictable.some(([from, to]) => within >= from && within < to)) difference &= ~(0xffn << BigInt(byte * 8));
		}
		if (difference === 0n) continue;
		if (++count > 4) {
			add("memory", "...", "...");
			return;
		}
		const text = (value: bigint | undefined): string =>
			value === undefined ? `unchanged 0x${before.toString(16)}` : `0x${value.toString(16).padStart(16, "0")}`;
		add(`data+${hex32(offset)}`, text(a.get(offset)), text(b.get(offset)));
	}
}
