/**
 * The arithmetic flags, emitted. Two words hold them (flag-words.ts draws them): the sign-extended result and a vector of carries whose top
 * bits are CF and CF xor OF whatever the operand size, so that each condition is computed in one way.
 */
import { type I32, type I64, i32, i64 } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import type { Context } from "./context.ts";

/** Where the two words are. */
export type FlagState = Pick<Context, "f" | "flagResult" | "flagCarry" | "setFlags">;

const CARRY_TOP = i64.const(-0x4000_0000_0000_0000n); // bits 63 and 62
const AF_BIT = 8;

/** Sign-extends from the low `bits` bits. */
export function sext(value: I64, bits: number): I64 {
	switch (bits) {
		case 8:
			return i64.extend8_s(value);
		case 16:
			return i64.extend16_s(value);
		case 32:
			return i64.extend32_s(value);
		default:
			return value;
	}
}

/** Zero-extends from the low `bits` bits. */
export function zext(value: I64, bits: number): I64 {
	switch (bits) {
		case 64:
			return value;
		case 32:
			return i64.extend_i32_u(i32.wrap(value));
		default:
			return i64.and(value, i64.const(2 ** bits - 1));
	}
}

/** The two words: see flag-words.ts. */
export interface FlagWords {
	readonly result: I64;
	readonly carry: I64;
}

/** The carry word of a vector in which bit i is the carry (or borrow) out of bit i. */
function carryWord(vector: I64, bits: number): I64 {
	if (bits === 64) return i64.and(vector, i64.or(CARRY_TOP, i64.const(AF_BIT)));
	return i64.or(i64.shl(vector, i64.const(64 - bits)), i64.and(vector, i64.const(AF_BIT)));
}

/** Carries out of each bit of left + right (+ carry): where both are 1, or one is and the sum's bit is 0. */
function carries(f: FunctionBuilder, left: I64, right: I64, sum: I64): I64 {
	return f.let(i64.or(i64.and(left, right), i64.and(i64.or(left, right), i64.xor(sum, i64.const(-1)))));
}

/** Borrows of left - right (- borrow). */
function borrows(f: FunctionBuilder, left: I64, right: I64, difference: I64): I64 {
	const notLeft = f.let(i64.xor(left, i64.const(-1)));
	return f.let(i64.or(i64.and(notLeft, right), i64.and(i64.or(notLeft, right), difference)));
}

export function addWords(f: FunctionBuilder, bits: number, left: I64, right: I64, sum: I64): FlagWords {
	return { result: sext(sum, bits), carry: carryWord(carries(f, left, right, sum), bits) };
}

export function subtractWords(f: FunctionBuilder, bits: number, left: I64, right: I64, difference: I64): FlagWords {
	return { result: sext(difference, bits), carry: carryWord(borrows(f, left, right, difference), bits) };
}

/** INC and DEC: as an addition or subtraction of 1, with CF as in `oldCarry`. */
export function stepWords(
	f: FunctionBuilder,
	bits: number,
	value: I64,
	result: I64,
	down: boolean,
	oldCarry: I64,
): FlagWords {
	const one = i64.const(1);
	const vector = down ? borrows(f, value, one, result) : carries(f, value, one, result);
	const word = f.let(carryWord(vector, bits));
	// Where CF differs from what it was, both top bits flip: OF, their difference, stays.
	const flip = i64.and(i64.shr_s(i64.xor(word, oldCarry), i64.const(63)), CARRY_TOP);
	return { result: sext(result, bits), carry: f.let(i64.xor(word, flip)) };
}

/** Flags of an addition. Operands and result are bound expressions; only their low bits count. */
export function flagsOfAdd(c: Context, bits: number, left: I64, right: I64, sum: I64): void {
	if (c.deferFlags("add", bits, left, right)) return;
	flagsOfAddWithCarry(c, bits, left, right, sum);
}

export function flagsOfAddWithCarry(c: Context, bits: number, left: I64, right: I64, sum: I64): void {
	const words = addWords(c.f, bits, left, right, sum);
	c.setFlags(words.result, words.carry);
}

export function flagsOfSubtract(c: Context, bits: number, left: I64, right: I64, difference: I64): void {
	if (c.deferFlags("subtract", bits, left, right)) return;
	flagsOfSubtractWithBorrow(c, bits, left, right, difference);
}

export function flagsOfSubtractWithBorrow(c: Context, bits: number, left: I64, right: I64, difference: I64): void {
	const words = subtractWords(c.f, bits, left, right, difference);
	c.setFlags(words.result, words.carry);
}

/** AND, OR, XOR, TEST: CF, OF and AF clear. */
export function flagsOfLogic(c: Context, bits: number, result: I64): void {
	if (c.deferFlags("logic", bits, result, i64.const(0))) return;
	c.setFlags(sext(result, bits), i64.const(0));
}

/** INC and DEC: CF stays. */
export function flagsOfStep(c: Context, bits: number, value: I64, result: I64, down: boolean): void {
	if (c.deferFlags(down ? "decrement" : "increment", bits, result, i64.const(0))) return;
	const words = stepWords(c.f, bits, value, result, down, c.flagCarry());
	c.setFlags(words.result, words.carry);
}

/** CF as 0 or 1. */
export function carryFlag(c: Context): I64 {
	const known = c.knownCondition(2);
	if (known !== undefined) return c.f.let(i64.extend_i32_u(known));
	return i64.shr_u(c.flagCarry(), i64.const(63));
}

/** A bit of a value, and the highest of `bits` bits: 0 or 1. */
export const bit = (value: I64, position: I64): I64 => i64.and(i64.shr_u(value, position), i64.const(1));
export const top = (value: I64, bits: number): I64 => bit(value, i64.const(bits - 1));

