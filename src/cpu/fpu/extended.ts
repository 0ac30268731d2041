/**
 * The 80-bit extended format of the x87: what a value is, and rounding to it (Intel SDM volume 1, chapters 4 and 8).
 * Significands are two u32 halves in numbers; functions write their result into an object of the caller's, so that nothing is
 * allocated. Whoever computes owns one {@link FloatEnvironment}: control word in, exceptions and direction of rounding out.
 */

/** Bits of the status word. The first six are also the mask bits of the control word. */
export const Status = {
	IE: 0x01,
	DE: 0x02,
	ZE: 0x04,
	OE: 0x08,
	UE: 0x10,
	PE: 0x20,
	SF: 0x40,
	ES: 0x80,
	C0: 0x100,
	C1: 0x200,
	C2: 0x400,
	C3: 0x4000,
	B: 0x8000,
} as const;
export const ALL_EXCEPTIONS = 0x3f;

export const BIAS = 0x3fff;
export const MAX_EXPONENT = 0x7fff;
/** What unmasked overflow subtracts from, and unmasked underflow adds to, the exponent (SDM 8.5.4 and 8.5.5). */
const WRAP = 0x6000;

export const TWO_32 = 2 ** 32;

/** Rounding control, bits 11..10 of the control word. */
export const RoundingMode = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

/** A value as a register holds it: the integer bit is explicit, bit 31 of `high`. */
export class Extended {
	high = 0;
	low = 0;
	/** Sign in bit 15, biased exponent below. */
	signExponent = 0;

	set(signExponent: number, high: number, low: number): void {
		this.signExponent = signExponent;
		this.high = high;
		this.low = low;
	}

	copy(from: Extended): void {
		this.signExponent = from.signExponent;
		this.high = from.high;
		this.low = from.low;
	}
}

