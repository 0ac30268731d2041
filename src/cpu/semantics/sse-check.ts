/**
 * When a fast floating-point result stands. WebAssembly rounds to nearest and reports nothing, so the exact service (cpu/simd/) computes
 * again where that is not the whole story:
 *
 *   - a result is not finite, which is where invalid, divide-by-zero and overflow show;
 *   - MXCSR has another rounding mode or an unmasked exception;
 *   - an exception is to be recorded that MXCSR does not have yet: an operand is denormal (DE), a result that is tiny was rounded (UE), any was (PE);
 *   - DAZ or FTZ is set and a denormal takes part.
 *
 * PE is sticky and set early by nearly every program, so the usual cost is one compare of MXCSR, and one that tells whether all numbers are ordinary:
 * neither denormal nor zero, infinity or NaN. What is not is looked at more closely. An operation that was exact, of numbers of which none is denormal, has
 * nothing to record.
 */

import {
	f32,
	f32x4,
	f64,
	f64x2,
	type I32,
	type I64,
	i8x16,
	i32,
	i32x4,
	i64,
	i64x2,
	type V128,
	v128,
} from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import * as layout from "../layout.ts";
import { Mxcsr } from "../simd/format.ts";
import type { Context } from "./context.ts";
import { exactResult, lanes, ONES } from "./simd.ts";
import type { Operand } from "./table.ts";

/** Lanes of single or double precision. */
export type FloatLanes = typeof f32x4 | typeof f64x2;

const { DE, UE, PE, DAZ, FTZ } = Mxcsr;
/** All of MXCSR that is looked at first: modes, masks, PE ... */
const LOOKED_AT = 0xffe0;
/** ... and what it is after reset. */
const USUAL = 0x1f80;

const splat = (by: FloatLanes, single: number, double: number): V128 =>
	by === f32x4 ? f32x4.splat(f32.const(single)) : f64x2.splat(f64.const(double));
const ZERO = lanes(1, [0]);
const KEEP_32 = [0, 1, 2, 3, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];
const KEEP_64 = [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31];

/** The first lane with the others set to 1, which no operation has trouble with: so a scalar is looked at like a vector. */
export function onlyFirst(by: FloatLanes, value: V128): V128 {
	return i8x16.shuffle(value, splat(by, 1, 1), by === f32x4 ? KEEP_32 : KEEP_64);
}

const all = (mask: V128): I32 => i32x4.all_true(mask);

/** Whether each lane is finite. */
export const finite = (by: FloatLanes, value: V128): I32 => all(by.lt(by.abs(value), splat(by, Infinity, Infinity)));
/** Whether no lane of either is NaN. */
export const ordered = (by: FloatLanes, left: V128, right: V128): I32 =>
	all(v128.and(by.eq(left, left), by.eq(right, right)));
const smallest = (by: FloatLanes): V128 => splat(by, 2 ** -126, 2 ** -1022);
const infinity = (by: FloatLanes): V128 => splat(by, Infinity, Infinity);
/** Lanes that are neither denormal nor zero. */
const large = (by: FloatLanes, value: V128): V128 => by.ge(by.abs(value), smallest(by));

// The same for the first lane alone, in general registers: the bits without the sign, as an unsigned number.

type Lane = { readonly magnitude: I64; readonly smallest: number; readonly infinity: number };
function laneOf(by: FloatLanes, value: V128): Lane {
	return by === f32x4
		? {
				magnitude: i64.extend_i32_u(i32.shl(i32x4.extract(value, 0), i32.const(1))),
				smallest: 2 ** 24,
				infinity: 0xff00_0000,
			}
		: { magnitude: i64.shl(i64x2.extract(value, 0), i64.const(1)), smallest: 2 ** 53, infinity: 0x7ff * 2 ** 53 };
}
const unsigned = (value: number): I64 => i64.const(BigInt.asIntN(64, BigInt(value)));

/** Whether a lane that counts is denormal. */
function anyDenormal(by: FloatLanes, value: V128, scalar: boolean): I32 {
	if (!scalar) return i32.eqz(all(v128.or(large(by, value), by.eq(value, ZERO))));
	const { magnitude, smallest: limit } = laneOf(by, value);
	return i64.lt_u(i64.sub(magnitude, i64.const(1)), i64.const(limit - 1));
}
/** Whether a lane of a sum, which is exact if it is tiny, would be flushed to zero. */
export const anyTiny = anyDenormal;

