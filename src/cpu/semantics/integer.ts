/** Arithmetic, logic and data movement of the general registers. */

import { type I64, i32, i64, select } from "../../wasm/expression.ts";
import { Vector } from "../processor.ts";
import { Gpr } from "../registers.ts";
import type { Context } from "./context.ts";
import {
	carryAndOverflow,
	carryFlag,
	condition,
	flagsOfAdd,
	flagsOfAddWithCarry,
	flagsOfLogic,
	flagsOfStep,
	flagsOfSubtract,
	flagsOfSubtractWithBorrow,
	packArithmetic,
	sext,
	unpackArithmetic,
	zext,
} from "./flags.ts";
import { instruction, type Operand } from "./table.ts";

const hex = (value: number): string => value.toString(16).padStart(2, "0");

/** A source operand whose high bits do not matter: immediates come sign-extended. */
function source(c: Context, operand: Operand): I64 {
	return operand.form.kind === "immediate" ? c.readSigned(operand) : c.read(operand);
}

/** The eight operations that share the encodings 00-3f and 80-83. */
const ARITHMETIC: readonly [string, (c: Context, bits: number, left: I64, right: I64) => I64][] = [
	["add", add],
	["or", (c, bits, left, right) => logic(c, bits, i64.or(left, right))],
	["adc", (c, bits, left, right) => addWithCarry(c, bits, left, right)],
	["sbb", (c, bits, left, right) => subtractWithBorrow(c, bits, left, right)],
	["and", (c, bits, left, right) => logic(c, bits, i64.and(left, right))],
	["sub", subtract],
	["xor", (c, bits, left, right) => logic(c, bits, i64.xor(left, right))],
	["cmp", subtract],
];

function add(c: Context, bits: number, left: I64, right: I64): I64 {
	const sum = c.f.let(i64.add(left, right));
	flagsOfAdd(c, bits, left, right, sum);
	return sum;
}
function subtract(c: Context, bits: number, left: I64, right: I64): I64 {
	const difference = c.f.let(i64.sub(left, right));
	flagsOfSubtract(c, bits, left, right, difference);
	return difference;
}
function logic(c: Context, bits: number, value: I64): I64 {
	const result = c.f.let(value);
	flagsOfLogic(c, bits, result);
	return result;
}
function addWithCarry(c: Context, bits: number, left: I64, right: I64): I64 {
	const sum = c.f.let(i64.add(i64.add(left, right), carryFlag(c)));
	flagsOfAddWithCarry(c, bits, left, right, sum);
	return sum;
}
function subtractWithBorrow(c: Context, bits: number, left: I64, right: I64): I64 {
	const difference = c.f.let(i64.sub(i64.sub(left, right), carryFlag(c)));
	flagsOfSubtractWithBorrow(c, bits, left, right, difference);
	return difference;
}

for (const [number, [name, operation]] of ARITHMETIC.entries()) {
	const base = number * 8;
	const encodings = [
		`${hex(base)} Eb,Gb`,
		`${hex(base + 1)} Ev,Gv`,
		`${hex(base + 2)} Gb,Eb`,
		`${hex(base + 3)} Gv,Ev`,
		`${hex(base + 4)} AL,Ib`,
		`${hex(base + 5)} rAX,Iz`,
		`80 /${number} Eb,Ib`,
		`81 /${number} Ev,Iz`,
		`83 /${number} Ev,Ibs`,
	];
	const compares = name === "cmp";
	const options = {
		...(compares ? { access: "r r" } : { lock: true }),
		...(name === "and" || name === "or" || name === "xor" ? { undefinedFlags: "AF" } : {}),
	};
	const semantics = (c: Context, destination: Operand, from: Operand): void => {
		const left = c.read(destination);
		const right = source(c, from);
		const result = operation(c, destination.bits, left, right);
		if (!compares) c.write(destination, result);
	};
	instruction(name, encodings, options, semantics as never);
	instruction(name, [`82 /${number} Eb,Ib`], { ...options, mode: "compat" }, semantics as never);
}

