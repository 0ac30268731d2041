/**
 * Arithmetic of the x87 in extended precision: add, multiply, divide, square root, remainder, scale, round, compare.
 * Relies on extended.ts. Every function returns whether its result may be stored: false after an unmasked invalid, denormal or
 * zero-divide exception, which leave the destination alone (SDM volume 1, 8.5).
 */
import {
	BIAS,
	classify,
	type Extended,
	type FloatEnvironment,
	invalid,
	Kind,
	propagateOne,
	propagateTwo,
	Rounded,
	RoundingMode,
	round,
	roundSignificand,
	Status,
	setInfinity,
	setZero,
	shiftRight,
	TWO_32,
	Unpacked,
	unpack,
	Wide,
} from "./extended.ts";

const ua = new Unpacked();
const ub = new Unpacked();
const wide = new Wide();
const rounded = new Rounded();

/** Raises the denormal-operand exception where it applies. @returns true where it is unmasked. */
function denormalStops(environment: FloatEnvironment, aKind: Kind, bKind: Kind): boolean {
	return (
		(aKind === Kind.denormal || bKind === Kind.denormal || environment.denormalSource) && environment.raise(Status.DE)
	);
}

/** Normalises and rounds a 96-bit significand whose top bit need not be set; it must not be zero. */
function normaliseAndRound(
	environment: FloatEnvironment,
	precision: number,
	sign: number,
	exponent: number,
	high: number,
	low: number,
	extra: number,
	result: Extended,
): void {
	let h = high;
	let l = low;
	let x = extra;
	let e = exponent;
	while (h === 0) {
		h = l;
		l = x;
		x = 0;
		e -= 32;
	}
	const shift = Math.clz32(h);
	if (shift !== 0) {
		h = ((h << shift) | (l >>> (32 - shift))) >>> 0;
		l = ((l << shift) | (x >>> (32 - shift))) >>> 0;
		x = (x << shift) >>> 0;
		e -= shift;
	}
	round(environment, precision, sign, e, h, l, x, result);
}

/** a + b, or a - b with `negate` 1. */
function addSigned(environment: FloatEnvironment, a: Extended, b: Extended, negate: number, result: Extended): boolean {
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		return propagateTwo(environment, a, aKind, b, bKind, result);
	}
	const aSign = a.signExponent >>> 15;
	const bSign = (b.signExponent >>> 15) ^ negate;
	if (aKind === Kind.infinity && bKind === Kind.infinity && aSign !== bSign) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, aKind, bKind)) {
		return false;
	}
	if (aKind === Kind.infinity || bKind === Kind.infinity) {
		setInfinity(result, aKind === Kind.infinity ? aSign : bSign);
		return true;
	}
	const { precision } = environment;
	if (aKind === Kind.zero || bKind === Kind.zero) {
		if (aKind === bKind) {
			setZero(result, aSign === bSign ? aSign : environment.rounding === RoundingMode.down ? 1 : 0);
		} else if (aKind === Kind.zero) {
			unpack(b, ub);
			round(environment, precision, bSign, ub.exponent, ub.high, ub.low, 0, result);
		} else {
			unpack(a, ua);
			round(environment, precision, aSign, ua.exponent, ua.high, ua.low, 0, result);
		}
		return true;
	}
	unpack(a, ua);
	unpack(b, ub);
	let larger = ua;
	let smaller = ub;
	let sign = aSign;
	if (
		ub.exponent > ua.exponent ||
		(ub.exponent === ua.exponent && (ub.high > ua.high || (ub.high === ua.high && ub.low > ua.low)))
	) {
		larger = ub;
		smaller = ua;
		sign = bSign;
	}
	shiftRight(wide, smaller.high, smaller.low, 0, larger.exponent - smaller.exponent);
	if (aSign === bSign) {
		let l = larger.low + wide.low;
		let h = larger.high + wide.high;
		let e = larger.exponent;
		let { extra } = wide;
		if (l >= TWO_32) {
			l -= TWO_32;
			h++;
		}
		if (h >= TWO_32) {
			shiftRight(wide, h - TWO_32, l, extra, 1);
			h = (wide.high | 0x8000_0000) >>> 0;
			l = wide.low;
			extra = wide.extra;
			e++;
		}
		round(environment, precision, sign, e, h, l, extra, result);
		return true;
	}
	let x = -wide.extra;
	let l = larger.low - wide.low;
	let h = larger.high - wide.high;
	if (x < 0) {
		x += TWO_32;
		l--;
	}
	if (l < 0) {
		l += TWO_32;
		h--;
	}
	if (h === 0 && l === 0 && x === 0) {
		setZero(result, environment.rounding === RoundingMode.down ? 1 : 0);
		return true;
	}
	normaliseAndRound(environment, precision, sign, larger.exponent, h, l, x, result);
	return true;
}

