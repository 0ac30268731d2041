/**
 * The operations of SSE on one lane, exactly as the manual has them: NaNs, masked and unmasked exceptions, DAZ and FTZ, all rounding
 * modes. Bits in, bits and exceptions out; format.ts does the rounding.
 */
import {
	bitLength,
	type Format,
	integerSquareRoot,
	Mxcsr,
	type Rounded,
	round,
	roundShift,
	type Unpacked,
	unpack,
} from "./format.ts";

export type Lane = Rounded;

const result = (bits: bigint, exceptions = 0): Lane => ({ bits, exceptions });
const isNan = ({ kind }: Unpacked): boolean => kind === "quiet" || kind === "signalling";
const isZero = ({ kind }: Unpacked): boolean => kind === "zero";
const isInfinite = ({ kind }: Unpacked): boolean => kind === "infinity";

/** An operand as the operation sees it: with DAZ, a denormal is a zero of its sign. */
export function operand(of: Format, bits: bigint, mxcsr: number): bigint {
	if ((mxcsr & Mxcsr.DAZ) === 0 || unpack(of, bits).kind !== "denormal") return bits;
	return bits & of.signBit;
}

/** The NaN that an operation with a NaN yields: the first operand's if it is one, quieted. */
function propagate(of: Format, aBits: bigint, a: Unpacked, bBits: bigint, b: Unpacked): Lane {
	const signalling = a.kind === "signalling" || b.kind === "signalling";
	return result((isNan(a) ? aBits : bBits) | of.quietBit, signalling ? Mxcsr.IE : 0);
}

const denormal = (a: Unpacked, b: Unpacked): number => (a.kind === "denormal" || b.kind === "denormal" ? Mxcsr.DE : 0);

function finish(
	of: Format,
	before: number,
	negative: boolean,
	m: bigint,
	e: number,
	sticky: boolean,
	mxcsr: number,
): Lane {
	const rounded = round(of, negative, m, e, sticky, mxcsr);
	return result(rounded.bits, rounded.exceptions | before);
}

export function add(of: Format, aRaw: bigint, bRaw: bigint, mxcsr: number, negate = false): Lane {
	const aBits = operand(of, aRaw, mxcsr);
	const bBits = operand(of, bRaw, mxcsr);
	const a = unpack(of, aBits);
	const b = unpack(of, bBits);
	if (isNan(a) || isNan(b)) return propagate(of, aBits, a, bBits, b);
	const bNegative = b.negative !== negate;
	if (isInfinite(a) && isInfinite(b) && a.negative !== bNegative) return result(of.indefinite, Mxcsr.IE);
	const before = denormal(a, b);
	const signOf = (negative: boolean): bigint => (negative ? of.signBit : 0n);
	if (isInfinite(a)) return result(aBits, before);
	if (isInfinite(b)) return result(of.infinity | signOf(bNegative), before);
	const exponent = Math.min(a.exponent, b.exponent);
	const left = a.significand << BigInt(a.exponent - exponent);
	const right = b.significand << BigInt(b.exponent - exponent);
	const sum = (a.negative ? -left : left) + (bNegative ? -right : right);
	if (sum === 0n) {
		const down = ((mxcsr >> Mxcsr.roundingShift) & 3) === 1;
		const negative = a.negative === bNegative ? a.negative : down;
		return result(signOf(negative), before);
	}
	return finish(of, before, sum < 0n, sum < 0n ? -sum : sum, exponent, false, mxcsr);
}

export function multiply(of: Format, aRaw: bigint, bRaw: bigint, mxcsr: number): Lane {
	const aBits = operand(of, aRaw, mxcsr);
	const bBits = operand(of, bRaw, mxcsr);
	const a = unpack(of, aBits);
	const b = unpack(of, bBits);
	if (isNan(a) || isNan(b)) return propagate(of, aBits, a, bBits, b);
	if ((isInfinite(a) && isZero(b)) || (isZero(a) && isInfinite(b))) return result(of.indefinite, Mxcsr.IE);
	const before = denormal(a, b);
	const negative = a.negative !== b.negative;
	const sign = negative ? of.signBit : 0n;
	if (isInfinite(a) || isInfinite(b)) return result(of.infinity | sign, before);
	if (isZero(a) || isZero(b)) return result(sign, before);
	return finish(of, before, negative, a.significand * b.significand, a.exponent + b.exponent, false, mxcsr);
}

export function divide(of: Format, aRaw: bigint, bRaw: bigint, mxcsr: number): Lane {
	const aBits = operand(of, aRaw, mxcsr);
	const bBits = operand(of, bRaw, mxcsr);
	const a = unpack(of, aBits);
	const b = unpack(of, bBits);
	if (isNan(a) || isNan(b)) return propagate(of, aBits, a, bBits, b);
	if ((isInfinite(a) && isInfinite(b)) || (isZero(a) && isZero(b))) return result(of.indefinite, Mxcsr.IE);
	const negative = a.negative !== b.negative;
	const sign = negative ? of.signBit : 0n;
	if (isZero(b) && !isInfinite(a)) return result(of.infinity | sign, Mxcsr.ZE);
	const before = denormal(a, b);
	if (isInfinite(a)) return result(of.infinity | sign, before);
	if (isInfinite(b) || isZero(a)) return result(sign, before);
	const shift = Math.max(0, of.precision + 3 + bitLength(b.significand) - bitLength(a.significand));
	const dividend = a.significand << BigInt(shift);
	const quotient = dividend / b.significand;
	const sticky = quotient * b.significand !== dividend;
	return finish(of, before, negative, quotient, a.exponent - b.exponent - shift, sticky, mxcsr);
}

