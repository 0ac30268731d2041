/**
 * Fixed-point numbers in BigInt for the x87's transcendental instructions: conversion, constants, rounding to a register. These
 * instructions are rare; results come within one unit in the last place, mostly correctly rounded. Relies on extended.ts.
 */
import { BIAS, type Extended, type FloatEnvironment, round, type Unpacked } from "./extended.ts";

/** Fraction bits of the fixed-point numbers below: 64 of significand, 64 that cancel near 1, and a reserve. */
export const F = 192n;
export const FRACTION_BITS = 192;
export const ONE = 1n << F;

/** pi to 66 bits, times 2^64. */
export const PI_66 = 0x3243f6a8885a308d3n;
/** ln 2 and pi with F fraction bits (256-bit expansions cut down; both are tested against their series). */
export const LN_2 = 0xb17217f7d1cf79abc9e3b39803f2f6af40f343267298b62d8a0d175b8baafa2bn >> (256n - F);
export const SQRT_2 = 0xb504f333f9de6484n << (F - 63n);
export const PI = 0x3243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89n >> (256n - F);

export function significand(a: Unpacked): bigint {
	return (BigInt(a.high) << 32n) | BigInt(a.low);
}

export function shift(value: bigint, left: number): bigint {
	return left >= 0 ? value << BigInt(left) : value >> BigInt(-left);
}

/** An unpacked value with F fraction bits; the caller has seen that its exponent is within reason. */
export function fixed(a: Unpacked): bigint {
	return shift(significand(a), FRACTION_BITS + a.exponent - BIAS - 63);
}

export function bitLength(value: bigint): number {
	const text = value.toString(16);
	return text.length * 4 - Math.clz32(Number.parseInt(text[0] ?? "0", 16)) + 28;
}

/** Rounds mantissa * 2^power, an inexact value, to a register. The mantissa must be positive. */
export function finish(
	environment: FloatEnvironment,
	sign: number,
	mantissa: bigint,
	power: number,
	result: Extended,
): boolean {
	const length = bitLength(mantissa);
	const top = shift(mantissa, 96 - length);
	round(
		environment,
		64,
		sign,
		power + length - 1 + BIAS,
		Number(top >> 64n),
		Number((top >> 32n) & 0xffff_ffffn),
		(Number(top & 0xffff_ffffn) | 1) >>> 0,
		result,
	);
	return true;
}

/** Rounds a signed fixed-point number times 2^power; it must not be zero. */
export function finishSigned(environment: FloatEnvironment, value: bigint, power: number, result: Extended): boolean {
	return value < 0n
		? finish(environment, 1, -value, power - FRACTION_BITS, result)
		: finish(environment, 0, value, power - FRACTION_BITS, result);
}

export function multiply(a: bigint, b: bigint): bigint {
	return (a * b) >> F;
}
