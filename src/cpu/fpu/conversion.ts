/**
 * Conversions between the x87's extended format and what memory holds: single and double precision, integers, packed decimal.
 * Relies on extended.ts. Widening is exact; narrowing rounds and answers in {@link stored}.
 */
import {
	BIAS,
	classify,
	type Extended,
	type FloatEnvironment,
	Kind,
	MAX_EXPONENT,
	overflowsToInfinity,
	Rounded,
	RoundingMode,
	roundSignificand,
	Status,
	setZero,
	shiftRight,
	TWO_32,
	Unpacked,
	unpack,
	Wide,
} from "./extended.ts";

/** The bits a narrowing conversion gives: `low` alone for 16 and 32 bits; `top` the upper 16 bits of packed decimal. */
export const stored = { low: 0, high: 0, top: 0 };

const u = new Unpacked();
const wide = new Wide();
const rounded = new Rounded();

/** The upper 64 bits of a significand that ends in zeros; not zero. */
function setNormalised(result: Extended, sign: number, exponent: number, high: number, low: number): void {
	let h = high;
	let l = low;
	let e = exponent;
	if (h === 0) {
		h = l;
		l = 0;
		e -= 32;
	}
	const shift = Math.clz32(h);
	if (shift !== 0) {
		h = ((h << shift) | (l >>> (32 - shift))) >>> 0;
		l = (l << shift) >>> 0;
	}
	result.set((sign << 15) | (e - shift), h, l);
}

/** Widens a single; NaNs keep their payload and signal as before. Sets `denormalSource` for a denormal. */
export function fromFloat32(environment: FloatEnvironment, bits: number, result: Extended): void {
	const sign = bits >>> 31;
	const exponent = (bits >>> 23) & 0xff;
	const fraction = bits & 0x7f_ffff;
	if (exponent === 0) {
		if (fraction === 0) {
			setZero(result, sign);
		} else {
			environment.denormalSource = true;
			setNormalised(result, sign, BIAS - 126, (fraction << 8) >>> 0, 0);
		}
		return;
	}
	const e = exponent === 0xff ? MAX_EXPONENT : exponent + BIAS - 127;
	result.set((sign << 15) | e, (0x8000_0000 | (fraction << 8)) >>> 0, 0);
}

/** Widens a double, as {@link fromFloat32} does a single. */
export function fromFloat64(environment: FloatEnvironment, high: number, low: number, result: Extended): void {
	const sign = high >>> 31;
	const exponent = (high >>> 20) & 0x7ff;
	const h = (((high & 0xf_ffff) << 11) | (low >>> 21)) >>> 0;
	const l = (low << 11) >>> 0;
	if (exponent === 0) {
		if (h === 0 && l === 0) {
			setZero(result, sign);
		} else {
			environment.denormalSource = true;
			setNormalised(result, sign, BIAS - 1022, h, l);
		}
		return;
	}
	const e = exponent === 0x7ff ? MAX_EXPONENT : exponent + BIAS - 1023;
	result.set((sign << 15) | e, (0x8000_0000 | h) >>> 0, l);
}

/** Widens a signed integer of 64 bits in halves. */
export function fromInteger64(high: number, low: number, result: Extended): void {
	if (high === 0 && low === 0) {
		setZero(result, 0);
		return;
	}
	const sign = high >>> 31;
	let h = high >>> 0;
	let l = low >>> 0;
	if (sign !== 0) {
		l = -l >>> 0;
		h = (~h + (l === 0 ? 1 : 0)) >>> 0;
	}
	setNormalised(result, sign, BIAS + 63, h, l);
}

/** Takes apart packed decimal: 18 digits and a sign byte. Digits above 9 are taken at their weight (undefined by the manual). */
export function fromDecimal(low: number, high: number, top: number, result: Extended): void {
	let value = 0n;
	for (let shift = 4; shift >= 0; shift -= 4) {
		value = value * 10n + BigInt((top >>> shift) & 15);
	}
	for (let shift = 28; shift >= 0; shift -= 4) {
		value = value * 10n + BigInt((high >>> shift) & 15);
	}
	for (let shift = 28; shift >= 0; shift -= 4) {
		value = value * 10n + BigInt((low >>> shift) & 15);
	}
	const sign = (top >>> 15) & 1;
	if (value === 0n) {
		setZero(result, sign);
	} else {
		setNormalised(result, sign, BIAS + 63, Number(value >> 32n), Number(value & 0xffff_ffffn));
	}
}

/** Lays out sign, exponent and significand (24 or 53 bits, explicit integer bit on top) in {@link stored}. */
function pack(precision: number, sign: number, exponent: number, high: number, low: number): void {
	if (precision === 24) {
		stored.low = ((sign << 31) | (exponent << 23) | ((high >>> 8) & 0x7f_ffff)) >>> 0;
		stored.high = 0;
	} else {
		stored.high = ((sign << 31) | (exponent << 20) | ((high >>> 11) & 0xf_ffff)) >>> 0;
		stored.low = ((high << 21) | (low >>> 11)) >>> 0;
	}
}

/**
 * Narrows to single (`precision` 24) or double (53).
 * @returns whether to store: not after unmasked invalid operation, overflow or underflow (SDM volume 1, 8.5).
 */
