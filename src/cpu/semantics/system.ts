/**
 * System instructions as unprivileged code sees them, far transfers, segments, flags and processor state. Privileged instructions raise #GP(0) at
 * CPL 3, where the environment decides what they mean (SDM volume 3, 5.9).
 */

import { type I32, type I64, i32, i64 } from "../../wasm/expression.ts";
import { LOAD_SHADOWS, type RareOperation, RareOutcome, rareOperations } from "../interpreter/rare-operations.ts";
import {
	CR0,
	CR4,
	FLAGS_OTHER,
	MAILBOX,
	RIP,
	SELECTORS,
	SLOT_FS_BASE,
	SLOT_GS_BASE,
	TSC_AUX,
	XCR0,
} from "../layout.ts";
import { Exit, Vector } from "../processor.ts";
import { Flag, Gpr, Segment } from "../registers.ts";
import type { Context } from "./context.ts";
import { dropStack, push, top } from "./control.ts";
import {
	carryAndOverflow,
	condition,
	packArithmetic,
	setCarryFlag,
	setZeroFlag,
	unpackArithmetic,
	zext,
} from "./flags.ts";
import { instruction, type Operand } from "./table.ts";

/** CR4 bits that unprivileged instructions depend on. */
const CR4_TSD = 0x4;
const CR4_FSGSBASE = 0x1_0000;
const CR4_OSXSAVE = 0x4_0000;
const CR0_TS = 0x8;

function when(c: Context, test: I32, then: () => void): void {
	c.f.if(test, then);
}
const bitSet = (word: I32, mask: number): I32 => i32.ne(i32.and(word, i32.const(mask)), i32.const(0));
const bitClear = (word: I32, mask: number): I32 => i32.eqz(i32.and(word, i32.const(mask)));

/** Runs a TypeScript operation; it may fault or transfer control. RIP is the next instruction's meanwhile. */
export function rare(c: Context, operation: RareOperation, operand: I32): void {
	c.setState64(RIP, c.nextRip());
	const outcome = c.service("rare", i32.const(rareOperations.indexOf(operation)), operand);
	when(c, outcome, () => {
		when(c, i32.eq(outcome, i32.const(RareOutcome.fault)), () => c.faulted());
		c.transferred(Exit.modeChange);
	});
}

// ---- flags ----

for (const [name, opcode, change] of [
	["clc", "f8", () => i64.const(0)],
	["stc", "f9", () => i64.const(1)],
	["cmc", "f5", (c: Context) => i64.extend_i32_u(condition(c, 3))],
] as const) {
	instruction(name, [opcode], {}, (c) => setCarryFlag(c, c.f.let(change(c))));
}
instruction("cld", ["fc"], {}, (c) => c.setState32(FLAGS_OTHER, i32.and(c.state32(FLAGS_OTHER), i32.const(~Flag.DF))));
instruction("std", ["fd"], {}, (c) => c.setState32(FLAGS_OTHER, i32.or(c.state32(FLAGS_OTHER), i32.const(Flag.DF))));

/** IOPL at least CPL. */
const mayChangeInterrupts = (c: Context): I32 =>
	i32.ge_u(i32.and(i32.shr_u(c.state32(FLAGS_OTHER), i32.const(12)), i32.const(3)), c.state8(253));

for (const [name, opcode, enable] of [
	["cli", "fa", false],
	["sti", "fb", true],
] as const) {
	instruction(name, [opcode], {}, (c) => {
		when(c, i32.eqz(mayChangeInterrupts(c)), () => c.raise(Vector.generalProtection));
		const flags = c.state32(FLAGS_OTHER);
		c.setState32(FLAGS_OTHER, enable ? i32.or(flags, i32.const(Flag.IF)) : i32.and(flags, i32.const(~Flag.IF)));
	});
}

