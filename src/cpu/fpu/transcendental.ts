/**
 * The x87's transcendental instructions, within one unit in the last place (mostly correctly rounded), by series in fixed point.
 * Relies on extended.ts. BigInt throughout: these instructions are rare. FSIN, FCOS, FPTAN and FSINCOS reduce by the 66-bit pi of
 * the hardware (SDM volume 1, 8.3.8), so their results agree with it for large operands too.
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
	RoundingMode,
	round,
	Status,
	setInfinity,
	setZero,
	Unpacked,
	unpack,
} from "./extended.ts";

const u = new Unpacked();
const v = new Unpacked();

/** Fraction bits of the fixed-point numbers below: 64 of significand, 64 that cancel near 1, and a reserve. */
const F = 192n;
const FRACTION_BITS = 192;
const ONE = 1n << F;

/** pi to 66 bits, times 2^64. */
const PI_66 = 0x3243f6a8885a308d3n;
/** ln 2 and pi with F fraction bits (256-bit expansions cut down; both are tested against their series). */
const LN_2 = 0xb17217f7d1cf79abc9e3b39803f2f6af40f343267298b62d8a0d175b8baafa2bn >> (256n - F);
const SQRT_2 = 0xb504f333f9de6484n << (F - 63n);
const PI = 0x3243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89n >> (256n - F);

function significand(a: Unpacked): bigint {
	return (BigInt(a.high) << 32n) | BigInt(a.low);
}

function shift(value: bigint, left: number): bigint {
	return left >= 0 ? value << BigInt(left) : value >> BigInt(-left);
}

/** An unpacked value with F fraction bits; the caller has seen that its exponent is within reason. */
function fixed(a: Unpacked): bigint {
	return shift(significand(a), FRACTION_BITS + a.exponent - BIAS - 63);
}

function bitLength(value: bigint): number {
	const text = value.toString(16);
	return text.length * 4 - Math.clz32(Number.parseInt(text[0] ?? "0", 16)) + 28;
}

