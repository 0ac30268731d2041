/**
 * What the manual leaves undefined, by mnemonic: flags, and results under some condition. Source: Intel SDM volume 2, "Flags Affected" and
 * "Operation" of each instruction (AMD's APM volume 3 agrees wherever both say something). Consulted only after a difference.
 */
import type { InstructionForm } from "../../../src/cpu/semantics/table.ts";
import { type CaseWriter, RCX } from "./case.ts";
import type { Encoded } from "./encode.ts";
import { Case } from "./records.ts";

const BITS = { CF: 0x1, PF: 0x4, AF: 0x10, ZF: 0x40, SF: 0x80, OF: 0x800 } as const;
const ALL = "CF PF AF ZF SF OF";

/** The mnemonic in lower case: names of the table may carry operands ("FADD ST(0), ST(i)"). */
export function mnemonic(form: InstructionForm): string {
	return form.name.toLowerCase().split(" ")[0]!;
}

/** What conditions look at. */
export interface Subject {
	readonly form: InstructionForm;
	readonly name: string;
	readonly encoded: Encoded;
	/** In bits. */
	readonly size: number;
	/** Shift count after masking. */
	readonly count: number;
	/** ST(0) before the instruction, rounded. */
	readonly st0: number;
}

type Condition = (subject: Subject) => boolean;
/** Beyond what the manual defines the two for; NaN and infinities are defined. */
const outOfRange: Condition = ({ name, st0 }) =>
	Number.isFinite(st0) && (name === "f2xm1" ? Math.abs(st0) > 1 : st0 < Math.SQRT1_2 - 1 || st0 > Math.SQRT2 - 1);
const always: Condition = () => true;
const shifted: Condition = ({ count }) => count !== 0;
const severalBits: Condition = ({ count }) => count > 1;
const wholeWidth: Condition = ({ count, size }) => count >= size;
const beyondWidth: Condition = ({ count, size }) => count > size;

interface UndefinedFlags {
	readonly names: RegExp;
	readonly flags: string;
	readonly when: Condition;
	/** The instruction's page of the manual. */
	readonly source: string;
}

export const UNDEFINED_FLAGS: readonly UndefinedFlags[] = [
	{ names: /^(and|or|xor|test)$/, flags: "AF", when: always, source: "AND, OR, XOR, TEST" },
	{ names: /^i?mul$/, flags: "SF ZF AF PF", when: always, source: "MUL, IMUL" },
	{ names: /^i?div$/, flags: ALL, when: always, source: "DIV, IDIV" },
	{ names: /^(shl|sal|shr|sar)$/, flags: "AF", when: shifted, source: "SAL/SAR/SHL/SHR" },
	{ names: /^(shl|sal|shr|sar)$/, flags: "OF", when: severalBits, source: "SAL/SAR/SHL/SHR" },
	{ names: /^(shl|sal|shr)$/, flags: "CF", when: wholeWidth, source: "SAL/SAR/SHL/SHR" },
	{ names: /^(rol|ror|rcl|rcr)$/, flags: "OF", when: severalBits, source: "RCL/RCR/ROL/ROR" },
	{ names: /^sh[lr]d$/, flags: "AF", when: shifted, source: "SHLD, SHRD" },
	{ names: /^sh[lr]d$/, flags: "OF", when: severalBits, source: "SHLD, SHRD" },
	{ names: /^sh[lr]d$/, flags: ALL, when: beyondWidth, source: "SHLD, SHRD" },
	{ names: /^bt[src]?$/, flags: "OF SF AF PF", when: always, source: "BT, BTS, BTR, BTC" },
	{ names: /^bs[fr]$/, flags: "CF OF SF AF PF", when: always, source: "BSF, BSR" },
	{ names: /^(aam|aad)$/, flags: "OF AF CF", when: always, source: "AAM, AAD" },
	{ names: /^(aaa|aas)$/, flags: "OF SF ZF PF", when: always, source: "AAA, AAS" },
	{ names: /^(daa|das)$/, flags: "OF", when: always, source: "DAA, DAS" },
];

interface UndefinedResult {
	readonly names: RegExp;
	readonly when: Condition;
	/** What of the result: the first operand, the x87 stack and status, or bits of the x87 status word. */
	readonly what: "destination" | "x87" | number;
	readonly source: string;
}

const C1 = 0x200;
/** A result that happens to be exact still reports precision on some processors: PE, and ES and B where it is not masked. */
const PE = 0x80a0;
/** Whether the last bit makes a result tiny: UE, seen of FSIN of the least normal number. */
const UE = 0x10;
const C0_C2_C3 = 0x4500;

