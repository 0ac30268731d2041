/**
 * Images of the x87's state that its own instructions load and store: FNSTENV, FLDENV, FNSAVE, FRSTOR, FNINIT
 * (SDM volume 1, 8.1.10). Only the protected-mode formats: 28 bytes, or 14 with a 16-bit operand size. Relies on layout.ts.
 */

import type { Memory } from "../../memory/memory.ts";
import {
	X87_CONTROL,
	X87_DATA_POINTER,
	X87_INSTRUCTION_POINTER,
	X87_OPCODE,
	X87_REGISTERS,
	X87_STATUS,
	X87_TAGS,
	X87_TOP,
} from "../layout.ts";
import { ALL_EXCEPTIONS, classify, Extended, Kind, Status } from "./extended.ts";
import { updateSummary } from "./stack.ts";

/** Bits of the control word that exist; bit 6 always reads 1. */
const CONTROL_DEFINED = 0x1f3f;
const CONTROL_FIXED = 0x40;
const CONTROL_INITIAL = 0x37f;
const TOP_SHIFT = 11;
const TOP_MASK = 7 << TOP_SHIFT;

/** Size in bytes of an environment image by operand size. */
export const ENVIRONMENT_SIZE = { 16: 14, 32: 28 } as const;
export type OperandSize = 16 | 32;

const value = new Extended();

/** The status word as the instructions see it, with TOP. */
export function statusWord(memory: Memory, base: number): number {
	return memory.u16(base + X87_STATUS) | (memory.u8(base + X87_TOP) << TOP_SHIFT);
}

/** Loads the status word; the error summary follows from the control word, which must have been loaded before. */
export function setStatusWord(memory: Memory, base: number, word: number): void {
	memory.setU16(base + X87_STATUS, word & ~TOP_MASK);
	memory.setU8(base + X87_TOP, (word & TOP_MASK) >>> TOP_SHIFT);
	updateSummary(memory, base);
}

export function setControlWord(memory: Memory, base: number, word: number): void {
	memory.setU16(base + X87_CONTROL, (word & CONTROL_DEFINED) | CONTROL_FIXED);
}

/** The full tag word: two bits a physical register, 0 valid, 1 zero, 2 special, 3 empty. */
export function fullTags(memory: Memory, base: number): number {
	const abridged = memory.u8(base + X87_TAGS);
	let tags = 0;
	for (let register = 0; register < 8; register++) {
		let tag = 3;
		if (((abridged >>> register) & 1) !== 0) {
			const address = base + X87_REGISTERS + register * 16;
			value.set(memory.u16(address + 8), memory.u32(address + 4), memory.u32(address));
			const kind = classify(value);
			tag = kind === Kind.normal ? 0 : kind === Kind.zero ? 1 : 2;
		}
		tags |= tag << (register * 2);
	}
	return tags;
}

function setFullTags(memory: Memory, base: number, tags: number): void {
	let abridged = 0;
	for (let register = 0; register < 8; register++) {
		if (((tags >>> (register * 2)) & 3) !== 3) {
			abridged |= 1 << register;
		}
	}
	memory.setU8(base + X87_TAGS, abridged);
}

/** FNINIT: control, status, tags, pointers; the registers' contents stay. */
export function initialise(memory: Memory, base: number): void {
	memory.setU16(base + X87_CONTROL, CONTROL_INITIAL);
	memory.setU16(base + X87_STATUS, 0);
	memory.setU8(base + X87_TOP, 0);
	memory.setU8(base + X87_TAGS, 0);
	memory.setU16(base + X87_OPCODE, 0);
	memory.setU64(base + X87_INSTRUCTION_POINTER, 0);
	memory.setU64(base + X87_DATA_POINTER, 0);
}

/**
 * Writes the environment. Selectors of instruction and operand are stored as 0, as processors do that deprecate them
 * (CPUID.7.EBX[13]); reserved halves as ones.
 */
function storeImage(memory: Memory, base: number, address: number, size: OperandSize): void {
	const control = memory.u16(base + X87_CONTROL);
	const status = statusWord(memory, base);
	const tags = fullTags(memory, base);
	const instruction = memory.u32(base + X87_INSTRUCTION_POINTER);
	const data = memory.u32(base + X87_DATA_POINTER);
	if (size === 16) {
		memory.setU16(address, control);
		memory.setU16(address + 2, status);
		memory.setU16(address + 4, tags);
		memory.setU16(address + 6, instruction);
		memory.setU16(address + 8, 0);
		memory.setU16(address + 10, data);
		memory.setU16(address + 12, 0);
		return;
	}
	memory.setU32(address, 0xffff_0000 + control);
	memory.setU32(address + 4, 0xffff_0000 + status);
	memory.setU32(address + 8, 0xffff_0000 + tags);
	memory.setU32(address + 12, instruction);
	memory.setU32(address + 16, (memory.u16(base + X87_OPCODE) & 0x7ff) << 16);
	memory.setU32(address + 20, data);
	memory.setU32(address + 24, 0xffff_0000);
}

/** FNSTENV: stores the environment, then masks all exceptions. */
export function storeEnvironment(memory: Memory, base: number, address: number, size: OperandSize): void {
	storeImage(memory, base, address, size);
	memory.setU16(base + X87_CONTROL, memory.u16(base + X87_CONTROL) | ALL_EXCEPTIONS);
	memory.setU16(base + X87_STATUS, memory.u16(base + X87_STATUS) & ~(Status.ES | Status.B));
}

/** FLDENV. */
export function loadEnvironment(memory: Memory, base: number, address: number, size: OperandSize): void {
	const step = size === 16 ? 2 : 4;
	setControlWord(memory, base, memory.u16(address));
	setStatusWord(memory, base, memory.u16(address + step));
	setFullTags(memory, base, memory.u16(address + 2 * step));
	if (size === 16) {
		memory.setU64(base + X87_INSTRUCTION_POINTER, memory.u16(address + 6));
		memory.setU64(base + X87_DATA_POINTER, memory.u16(address + 10));
		memory.setU16(base + X87_OPCODE, 0);
		return;
	}
	memory.setU64(base + X87_INSTRUCTION_POINTER, memory.u32(address + 12));
	memory.setU16(base + X87_OPCODE, memory.u16(address + 18) & 0x7ff);
	memory.setU64(base + X87_DATA_POINTER, memory.u32(address + 20));
}

/** FNSAVE: the environment, then ST(0)..ST(7) of ten bytes each; then initialises. */
export function save(memory: Memory, base: number, address: number, size: OperandSize): void {
	storeImage(memory, base, address, size);
	const top = memory.u8(base + X87_TOP);
	for (let i = 0; i < 8; i++) {
		memory.copy(address + ENVIRONMENT_SIZE[size] + i * 10, base + X87_REGISTERS + ((top + i) & 7) * 16, 10);
	}
	initialise(memory, base);
}

/** FRSTOR. */
export function restore(memory: Memory, base: number, address: number, size: OperandSize): void {
	loadEnvironment(memory, base, address, size);
	const top = memory.u8(base + X87_TOP);
	for (let i = 0; i < 8; i++) {
		memory.copy(base + X87_REGISTERS + ((top + i) & 7) * 16, address + ENVIRONMENT_SIZE[size] + i * 10, 10);
	}
}
