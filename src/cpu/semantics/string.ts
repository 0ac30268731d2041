/**
 * String instructions. Repeated forms work in portions: a portion is a bulk copy or fill within one page of each operand, or a bounded number of
 * single steps; then the instruction is executed again, which is where interrupts and the instruction budget get their turn.
 * After every step the registers say what remains, so a fault in the middle resumes there.
 */

import { type I32, type I64, i32, i64, select } from "../../wasm/expression.ts";
import { CROSSING, DEBUG_REGISTERS, FLAGS_OTHER } from "../layout.ts";
import { Flag, Gpr } from "../registers.ts";
import type { Context } from "./context.ts";
import { condition, flagsOfSubtract, zext } from "./flags.ts";
import { instruction } from "./table.ts";

const ES = 0;
/** Single steps in one portion. */
const STEPS = 256;
const DR7 = DEBUG_REGISTERS + 40;

const bitsOf = (c: Context, byte: boolean): number => (byte ? 8 : c.operandSize);
const directionFlag = (c: Context): I32 => i32.and(c.state32(FLAGS_OTHER), i32.const(Flag.DF));
/** Whether something looks at each iteration: the trap flag, or a breakpoint that DR7 enables. */
const watched = (c: Context): I32 =>
	i32.or(i32.and(c.state32(FLAGS_OTHER), i32.const(Flag.TF)), i32.and(c.state32(DR7), i32.const(0xff)));
/** Whether elements are to be handled one by one. */
const stepwiseOnly = (c: Context): I32 => i32.ne(i32.or(directionFlag(c), watched(c)), i32.const(0));

/** What the index registers move by: the operand's bytes, down when DF is set. */
function stride(c: Context, bits: number): I64 {
	const bytes = bits / 8;
	return c.f.let(select(directionFlag(c), i64.const(-bytes), i64.const(bytes)));
}

function advance(c: Context, register: number, by: I64): void {
	c.setGpr(register, c.f.let(i64.add(c.gpr(register), by)), c.addressSize);
}

const sourceAddress = (c: Context): I64 => c.segmented(c.gpr(Gpr.rsi, c.addressSize), "operand");
const destinationAddress = (c: Context): I64 => c.segmented(c.gpr(Gpr.rdi, c.addressSize), ES);
const count = (c: Context): I64 => c.gpr(Gpr.rcx, c.addressSize);

/**
 * Runs `step` while RCX is not zero and `goOn` (evaluated after it) holds, at most STEPS times (once if each iteration is
 * looked at), then has the instruction executed again.
 */
function repeat(c: Context, step: () => void, goOn?: () => I32): void {
	const { f } = c;
	const left = f.local("i32");
	f.set(left, select(watched(c), i32.const(1), i32.const(STEPS)));
	f.block((done) => {
		f.loop((again) => {
			f.brIf(done, i64.eqz(count(c)));
			f.if(i32.eqz(left), () => c.again());
			f.set(left, i32.sub(left, i32.const(1)));
			step();
			advance(c, Gpr.rcx, i64.const(-1));
			if (goOn !== undefined) f.brIf(done, i32.eqz(goOn()));
			f.br(again);
		});
	});
}

/**
 * How a repeated instruction begins: with 32-bit addresses in 64-bit mode the upper halves of its registers are cleared as it counts, and on some
 * makers' processors before its first access, which may fault.
 */
function beginRepeat(c: Context, registers: readonly number[]): void {
	if (!c.longMode || c.addressSize !== 32 || !c.vendor.repeatClearsUpperHalvesFirst) return;
	for (const register of registers) c.setGpr(register, c.gpr(register, 32), 32);
}

/** Bytes from an address to the end of its page. */
const bytesInPage = (address: I64): I64 => i64.sub(i64.const(4096), i64.and(address, i64.const(4095)));
const minimum = (c: Context, left: I64, right: I64): I64 => {
	const [a, b] = [c.f.let(left), c.f.let(right)];
	return c.f.let(select(i64.lt_u(a, b), a, b));
};

/** A single byte's address is that of a private copy only if stores to its page are diverted (mmu/walk.ts): those are made one by one. */
const isPrivateCopy = (linear: I32): I32 => i32.eq(linear, i32.const(CROSSING));

/** Elements that a bulk operation may handle: all that remain, but none beyond the page of any of the addresses. */
function portion(c: Context, bits: number, addresses: readonly I64[]): I64 {
	let elements = c.f.let(count(c));
	for (const address of addresses) {
		elements = minimum(c, elements, i64.shr_u(bytesInPage(address), i64.const(Math.log2(bits / 8))));
	}
	return elements;
}

/** Books a portion of `elements` done upwards, and has the instruction executed again if anything remains. */
function finishPortion(c: Context, bits: number, elements: I64, registers: readonly number[]): void {
	const { f } = c;
	const bytes = f.let(i64.mul(elements, i64.const(bits / 8)));
	for (const register of registers) advance(c, register, bytes);
	advance(c, Gpr.rcx, i64.sub(i64.const(0), elements));
	f.if(i64.ne(count(c), i64.const(0)), () => c.again());
}

