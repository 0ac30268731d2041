/** Control transfer within a segment, and the stack. */

import { type I32, type I64, i32, i64 } from "../../wasm/expression.ts";
import { Vector } from "../processor.ts";
import { Gpr } from "../registers.ts";
import type { Context } from "./context.ts";
import { condition, zext } from "./flags.ts";
import { instruction } from "./table.ts";

const SS = 2;

/** Width of stack addresses: 64 bits in 64-bit mode, else 32 (stacks with 16-bit segments are not supported). */
const stackBits = (c: Context): 32 | 64 => (c.longMode ? 64 : 32);

export function stackAddress(c: Context, offset: I64): I64 {
	return c.segmented(zext(offset, stackBits(c)), SS);
}

/** Stores below the stack pointer, then moves it: a fault leaves it as it was. `written`: how many of the bits go to memory. */
export function push(c: Context, bits: number, value: I64, written = bits): void {
	const pointer = c.f.let(i64.sub(c.gpr(Gpr.rsp), i64.const(bits / 8)));
	c.store(written, stackAddress(c, pointer), value);
	c.setGpr(Gpr.rsp, pointer, stackBits(c));
}

/** Reads the top of the stack; the caller moves the pointer with {@link dropStack} once nothing can fault any more. */
export function top(c: Context, bits: number): I64 {
	return c.load(bits, stackAddress(c, c.gpr(Gpr.rsp)));
}

export function dropStack(c: Context, bytes: I64): void {
	c.setGpr(Gpr.rsp, c.f.let(i64.add(c.gpr(Gpr.rsp), bytes)), stackBits(c));
}

const PUSH = { access: "r", size64: "default64" } as const;
instruction("push", ["50+r Zv", "ff /6 Ev"], PUSH, (c, operand) => push(c, operand!.bits, c.read(operand!)));
instruction("push", ["68 Iz", "6a Ibs"], { ...PUSH, sized: true }, (c, operand) =>
	push(c, c.operandSize, c.readSigned(operand!)),
);
instruction("pop", ["58+r Zv"], { access: "w", size64: "default64" }, (c, operand) => {
	const value = top(c, operand!.bits);
	// POP RSP: the value read wins over the increment.
	dropStack(c, i64.const(operand!.bits / 8));
	c.write(operand!, value);
});
instruction("pop", ["8f /0 Ev"], { access: "w", size64: "default64" }, (c, operand) => {
	const bytes = i64.const(operand!.bits / 8);
	const value = top(c, operand!.bits);
	if (!operand!.memory) {
		dropStack(c, bytes);
		c.write(operand!, value);
		return;
	}
	// An address that uses RSP is computed with the incremented one; a fault must find the old one.
	const old = c.f.let(c.gpr(Gpr.rsp));
	dropStack(c, bytes);
	const address = c.f.let(c.virtualAddress(operand!));
	const moved = c.f.let(c.gpr(Gpr.rsp));
	c.setGpr(Gpr.rsp, old);
	c.store(operand!.bits, address, value);
	c.setGpr(Gpr.rsp, moved);
});

/** PUSHA and POPA: AX CX DX BX SP BP SI DI. */
instruction("pusha", ["60"], { mode: "compat", sized: true }, (c) => {
	const { f } = c;
	const bits = c.operandSize;
	const pointer = f.let(c.gpr(Gpr.rsp));
	c.checkWrite(bits, stackAddress(c, i64.sub(pointer, i64.const(bits))));
	for (let register = 0; register < 8; register++) {
		const address = i64.sub(pointer, i64.const(((register + 1) * bits) / 8));
		c.store(bits, stackAddress(c, address), register === Gpr.rsp ? pointer : c.gpr(register));
	}
	c.setGpr(Gpr.rsp, i64.sub(pointer, i64.const(bits)), 32);
});
instruction("popa", ["61"], { mode: "compat", sized: true }, (c) => {
	const bits = c.operandSize;
	const pointer = c.f.let(c.gpr(Gpr.rsp));
	const values: I64[] = [];
	for (let register = 7; register >= 0; register--) {
		values[register] = c.load(bits, stackAddress(c, i64.add(pointer, i64.const(((7 - register) * bits) / 8))));
	}
	for (const [register, value] of values.entries()) if (register !== Gpr.rsp) c.setGpr(register, value, bits);
	c.setGpr(Gpr.rsp, i64.add(pointer, i64.const(bits)), 32);
});

