/**
 * The service behind emitted SIMD code: operations of SSE computed exactly on the operands in the mailbox, with MXCSR's exceptions.
 * semantics/sse-check.ts says when emitted code comes here, and which flags of MXCSR it does not record itself.
 */

import type { Memory } from "../../memory/memory.ts";
import { CR4, CRC32C_TABLE, MXCSR, STATE } from "../layout.ts";
import { Vector } from "../processor.ts";
import {
	add,
	comparisonExceptions,
	convert,
	divide,
	extremum,
	fromInteger,
	type Lane,
	multiply,
	operand,
	roundToIntegral,
	squareRoot,
	toInteger,
} from "./exact.ts";
import { DOUBLE, type Format, Mxcsr, SINGLE } from "./format.ts";
import { LEFT, RESULT, RIGHT, SimdOperation } from "./operations.ts";
import { NEEDS_EXACT, quickComparison, quickLane } from "./quick.ts";
import { compareStrings } from "./strings.ts";

const BEFORE = Mxcsr.IE | Mxcsr.DE | Mxcsr.ZE;
const CR4_OSXMMEXCPT = 0x400;

function read(memory: Memory, address: number, bits: number, lane: number): bigint {
	return bits === 32 ? BigInt(memory.u32(address + lane * 4)) : memory.big(address + lane * 8);
}

function write(memory: Memory, address: number, bits: number, lane: number, value: bigint): void {
	if (bits === 32) memory.setU32(address + lane * 4, Number(value));
	else memory.setBig(address + lane * 8, value);
}

const anyUnmasked = (mxcsr: number, exceptions: number): number => exceptions & ~(mxcsr >> Mxcsr.maskShift);

/** Flags of all lanes to MXCSR. @returns the vector where one is unmasked; what can be told before computing goes first (SDM 11.5.3). */
function raise(memory: Memory, mxcsr: number, exceptions: number): number {
	const unmasked = anyUnmasked(mxcsr, exceptions);
	const seen = (unmasked & BEFORE) !== 0 ? exceptions & BEFORE : exceptions;
	memory.setU32(STATE + MXCSR, mxcsr | seen);
	if (unmasked === 0) return 0;
	return (memory.u32(STATE + CR4) & CR4_OSXMMEXCPT) !== 0 ? Vector.simd : Vector.invalidOpcode;
}

/**
 * DPPS and DPPD. Each step is an operation of its own: where it raises, the later ones do not happen. `byLanes`: each lane adds for itself, and so
 * has its own choice of two NaNs: of DPPS, the first step's other lane before its own.
 */
function dotProduct(
	memory: Memory,
	format: Format,
	lanes: number,
	control: number,
	mxcsr: number,
	byLanes: boolean,
): number {
	const { bits } = format;
	let exceptions = 0;
	let sums: bigint[] = [];
	for (let lane = 0; lane < lanes; lane++) {
		if (((control >> (4 + lane)) & 1) === 0) sums.push(0n);
		else {
			const product = multiply(format, read(memory, LEFT, bits, lane), read(memory, RIGHT, bits, lane), mxcsr);
			exceptions |= product.exceptions;
			sums.push(product.bits);
		}
	}
	let vector = raise(memory, mxcsr, exceptions);
	for (let distance = 1; vector === 0 && distance < lanes; distance *= 2) {
		exceptions = 0;
		const otherFirst = byLanes && lanes === 4 && distance === 1;
		const next = sums.map((own, lane) => {
			const other = sums[lane ^ distance]!;
			// Without lanes of their own, all have what the lowest has.
			const swapped = byLanes ? otherFirst : (lane & distance) !== 0;
			const sum = swapped ? add(format, other, own, mxcsr) : add(format, own, other, mxcsr);
			exceptions |= sum.exceptions;
			return sum.bits;
		});
		sums = next;
		vector = raise(memory, memory.u32(STATE + MXCSR), exceptions);
	}
	for (let lane = 0; lane < lanes; lane++) {
		write(memory, RESULT, bits, lane, ((control >> lane) & 1) !== 0 ? sums[lane]! : 0n);
	}
	return vector;
}