instruction("pushf", ["9c"], { size64: "default64", sized: true }, (c) => {
	// RF and VM read as 0.
	const other = i64.extend_i32_u(i32.and(c.state32(FLAGS_OTHER), i32.const(~(Flag.RF | Flag.VM))));
	push(c, c.operandSize, c.f.let(i64.or(packArithmetic(c), other)));
});
instruction("popf", ["9d"], { size64: "default64", sized: true }, (c) => {
	const value = top(c, c.operandSize);
	dropStack(c, i64.const(c.operandSize / 8));
	let changeable = Flag.TF | Flag.DF | Flag.NT;
	if (c.operandSize !== 16) changeable |= Flag.AC | Flag.ID;
	const word = c.f.let(i32.wrap(value));
	const old = c.state32(FLAGS_OTHER);
	const mask = c.f.let(i32.or(i32.const(changeable), i32.mul(mayChangeInterrupts(c), i32.const(Flag.IF))));
	c.setState32(
		FLAGS_OTHER,
		i32.and(
			i32.or(i32.and(old, i32.xor(mask, i32.const(-1))), i32.and(word, mask)),
			c.operandSize === 16 ? i32.const(-1) : i32.const(~Flag.RF),
		),
	);
	unpackArithmetic(c, value);
	when(c, bitSet(word, Flag.TF), () => c.exit(Exit.modeChange));
});

// ---- interrupts and system calls ----

const ENDS = { ends: true } as const;
instruction("int", ["cd Ib"], { ...ENDS, access: "r" }, (c, vector) =>
	c.exit(Exit.softwareInterrupt, c.f.let(i32.wrap(c.read(vector!)))),
);
instruction("int3", ["cc"], ENDS, (c) => c.exit(Exit.softwareInterrupt, i32.const(Vector.breakpoint)));
instruction("int1", ["f1"], ENDS, (c) => c.exit(Exit.softwareInterrupt, i32.const(Vector.debug)));
instruction("into", ["ce"], { mode: "compat" }, (c) =>
	when(c, condition(c, 0), () => c.exit(Exit.softwareInterrupt, i32.const(Vector.overflow))),
);
instruction("bound", ["62 Gv,M"], { mode: "compat", access: "r r" }, (c, index, bounds) => {
	const bits = index!.bits;
	const address = c.f.let(c.virtualAddress(bounds!));
	const value = c.f.let(c.readSigned(index!));
	const signed = (at: I64): I64 => {
		const raw = c.load(bits, at);
		return bits === 16 ? i64.extend16_s(raw) : i64.extend32_s(raw);
	};
	const lower = c.f.let(signed(address));
	const below = i64.lt_s(value, lower);
	const outside = (test: I32): void => when(c, test, () => c.raise(Vector.boundRange));
	if (c.vendor.boundComparesInOrder) outside(below);
	const upper = c.f.let(signed(c.f.let(i64.add(address, i64.const(bits / 8)))));
	const above = i64.gt_s(value, upper);
	outside(c.vendor.boundComparesInOrder ? above : i32.or(below, above));
});
instruction("syscall", ["0f 05"], ENDS, (c) => {
	if (!c.longMode && c.vendor.compatibilitySystemCall !== "syscall") c.raise(Vector.invalidOpcode);
	else c.exit(Exit.syscall);
});
instruction("sysenter", ["0f 34"], ENDS, (c) => {
	if (c.vendor.compatibilitySystemCall !== "sysenter") c.raise(Vector.invalidOpcode);
	else c.exit(Exit.sysenter);
});
instruction("iret", ["cf"], { ...ENDS, sized: true }, (c) => rare(c, "interruptReturn", i32.const(c.operandSize)));
instruction("retf", ["cb"], { ...ENDS, sized: true }, (c) => rare(c, "returnFar", i32.const(c.operandSize)));
instruction("retf", ["ca Iw"], { ...ENDS, sized: true, access: "r" }, (c, release) =>
	rare(c, "returnFar", c.f.let(i32.or(i32.shl(i32.wrap(c.read(release!)), i32.const(8)), i32.const(c.operandSize)))),
);