/** Whether a lane of a product or quotient is tiny, or 0 though no operand makes it so: then it has been rounded, or may have been. */
export function anyUnderflow(by: FloatLanes, result: V128, operands: readonly V128[], scalar: boolean): I32 {
	if (!scalar) {
		const special = operands
			.map((value) => v128.or(by.eq(value, ZERO), by.eq(by.abs(value), infinity(by))))
			.reduce((sum, mask) => v128.or(sum, mask));
		return i32.eqz(all(v128.or(large(by, result), v128.and(by.eq(result, ZERO), special))));
	}
	const { magnitude, smallest: limit } = laneOf(by, result);
	const special = operands
		.map((value) => laneOf(by, value))
		.map((lane) => i32.or(i64.eqz(lane.magnitude), i64.eq(lane.magnitude, unsigned(lane.infinity))))
		.reduce((sum, condition) => i32.or(sum, condition));
	return i32.and(i64.lt_u(magnitude, i64.const(limit)), i32.eqz(i32.and(i64.eqz(magnitude), special)));
}

/**
 * What an operation's numbers are looked at for first, each by a distance that is small then. All are of the bits without the sign, of which the upper
 * ones are the exponent.
 */
const DISTANCES = {
	/** Denormal: 0 becomes the largest. */
	denormal: (by: FloatLanes, bits: V128): V128 => (by === f32x4 ? i32x4.add(bits, ONES) : i64x2.add(bits, ONES)),
	/** Infinity or NaN. */
	notFinite: (_: FloatLanes, bits: V128): V128 => v128.xor(bits, ONES),
	/** Either, or 0: around it the lowest and the highest exponents are next to each other. */
	notOrdinary: (_: FloatLanes, bits: V128): V128 => i32x4.abs(bits),
} as const;
export type Suspicion = keyof typeof DISTANCES;

/**
 * Whether a number may be what it is suspected of: some at the edges, which are not, count as well. `wide`: so do all without about the square root of
 * the smallest and the largest normal number, so that a product or quotient of what is left, where it is not 0, is normal.
 */
function anySuspect(by: FloatLanes, suspects: readonly Suspect[], scalar: boolean, wide: boolean): I32 {
	const one = i32.const(1);
	const least = suspects
		.map(({ value, of }) => DISTANCES[of](by, by === f32x4 ? i32x4.shl(value, one) : i64x2.shl(value, one)))
		.reduce((smaller, distance) => i32x4.min_u(smaller, distance));
	const edge = by === f32x4 ? (wide ? 65 : 1) * 2 ** 24 : (wide ? 513 : 1) * 2 ** 21;
	if (scalar) return i32.le_u(i32x4.extract(least, by === f32x4 ? 0 : 1), i32.const(edge));
	// Of a double the upper half has the exponent.
	const exponents = by === f32x4 ? least : v128.or(least, lanes(4, [0xffff_ffff, 0]));
	return i32.eqz(all(i32x4.gt_u(exponents, lanes(4, [edge]))));
}

export const equal = (by: FloatLanes, left: V128, right: V128): I32 => all(by.eq(left, right));

/** left + right without rounding: Knuth's two-sum leaves no error. */
export function exactSum(f: FunctionBuilder, by: FloatLanes, left: V128, right: V128): I32 {
	const sum = f.let(by.add(left, right));
	const part = f.let(by.sub(sum, left));
	const error = by.add(by.sub(left, by.sub(sum, part)), by.sub(right, part));
	return equal(by, error, ZERO);
}

/** The halves of a significand by Veltkamp's splitting. */
function split(f: FunctionBuilder, by: FloatLanes, value: V128): { high: V128; low: V128 } {
	const scaled = f.let(by.mul(value, splat(by, 2 ** 12 + 1, 2 ** 27 + 1)));
	const high = f.let(by.sub(scaled, by.sub(scaled, value)));
	return { high, low: f.let(by.sub(value, high)) };
}

/** left * right equals `product` without rounding: Dekker's product leaves no error. False where its own parts could underflow. */
function exactProductIs(f: FunctionBuilder, by: FloatLanes, left: V128, right: V128, product: V128): I32 {
	const a = split(f, by, left);
	const b = split(f, by, right);
	let error = by.sub(by.mul(a.high, b.high), product);
	error = by.add(error, by.mul(a.high, b.low));
	error = by.add(error, by.mul(a.low, b.high));
	error = by.add(error, by.mul(a.low, b.low));
	const large = by.ge(by.abs(product), splat(by, 2 ** -70, 2 ** -900));
	const zero = v128.or(by.eq(left, ZERO), by.eq(right, ZERO));
	return all(v128.and(by.eq(error, ZERO), v128.or(large, zero)));
}
export const exactProduct = (f: FunctionBuilder, by: FloatLanes, left: V128, right: V128): I32 =>
	exactProductIs(f, by, left, right, f.let(by.mul(left, right)));
