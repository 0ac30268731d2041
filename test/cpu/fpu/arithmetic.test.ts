/** Extended arithmetic on any host: against JavaScript's doubles at 53 bits of precision, and against values from the manuals. */
import { describe, expect, it } from "vitest";
import { add, multiply, subtract } from "../../../src/cpu/fpu/arithmetic.ts";
import { constants, loadConstant } from "../../../src/cpu/fpu/constants.ts";
import { fromFloat64, stored, toFloat } from "../../../src/cpu/fpu/conversion.ts";
import { divide, partialRemainder, remainderOutcome, squareRoot } from "../../../src/cpu/fpu/division.ts";
import { Extended, FloatEnvironment, Status } from "../../../src/cpu/fpu/extended.ts";
import { F, LN_2, PI } from "../../../src/cpu/fpu/fixed-point.ts";
import { yLog2XPlus1 } from "../../../src/cpu/fpu/logarithm.ts";
import { arctangent2, sin } from "../../../src/cpu/fpu/trigonometry.ts";
import { Random } from "./cases.ts";

const environment = new FloatEnvironment();
const words = new DataView(new ArrayBuffer(8));

function extended(value: number): Extended {
	const result = new Extended();
	words.setFloat64(0, value);
	fromFloat64(environment, words.getUint32(0), words.getUint32(4), result);
	return result;
}

function double(value: Extended): number {
	toFloat(environment, value, 53);
	words.setUint32(0, stored.high);
	words.setUint32(4, stored.low);
	return words.getFloat64(0);
}

function text(value: Extended): string {
	const hexadecimal = (word: number, digits: number) => word.toString(16).padStart(digits, "0");
	return `${hexadecimal(value.signExponent, 4)} ${hexadecimal(value.high, 8)}${hexadecimal(value.low, 8)}`;
}

/** A double far from overflow and underflow, often with few bits so that ties and exact results occur. */
function someDouble(random: Random): number {
	const magnitude = random.chance(3) ? random.below(1024) : random.u32() * 2 ** 21 + random.below(2 ** 21);
	return (random.chance(2) ? -1 : 1) * magnitude * 2 ** (random.below(120) - 60);
}

describe("at 53 bits of precision", () => {
	it.each([
		["add", add, (a: number, b: number) => a + b],
		["subtract", subtract, (a: number, b: number) => a - b],
		["multiply", multiply, (a: number, b: number) => a * b],
		["divide", divide, (a: number, b: number) => a / b],
	] as const)("%s is that of doubles", (_name, operation, reference) => {
		const random = new Random(1234);
		const result = new Extended();
		for (let i = 0; i < 3000; i++) {
			const a = someDouble(random);
			const b = someDouble(random);
			environment.begin(0x27f);
			operation(environment, extended(a), extended(b), result);
			expect(double(result), `${a}, ${b}`).toEqual(reference(a, b));
		}
	});

	it("square roots and remainders are those of doubles", () => {
		const random = new Random(99);
		const result = new Extended();
		for (let i = 0; i < 2000; i++) {
			const a = Math.abs(someDouble(random));
			const b = someDouble(random) || 1;
			environment.begin(0x27f);
			squareRoot(environment, extended(a), result);
			expect(double(result), `${a}`).toBe(Math.sqrt(a));
			result.copy(extended(a));
			let steps = 0;
			do {
				partialRemainder(environment, result, extended(b), false, result);
				steps++;
			} while (remainderOutcome.partial && steps < 10);
			expect(double(result), `${a} % ${b}`).toBe(a % b);
		}
	});
});

describe("in extended precision", () => {
	it.each([
		["nearest", 0x000, "3ffd aaaaaaaaaaaaaaab", true],
		["down", 0x400, "3ffd aaaaaaaaaaaaaaaa", false],
		["up", 0x800, "3ffd aaaaaaaaaaaaaaab", true],
		["to zero", 0xc00, "3ffd aaaaaaaaaaaaaaaa", false],
	])("1/3 rounds %s", (_name, rounding, expected, up) => {
		const result = new Extended();
		environment.begin(0x37f | rounding);
		divide(environment, extended(1), extended(3), result);
		expect(text(result)).toBe(expected);
		expect(environment.exceptions).toBe(Status.PE);
		expect(environment.roundedUp).toBe(up);
	});

	it.each([
		["FLDL2T", "4000 d49a784bcd1b8afe", "4000 d49a784bcd1b8aff"],
		["FLDL2E", "3fff b8aa3b295c17f0bc", "3fff b8aa3b295c17f0bc"],
		["FLDPI", "4000 c90fdaa22168c235", "4000 c90fdaa22168c235"],
		["FLDLG2", "3ffd 9a209a84fbcff799", "3ffd 9a209a84fbcff799"],
		["FLDLN2", "3ffe b17217f7d1cf79ac", "3ffe b17217f7d1cf79ac"],
	])("%s", (name, nearest, up) => {
		const constant = constants.find((candidate) => candidate.name === name);
		const result = new Extended();
		for (const [control, expected] of [
			[0x37f, nearest],
			[0xb7f, up],
		] as const) {
			environment.begin(control);
			if (constant !== undefined) {
				loadConstant(environment, constant, result);
			}
			expect(text(result)).toBe(expected);
		}
	});

	it("has four arctangents of 1 make pi, and a sine of 66-bit pi that shows its error", () => {
		const result = new Extended();
		environment.begin(0x37f);
		arctangent2(environment, extended(1), extended(1), result);
		expect(text(result)).toBe("3ffe c90fdaa22168c235");
		const pi = new Extended();
		pi.set(0x4000, 0xc90f_daa2, 0x2168_c235);
		sin(environment, pi, result);
		// pi rounded up to 64 bits exceeds the 66-bit pi by 2^-64.
		expect(text(result)).toBe("bfbf 8000000000000000");
	});

	it("takes a bounded time next to the singularity of FYL2XP1", () => {
		const x = new Extended();
		x.set(0xbffe, 0xffff_ffff, 0xffff_ffff);
		const result = new Extended();
		environment.begin(0x37f);
		yLog2XPlus1(environment, x, extended(1), result);
		expect(double(result)).toBe(-64);
	});

	it("wraps the exponent of an unmasked overflow, and leaves the result of an unmasked invalid operation alone", () => {
		const large = new Extended();
		large.set(0x7ffe, 0x8000_0000, 0);
		const result = new Extended();
		environment.begin(0x377);
		expect(multiply(environment, large, large, result)).toBe(true);
		expect(text(result)).toBe(`${(0x7ffe + 0x7ffe - 0x3fff - 0x6000).toString(16)} 8000000000000000`);
		expect(environment.exceptions).toBe(Status.OE);
		environment.begin(0x37e);
		expect(divide(environment, extended(0), extended(0), result)).toBe(false);
		expect(environment.exceptions).toBe(Status.IE);
	});
});

describe("the constants of the series", () => {
	const BITS = F + 32n;

	/** sum of sign^k / ((2k + 1) n^(2k + 1)): arctan(1/n), or with sign 1 artanh(1/n). */
	function inverse(n: bigint, sign: bigint): bigint {
		let power = (1n << BITS) / n;
		let sum = 0n;
		for (let k = 1n; power !== 0n; k += 2n) {
			sum += power / k;
			power = (power * sign) / (n * n);
		}
		return sum;
	}

	it("are Machin's pi and 2 artanh(1/3)", () => {
		expect((4n * (4n * inverse(5n, -1n) - inverse(239n, -1n))) >> 32n).toBe(PI);
		expect((2n * inverse(3n, 1n)) >> 32n).toBe(LN_2);
	});
});
