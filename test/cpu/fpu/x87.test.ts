/**
 * Every x87 instruction against the host's own processor, on random and edge-case states, bit for bit. PARAVIRT_X87_CASES sets how
 * many cases each form gets, PARAVIRT_X87_SEED where they start.
 */
import { describe, expect, it } from "vitest";
import { executeX87, findX87Operation, type X87Operation, x87Operations } from "../../../src/cpu/fpu/x87.ts";
import {
	FLAGS_OTHER,
	REGISTERS,
	X87_CONTROL,
	X87_REGISTERS,
	X87_STATUS,
	X87_TAGS,
	X87_TOP,
} from "../../../src/cpu/layout.ts";
import { packFlags, unpackFlags } from "../../../src/cpu/semantics/flag-words.ts";
import { FRAMES, STATE } from "../../../src/memory/map.ts";
import { Memory } from "../../../src/memory/memory.ts";
import { AT, MEMORY_SIZE, putCase, Random, RECORD } from "./cases.ts";
import { runNatively, whyNoOracle } from "./native.ts";

const { PARAVIRT_X87_CASES, PARAVIRT_X87_SEED } = process.env;
const CASES = Number(PARAVIRT_X87_CASES ?? 160);
const SEED = Number(PARAVIRT_X87_SEED ?? 20_260_101);

const C1 = 0x200;
const DE = 0x02;
const PE = 0x20;
const ES = 0x80;
const B = 0x8000;

/** Functions that no standard fixes to the last bit: they may differ by one unit in the last place, and so in C1. */
const TRANSCENDENTAL = new Set(["F2XM1", "FYL2X", "FYL2XP1", "FPTAN", "FPATAN", "FSIN", "FCOS", "FSINCOS"]);

/** Intel's manual has these clear C1; AMD's processors leave it. */
const C1_BY_VENDOR = /^FU?COMIP? /;

/** A denormal that is loaded while that exception is unmasked: not pushed by Intel (SDM volume 1, 8.5.2), pushed by AMD. */
const DENORMAL_LOAD = new Set(["FLD m32fp", "FLD m64fp"]);

const memory = new Memory(1);
const OPERAND = FRAMES;

/** Loads a record's state into the context block, executes, and writes the state back over the record. */
function execute(view: DataView, at: number, index: number): void {
	memory.setU16(STATE + X87_CONTROL, view.getUint16(at + AT.control, true));
	const status = view.getUint16(at + AT.status, true);
	const top = (status >>> 11) & 7;
	memory.setU16(STATE + X87_STATUS, status & ~0x3800);
	memory.setU8(STATE + X87_TOP, top);
	memory.setU8(STATE + X87_TAGS, view.getUint8(at + AT.tags));
	memory.setU32(STATE + FLAGS_OTHER, 2);
	unpackFlags(memory, STATE, view.getUint32(at + AT.flags, true));
	memory.setU64(STATE + REGISTERS, 0);
	const bytes = new Uint8Array(view.buffer, view.byteOffset + at, RECORD);
	for (let i = 0; i < 8; i++) {
		const address = STATE + X87_REGISTERS + ((top + i) & 7) * 16;
		memory.bytes.set(bytes.subarray(AT.stack + i * 16, AT.stack + i * 16 + 16), address);
	}
	memory.bytes.set(bytes.subarray(AT.memory), OPERAND);
	const { operand } = x87Operations[index] as X87Operation;
	const result = executeX87(memory, STATE, index, operand === "sti" ? view.getUint8(at + AT.modrm) & 7 : OPERAND);
	expect(result).toBe(0);
	const newTop = memory.u8(STATE + X87_TOP);
	view.setUint16(at + AT.control, memory.u16(STATE + X87_CONTROL), true);
	view.setUint16(at + AT.status, memory.u16(STATE + X87_STATUS) | (newTop << 11), true);
	view.setUint8(at + AT.tags, memory.u8(STATE + X87_TAGS));
	view.setUint16(at + AT.ax, memory.u16(STATE + REGISTERS), true);
	view.setUint32(at + AT.flags, packFlags(memory, STATE), true);
	for (let i = 0; i < 8; i++) {
		const address = STATE + X87_REGISTERS + ((newTop + i) & 7) * 16;
		bytes.set(memory.bytes.subarray(address, address + 16), AT.stack + i * 16);
	}
	bytes.set(memory.bytes.subarray(OPERAND, OPERAND + MEMORY_SIZE), AT.memory);
}

function extended(view: DataView, at: number): string {
	const high = view.getBigUint64(at, true).toString(16).padStart(16, "0");
	return `${view
		.getUint16(at + 8, true)
		.toString(16)
		.padStart(4, "0")}:${high}`;
}

function describeState(view: DataView, at: number, memoryBytes: number): string {
	const word = (offset: number) =>
		view
			.getUint16(at + offset, true)
			.toString(16)
			.padStart(4, "0");
	const stack = Array.from({ length: 8 }, (_, i) => extended(view, at + AT.stack + i * 16)).join(" ");
	const bytes = Buffer.from(view.buffer, view.byteOffset + at + AT.memory, memoryBytes).toString("hex");
	return `cw=${word(AT.control)} sw=${word(AT.status)} tags=${view.getUint8(at + AT.tags).toString(16)} ax=${word(AT.ax)} flags=${word(AT.flags)} ${stack} [${bytes}]`;
}

/** One unit in the last place apart or equal, and of the same sign. */
function near(a: DataView, b: DataView, at: number): boolean {
	const position = (view: DataView) =>
		(BigInt(view.getUint16(at + 8, true)) << 63n) + (view.getBigUint64(at, true) & 0x7fff_ffff_ffff_ffffn);
	const distance = position(a) - position(b);
	return distance >= -1n && distance <= 1n;
}

