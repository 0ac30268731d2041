/**
 * Conversions between integers and floating point, and between its two formats, on the fast path; sse-check.ts says when its results stand.
 * A number that does not fit its integer yields the integer indefinite with IE: that is the service's.
 */

import {
	f32,
	f32x4,
	f64,
	f64x2,
	type I32,
	i8x16,
	i32,
	i32x4,
	i64,
	i64x2,
	type V128,
	v128,
} from "../../wasm/expression.ts";
import { SimdOperation } from "../simd/operations.ts";
import type { Context } from "./context.ts";
import { checkX87, elements, enterMmx, exactCall, exactResult, low64, sse, vector64, WRITES, ZERO } from "./simd.ts";
import { check, equal, type FloatLanes, finite, writeChecked } from "./sse-check.ts";
import type { Operand } from "./table.ts";

/** Integers of so many bits are from -2^(bits-1) up to, but without, 2^(bits-1). */
const bound = (bits: number): number => 2 ** (bits - 1);
const splatBound = (by: FloatLanes, value: number): V128 =>
	by === f32x4 ? f32x4.splat(f32.const(value)) : f64x2.splat(f64.const(value));
/** Whether all lanes, integral already, fit i32. */
const fitAll = (by: FloatLanes, value: V128): I32 =>
	i32x4.all_true(v128.and(by.ge(value, splatBound(by, -bound(32))), by.lt(value, splatBound(by, bound(32)))));

/** Two lanes with two ones after them. */
const ONES_32 = f32x4.splat(f32.const(1));
const LOWER_HALVES = elements(8, [0, 2]);
const NO = i32.const(0);
const YES = i32.const(1);

// ---- scalar: general registers ----

// The largest integers are rounded up to 2^63, which converts back to themselves: they are told by the bound.
sse("cvtsi2ss", ["f3 0f 2a Vx,Ey"], {}, (c, destination, source) => {
	const integer = c.readSigned(source);
	const left = c.readVector(destination);
	const { operandSize } = c;
	const value = c.f.let(f32.convert_i64_s(integer));
	writeChecked(c, destination, f32x4.replace(left, 0, value), () => ({
		by: f32x4,
		operands: [],
		doubtful: () => NO,
		exact: () => i32.and(i64.eq(i64.trunc_sat_f32_s(value), integer), f32.lt(value, f32.const(bound(64)))),
		slow: () => exactCall(c, SimdOperation.fromInteger, 1, 32, left, vector64(integer), i32.const(operandSize)),
	}));
});
sse("cvtsi2sd", ["f2 0f 2a Vx,Ey"], {}, (c, destination, source) => {
	const integer = c.readSigned(source);
	const left = c.readVector(destination);
	const value = c.f.let(f64.convert_i64_s(integer));
	const fast = f64x2.replace(left, 0, value);
	// An i32 fits a double exactly.
	if (c.operandSize !== 64) {
		c.writeVector(destination, fast);
		return;
	}
	writeChecked(c, destination, fast, () => ({
		by: f64x2,
		operands: [],
		doubtful: () => NO,
		exact: () => i32.and(i64.eq(i64.trunc_sat_f64_s(value), integer), f64.lt(value, f64.const(bound(64)))),
		slow: () => exactCall(c, SimdOperation.fromInteger, 1, 64, left, vector64(integer), i32.const(64)),
	}));
});

const TO_INTEGER = [
	{ name: "cvttss2si", encoding: "f3 0f 2c Gy,Wd", bits: 32, truncate: true },
	{ name: "cvttsd2si", encoding: "f2 0f 2c Gy,Wq", bits: 64, truncate: true },
	{ name: "cvtss2si", encoding: "f3 0f 2d Gy,Wd", bits: 32, truncate: false },
	{ name: "cvtsd2si", encoding: "f2 0f 2d Gy,Wq", bits: 64, truncate: false },
] as const;
for (const { name, encoding, bits, truncate } of TO_INTEGER) {
	sse(name, [encoding], WRITES, (c, destination, source) => {
		const { f } = c;
		const right = c.readVector(source);
		const wide = f.let(bits === 32 ? f64.promote(f32x4.extract(right, 0)) : f64x2.extract(right, 0));
		const value = f.let(truncate ? f64.trunc(wide) : f64.nearest(wide));
		const limit = bound(c.operandSize);
		const fits = i32.and(f64.ge(value, f64.const(-limit)), f64.lt(value, f64.const(limit)));
		const result = f.local("i64");
		f.set(result, i64.trunc_sat_f64_s(value));
		check(c, {
			by: f64x2,
			operands: [],
			doubtful: () => i32.eqz(fits),
			exact: () => f64.eq(value, wide),
			slow: () => {
				const control = i32.const(c.operandSize | (truncate ? 1 : 0));
				exactCall(c, SimdOperation.toInteger, 1, bits, ZERO, right, control);
				f.set(result, low64(exactResult()));
			},
		});
		c.write(destination, result);
	});
}