for (const [opcode, byte] of [
	["a4", true],
	["a5", false],
] as const) {
	instruction("movs", [opcode], { rep: "rep", sized: !byte, addressSized: true }, (c) => {
		const { f } = c;
		const bits = bitsOf(c, byte);
		const one = (): void => {
			const by = stride(c, bits);
			c.store(bits, f.let(destinationAddress(c)), c.load(bits, sourceAddress(c)));
			advance(c, Gpr.rsi, by);
			advance(c, Gpr.rdi, by);
		};
		if (c.rep === "none") {
			one();
			return;
		}
		beginRepeat(c, [Gpr.rcx, Gpr.rsi, Gpr.rdi]);
		f.block((done) => {
			f.brIf(done, i64.eqz(count(c)));
			const from = f.let(sourceAddress(c));
			const to = f.let(destinationAddress(c));
			const elements = portion(c, bits, [from, to]);
			f.block((stepwise) => {
				f.brIf(stepwise, i32.or(stepwiseOnly(c), i64.lt_u(elements, i64.const(2))));
				const bytes = f.let(i32.wrap(i64.mul(elements, i64.const(bits / 8))));
				const source = c.linear(from, "r");
				const destination = c.linear(to, "w");
				f.brIf(stepwise, isPrivateCopy(destination));
				// A destination that starts inside the source repeats what was just written: only steps do that.
				f.brIf(stepwise, i32.lt_u(i32.sub(i32.sub(destination, source), i32.const(1)), i32.sub(bytes, i32.const(1))));
				f.memoryCopy(destination, source, bytes);
				finishPortion(c, bits, elements, [Gpr.rsi, Gpr.rdi]);
				f.br(done);
			});
			repeat(c, one);
		});
	});
}

for (const [opcode, byte] of [
	["aa", true],
	["ab", false],
] as const) {
	instruction("stos", [opcode], { rep: "rep", sized: !byte, addressSized: true }, (c) => {
		const { f } = c;
		const bits = bitsOf(c, byte);
		const one = (): void => {
			const by = stride(c, bits);
			c.store(bits, f.let(destinationAddress(c)), c.gpr(Gpr.rax, bits));
			advance(c, Gpr.rdi, by);
		};
		if (c.rep === "none") {
			one();
			return;
		}
		beginRepeat(c, [Gpr.rcx, Gpr.rdi]);
		f.block((done) => {
			f.brIf(done, i64.eqz(count(c)));
			const to = f.let(destinationAddress(c));
			const elements = portion(c, bits, [to]);
			f.block((stepwise) => {
				f.brIf(stepwise, i32.or(stepwiseOnly(c), i64.lt_u(elements, i64.const(2))));
				// A fill writes one byte value: all bytes of the element must be alike.
				const value = f.let(c.gpr(Gpr.rax, bits));
				const pattern = i64.mul(i64.and(value, i64.const(0xff)), i64.const(0x0101_0101_0101_0101n));
				f.brIf(stepwise, i64.ne(zext(pattern, bits), value));
				const bytes = f.let(i32.wrap(i64.mul(elements, i64.const(bits / 8))));
				const destination = f.let(c.linear(to, "w"));
				f.brIf(stepwise, isPrivateCopy(destination));
				f.memoryFill(destination, i32.wrap(value), bytes);
				finishPortion(c, bits, elements, [Gpr.rdi]);
				f.br(done);
			});
			repeat(c, one);
		});
	});
}

for (const [opcode, byte] of [
	["ac", true],
	["ad", false],
] as const) {
	instruction("lods", [opcode], { rep: "rep", sized: !byte, addressSized: true }, (c) => {
		const bits = bitsOf(c, byte);
		const one = (): void => {
			const value = c.load(bits, sourceAddress(c));
			advance(c, Gpr.rsi, stride(c, bits));
			c.setGpr(Gpr.rax, value, bits);
		};
		if (c.rep === "none") {
			one();
			return;
		}
		beginRepeat(c, [Gpr.rcx]);
		repeat(c, one);
	});
}

/**
 * CMPS and SCAS: repeated while the comparison is equal (REPE) or not equal (REPNE). `operands` reads what is compared, `move` moves the
 * index registers.
 */
function comparing(
	name: string,
	opcode: string,
	byte: boolean,
	operands: (c: Context, bits: number) => readonly [left: I64, right: I64],
	move: (c: Context, by: I64) => void,
): void {
	instruction(name, [opcode], { rep: "repcc", sized: !byte, addressSized: true }, (c) => {
		const { f } = c;
		const bits = bitsOf(c, byte);
		const flags = (left: I64, right: I64): void => flagsOfSubtract(c, bits, left, right, f.let(i64.sub(left, right)));
		const one = (compared: (left: I64, right: I64) => void): void => {
			const [left, right] = operands(c, bits);
			const by = stride(c, bits);
			compared(left, right);
			move(c, by);
		};
		if (c.rep === "none") {
			one(flags);
			return;
		}
		beginRepeat(c, [Gpr.rcx]);
		if (!c.vendor.repeatedCompareKeepsFlags) {
			repeat(
				c,
				() => one(flags),
				() => condition(c, c.rep === "rep" ? 4 : 5),
			);
			return;
		}
		// The flags are those of the last comparison, and nobody sees them before it.
		const [left, right] = [f.local("i64"), f.local("i64")];
		const compare = c.rep === "rep" ? i64.eq : i64.ne;
		f.block((none) => {
			f.brIf(none, i64.eqz(count(c)));
			repeat(
				c,
				() =>
					one((a, b) => {
						f.set(left, a);
						f.set(right, b);
					}),
				() => compare(left, right),
			);
			flags(left, right);
		});
	});
}
for (const [opcode, byte] of [
	["a6", true],
	["a7", false],
] as const) {
	comparing(
		"cmps",
		opcode,
		byte,
		(c, bits) => [c.load(bits, sourceAddress(c)), c.load(bits, destinationAddress(c))],
		(c, by) => {
			advance(c, Gpr.rsi, by);
			advance(c, Gpr.rdi, by);
		},
	);
}
for (const [opcode, byte] of [
	["ae", true],
	["af", false],
] as const) {
	comparing(
		"scas",
		opcode,
		byte,
		(c, bits) => [c.f.let(c.gpr(Gpr.rax, bits)), c.load(bits, destinationAddress(c))],
		(c, by) => advance(c, Gpr.rdi, by),
	);
}
