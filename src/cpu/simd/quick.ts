/**
 * Arithmetic of one lane in JavaScript's own numbers, for the cases that bring emitted code to the service again and again: NaN operands,
 * infinities, invalid operations, and ordinary results beside such lanes. Whatever needs more says so, and exact.ts computes it.
 */
import type { Memory } from "../../memory/memory.ts";
import { Mxcsr } from "./format.ts";
import { LEFT, RESULT, RIGHT, SimdOperation } from "./operations.ts";

/** The exact operations have to compute. */
export const NEEDS_EXACT = -1;

const ROUNDING = 0x6000;
const PE_MASK = Mxcsr.PE << Mxcsr.maskShift;

const float64 = new Float64Array(1);
const words64 = new Uint32Array(float64.buffer);
const float32 = new Float32Array(1);
const words32 = new Uint32Array(float32.buffer);

function arithmetic(operation: number, index: number, left: number, right: number): number {
	switch (operation) {
		case SimdOperation.add:
			return left + right;
		case SimdOperation.subtract:
			return left - right;
		case SimdOperation.addSubtract:
			return (index & 1) === 0 ? left - right : left + right;
		case SimdOperation.multiply:
			return left * right;
		case SimdOperation.divide:
			return left / right;
		default:
			return Math.sqrt(right);
	}
}

const isTiny = (value: number, smallest: number): boolean => value !== 0 && Math.abs(value) < smallest;
const isInfinite = (value: number): boolean => Math.abs(value) === Infinity;

/** Exceptions of a result of operands that are no denormals, or {@link NEEDS_EXACT}: overflow, underflow, and rounding that must be recorded. */
function judge(
	operation: number,
	mxcsr: number,
	left: number,
	right: number,
	result: number,
	smallest: number,
): number {
	if (Number.isNaN(result)) return Mxcsr.IE;
	if (isInfinite(left) || isInfinite(right)) return 0;
	if (isInfinite(result)) return operation === SimdOperation.divide && right === 0 ? Mxcsr.ZE : NEEDS_EXACT;
	if (isTiny(result, smallest)) return NEEDS_EXACT;
	// A product or quotient that underflowed is no zero of its operands.
	const scales = operation === SimdOperation.multiply || operation === SimdOperation.divide;
	if (result === 0 && scales && left !== 0 && right !== 0) return NEEDS_EXACT;
	return (mxcsr & Mxcsr.PE) !== 0 && (mxcsr & PE_MASK) !== 0 ? 0 : NEEDS_EXACT;
}

/** Whether the NaN whose upper word (single: only word) is given is signalling. */
const signals = (isNan: boolean, word: number, quietBit: number): boolean => isNan && (word & quietBit) === 0;

const QUIET_64 = 0x8_0000;
const QUIET_32 = 0x40_0000;

function quickDouble(memory: Memory, operation: number, index: number, mxcsr: number): number {
	const offset = index * 8;
	const leftAt = (operation === SimdOperation.squareRoot ? RIGHT : LEFT) + offset;
	const rightAt = RIGHT + offset;
	const leftLow = memory.u32(leftAt);
	const leftHigh = memory.u32(leftAt + 4);
	const rightLow = memory.u32(rightAt);
	const rightHigh = memory.u32(rightAt + 4);
	words64[0] = leftLow;
	words64[1] = leftHigh;
	const left = float64[0]!;
	words64[0] = rightLow;
	words64[1] = rightHigh;
	const right = float64[0]!;
	const leftNan = Number.isNaN(left);
	const rightNan = Number.isNaN(right);
	if (leftNan || rightNan) {
		memory.setU32(RESULT + offset, leftNan ? leftLow : rightLow);
		memory.setU32(RESULT + offset + 4, (leftNan ? leftHigh : rightHigh) | QUIET_64);
		return signals(leftNan, leftHigh, QUIET_64) || signals(rightNan, rightHigh, QUIET_64) ? Mxcsr.IE : 0;
	}
	if (isTiny(left, 2 ** -1022) || isTiny(right, 2 ** -1022)) return NEEDS_EXACT;
	const result = arithmetic(operation, index, left, right);
	const exceptions = judge(operation, mxcsr, left, right, result, 2 ** -1022);
	float64[0] = result;
	memory.setU32(RESULT + offset, exceptions === Mxcsr.IE ? 0 : words64[0]!);
	memory.setU32(RESULT + offset + 4, exceptions === Mxcsr.IE ? 0xfff8_0000 : words64[1]!);
	return exceptions;
}

