/**
 * The x87's register stack in a context block, and how an instruction begins and ends: condition codes, exceptions, the error
 * summary (SDM volume 1, 8.1 and 8.5). Relies on layout.ts: registers by physical number, TOP apart from the status word.
 */

import type { Memory } from "../../memory/memory.ts";
import { X87_CONTROL, X87_REGISTERS, X87_STATUS, X87_TAGS, X87_TOP } from "../layout.ts";
import { ALL_EXCEPTIONS, Extended, FloatEnvironment, Status, setIndefinite } from "./extended.ts";

/** The environment of the instruction being executed. */
export const environment = new FloatEnvironment();

/** Starts an instruction: reads the control word. */
export function begin(memory: Memory, base: number): void {
	environment.begin(memory.u16(base + X87_CONTROL));
}

/**
 * Ends an instruction: adds its exceptions to the status word, sets C1 from the last rounding and the other condition codes of
 * `codesMask` to `codes`, and raises the error summary where an exception is unmasked.
 */
export function finish(memory: Memory, base: number, codesMask = 0, codes = 0): void {
	const { exceptions } = environment;
	let status = memory.u16(base + X87_STATUS) & ~(Status.C1 | codesMask);
	status |= exceptions | codes | (environment.roundedUp ? Status.C1 : 0);
	if ((exceptions & ~environment.control & ALL_EXCEPTIONS) !== 0) {
		status |= Status.ES | Status.B;
	}
	memory.setU16(base + X87_STATUS, status);
}

/**
 * Ends an instruction with a stack fault: overflow sets C1, underflow clears it.
 * @returns whether it is masked, so that the indefinite is to be stored.
 */
export function stackFault(memory: Memory, base: number, overflow: boolean): boolean {
	environment.roundedUp = overflow;
	environment.exceptions = Status.IE | Status.SF;
	finish(memory, base);
	return (environment.control & Status.IE) !== 0;
}

/** Recomputes the error summary after the control or status word was loaded. */
export function updateSummary(memory: Memory, base: number): void {
	const status = memory.u16(base + X87_STATUS) & ~(Status.ES | Status.B);
	const pending = (status & ~memory.u16(base + X87_CONTROL) & ALL_EXCEPTIONS) !== 0;
	memory.setU16(base + X87_STATUS, pending ? status | Status.ES | Status.B : status);
}

function physical(memory: Memory, base: number, i: number): number {
	return (memory.u8(base + X87_TOP) + i) & 7;
}

export function isEmpty(memory: Memory, base: number, i: number): boolean {
	return ((memory.u8(base + X87_TAGS) >>> physical(memory, base, i)) & 1) === 0;
}

export function read(memory: Memory, base: number, i: number, into: Extended): void {
	const address = base + X87_REGISTERS + physical(memory, base, i) * 16;
	into.set(memory.u16(address + 8), memory.u32(address + 4), memory.u32(address));
}

/** Writes ST(i) and marks it not empty. */
export function write(memory: Memory, base: number, i: number, from: Extended): void {
	const register = physical(memory, base, i);
	const address = base + X87_REGISTERS + register * 16;
	memory.setU32(address, from.low);
	memory.setU32(address + 4, from.high);
	memory.setU16(address + 8, from.signExponent);
	memory.setU8(base + X87_TAGS, memory.u8(base + X87_TAGS) | (1 << register));
}

/** Marks ST(i) empty. */
export function free(memory: Memory, base: number, i: number): void {
	memory.setU8(base + X87_TAGS, memory.u8(base + X87_TAGS) & ~(1 << physical(memory, base, i)));
}

export function rotate(memory: Memory, base: number, by: number): void {
	memory.setU8(base + X87_TOP, physical(memory, base, by));
}

export function pop(memory: Memory, base: number): void {
	free(memory, base, 0);
	rotate(memory, base, 1);
}

export function push(memory: Memory, base: number, value: Extended): void {
	rotate(memory, base, -1);
	write(memory, base, 0, value);
}

const indefinite = new Extended();
setIndefinite(indefinite);

/** Masked stack underflow: the indefinite goes where the result would. */
export function underflow(memory: Memory, base: number, destination: number, pops: boolean): void {
	if (stackFault(memory, base, false)) {
		write(memory, base, destination, indefinite);
		if (pops) {
			pop(memory, base);
		}
	}
}

/** Masked stack overflow: the indefinite is pushed. */
export function overflow(memory: Memory, base: number): void {
	if (stackFault(memory, base, true)) {
		push(memory, base, indefinite);
	}
}