/** Rounds mantissa * 2^power, an inexact value, to a register. The mantissa must be positive. */
function finish(
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
function finishSigned(environment: FloatEnvironment, value: bigint, power: number, result: Extended): boolean {
	return value < 0n
		? finish(environment, 1, -value, power - FRACTION_BITS, result)
		: finish(environment, 0, value, power - FRACTION_BITS, result);
}

function multiply(a: bigint, b: bigint): bigint {
	return (a * b) >> F;
}

function denormalStops(environment: FloatEnvironment, aKind: Kind, bKind: Kind): boolean {
	return (aKind === Kind.denormal || bKind === Kind.denormal) && environment.raise(Status.DE);
}

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

/** Angle left by {@link reduce}, between -pi/4 and pi/4 with F fraction bits, and the quadrant it was taken from. */
const reduced = { angle: 0n, quadrant: 0 };

function reduce(a: Unpacked): void {
	const x = fixed(a);
	const halfPi = PI_66 << (F - 65n);
	const turns = (x + (halfPi >> 1n)) / halfPi;
	const angle = x - turns * halfPi;
	const quadrant = Number(turns & 3n);
	reduced.angle = a.sign === 1 ? -angle : angle;
	reduced.quadrant = a.sign === 1 ? (4 - quadrant) & 3 : quadrant;
}

/** The series of sine (from `first` = angle) or cosine (from 1). */
function alternating(angle: bigint, first: bigint, from: bigint): bigint {
	const square = multiply(angle, angle);
	let term = first;
	let sum = first;
	for (let n = from; term !== 0n && term !== -1n; n += 2n) {
		term = -multiply(term, square) / (n * (n + 1n));
		sum += term;
	}
	return sum;
}

function sineOf(quadrant: number): bigint {
	const { angle } = reduced;
	const value = (quadrant & 1) === 0 ? alternating(angle, angle, 2n) : alternating(angle, ONE, 1n);
	return (quadrant & 2) === 0 ? value : -value;
}

/** Set by the trigonometric functions where the operand is 2^63 or more: C2, and nothing is stored. */
export const outOfRange = { value: false };

/** Special operands of the trigonometric functions. @returns -1 to go on, else 0 (do not store) or 1 (store). */
function special(environment: FloatEnvironment, a: Extended, kind: Kind, result: Extended): number {
	outOfRange.value = false;
	if (kind >= Kind.quietNan) {
		return propagateOne(environment, a, kind, result) ? 1 : 0;
	}
	if (kind === Kind.infinity) {
		return invalid(environment, result) ? 1 : 0;
	}
	if ((a.signExponent & 0x7fff) >= BIAS + 63) {
		outOfRange.value = true;
		return 0;
	}
	return denormalStops(environment, kind, Kind.zero) ? 0 : -1;
}

/** FSIN and, a quarter turn on, FCOS; exact zeros and ones are the caller's. */
function sine(environment: FloatEnvironment, a: Extended, turn: number, result: Extended): boolean {
	unpack(a, u);
	const exponent = u.exponent - BIAS;
	if (exponent < -40) {
		// sin a = a and cos a = 1, both less by next to nothing.
		return turn === 0
			? finish(environment, u.sign, (significand(u) << 64n) - 1n, exponent - 63 - 64, result)
			: finish(environment, 0, ONE - 1n, -FRACTION_BITS, result);
	}
	reduce(u);
	return finishSigned(environment, sineOf(reduced.quadrant + turn), 0, result);
}

export function sin(environment: FloatEnvironment, a: Extended, result: Extended): boolean {
	const kind = classify(a);
	const done = special(environment, a, kind, result);
	if (done >= 0) {
		return done === 1;
	}
	if (kind === Kind.zero) {
		result.copy(a);
		return true;
	}
	return sine(environment, a, 0, result);
}

export function cos(environment: FloatEnvironment, a: Extended, result: Extended): boolean {
	const kind = classify(a);
	const done = special(environment, a, kind, result);
	if (done >= 0) {
		return done === 1;
	}
	if (kind === Kind.zero) {
		result.set(BIAS, 0x8000_0000, 0);
		return true;
	}
	return sine(environment, a, 1, result);
}

/** FPTAN without the 1 that it pushes. */
export function tan(environment: FloatEnvironment, a: Extended, result: Extended): boolean {
	const kind = classify(a);
	const done = special(environment, a, kind, result);
	if (done >= 0) {
		return done === 1;
	}
	if (kind === Kind.zero) {
		result.copy(a);
		return true;
	}
	unpack(a, u);
	const exponent = u.exponent - BIAS;
	if (exponent < -40) {
		return finish(environment, u.sign, (significand(u) << 64n) + 1n, exponent - 63 - 64, result);
	}
	reduce(u);
	const numerator = sineOf(reduced.quadrant);
	const denominator = sineOf(reduced.quadrant + 1);
	// Rounded towards zero twice would lose a tangent that is small: 128 more bits.
	return finishSigned(environment, (numerator << (F + 128n)) / denominator, -128, result);
}

/** The series of arctan for a quotient of at most 1/16. */
function arctangentSeries(numerator: bigint, denominator: bigint): bigint {
	const z = (numerator << F) / denominator;
	const square = multiply(z, z);
	let power = z;
	let sum = z;
	for (let n = 3n; power !== 0n && power !== -1n; n += 2n) {
		power = -multiply(power, square);
		sum += power / n;
	}
	return sum;
}

/** arctan(i / 16) with F fraction bits, made when first needed. */
const arctangents: bigint[] = [];

/** Fills {@link arctangents} by arctan c' = arctan c + arctan((c' - c) / (1 + c c')). */
function fillArctangents(): void {
	let sum = 0n;
	arctangents.push(sum);
	for (let i = 1n; i <= 16n; i++) {
		sum += arctangentSeries(16n, 256n + i * (i - 1n));
		arctangents.push(sum);
	}
}

/** arctan of numerator / denominator between 0 and 1. */
function arctangent(numerator: bigint, denominator: bigint): bigint {
	if (arctangents.length === 0) {
		fillArctangents();
	}
	const i = (numerator * 16n) / denominator;
	const step = arctangents[Number(i)] ?? 0n;
	return step + arctangentSeries(numerator * 16n - i * denominator, denominator * 16n + i * numerator);
}

/** Rounds a multiple of pi/4: what FPATAN gives for zeros and infinities. */
function quarters(environment: FloatEnvironment, sign: number, count: bigint, result: Extended): boolean {
	return finish(environment, sign, PI * count, -FRACTION_BITS - 2, result);
}

/** FPATAN: the angle of the point (x, y). */
export function arctangent2(environment: FloatEnvironment, x: Extended, y: Extended, result: Extended): boolean {
	const xKind = classify(x);
	const yKind = classify(y);
	if (xKind >= Kind.quietNan || yKind >= Kind.quietNan) {
		return propagateTwo(environment, x, xKind, y, yKind, result);
	}
	if (denormalStops(environment, xKind, yKind)) {
		return false;
	}
	const sign = y.signExponent >>> 15;
	const left = x.signExponent >>> 15 !== 0;
	if (yKind === Kind.infinity) {
		return quarters(environment, sign, xKind !== Kind.infinity ? 2n : left ? 3n : 1n, result);
	}
	if (yKind === Kind.zero || xKind === Kind.infinity) {
		if (left) {
			return quarters(environment, sign, 4n, result);
		}
		setZero(result, sign);
		return true;
	}
	if (xKind === Kind.zero) {
		return quarters(environment, sign, 2n, result);
	}
	unpack(x, u);
	unpack(y, v);
	const difference = v.exponent - u.exponent;
	if (difference > 80 || (difference < -80 && left)) {
		// Next to pi/2, or to pi.
		return quarters(environment, sign, difference > 0 ? 2n : 4n, result);
	}
	if (difference < -40) {
		if (left) {
			const small = (shift(significand(v), 160 + difference) << (F - 160n)) / significand(u);
			return finish(environment, sign, PI - small, -FRACTION_BITS, result);
		}
		return smallQuotient(environment, sign, difference, result);
	}
	let ySignificand = significand(v);
	let xSignificand = significand(u);
	if (difference >= 0) {
		ySignificand <<= BigInt(difference);
	} else {
		xSignificand <<= BigInt(-difference);
	}
	const steep = ySignificand > xSignificand;
	let angle = steep ? arctangent(xSignificand, ySignificand) : arctangent(ySignificand, xSignificand);
	if (steep) {
		angle = (PI >> 1n) - angle;
	}
	return finish(environment, sign, left ? PI - angle : angle, -FRACTION_BITS, result);
}

/** arctan(y / x) for a quotient below 2^-39: y / x less a third of its cube, which only matters to the bits behind the last. */
function smallQuotient(environment: FloatEnvironment, sign: number, difference: number, result: Extended): boolean {
	const numerator = significand(v) << 130n;
	const denominator = significand(u);
	const quotient = numerator / denominator;
	if (quotient * denominator === numerator && difference <= -0x3ffe) {
		// An exact quotient that may be denormal: FPATAN still is inexact.
		return finish(environment, sign, quotient, difference - 130, result);
	}
	const third = difference > -70 ? (quotient * quotient * quotient) / 3n : 0n;
	const cube = third === 0n ? 1n : third >> BigInt(260 - 2 * difference);
	return finish(environment, sign, quotient - (cube === 0n ? 1n : cube), difference - 130, result);
}

/** The constants of FLD1 ... FLDZ: significand truncated, and whether rounding to nearest raises it. */
export interface Constant {
	readonly name: string;
	readonly signExponent: number;
	readonly high: number;
	readonly low: number;
	/** Exact, or with the truncated value nearest (`down`), or the one above it (`up`). */
	readonly nearest: "exact" | "down" | "up";
}

/** By the second opcode byte, from D9 E8. */
export const constants: readonly Constant[] = [
	{ name: "FLD1", signExponent: BIAS, high: 0x8000_0000, low: 0, nearest: "exact" },
	{ name: "FLDL2T", signExponent: BIAS + 1, high: 0xd49a_784b, low: 0xcd1b_8afe, nearest: "down" },
	{ name: "FLDL2E", signExponent: BIAS, high: 0xb8aa_3b29, low: 0x5c17_f0bb, nearest: "up" },
	{ name: "FLDPI", signExponent: BIAS + 1, high: 0xc90f_daa2, low: 0x2168_c234, nearest: "up" },
	{ name: "FLDLG2", signExponent: BIAS - 2, high: 0x9a20_9a84, low: 0xfbcf_f798, nearest: "up" },
	{ name: "FLDLN2", signExponent: BIAS - 1, high: 0xb172_17f7, low: 0xd1cf_79ab, nearest: "up" },
	{ name: "FLDZ", signExponent: 0, high: 0, low: 0, nearest: "exact" },
];

/** The constant as rounding control has it. None raises an exception. */
export function loadConstant(environment: FloatEnvironment, constant: Constant, result: Extended): void {
	const { rounding } = environment;
	const up =
		constant.nearest !== "exact" &&
		(rounding === RoundingMode.up || (rounding === RoundingMode.nearest && constant.nearest === "up"));
	result.set(constant.signExponent, constant.high, constant.low + (up ? 1 : 0));
}