function far(c: Context, offset: I64, selector: I64, call: boolean, bits: number): void {
	c.f.store64(i32.const(MAILBOX), offset);
	c.f.store32(i32.const(MAILBOX), i32.const(call ? bits : 0), 8);
	rare(c, "farTransfer", i32.wrap(selector));
}
for (const [name, direct, digit, call] of [
	["callf", "9a", 3, true],
	["jmpf", "ea", 5, false],
] as const) {
	instruction(name, [`${direct} Iz,Iw`], { ...ENDS, mode: "compat", access: "r r" }, (c) => {
		const pair = c.immediatePair();
		far(c, zext(pair, c.operandSize === 16 ? 16 : 32), i64.shr_u(pair, i64.const(32)), call, c.operandSize);
	});
	instruction(name, [`ff /${digit} M`], { ...ENDS, sized: true, access: "r" }, (c, pointer) => {
		const bits = c.operandSize === 64 && !c.vendor.farPointerOf64Bits ? 32 : c.operandSize;
		const address = c.f.let(c.virtualAddress(pointer!));
		const offset = c.load(bits, address);
		const selector = c.load(16, c.f.let(i64.add(address, i64.const(bits / 8))));
		far(c, offset, selector, call, bits);
	});
}

instruction("ud2", ["0f 0b"], ENDS, (c) => c.raise(Vector.invalidOpcode));
instruction("ud1", ["0f b9 Gv,Ev"], { ...ENDS, access: "r r" }, (c) => c.raise(Vector.invalidOpcode));
instruction("ud0", ["0f ff Gv,Ev"], { ...ENDS, access: "r r" }, (c) => c.raise(Vector.invalidOpcode));

// ---- privileged ----

const privileged = (c: Context): void => c.raise(Vector.generalProtection);
const PRIVILEGED: readonly [string, readonly string[]][] = [
	["hlt", ["f4"]],
	["in", ["e4 AL,Ib", "e5 rAX,Ib", "ec AL,DX", "ed rAX,DX"]],
	["out", ["e6 Ib,AL", "e7 Ib,rAX", "ee DX,AL", "ef DX,rAX"]],
	["ins", ["6c", "6d"]],
	["outs", ["6e", "6f"]],
	["lldt", ["0f 00 /2 Ew"]],
	["ltr", ["0f 00 /3 Ew"]],
	["lgdt", ["0f 01 /2 M"]],
	["lidt", ["0f 01 /3 M"]],
	["lmsw", ["0f 01 /6 Ew"]],
	["invlpg", ["0f 01 /7 M"]],
	["xsetbv", ["0f 01 =d1"]],
	["clts", ["0f 06"]],
	["sysret", ["0f 07"]],
	["invd", ["0f 08"]],
	["wbinvd", ["0f 09"]],
	["wrmsr", ["0f 30"]],
	["rdmsr", ["0f 32"]],
	["rdpmc", ["0f 33"]],
	["sysexit", ["0f 35"]],
	// UMIP: descriptor-table registers are not shown to CPL 3.
	["sldt", ["0f 00 /0 Ev"]],
	["str", ["0f 00 /1 Ev"]],
	["sgdt", ["0f 01 /0 M"]],
	["sidt", ["0f 01 /1 M"]],
	["smsw", ["0f 01 /4 Ev"]],
];
for (const [name, encodings] of PRIVILEGED) instruction(name, encodings, { ...ENDS, access: "r r" }, privileged);
instruction("swapgs", ["0f 01 =f8"], { ...ENDS, mode: "64" }, privileged);

/** Registers that exist: CR0, CR2, CR3, CR4, CR8; DR0-DR7. The others are #UD before privilege is looked at. */
const CONTROL_REGISTERS = 0b1_0001_1101;
const DEBUG_REGISTERS = 0b1111_1111;
instruction(
	"mov",
	["0f 20 Rq,Cd", "0f 22 Cd,Rq", "0f 21 Rq,Dd", "0f 23 Dd,Rq"],
	{ ...ENDS, access: "r r" },
	(c, left, right) => {
		const special = left!.form.kind === "modrmRm" ? right! : left!;
		const exist = special.form.kind === "control" ? CONTROL_REGISTERS : DEBUG_REGISTERS;
		const bit = i32.and(i32.shr_u(i32.const(exist), i32.wrap(c.read(special))), i32.const(1));
		when(c, i32.eqz(bit), () => c.raise(Vector.invalidOpcode));
		privileged(c);
	},
);

// ---- segments ----