export function add(environment: FloatEnvironment, a: Extended, b: Extended, result: Extended): boolean {
	return addSigned(environment, a, b, 0, result);
}

export function subtract(environment: FloatEnvironment, a: Extended, b: Extended, result: Extended): boolean {
	return addSigned(environment, a, b, 1, result);
}

/** Upper half of the product of two u32. */
function multiplyHigh(a: number, b: number): number {
	const aLow = a & 0xffff;
	const aHigh = a >>> 16;
	const bLow = b & 0xffff;
	const bHigh = b >>> 16;
	const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
	const carry = Math.floor(middle / 0x1_0000);
	const middleLow = middle - carry * 0x1_0000 + aLow * bHigh;
	return aHigh * bHigh + carry + Math.floor(middleLow / 0x1_0000);
}

function multiplyLow(a: number, b: number): number {
	return Math.imul(a, b) >>> 0;
}

export function multiply(environment: FloatEnvironment, a: Extended, b: Extended, result: Extended): boolean {
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		return propagateTwo(environment, a, aKind, b, bKind, result);
	}
	const sign = (a.signExponent ^ b.signExponent) >>> 15;
	if ((aKind === Kind.infinity && bKind === Kind.zero) || (aKind === Kind.zero && bKind === Kind.infinity)) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, aKind, bKind)) {
		return false;
	}
	if (aKind === Kind.infinity || bKind === Kind.infinity) {
		setInfinity(result, sign);
		return true;
	}
	if (aKind === Kind.zero || bKind === Kind.zero) {
		setZero(result, sign);
		return true;
	}
	unpack(a, ua);
	unpack(b, ub);
	// Four 32-bit digits of the product, least significant first.
	const cross = multiplyHigh(ua.low, ub.low) + multiplyLow(ua.high, ub.low) + multiplyLow(ua.low, ub.high);
	const crossCarry = Math.floor(cross / TWO_32);
	const digit1 = cross - crossCarry * TWO_32;
	const upper =
		multiplyHigh(ua.high, ub.low) + multiplyHigh(ua.low, ub.high) + multiplyLow(ua.high, ub.high) + crossCarry;
	const upperCarry = Math.floor(upper / TWO_32);
	const digit2 = upper - upperCarry * TWO_32;
	const digit3 = multiplyHigh(ua.high, ub.high) + upperCarry;
	const sticky = multiplyLow(ua.low, ub.low) === 0 ? 0 : 1;
	let exponent = ua.exponent + ub.exponent - BIAS + 1;
	let h = digit3;
	let l = digit2;
	let x = digit1;
	if (h < 0x8000_0000) {
		h = ((h << 1) | (l >>> 31)) >>> 0;
		l = ((l << 1) | (x >>> 31)) >>> 0;
		x = (x << 1) >>> 0;
		exponent--;
	}
	round(environment, environment.precision, sign, exponent, h, l, (x | sticky) >>> 0, result);
	return true;
}

/** Remainder of a running division; {@link divisionStep} shifts it. */
const remainder = new Wide();

/**
 * One digit of `bits` (at most 20) of the quotient remainder / divisor, remainder < divisor, by an estimate in double precision
 * that is off by at most one. Leaves the new remainder, which is again below the divisor.
 */
function divisionStep(divisor: Unpacked, bits: number): number {
	const scale = 1 << bits;
	let digit = Math.floor(((remainder.high * TWO_32 + remainder.low) / (divisor.high * TWO_32 + divisor.low)) * scale);
	let low = remainder.low * scale - digit * divisor.low;
	let high = remainder.high * scale - digit * divisor.high;
	let carry = Math.floor(low / TWO_32);
	low -= carry * TWO_32;
	high += carry;
	if (high < 0) {
		digit--;
		low += divisor.low;
		high += divisor.high;
		carry = low >= TWO_32 ? 1 : 0;
		low -= carry * TWO_32;
		high += carry;
	} else if (high > divisor.high || (high === divisor.high && low >= divisor.low)) {
		digit++;
		low -= divisor.low;
		high -= divisor.high;
		if (low < 0) {
			low += TWO_32;
			high--;
		}
	}
	remainder.high = high;
	remainder.low = low;
	return digit;
}