/** CF and OF (0 or 1 each) of a rotation, by its result: a local. */
export function rotationFlags(
	operation: "rotateLeft" | "rotateRight",
	bits: number,
	result: I64,
): { carry: I64; overflow: I64 } {
	const left = operation === "rotateLeft";
	const carry = bit(result, i64.const(left ? 0 : bits - 1));
	return { carry, overflow: i64.xor(carry, bit(result, i64.const(left ? bits - 1 : bits - 2))) };
}

/** A carry word in which only CF and OF (0 or 1 each) are new. */
export function withCarryAndOverflow(f: FunctionBuilder, old: I64, carry: I64, overflow: I64): I64 {
	return i64.or(i64.and(old, i64.const(0x3fff_ffff_ffff_ffffn)), carryAndOverflow(f, carry, overflow));
}

/** Carry word with the given CF and OF (0 or 1 each, i64), AF clear. */
export function carryAndOverflow(f: FunctionBuilder, carry: I64, overflow: I64): I64 {
	const cf = f.let(carry);
	return i64.or(i64.shl(cf, i64.const(63)), i64.shl(i64.xor(cf, overflow), i64.const(62)));
}

/** Replaces CF (0 or 1), keeping the other flags. */
export function setCarryFlag(c: Context, carry: I64): void {
	const old = c.f.let(c.flagCarry());
	// Flip bits 63 and 62 together where CF changes.
	const changed = i64.sub(i64.const(0), i64.xor(i64.shr_u(old, i64.const(63)), carry));
	c.setFlagCarry(i64.xor(old, i64.and(changed, CARRY_TOP)));
}

const FLAG = { CF: 0x1, PF: 0x4, AF: 0x10, ZF: 0x40, SF: 0x80, OF: 0x800 } as const;

function parity(c: FlagState): I32 {
	const byte = i32.and(i32.wrap(i64.xor(c.flagResult(), i64.shr_u(c.flagCarry(), i64.const(8)))), i32.const(0xff));
	return i32.eqz(i32.and(i32.popcnt(byte), i32.const(1)));
}

function signWord(c: FlagState): I64 {
	return i64.xor(c.flagResult(), i64.shl(c.flagCarry(), i64.const(47)));
}

function overflowWord(c: FlagState): I64 {
	const carry = c.f.let(c.flagCarry());
	return i64.xor(carry, i64.shl(carry, i64.const(1)));
}

const negative = (value: I64): I32 => i64.lt_s(value, i64.const(0));

/** Condition codes 0 O, 2 B, 4 Z, 6 BE, 8 S, A P, C L, E LE, and their negations, as Jcc, SETcc and CMOVcc number them. */
export function condition(c: Context, code: number): I32 {
	const known = c.knownCondition(code);
	if (known !== undefined) return known;
	const positive = conditionTrue(c, code >> 1);
	return (code & 1) !== 0 ? i32.eqz(positive) : positive;
}

function conditionTrue(c: Context, code: number): I32 {
	switch (code) {
		case 0:
			return negative(overflowWord(c));
		case 1:
			return negative(c.flagCarry());
		case 2:
			return i64.eqz(c.flagResult());
		case 3:
			return i32.or(negative(c.flagCarry()), i64.eqz(c.flagResult()));
		case 4:
			return negative(signWord(c));
		case 5:
			return parity(c);
		case 6:
			return negative(i64.xor(signWord(c), overflowWord(c)));
		default:
			return i32.or(negative(i64.xor(signWord(c), overflowWord(c))), i64.eqz(c.flagResult()));
	}
}

/** The arithmetic flags in their places of RFLAGS. */
export function packArithmetic(c: FlagState): I64 {
	const bit = (test: I32, mask: number): I32 => i32.shl(test, i32.const(Math.log2(mask)));
	const af = i32.shl(i32.and(i32.wrap(c.flagCarry()), i32.const(AF_BIT)), i32.const(1));
	const all = [
		bit(negative(c.flagCarry()), FLAG.CF),
		bit(parity(c), FLAG.PF),
		af,
		bit(i64.eqz(c.flagResult()), FLAG.ZF),
		bit(negative(signWord(c)), FLAG.SF),
		bit(negative(overflowWord(c)), FLAG.OF),
	];
	return i64.extend_i32_u(all.reduce((sum, part) => i32.or(sum, part)));
}

/** Sets all arithmetic flags from a word laid out as RFLAGS. */
export function unpackArithmetic(c: FlagState, rflags: I64): void {
	const flags = c.f.let(i32.wrap(rflags));
	const bit = (mask: number): I32 => i32.and(i32.shr_u(flags, i32.const(Math.log2(mask))), i32.const(1));
	const zero = c.f.let(bit(FLAG.ZF));
	// A result of 0 has even parity, a result of 1 odd.
	const flipParity = i32.xor(bit(FLAG.PF), zero);
	const low = i32.or(
		i32.or(i32.shl(bit(FLAG.AF), i32.const(3)), i32.shl(flipParity, i32.const(8))),
		i32.shl(bit(FLAG.SF), i32.const(16)),
	);
	const top = i32.or(i32.shl(bit(FLAG.CF), i32.const(1)), i32.xor(bit(FLAG.CF), bit(FLAG.OF)));
	c.setFlags(
		i64.extend_i32_u(i32.xor(zero, i32.const(1))),
		i64.or(i64.extend_i32_u(low), i64.shl(i64.extend_i32_u(top), i64.const(62))),
	);
}

/** Replaces ZF alone (0 or 1), as CMPXCHG8B and VERR do. */
export function setZeroFlag(c: Context, zero: I64): void {
	const kept = i64.and(packArithmetic(c), i64.const(~FLAG.ZF));
	unpackArithmetic(c, i64.or(kept, i64.shl(zero, i64.const(6))));
}
