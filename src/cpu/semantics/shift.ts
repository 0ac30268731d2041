/** Shifts and rotates. A count of 0 (after masking to 5 or 6 bits) changes no flag. */
import { type I64, i32, i64 } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import type { Context } from "./context.ts";
import { bit, carryAndOverflow, carryFlag, rotationFlags, sext, top, withCarryAndOverflow, zext } from "./flags.ts";
import { instruction } from "./table.ts";

/** Emits `none` or `some` by a count, which may be known. */
function unlessZero(f: FunctionBuilder, count: I64, none: () => void, some: () => void): void {
	if (count.constant === undefined) f.if(i64.eqz(count), none, some);
	else if (count.constant === 0n) none();
	else some();
}

/** CF and OF of a rotate; the other flags stay. */
function setRotateFlags(c: Context, carry: I64, overflow: I64): void {
	c.setFlagCarry(c.f.let(withCarryAndOverflow(c.f, c.flagCarry(), carry, overflow)));
}

function rotated(c: Context, operation: "rotateLeft" | "rotateRight", bits: number, result: I64): void {
	if (c.deferFlags(operation, bits, result, i64.const(0))) return;
	const { carry, overflow } = rotationFlags(operation, bits, result);
	setRotateFlags(c, carry, overflow);
}

function setShiftFlags(c: Context, bits: number, result: I64, carry: I64, overflow: I64): void {
	c.setFlags(sext(result, bits), c.f.let(carryAndOverflow(c.f, carry, overflow)));
}

type Shift = (c: Context, bits: number, value: I64, count: I64) => I64;

/** Each gets a count of at least 1 and sets the flags. */
const SHIFTS: readonly [string, Shift][] = [
	[
		"rol",
		(c, bits, value, count) => {
			const result = c.f.let(rotateLeft(c, bits, value, count));
			rotated(c, "rotateLeft", bits, result);
			return result;
		},
	],
	[
		"ror",
		(c, bits, value, count) => {
			const left = i64.and(i64.sub(i64.const(bits), count), i64.const(bits - 1));
			const result = c.f.let(rotateLeft(c, bits, value, c.f.let(left)));
			rotated(c, "rotateRight", bits, result);
			return result;
		},
	],
	["rcl", (c, bits, value, count) => rotateThroughCarry(c, bits, value, count, true)],
	["rcr", (c, bits, value, count) => rotateThroughCarry(c, bits, value, count, false)],
	["shl", shiftLeft],
	[
		"shr",
		(c, bits, value, count) => {
			const result = c.f.let(i64.shr_u(value, count));
			const carry = bit(value, i64.sub(count, i64.const(1)));
			// For a count of 1 the old sign; for more it is undefined, and processors show the result's upper two bits' difference.
			setShiftFlags(c, bits, result, c.f.let(carry), i64.xor(top(result, bits), bit(result, i64.const(bits - 2))));
			return result;
		},
	],
	["shl", shiftLeft],
	[
		"sar",
		(c, bits, value, count) => {
			const signed = c.f.let(sext(value, bits));
			const result = c.f.let(i64.shr_s(signed, count));
			setShiftFlags(
				c,
				bits,
				result,
				c.f.let(bit(i64.shr_s(signed, i64.sub(count, i64.const(1))), i64.const(0))),
				i64.const(0),
			);
			return result;
		},
	],
];

function shiftLeft(c: Context, bits: number, value: I64, count: I64): I64 {
	const result = c.f.let(i64.shl(value, count));
	const carry = c.f.let(bits === 64 ? bit(value, i64.sub(i64.const(64), count)) : bit(result, i64.const(bits)));
	setShiftFlags(c, bits, result, carry, i64.xor(carry, top(result, bits)));
	return result;
}

function rotateLeft(c: Context, bits: number, value: I64, count: I64): I64 {
	if (bits === 64) return i64.rotl(value, count);
	if (bits === 32) return i64.extend_i32_u(i32.rotl(i32.wrap(value), i32.wrap(count)));
	const inside = c.f.let(i64.and(count, i64.const(bits - 1)));
	return i64.or(i64.shl(value, inside), i64.shr_u(value, i64.sub(i64.const(bits), inside)));
}

