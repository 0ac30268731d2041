/**
 * Addition and multiplication of the x87 in extended precision, and what the other arithmetic shares with them.
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
	propagateTwo,
	RoundingMode,
	round,
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

/** Raises the denormal-operand exception where it applies. @returns true where it is unmasked. */
export function denormalStops(environment: FloatEnvironment, aKind: Kind, bKind: Kind): boolean {
	return (
		(aKind === Kind.denormal || bKind === Kind.denormal || environment.denormalSource) && environment.raise(Status.DE)
	);
}

/** Normalises and rounds a 96-bit significand whose top bit need not be set; it must not be zero. */
export function normaliseAndRound(
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
