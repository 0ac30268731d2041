/**
 * When a fast floating-point result stands. WebAssembly rounds to nearest and reports nothing, so the exact service (cpu/simd/) computes
 * again where that is not the whole story:
 *
 *   - a result is not finite, which is where invalid, divide-by-zero and overflow show;
 *   - MXCSR has another rounding mode or an unmasked exception;
 *   - DAZ or FTZ is set and a denormal takes part;
 *   - MXCSR.PE is clear, unless the operation was exact and without denormals: it then had no exception to record.
 *
 * PE is sticky and set early by nearly every program, so the usual cost is one compare of MXCSR and one of the result.
 *
 * Deviation, by name: once MXCSR.PE is set, MXCSR.DE and MXCSR.UE are no longer recorded by operations that stay on the fast path.
 */
import * as layout from "../layout.ts";
import { f32, f32x4, f64, f64x2, type I32, i8x16, i32, i32x4, type V128, v128 } from "../wasm/expression.ts";
import type { FunctionBuilder } from "../wasm/function.ts";
import type { Context } from "./context.ts";
import { exactResult, lanes } from "./simd.ts";
import type { Operand } from "./table.ts";

/** Lanes of single or double precision. */
export type FloatLanes = typeof f32x4 | typeof f64x2;

const PE = 0x20;
const DAZ = 0x40;
const FTZ = 0x8000;
/** All of MXCSR that is looked at: modes, masks, PE ... */
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
/** Lanes that are not denormal. */
const ordinary = (by: FloatLanes, value: V128): V128 =>
	v128.or(by.ge(by.abs(value), splat(by, 2 ** -126, 2 ** -1022)), by.eq(value, ZERO));
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

export interface Check {
	/** Result or operands say that the service must compute. */
	readonly doubtful: I32;
	/** What must not be denormal: operands and result, all lanes of them. */
	readonly numbers: readonly V128[];
	readonly by: FloatLanes;
	/** Whether nothing was rounded. */
	readonly exact: () => I32;
	/** Calls the service and takes its results. */
	readonly slow: () => void;
}

/** Runs `slow` unless the fast result stands. */
export function check(c: Context, { doubtful, numbers, by, exact, slow }: Check): void {
	const { f } = c;
	const modes = f.let(i32.and(c.state32(layout.MXCSR), i32.const(LOOKED_AT)));
	const suspect = f.let(doubtful);
	f.if(i32.or(i32.ne(modes, i32.const(USUAL | PE)), suspect), () =>
		f.block((stands) => {
			const otherwiseUsual = i32.eq(i32.and(modes, i32.const(~(PE | DAZ | FTZ))), i32.const(USUAL));
			f.if(i32.and(otherwiseUsual, i32.eqz(suspect)), () => {
				const silent = i32.or(i32.and(modes, i32.const(PE)), exact());
				const normal = numbers
					.map((value) => ordinary(by, value))
					.reduce((sum, mask) => v128.and(sum, mask), lanes(1, [0xff]));
				f.brIf(stands, i32.and(i32.ne(silent, i32.const(0)), all(normal)));
			});
			slow();
		}),
	);
}

/** Writes `fast`, or the service's result: `slow` calls it. */
export function writeChecked(c: Context, destination: Operand, fast: V128, checks: (result: V128) => Check): void {
	const result = c.f.local("v128");
	c.f.set(result, fast);
	const { slow, ...rest } = checks(result);
	check(c, {
		...rest,
		slow: () => {
			slow();
			c.f.set(result, exactResult());
		},
	});
	c.writeVector(destination, result);
}

/** Nothing can be doubted. */
export const NEVER = i32.const(0);
export const ALWAYS = i32.const(1);
