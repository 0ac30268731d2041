/**
 * Conversions between integers and floating point, and between its two formats. As in sse-float.ts, the fast path rounds to nearest;
 * what does not fit, and so yields the integer indefinite with IE, goes to the exact service, as does every other MXCSR.
 */
import { SimdOperation } from "../simd/operations.ts";
import {
	type Expression,
	f32,
	f32x4,
	f64,
	f64x2,
	type I32,
	i32,
	i32x4,
	i64,
	i64x2,
	type V128,
	v128,
} from "../wasm/expression.ts";
import type { Context } from "./context.ts";
import {
	checkX87,
	enterMmx,
	exactCall,
	exactResult,
	low64,
	sse,
	unusualMxcsr,
	vector64,
	WRITES,
	ZERO,
} from "./simd.ts";
import { notFinite32, notFinite32x4, notFinite64, notFinite64x2, writeChecked } from "./sse-float.ts";
import type { Operand } from "./table.ts";

/** Bounds of the integers that fit: -2^(bits-1) up to, but without, 2^(bits-1). */
const bound = (bits: number): number => 2 ** (bits - 1);

/** Lanes rounded to integral values, and whether all of them fit i32. */
const fits32x4 = (value: V128): I32 =>
	i32x4.all_true(
		v128.and(f32x4.ge(value, f32x4.splat(f32.const(-bound(32)))), f32x4.lt(value, f32x4.splat(f32.const(bound(32))))),
	);
const fits64x2 = (value: V128): I32 =>
	i64x2.all_true(
		v128.and(f64x2.ge(value, f64x2.splat(f64.const(-bound(32)))), f64x2.lt(value, f64x2.splat(f64.const(bound(32))))),
	);

// ---- scalar: general registers ----

/** CVTSI2SS, CVTSI2SD: an i32 fits a double exactly, everything else may be rounded. */
sse("cvtsi2ss", ["f3 0f 2a Vx,Ey"], {}, (c, destination, source) => {
	const integer = c.readSigned(source);
	const left = c.readVector(destination);
	const { operandSize } = c;
	writeChecked(
		c,
		destination,
		f32x4.replace(left, 0, f32.convert_i64_s(integer)),
		() => i32.const(0),
		() => exactCall(c, SimdOperation.fromInteger, 1, 32, left, vector64(integer), i32.const(operandSize)),
	);
});
sse("cvtsi2sd", ["f2 0f 2a Vx,Ey"], {}, (c, destination, source) => {
	const integer = c.readSigned(source);
	const left = c.readVector(destination);
	const fast = f64x2.replace(left, 0, f64.convert_i64_s(integer));
	if (c.operandSize !== 64) {
		c.writeVector(destination, fast);
		return;
	}
	writeChecked(
		c,
		destination,
		fast,
		() => i32.const(0),
		() => exactCall(c, SimdOperation.fromInteger, 1, 64, left, vector64(integer), i32.const(64)),
	);
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
		const wide: Expression<"f64"> = bits === 32 ? f64.promote(f32x4.extract(right, 0)) : f64x2.extract(right, 0);
		const value = f.let(truncate ? f64.trunc(wide) : f64.nearest(wide));
		const limit = bound(c.operandSize);
		const fits = i32.and(f64.ge(value, f64.const(-limit)), f64.lt(value, f64.const(limit)));
		const result = f.local("i64");
		f.set(result, i64.trunc_sat_f64_s(value));
		f.if(i32.or(unusualMxcsr(c), i32.eqz(fits)), () => {
			const control = i32.const(c.operandSize | (truncate ? 1 : 0));
			exactCall(c, SimdOperation.toInteger, 1, bits, ZERO, right, control);
			f.set(result, low64(exactResult()));
		});
		c.write(destination, result);
	});
}

// ---- scalar: between the formats ----

sse("cvtss2sd", ["f3 0f 5a Vx,Wd"], {}, (c, destination, source) => {
	const right = c.readVector(source);
	const left = c.readVector(destination);
	const value = c.f.let(f64.promote(f32x4.extract(right, 0)));
	writeChecked(
		c,
		destination,
		f64x2.replace(left, 0, value),
		() => notFinite64(value),
		() => exactCall(c, SimdOperation.widen, 1, 32, left, right),
	);
});
sse("cvtsd2ss", ["f2 0f 5a Vx,Wq"], {}, (c, destination, source) => {
	const right = c.readVector(source);
	const left = c.readVector(destination);
	const value = c.f.let(f32.demote(f64x2.extract(right, 0)));
	writeChecked(
		c,
		destination,
		f32x4.replace(left, 0, value),
		() => notFinite32(value),
		() => exactCall(c, SimdOperation.narrow, 1, 64, left, right),
	);
});

