/**
 * Compares two results of a case. First everything, exactly and fast; only what differs is looked at again with the tables of what is undefined
 * (undefined.ts) and what differs between makers (differences.ts).
 */

import { sanitised, tolerance, unpredictableStore, x87Tolerance } from "./differences.ts";
import { Result } from "./records.ts";
import { type Subject, undefinedDestination, undefinedFlags, undefinedStatus } from "./undefined.ts";

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
	if (vector >= 0xf0) return vector === 0xff ? "never ends" : `exit ${vector - 0xf0}`;
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
	if (expected.view.getUint16(expected.offset + at + 8, true) !== got.view.getUint16(got.offset + at + 8, true))
		return false;
	const difference =
		expected.view.getBigUint64(expected.offset + at, true) - got.view.getBigUint64(got.offset + at, true);
	return difference >= -ulps && difference <= ulps;
}

/** Everything in which two results differ, less what is undefined. An empty list: they agree. */
export function differences(
	expected: ResultAt,
	got: ResultAt,
	subjects: readonly Subject[],
	ignoredFlags: number,
): Difference[] {
	const found: Difference[] = [];
	const add = (what: string, a: string, b: string): void => {
		found.push({ what, expected: a, got: b });
	};
	const single = subjects.length === 1 ? subjects[0]! : undefined;
	const vector = u32(expected, Result.vector);
	const completed = vector === BREAKPOINT || vector === STEPPED;

	let sameFault = vector === u32(got, Result.vector);
	if (sameFault && WITH_ERROR_CODE.has(vector)) {
		let errors = u32(expected, Result.error) ^ u32(got, Result.error);
		if (vector === PAGE_FAULT) {
			if (!equalWords(expected, got, Result.cr2, 8)) sameFault = false;
			const cr2 = Number(expected.view.getBigInt64(expected.offset + Result.cr2, true));
			if (sanitised(cr2)) errors &= ~1;
		}
		if (errors !== 0) sameFault = false;
	}
	if (!sameFault) add("outcome", vectorName(expected, true), vectorName(got, true));
	if (!equalWords(expected, got, Result.rip, 8)) add("rip", hex64(expected, Result.rip), hex64(got, Result.rip));

	const ignored = completed
		? single !== undefined
			? undefinedFlags(single)
			: ignoredFlags
		: single === undefined
			? ignoredFlags
			: 0;
	const flags = (u32(expected, Result.rflags) ^ u32(got, Result.rflags)) & COMPARED_FLAGS & ~ignored;
	if (flags !== 0) {
		add(`rflags ${flagNames(flags)}`, flagNames(u32(expected, Result.rflags)), flagNames(u32(got, Result.rflags)));
	}

	const skipDestination = single !== undefined && completed && undefinedDestination(single);
	const destination = single?.form.operands[0];
	const destinationRegister =
		skipDestination && (destination?.kind === "modrmRm" ? single.encoded.rm : single.encoded.register);
	for (let i = 0; i < 16; i++) {
		const at = Result.gpr + i * 8;
		if (i === destinationRegister || equalWords(expected, got, at, 8)) continue;
		add(GPR_NAMES[i]!, hex64(expected, at), hex64(got, at));
	}
	const close = single !== undefined ? tolerance(single) : 0;
	for (let i = 0; i < 16; i++) {
		const at = Result.xmm + i * 16;
		if (equalWords(expected, got, at, 16)) continue;
		if (close > 0 && xmmClose(expected, got, at, close)) continue;
		const text = (result: ResultAt): string => `${hex64(result, at + 8)}:${hex64(result, at).slice(2)}`;
		add(`xmm${i}`, text(expected), text(got));
	}
	const ulps = single !== undefined ? x87Tolerance(single) : 0;
	for (let i = 0; i < 8; i++) {
		const at = Result.st + i * 16;
		if (equalWords(expected, got, at, 12)) continue;
		if (ulps > 0 && stClose(expected, got, at, ulps)) continue;
		const text = (result: ResultAt): string =>
			`${hex32(result.view.getUint16(result.offset + at + 8, true))}:${hex64(result, at).slice(2)}`;
		add(`st${i}`, text(expected), text(got));
	}
	if (u32(expected, Result.mxcsr) !== u32(got, Result.mxcsr)) {
		add("mxcsr", hex32(u32(expected, Result.mxcsr)), hex32(u32(got, Result.mxcsr)));
	}
	const u16 = (result: ResultAt, at: number): number => result.view.getUint16(result.offset + at, true);
	if (u16(expected, Result.x87Control) !== u16(got, Result.x87Control)) {
		add("x87 control", hex32(u16(expected, Result.x87Control)), hex32(u16(got, Result.x87Control)));
	}
	const status = u16(expected, Result.x87Status) ^ u16(got, Result.x87Status);
	if ((status & ~(single !== undefined ? undefinedStatus(single) : 0)) !== 0) {
		add("x87 status", hex32(u16(expected, Result.x87Status)), hex32(u16(got, Result.x87Status)));
	}
	const tags = (result: ResultAt): number => result.view.getUint8(result.offset + Result.x87Tags);
	if (tags(expected) !== tags(got)) add("x87 tags", hex32(tags(expected)), hex32(tags(got)));
	for (let i = 0; i < 6; i++) {
		const at = Result.selectors + i * 2;
		if (u16(expected, at) !== u16(got, at)) add(SEGMENT_NAMES[i]!, hex32(u16(expected, at)), hex32(u16(got, at)));
	}
	if (!equalWords(expected, got, Result.fsBase, 8))
		add("fs base", hex64(expected, Result.fsBase), hex64(got, Result.fsBase));
	if (!equalWords(expected, got, Result.gsBase, 8))
		add("gs base", hex64(expected, Result.gsBase), hex64(got, Result.gsBase));
	const memoryUndefined =
		single !== undefined && ((skipDestination && destinationRegister === -1) || unpredictableStore(single.form.name));
	if (!memoryUndefined) memoryDifferences(expected, got, add);
	return found;
}

function memoryDifferences(expected: ResultAt, got: ResultAt, add: (what: string, a: string, b: string) => void): void {
	const words = (result: ResultAt): Map<number, string> => {
		const map = new Map<number, string>();
		for (let i = 0; i < u32(result, Result.changes); i++) {
			const at = Result.bytes + i * 16;
			map.set(u32(result, at), hex64(result, at + 8));
		}
		return map;
	};
	const a = words(expected);
	const b = words(got);
	let count = 0;
	for (const offset of [...new Set([...a.keys(), ...b.keys()])].sort((x, y) => x - y)) {
		if (a.get(offset) === b.get(offset)) continue;
		if (++count > 4) {
			add("memory", "...", "...");
			return;
		}
		add(`data+${hex32(offset)}`, a.get(offset) ?? "unchanged", b.get(offset) ?? "unchanged");
	}
}