export const UNDEFINED_RESULTS: readonly UndefinedResult[] = [
	{
		names: /^sh[lr]d$/,
		when: beyondWidth,
		what: "destination",
		source: "SHLD, SHRD: count greater than the operand size",
	},
	{ names: /^bswap$/, when: ({ size }) => size === 16, what: "destination", source: "BSWAP of a 16-bit register" },
	{
		names:
			/^(fi?(add|sub|subr|mul|div|divr)p?|f(ld.*|i?st|i?stp|isttp|ild|bld|bstp|xch|chs|abs|rndint|sqrt|scale|xtract|2xm1|yl2x|yl2xp1|patan|incstp|decstp|free|fnop|nop|cmov.*|ldcw|nstcw|nclex))$/,
		when: always,
		what: C0_C2_C3,
		source: "x87 instructions: FPU Flags Affected, C0, C2, C3 undefined",
	},
	{ names: /^(fsin|fcos|fsincos|fptan)$/, when: always, what: 0x4100, source: "FSIN, FCOS, FSINCOS, FPTAN: C0, C3" },
	{
		names: /^(f2xm1|fyl2xp1)$/,
		when: outOfRange,
		what: "x87",
		source: "F2XM1, FYL2XP1: source operand outside its range",
	},
	{
		names: /^(f2xm1|fyl2x|fyl2xp1|fpatan|fsin|fcos|fsincos|fptan)$/,
		when: always,
		what: C1 | PE | UE,
		source: "precision of transcendentals",
	},
	{
		names: /^fn?(clex|stcw|stenv)$|^fldcw$|^fwait$/,
		when: always,
		what: C0_C2_C3 | C1,
		source: "FCLEX, FSTCW, FSTENV, FLDCW, WAIT",
	},
];

/** Mask of RFLAGS that a mnemonic leaves undefined whatever its operands: for sequences, where operands are not known. */
export function everUndefinedFlags(name: string): number {
	let mask = 0;
	for (const entry of UNDEFINED_FLAGS) if (entry.names.test(name)) mask |= flagMask(entry.flags);
	return mask;
}

export function flagMask(names: string): number {
	let mask = 0;
	for (const name of names.split(" ")) mask |= BITS[name as keyof typeof BITS];
	return mask;
}

/** ST(0) of a case as a double; NaN and infinity for the same and for what is unsupported. */
function st0(test: CaseWriter): number {
	const at = test.base + Case.st;
	const top = test.view.getUint16(at + 8, true);
	const high = test.view.getUint32(at + 4, true);
	if ((top & 0x7fff) === 0x7fff || high < 0x8000_0000) return Number.NaN;
	return (
		(top & 0x8000 ? -1 : 1) *
		((high + test.view.getUint32(at, true) / 2 ** 32) / 2 ** 31) *
		2 ** Math.min((top & 0x7fff) - 16383, 1000)
	);
}

/** What {@link UNDEFINED_FLAGS} and the others look at, from a case with a single instruction. */
export function subjectOf(form: InstructionForm, encoded: Encoded, test: CaseWriter): Subject {
	const first = form.operands[0];
	const size = typeof first?.size === "number" ? first.size : encoded.operandSize;
	const last = form.operands.at(-1);
	let count = 0;
	if (last?.kind === "constant") count = last.value;
	else if (last?.kind === "immediate") count = encoded.immediate;
	else if (last?.code === "CL") count = test.low(RCX);
	return { form, name: mnemonic(form), encoded, size, count: count & (size === 64 ? 63 : 31), st0: st0(test) };
}

/** Bits of RFLAGS that are undefined after the instruction. */
export function undefinedFlags(subject: Subject): number {
	let mask = 0;
	for (const entry of UNDEFINED_FLAGS) {
		if (entry.names.test(subject.name) && entry.when(subject)) mask |= flagMask(entry.flags);
	}
	return mask;
}

/** Whether the first operand is undefined after the instruction. */
export function undefinedDestination(subject: Subject): boolean {
	return UNDEFINED_RESULTS.some(
		({ names, when, what }) => what === "destination" && names.test(subject.name) && when(subject),
	);
}

/** Whether the x87 stack and status are undefined after the instruction. */
export function undefinedX87(subject: Subject): boolean {
	return UNDEFINED_RESULTS.some(({ names, when, what }) => what === "x87" && names.test(subject.name) && when(subject));
}

/** Bits of the first operand (below 32) that are undefined after the instruction, where not all of it is. */
export function undefinedBits(subject: Subject): number {
	// LAR: "00FxFF00H, where x indicates that the four corresponding bits are undefined".
	return subject.name === "lar" ? 0xf_0000 : 0;
}

/** Bits of the x87 status word that are undefined after the instruction. */
export function undefinedStatus(subject: Subject): number {
	let mask = 0;
	for (const { names, when, what } of UNDEFINED_RESULTS) {
		if (typeof what === "number" && names.test(subject.name) && when(subject)) mask |= what;
	}
	return mask;
}
