/**
 * Division, square root and partial remainder of the x87. Relies on extended.ts and arithmetic.ts. Every function returns whether its
 * result may be stored: false after an unmasked invalid, denormal or zero-divide exception (SDM volume 1, 8.5).
 */
import { denormalStops, normaliseAndRound } from "./arithmetic.ts";
import {
	BIAS,
	classify,
	type Extended,
	type FloatEnvironment,
	invalid,
	Kind,
	propagateOne,
	propagateTwo,
	round,
	Status,
	setInfinity,
	setZero,
	TWO_32,
	Unpacked,
	unpack,
	Wide,
} from "./extended.ts";

const ua = new Unpacked();
const ub = new Unpacked();

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
