/**
 * IEEE 754 single and double precision for the exact path of SSE: values as exact integers times powers of two, and correct rounding
 * in every mode with the exceptions of MXCSR (Intel SDM volume 1, 4.8 and 11.5). Used where the fast path of emitted code does not
 * apply (an unusual MXCSR, a result that is not finite), so clarity goes before speed and BigInt is allowed.
 */

/** Bits of MXCSR. */
export const Mxcsr = {
	IE: 0x01,
	DE: 0x02,
	ZE: 0x04,
	OE: 0x08,
	UE: 0x10,
	PE: 0x20,
	DAZ: 0x40,
	/** Mask bit of an exception: its flag shifted left by this. */
	maskShift: 7,
	roundingShift: 13,
	FTZ: 0x8000,
	/** Bits that LDMXCSR accepts. */
	valid: 0xffff,
} as const;

export const RoundingControl = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

export interface Format {
	readonly bits: 32 | 64;
	/** Significand with its hidden bit. */
	readonly precision: number;
	readonly bias: number;
	/** Biased exponent of infinities and NaNs. */
	readonly special: number;
	readonly signBit: bigint;
	readonly quietBit: bigint;
	readonly infinity: bigint;
	/** The quiet NaN that invalid operations yield ("real indefinite"). */
	readonly indefinite: bigint;
}

function format(bits: 32 | 64, precision: number): Format {
	const fraction = BigInt(precision - 1);
	const special = 2 ** (bits - precision) - 1;
	const signBit = 1n << BigInt(bits - 1);
	const infinity = BigInt(special) << fraction;
	const quietBit = 1n << (fraction - 1n);
	return {
		bits,
		precision,
		bias: (special - 1) / 2,
		special,
		signBit,
		quietBit,
		infinity,
		indefinite: signBit | infinity | quietBit,
	};
}

export const SINGLE = format(32, 24);
export const DOUBLE = format(64, 53);

/** A number: (-1)^negative * significand * 2^exponent. Infinities and NaNs have a `kind` of their own. */
export interface Unpacked {
	readonly kind: "zero" | "denormal" | "normal" | "infinity" | "quiet" | "signalling";
	readonly negative: boolean;
	readonly significand: bigint;
	readonly exponent: number;
}

export function unpack(of: Format, bits: bigint): Unpacked {
	const fractionBits = of.precision - 1;
	const negative = (bits & of.signBit) !== 0n;
	const biased = Number((bits >> BigInt(fractionBits)) & BigInt(of.special));
	const fraction = bits & ((1n << BigInt(fractionBits)) - 1n);
	if (biased === of.special) {
		const kind = fraction === 0n ? "infinity" : (fraction & of.quietBit) !== 0n ? "quiet" : "signalling";
		return { kind, negative, significand: fraction, exponent: 0 };
	}
	const exponent = Math.max(biased, 1) - of.bias - fractionBits;
	if (biased !== 0) return { kind: "normal", negative, significand: fraction | (1n << BigInt(fractionBits)), exponent };
	return { kind: fraction === 0n ? "zero" : "denormal", negative, significand: fraction, exponent };
}

export function bitLength(value: bigint): number {
	if (value === 0n) return 0;
	const digits = value.toString(16);
	return digits.length * 4 - Math.clz32(Number.parseInt(digits[0]!, 16)) + 28;
}

/** Whether a magnitude with the given discarded part is rounded away from zero. `half`: -1 below, 0 at, 1 above the middle. */
function roundsAway(mode: number, negative: boolean, odd: boolean, half: number): boolean {
	switch (mode) {
		case RoundingControl.nearest:
			return half > 0 || (half === 0 && odd);
		case RoundingControl.down:
			return negative;
		case RoundingControl.up:
			return !negative;
		default:
			return false;
	}
}

/**
 * significand * 2^-shift to an integer. `sticky`: the value is a little larger than its significand says.
 * @returns the integer and whether it differs from the value.
 */
