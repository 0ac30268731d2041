/**
 * Floating-point arithmetic of SSE to SSE4.1. The fast path computes with WebAssembly's operators, which round to nearest as the usual MXCSR
 * says; a result that is not finite, or another MXCSR, goes to the exact service (cpu/simd/service.ts says which flags only it
 * records). RCPxS and RSQRTxS, whose precision is the processor's own, are the quotient cut to 12 bits.
 */
import { SimdOperation } from "../simd/operations.ts";
import {
	type Expression,
	f32,
	f32x4,
	f64,
	f64x2,
	type I32,
	i8x16,
	i32,
	i32x4,
	i64x2,
	type V128,
	v128,
} from "../wasm/expression.ts";
import type { Context } from "./context.ts";
import { elements, exactCall, exactResult, immediate, lanes, sse, unusualMxcsr, WRITES, ZERO } from "./simd.ts";
import type { Operand } from "./table.ts";

const INFINITY_32 = f32.const(Number.POSITIVE_INFINITY);
const INFINITY_64 = f64.const(Number.POSITIVE_INFINITY);

/** Whether a lane is NaN or infinite. */
export const notFinite32x4 = (value: V128): I32 =>
	i32.eqz(i32x4.all_true(f32x4.lt(f32x4.abs(value), f32x4.splat(INFINITY_32))));
export const notFinite64x2 = (value: V128): I32 =>
	i32.eqz(i64x2.all_true(f64x2.lt(f64x2.abs(value), f64x2.splat(INFINITY_64))));
export const notFinite32 = (value: Expression<"f32">): I32 => i32.eqz(f32.lt(f32.abs(value), INFINITY_32));
export const notFinite64 = (value: Expression<"f64">): I32 => i32.eqz(f64.lt(f64.abs(value), INFINITY_64));

/** Whether a lane of either is NaN. */
const unordered32x4 = (left: V128, right: V128): I32 =>
	i32.eqz(i32x4.all_true(v128.and(f32x4.eq(left, left), f32x4.eq(right, right))));
const unordered64x2 = (left: V128, right: V128): I32 =>
	i32.eqz(i64x2.all_true(v128.and(f64x2.eq(left, left), f64x2.eq(right, right))));
const unordered32 = (left: Expression<"f32">, right: Expression<"f32">): I32 =>
	i32.eqz(i32.and(f32.eq(left, left), f32.eq(right, right)));
const unordered64 = (left: Expression<"f64">, right: Expression<"f64">): I32 =>
	i32.eqz(i32.and(f64.eq(left, left), f64.eq(right, right)));

/** Writes `fast`, or what the exact service computes where MXCSR is unusual or the fast result is `doubtful`. */
export function writeChecked(
	c: Context,
	destination: Operand,
	fast: V128,
	doubtful: (result: V128) => I32,
	exact: () => void,
): void {
	const result = c.f.local("v128");
	c.f.set(result, fast);
	c.f.if(i32.or(unusualMxcsr(c), doubtful(result)), () => {
		exact();
		c.f.set(result, exactResult());
	});
	c.writeVector(destination, result);
}

type Packed = (left: V128, right: V128) => V128;
type Scalar<T extends "f32" | "f64"> = (left: Expression<T>, right: Expression<T>) => Expression<T>;

interface Arithmetic {
	readonly name: string;
	readonly opcode: string;
	readonly operation: SimdOperation;
	readonly packed32: Packed;
	readonly packed64: Packed;
	readonly scalar32: Scalar<"f32">;
	readonly scalar64: Scalar<"f64">;
	/** A square root reads only its source. */
	readonly unary?: true;
}

