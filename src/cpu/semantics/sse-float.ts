/**
 * Floating-point arithmetic of SSE to SSE4.1 on the fast path; sse-check.ts says when its results stand. RCPxS and RSQRTxS, whose precision is
 * the processor's own, are the quotient cut to 12 bits.
 */

import { f32, f32x4, f64, f64x2, type I32, i8x16, i32, i32x4, type V128, v128 } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { SimdOperation } from "../simd/operations.ts";
import type { Context } from "./context.ts";
import { elements, exactCall, immediate, lanes, sse, WRITES, ZERO } from "./simd.ts";
import {
	anyTiny,
	anyUnderflow,
	type Check,
	equal,
	exactProduct,
	exactQuotient,
	exactRoot,
	exactSum,
	type FloatLanes,
	finite,
	onlyFirst,
	ordered,
	writeChecked,
} from "./sse-check.ts";
import type { Operand } from "./table.ts";

const KEEP_32 = elements(4, [0, 5, 6, 7]);
const KEEP_64 = elements(8, [0, 3]);

/** The first lane of `value`, the others of `rest`. */
const replaceFirst = (by: FloatLanes, value: V128, rest: V128): V128 =>
	i8x16.shuffle(value, rest, by === f32x4 ? KEEP_32 : KEEP_64);

interface Arithmetic {
	readonly name: string;
	readonly opcode: string;
	readonly operation: SimdOperation;
	readonly compute: (by: FloatLanes, left: V128, right: V128) => V128;
	/** The scalar forms' operation: one lane is cheaper than a vector, above all for DIV and SQRT. */
	readonly single: (left: Float<"f32">, right: Float<"f32">) => Float<"f32">;
	readonly double: (left: Float<"f64">, right: Float<"f64">) => Float<"f64">;
	readonly exact: (f: FunctionBuilder, by: FloatLanes, left: V128, right: V128) => I32;
	/** Tiny results: a sum or difference is exact then, a product or quotient may be rounded, a square root has none. */
	readonly tiny?: "exact" | "rounded";
	/** A square root reads only its source. */
	readonly unary?: true;
}
type Float<T extends "f32" | "f64"> = Parameters<T extends "f32" ? typeof f32.neg : typeof f64.neg>[0];

const difference = (f: FunctionBuilder, by: FloatLanes, left: V128, right: V128): I32 =>
	exactSum(f, by, left, f.let(by.neg(right)));

const ARITHMETIC: readonly Arithmetic[] = [
	{
		name: "sqrt",
		opcode: "51",
		operation: SimdOperation.squareRoot,
		compute: (by, _, value) => by.sqrt(value),
		single: (_, value) => f32.sqrt(value),
		double: (_, value) => f64.sqrt(value),
		exact: (f, by, _, value) => exactRoot(f, by, value),
		unary: true,
	},
	{
		name: "add",
		opcode: "58",
		operation: SimdOperation.add,
		compute: (by, left, right) => by.add(left, right),
		single: f32.add,
		double: f64.add,
		exact: exactSum,
		tiny: "exact",
	},
	{
		name: "mul",
		opcode: "59",
		operation: SimdOperation.multiply,
		compute: (by, left, right) => by.mul(left, right),
		single: f32.mul,
		double: f64.mul,
		exact: exactProduct,
		tiny: "rounded",
	},
	{
		name: "sub",
		opcode: "5c",
		operation: SimdOperation.subtract,
		compute: (by, left, right) => by.sub(left, right),
		single: f32.sub,
		double: f64.sub,
		exact: difference,
		tiny: "exact",
	},
	{
		name: "div",
		opcode: "5e",
		operation: SimdOperation.divide,
		compute: (by, left, right) => by.div(left, right),
		single: f32.div,
		double: f64.div,
		exact: exactQuotient,
		tiny: "rounded",
	},
];

/** The four formats of an operation: suffix, prefix, operand code, lanes, bits, whether only the first lane. */
const FORMATS = [
	{ suffix: "ps", prefix: "np", code: "Wx", by: f32x4, bits: 32, scalar: false },
	{ suffix: "pd", prefix: "66", code: "Wx", by: f64x2, bits: 64, scalar: false },
	{ suffix: "ss", prefix: "f3", code: "Wd", by: f32x4, bits: 32, scalar: true },
	{ suffix: "sd", prefix: "f2", code: "Wq", by: f64x2, bits: 64, scalar: true },
] as const;