instruction("enter", ["c8 Iw,Ib"], { size64: "default64", sized: true }, (c) => {
	const { f } = c;
	const bits = c.operandSize;
	const bytes = bits / 8;
	// Both immediates are in one record field: the frame's size in the lower, the level in the upper half.
	const operand = c.immediatePair();
	const size = f.let(i64.and(operand, i64.const(0xffff)));
	const level = f.let(i64.and(i64.shr_u(operand, i64.const(32)), i64.const(31)));
	const pointer = f.local("i64");
	f.set(pointer, i64.sub(c.gpr(Gpr.rsp), i64.const(bytes)));
	const frame = f.let(pointer);
	c.store(bits, stackAddress(c, pointer), c.gpr(Gpr.rbp));
	f.if(i64.ne(level, i64.const(0)), () => {
		const index = f.local("i64");
		f.set(index, i64.const(1));
		f.block((done) =>
			f.loop((again) => {
				f.brIf(done, i64.ge_u(index, level));
				f.set(pointer, i64.sub(pointer, i64.const(bytes)));
				const link = i64.sub(c.gpr(Gpr.rbp), i64.mul(index, i64.const(bytes)));
				c.store(bits, stackAddress(c, pointer), c.load(bits, stackAddress(c, link)));
				f.set(index, i64.add(index, i64.const(1)));
				f.br(again);
			}),
		);
		f.set(pointer, i64.sub(pointer, i64.const(bytes)));
		c.store(bits, stackAddress(c, pointer), frame);
	});
	// The new stack top must be writable, as the manual's last check.
	const end = f.let(i64.sub(pointer, size));
	c.checkWrite(8, stackAddress(c, end));
	c.setGpr(Gpr.rbp, frame, bits);
	c.setGpr(Gpr.rsp, end, stackBits(c));
});
instruction("leave", ["c9"], { size64: "default64", sized: true }, (c) => {
	const bits = c.operandSize;
	const frame = c.f.let(c.gpr(Gpr.rbp));
	const value = c.load(bits, stackAddress(c, frame));
	c.setGpr(Gpr.rsp, i64.add(frame, i64.const(bits / 8)), stackBits(c));
	c.setGpr(Gpr.rbp, value, bits);
});

// ---- branches ----

/**
 * A branch to an address that is not canonical is a #GP(0) of the branch itself (SDM volume 2, JMP, CALL, RET): nothing of it has
 * happened. `before`: what else may fault, and does so first.
 */
function requireCanonical(c: Context, target: I64, before?: () => void): void {
	if (!c.longMode) return;
	const check = (): void => {
		const canonical = i64.shr_s(i64.shl(target, i64.const(16)), i64.const(16));
		c.f.unlikely(i64.ne(canonical, target), () => {
			before?.();
			c.raise(Vector.generalProtection);
		});
	};
	const expected = c.expectedTarget();
	if (expected === undefined) check();
	else c.f.unlikely(i64.ne(target, expected), check);
}

const NEAR = { access: "r", size64: "near", ends: true } as const;
instruction("jmp", ["e9 Jz", "eb Jb"], { ...NEAR, sized: true }, (c, offset) => c.branch(offset!));
instruction("jmp", ["ff /4 Ev"], NEAR, (c, target) => {
	const address = c.f.let(c.read(target!));
	requireCanonical(c, address);
	c.jump(address);
});
instruction("call", ["e8 Jz"], { ...NEAR, sized: true }, (c, offset) => {
	push(c, c.operandSize, c.nextRip());
	c.branch(offset!);
});
instruction("call", ["ff /2 Ev"], NEAR, (c, target) => {
	const address = c.f.let(c.read(target!));
	requireCanonical(c, address, () => {
		const slot = stackAddress(c, i64.sub(c.gpr(Gpr.rsp), i64.const(c.operandSize / 8)));
		if (c.vendor.callPushesBeforeFault) c.storeBeforeFault(c.operandSize, slot, c.nextRip());
		else c.checkWrite(c.operandSize, slot);
	});
	push(c, c.operandSize, c.nextRip());
	c.jump(address);
});
instruction("ret", ["c3"], { ...NEAR, sized: true }, (c) => {
	const address = top(c, c.operandSize);
	requireCanonical(c, address);
	dropStack(c, i64.const(c.operandSize / 8));
	c.jump(address);
});
instruction("ret", ["c2 Iw"], { ...NEAR, sized: true }, (c, bytes) => {
	const address = top(c, c.operandSize);
	requireCanonical(c, address);
	dropStack(c, i64.add(c.read(bytes!), i64.const(c.operandSize / 8)));
	c.jump(address);
});

for (let code = 0; code < 16; code++) {
	const suffix = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"][code]!;
	const encodings = [`7${code.toString(16)} Jb`, `0f 8${code.toString(16)} Jz`];
	instruction(`j${suffix}`, encodings, { access: "r", size64: "near", sized: true }, (c, offset) =>
		c.branch(offset!, condition(c, code)),
	);
}

/** Counts CX, ECX or RCX down by the address size; returns whether it is not zero yet. */
function countDown(c: Context): I32 {
	const count = c.f.let(i64.sub(c.gpr(Gpr.rcx, c.addressSize), i64.const(1)));
	c.setGpr(Gpr.rcx, count, c.addressSize);
	return i64.ne(zext(count, c.addressSize), i64.const(0));
}
const LOOP = { access: "r", size64: "near", sized: true, addressSized: true } as const;
const equal = (c: Context): I32 => condition(c, 4);
instruction("loopne", ["e0 Jb"], LOOP, (c, offset) =>
	c.branch(offset!, c.f.let(i32.and(countDown(c), i32.eqz(equal(c))))),
);
instruction("loope", ["e1 Jb"], LOOP, (c, offset) => c.branch(offset!, c.f.let(i32.and(countDown(c), equal(c)))));
instruction("loop", ["e2 Jb"], LOOP, (c, offset) => c.branch(offset!, c.f.let(countDown(c))));
instruction("jrcxz", ["e3 Jb"], LOOP, (c, offset) => c.branch(offset!, i64.eqz(c.gpr(Gpr.rcx, c.addressSize))));