instruction("mov", ["8c Ev,Sw"], { access: "w r" }, (c, destination, segment) => {
	const value = c.f.let(selectorOf(c, segment!));
	if (destination!.memory) c.store(16, c.virtualAddress(destination!), value);
	else c.write(destination!, value);
});

/** A segment register's selector; #UD for the numbers 6 and 7. */
function selectorOf(c: Context, segment: Operand): I64 {
	const number = c.f.let(i32.and(i32.wrap(c.read(segment)), i32.const(7)));
	when(c, i32.gt_u(number, i32.const(5)), () => c.raise(Vector.invalidOpcode));
	return i64.load16_u(i32.shl(number, i32.const(1)), 0x1000 + SELECTORS);
}

instruction("mov", ["8e Sw,Ew"], { access: "w r" }, (c, segment, from) => {
	const number = c.f.let(i32.and(i32.wrap(c.read(segment!)), i32.const(7)));
	when(c, i32.or(i32.gt_u(number, i32.const(5)), i32.eq(number, i32.const(Segment.cs))), () =>
		c.raise(Vector.invalidOpcode),
	);
	const selector = c.f.let(i32.wrap(c.read(from!)));
	const which = i32.or(i32.shl(number, i32.const(16)), i32.const(LOAD_SHADOWS));
	rare(c, "loadSegment", c.f.let(i32.or(which, selector)));
});

function pushSegment(c: Context, segment: number): void {
	const selector = i64.extend_i32_u(c.state16(SELECTORS + segment * 2));
	const written = c.operandSize === 32 && c.vendor.pushSegmentWritesWord ? 16 : c.operandSize;
	push(c, c.operandSize, selector, written);
}
function popSegment(c: Context, segment: number): void {
	const read = c.vendor.popSegmentReadsWord ? 16 : c.operandSize;
	const selector = c.f.let(i32.and(i32.wrap(top(c, read)), i32.const(0xffff)));
	rare(c, "loadSegment", i32.or(i32.const((segment << 16) | LOAD_SHADOWS), selector));
	dropStack(c, i64.const(c.operandSize / 8));
}
const STACKED = { size64: "default64", sized: true } as const;
instruction("push", ["0f a0"], STACKED, (c) => pushSegment(c, Segment.fs));
instruction("push", ["0f a8"], STACKED, (c) => pushSegment(c, Segment.gs));
instruction("pop", ["0f a1"], STACKED, (c) => popSegment(c, Segment.fs));
instruction("pop", ["0f a9"], STACKED, (c) => popSegment(c, Segment.gs));
for (const [opcode, segment] of [
	[0x06, Segment.es],
	[0x0e, Segment.cs],
	[0x16, Segment.ss],
	[0x1e, Segment.ds],
] as const) {
	const code = (value: number): string => value.toString(16).padStart(2, "0");
	instruction("push", [code(opcode)], { mode: "compat", sized: true }, (c) => pushSegment(c, segment));
	if (segment !== Segment.cs) {
		instruction("pop", [code(opcode + 1)], { mode: "compat", sized: true }, (c) => popSegment(c, segment));
	}
}
for (const [name, encoding, segment, mode] of [
	["les", "c4 Gv,M", Segment.es, "compat"],
	["lds", "c5 Gv,M", Segment.ds, "compat"],
	["lss", "0f b2 Gv,M", Segment.ss, undefined],
	["lfs", "0f b4 Gv,M", Segment.fs, undefined],
	["lgs", "0f b5 Gv,M", Segment.gs, undefined],
] as const) {
	instruction(
		name,
		[encoding],
		{ access: "w r", ...(mode === undefined ? {} : { mode }) },
		(c, destination, pointer) => {
			const address = c.f.let(c.virtualAddress(pointer!));
			const offset = c.load(destination!.bits, address);
			const selector = c.load(16, c.f.let(i64.add(address, i64.const(destination!.bits / 8))));
			rare(c, "loadSegment", c.f.let(i32.or(i32.const(segment << 16), i32.wrap(selector))));
			c.write(destination!, offset);
		},
	);
}