instruction(
	"test",
	["84 Eb,Gb", "85 Ev,Gv", "a8 AL,Ib", "a9 rAX,Iz", "f6 /0 Eb,Ib", "f7 /0 Ev,Iz", "f6 /1 Eb,Ib", "f7 /1 Ev,Iz"],
	{ access: "r r", undefinedFlags: "AF" },
	(c, left, right) => flagsOfLogic(c, left!.bits, c.f.let(i64.and(c.read(left!), source(c, right!)))),
);

for (const [name, digit, down] of [
	["inc", 0, false],
	["dec", 1, true],
] as const) {
	const semantics = (c: Context, operand: Operand): void => {
		const value = c.read(operand);
		const result = c.f.let(down ? i64.sub(value, i64.const(1)) : i64.add(value, i64.const(1)));
		flagsOfStep(c, operand.bits, value, result, down);
		c.write(operand, result);
	};
	instruction(name, [`fe /${digit} Eb`, `ff /${digit} Ev`], { lock: true }, semantics as never);
	instruction(name, [`${hex(0x40 + digit * 8)}+r Zv`], { mode: "compat" }, semantics as never);
}

instruction("not", ["f6 /2 Eb", "f7 /2 Ev"], { lock: true }, (c, operand) =>
	c.write(operand!, c.f.let(i64.xor(c.read(operand!), i64.const(-1)))),
);

instruction("neg", ["f6 /3 Eb", "f7 /3 Ev"], { lock: true }, (c, operand) => {
	const result = subtract(c, operand!.bits, i64.const(0), c.read(operand!));
	c.write(operand!, result);
});

// ---- multiplication and division ----

/** The upper 64 bits of the 128-bit product of two unsigned numbers. */
function multiplyHighUnsigned(c: Context, left: I64, right: I64): I64 {
	const low = (value: I64): I64 => i64.and(value, i64.const(0xffff_ffff));
	const high = (value: I64): I64 => i64.shr_u(value, i64.const(32));
	const [al, ah, bl, bh] = [c.f.let(low(left)), c.f.let(high(left)), c.f.let(low(right)), c.f.let(high(right))];
	const middle = c.f.let(i64.add(i64.mul(ah, bl), high(i64.mul(al, bl))));
	const cross = c.f.let(i64.add(i64.mul(al, bh), low(middle)));
	return c.f.let(i64.add(i64.add(i64.mul(ah, bh), high(middle)), high(cross)));
}

function multiplyHighSigned(c: Context, left: I64, right: I64): I64 {
	const high = multiplyHighUnsigned(c, left, right);
	const correction = i64.add(
		i64.and(i64.shr_s(left, i64.const(63)), right),
		i64.and(i64.shr_s(right, i64.const(63)), left),
	);
	return c.f.let(i64.sub(high, correction));
}

/** CF and OF say whether the product needs its upper half; the rest is undefined and follows the lower half. */
function flagsOfMultiply(c: Context, bits: number, low: I64, overflow: I64): void {
	c.setFlags(sext(low, bits), carryAndOverflow(c.f, overflow, overflow));
}

/** Product to AX, DX:AX, EDX:EAX or RDX:RAX. */
function wideMultiply(c: Context, operand: Operand, signed: boolean): void {
	const { bits } = operand;
	const value = c.f.let(signed ? c.readSigned(operand) : c.read(operand));
	const accumulator = c.f.let(signed ? sext(c.gpr(Gpr.rax, bits), bits) : c.gpr(Gpr.rax, bits));
	const low = c.f.let(i64.mul(accumulator, value));
	let high: I64;
	if (bits === 64) {
		high = signed ? multiplyHighSigned(c, accumulator, value) : multiplyHighUnsigned(c, accumulator, value);
	} else high = c.f.let(signed ? i64.shr_s(low, i64.const(bits)) : i64.shr_u(low, i64.const(bits)));
	if (bits === 8) c.setGpr(Gpr.rax, low, 16);
	else {
		c.setGpr(Gpr.rax, low, bits);
		c.setGpr(Gpr.rdx, high, bits);
	}
	const fits = signed ? i64.eq(sext(high, bits), i64.shr_s(sext(low, bits), i64.const(63))) : i64.eqz(zext(high, bits));
	flagsOfMultiply(c, bits, low, i64.extend_i32_u(i32.eqz(fits)));
}