/** Loads a significand as remainder, less the divisor where it is not smaller. @returns the quotient's integer digit. */
function divisionStart(dividend: Unpacked, divisor: Unpacked): number {
	remainder.high = dividend.high;
	remainder.low = dividend.low;
	if (dividend.high < divisor.high || (dividend.high === divisor.high && dividend.low < divisor.low)) {
		return 0;
	}
	remainder.high -= divisor.high;
	remainder.low -= divisor.low;
	if (remainder.low < 0) {
		remainder.low += TWO_32;
		remainder.high--;
	}
	return 1;
}

export function divide(environment: FloatEnvironment, a: Extended, b: Extended, result: Extended): boolean {
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		return propagateTwo(environment, a, aKind, b, bKind, result);
	}
	const sign = (a.signExponent ^ b.signExponent) >>> 15;
	if ((aKind === Kind.infinity && bKind === Kind.infinity) || (aKind === Kind.zero && bKind === Kind.zero)) {
		return invalid(environment, result);
	}
	if (bKind === Kind.zero && aKind !== Kind.infinity) {
		setInfinity(result, sign);
		return !environment.raise(Status.ZE);
	}
	if (denormalStops(environment, aKind, bKind)) {
		return false;
	}
	if (aKind === Kind.infinity) {
		setInfinity(result, sign);
		return true;
	}
	if (bKind === Kind.infinity || aKind === Kind.zero) {
		setZero(result, sign);
		return true;
	}
	unpack(a, ua);
	unpack(b, ub);
	const integer = divisionStart(ua, ub);
	const d1 = divisionStep(ub, 20);
	const d2 = divisionStep(ub, 20);
	const d3 = divisionStep(ub, 20);
	const d4 = divisionStep(ub, 20);
	const sticky = remainder.high === 0 && remainder.low === 0 ? 0 : 1;
	let exponent = ua.exponent - ub.exponent + BIAS;
	let h: number;
	let l: number;
	let x: number;
	if (integer === 1) {
		h = (0x8000_0000 | (d1 << 11) | (d2 >>> 9)) >>> 0;
		l = ((d2 << 23) | (d3 << 3) | (d4 >>> 17)) >>> 0;
		x = ((d4 << 15) | sticky) >>> 0;
	} else {
		exponent--;
		h = ((d1 << 12) | (d2 >>> 8)) >>> 0;
		l = ((d2 << 24) | (d3 << 4) | (d4 >>> 16)) >>> 0;
		x = ((d4 << 16) | sticky) >>> 0;
	}
	round(environment, environment.precision, sign, exponent, h, l, x, result);
	return true;
}

/** Largest integer whose square is not above a value of at most 192 bits. */
function integerSquareRoot(value: bigint): bigint {
	let root = BigInt(Math.floor(Math.sqrt(Number(value))));
	// The estimate has 52 good bits; one step of Newton's doubles them.
	root = (root + value / root) >> 1n;
	while (root * root > value) {
		root--;
	}
	while ((root + 1n) * (root + 1n) <= value) {
		root++;
	}
	return root;
}

export function squareRoot(environment: FloatEnvironment, a: Extended, result: Extended): boolean {
	const kind = classify(a);
	if (kind >= Kind.quietNan) {
		return propagateOne(environment, a, kind, result);
	}
	if (kind === Kind.zero) {
		result.copy(a);
		return true;
	}
	if (a.signExponent >>> 15 !== 0) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, kind, Kind.zero)) {
		return false;
	}
	if (kind === Kind.infinity) {
		result.copy(a);
		return true;
	}
	unpack(a, ua);
	// 66 bits of root from 132 of square: the exponent of the square must be even.
	const odd = (ua.exponent - BIAS) & 1;
	const square = ((BigInt(ua.high) << 32n) | BigInt(ua.low)) << (odd === 1 ? 68n : 67n);
	const root = integerSquareRoot(square);
	const sticky = root * root === square ? 0 : 1;
	const top = root >> 2n;
	round(
		environment,
		environment.precision,
		0,
		(ua.exponent - BIAS - odd) / 2 + BIAS,
		Number(top >> 32n),
		Number(top & 0xffff_ffffn),
		((Number(root & 3n) << 30) | sticky) >>> 0,
		result,
	);
	return true;
}

/** What {@link partialRemainder} tells besides the remainder. */
export const remainderOutcome = {
	/** Low three bits of the quotient. */
	quotient: 0,
	/** The remainder is not final: C2. */
	partial: false,
	/** There is a quotient: the operands were numbers and no exception prevented it. */
	valid: false,
};