for (const [name, encoding, operation] of [
	["lar", "0f 02 Gv,Ew", "loadAccessRights"],
	["lsl", "0f 03 Gv,Ew", "loadSegmentLimit"],
] as const) {
	instruction(name, [encoding], { access: "rw r" }, (c, destination, selector) => {
		rare(c, operation, c.f.let(i32.wrap(c.read(selector!))));
		when(c, condition(c, 4), () => c.write(destination!, i64.load32_u(i32.const(MAILBOX))));
	});
}
instruction("verr", ["0f 00 /4 Ew"], { access: "r" }, (c, selector) =>
	rare(c, "verifyRead", c.f.let(i32.wrap(c.read(selector!)))),
);
instruction("verw", ["0f 00 /5 Ew"], { access: "r" }, (c, selector) =>
	rare(c, "verifyWrite", c.f.let(i32.wrap(c.read(selector!)))),
);
// Written only where it changes something: "r", so that the reading does not ask for more.
instruction("arpl", ["63 Ew,Gw"], { mode: "compat", access: "r r" }, (c, destination, from) => {
	const left = c.f.let(c.read(destination!));
	const right = c.f.let(c.read(from!));
	const lower = c.f.let(i64.lt_u(i64.and(left, i64.const(3)), i64.and(right, i64.const(3))));
	when(c, lower, () =>
		c.write(destination!, c.f.let(i64.or(i64.and(left, i64.const(~3)), i64.and(right, i64.const(3))))),
	);
	setZeroFlag(c, i64.extend_i32_u(lower));
});

for (const [name, digit, slot, writes] of [
	["rdfsbase", 0, SLOT_FS_BASE, false],
	["rdgsbase", 1, SLOT_GS_BASE, false],
	["wrfsbase", 2, SLOT_FS_BASE, true],
	["wrgsbase", 3, SLOT_GS_BASE, true],
] as const) {
	instruction(
		name,
		[`f3 0f ae /${digit} Ry`],
		{ mode: "64", access: writes ? "r" : "w", feature: "fsgsbase" },
		(c, register) => {
			when(c, bitClear(c.state32(CR4), CR4_FSGSBASE), () => c.raise(Vector.invalidOpcode));
			if (!writes) {
				c.write(register!, c.state64(slot * 8));
				return;
			}
			const base = c.f.let(c.read(register!));
			const canonical = i64.shr_s(i64.shl(base, i64.const(16)), i64.const(16));
			when(c, i64.ne(canonical, base), () => c.raise(Vector.generalProtection));
			c.setState64(slot * 8, base);
		},
	);
}

// ---- identification, time, random numbers ----

instruction("cpuid", ["0f a2"], {}, (c) => c.f.drop(c.service("cpuid", i32.const(0), i32.const(0))));

const timeStampAllowed = (c: Context): void =>
	when(c, i32.and(bitSet(c.state32(CR4), CR4_TSD), i32.ne(c.state8(253), i32.const(0))), () =>
		c.raise(Vector.generalProtection),
	);
const TIME = { ends: "interpreter" } as const;
instruction("rdtsc", ["0f 31"], TIME, (c) => {
	timeStampAllowed(c);
	c.exit(Exit.timeStamp);
});
instruction("rdtscp", ["0f 01 =f9"], { ...TIME, feature: "rdtscp" }, (c) => {
	timeStampAllowed(c);
	c.setGpr(Gpr.rcx, c.state64(TSC_AUX), 32);
	c.exit(Exit.timeStamp);
});

for (const [name, digit, feature] of [
	["rdrand", 6, "rdrand"],
	["rdseed", 7, "rdseed"],
] as const) {
	instruction(name, [`0f c7 /${digit} Rv`], { access: "w", feature }, (c, destination) => {
		const available = c.service("random", i32.const(destination!.bits), i32.const(0));
		c.write(destination!, i64.load(i32.const(MAILBOX)));
		// CF says whether there was a number; the other flags are cleared.
		const carry = i64.extend_i32_u(available);
		c.setFlags(i64.const(1), c.f.let(i64.or(carryAndOverflow(c.f, carry, i64.const(0)), i64.const(0))));
	});
}

// ---- extended state ----

const notAvailable = (c: Context): void =>
	when(c, bitSet(c.state32(CR0), CR0_TS), () => c.raise(Vector.deviceNotAvailable));