const MULTIPLY_UNDEFINED = { access: "r", undefinedFlags: "SF ZF AF PF" };
instruction("mul", ["f6 /4 Eb", "f7 /4 Ev"], MULTIPLY_UNDEFINED, (c, operand) => wideMultiply(c, operand!, false));
instruction("imul", ["f6 /5 Eb", "f7 /5 Ev"], MULTIPLY_UNDEFINED, (c, operand) => wideMultiply(c, operand!, true));

function multiply(c: Context, destination: Operand, leftOperand: Operand, rightOperand: Operand): void {
	const { bits } = destination;
	const left = c.f.let(c.readSigned(leftOperand));
	const right = c.f.let(c.readSigned(rightOperand));
	const product = c.f.let(i64.mul(left, right));
	c.write(destination, product);
	const fits =
		bits === 64
			? i64.eq(multiplyHighSigned(c, left, right), i64.shr_s(product, i64.const(63)))
			: i64.eq(sext(product, bits), product);
	flagsOfMultiply(c, bits, product, i64.extend_i32_u(i32.eqz(fits)));
}
instruction("imul", ["0f af Gv,Ev"], { undefinedFlags: "SF ZF AF PF" }, (c, destination, from) =>
	multiply(c, destination!, destination!, from!),
);
instruction(
	"imul",
	["69 Gv,Ev,Iz", "6b Gv,Ev,Ibs"],
	{ access: "w r r", undefinedFlags: "SF ZF AF PF" },
	(c, destination, left, right) => multiply(c, destination!, left!, right!),
);

/**
 * Divides high:low by divisor (unsigned, high < divisor) by shifting and subtracting; only for dividends that do not fit 64 bits.
 * Returns [quotient, remainder].
 */
function longDivision(c: Context, high: I64, low: I64, divisor: I64): [I64, I64] {
	const { f } = c;
	const remainder = f.local("i64");
	const quotient = f.local("i64");
	const count = f.local("i32");
	f.set(remainder, high);
	f.set(quotient, low);
	f.set(count, i32.const(64));
	f.loop((again) => {
		const carry = f.let(i64.lt_s(remainder, i64.const(0)));
		f.set(remainder, i64.or(i64.shl(remainder, i64.const(1)), i64.shr_u(quotient, i64.const(63))));
		f.set(quotient, i64.shl(quotient, i64.const(1)));
		f.if(i32.or(carry, i64.ge_u(remainder, divisor)), () => {
			f.set(remainder, i64.sub(remainder, divisor));
			f.set(quotient, i64.or(quotient, i64.const(1)));
		});
		f.set(count, i32.sub(count, i32.const(1)));
		f.brIf(again, count);
	});
	return [quotient, remainder];
}