export function squareRoot(of: Format, raw: bigint, mxcsr: number): Lane {
	const bits = operand(of, raw, mxcsr);
	const a = unpack(of, bits);
	if (isNan(a)) return propagate(of, bits, a, bits, a);
	if (isZero(a)) return result(bits);
	if (a.negative) return result(of.indefinite, Mxcsr.IE);
	if (isInfinite(a)) return result(bits);
	let shift = Math.max(0, 2 * (of.precision + 3) - bitLength(a.significand));
	if (((a.exponent - shift) & 1) !== 0) shift++;
	const square = a.significand << BigInt(shift);
	const root = integerSquareRoot(square);
	return finish(of, denormal(a, a), false, root, (a.exponent - shift) / 2, root * root !== square, mxcsr);
}

function compareValues(a: Unpacked, b: Unpacked): number {
	const value = (of: Unpacked, exponent: number): bigint => {
		const magnitude = of.significand << BigInt(of.exponent - exponent);
		return of.negative ? -magnitude : magnitude;
	};
	if (isInfinite(a) || isInfinite(b)) {
		const rank = (of: Unpacked): number => (isInfinite(of) ? (of.negative ? -1 : 1) : 0);
		return rank(a) - rank(b);
	}
	const exponent = Math.min(a.exponent, b.exponent);
	const left = value(a, exponent);
	const right = value(b, exponent);
	return left < right ? -1 : left > right ? 1 : 0;
}

/** MINPS and MAXPS: the second operand where either is a NaN or both are zeros. */
export function extremum(of: Format, aRaw: bigint, bRaw: bigint, mxcsr: number, maximum: boolean): Lane {
	const aBits = operand(of, aRaw, mxcsr);
	const bBits = operand(of, bRaw, mxcsr);
	const a = unpack(of, aBits);
	const b = unpack(of, bBits);
	if (isNan(a) || isNan(b)) return result(bBits, Mxcsr.IE);
	const order = compareValues(a, b);
	return result((maximum ? order > 0 : order < 0) ? aBits : bBits, denormal(a, b));
}

/** What a comparison raises. */
export function comparisonExceptions(of: Format, aBits: bigint, bBits: bigint, quietRaises: boolean): number {
	const a = unpack(of, aBits);
	const b = unpack(of, bBits);
	if (isNan(a) || isNan(b)) {
		return quietRaises || a.kind === "signalling" || b.kind === "signalling" ? Mxcsr.IE : 0;
	}
	return denormal(a, b);
}

/** Rounds to an integral value (ROUNDPS). @param control the immediate: mode, use of MXCSR.RC, suppression of PE. */
export function roundToIntegral(of: Format, raw: bigint, control: number, mxcsr: number): Lane {
	const bits = operand(of, raw, mxcsr);
	const a = unpack(of, bits);
	if (isNan(a)) return propagate(of, bits, a, bits, a);
	if (isInfinite(a) || isZero(a)) return result(bits);
	if (a.exponent >= 0) return result(bits);
	const mode = (control & 4) !== 0 ? (mxcsr >> Mxcsr.roundingShift) & 3 : control & 3;
	const { value, inexact } = roundShift(a.significand, -a.exponent, false, mode, a.negative);
	const exceptions = inexact && (control & 8) === 0 ? Mxcsr.PE : 0;
	if (value === 0n) return result(bits & of.signBit, exceptions);
	// An integer below 2^precision, or the next power of two: exact.
	return result(round(of, a.negative, value, 0, false, mxcsr).bits, exceptions);
}

/** @param value a signed integer. */
export function fromInteger(to: Format, value: bigint, mxcsr: number): Lane {
	if (value === 0n) return result(0n);
	return round(to, value < 0n, value < 0n ? -value : value, 0, false, mxcsr);
}

/** To a signed integer of `width` bits; the integer indefinite (only the top bit set) where it does not fit. */
export function toInteger(of: Format, raw: bigint, width: number, truncate: boolean, mxcsr: number): Lane {
	const a = unpack(of, operand(of, raw, mxcsr));
	const indefinite = 1n << BigInt(width - 1);
	if (isNan(a) || isInfinite(a)) return result(indefinite, Mxcsr.IE);
	if (isZero(a)) return result(0n);
	if (a.exponent > width) return result(indefinite, Mxcsr.IE);
	const mode = truncate ? 3 : (mxcsr >> Mxcsr.roundingShift) & 3;
	const { value, inexact } = roundShift(a.significand, -a.exponent, false, mode, a.negative);
	if (value > indefinite || (value === indefinite && !a.negative)) return result(indefinite, Mxcsr.IE);
	return result(BigInt.asUintN(width, a.negative ? -value : value), inexact ? Mxcsr.PE : 0);
}

/** From one format to the other. */
export function convert(from: Format, to: Format, raw: bigint, mxcsr: number): Lane {
	const bits = operand(from, raw, mxcsr);
	const a = unpack(from, bits);
	const sign = a.negative ? to.signBit : 0n;
	if (isNan(a)) {
		const shift = BigInt(to.precision - from.precision);
		const fraction = shift >= 0n ? a.significand << shift : a.significand >> -shift;
		return result(sign | to.infinity | fraction | to.quietBit, a.kind === "signalling" ? Mxcsr.IE : 0);
	}
	if (isInfinite(a)) return result(sign | to.infinity);
	if (isZero(a)) return result(sign);
	return finish(to, denormal(a, a), a.negative, a.significand, a.exponent, false, mxcsr);
}