const needsXsave = (c: Context): void =>
	when(c, bitClear(c.state32(CR4), CR4_OSXSAVE), () => c.raise(Vector.invalidOpcode));

/** Bytes of an FXSAVE image and of an XSAVE image with x87 and SSE. */
const FXSAVE_SIZE = 512;
const XSAVE_SIZE = 576;

function saveImage(
	c: Context,
	operand: Operand,
	bytes: number,
	alignment: number,
	operation: RareOperation,
	writes: boolean,
): void {
	const address = c.f.let(c.virtualAddress(operand));
	when(c, bitSet(i32.wrap(address), alignment - 1), () => c.raise(Vector.generalProtection));
	const linear = c.f.let(c.memoryBlock(operand, bytes, writes ? "w" : "r"));
	// Which of the two FXSAVE formats: REX.W gives 64-bit instruction and data pointers.
	c.f.store32(i32.const(MAILBOX), i32.const(c.operandSize === 64 ? 1 : 0));
	rare(c, operation, linear);
	if (writes) c.commitBlock(linear);
}
const IMAGE = { sized: true, access: "r" } as const;
instruction("fxsave", ["np 0f ae /0 M"], IMAGE, (c, image) => {
	notAvailable(c);
	saveImage(c, image!, FXSAVE_SIZE, 16, "fxsave", true);
});
instruction("fxrstor", ["np 0f ae /1 M"], IMAGE, (c, image) => {
	notAvailable(c);
	saveImage(c, image!, FXSAVE_SIZE, 16, "fxrstor", false);
});
for (const [name, encoding, operation, writes] of [
	["xsave", "np 0f ae /4 M", "xsave", true],
	["xrstor", "np 0f ae /5 M", "xrstor", false],
	["xsaveopt", "np 0f ae /6 M", "xsaveopt", true],
	["xsavec", "np 0f c7 /4 M", "xsavec", true],
] as const) {
	instruction(name, [encoding], { ...IMAGE, feature: "xsave" }, (c, image) => {
		needsXsave(c);
		notAvailable(c);
		saveImage(c, image!, XSAVE_SIZE, 64, operation, writes);
	});
}
instruction("xgetbv", ["0f 01 =d0"], { feature: "xsave" }, (c) => {
	needsXsave(c);
	// XCR1 (the init optimisation) is not announced: only XCR0.
	when(c, i64.ne(c.gpr(Gpr.rcx, 32), i64.const(0)), () => c.raise(Vector.generalProtection));
	const value = c.f.let(c.state64(XCR0));
	c.setGpr(Gpr.rax, value, 32);
	c.setGpr(Gpr.rdx, i64.shr_u(value, i64.const(32)), 32);
});

// ---- compare and exchange of two registers' width ----

instruction("cmpxchg8b", ["0f c7 /1 M"], { lock: true, sized: true, access: "rw" }, (c, destination) => {
	const { f } = c;
	const half = c.operandSize === 64 ? 64 : 32;
	const address = f.let(c.virtualAddress(destination!));
	if (half === 64) when(c, bitSet(i32.wrap(address), 15), () => c.raise(Vector.generalProtection));
	c.checkWrite(half * 2, address);
	const upper = f.let(i64.add(address, i64.const(half / 8)));
	const low = c.load(half, address);
	const high = c.load(half, upper);
	const equal = f.let(i32.and(i64.eq(low, c.gpr(Gpr.rax, half)), i64.eq(high, c.gpr(Gpr.rdx, half))));
	f.if(
		equal,
		() => {
			c.store(half, address, c.gpr(Gpr.rbx, half));
			c.store(half, upper, c.gpr(Gpr.rcx, half));
		},
		() => {
			c.setGpr(Gpr.rax, low, half);
			c.setGpr(Gpr.rdx, high, half);
		},
	);
	setZeroFlag(c, i64.extend_i32_u(equal));
});

// ---- decimal adjustment (compatibility mode only) ----