// ---- scalar: between the formats ----

sse("cvtss2sd", ["f3 0f 5a Vx,Wd"], {}, (c, destination, source) => {
	const right = c.readVector(source);
	const left = c.readVector(destination);
	const value = c.f.let(f64.promote(f32x4.extract(right, 0)));
	writeChecked(c, destination, f64x2.replace(left, 0, value), () => ({
		by: f32x4,
		operands: [right],
		results: [{ value: right, of: "notFinite" }],
		scalar: true,
		doubtful: () => i32.eqz(f64.lt(f64.abs(value), f64.const(Infinity))),
		exact: () => YES,
		slow: () => exactCall(c, SimdOperation.widen, 1, 32, left, right),
	}));
});
sse("cvtsd2ss", ["f2 0f 5a Vx,Wq"], {}, (c, destination, source) => {
	const right = c.readVector(source);
	const left = c.readVector(destination);
	const value = c.f.let(f32.demote(f64x2.extract(right, 0)));
	writeChecked(c, destination, f32x4.replace(left, 0, value), (result) => ({
		by: f64x2,
		operands: [right],
		results: [{ value: result, of: "notOrdinary" }],
		resultBy: f32x4,
		scalar: true,
		doubtful: () => i32.eqz(f32.lt(f32.abs(value), f32.const(Infinity))),
		underflow: () =>
			i32.and(f32.lt(f32.abs(value), f32.const(2 ** -126)), f64.ne(f64x2.extract(right, 0), f64.const(0))),
		exact: () => f64.eq(f64.promote(value), f64x2.extract(right, 0)),
		slow: () => exactCall(c, SimdOperation.narrow, 1, 64, left, right),
	}));
});

// ---- packed ----

sse("cvtps2pd", ["np 0f 5a Vx,Wq"], WRITES, (c, destination, source) => {
	const right = c.readVector(source);
	writeChecked(c, destination, f64x2.promote_low_f32x4(right), (result) => ({
		by: f32x4,
		operands: [i8x16.shuffle(right, ONES_32, LOWER_HALVES)],
		doubtfulFirst: true,
		doubtful: () => i32.eqz(finite(f64x2, result)),
		exact: () => YES,
		slow: () => exactCall(c, SimdOperation.widen, 2, 32, ZERO, right),
	}));
});
sse("cvtpd2ps", ["66 0f 5a Vx,Wx"], WRITES, (c, destination, source) => {
	const right = c.readVector(source, true);
	writeChecked(c, destination, f32x4.demote_f64x2_zero(right), (result) => ({
		by: f64x2,
		operands: [right],
		results: [{ value: i8x16.shuffle(result, ONES_32, LOWER_HALVES), of: "notOrdinary" }],
		resultBy: f32x4,
		doubtful: () => i32.eqz(finite(f32x4, result)),
		// Both lanes of both formats at once: a result that is smaller than the smallest normal number, of a number that is not 0.
		underflow: () => {
			const wide = f64x2.abs(f64x2.promote_low_f32x4(result));
			const small = f64x2.lt(wide, f64x2.splat(f64.const(2 ** -126)));
			return v128.any_true(v128.andnot(small, f64x2.eq(right, ZERO)));
		},
		exact: () => equal(f64x2, f64x2.promote_low_f32x4(result), right),
		slow: () => exactCall(c, SimdOperation.narrow, 2, 64, ZERO, right),
	}));
});