function compare(memory: Memory, format: Format, lanes: number, control: number, mxcsr: number): number {
	let exceptions = 0;
	for (let lane = 0; lane < lanes; lane++) {
		if ((mxcsr & Mxcsr.DAZ) === 0) {
			exceptions |= quickComparison(memory, format.bits, lane, control !== 0);
			continue;
		}
		const left = operand(format, read(memory, LEFT, format.bits, lane), mxcsr);
		const right = operand(format, read(memory, RIGHT, format.bits, lane), mxcsr);
		exceptions |= comparisonExceptions(format, left, right, control !== 0);
		write(memory, LEFT, format.bits, lane, left);
		write(memory, RIGHT, format.bits, lane, right);
	}
	return raise(memory, mxcsr, exceptions);
}

function compute(
	memory: Memory,
	operation: number,
	format: Format,
	index: number,
	control: number,
	mxcsr: number,
): Lane {
	const { bits } = format;
	const left = read(memory, LEFT, bits, index);
	const right = read(memory, RIGHT, bits, index);
	switch (operation) {
		case SimdOperation.add:
			return add(format, left, right, mxcsr);
		case SimdOperation.subtract:
			return add(format, left, right, mxcsr, true);
		case SimdOperation.addSubtract:
			return add(format, left, right, mxcsr, (index & 1) === 0);
		case SimdOperation.multiply:
			return multiply(format, left, right, mxcsr);
		case SimdOperation.divide:
			return divide(format, left, right, mxcsr);
		case SimdOperation.minimum:
		case SimdOperation.maximum:
			return extremum(format, left, right, mxcsr, operation === SimdOperation.maximum);
		case SimdOperation.squareRoot:
			return squareRoot(format, right, mxcsr);
		case SimdOperation.round:
			return roundToIntegral(format, right, control, mxcsr);
		case SimdOperation.fromInteger:
			return fromInteger(format, BigInt.asIntN(control, read(memory, RIGHT, control, index)), mxcsr);
		case SimdOperation.toInteger:
			return toInteger(format, right, control & ~1, (control & 1) !== 0, mxcsr);
		case SimdOperation.narrow:
			return convert(DOUBLE, SINGLE, read(memory, RIGHT, 64, index), mxcsr);
		case SimdOperation.widen:
			return convert(SINGLE, DOUBLE, read(memory, RIGHT, 32, index), mxcsr);
		default:
			throw new RangeError(`SIMD operation ${operation}`);
	}
}

/** Bits of a lane of the result. */
function resultBits(operation: number, format: Format, control: number): number {
	switch (operation) {
		case SimdOperation.toInteger:
			return control & ~1;
		case SimdOperation.narrow:
			return 32;
		case SimdOperation.widen:
			return 64;
		default:
			return format.bits;
	}
}

/** CRC-32C by bytes: the polynomial 0x1edc6f41, reflected. */
function fillCrcTable(memory: Memory): number {
	for (let byte = 0; byte < 256; byte++) {
		let crc = byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
		memory.setU32(CRC32C_TABLE + byte * 4, crc);
	}
	return 0;
}

/**
 * @param request operation | lanes << 8 | bits of a lane << 16
 * @returns 0 or an exception vector; PCMPxSTRx: the arithmetic flags.
 */
export function simdService(memory: Memory, request: number, control: number): number {
	const operation = request & 0xff;
	if (operation === SimdOperation.compareStrings) return compareStrings(memory, control);
	if (operation === SimdOperation.fillCrcTable) return fillCrcTable(memory);
	const lanes = (request >> 8) & 0xff;
	const format = request >> 16 === 32 ? SINGLE : DOUBLE;
	const mxcsr = memory.u32(STATE + MXCSR);
	if (operation === SimdOperation.compare) return compare(memory, format, lanes, control, mxcsr);
	if (operation === SimdOperation.dotProduct) return dotProduct(memory, format, lanes, control, mxcsr, false);
	if (operation === SimdOperation.dotProductByLanes) return dotProduct(memory, format, lanes, control, mxcsr, true);
	// Scalar operations keep the other lanes of the first operand.
	for (let offset = 0; offset < 16; offset += 4) memory.setU32(RESULT + offset, memory.u32(LEFT + offset));
	const width = resultBits(operation, format, control);
	let exceptions = 0;
	for (let index = 0; index < lanes; index++) {
		const quick = quickLane(memory, operation, format.bits, index, control, mxcsr);
		if (quick !== NEEDS_EXACT) {
			exceptions |= quick;
			continue;
		}
		const lane = compute(memory, operation, format, index, control, mxcsr);
		exceptions |= lane.exceptions;
		write(memory, RESULT, width, index, lane.bits);
	}
	return raise(memory, mxcsr, exceptions);
}
