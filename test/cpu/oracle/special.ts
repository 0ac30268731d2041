/**
 * Register and memory contents that single instructions need so that they do more than fault: a stack, string addresses and counts,
 * dividends that fit, comparands that match. Applied by mnemonic before a case's addressing registers are set.
 */
import { type CaseWriter, dataOffset, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP } from "./case.ts";
import type { Encoded } from "./encode.ts";
import type { Random } from "./random.ts";
import { Case, DATA, DATA_BYTES, READ_ONLY, SLOT_BYTES } from "./records.ts";
import { putExtended } from "./values.ts";

type Prepare = (test: CaseWriter, random: Random) => void;
type Adjust = (test: CaseWriter, random: Random, encoded: Encoded) => void;

/** Selectors that Linux gives every process, null ones, and ones that lie outside every table. */
export const SELECTORS = [0x2b, 0x33, 0x23, 0, 1, 3, 0x2b, 0x2a, 0x28, 0x10, 0x18, 0x1b, 0xfff8, 0xffff, 0xffff_0004];

/** Bits that POPF may find on the stack: all but TF, which would trap behind the instruction's end, and VM and RF, which it ignores. */
const POPPED_FLAGS = 0x24_4cd5 | 0x3000 | 0x200;

function stack(test: CaseWriter, random: Random): void {
	if (random.once(30)) return;
	let offset = random.between(0x80, DATA_BYTES - 0x80) & -8;
	if (random.once(12)) offset = random.pick([0x1004, 0x1000, 0x0ffe, 4, 2, DATA_BYTES, DATA_BYTES - 4, 0x1003]);
	test.setGpr(RSP, DATA + offset, 0);
	test.window(offset, random.pick([0, 0, 0, 32]));
}

function pointer(test: CaseWriter, random: Random, register: number): void {
	if (random.once(40)) return;
	if (random.once(20)) {
		test.setGpr(register, READ_ONLY + random.below(0x1000), 0);
		return;
	}
	const offset = random.once(4)
		? random.below(DATA_BYTES)
		: random.pick([0x0f80, 0x400, 0x4f0, 0x1f80, 0x800]) + random.below(0x80);
	test.setGpr(register, DATA + offset, 0);
}

function strings(test: CaseWriter, random: Random): void {
	pointer(test, random, RSI);
	pointer(test, random, RDI);
	if (random.once(6)) {
		// Overlapping, as in a fill by MOVS.
		test.setGpr(RDI, test.low(RSI) + random.between(-9, 9), test.high(RSI));
	}
	test.setGpr(RCX, random.once(8) ? 0 : random.between(0, random.once(8) ? 600 : 20), 0);
	if (random.once(3)) test.setGpr(RAX, 0, 0);
	const at = test.base + Case.rflags;
	if (random.once(3)) test.view.setUint32(at, test.view.getUint32(at, true) | 0x400, true);
}

function dividend(test: CaseWriter, random: Random): void {
	switch (random.below(4)) {
		case 0:
			test.setGpr(RDX, 0, 0);
			break;
		case 1: {
			// RDX the sign of EAX and RAX, AH of AL.
			const sign = test.high(RAX) >> 31;
			test.setGpr(RDX, test.low(RAX) >> 31, sign);
			break;
		}
		case 2:
			test.setGpr(RDX, random.below(16), 0);
			test.setGpr(RAX, test.low(RAX) & 0xff_00ff, test.high(RAX));
			break;
	}
}

function selector(test: CaseWriter, random: Random): void {
	for (let register = 0; register < 16; register++) {
		if (register === RSP) continue;
		test.setGpr(register, random.pick(SELECTORS), random.once(2) ? 0 : random.word());
	}
}

function farFrame(test: CaseWriter, random: Random): void {
	stack(test, random);
	const offset = dataOffset(test.low(RSP), test.high(RSP));
	const width = random.pick([8, 8, 4, 2]);
	let at = test.windowAt(offset, width * 5);
	if (at < 0) return;
	const frame = [
		(test.rip & -SLOT_BYTES) + random.between(32, 120),
		random.pick([0x33, 0x23, 0x33, 0x23, 0x2b, 0, 3, 0x10, 0x18, 0xfffb]),
		(random.word() & POPPED_FLAGS) | 2,
		DATA + random.below(DATA_BYTES),
		random.pick([0x2b, 0x2b, 0x2b, 0, 0x33, 0x18]),
	];
	for (const value of frame) {
		for (let byte = 0; byte < width; byte++) test.view.setUint8(at++, byte < 4 ? (value >>> (byte * 8)) & 0xff : 0);
	}
}

/** Before the instruction is encoded; patterns of mnemonics, the first that matches. */
const PREPARATIONS: readonly (readonly [RegExp, Prepare])[] = [
	[/^(iret|retf)/, farFrame],
	[/^(push|pop|call|ret|enter|leave|pusha|popa)(?!cnt)/, stack],
	[/^(movs|stos|lods|cmps|scas|ins|outs)[bwdqv]?$/, strings],
	[/^i?div$/, dividend],
	[/^(aam|aad)$/, dividend],
	[/^xlat/, (test, random) => test.setGpr(RBX, DATA + random.below(DATA_BYTES), 0)],
	[/^maskmov(q|dqu)$/, (test, random) => pointer(test, random, RDI)],
	[/^(lar|lsl|verr|verw)$/, selector],
	[
		/^(loop|j.?cxz)/,
		(test, random) => {
			if (random.once(2)) test.setGpr(RCX, random.pick([0, 1, 2]), random.once(3) ? 1 : 0);
		},
	],
];