/** i32 lanes to single precision, `count` of them; the others of `right` are zero. */
function fromIntegers(c: Context, destination: Operand, left: V128, right: V128, count: number): void {
	const value = c.f.let(f32x4.convert_i32x4_s(right));
	writeChecked(c, destination, count === 4 ? value : i64x2.replace(left, 0, low64(value)), () => ({
		by: f32x4,
		operands: [],
		doubtful: () => NO,
		exact: () =>
			i32x4.all_true(
				v128.and(i32x4.eq(i32x4.trunc_sat_f32x4_s(value), right), f32x4.lt(value, f32x4.splat(f32.const(bound(32))))),
			),
		slow: () => exactCall(c, SimdOperation.fromInteger, count, 32, left, right, i32.const(32)),
	}));
}
sse("cvtdq2ps", ["np 0f 5b Vx,Wx"], WRITES, (c, destination, source) =>
	fromIntegers(c, destination, ZERO, c.readVector(source, true), 4),
);
sse("cvtdq2pd", ["f3 0f e6 Vx,Wq"], WRITES, (c, destination, source) =>
	c.writeVector(destination, f64x2.convert_low_i32x4_s(c.readVector(source))),
);

/** Packed floating point to i32 lanes. */
function toIntegers(
	c: Context,
	destination: Operand,
	right: V128,
	bits: 32 | 64,
	laneCount: number,
	truncate: boolean,
): void {
	const { f } = c;
	const by = bits === 32 ? f32x4 : f64x2;
	const integral = f.let(truncate ? by.trunc(right) : by.nearest(right));
	const fast = bits === 32 ? i32x4.trunc_sat_f32x4_s(integral) : i32x4.trunc_sat_f64x2_s_zero(integral);
	const control = i32.const(32 | (truncate ? 1 : 0));
	writeChecked(c, destination, fast, () => ({
		by,
		operands: [],
		doubtful: () => i32.eqz(fitAll(by, integral)),
		exact: () => equal(by, integral, right),
		slow: () => exactCall(c, SimdOperation.toInteger, laneCount, bits, ZERO, right, control),
	}));
}

const TO_INTEGERS = [
	{ name: "cvtps2dq", encoding: "66 0f 5b Vx,Wx", bits: 32, truncate: false },
	{ name: "cvttps2dq", encoding: "f3 0f 5b Vx,Wx", bits: 32, truncate: true },
	{ name: "cvtpd2dq", encoding: "f2 0f e6 Vx,Wx", bits: 64, truncate: false },
	{ name: "cvttpd2dq", encoding: "66 0f e6 Vx,Wx", bits: 64, truncate: true },
] as const;
for (const { name, encoding, bits, truncate } of TO_INTEGERS) {
	sse(name, [encoding], WRITES, (c, destination, source) =>
		toIntegers(c, destination, c.readVector(source, true), bits, 128 / bits, truncate),
	);
}

// ---- MMX registers: the x87 has changed over already when #XM is raised ----

/** A memory source is read without touching the x87's registers, as AMD's processors do. */
function fromMmx(c: Context, source: Operand): V128 {
	if (!source.memory) checkX87(c);
	const value = c.readVector(source);
	if (!source.memory) enterMmx(c);
	return value;
}
sse("cvtpi2ps", ["np 0f 2a Vx,Qq"], {}, (c, destination, source) => {
	const right = fromMmx(c, source);
	fromIntegers(c, destination, c.readVector(destination), right, 2);
});
sse("cvtpi2pd", ["66 0f 2a Vx,Qq"], WRITES, (c, destination, source) =>
	c.writeVector(destination, f64x2.convert_low_i32x4_s(fromMmx(c, source))),
);

const TO_MMX = [
	{ name: "cvttps2pi", encoding: "np 0f 2c Pq,Wq", bits: 32, truncate: true },
	{ name: "cvttpd2pi", encoding: "66 0f 2c Pq,Wx", bits: 64, truncate: true },
	{ name: "cvtps2pi", encoding: "np 0f 2d Pq,Wq", bits: 32, truncate: false },
	{ name: "cvtpd2pi", encoding: "66 0f 2d Pq,Wx", bits: 64, truncate: false },
] as const;
for (const { name, encoding, bits, truncate } of TO_MMX) {
	sse(name, [encoding], WRITES, (c, destination, source) => {
		checkX87(c);
		const whole = c.readVector(source, bits === 64);
		// Only two lanes count: the register's others must not decide.
		const right = bits === 32 ? c.f.let(vector64(low64(whole))) : whole;
		enterMmx(c);
		toIntegers(c, destination, right, bits, 2, truncate);
	});
}
