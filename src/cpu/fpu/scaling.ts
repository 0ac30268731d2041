/**
 * FSCALE, FRNDINT and FXTRACT: what works on the exponent. Relies on extended.ts and arithmetic.ts. Every function returns whether its
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
	Rounded,
	round,
	roundSignificand,
	Status,
	setInfinity,
	setZero,
	shiftRight,
	Unpacked,
	unpack,
	Wide,
} from "./extended.ts";

const ua = new Unpacked();
const ub = new Unpacked();
const wide = new Wide();
const rounded = new Rounded();

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