/** RCL and RCR rotate bits+1 bits: the operand with CF above it. One step a loop: they are rare. */
function rotateThroughCarry(c: Context, bits: number, value: I64, count: I64, left: boolean): I64 {
	const { f } = c;
	const result = f.local("i64");
	const carry = f.local("i64");
	const rest = f.local("i64");
	f.set(result, value);
	f.set(carry, carryFlag(c));
	f.set(rest, bits < 32 ? i64.rem_u(count, i64.const(bits + 1)) : count);
	f.block((done) =>
		f.loop((again) => {
			f.brIf(done, i64.eqz(rest));
			if (left) {
				const out = f.let(top(result, bits));
				f.set(result, zext(i64.or(i64.shl(result, i64.const(1)), carry), bits));
				f.set(carry, out);
			} else {
				const out = f.let(bit(result, i64.const(0)));
				f.set(result, i64.or(i64.shr_u(result, i64.const(1)), i64.shl(carry, i64.const(bits - 1))));
				f.set(carry, out);
			}
			f.set(rest, i64.sub(rest, i64.const(1)));
			f.br(again);
		}),
	);
	const overflow = left
		? i64.xor(carry, top(result, bits))
		: i64.xor(top(result, bits), bit(result, i64.const(bits - 2)));
	setRotateFlags(c, carry, f.let(overflow));
	return result;
}

for (const [digit, [name, shift]] of SHIFTS.entries()) {
	instruction(
		name,
		[
			`c0 /${digit} Eb,Ib`,
			`c1 /${digit} Ev,Ib`,
			`d0 /${digit} Eb,1`,
			`d1 /${digit} Ev,1`,
			`d2 /${digit} Eb,CL`,
			`d3 /${digit} Ev,CL`,
		],
		{ undefinedFlags: digit < 4 ? "OF" : "OF AF CF" },
		(c, destination, amount) => {
			const { f } = c;
			const bits = destination!.bits;
			const value = c.read(destination!);
			const count = f.let(i64.and(c.read(amount!), i64.const(bits === 64 ? 63 : 31)));
			unlessZero(
				f,
				count,
				// The destination is written even so: a 32-bit register is zero-extended.
				() => c.write(destination!, value),
				() => c.write(destination!, shift(c, bits, value, count)),
			);
		},
	);
}

for (const [name, opcode, left] of [
	["shld", "a4", true],
	["shrd", "ac", false],
] as const) {
	const next = (Number.parseInt(opcode, 16) + 1).toString(16);
	instruction(
		name,
		[`0f ${opcode} Ev,Gv,Ib`, `0f ${next} Ev,Gv,CL`],
		{ undefinedFlags: "OF AF CF SF ZF PF" },
		(c, destination, from, amount) => {
			const { f } = c;
			const bits = destination!.bits;
			const value = c.read(destination!);
			const fill = c.read(from!);
			const count = f.let(i64.and(c.read(amount!), i64.const(bits === 64 ? 63 : 31)));
			unlessZero(
				f,
				count,
				() => c.write(destination!, value),
				() => {
					const { result, carry } = doubleShift(c, bits, value, fill, count, left);
					setShiftFlags(c, bits, result, carry, i64.xor(top(result, bits), top(value, bits)));
					c.write(destination!, result);
				},
			);
		},
	);
}

function doubleShift(
	c: Context,
	bits: number,
	value: I64,
	fill: I64,
	count: I64,
	left: boolean,
): { result: I64; carry: I64 } {
	const { f } = c;
	if (bits === 64) {
		const back = f.let(i64.sub(i64.const(64), count));
		return left
			? {
					result: f.let(i64.or(i64.shl(value, count), i64.shr_u(fill, back))),
					carry: f.let(bit(value, back)),
				}
			: {
					result: f.let(i64.or(i64.shr_u(value, count), i64.shl(fill, back))),
					carry: f.let(bit(value, i64.sub(count, i64.const(1)))),
				};
	}
	// Both operands fit one 64-bit word; 16-bit counts beyond 16 go on with the destination's own bits, as processors do.
	if (bits === 32) {
		if (left) {
			const both = f.let(i64.or(i64.shl(value, i64.const(32)), fill));
			return {
				result: f.let(i64.shr_u(i64.shl(both, count), i64.const(32))),
				carry: f.let(bit(value, i64.sub(i64.const(32), count))),
			};
		}
		const both = f.let(i64.or(i64.shl(fill, i64.const(32)), value));
		return {
			result: f.let(zext(i64.shr_u(both, count), 32)),
			carry: f.let(bit(value, i64.sub(count, i64.const(1)))),
		};
	}
	if (left) {
		const both = f.let(i64.or(i64.or(i64.shl(value, i64.const(32)), i64.shl(fill, i64.const(16))), value));
		return {
			result: f.let(zext(i64.shr_u(i64.shl(both, count), i64.const(32)), 16)),
			carry: f.let(bit(both, i64.sub(i64.const(48), count))),
		};
	}
	const both = f.let(i64.or(i64.or(i64.shl(value, i64.const(32)), i64.shl(fill, i64.const(16))), value));
	return {
		result: f.let(zext(i64.shr_u(both, count), 16)),
		carry: f.let(bit(both, i64.sub(count, i64.const(1)))),
	};
}