/**
 * One step of FPREM (quotient truncated) or FPREM1 (`nearest`: quotient rounded to nearest even): at most 63 bits of quotient, the
 * rest is for the next step, as C2 says.
 */
export function partialRemainder(
	environment: FloatEnvironment,
	a: Extended,
	b: Extended,
	nearest: boolean,
	result: Extended,
): boolean {
	remainderOutcome.quotient = 0;
	remainderOutcome.partial = false;
	remainderOutcome.valid = false;
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		return propagateTwo(environment, a, aKind, b, bKind, result);
	}
	if (aKind === Kind.infinity || bKind === Kind.zero) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, aKind, bKind)) {
		return false;
	}
	remainderOutcome.valid = true;
	if (aKind === Kind.zero) {
		result.copy(a);
		return true;
	}
	unpack(a, ua);
	let sign = ua.sign;
	unpack(b, ub);
	const difference = ua.exponent - ub.exponent;
	if (bKind === Kind.infinity || difference < (nearest ? -1 : 0)) {
		round(environment, 64, sign, ua.exponent, ua.high, ua.low, 0, result);
		return true;
	}
	let quotient = 0;
	let exponent = ub.exponent;
	if (difference < 0) {
		remainder.high = ua.high;
		remainder.low = ua.low;
		exponent = ua.exponent;
	} else {
		let bits = difference;
		if (difference >= 64) {
			bits = (difference & 31) | 32;
			exponent = ua.exponent - bits;
			remainderOutcome.partial = true;
		}
		quotient = divisionStart(ua, ub);
		while (bits > 0) {
			const step = Math.min(bits, 20);
			quotient = (quotient << step) | divisionStep(ub, step);
			bits -= step;
		}
	}
	if (nearest && !remainderOutcome.partial) {
		roundQuotient(difference < 0, quotient);
		if (roundedQuotient.up) {
			sign ^= 1;
			quotient++;
		}
	}
	if (!remainderOutcome.partial) {
		remainderOutcome.quotient = quotient & 7;
	}
	if (remainder.high === 0 && remainder.low === 0) {
		setZero(result, ua.sign);
		return true;
	}
	normaliseAndRound(environment, 64, sign, exponent, remainder.high, remainder.low, 0, result);
	return true;
}

const roundedQuotient = { up: false };

/**
 * FPREM1's rounding of the quotient: where the remainder is above half the divisor (or is half, and the quotient odd) it becomes
 * divisor - remainder. With `halved` the remainder's unit is half of the divisor's.
 */
function roundQuotient(halved: boolean, quotient: number): void {
	const { high, low } = remainder;
	roundedQuotient.up = false;
	if (halved) {
		// remainder / 2 against divisor / 2
		if (high < ub.high || (high === ub.high && low <= ub.low)) {
			return;
		}
		// 2 * divisor - remainder, which is below the divisor.
		let l = ub.low * 2 - low;
		let h = ub.high * 2 - high;
		const carry = Math.floor(l / TWO_32);
		l -= carry * TWO_32;
		h += carry;
		remainder.high = h;
		remainder.low = l;
		roundedQuotient.up = true;
		return;
	}
	let l = ub.low - low;
	let h = ub.high - high;
	if (l < 0) {
		l += TWO_32;
		h--;
	}
	const above = high > h || (high === h && low > l);
	const equal = high === h && low === l;
	if (above || (equal && (quotient & 1) !== 0)) {
		remainder.high = h;
		remainder.low = l;
		roundedQuotient.up = true;
	}
}

/** FSCALE: a times two to the power of b truncated. */
export function scale(environment: FloatEnvironment, a: Extended, b: Extended, result: Extended): boolean {
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		return propagateTwo(environment, a, aKind, b, bKind, result);
	}
	const aSign = a.signExponent >>> 15;
	const bSign = b.signExponent >>> 15;
	if (bKind === Kind.infinity && (bSign === 0 ? aKind === Kind.zero : aKind === Kind.infinity)) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, aKind, bKind)) {
		return false;
	}
	if (aKind === Kind.infinity || aKind === Kind.zero) {
		result.copy(a);
		return true;
	}
	if (bKind === Kind.infinity) {
		if (bSign === 0) {
			setInfinity(result, aSign);
		} else {
			setZero(result, aSign);
		}
		return true;
	}
	unpack(a, ua);
	let power = 0;
	if (bKind !== Kind.zero) {
		unpack(b, ub);
		const unbiased = ub.exponent - BIAS;
		power = unbiased < 0 ? 0 : unbiased > 16 ? 0x1_ffff : ub.high >>> (31 - unbiased);
	}
	round(environment, 64, aSign, ua.exponent + (bSign === 0 ? power : -power), ua.high, ua.low, 0, result);
	return true;
}