export function roundShift(
	significand: bigint,
	shift: number,
	sticky: boolean,
	mode: number,
	negative: boolean,
): { value: bigint; inexact: boolean } {
	if (shift <= 0) return { value: significand << BigInt(-shift), inexact: sticky };
	// Beyond its own length nothing but "a little more than zero" is left.
	const distance = BigInt(Math.min(shift, bitLength(significand) + 2));
	const kept = significand >> distance;
	const rest = significand - (kept << distance);
	const middle = 1n << (distance - 1n);
	const inexact = rest !== 0n || sticky;
	if (!inexact) return { value: kept, inexact };
	const half = rest > middle ? 1 : rest < middle ? -1 : sticky ? 1 : 0;
	const away = roundsAway(mode, negative, (kept & 1n) !== 0n, half);
	return { value: away ? kept + 1n : kept, inexact };
}

export interface Rounded {
	readonly bits: bigint;
	/** OE, UE, PE as MXCSR's masks have it: masked underflow is flagged where the tiny result is inexact too. */
	readonly exceptions: number;
}

/**
 * Rounds a number that is not zero to a format. With `sticky` the significand must have at least two bits more than the format.
 * Tininess is detected after rounding.
 */
export function round(
	to: Format,
	negative: boolean,
	significand: bigint,
	exponent: number,
	sticky: boolean,
	mxcsr: number,
): Rounded {
	const mode = (mxcsr >> Mxcsr.roundingShift) & 3;
	const sign = negative ? to.signBit : 0n;
	const { precision } = to;
	const length = bitLength(significand);
	const lowest = 2 - to.bias - precision;
	// As if the exponent had no bounds.
	const free = roundShift(significand, length - precision, sticky, mode, negative);
	const carried = bitLength(free.value) > precision ? 1 : 0;
	const top = exponent + length - 1 + carried;
	const tiny = top < 1 - to.bias;
	if (tiny) {
		const masked = ((mxcsr >> Mxcsr.maskShift) & Mxcsr.UE) !== 0;
		if (masked && (mxcsr & Mxcsr.FTZ) !== 0) return { bits: sign, exceptions: Mxcsr.UE | Mxcsr.PE };
		const { value, inexact } = roundShift(significand, lowest - exponent, sticky, mode, negative);
		// Unmasked, the handler is told of the result with an unbounded exponent.
		const exceptions = masked ? (inexact ? Mxcsr.UE | Mxcsr.PE : 0) : Mxcsr.UE | (free.inexact ? Mxcsr.PE : 0);
		// A significand that was rounded up to the hidden bit is the smallest normal number, with no more to do.
		return { bits: sign | value, exceptions };
	}
	if (top > to.bias) {
		const toInfinity =
			mode === RoundingControl.nearest ||
			(mode === RoundingControl.down && negative) ||
			(mode === RoundingControl.up && !negative);
		const masked = ((mxcsr >> Mxcsr.maskShift) & Mxcsr.OE) !== 0;
		const exceptions = masked || free.inexact ? Mxcsr.OE | Mxcsr.PE : Mxcsr.OE;
		return { bits: sign | (toInfinity ? to.infinity : to.infinity - 1n), exceptions };
	}
	const kept = carried !== 0 ? free.value >> 1n : free.value;
	const fractionBits = BigInt(precision - 1);
	const bits = sign | (BigInt(top + to.bias) << fractionBits) | (kept & ((1n << fractionBits) - 1n));
	return { bits, exceptions: free.inexact ? Mxcsr.PE : 0 };
}

/** Integer square root, rounded down. */
export function integerSquareRoot(value: bigint): bigint {
	if (value < 2n) return value;
	let root = 1n << BigInt((bitLength(value) + 1) >> 1);
	for (;;) {
		const next = (root + value / root) >> 1n;
		if (next >= root) return root;
		root = next;
	}
}