function quickSingle(memory: Memory, operation: number, index: number, mxcsr: number): number {
	const offset = index * 4;
	const rightBits = memory.u32(RIGHT + offset);
	const leftBits = operation === SimdOperation.squareRoot ? rightBits : memory.u32(LEFT + offset);
	words32[0] = leftBits;
	const left = float32[0]!;
	words32[0] = rightBits;
	const right = float32[0]!;
	const leftNan = Number.isNaN(left);
	const rightNan = Number.isNaN(right);
	if (leftNan || rightNan) {
		memory.setU32(RESULT + offset, (leftNan ? leftBits : rightBits) | QUIET_32);
		return signals(leftNan, leftBits, QUIET_32) || signals(rightNan, rightBits, QUIET_32) ? Mxcsr.IE : 0;
	}
	if (isTiny(left, 2 ** -126) || isTiny(right, 2 ** -126)) return NEEDS_EXACT;
	// Rounding the double result once more is innocuous: 53 >= 2 * 24 + 2.
	const result = Math.fround(arithmetic(operation, index, left, right));
	const exceptions = judge(operation, mxcsr, left, right, result, 2 ** -126);
	float32[0] = result;
	memory.setU32(RESULT + offset, exceptions === Mxcsr.IE ? 0xffc0_0000 : words32[0]!);
	return exceptions;
}

function readNumber(memory: Memory, address: number, bits: number, index: number): number {
	if (bits === 32) {
		words32[0] = memory.u32(address + index * 4);
		return float32[0]!;
	}
	words64[0] = memory.u32(address + index * 8);
	words64[1] = memory.u32(address + index * 8 + 4);
	return float64[0]!;
}

/** The word of a lane with its sign, exponent and quiet bit. */
const upperWord = (memory: Memory, address: number, bits: number, index: number): number =>
	bits === 32 ? memory.u32(address + index * 4) : memory.u32(address + index * 8 + 4);

/** Exceptions of comparing a lane, without DAZ: IE for a signalling NaN, or any with `quietRaises`; DE. */
export function quickComparison(memory: Memory, bits: number, index: number, quietRaises: boolean): number {
	const left = readNumber(memory, LEFT, bits, index);
	const right = readNumber(memory, RIGHT, bits, index);
	const leftNan = Number.isNaN(left);
	const rightNan = Number.isNaN(right);
	if (leftNan || rightNan) {
		const quiet = bits === 32 ? QUIET_32 : QUIET_64;
		const raises =
			quietRaises ||
			signals(leftNan, upperWord(memory, LEFT, bits, index), quiet) ||
			signals(rightNan, upperWord(memory, RIGHT, bits, index), quiet);
		return raises ? Mxcsr.IE : 0;
	}
	const smallest = bits === 32 ? 2 ** -126 : 2 ** -1022;
	return isTiny(left, smallest) || isTiny(right, smallest) ? Mxcsr.DE : 0;
}

/** MIN and MAX with a NaN: the second operand. */
function quickExtremum(memory: Memory, bits: number, index: number, mxcsr: number): number {
	const nan =
		Number.isNaN(readNumber(memory, LEFT, bits, index)) || Number.isNaN(readNumber(memory, RIGHT, bits, index));
	if (!nan || (mxcsr & Mxcsr.DAZ) !== 0) return NEEDS_EXACT;
	const offset = (index * bits) / 8;
	for (let at = offset; at < offset + bits / 8; at += 4) memory.setU32(RESULT + at, memory.u32(RIGHT + at));
	return Mxcsr.IE;
}

/** What does not fit an integer whatever the rounding: the integer indefinite. Programs probe for it. */
function quickInteger(memory: Memory, bits: number, index: number, control: number): number {
	const width = control & ~1;
	const value = readNumber(memory, RIGHT, bits, index);
	const limit = 2 ** (width - 1);
	if (value > -limit - 1 && value < limit) return NEEDS_EXACT;
	// In double precision nothing lies between -2^63 - 1 and -2^63.
	if (value === -limit) return NEEDS_EXACT;
	if (width === 32) memory.setU32(RESULT + index * 4, 0x8000_0000);
	else {
		memory.setU32(RESULT + index * 8, 0);
		memory.setU32(RESULT + index * 8 + 4, 0x8000_0000);
	}
	return Mxcsr.IE;
}

/** Computes one lane into RESULT. @returns its exceptions, or {@link NEEDS_EXACT}. */
export function quickLane(
	memory: Memory,
	operation: number,
	bits: number,
	index: number,
	control: number,
	mxcsr: number,
): number {
	switch (operation) {
		case SimdOperation.add:
		case SimdOperation.subtract:
		case SimdOperation.addSubtract:
		case SimdOperation.multiply:
		case SimdOperation.divide:
		case SimdOperation.squareRoot:
			if ((mxcsr & ROUNDING) !== 0) return NEEDS_EXACT;
			return bits === 64 ? quickDouble(memory, operation, index, mxcsr) : quickSingle(memory, operation, index, mxcsr);
		case SimdOperation.minimum:
		case SimdOperation.maximum:
			return quickExtremum(memory, bits, index, mxcsr);
		case SimdOperation.toInteger:
			return quickInteger(memory, bits, index, control);
		default:
			return NEEDS_EXACT;
	}
}