/** Classes of values; everything from `quietNan` up is not a number. */
export const Kind = {
	zero: 0,
	normal: 1,
	/** Exponent 0, significand not: pseudo-denormals (integer bit set) too, as FXAM says. */
	denormal: 2,
	infinity: 3,
	quietNan: 4,
	signallingNan: 5,
	/** Unnormals, pseudo-NaNs, pseudo-infinities: invalid operands since the 387 (SDM 8.2.2). */
	unsupported: 6,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** What a computation depends on and leaves behind besides its result. */
export class FloatEnvironment {
	/** The control word. */
	control = 0x37f;
	/** Exceptions raised since {@link begin}, as bits of the status word. */
	exceptions = 0;
	/** Whether the last rounding moved the magnitude up (C1). */
	roundedUp = false;
	/** The memory operand was a denormal of its narrower format; it looks normal once widened. */
	denormalSource = false;

	begin(control: number): void {
		this.control = control;
		this.exceptions = 0;
		this.roundedUp = false;
		this.denormalSource = false;
	}

	/** Records exceptions. @returns true where one of them is unmasked: then the result must not be computed. */
	raise(exceptions: number): boolean {
		this.exceptions |= exceptions;
		return (exceptions & ~this.control) !== 0;
	}

	get rounding(): number {
		return (this.control >>> 10) & 3;
	}

	/** Bits of significand that FADD, FSUB, FMUL, FDIV and FSQRT keep. */
	get precision(): number {
		const field = (this.control >>> 8) & 3;
		return field === 0 ? 24 : field === 2 ? 53 : 64;
	}
}

export function classify(a: Extended): Kind {
	const exponent = a.signExponent & MAX_EXPONENT;
	if (exponent === 0) {
		return a.high === 0 && a.low === 0 ? Kind.zero : Kind.denormal;
	}
	if (a.high < 0x8000_0000) {
		return Kind.unsupported;
	}
	if (exponent !== MAX_EXPONENT) {
		return Kind.normal;
	}
	if (a.high === 0x8000_0000 && a.low === 0) {
		return Kind.infinity;
	}
	return (a.high & 0x4000_0000) !== 0 ? Kind.quietNan : Kind.signallingNan;
}

export function setZero(result: Extended, sign: number): void {
	result.set(sign << 15, 0, 0);
}

export function setInfinity(result: Extended, sign: number): void {
	result.set((sign << 15) | MAX_EXPONENT, 0x8000_0000, 0);
}

/** The real indefinite: the quiet NaN that stands for a masked invalid operation. */
export function setIndefinite(result: Extended): void {
	result.set(0xffff, 0xc000_0000, 0);
}

/** Raises invalid operation. @returns whether its masked response, the indefinite, is to be stored. */
export function invalid(environment: FloatEnvironment, result: Extended): boolean {
	setIndefinite(result);
	return !environment.raise(Status.IE);
}

function quieted(from: Extended, result: Extended): void {
	result.set(from.signExponent, (from.high | 0x4000_0000) >>> 0, from.low);
}

/** The answer of an operation on one NaN or unsupported value. @returns whether to store it. */
export function propagateOne(environment: FloatEnvironment, a: Extended, kind: Kind, result: Extended): boolean {
	if (kind === Kind.unsupported) {
		return invalid(environment, result);
	}
	quieted(a, result);
	return kind === Kind.quietNan || !environment.raise(Status.IE);
}

/** The answer of an operation of which at least one operand is a NaN or unsupported (SDM volume 1, table 4-7). */
export function propagateTwo(
	environment: FloatEnvironment,
	a: Extended,
	aKind: Kind,
	b: Extended,
	bKind: Kind,
	result: Extended,
): boolean {
	if (aKind === Kind.unsupported || bKind === Kind.unsupported) {
		return invalid(environment, result);
	}
	let chosen = a;
	if (aKind < Kind.quietNan) {
		chosen = b;
	} else if (bKind >= Kind.quietNan) {
		if (aKind !== bKind) {
			// A quiet and a signalling NaN: the quiet one.
			chosen = aKind === Kind.quietNan ? a : b;
		} else if (a.high !== b.high) {
			chosen = a.high > b.high ? a : b;
		} else if (a.low !== b.low) {
			chosen = a.low > b.low ? a : b;
		} else {
			chosen = a.signExponent < b.signExponent ? a : b;
		}
	}
	quieted(chosen, result);
	const signals = aKind === Kind.signallingNan || bKind === Kind.signallingNan;
	return !signals || !environment.raise(Status.IE);
}

/** A significand of 96 bits: two halves and what lies below, of which the last bit stands for all that is lost. */
export class Wide {
	high = 0;
	low = 0;
	extra = 0;
}

/** Shifts a significand right into `wide`; lost bits stay as its last bit. */
export function shiftRight(wide: Wide, high: number, low: number, extra: number, count: number): void {
	let h = high;
	let l = low;
	let x = extra;
	let lost = 0;
	let n = count;
	if (n >= 96) {
		lost = h | l | x;
		h = l = x = n = 0;
	}
	while (n >= 32) {
		lost |= x;
		x = l;
		l = h;
		h = 0;
		n -= 32;
	}
	if (n !== 0) {
		lost |= x << (32 - n);
		x = ((x >>> n) | (l << (32 - n))) >>> 0;
		l = ((l >>> n) | (h << (32 - n))) >>> 0;
		h >>>= n;
	}
	wide.high = h;
	wide.low = l;
	wide.extra = lost === 0 ? x : (x | 1) >>> 0;
}

/** A finite value taken apart: significand normalised, exponent biased but unbounded. Zero is not representable. */
export class Unpacked {
	sign = 0;
	exponent = 0;
	high = 0;
	low = 0;
}

export function unpack(a: Extended, into: Unpacked): void {
	const exponent = a.signExponent & MAX_EXPONENT;
	into.sign = a.signExponent >>> 15;
	let high = a.high;
	let low = a.low;
	let e = exponent === 0 ? 1 : exponent;
	if (high < 0x8000_0000) {
		if (high === 0) {
			high = low;
			low = 0;
			e -= 32;
		}
		const shift = Math.clz32(high);
		if (shift !== 0) {
			high = ((high << shift) | (low >>> (32 - shift))) >>> 0;
			low = (low << shift) >>> 0;
			e -= shift;
		}
	}
	into.exponent = e;
	into.high = high;
	into.low = low;
}

/** What {@link roundSignificand} found. */
export class Rounded {
	high = 0;
	low = 0;
	/** The increment ran over the top: the significand is 0 and means 2^64. */
	carry = false;
	inexact = false;
	up = false;
}

/** Rounds a significand to its upper 24, 53 or 64 bits. */
export function roundSignificand(
	into: Rounded,
	rounding: number,
	precision: number,
	sign: number,
	high: number,
	low: number,
	extra: number,
): void {
	let h = high;
	let l = low;
	// What is cut off, as a number of which `half` is one half of the last bit kept.
	let cut: number;
	let half: number;
	let odd: number;
	let incrementHigh = 0;
	let incrementLow = 0;
	if (precision === 64) {
		cut = extra;
		half = 0x8000_0000;
		odd = l & 1;
		incrementLow = 1;
	} else if (precision === 53) {
		cut = (l & 0x7ff) * 2 + (extra === 0 ? 0 : 1);
		half = 0x800;
		l = (l & ~0x7ff) >>> 0;
		odd = l & 0x800;
		incrementLow = 0x800;
	} else {
		cut = (h & 0xff) * 2 + (l === 0 && extra === 0 ? 0 : 1);
		half = 0x100;
		h = (h & ~0xff) >>> 0;
		l = 0;
		odd = h & 0x100;
		incrementHigh = 0x100;
	}
	let up = false;
	if (cut !== 0) {
		if (rounding === RoundingMode.nearest) {
			up = cut > half || (cut === half && odd !== 0);
		} else if (rounding !== RoundingMode.zero) {
			up = (rounding === RoundingMode.down) === (sign !== 0);
		}
	}
	let carry = false;
	if (up) {
		l += incrementLow;
		h += incrementHigh;
		if (l >= TWO_32) {
			l -= TWO_32;
			h += 1;
		}
		if (h >= TWO_32) {
			h -= TWO_32;
			carry = true;
		}
	}
	into.high = h;
	into.low = l;
	into.carry = carry;
	into.inexact = cut !== 0;
	into.up = up;
}

const rounded = new Rounded();
const wide = new Wide();

/** Whether masked overflow gives infinity rather than the largest finite value. */
export function overflowsToInfinity(rounding: number, sign: number): boolean {
	return (
		rounding === RoundingMode.nearest ||
		(rounding === RoundingMode.down ? sign !== 0 : rounding === RoundingMode.up && sign === 0)
	);
}

/**
 * Rounds a value to a register: precision, overflow, underflow, with masked and unmasked responses.
 * The significand must be normalised; `extra` holds 32 bits more of it, its last bit standing for all below. The exponent is biased.
 */
export function round(
	environment: FloatEnvironment,
	precision: number,
	sign: number,
	exponent: number,
	high: number,
	low: number,
	extra: number,
	result: Extended,
): void {
	const rounding = environment.rounding;
	let e = exponent;
	roundSignificand(rounded, rounding, precision, sign, high, low, extra);
	if (e <= 0) {
		// Tiny is decided after rounding, as if the exponent were unbounded.
		const tiny = e < 0 || !rounded.carry;
		if ((environment.control & Status.UE) !== 0) {
			shiftRight(wide, high, low, extra, 1 - e);
			roundSignificand(rounded, rounding, precision, sign, wide.high, wide.low, wide.extra);
			if (rounded.inexact) {
				environment.exceptions |= tiny ? Status.UE | Status.PE : Status.PE;
			}
			environment.roundedUp = rounded.up;
			const normal = rounded.high >= 0x8000_0000 ? 1 : 0;
			result.set((sign << 15) | normal, rounded.high, rounded.low);
			return;
		}
		if (tiny) {
			environment.exceptions |= Status.UE;
			e += WRAP;
			if (e <= 0) {
				// FSCALE alone gets here: the wrapped exponent is still too small.
				environment.exceptions |= Status.PE;
				environment.roundedUp = false;
				setZero(result, sign);
				return;
			}
		}
	}
	let h = rounded.high;
	if (rounded.carry) {
		h = 0x8000_0000;
		e++;
	}
	if (e >= MAX_EXPONENT) {
		environment.exceptions |= Status.OE;
		if ((environment.control & Status.OE) !== 0) {
			environment.exceptions |= Status.PE;
			environment.roundedUp = overflowsToInfinity(rounding, sign);
			if (environment.roundedUp) {
				setInfinity(result, sign);
			} else {
				const lowMask = precision === 64 ? 0xffff_ffff : precision === 53 ? 0xffff_f800 : 0;
				result.set((sign << 15) | 0x7ffe, precision === 24 ? 0xffff_ff00 : 0xffff_ffff, lowMask);
			}
			return;
		}
		e -= WRAP;
		if (e >= MAX_EXPONENT) {
			environment.exceptions |= Status.PE;
			environment.roundedUp = true;
			setInfinity(result, sign);
			return;
		}
	}
	if (rounded.inexact) {
		environment.exceptions |= Status.PE;
	}
	environment.roundedUp = rounded.up;
	result.set((sign << 15) | e, h, rounded.low);
}