for (const { name, opcode, operation, compute, single, double, exact, tiny, unary } of ARITHMETIC) {
	for (const { suffix, prefix, code, by, bits, scalar } of FORMATS) {
		const options = unary === true && !scalar ? WRITES : {};
		sse(`${name}${suffix}`, [`${prefix} 0f ${opcode} Vx,${code}`], options, (c, destination, source) => {
			const { f } = c;
			const right = c.readVector(source, !scalar);
			const left = unary === true && !scalar ? right : c.readVector(destination);
			const operands = unary === true ? [right] : [left, right];
			const first = (vector: V128): V128 => (scalar ? onlyFirst(by, vector) : vector);
			const checks = (result: V128): Check => ({
				by,
				operands,
				results: [{ value: result, of: "notFinite" }],
				wide: tiny === "rounded",
				// A large divisor makes a quotient tiny.
				...(operation === SimdOperation.divide ? { operandsMayBe: ["denormal", "notOrdinary"] } : {}),
				scalar,
				doubtful: () => i32.eqz(finite(by, first(result))),
				...(tiny === "rounded" ? { underflow: () => anyUnderflow(by, result, operands, scalar) } : {}),
				...(tiny === "exact" ? { flushed: () => anyTiny(by, result, scalar) } : {}),
				exact: () => exact(f, by, f.let(first(left)), f.let(first(right))),
				slow: () => exactCall(c, operation, scalar ? 1 : 128 / bits, bits, left, right),
			});
			if (!scalar) {
				writeChecked(c, destination, compute(by, left, right), checks);
				return;
			}
			const value =
				bits === 32
					? f.let(single(f32x4.extract(left, 0), f32x4.extract(right, 0)))
					: f.let(double(f64x2.extract(left, 0), f64x2.extract(right, 0)));
			const fast = value.type === "f32" ? f32x4.replace(left, 0, value) : f64x2.replace(left, 0, value);
			writeChecked(c, destination, fast, checks);
		});
	}
}

// MIN and MAX: the second operand where either is NaN or both are zeros, which is pmin and pmax with their operands exchanged.
const EXTREMA = [
	{ name: "min", opcode: "5d", operation: SimdOperation.minimum },
	{ name: "max", opcode: "5f", operation: SimdOperation.maximum },
] as const;
for (const { name, opcode, operation } of EXTREMA) {
	for (const { suffix, prefix, code, by, bits, scalar } of FORMATS) {
		sse(`${name}${suffix}`, [`${prefix} 0f ${opcode} Vx,${code}`], {}, (c, destination, source) => {
			const right = c.readVector(source, !scalar);
			const left = c.readVector(destination);
			const extremum = name === "min" ? by.pmin(right, left) : by.pmax(right, left);
			const first = (vector: V128): V128 => (scalar ? onlyFirst(by, vector) : vector);
			writeChecked(c, destination, scalar ? replaceFirst(by, extremum, left) : extremum, () => ({
				by,
				operands: [left, right],
				results: [left, right].map((value) => ({ value, of: "notFinite" })),
				scalar,
				doubtful: () => i32.eqz(ordered(by, first(left), first(right))),
				exact: () => i32.const(1),
				slow: () => exactCall(c, operation, scalar ? 1 : 128 / bits, bits, left, right),
			}));
		});
	}
}

// ---- SSE3: across lanes ----

/** The operation on two arranged vectors; `exactly` says whether nothing was rounded. */
function writePacked(
	c: Context,
	destination: Operand,
	by: FloatLanes,
	operation: SimdOperation,
	left: V128,
	right: V128,
	fast: V128,
	exact: () => I32,
): void {
	const bits = by === f32x4 ? 32 : 64;
	writeChecked(c, destination, fast, (result) => ({
		by,
		operands: [left, right],
		results: [{ value: result, of: "notFinite" }],
		doubtful: () => i32.eqz(finite(by, result)),
		flushed: () => anyTiny(by, result, false),
		exact,
		slow: () => exactCall(c, operation, 128 / bits, bits, left, right),
	}));
}