export const exactQuotient = (f: FunctionBuilder, by: FloatLanes, left: V128, right: V128): I32 =>
	exactProductIs(f, by, f.let(by.div(left, right)), right, left);
export function exactRoot(f: FunctionBuilder, by: FloatLanes, value: V128): I32 {
	const root = f.let(by.sqrt(value));
	return exactProductIs(f, by, root, root, value);
}

/** A number, and what it is suspected of. */
export interface Suspect {
	readonly value: V128;
	readonly of: Suspicion;
}

export interface Check {
	readonly by: FloatLanes;
	/** What is computed with, if a denormal among it is recorded. */
	readonly operands: readonly V128[];
	/** What else is looked at first, if operands tell not all; `resultBy` if the formats differ. */
	readonly results?: readonly Suspect[];
	/** What operands are suspected of, if not of being denormal alone. */
	readonly operandsMayBe?: readonly Suspicion[];
	/** {@link anySuspect}. */
	readonly wide?: boolean;
	readonly resultBy?: FloatLanes;
	/** Only the first lanes count. */
	readonly scalar?: boolean;
	/** Result or operands say that the service must compute. */
	readonly doubtful: () => I32;
	/** Whether what is looked at first is not enough to tell that nothing is doubtful. */
	readonly doubtfulFirst?: true;
	/** Whether a result may be tiny and rounded. */
	readonly underflow?: () => I32;
	/** Whether one would be flushed to zero that is none otherwise. */
	readonly flushed?: () => I32;
	/** An operand that counts as zero with DAZ, and raises nothing. */
	readonly zeroed?: V128;
	/** Whether nothing was rounded. */
	readonly exact: () => I32;
	/** Calls the service and takes its results. */
	readonly slow: () => void;
}

/** Runs `slow` unless the fast result stands. */
export function check(c: Context, of: Check): void {
	const { f } = c;
	const { by, operands, results = [], resultBy = by, scalar = false, doubtful, exact } = of;
	const mxcsr = c.state32(layout.MXCSR);
	/** 0 as a rule. */
	const modes = c.mxcsrWord(() => i32.xor(i32.and(mxcsr, i32.const(LOOKED_AT)), i32.const(USUAL | PE)));
	const suspects = operands.map((value, index): Suspect => ({ value, of: of.operandsMayBe?.[index] ?? "denormal" }));
	const looks: I32[] = [];
	if (resultBy !== by) looks.push(anySuspect(resultBy, results, scalar, false));
	else suspects.push(...results);
	if (suspects.length > 0) looks.push(anySuspect(by, suspects, scalar, of.wide === true));
	if (suspects.length === 0 || of.doubtfulFirst === true) looks.push(doubtful());
	f.unlikely(
		i32.or(
			modes,
			looks.reduce((sum, look) => i32.or(sum, look)),
		),
		() =>
			f.block((stands) => {
				const otherwiseUsual = i32.eqz(i32.and(modes, i32.const(~(PE | DAZ | FTZ))));
				f.if(i32.and(otherwiseUsual, i32.eqz(doubtful())), () => {
					const recorded = f.let(mxcsr);
					const has = (mask: number, bits: number): I32 => i32.eq(i32.and(recorded, i32.const(mask)), i32.const(bits));
					/** Nothing, unless MXCSR is so. */
					const unless = (condition: I32, what: I32): I32 => i32.or(condition, i32.eqz(what));
					const denormal = (value: V128): I32 => anyDenormal(by, value, scalar);
					const conditions = operands.map((value) => unless(has(DE | DAZ, DE), denormal(value)));
					if (of.zeroed !== undefined) conditions.push(unless(has(DAZ, 0), denormal(of.zeroed)));
					if (of.underflow !== undefined) conditions.push(unless(has(UE | PE | FTZ, UE | PE), of.underflow()));
					if (of.flushed !== undefined) conditions.push(unless(has(FTZ, 0), of.flushed()));
					const nothingToRecord = i32.or(has(PE, PE), exact());
					f.brIf(
						stands,
						conditions.reduce((sum, condition) => i32.and(sum, condition), i32.ne(nothingToRecord, i32.const(0))),
					);
				});
				of.slow();
			}),
	);
}

/** Writes `fast`, or the service's result: `slow` calls it. */
export function writeChecked(c: Context, destination: Operand, fast: V128, checks: (result: V128) => Check): void {
	const result = c.f.local("v128");
	c.f.set(result, fast);
	const of = checks(result);
	check(c, {
		...of,
		slow: () => {
			of.slow();
			c.f.set(result, exactResult());
		},
	});
	c.writeVector(destination, result);
}