// ---- packed ----

sse("cvtps2pd", ["np 0f 5a Vx,Wq"], WRITES, (c, destination, source) => {
	const right = c.readVector(source);
	writeChecked(c, destination, f64x2.promote_low_f32x4(right), notFinite64x2, () =>
		exactCall(c, SimdOperation.widen, 2, 32, ZERO, right),
	);
});
sse("cvtpd2ps", ["66 0f 5a Vx,Wx"], WRITES, (c, destination, source) => {
	const right = c.readVector(source, true);
	writeChecked(c, destination, f32x4.demote_f64x2_zero(right), notFinite32x4, () =>
		exactCall(c, SimdOperation.narrow, 2, 64, ZERO, right),
	);
});

sse("cvtdq2ps", ["np 0f 5b Vx,Wx"], WRITES, (c, destination, source) => {
	const right = c.readVector(source, true);
	writeChecked(
		c,
		destination,
		f32x4.convert_i32x4_s(right),
		() => i32.const(0),
		() => exactCall(c, SimdOperation.fromInteger, 4, 32, ZERO, right, i32.const(32)),
	);
});
sse("cvtdq2pd", ["f3 0f e6 Vx,Wq"], WRITES, (c, destination, source) =>
	c.writeVector(destination, f64x2.convert_low_i32x4_s(c.readVector(source))),
);

/** Packed floating point to i32 lanes; `put` takes the result. */
function toIntegers(
	c: Context,
	right: V128,
	bits: 32 | 64,
	laneCount: number,
	truncate: boolean,
	put: (value: V128) => void,
): void {
	const { f } = c;
	const by = bits === 32 ? f32x4 : f64x2;
	const integral = f.let(truncate ? by.trunc(right) : by.nearest(right));
	const result = f.local("v128");
	f.set(result, bits === 32 ? i32x4.trunc_sat_f32x4_s(integral) : i32x4.trunc_sat_f64x2_s_zero(integral));
	const fits = bits === 32 ? fits32x4(integral) : fits64x2(integral);
	f.if(i32.or(unusualMxcsr(c), i32.eqz(fits)), () => {
		exactCall(c, SimdOperation.toInteger, laneCount, bits, ZERO, right, i32.const(32 | (truncate ? 1 : 0)));
		f.set(result, exactResult());
	});
	put(result);
}

const TO_INTEGERS = [
	{ name: "cvtps2dq", encoding: "66 0f 5b Vx,Wx", bits: 32, truncate: false },
	{ name: "cvttps2dq", encoding: "f3 0f 5b Vx,Wx", bits: 32, truncate: true },
	{ name: "cvtpd2dq", encoding: "f2 0f e6 Vx,Wx", bits: 64, truncate: false },
	{ name: "cvttpd2dq", encoding: "66 0f e6 Vx,Wx", bits: 64, truncate: true },
] as const;
for (const { name, encoding, bits, truncate } of TO_INTEGERS) {
	sse(name, [encoding], WRITES, (c, destination, source) => {
		const right = c.readVector(source, true);
		toIntegers(c, right, bits, 128 / bits, truncate, (value) => c.writeVector(destination, value));
	});
}

// ---- MMX registers ----

/** A memory source is read without touching the x87's registers. */
function enterIfRegister(c: Context, operand: Operand): void {
	if (!operand.memory) enterMmx(c);
}

sse("cvtpi2ps", ["np 0f 2a Vx,Qq"], {}, (c, destination, source) => {
	checkX87(c);
	const right = c.readVector(source);
	const left = c.readVector(destination);
	const low = low64(f32x4.convert_i32x4_s(right));
	writeChecked(
		c,
		destination,
		i64x2.replace(left, 0, low),
		() => i32.const(0),
		() => exactCall(c, SimdOperation.fromInteger, 2, 32, left, right, i32.const(32)),
	);
	enterMmx(c);
});
sse("cvtpi2pd", ["66 0f 2a Vx,Qq"], WRITES, (c, destination, source) => {
	if (!source.memory) checkX87(c);
	c.writeVector(destination, f64x2.convert_low_i32x4_s(c.readVector(source)));
	enterIfRegister(c, source);
});

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
		toIntegers(c, right, bits, 2, truncate, (value) => c.writeVector(destination, value));
		enterMmx(c);
	});
}