/** Subtracting is adding the negated: the sign of a NaN differs, but a NaN is not written from the fast path. */
for (const { name, encoding, by, signs } of [
	{ name: "addsubps", encoding: "f2 0f d0 Vx,Wx", by: f32x4, signs: lanes(4, [0x8000_0000, 0]) },
	{ name: "addsubpd", encoding: "66 0f d0 Vx,Wx", by: f64x2, signs: lanes(4, [0, 0x8000_0000, 0, 0]) },
]) {
	sse(name, [encoding], {}, (c, destination, source) => {
		const { f } = c;
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		const signed = f.let(v128.xor(right, signs));
		writePacked(c, destination, by, SimdOperation.addSubtract, left, right, by.add(left, signed), () =>
			exactSum(f, by, left, signed),
		);
	});
}

for (const { name, encoding, by, subtracts } of [
	{ name: "haddps", encoding: "f2 0f 7c Vx,Wx", by: f32x4, subtracts: false },
	{ name: "haddpd", encoding: "66 0f 7c Vx,Wx", by: f64x2, subtracts: false },
	{ name: "hsubps", encoding: "f2 0f 7d Vx,Wx", by: f32x4, subtracts: true },
	{ name: "hsubpd", encoding: "66 0f 7d Vx,Wx", by: f64x2, subtracts: true },
]) {
	const size = by === f32x4 ? 4 : 8;
	const evens = elements(size, size === 4 ? [0, 2, 4, 6] : [0, 2]);
	const odds = elements(size, size === 4 ? [1, 3, 5, 7] : [1, 3]);
	sse(name, [encoding], {}, (c, destination, source) => {
		const { f } = c;
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		const even = f.let(i8x16.shuffle(left, right, evens));
		const odd = f.let(i8x16.shuffle(left, right, odds));
		if (subtracts) {
			writePacked(c, destination, by, SimdOperation.subtract, even, odd, by.sub(even, odd), () =>
				difference(f, by, even, odd),
			);
		} else {
			writePacked(c, destination, by, SimdOperation.add, even, odd, by.add(even, odd), () =>
				exactSum(f, by, even, odd),
			);
		}
	});
}

// ---- SSE4.1: dot products ----

/** Lanes whose bit (from `first` up) of the immediate is set. */
function chosen(by: FloatLanes, bits: I32, first: number): V128 {
	const each = by === f32x4 ? [1, 2, 4, 8] : [1, 1, 2, 2];
	const masks = lanes(
		4,
		each.map((bit) => bit << first),
	);
	return i32x4.eq(v128.and(i32x4.splat(bits), masks), masks);
}

for (const { name, encoding, by, folds } of [
	{
		name: "dpps",
		encoding: "66 0f 3a 40 Vx,Wx,Ib",
		by: f32x4,
		folds: [elements(4, [1, 0, 3, 2]), elements(4, [2, 3, 0, 1])],
	},
	{ name: "dppd", encoding: "66 0f 3a 41 Vx,Wx,Ib", by: f64x2, folds: [elements(8, [1, 0])] },
]) {
	const bits = by === f32x4 ? 32 : 64;
	sse(name, [encoding], {}, (c, destination, source, choice) => {
		const { f } = c;
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		const wanted = immediate(c, choice);
		const operation = c.vendor.dotProductByLanes ? SimdOperation.dotProductByLanes : SimdOperation.dotProduct;
		const product = f.let(by.mul(left, right));
		let sum = f.let(v128.and(product, chosen(by, wanted, 4)));
		// What is added may be denormal as well.
		const operands = [left, right, product];
		for (const fold of folds) {
			sum = f.let(by.add(sum, i8x16.shuffle(sum, sum, fold)));
			operands.push(sum);
		}
		writeChecked(c, destination, v128.and(sum, chosen(by, wanted, 0)), () => ({
			by,
			operands,
			results: [
				{ value: product, of: "notOrdinary" },
				{ value: sum, of: "notFinite" },
			],
			doubtful: () => i32.eqz(i32.and(finite(by, product), finite(by, sum))),
			underflow: () => anyUnderflow(by, product, [left, right], false),
			flushed: () => i32.const(1),
			// Several roundings: whether all were exact is left to the service.
			exact: () => i32.const(0),
			slow: () => exactCall(c, operation, 128 / bits, bits, left, right, wanted),
		}));
	});
}