export function toFloat(environment: FloatEnvironment, a: Extended, precision: 24 | 53): boolean {
	const bias = precision === 24 ? 127 : 1023;
	const maximum = bias * 2 + 1;
	const sign = a.signExponent >>> 15;
	const kind = classify(a);
	if (kind >= Kind.quietNan) {
		if (kind === Kind.unsupported) {
			pack(precision, 1, maximum, 0xc000_0000, 0);
		} else {
			pack(precision, sign, maximum, (a.high | 0x4000_0000) >>> 0, a.low);
		}
		return kind === Kind.quietNan || !environment.raise(Status.IE);
	}
	if (kind === Kind.zero || kind === Kind.infinity) {
		pack(precision, sign, kind === Kind.zero ? 0 : maximum, 0, 0);
		return true;
	}
	unpack(a, u);
	const { rounding } = environment;
	let exponent = u.exponent - BIAS + bias;
	roundSignificand(rounded, rounding, precision, sign, u.high, u.low, 0);
	if (exponent <= 0) {
		const tiny = exponent < 0 || !rounded.carry;
		if (tiny && (environment.control & Status.UE) === 0) {
			environment.exceptions |= Status.UE;
			return false;
		}
		shiftRight(wide, u.high, u.low, 0, 1 - exponent);
		roundSignificand(rounded, rounding, precision, sign, wide.high, wide.low, wide.extra);
		if (rounded.inexact) {
			environment.exceptions |= tiny ? Status.UE | Status.PE : Status.PE;
		}
		environment.roundedUp = rounded.up;
		pack(precision, sign, rounded.high >= 0x8000_0000 ? 1 : 0, rounded.high, rounded.low);
		return true;
	}
	if (rounded.carry) {
		exponent++;
	}
	if (exponent >= maximum) {
		environment.exceptions |= Status.OE;
		if ((environment.control & Status.OE) === 0) {
			return false;
		}
		environment.exceptions |= Status.PE;
		environment.roundedUp = overflowsToInfinity(rounding, sign);
		if (environment.roundedUp) {
			pack(precision, sign, maximum, 0, 0);
		} else {
			pack(precision, sign, maximum - 1, 0xffff_ffff, 0xffff_ffff);
		}
		return true;
	}
	if (rounded.inexact) {
		environment.exceptions |= Status.PE;
	}
	environment.roundedUp = rounded.up;
	pack(precision, sign, exponent, rounded.high, rounded.low);
	return true;
}

/** Rounds the magnitude to an integer of 64 bits in {@link rounded}. @returns false where it does not fit or is not a number. */
function roundMagnitude(environment: FloatEnvironment, a: Extended, truncate: boolean): boolean {
	const kind = classify(a);
	if (kind >= Kind.infinity) {
		return false;
	}
	if (kind === Kind.zero) {
		rounded.high = rounded.low = 0;
		rounded.inexact = rounded.up = false;
		return true;
	}
	unpack(a, u);
	if (u.exponent > BIAS + 63) {
		return false;
	}
	shiftRight(wide, u.high, u.low, 0, BIAS + 63 - u.exponent);
	const rounding = truncate ? RoundingMode.zero : environment.rounding;
	roundSignificand(rounded, rounding, 64, u.sign, wide.high, wide.low, wide.extra);
	return true;
}

function noteInexact(environment: FloatEnvironment): void {
	if (rounded.inexact) {
		environment.exceptions |= Status.PE;
	}
	environment.roundedUp = rounded.up;
}

/** Rounds to a signed integer of 16, 32 or 64 bits; the masked answer to what does not fit is the most negative one. */
export function toInteger(environment: FloatEnvironment, a: Extended, bits: 16 | 32 | 64, truncate: boolean): boolean {
	const sign = a.signExponent >>> 15;
	if (roundMagnitude(environment, a, truncate)) {
		const { high, low } = rounded;
		const limitHigh = bits === 64 ? 0x8000_0000 : 0;
		const limitLow = bits === 64 ? 0 : bits === 32 ? 0x8000_0000 : 0x8000;
		const below = high < limitHigh || (high === limitHigh && low < limitLow);
		if (below || (sign !== 0 && high === limitHigh && low === limitLow)) {
			noteInexact(environment);
			stored.low = sign === 0 ? low : -low >>> 0;
			stored.high = sign === 0 ? high : (~high + (low === 0 ? 1 : 0)) >>> 0;
			return true;
		}
	}
	setIntegerIndefinite(bits);
	return !environment.raise(Status.IE);
}

export function setIntegerIndefinite(bits: 16 | 32 | 64): void {
	stored.low = bits === 64 ? 0 : bits === 32 ? 0x8000_0000 : 0x8000;
	stored.high = bits === 64 ? 0x8000_0000 : 0;
}

/** Rounds to packed decimal of 18 digits. */
export function toDecimal(environment: FloatEnvironment, a: Extended): boolean {
	const sign = a.signExponent >>> 15;
	if (roundMagnitude(environment, a, false)) {
		let value = BigInt(rounded.high) * BigInt(TWO_32) + BigInt(rounded.low);
		if (value < 10n ** 18n) {
			noteInexact(environment);
			let digits = 0n;
			for (let shift = 0n; shift < 72n; shift += 4n) {
				digits |= (value % 10n) << shift;
				value /= 10n;
			}
			stored.low = Number(digits & 0xffff_ffffn);
			stored.high = Number((digits >> 32n) & 0xffff_ffffn);
			stored.top = Number(digits >> 64n) | (sign << 15);
			return true;
		}
	}
	setDecimalIndefinite();
	return !environment.raise(Status.IE);
}

export function setDecimalIndefinite(): void {
	stored.low = 0;
	stored.high = 0xc000_0000;
	stored.top = 0xffff;
}

/** The real indefinite in single or double precision, as a masked store from an empty register gives it. */
export function setFloatIndefinite(precision: 24 | 53): void {
	pack(precision, 1, precision === 24 ? 255 : 2047, 0xc000_0000, 0);
}