/** EMMS resets TOP on AMD's processors only; CVTPI2PS from memory turns to MMX state on Intel's only: start from where neither shows. */
const MMX_STATE_BEFORE = /^(emms|cvtpi2ps)$/;
const FLAGS_ON_STACK = /^popf/;
const ENTER_LEAVE = /^(enter|leave)$/;

/** Sets what an instruction needs before it is encoded. */
export function prepare(name: string, test: CaseWriter, random: Random): void {
	for (const [pattern, action] of PREPARATIONS) {
		if (pattern.test(name)) {
			action(test, random);
			break;
		}
	}
	if (ENTER_LEAVE.test(name) && !random.once(8)) {
		test.setGpr(RBP, DATA + (random.between(0x100, DATA_BYTES - 0x80) & -8), 0);
	}
}

function comparand(test: CaseWriter, random: Random, encoded: Encoded): void {
	if (random.once(3)) return;
	if (encoded.rm >= 0) {
		test.copyGpr(RAX, encoded.rm);
		return;
	}
	if (encoded.memory < 0) return;
	const at = test.windowAt(encoded.memory, 16);
	if (at < 0) return;
	test.view.setInt32(at, test.low(RAX), true);
	test.view.setInt32(at + 4, test.high(RAX), true);
}

function widePair(test: CaseWriter, random: Random, encoded: Encoded): void {
	if (random.once(3) || encoded.memory < 0) return;
	const at = test.windowAt(encoded.memory, 16);
	if (at < 0) return;
	test.view.setInt32(at, test.low(RAX), true);
	if (encoded.memoryBytes > 8 || encoded.operandSize === 64) {
		test.view.setInt32(at + 4, test.high(RAX), true);
		test.view.setInt32(at + 8, test.low(RDX), true);
		test.view.setInt32(at + 12, test.high(RDX), true);
	} else test.view.setInt32(at + 4, test.low(RDX), true);
}

function inWindow(size: number, action: (test: CaseWriter, random: Random, at: number) => void): Adjust {
	return (test, random, encoded) => {
		if (encoded.memory < 0) return;
		const at = test.windowAt(encoded.memory, size);
		if (at >= 0) action(test, random, at);
	};
}

const mxcsrAt = (offset: number): Adjust =>
	inWindow(offset + 4, (test, random, at) => {
		if (!random.once(5)) test.view.setUint32(at + offset, random.word() & 0xffff, true);
	});

/** After the first instruction is encoded, when its operands are known. */
const ADJUSTMENTS: readonly (readonly [RegExp, Adjust])[] = [
	[/^cmpxchg$/, comparand],
	[/^cmpxchg(8b|16b)/, widePair],
	[
		/^bt[rsc]?$/,
		(test, random, encoded) => {
			// The bit offset of a memory operand is a signed number that reaches far: mostly within the data.
			if (encoded.memory < 0 || random.once(20)) return;
			const bits = random.between(-encoded.memory * 8, (DATA_BYTES - encoded.memory) * 8 - 64);
			test.setGpr(encoded.register, bits, bits < 0 ? -1 : 0);
		},
	],
	[
		/^(lar|lsl|verr|verw)$/,
		inWindow(2, (test, random, at) => test.view.setUint16(at, random.pick(SELECTORS) & 0xffff, true)),
	],
	[/^ldmxcsr$/, mxcsrAt(0)],
	[/^fxrstor/, mxcsrAt(24)],
	[/^fldcw$/, inWindow(2, (test, random, at) => test.view.setUint16(at, random.word() & 0x1f7f, true))],
	[
		/^(fld|fbld|fbstp)$/,
		inWindow(10, (test, random, at) => {
			if (random.once(2)) putExtended(random, test.view, at);
		}),
	],
	[
		/^fbld$/,
		inWindow(10, (test, random, at) => {
			for (let i = 0; i < 9; i++) test.view.setUint8(at + i, random.below(10) * 16 + random.below(10));
			test.view.setUint8(at + 9, random.once(2) ? 0x80 : 0);
		}),
	],
	[
		/^mov$/,
		(test, random, encoded) => {
			// MOV to a segment register: see sequences of opcode 8e.
			if (encoded.segment && encoded.rm >= 0) test.setGpr(encoded.rm, random.pick(SELECTORS), 0);
			if (encoded.segment && encoded.memory >= 0) {
				const at = test.windowAt(encoded.memory, 2);
				if (at >= 0) test.view.setUint16(at, random.pick(SELECTORS) & 0xffff, true);
			}
		},
	],
];

export function adjust(name: string, test: CaseWriter, random: Random, encoded: Encoded): void {
	for (const [pattern, action] of ADJUSTMENTS) {
		if (pattern.test(name)) action(test, random, encoded);
	}
	if (MMX_STATE_BEFORE.test(name)) {
		const at = test.base + Case.x87Status;
		test.view.setUint16(at, test.view.getUint16(at, true) & ~0x3800, true);
		test.view.setUint8(test.base + Case.x87Tags, 0xff);
	}
	if (FLAGS_ON_STACK.test(name)) {
		// Whatever lies at the stack's top; clear TF there.
		const offset = dataOffset(test.low(RSP), test.high(RSP));
		if (offset < 0) return;
		if (offset > DATA_BYTES - 8) {
			test.setGpr(RSP, DATA + DATA_BYTES + 8, 0);
			return;
		}
		test.window(offset, 0);
		const at = test.windowAt(offset, 8);
		test.view.setUint32(at, (random.word() & POPPED_FLAGS) | 2, true);
		test.view.setUint32(at + 4, 0, true);
	}
}