function divideUnsigned(c: Context, operand: Operand): void {
	const { f } = c;
	const { bits } = operand;
	const divisor = f.let(c.read(operand));
	f.if(i64.eqz(divisor), () => c.raise(Vector.divideError));
	if (bits < 64) {
		const dividend = f.let(
			bits === 8 ? c.gpr(Gpr.rax, 16) : i64.or(i64.shl(c.gpr(Gpr.rdx, bits), i64.const(bits)), c.gpr(Gpr.rax, bits)),
		);
		const quotient = f.let(i64.div_u(dividend, divisor));
		f.if(i64.gt_u(quotient, i64.const(2 ** bits - 1)), () => c.raise(Vector.divideError));
		const remainder = f.let(i64.rem_u(dividend, divisor));
		storeDivision(c, bits, quotient, remainder);
		return;
	}
	const high = f.let(c.gpr(Gpr.rdx));
	f.if(i64.ge_u(high, divisor), () => c.raise(Vector.divideError));
	const low = f.let(c.gpr(Gpr.rax));
	f.if(
		i64.eqz(high),
		() => {
			const remainder = f.let(i64.rem_u(low, divisor));
			storeDivision(c, 64, i64.div_u(low, divisor), remainder);
		},
		() => {
			const [quotient, remainder] = longDivision(c, high, low, divisor);
			storeDivision(c, 64, quotient, remainder);
		},
	);
}

function storeDivision(c: Context, bits: number, quotient: I64, remainder: I64): void {
	if (bits === 8) {
		c.setGpr(Gpr.rax, i64.or(zext(quotient, 8), i64.shl(zext(remainder, 8), i64.const(8))), 16);
	} else {
		c.setGpr(Gpr.rax, quotient, bits);
		c.setGpr(Gpr.rdx, remainder, bits);
	}
}

function divideSigned(c: Context, operand: Operand): void {
	const { f } = c;
	const { bits } = operand;
	const divisor = f.let(c.readSigned(operand));
	f.if(i64.eqz(divisor), () => c.raise(Vector.divideError));
	const minimum = i64.const(-0x8000_0000_0000_0000n);
	if (bits < 64) {
		const dividend = f.let(
			bits === 8
				? sext(c.gpr(Gpr.rax, 16), 16)
				: bits === 16
					? sext(i64.or(i64.shl(c.gpr(Gpr.rdx, 16), i64.const(16)), c.gpr(Gpr.rax, 16)), 32)
					: i64.or(i64.shl(c.gpr(Gpr.rdx, 32), i64.const(32)), c.gpr(Gpr.rax, 32)),
		);
		// -2^63 / -1 overflows in WebAssembly as it does here.
		f.if(i32.and(i64.eq(dividend, minimum), i64.eq(divisor, i64.const(-1))), () => c.raise(Vector.divideError));
		const quotient = f.let(i64.div_s(dividend, divisor));
		f.if(i64.ne(sext(quotient, bits), quotient), () => c.raise(Vector.divideError));
		const remainder = f.let(i64.rem_s(dividend, divisor));
		storeDivision(c, bits, quotient, remainder);
		return;
	}
	const low = f.let(c.gpr(Gpr.rax));
	const high = f.let(c.gpr(Gpr.rdx));
	f.if(
		i64.eq(high, i64.shr_s(low, i64.const(63))),
		() => {
			f.if(i32.and(i64.eq(low, minimum), i64.eq(divisor, i64.const(-1))), () => c.raise(Vector.divideError));
			const remainder = f.let(i64.rem_s(low, divisor));
			storeDivision(c, 64, i64.div_s(low, divisor), remainder);
		},
		() => {
			// Magnitudes, divided as unsigned numbers.
			const sign = f.let(i64.shr_s(high, i64.const(63)));
			const magnitudeLow = f.let(i64.sub(i64.xor(low, sign), sign));
			const borrow = i64.extend_i32_u(i32.and(i64.eqz(magnitudeLow), i64.ne(sign, i64.const(0))));
			const magnitudeHigh = f.let(i64.add(i64.xor(high, sign), borrow));
			const divisorSign = f.let(i64.shr_s(divisor, i64.const(63)));
			const magnitude = f.let(i64.sub(i64.xor(divisor, divisorSign), divisorSign));
			f.if(i64.ge_u(magnitudeHigh, magnitude), () => c.raise(Vector.divideError));
			const [quotient, remainder] = longDivision(c, magnitudeHigh, magnitudeLow, magnitude);
			const quotientSign = f.let(i64.xor(sign, divisorSign));
			const signedQuotient = f.let(i64.sub(i64.xor(quotient, quotientSign), quotientSign));
			// The quotient's sign must be the expected one, unless it is 0.
			f.if(
				i32.and(i64.ne(signedQuotient, i64.const(0)), i64.lt_s(i64.xor(signedQuotient, quotientSign), i64.const(0))),
				() => c.raise(Vector.divideError),
			);
			storeDivision(c, 64, signedQuotient, i64.sub(i64.xor(remainder, sign), sign));
		},
	);
}