instruction("salc", ["d6"], { mode: "compat" }, (c) =>
	c.setGpr(Gpr.rax, c.f.let(i64.shr_s(c.flagCarry(), i64.const(63))), 8),
);
for (const [name, opcode, subtracts] of [
	["daa", "27", false],
	["das", "2f", true],
] as const) {
	instruction(name, [opcode], { mode: "compat", undefinedFlags: "OF" }, (c) => {
		const { f } = c;
		const flags = f.let(i32.wrap(packArithmetic(c)));
		const old = f.let(i32.wrap(c.gpr(Gpr.rax, 8)));
		const carry = f.let(bitSet(flags, Flag.CF));
		const lowAdjust = f.let(i32.or(i32.gt_u(i32.and(old, i32.const(15)), i32.const(9)), bitSet(flags, Flag.AF)));
		const highAdjust = f.let(i32.or(i32.gt_u(old, i32.const(0x99)), carry));
		const amount = i32.add(i32.mul(lowAdjust, i32.const(6)), i32.mul(highAdjust, i32.const(0x60)));
		const result = f.let(i32.and(subtracts ? i32.sub(old, amount) : i32.add(old, amount), i32.const(255)));
		c.setGpr(Gpr.rax, i64.extend_i32_u(result), 8);
		// DAS: a borrow out of the low adjustment counts as well.
		const borrow = subtracts ? i32.and(lowAdjust, i32.lt_u(old, i32.const(6))) : i32.const(0);
		c.setFlags(
			i64.extend8_s(i64.extend_i32_u(result)),
			f.let(
				i64.or(
					carryAndOverflow(c.f, i64.extend_i32_u(i32.or(highAdjust, borrow)), i64.const(0)),
					i64.extend_i32_u(i32.shl(lowAdjust, i32.const(3))),
				),
			),
		);
	});
}
for (const [name, opcode, subtracts] of [
	["aaa", "37", false],
	["aas", "3f", true],
] as const) {
	instruction(name, [opcode], { mode: "compat", undefinedFlags: "OF SF ZF PF" }, (c) => {
		const { f } = c;
		const flags = f.let(i32.wrap(packArithmetic(c)));
		const ax = f.let(i32.wrap(c.gpr(Gpr.rax, 16)));
		const adjust = f.let(i32.or(i32.gt_u(i32.and(ax, i32.const(15)), i32.const(9)), bitSet(flags, Flag.AF)));
		const amount = i32.mul(adjust, i32.const(0x106));
		const result = i32.and(subtracts ? i32.sub(ax, amount) : i32.add(ax, amount), i32.const(0xff0f));
		c.setGpr(Gpr.rax, i64.extend_i32_u(f.let(result)), 16);
		const word = i64.extend_i32_u(adjust);
		c.setFlags(i64.const(1), f.let(i64.or(carryAndOverflow(c.f, word, i64.const(0)), i64.shl(word, i64.const(3)))));
	});
}
instruction("aam", ["d4 Ib"], { mode: "compat", access: "r", undefinedFlags: "OF AF CF" }, (c, base) => {
	const divisor = c.f.let(i32.wrap(c.read(base!)));
	when(c, i32.eqz(divisor), () => c.raise(Vector.divideError));
	const al = c.f.let(i32.wrap(c.gpr(Gpr.rax, 8)));
	const low = c.f.let(i32.rem_u(al, divisor));
	c.setGpr(Gpr.rax, i64.extend_i32_u(i32.or(i32.shl(i32.div_u(al, divisor), i32.const(8)), low)), 16);
	c.setFlags(i64.extend8_s(i64.extend_i32_u(low)), i64.const(0));
});
instruction("aad", ["d5 Ib"], { mode: "compat", access: "r", undefinedFlags: "OF AF CF" }, (c, base) => {
	const ax = c.f.let(i32.wrap(c.gpr(Gpr.rax, 16)));
	const sum = i32.add(i32.mul(i32.shr_u(ax, i32.const(8)), i32.wrap(c.read(base!))), i32.and(ax, i32.const(255)));
	const low = c.f.let(i32.and(sum, i32.const(255)));
	c.setGpr(Gpr.rax, i64.extend_i32_u(low), 16);
	c.setFlags(i64.extend8_s(i64.extend_i32_u(low)), i64.const(0));
});
