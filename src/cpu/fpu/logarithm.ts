/** F2XM1, FYL2X and FYL2XP1, by series in fixed point. Relies on fixed-point.ts. */
import { denormalStops } from "./arithmetic.ts";
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
	Unpacked,
	unpack,
} from "./extended.ts";
import {
	bitLength,
	F,
	FRACTION_BITS,
	finish,
	finishSigned,
	fixed,
	LN_2,
	multiply,
	ONE,
	SQRT_2,
	shift,
	significand,
} from "./fixed-point.ts";

const u = new Unpacked();
const v = new Unpacked();

/** F2XM1: 2^a - 1. Beyond -1..1, where the manual leaves it undefined, a itself. */
export function powerOfTwoMinusOne(environment: FloatEnvironment, a: Extended, result: Extended): boolean {
	const kind = classify(a);
	if (kind >= Kind.quietNan) {
		return propagateOne(environment, a, kind, result);
	}
	const sign = a.signExponent >>> 15;
	result.copy(a);
	if (kind === Kind.zero) {
		return true;
	}
	if (kind === Kind.infinity) {
		if (sign === 1) {
			result.set(0x8000 | BIAS, 0x8000_0000, 0);
		}
		return true;
	}
	if (denormalStops(environment, kind, Kind.zero)) {
		return false;
	}
	unpack(a, u);
	const exponent = u.exponent - BIAS;
	if (exponent >= 0) {
		if (sign === 1 && exponent === 0 && u.high === 0x8000_0000 && u.low === 0) {
			result.set(0x8000 | (BIAS - 1), 0x8000_0000, 0);
		}
		return true;
	}
	if (exponent < -68) {
		return finish(environment, sign, significand(u) * LN_2, exponent - 63 - FRACTION_BITS, result);
	}
	const x = multiply(sign === 1 ? -fixed(u) : fixed(u), LN_2);
	let term = x;
	let sum = x;
	for (let n = 2n; term !== 0n && term !== -1n; n++) {
		term = multiply(term, x) / n;
		sum += term;
	}
	return finishSigned(environment, sum, 0, result);
}

/** 2 artanh(numerator / denominator) for a quotient well below 1. */
function twiceArtanh(numerator: bigint, denominator: bigint): bigint {
	const z = (numerator << F) / denominator;
	const square = multiply(z, z);
	let power = z;
	let sum = z;
	for (let n = 3n; power !== 0n && power !== -1n; n += 2n) {
		power = multiply(power, square);
		sum += power / n;
	}
	return sum * 2n;
}

/** Sign and magnitude of y times a logarithm that is infinite. */
function infiniteLogarithm(
	environment: FloatEnvironment,
	yKind: Kind,
	sign: number,
	divides: boolean,
	result: Extended,
): boolean {
	if (yKind === Kind.zero) {
		return invalid(environment, result);
	}
	if (!divides && denormalStops(environment, yKind, Kind.zero)) {
		return false;
	}
	setInfinity(result, sign);
	return !(divides && yKind !== Kind.infinity && environment.raise(Status.ZE));
}

/** FYL2X: y log2(x). */
export function yLog2X(environment: FloatEnvironment, x: Extended, y: Extended, result: Extended): boolean {
	const xKind = classify(x);
	const yKind = classify(y);
	if (xKind >= Kind.quietNan || yKind >= Kind.quietNan) {
		return propagateTwo(environment, x, xKind, y, yKind, result);
	}
	const xSign = x.signExponent >>> 15;
	const ySign = y.signExponent >>> 15;
	if (xKind === Kind.zero) {
		return infiniteLogarithm(environment, yKind, ySign ^ 1, true, result);
	}
	if (xSign === 1) {
		return invalid(environment, result);
	}
	if (xKind === Kind.infinity) {
		return infiniteLogarithm(environment, yKind, ySign, false, result);
	}
	unpack(x, u);
	const exponent = u.exponent - BIAS;
	const isOne = exponent === 0 && u.high === 0x8000_0000 && u.low === 0;
	if (yKind === Kind.infinity && isOne) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, xKind, yKind)) {
		return false;
	}
	const logarithmSign = exponent < 0 ? 1 : 0;
	if (yKind === Kind.infinity) {
		setInfinity(result, ySign ^ logarithmSign);
		return true;
	}
	if (yKind === Kind.zero || isOne) {
		setZero(result, ySign ^ logarithmSign);
		return true;
	}
	unpack(y, v);
	if (u.high === 0x8000_0000 && u.low === 0) {
		// A power of two: the product with an integer, which may be exact.
		return exactProduct(environment, v, exponent, result);
	}
	const logarithm = binaryLogarithm(shift(significand(u), FRACTION_BITS - 63), exponent);
	return finishProduct(environment, logarithm, -FRACTION_BITS, result);
}