const ARITHMETIC: readonly Arithmetic[] = [
	{
		name: "sqrt",
		opcode: "51",
		operation: SimdOperation.squareRoot,
		packed32: (_, value) => f32x4.sqrt(value),
		packed64: (_, value) => f64x2.sqrt(value),
		scalar32: (_, value) => f32.sqrt(value),
		scalar64: (_, value) => f64.sqrt(value),
		unary: true,
	},
	{
		name: "add",
		opcode: "58",
		operation: SimdOperation.add,
		packed32: f32x4.add,
		packed64: f64x2.add,
		scalar32: f32.add,
		scalar64: f64.add,
	},
	{
		name: "mul",
		opcode: "59",
		operation: SimdOperation.multiply,
		packed32: f32x4.mul,
		packed64: f64x2.mul,
		scalar32: f32.mul,
		scalar64: f64.mul,
	},
	{
		name: "sub",
		opcode: "5c",
		operation: SimdOperation.subtract,
		packed32: f32x4.sub,
		packed64: f64x2.sub,
		scalar32: f32.sub,
		scalar64: f64.sub,
	},
	{
		name: "div",
		opcode: "5e",
		operation: SimdOperation.divide,
		packed32: f32x4.div,
		packed64: f64x2.div,
		scalar32: f32.div,
		scalar64: f64.div,
	},
];

for (const { name, opcode, operation, packed32, packed64, scalar32, scalar64, unary } of ARITHMETIC) {
	const options = unary === true ? WRITES : {};
	sse(`${name}ps`, [`np 0f ${opcode} Vx,Wx`], options, (c, destination, source) => {
		const right = c.readVector(source, true);
		const left = unary === true ? right : c.readVector(destination);
		writeChecked(c, destination, packed32(left, right), notFinite32x4, () =>
			exactCall(c, operation, 4, 32, left, right),
		);
	});
	sse(`${name}pd`, [`66 0f ${opcode} Vx,Wx`], options, (c, destination, source) => {
		const right = c.readVector(source, true);
		const left = unary === true ? right : c.readVector(destination);
		writeChecked(c, destination, packed64(left, right), notFinite64x2, () =>
			exactCall(c, operation, 2, 64, left, right),
		);
	});
	sse(`${name}ss`, [`f3 0f ${opcode} Vx,Wd`], {}, (c, destination, source) => {
		const right = c.readVector(source);
		const left = c.readVector(destination);
		const value = c.f.let(scalar32(f32x4.extract(left, 0), f32x4.extract(right, 0)));
		writeChecked(
			c,
			destination,
			f32x4.replace(left, 0, value),
			() => notFinite32(value),
			() => exactCall(c, operation, 1, 32, left, right),
		);
	});
	sse(`${name}sd`, [`f2 0f ${opcode} Vx,Wq`], {}, (c, destination, source) => {
		const right = c.readVector(source);
		const left = c.readVector(destination);
		const value = c.f.let(scalar64(f64x2.extract(left, 0), f64x2.extract(right, 0)));
		writeChecked(
			c,
			destination,
			f64x2.replace(left, 0, value),
			() => notFinite64(value),
			() => exactCall(c, operation, 1, 64, left, right),
		);
	});
}

// MIN and MAX: the second operand where either is NaN or both are zeros, which is pmin and pmax with their operands exchanged.
const EXTREMA = [
	{ name: "min", opcode: "5d", operation: SimdOperation.minimum, packed32: f32x4.pmin, packed64: f64x2.pmin },
	{ name: "max", opcode: "5f", operation: SimdOperation.maximum, packed32: f32x4.pmax, packed64: f64x2.pmax },
] as const;
for (const { name, opcode, operation, packed32, packed64 } of EXTREMA) {
	sse(`${name}ps`, [`np 0f ${opcode} Vx,Wx`], {}, (c, destination, source) => {
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		writeChecked(
			c,
			destination,
			packed32(right, left),
			() => unordered32x4(left, right),
			() => exactCall(c, operation, 4, 32, left, right),
		);
	});
	sse(`${name}pd`, [`66 0f ${opcode} Vx,Wx`], {}, (c, destination, source) => {
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		writeChecked(
			c,
			destination,
			packed64(right, left),
			() => unordered64x2(left, right),
			() => exactCall(c, operation, 2, 64, left, right),
		);
	});
	sse(`${name}ss`, [`f3 0f ${opcode} Vx,Wd`], {}, (c, destination, source) => {
		const right = c.readVector(source);
		const left = c.readVector(destination);
		const a = c.f.let(f32x4.extract(left, 0));
		const b = c.f.let(f32x4.extract(right, 0));
		writeChecked(
			c,
			destination,
			i8x16.shuffle(packed32(right, left), left, elements(4, [0, 5, 6, 7])),
			() => unordered32(a, b),
			() => exactCall(c, operation, 1, 32, left, right),
		);
	});
	sse(`${name}sd`, [`f2 0f ${opcode} Vx,Wq`], {}, (c, destination, source) => {
		const right = c.readVector(source);
		const left = c.readVector(destination);
		const a = c.f.let(f64x2.extract(left, 0));
		const b = c.f.let(f64x2.extract(right, 0));
		writeChecked(
			c,
			destination,
			i8x16.shuffle(packed64(right, left), left, elements(8, [0, 3])),
			() => unordered64(a, b),
			() => exactCall(c, operation, 1, 64, left, right),
		);
	});
}

