/**
 * Where processors of different makers, or Linux between them and us, answer differently and both are right. Each by name, with its
 * reason; consulted only after a difference.
 */
import type { InstructionForm } from "../../../src/cpu/semantics/table.ts";
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import type { Subject } from "./undefined.ts";

/** Highest address of user mode: Linux tells user mode that every page above is present, so that nothing is learned of it. */
const USER_END = 0x7fff_ffff_f000;

/** Whether a page fault's "present" bit is Linux's invention. */
export function sanitised(cr2: number): boolean {
	return cr2 < 0 || cr2 >= USER_END;
}

/** Instructions whose results are approximations that the manual only bounds: greatest relative error. */
const APPROXIMATE: readonly { readonly names: RegExp; readonly error: number; readonly source: string }[] = [
	{
		names: /^(rcp|rsqrt)[ps]s$/,
		error: 2 * 1.5 * 2 ** -12,
		source: "RCPPS, RSQRTPS: |relative error| <= 1.5 * 2^-12, each side",
	},
];

/** Bound of the relative difference in single-precision lanes, or 0 where results are exact. */
export function tolerance(subject: Subject): number {
	return APPROXIMATE.find(({ names }) => names.test(subject.name))?.error ?? 0;
}

/** x87 instructions whose last bit is the maker's own: significands may differ by this many units of the last place. */
export function x87Tolerance(subject: Subject): number {
	return /^(f2xm1|fyl2x|fyl2xp1|fptan|fpatan|fsin|fcos|fsincos)$/.test(subject.name) ? 1 : 0;
}

/** Instructions that store or load a block in parts: the address of a fault within the page is the processor's own. */
const BLOCK = /^(fxsave|fxrstor|fnsave|frstor|fnstenv|fldenv)$/;

/**
 * Whether two faults of one instruction are both right:
 * - CMPS whose both operands fault: which is read first is the processor's own;
 * - UD0 and UD1, of which Intel's processors fetch the whole;
 * - far returns and jumps, which check many things: AMD's processors read the outer stack before they look at the selector.
 */
export function eitherFault(subject: Subject, expected: number, got: number): boolean {
	const pageFaults = expected === 14 && got === 14;
	// A block over two pages that both fault, or whose 16-bit addresses wrap: any of its addresses.
	if (pageFaults && BLOCK.test(subject.name)) return true;
	// With a prefix that makes it undefined: whether the rest of it is fetched first.
	if (BLOCK.test(subject.name) && expected === 14 && got === 6) return true;
	// Alignment or address first.
	if (BLOCK.test(subject.name) && (expected === 12 || expected === 13) && (got === 12 || got === 13)) return true;
	// Eight and two bytes: which first.
	if (/m80/.test(subject.form.name) && FAULTS.has(expected) && FAULTS.has(got)) return true;
	if (subject.name === "cmps" && FAULTS.has(expected) && FAULTS.has(got)) return true;
	// AMD's UD0 has no ModRM byte, its UD1 fetches no displacement: nothing behind faults.
	if (/^ud[01]$/.test(subject.name) && expected === 6 && got === 14) return true;
	// Which of eight words of the stack is touched first is the processor's own.
	if (subject.name === "pusha" || subject.name === "popa") return FAULTS.has(expected) && FAULTS.has(got);
	return /^(retf|iret|callf|jmpf)$/.test(subject.name) && FAULTS.has(expected) && FAULTS.has(got);
}
const FAULTS: ReadonlySet<number> = new Set([10, 11, 12, 13, 14]);

/**
 * Instructions between XMM or memory and MMX registers that fault: Zen 3 has entered MMX state (TOP 0, all registers valid) by then, and so has the
 * emulated processor of either maker; what Intel's do was not among the recorded answers.
 */
export function entersMmxAtFault(subject: Subject, vendor: CpuVendor): boolean {
	return vendor === "intel" && /^(cvtt?p[sd]2pi|cvtpi2p[sd]|maskmovq)$/.test(subject.name);
}

/** Instructions that may have done some of their work when they fault: POPA and PUSHA on AMD's processors. */
export function partialAtFault(subject: Subject): boolean {
	return subject.name === "popa" || subject.name === "pusha";
}

/** MXCSR.MM (misaligned accesses), a bit that only AMD's processors have: what loads it is #GP elsewhere. */
export function misalignedMode(mxcsr: number): boolean {
	return (mxcsr & 0x2_0000) !== 0;
}

/** LOCK before these is not #UD on AMD's processors: VERR, VERW; MOV CR0, which it makes MOV CR8. */
export function lockAccepted(form: InstructionForm): boolean {
	return /^ver[rw]$/.test(form.name) || form.operands.some(({ kind }) => kind === "control");
}

/**
 * Offset 0x8000_0000_0000 and above with GS's negative base (records.ts): AMD's processors fault (#GP) because the offset is not
 * canonical, although the sum is; the manuals speak of the sum only.
 */
export function offsetNotCanonical(expected: number, got: number, address: number): boolean {
	return expected === 13 && got === 14 && address >= 0x7fff_ffff_7f00 && address <= 0x7fff_ffff_ffff;
}

/** The host's kernel has returned to user mode between case and result: its IRET has made null selectors 0. */
export function sameSelector(expected: number, got: number): boolean {
	return expected === (got < 4 ? 0 : got);
}

/**
 * Bytes of a stored block that are not compared, as [from, to): last x87 opcode and pointers, which AMD's processors only store
 * while an exception is pending; MXCSR_MASK; what is reserved or behind XMM15.
 */
export function unpredictableBytes(subject: Subject): readonly (readonly [number, number])[] {
	const short = subject.encoded.operandSize === 16;
	switch (subject.name) {
		case "fxsave":
			return [
				[5, 24],
				[28, 32],
				...[0, 1, 2, 3, 4, 5, 6, 7].map((i) => [42 + i * 16, 48 + i * 16] as const),
				[416, 512],
			];
		case "fnstenv":
		case "fnsave":
			return short
				? [[6, 14]]
				: [
						[2, 4],
						[6, 8],
						[10, 28],
					];
		default:
			return [];
	}
}
