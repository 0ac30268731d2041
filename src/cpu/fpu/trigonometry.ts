/**
 * FSIN, FCOS, FPTAN and FPATAN, by series in fixed point. Relies on fixed-point.ts. All but FPATAN reduce by the 66-bit pi of the
 * hardware (SDM volume 1, 8.3.8), so that results agree with it for large operands too.
 */
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
	setZero,
	Unpacked,
	unpack,
} from "./extended.ts";
import {
	F,
	FRACTION_BITS,
	finish,
	finishSigned,
	fixed,
	multiply,
	ONE,
	PI,
	PI_66,
	shift,
	significand,
} from "./fixed-point.ts";

const u = new Unpacked();
const v = new Unpacked();

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