// ---- SSE3: across lanes ----

const EVEN_SIGNS_32 = lanes(4, [0x8000_0000, 0]);
const EVEN_SIGNS_64 = lanes(4, [0, 0x8000_0000, 0, 0]);
/** Subtracting is adding the negated: the sign of a NaN differs, but a NaN is not written from the fast path. */
sse("addsubps", ["f2 0f d0 Vx,Wx"], {}, (c, destination, source) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const sum = f32x4.add(left, v128.xor(right, EVEN_SIGNS_32));
	writeChecked(c, destination, sum, notFinite32x4, () => exactCall(c, SimdOperation.addSubtract, 4, 32, left, right));
});
sse("addsubpd", ["66 0f d0 Vx,Wx"], {}, (c, destination, source) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const sum = f64x2.add(left, v128.xor(right, EVEN_SIGNS_64));
	writeChecked(c, destination, sum, notFinite64x2, () => exactCall(c, SimdOperation.addSubtract, 2, 64, left, right));
});

const HORIZONTAL = [
	{ name: "hadd", opcode: "7c", operation: SimdOperation.add, packed32: f32x4.add, packed64: f64x2.add },
	{ name: "hsub", opcode: "7d", operation: SimdOperation.subtract, packed32: f32x4.sub, packed64: f64x2.sub },
] as const;
for (const { name, opcode, operation, packed32, packed64 } of HORIZONTAL) {
	sse(`${name}ps`, [`f2 0f ${opcode} Vx,Wx`], {}, (c, destination, source) => {
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		const even = c.f.let(i8x16.shuffle(left, right, elements(4, [0, 2, 4, 6])));
		const odd = c.f.let(i8x16.shuffle(left, right, elements(4, [1, 3, 5, 7])));
		writeChecked(c, destination, packed32(even, odd), notFinite32x4, () => exactCall(c, operation, 4, 32, even, odd));
	});
	sse(`${name}pd`, [`66 0f ${opcode} Vx,Wx`], {}, (c, destination, source) => {
		const right = c.readVector(source, true);
		const left = c.readVector(destination);
		const even = c.f.let(i8x16.shuffle(left, right, elements(8, [0, 2])));
		const odd = c.f.let(i8x16.shuffle(left, right, elements(8, [1, 3])));
		writeChecked(c, destination, packed64(even, odd), notFinite64x2, () => exactCall(c, operation, 2, 64, even, odd));
	});
}

// ---- SSE4.1: dot products ----

/** Lanes whose bit (from `first` up) of the immediate is set. */
function chosen(bits: I32, first: number, count: 2 | 4): V128 {
	const each = lanes(
		4,
		count === 4 ? [1 << first, 2 << first, 4 << first, 8 << first] : [1 << first, 1 << first, 2 << first, 2 << first],
	);
	return i32x4.eq(v128.and(i32x4.splat(bits), each), each);
}

sse("dpps", ["66 0f 3a 40 Vx,Wx,Ib"], {}, (c, destination, source, choice) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const bits = immediate(c, choice);
	const products = c.f.let(v128.and(f32x4.mul(left, right), chosen(bits, 4, 4)));
	const pairs = c.f.let(f32x4.add(products, i8x16.shuffle(products, products, elements(4, [1, 0, 3, 2]))));
	const sum = c.f.let(f32x4.add(pairs, i8x16.shuffle(pairs, pairs, elements(4, [2, 3, 0, 1]))));
	writeChecked(
		c,
		destination,
		v128.and(sum, chosen(bits, 0, 4)),
		() => notFinite32x4(sum),
		() => exactCall(c, SimdOperation.dotProduct, 4, 32, left, right, bits),
	);
});
sse("dppd", ["66 0f 3a 41 Vx,Wx,Ib"], {}, (c, destination, source, choice) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const bits = immediate(c, choice);
	const products = c.f.let(v128.and(f64x2.mul(left, right), chosen(bits, 4, 2)));
	const sum = c.f.let(f64x2.add(products, i8x16.shuffle(products, products, elements(8, [1, 0]))));
	writeChecked(
		c,
		destination,
		v128.and(sum, chosen(bits, 0, 2)),
		() => notFinite64x2(sum),
		() => exactCall(c, SimdOperation.dotProduct, 2, 64, left, right, bits),
	);
});