// ---- SSE4.1: rounding to integral values ----

/** Sets `result` by the immediate's mode; bit 2 would mean MXCSR's, which the fast path knows to be nearest. */
function roundBy(c: Context, by: FloatLanes, mode: I32, value: V128): V128 {
	const { f } = c;
	const result = f.local("v128");
	const modes = [by.nearest, by.floor, by.ceil, by.trunc].map((round) => () => f.set(result, round(value)));
	const nearest = modes[0]!;
	if (mode.constant !== undefined) (modes[mode.constant] ?? nearest)();
	else f.switch(mode, modes, nearest);
	return result;
}

const ROUND_OPCODES: Readonly<Record<string, string>> = { ps: "08", pd: "09", ss: "0a", sd: "0b" };
for (const { suffix, code, by, bits, scalar } of FORMATS) {
	const encoding = `66 0f 3a ${ROUND_OPCODES[suffix]} Vx,${code},Ib`;
	sse(`round${suffix}`, [encoding], scalar ? {} : WRITES, (c, destination, source, control) => {
		const right = c.readVector(source, !scalar);
		const left = scalar ? c.readVector(destination) : right;
		const wanted = immediate(c, control);
		const whole = roundBy(c, by, i32.and(wanted, i32.const(7)), right);
		const result = scalar ? c.f.let(onlyFirst(by, whole)) : whole;
		const value = scalar ? c.f.let(onlyFirst(by, right)) : right;
		writeChecked(c, destination, scalar ? replaceFirst(by, whole, left) : whole, () => ({
			by,
			operands: [],
			doubtful: () => i32.eqz(finite(by, result)),
			zeroed: value,
			// Bit 3 suppresses PE.
			exact: () => i32.or(i32.and(wanted, i32.const(8)), equal(by, result, value)),
			slow: () => exactCall(c, SimdOperation.round, scalar ? 1 : 128 / bits, bits, left, right, wanted),
		}));
	});
}

// ---- approximations: no exceptions, MXCSR does not matter ----

const SIGN = lanes(4, [0x8000_0000]);
const ONE = f32x4.splat(f32.const(1));
const SMALLEST_NORMAL = f32x4.splat(f32.const(2 ** -126));
const TWELVE_BITS = lanes(4, [0xffff_f000]);
const QUIET = lanes(4, [0x0040_0000]);
const INDEFINITE = lanes(4, [0xffc0_0000]);

/** Denormals become zeros of their sign. */
const flushed = (value: V128): V128 =>
	v128.bitselect(v128.and(value, SIGN), value, f32x4.lt(f32x4.abs(value), SMALLEST_NORMAL));

/** `approximate` for numbers, the quieted operand for NaNs. */
function approximation(c: Context, right: V128, approximate: (value: V128) => V128): V128 {
	const value = c.f.let(flushed(right));
	const result = flushed(c.f.let(v128.and(approximate(value), TWELVE_BITS)));
	return c.f.let(v128.bitselect(result, v128.or(right, QUIET), f32x4.eq(right, right)));
}
const reciprocal = (value: V128): V128 => f32x4.div(ONE, value);
function reciprocalRoot(value: V128): V128 {
	return v128.bitselect(INDEFINITE, f32x4.div(ONE, f32x4.sqrt(value)), f32x4.lt(value, ZERO));
}

for (const { name, opcode, approximate } of [
	{ name: "rsqrt", opcode: "52", approximate: reciprocalRoot },
	{ name: "rcp", opcode: "53", approximate: reciprocal },
]) {
	sse(`${name}ps`, [`np 0f ${opcode} Vx,Wx`], WRITES, (c, destination, source) => {
		c.writeVector(destination, approximation(c, c.readVector(source, true), approximate));
	});
	sse(`${name}ss`, [`f3 0f ${opcode} Vx,Wd`], {}, (c, destination, source) => {
		const value = approximation(c, c.readVector(source), approximate);
		c.writeVector(destination, replaceFirst(f32x4, value, c.readVector(destination)));
	});
}