/** log2(m * 2^power) of a positive fixed-point m, with F fraction bits. */
function binaryLogarithm(m: bigint, power: number): bigint {
	// Between sqrt(1/2) and sqrt(2): there the series is short, and near 1 nothing cancels.
	let k = bitLength(m) - 1 - FRACTION_BITS;
	let normalised = shift(m, -k);
	if (normalised > SQRT_2) {
		k++;
		normalised >>= 1n;
	}
	return (BigInt(k + power) << F) + (twiceArtanh(normalised - ONE, normalised + ONE) << F) / LN_2;
}

/** Rounds v times mantissa * 2^power. */
function finishProduct(environment: FloatEnvironment, mantissa: bigint, power: number, result: Extended): boolean {
	const negative = mantissa < 0n;
	const magnitude = (negative ? -mantissa : mantissa) * significand(v);
	return finish(environment, v.sign ^ (negative ? 1 : 0), magnitude, power + v.exponent - BIAS - 63, result);
}

function exactProduct(environment: FloatEnvironment, y: Unpacked, factor: number, result: Extended): boolean {
	const product = significand(y) * BigInt(Math.abs(factor));
	const length = bitLength(product);
	const top = product << BigInt(96 - length);
	round(
		environment,
		64,
		y.sign ^ (factor < 0 ? 1 : 0),
		y.exponent - 63 + length - 1,
		Number(top >> 64n),
		Number((top >> 32n) & 0xffff_ffffn),
		Number(top & 0xffff_ffffn),
		result,
	);
	return true;
}

/** FYL2XP1: y log2(x + 1). At -1 and below, where the manual leaves it undefined, invalid operation. */
export function yLog2XPlus1(environment: FloatEnvironment, x: Extended, y: Extended, result: Extended): boolean {
	const xKind = classify(x);
	const yKind = classify(y);
	if (xKind >= Kind.quietNan || yKind >= Kind.quietNan) {
		return propagateTwo(environment, x, xKind, y, yKind, result);
	}
	const xSign = x.signExponent >>> 15;
	const sign = xSign ^ (y.signExponent >>> 15);
	if (xKind === Kind.infinity) {
		return xSign === 1 ? invalid(environment, result) : infiniteLogarithm(environment, yKind, sign, false, result);
	}
	if (xKind === Kind.zero) {
		if (yKind === Kind.infinity) {
			return invalid(environment, result);
		}
		if (denormalStops(environment, yKind, Kind.zero)) {
			return false;
		}
		setZero(result, sign);
		return true;
	}
	unpack(x, u);
	const exponent = u.exponent - BIAS;
	if (xSign === 1 && exponent >= 0) {
		return invalid(environment, result);
	}
	if (denormalStops(environment, xKind, yKind)) {
		return false;
	}
	if (yKind === Kind.infinity || yKind === Kind.zero) {
		if (yKind === Kind.infinity) {
			setInfinity(result, sign);
		} else {
			setZero(result, sign);
		}
		return true;
	}
	unpack(y, v);
	if (exponent >= -2) {
		// The series of log(1 + x) itself would be long; the sum is exact, or lacks what does not matter.
		const power = Math.max(exponent, 0);
		const one = power < FRACTION_BITS ? ONE >> BigInt(power) : 0n;
		const m = shift(significand(u), FRACTION_BITS - 63 + exponent - power);
		const logarithm = binaryLogarithm(xSign === 1 ? one - m : one + m, power);
		return finishProduct(environment, logarithm, -FRACTION_BITS, result);
	}
	if (exponent < -70) {
		// log2(1 + x) = x / ln 2, less by a part in 2^71.
		const mantissa = ((significand(u) << 64n) << F) / LN_2;
		return finishProduct(environment, xSign === 1 ? -mantissa : mantissa, exponent - 63 - 64, result);
	}
	const d = xSign === 1 ? -fixed(u) : fixed(u);
	const logarithm = (twiceArtanh(d, d + 2n * ONE) << F) / LN_2;
	return finishProduct(environment, logarithm, -FRACTION_BITS, result);
}