// ---- SSE4.1: rounding to integral values ----

/** Rounded by the immediate's mode; bit 2 would mean MXCSR's, which the fast path knows to be nearest. */
function rounded(
	c: Context,
	result: { set(value: V128): void },
	mode: I32,
	by: { nearest(v: V128): V128; floor(v: V128): V128; ceil(v: V128): V128; trunc(v: V128): V128 },
	value: V128,
): void {
	const modes = [by.nearest, by.floor, by.ceil, by.trunc];
	if (mode.constant !== undefined) {
		result.set((modes[mode.constant] ?? by.nearest)(value));
		return;
	}
	c.f.switch(
		mode,
		modes.map((operation) => () => result.set(operation(value))),
		() => result.set(by.nearest(value)),
	);
}

const ROUNDS = [
	{ name: "roundps", encoding: "66 0f 3a 08 Vx,Wx,Ib", bits: 32, scalar: false },
	{ name: "roundpd", encoding: "66 0f 3a 09 Vx,Wx,Ib", bits: 64, scalar: false },
	{ name: "roundss", encoding: "66 0f 3a 0a Vx,Wd,Ib", bits: 32, scalar: true },
	{ name: "roundsd", encoding: "66 0f 3a 0b Vx,Wq,Ib", bits: 64, scalar: true },
] as const;
for (const { name, encoding, bits, scalar } of ROUNDS) {
	sse(name, [encoding], scalar ? {} : WRITES, (c, destination, source, control) => {
		const right = c.readVector(source, !scalar);
		const left = scalar ? c.readVector(destination) : right;
		const wanted = immediate(c, control);
		const value = c.f.local("v128");
		const set = (rounding: V128): void => c.f.set(value, rounding);
		rounded(c, { set }, i32.and(wanted, i32.const(7)), bits === 32 ? f32x4 : f64x2, right);
		const keep = bits === 32 ? elements(4, [0, 5, 6, 7]) : elements(8, [0, 3]);
		// The other lanes of a scalar operand may hold anything: only its own decides.
		const checked = scalar ? i8x16.shuffle(value, ZERO, keep) : value;
		writeChecked(
			c,
			destination,
			scalar ? i8x16.shuffle(value, left, keep) : value,
			() => (bits === 32 ? notFinite32x4(checked) : notFinite64x2(checked)),
			() => exactCall(c, SimdOperation.round, scalar ? 1 : 128 / bits, bits, left, right, wanted),
		);
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
	const result = c.f.let(flushed(v128.and(c.f.let(approximate(value)), TWELVE_BITS)));
	return c.f.let(v128.bitselect(result, v128.or(right, QUIET), f32x4.eq(right, right)));
}
const reciprocal = (value: V128): V128 => f32x4.div(ONE, value);
function reciprocalRoot(value: V128): V128 {
	const negative = f32x4.lt(value, ZERO);
	return v128.bitselect(INDEFINITE, f32x4.div(ONE, f32x4.sqrt(value)), negative);
}

for (const [name, opcode, approximate] of [
	["rsqrt", "52", reciprocalRoot],
	["rcp", "53", reciprocal],
] as const) {
	sse(`${name}ps`, [`np 0f ${opcode} Vx,Wx`], WRITES, (c, destination, source) => {
		c.writeVector(destination, approximation(c, c.readVector(source, true), approximate));
	});
	sse(`${name}ss`, [`f3 0f ${opcode} Vx,Wd`], {}, (c, destination, source) => {
		const value = approximation(c, c.readVector(source), approximate);
		c.writeVector(destination, i8x16.shuffle(value, c.readVector(destination), elements(4, [0, 5, 6, 7])));
	});
}