/** Bytes of the memory operand that depend on addresses of the test itself: pointers and selectors in environments. */
function pointerBytes(operation: X87Operation): readonly [from: number, to: number] {
	if (operation.access !== "w") {
		return [0, 0];
	}
	switch (operation.operand) {
		case "m14byte":
		case "m94byte":
			return [6, 14];
		case "m28byte":
		case "m108byte":
			return [12, 26];
		default:
			return [0, 0];
	}
}

/** Whether the manual leaves a case undefined; then what was done is not compared. */
function isUndefined(name: string, before: DataView, at: number, after: DataView, afterAt: number): boolean {
	if (DENORMAL_LOAD.has(name) && (before.getUint16(at + AT.control, true) & DE) === 0) {
		return (after.getUint16(afterAt + AT.status, true) & DE) !== 0;
	}
	const exponent = before.getUint16(at + AT.stack + 8, true) & 0x7fff;
	const high = before.getUint32(at + AT.stack + 4, true);
	const low = before.getUint32(at + AT.stack, true);
	const finite = exponent !== 0x7fff && high >= 0x8000_0000;
	if (name === "F2XM1") {
		return finite && (exponent > 0x3fff || (exponent === 0x3fff && (high > 0x8000_0000 || low > 0)));
	}
	if (name === "FYL2XP1") {
		// Beyond 1 - sqrt(1/2).
		return finite && (exponent > 0x3ffd || (exponent === 0x3ffd && high >= 0x95f6_1998));
	}
	return false;
}

function differs(operation: X87Operation, ours: DataView, theirs: DataView, at: number): boolean {
	const transcendental = TRANSCENDENTAL.has(operation.name);
	let ignored = transcendental || C1_BY_VENDOR.test(operation.name) ? C1 : 0;
	if (transcendental && (ours.getUint16(at + AT.status, true) & PE) === 0) {
		// An exact result, which processors may call inexact.
		ignored |= PE | ES | B;
	}
	const status = (ours.getUint16(at + AT.status, true) ^ theirs.getUint16(at + AT.status, true)) & ~ignored;
	if (status !== 0 || ours.getUint16(at + AT.control, true) !== theirs.getUint16(at + AT.control, true)) {
		return true;
	}
	for (let offset = AT.tags; offset < AT.stack; offset++) {
		if (offset !== AT.tags + 1 && ours.getUint8(at + offset) !== theirs.getUint8(at + offset)) {
			return true;
		}
	}
	for (let i = 0; i < 8; i++) {
		const value = at + AT.stack + i * 16;
		const equal =
			ours.getBigUint64(value, true) === theirs.getBigUint64(value, true) &&
			ours.getUint16(value + 8, true) === theirs.getUint16(value + 8, true);
		if (!equal && !(transcendental && i < 2 && near(ours, theirs, value))) {
			return true;
		}
	}
	const [from, to] = pointerBytes(operation);
	for (let offset = 0; offset < MEMORY_SIZE; offset++) {
		const exempt = offset >= from && offset < to;
		if (!exempt && ours.getUint8(at + AT.memory + offset) !== theirs.getUint8(at + AT.memory + offset)) {
			return true;
		}
	}
	return false;
}

function modrmOf(operation: X87Operation, random: Random): number {
	const [, second = ""] = operation.encoding.replace("66 ", "").split(" ");
	if (second.startsWith("/")) {
		return (Number(second.slice(1)) << 3) | 6;
	}
	const first = Number.parseInt(second, 16);
	return operation.operand === "sti" ? first + random.below(8) : first;
}

const reason = whyNoOracle();
if (reason !== undefined) {
	console.warn(`x87 is not compared with the host's processor: ${reason}`);
}

describe.skipIf(reason !== undefined)("x87 against the host's processor", () => {
	const tested = x87Operations.filter((operation) => operation.opcode >= 0xd8);
	const records = new Uint8Array(tested.length * CASES * RECORD);
	const before = new DataView(records.buffer);
	const random = new Random(SEED);
	for (const [index, operation] of tested.entries()) {
		for (let i = 0; i < CASES; i++) {
			putCase(random, operation, modrmOf(operation, random), before, (index * CASES + i) * RECORD);
		}
	}
	const theirs = reason === undefined ? new DataView(runNatively(records).buffer) : before;

	it.each(tested.map((operation, index) => [operation.name, operation.encoding, operation, index] as const))(
		"%s (%s)",
		(name, _encoding, operation, index) => {
			const failures: string[] = [];
			const ours = new DataView(records.slice(index * CASES * RECORD, (index + 1) * CASES * RECORD).buffer);
			const native = new DataView(theirs.buffer, theirs.byteOffset + index * CASES * RECORD, CASES * RECORD);
			for (let i = 0; i < CASES; i++) {
				const at = i * RECORD;
				const start = index * CASES * RECORD + at;
				const modrm = before.getUint8(start + AT.modrm);
				const found = findX87Operation(operation.opcode, modrm, operation.encoding.startsWith("66"));
				expect(x87Operations[found]).toBe(operation);
				execute(ours, at, found);
				if (!isUndefined(name, before, start, native, at) && differs(operation, ours, native, at)) {
					const bytes = operation.size;
					failures.push(
						`modrm ${modrm.toString(16)}\n  from ${describeState(before, start, bytes)}\n  ours ${describeState(ours, at, bytes)}\n  host ${describeState(native, at, bytes)}`,
					);
				}
			}
			expect(failures.length, `${failures.length} of ${CASES} differ:\n${failures.slice(0, 6).join("\n")}`).toBe(0);
		},
	);
});
