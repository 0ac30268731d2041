/**
 * What the SIMD instructions share: the checks at their head, MMX's effect on the x87, vector constants and lane masks, and the way to the
 * exact service (cpu/simd/). Vectors that a context reads are bound: they may be used more than once.
 */

import { type I32, type I64, i8x16, i32, i64, i64x2, select, type V128, v128 } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import * as layout from "../layout.ts";
import { Vector } from "../processor.ts";
import { LEFT, RESULT, RIGHT } from "../simd/operations.ts";
import type { Context } from "./context.ts";
import { type FormOptions, instruction, type Operand } from "./table.ts";

/** What an instruction does, by its operands; those that its encoding does not have must not be looked at. */
export type SimdSemantics = (c: Context, destination: Operand, source: Operand, third: Operand) => void;

const CR0_EM = 4;
const CR0_TS = 8;
/** Error summary: an unmasked x87 exception is pending. */
const X87_ES = 0x80;

/** #UD with CR0.EM, #NM with CR0.TS. CR4.OSFXSR is taken as set, as Xen keeps it. */
export function checkAvailable(c: Context): void {
	c.availability(() => requireAvailable(c));
}
function requireAvailable(c: Context): void {
	const cr0 = c.f.let(i32.and(c.state32(layout.CR0), i32.const(CR0_EM | CR0_TS)));
	c.f.if(cr0, () =>
		c.raiseVector(
			select(i32.and(cr0, i32.const(CR0_EM)), i32.const(Vector.invalidOpcode), i32.const(Vector.deviceNotAvailable)),
		),
	);
}

/** #MF where an x87 exception is pending, as every instruction that uses the x87's registers reports it first. */
export function checkX87(c: Context): void {
	c.f.if(i32.and(c.state16(layout.X87_STATUS), i32.const(X87_ES)), () => c.raise(Vector.x87));
}

/** The x87 after an MMX instruction: top of stack 0, all registers in use. Nothing may fault any more. */
export function enterMmx(c: Context): void {
	c.setState8(layout.X87_TOP, i32.const(0));
	c.setState8(layout.X87_TAGS, i32.const(0xff));
}

/** Adds an instruction on XMM registers. */
export function sse(name: string, encodings: readonly string[], options: FormOptions, semantics: SimdSemantics): void {
	instruction(name, encodings, options, (c, ...operands) => {
		checkAvailable(c);
		semantics(c, operands[0]!, operands[1]!, operands[2]!);
	});
}

/** Adds an instruction that uses MMX registers. */
export function mmx(name: string, encodings: readonly string[], options: FormOptions, semantics: SimdSemantics): void {
	sse(name, encodings, options, (c, destination, source, third) => {
		checkX87(c);
		semantics(c, destination, source, third);
		enterMmx(c);
	});
}

/** First operand only written. */
export const WRITES: FormOptions = { access: "w r r" };

/** Computes on two bound vectors. */
export type VectorOperation = (left: V128, right: V128, f: FunctionBuilder) => V128;

/** destination = operation(destination, source), memory aligned. */
export function binary(operation: VectorOperation): SimdSemantics {
	return (c, destination, source) => {
		const right = c.readVector(source, true);
		c.writeVector(destination, operation(c.readVector(destination), right, c.f));
	};
}

/** {@link binary} on MMX registers, whose memory operands need no alignment. */
export function binaryMmx(operation: VectorOperation): SimdSemantics {
	return (c, destination, source) => {
		const right = c.readVector(source);
		c.writeVector(destination, operation(c.readVector(destination), right, c.f));
	};
}

/** destination = operation(source). */
export function unary(operation: (source: V128, f: FunctionBuilder) => V128, aligned = true): SimdSemantics {
	return (c, destination, source) => {
		const value = c.readVector(source, aligned && source.bits === 128);
		c.writeVector(destination, operation(value, c.f));
	};
}

// ---- constants ----

export const bytes16 = (byte: (index: number) => number): V128 =>
	v128.const(Array.from({ length: 16 }, (_, index) => byte(index) & 0xff));
/** Lanes of `bytes` bytes each with the given values, repeated to the end. */
export function lanes(bytes: 1 | 2 | 4, values: readonly number[]): V128 {
	return bytes16((index) => values[Math.floor(index / bytes) % values.length]! >>> ((index % bytes) * 8));
}
export const ZERO = bytes16(() => 0);
export const ONES = bytes16(() => 0xff);
/** 0, 1, 2 ... 15: the identity of swizzle. */
export const IDENTITY = bytes16((index) => index);
export const LOW_64 = bytes16((index) => (index < 8 ? 0xff : 0));

/** Lanes of a shuffle by elements of `bytes` bytes: element i of the result is element elements[i] of left then right. */
export function elements(bytes: number, order: readonly number[]): number[] {
	return order.flatMap((element) => Array.from({ length: bytes }, (_, byte) => element * bytes + byte));
}

/** A vector of 64 bits, upper half zero. */
export const vector64 = (value: I64): V128 => i64x2.replace(ZERO, 0, value);
export const low64 = (value: V128): I64 => i64x2.extract(value, 0);

/** The immediate as i32, cut to its low bits. A constant where the context knows it. */
export function immediate(c: Context, operand: Operand, mask = 0xff): I32 {
	return c.f.let(i32.and(i32.wrap(c.read(operand)), i32.const(mask)));
}

/** Bytes of `source` from byte `offset` on (an i32 below 128), zeros beyond the end. */
export function bytesFrom(source: V128, offset: I32): V128 {
	return i8x16.swizzle(source, i8x16.add_sat_u(IDENTITY, i8x16.splat(offset)));
}

/** Packs two vectors' low halves into one. */
export const joinLow = (left: V128, right: V128): V128 => i8x16.shuffle(left, right, elements(8, [0, 2]));

// ---- the exact service ----

/** Leaves operands for the service and calls it; raises what it says. */
export function exactCall(
	c: Context,
	operation: number,
	laneCount: number,
	bits: 32 | 64,
	left: V128,
	right: V128,
	control: I32 = i32.const(0),
): void {
	c.f.storeV128(i32.const(0), left, LEFT);
	c.f.storeV128(i32.const(0), right, RIGHT);
	const vector = c.service("simd", i32.const(operation | (laneCount << 8) | (bits << 16)), control);
	c.f.if(vector, () => c.raiseVector(vector));
}

/** Results of {@link exactCall}. */
export const exactResult = (): V128 => v128.load(i32.const(0), RESULT);
export const exactLeft = (): V128 => v128.load(i32.const(0), LEFT);
export const exactRight = (): V128 => v128.load(i32.const(0), RIGHT);

export const toI64 = (value: I32): I64 => i64.extend_i32_u(value);
