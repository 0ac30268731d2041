/**
 * How MMX shares the x87's registers (SDM volume 1, 9.2 and 9.5), for whoever emits MMX instructions. Relies on layout.ts.
 *
 * - MM0..MM7 are the significands of the *physical* registers: MMi is the u64 at base + X87_REGISTERS + i * 16, whatever TOP is.
 * - Every MMX instruction but EMMS, before it does anything else: #UD with CR0.EM, #NM with CR0.TS, #MF with a pending x87 exception
 *   ({@link mmxFault}); then {@link enterMmx}: TOP = 0, all tags valid. Condition codes and exception flags stay.
 * - One that writes MMi also sets that register's sign and exponent to ones: u16 0xffff at base + X87_REGISTERS + i * 16 + 8.
 * - EMMS marks all registers empty ({@link leaveMmx}) and leaves TOP and contents.
 * - The SSE instructions with an MMX operand (CVTPI2PS, CVTPS2PI, MOVDQ2Q, MASKMOVQ ...) count as MMX instructions in this.
 */

import type { Memory } from "../../memory/memory.ts";
import { X87_REGISTERS, X87_STATUS, X87_TAGS, X87_TOP } from "../layout.ts";
import { Vector } from "../processor.ts";
import { Status } from "./extended.ts";

/** Sign and exponent of a register that an MMX instruction has written. */
export const MMX_SIGN_EXPONENT = 0xffff;

/** Offset of MMi in the context block. */
export function mmxOffset(i: number): number {
	return X87_REGISTERS + i * 16;
}

/** @returns #MF's vector where an unmasked x87 exception is pending, else 0. */
export function mmxFault(memory: Memory, base: number): number {
	return (memory.u16(base + X87_STATUS) & Status.ES) !== 0 ? Vector.x87 : 0;
}

/** What every MMX instruction but EMMS does to the x87's state. */
export function enterMmx(memory: Memory, base: number): void {
	memory.setU8(base + X87_TOP, 0);
	memory.setU8(base + X87_TAGS, 0xff);
}

/** EMMS. */
export function leaveMmx(memory: Memory, base: number): void {
	memory.setU8(base + X87_TAGS, 0);
}