const DIVIDE_UNDEFINED = { access: "r", undefinedFlags: "CF OF SF ZF AF PF" };
instruction("div", ["f6 /6 Eb", "f7 /6 Ev"], DIVIDE_UNDEFINED, (c, operand) => divideUnsigned(c, operand!));
instruction("idiv", ["f6 /7 Eb", "f7 /7 Ev"], DIVIDE_UNDEFINED, (c, operand) => divideSigned(c, operand!));

// ---- data movement ----

instruction(
	"mov",
	[
		"88 Eb,Gb",
		"89 Ev,Gv",
		"8a Gb,Eb",
		"8b Gv,Ev",
		"a0 AL,Ob",
		"a1 rAX,Ov",
		"a2 Ob,AL",
		"a3 Ov,rAX",
		"b0+r Zb,Ib",
		"b8+r Zv,Iv",
	],
	{ access: "w r" },
	(c, destination, from) => c.write(destination!, c.read(from!)),
);
instruction("mov", ["c6 /0 Eb,Ib", "c7 /0 Ev,Iz"], { access: "w r" }, (c, destination, from) =>
	c.write(destination!, c.readSigned(from!)),
);
instruction("movzx", ["0f b6 Gv,Eb", "0f b7 Gv,Ew"], { access: "w r" }, (c, destination, from) =>
	c.write(destination!, c.read(from!)),
);
instruction("movsx", ["0f be Gv,Eb", "0f bf Gv,Ew"], { access: "w r" }, (c, destination, from) =>
	c.write(destination!, c.readSigned(from!)),
);
instruction("movsxd", ["63 Gv,Ed"], { access: "w r", mode: "64" }, (c, destination, from) => {
	const bits = c.operandSize === 16 && c.vendor.movsxdReadsOperandSize ? 16 : from!.bits;
	c.write(destination!, c.readSigned({ ...from!, bits }));
});
instruction("lea", ["8d Gv,M"], { access: "w r" }, (c, destination, from) =>
	c.write(destination!, c.effectiveAddress(from!)),
);

instruction("xchg", ["86 Eb,Gb", "87 Ev,Gv", "90+r Zv,rAX"], { access: "rw rw", lock: true }, (c, left, right) => {
	const first = c.read(left!);
	const second = c.read(right!);
	c.write(left!, second);
	c.write(right!, first);
});

instruction("nop", ["90", "0f 1f /0 Ev", "0f 0d M"], { access: "r" }, () => {});
instruction("pause", ["f3 90"], {}, () => {});
// Hint NOPs (SDM volume 2, 0F 18-0F 1F): ENDBR and friends on processors without them.
instruction(
	"nop",
	[
		"0f 19 Ev",
		"0f 1a Ev",
		"0f 1b Ev",
		"0f 1c Ev",
		"0f 1d Ev",
		"0f 1e Ev",
		...[1, 2, 3, 4, 5, 6, 7].map((digit) => `0f 1f /${digit} Ev`),
	],
	{ access: "r" },
	() => {},
);

