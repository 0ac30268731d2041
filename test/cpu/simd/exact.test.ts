/** The exact operations of SSE against JavaScript's own arithmetic, and their directed rounding against the definition. */
import { describe, expect, it } from "vitest";
import {
	add,
	divide,
	type Lane,
	multiply,
	roundToIntegral,
	squareRoot,
	toInteger,
} from "../../../src/cpu/simd/exact.ts";
import { DOUBLE, type Format, Mxcsr, SINGLE } from "../../../src/cpu/simd/format.ts";

const view = new DataView(new ArrayBuffer(8));
function bitsOf(format: Format, value: number): bigint {
	if (format === SINGLE) {
		view.setFloat32(0, value);
		return BigInt(view.getUint32(0));
	}
	view.setFloat64(0, value);
	return view.getBigUint64(0);
}
function toNumber(format: Format, bits: bigint): number {
	if (format === SINGLE) {
		view.setUint32(0, Number(bits));
		return view.getFloat32(0);
	}
	view.setBigUint64(0, bits);
	return view.getFloat64(0);
}

let state = 12345;
function word(): number {
	state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
	return (state >>> 8) ^ (state << 20);
}
/** Random bits, exponents near each other and at both ends of the range. */
function number(format: Format): number {
	const fractionBits = BigInt(format.precision - 1);
	const fraction = ((BigInt(word() >>> 0) << 32n) | BigInt(word() >>> 0)) & ((1n << fractionBits) - 1n);
	const sparse = word() % 3 === 0 ? fraction & ~0xff_ffffn : fraction;
	const kind = word() & 3;
	const spread = Math.abs(word()) % 60;
	const exponent =
		kind === 0 ? spread >> 3 : kind === 1 ? format.special - 1 - (spread >> 2) : format.bias - 30 + spread;
	return toNumber(format, (word() & 1 ? format.signBit : 0n) | (BigInt(exponent) << fractionBits) | sparse);
}

const MASKED = 0x1f80;
const OPERATIONS: Readonly<
	Record<string, [(of: Format, a: bigint, b: bigint, m: number) => Lane, (a: number, b: number) => number]>
> = {
	add: [add, (a, b) => a + b],
	subtract: [(of, a, b, m) => add(of, a, b, m, true), (a, b) => a - b],
	multiply: [multiply, (a, b) => a * b],
	divide: [divide, (a, b) => a / b],
	squareRoot: [(of, a, _, m) => squareRoot(of, a, m), (a) => Math.sqrt(a)],
};

describe.each([
	["single", SINGLE],
	["double", DOUBLE],
] as const)("%s precision", (_, format) => {
	// Rounding a double result to single once more is innocuous for these operations: 53 >= 2 * 24 + 2.
	const nearest = (value: number): number => (format === SINGLE ? Math.fround(value) : value);

	it.each(Object.entries(OPERATIONS))("%s rounds as JavaScript does", (_name, [operation, reference]) => {
		const wrong: [number, number][] = [];
		for (let i = 0; i < 2000; i++) {
			const a = number(format);
			const b = number(format);
			const expected = nearest(reference(a, b));
			const got = operation(format, bitsOf(format, a), bitsOf(format, b), MASKED);
			if (Number.isNaN(expected)) {
				if (got.bits !== format.indefinite || got.exceptions !== Mxcsr.IE) wrong.push([a, b]);
			} else if (!Object.is(toNumber(format, got.bits), expected)) wrong.push([a, b]);
		}
		expect(wrong).toEqual([]);
	});

	it.each(Object.entries(OPERATIONS))("%s: directed modes enclose the result", (_name, [operation]) => {
		const wrong: bigint[][] = [];
		for (let i = 0; i < 1000; i++) {
			const a = bitsOf(format, number(format));
			const b = bitsOf(format, number(format));
			const [near, down, up, zero] = [0, 1, 2, 3].map((mode) => operation(format, a, b, MASKED | (mode << 13)));
			const values = [near!, down!, up!, zero!].map(({ bits }) => toNumber(format, bits));
			const [n, d, u, z] = values as [number, number, number, number];
			if (Number.isNaN(n)) continue;
			const exact = (near!.exceptions & Mxcsr.PE) === 0;
			const towardsZero = d < 0 || Object.is(d, -0) ? u : d;
			const enclosed = exact ? d === n && u === n && z === n : d < u && (n === d || n === u) && z === towardsZero;
			if (!enclosed) wrong.push([a, b]);
		}
		expect(wrong).toEqual([]);
	});

	it("flushes with FTZ and DAZ", () => {
		const smallest = bitsOf(format, format === SINGLE ? 2 ** -126 : 2 ** -1022);
		const half = bitsOf(format, 0.5);
		const one = bitsOf(format, 1);
		expect(multiply(format, smallest, half, MASKED)).toEqual({ bits: smallest >> 1n, exceptions: 0 });
		expect(multiply(format, smallest, half, MASKED | Mxcsr.FTZ)).toEqual({ bits: 0n, exceptions: Mxcsr.UE | Mxcsr.PE });
		expect(multiply(format, 1n, one, MASKED)).toEqual({ bits: 1n, exceptions: Mxcsr.DE });
		expect(multiply(format, 1n | format.signBit, one, MASKED | Mxcsr.DAZ)).toEqual({
			bits: format.signBit,
			exceptions: 0,
		});
	});

	it("converts to integers in every mode", () => {
		const convert = (value: number, mode: number): number =>
			Number(BigInt.asIntN(32, toInteger(format, bitsOf(format, value), 32, false, MASKED | (mode << 13)).bits));
		expect([0, 1, 2, 3].map((mode) => convert(2.5, mode))).toEqual([2, 2, 3, 2]);
		expect([0, 1, 2, 3].map((mode) => convert(-2.5, mode))).toEqual([-2, -3, -2, -2]);
		expect(convert(2 ** 31, 0)).toBe(-(2 ** 31));
		expect(toInteger(format, bitsOf(format, 2 ** 40), 32, true, MASKED).exceptions).toBe(Mxcsr.IE);
	});

	it("rounds to integral values", () => {
		const round = (value: number, control: number): number =>
			toNumber(format, roundToIntegral(format, bitsOf(format, value), control, MASKED).bits);
		expect([-0.5, 0.5, 1.5, -1.5, 2.5].map((value) => round(value, 0))).toEqual([-0, 0, 2, -2, 2]);
		expect([-0.5, 0.5].map((value) => round(value, 1))).toEqual([-1, 0]);
		expect([-0.5, 0.5].map((value) => round(value, 2))).toEqual([-0, 1]);
	});
});
