/**
 * What emitted SIMD code and its TypeScript service agree on: numbers of the operations and where operands lie in the mailbox.
 * The service takes (operation | lanes << 8 | bits of a lane << 16, control) and returns 0 or an exception vector.
 */
import { MAILBOX } from "../layout.ts";

/** Operands and result of the service: 16 bytes each. */
export const LEFT = MAILBOX;
export const RIGHT = MAILBOX + 16;
export const RESULT = MAILBOX + 32;

export const SimdOperation = {
	add: 0,
	subtract: 1,
	multiply: 2,
	divide: 3,
	minimum: 4,
	maximum: 5,
	/** Of the right operand. */
	squareRoot: 6,
	/** Subtracts in even lanes, adds in odd ones. */
	addSubtract: 7,
	/** Raises what a comparison raises, and leaves the operands as it sees them (DAZ) in LEFT and RIGHT; control: 1 = also for a quiet NaN. */
	compare: 8,
	/** To an integer in the same format; control: immediate of ROUNDPS. */
	round: 9,
	/** i32 lanes, or one i64, of the right operand to floating point of `bits`; control: bits of the integers. */
	fromInteger: 10,
	/** Floating point of `bits` to integers; control: bits of the integers, plus 1 to truncate. */
	toInteger: 11,
	/** f64 lanes to f32. */
	narrow: 12,
	/** f32 lanes to f64. */
	widen: 13,
	/** DPPS, DPPD; control: the immediate. */
	dotProduct: 14,
	/** The same, added up in each lane. */
	dotProductByLanes: 17,
	/** PCMPESTRx and PCMPISTRx: see strings.ts. */
	compareStrings: 15,
	/** Fills the table of CRC32 (layout.CRC32C_TABLE). */
	fillCrcTable: 16,
} as const;
export type SimdOperation = (typeof SimdOperation)[keyof typeof SimdOperation];