instruction("cbw", ["98"], { sized: true }, (c) => {
	const bits = c.operandSize;
	c.setGpr(Gpr.rax, sext(c.gpr(Gpr.rax, bits / 2), bits / 2), bits);
});
instruction("cwd", ["99"], { sized: true }, (c) => {
	const bits = c.operandSize;
	c.setGpr(Gpr.rdx, i64.shr_s(sext(c.gpr(Gpr.rax, bits), bits), i64.const(63)), bits);
});

instruction("bswap", ["0f c8+r Zv"], {}, (c, operand) => {
	const value = c.read(operand!);
	const byte = (from: number, to: number): I64 =>
		i64.shl(i64.and(i64.shr_u(value, i64.const(from)), i64.const(0xff)), i64.const(to));
	if (operand!.bits === 16) {
		// Undefined by the manual; processors clear the register's low 16 bits.
		c.write(operand!, i64.const(0));
		return;
	}
	const bytes = operand!.bits / 8;
	let result = byte(0, (bytes - 1) * 8);
	for (let index = 1; index < bytes; index++) result = i64.or(result, byte(index * 8, (bytes - 1 - index) * 8));
	c.write(operand!, c.f.let(result));
});

instruction("xadd", ["0f c0 Eb,Gb", "0f c1 Ev,Gv"], { access: "rw rw", lock: true }, (c, destination, from) => {
	const left = c.read(destination!);
	const right = c.read(from!);
	const sum = add(c, destination!.bits, left, right);
	// The destination is written last: XADD of a register with itself leaves the sum.
	if (destination!.memory) {
		c.write(destination!, sum);
		c.write(from!, left);
	} else {
		c.write(from!, left);
		c.write(destination!, sum);
	}
});

instruction("cmpxchg", ["0f b0 Eb,Gb", "0f b1 Ev,Gv"], { access: "rw r", lock: true }, (c, destination, from) => {
	const { f } = c;
	const { bits } = destination!;
	const value = c.read(destination!);
	const accumulator = f.let(c.gpr(Gpr.rax, bits));
	const replacement = c.read(from!);
	subtract(c, bits, accumulator, value);
	f.if(
		i64.eq(accumulator, value),
		() => c.write(destination!, replacement),
		() => {
			// A destination in memory is written back; a register keeps its upper half.
			if (destination!.memory) c.write(destination!, value);
			c.setGpr(Gpr.rax, value, bits);
		},
	);
});

for (let code = 0; code < 16; code++) {
	const suffix = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"][code]!;
	instruction(`cmov${suffix}`, [`0f ${hex(0x40 + code)} Gv,Ev`], {}, (c, destination, from) => {
		// The source is read whatever the condition; a 32-bit destination is zero-extended even if not moved.
		const value = c.read(from!);
		const old = c.read(destination!);
		c.write(destination!, select(c.f.let(condition(c, code)), value, old));
	});
	instruction(`set${suffix}`, [`0f ${hex(0x90 + code)} Eb`], { access: "w" }, (c, destination) =>
		c.write(destination!, i64.extend_i32_u(condition(c, code))),
	);
}

instruction("lahf", ["9f"], {}, (c) => {
	const flags = i64.or(i64.and(packArithmetic(c), i64.const(0xd5)), i64.const(2));
	const rax = i64.and(c.gpr(Gpr.rax), i64.const(~0xff00));
	c.setGpr(Gpr.rax, i64.or(rax, i64.shl(flags, i64.const(8))));
});
instruction("sahf", ["9e"], {}, (c) => {
	const kept = i64.and(packArithmetic(c), i64.const(0x800));
	unpackArithmetic(c, c.f.let(i64.or(kept, i64.and(i64.shr_u(c.gpr(Gpr.rax), i64.const(8)), i64.const(0xd5)))));
});

instruction("xlat", ["d7"], { addressSized: true }, (c) => {
	const offset = zext(i64.add(c.gpr(Gpr.rbx), c.gpr(Gpr.rax, 8)), c.addressSize);
	c.setGpr(Gpr.rax, c.load(8, c.segmented(offset, "operand")), 8);
});