/** FRNDINT: to an integer, by rounding control. */
export function roundToInteger(environment: FloatEnvironment, a: Extended, result: Extended): boolean {
	const kind = classify(a);
	if (kind >= Kind.quietNan) {
		return propagateOne(environment, a, kind, result);
	}
	if (denormalStops(environment, kind, Kind.zero)) {
		return false;
	}
	const exponent = a.signExponent & 0x7fff;
	if (kind === Kind.zero || kind === Kind.infinity || exponent >= BIAS + 63) {
		result.copy(a);
		return true;
	}
	unpack(a, ua);
	const { sign } = ua;
	shiftRight(wide, ua.high, ua.low, 0, BIAS + 63 - ua.exponent);
	roundSignificand(rounded, environment.rounding, 64, sign, wide.high, wide.low, wide.extra);
	if (rounded.inexact) {
		environment.exceptions |= Status.PE;
	}
	const { up } = rounded;
	if (rounded.high === 0 && rounded.low === 0) {
		setZero(result, sign);
	} else {
		normaliseAndRound(environment, 64, sign, BIAS + 63, rounded.high, rounded.low, 0, result);
	}
	environment.roundedUp = up;
	return true;
}

/** FXTRACT: the unbiased exponent as a value, and the significand with exponent 0. */
export function extract(
	environment: FloatEnvironment,
	a: Extended,
	exponent: Extended,
	significand: Extended,
): boolean {
	const kind = classify(a);
	if (kind >= Kind.quietNan) {
		const store = propagateOne(environment, a, kind, significand);
		exponent.copy(significand);
		return store;
	}
	const sign = a.signExponent >>> 15;
	significand.copy(a);
	if (kind === Kind.zero) {
		setInfinity(exponent, 1);
		return !environment.raise(Status.ZE);
	}
	if (kind === Kind.infinity) {
		setInfinity(exponent, 0);
		return true;
	}
	if (denormalStops(environment, kind, Kind.zero)) {
		return false;
	}
	unpack(a, ua);
	significand.set((sign << 15) | BIAS, ua.high, ua.low);
	fromSmallInteger(ua.exponent - BIAS, exponent);
	return true;
}

/** Sets a value to an integer of 32 bits with its sign. */
export function fromSmallInteger(value: number, result: Extended): void {
	if (value === 0) {
		setZero(result, 0);
		return;
	}
	const magnitude = Math.abs(value);
	const shift = Math.clz32(magnitude);
	result.set((value < 0 ? 0x8000 : 0) | (BIAS + 31 - shift), (magnitude << shift) >>> 0, 0);
}

/** Answers of {@link compare}, as C3, C2 and C0 of the status word. */
export const Relation = {
	greater: 0,
	less: Status.C0,
	equal: Status.C3,
	unordered: Status.C3 | Status.C2 | Status.C0,
} as const;
export type Relation = (typeof Relation)[keyof typeof Relation];

/** Compares, raising IE for any NaN, or with `quiet` (FUCOM) only for signalling ones and unsupported values. */
export function compare(environment: FloatEnvironment, a: Extended, b: Extended, quiet: boolean): Relation {
	const aKind = classify(a);
	const bKind = classify(b);
	if (aKind >= Kind.quietNan || bKind >= Kind.quietNan) {
		if (!quiet || aKind > Kind.quietNan || bKind > Kind.quietNan) {
			environment.raise(Status.IE);
		}
		return Relation.unordered;
	}
	denormalStops(environment, aKind, bKind);
	if (aKind === Kind.zero && bKind === Kind.zero) {
		return Relation.equal;
	}
	const aSign = a.signExponent >>> 15;
	if (aSign !== b.signExponent >>> 15) {
		return aSign === 0 ? Relation.greater : Relation.less;
	}
	// A pseudo-denormal has the exponent of the smallest normal number.
	const aExponent = Math.max(a.signExponent & 0x7fff, 1);
	const bExponent = Math.max(b.signExponent & 0x7fff, 1);
	const order = aExponent - bExponent || a.high - b.high || a.low - b.low;
	if (order === 0) {
		return Relation.equal;
	}
	return order > 0 === (aSign === 0) ? Relation.greater : Relation.less;
}
