/**
 * Decodes one instruction by the table of forms: prefixes, opcode map, ModRM, SIB, displacement, immediate.
 * The result is one reused object, since decoding runs for every instruction that is executed for the first time.
 *
 *   [prefixes] [REX] opcode (1-3 bytes) [ModRM: mod reg rm] [SIB: scale index base] [displacement] [immediate]
 */
import { SLOT_ES_BASE, SLOT_PAGE, SLOT_ZERO } from "../layout.ts";
import { forms, type InstructionForm } from "../semantics/table.ts";

export const MAXIMUM_LENGTH = 15;

export interface Decoded {
	/** Undefined for an undefined opcode. */
	form: InstructionForm | undefined;
	/** In bytes. */
	length: number;
	operandSize: 16 | 32 | 64;
	addressSize: 16 | 32 | 64;
	rep: "none" | "rep" | "repne";
	lock: boolean;
	/** A REX prefix makes 4-7 of a byte operand SPL, BPL, SIL, DIL instead of AH, CH, DH, BH. */
	rex: boolean;
	/** The rm operand is in memory. */
	memory: boolean;
	/** ModRM.reg and the register of ModRM.rm or of the opcode, with their REX bits. */
	register: number;
	rm: number;
	/** Register slots (layout.ts) of the address; SLOT_ZERO where there is none, SLOT_PAGE for RIP-relative. */
	base: number;
	index: number;
	/** log2 of the scale. */
	scale: number;
	/** RIP-relative ones count from the page's start once the caller has added the next instruction's offset. */
	displacement: number;
	/** Slot of the segment's base, or SLOT_ZERO. */
	segment: number;
	/** Segment register chosen by prefix or default (0 ES .. 5 GS). */
	segmentRegister: number;
	/** Sign- or zero-extended immediate, as two halves; moffs addresses too. */
	immediateLow: number;
	immediateHigh: number;
}

export function newDecoded(): Decoded {
	return {
		form: undefined,
		length: 0,
		operandSize: 32,
		addressSize: 64,
		rep: "none",
		lock: false,
		rex: false,
		memory: false,
		register: 0,
		rm: 0,
		base: SLOT_ZERO,
		index: SLOT_ZERO,
		scale: 0,
		displacement: 0,
		segment: SLOT_ZERO,
		segmentRegister: 3,
		immediateLow: 0,
		immediateHigh: 0,
	};
}

const SEGMENT_OVERRIDES: Readonly<Record<number, number>> = { 38: 0, 46: 1, 54: 2, 62: 3, 100: 4, 101: 5 };

/** 16-bit addressing: base and index registers by ModRM.rm (SDM volume 2, table 2-1). */
const BASES_16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDICES_16 = [6, 7, 6, 7, SLOT_ZERO, SLOT_ZERO, SLOT_ZERO, SLOT_ZERO];

let slots: (readonly InstructionForm[])[] = [];
let slotsOf = 0;

/** Forms by map and opcode, specific before general ones. Made again when the table has grown. */
function candidates(map: number, opcode: number): readonly InstructionForm[] {
	if (slotsOf !== forms.length) {
		const lists: InstructionForm[][] = Array.from({ length: 4 * 256 }, () => []);
		for (const form of forms) {
			const count = form.opcodeRegister ? 8 : 1;
			for (let low = 0; low < count; low++) lists[form.map * 256 + form.opcode + low]!.push(form);
		}
		const rank = (form: InstructionForm) =>
			(form.exactModrm >= 0 ? 0 : 4) + (form.mandatory === "any" ? 2 : form.mandatory === "np" ? 1 : 0);
		for (const list of lists) list.sort((a, b) => rank(a) - rank(b));
		slots = lists;
		slotsOf = forms.length;
	}
	return slots[map * 256 + opcode]!;
}

/** Thrown inside {@link decode} only: the bytes ran out. */
const NEED_MORE = -1;

/**
 * Decodes the instruction at `bytes[start]`, looking at nothing at or beyond `end`.
 * @returns false where more bytes are needed; true otherwise, with `out.form` undefined for an undefined opcode (#UD) and
 * `out.length` over 15 for one that is too long (#GP).
 */
export function decode(bytes: Uint8Array, start: number, end: number, longMode: boolean, out: Decoded): boolean {
	let at = start;
	let operandOverride = false;
	let addressOverride = false;
	let repeat = 0;
	let rex = 0;
	let segmentRegister = -1;
	out.lock = false;
	out.form = undefined;
	out.memory = false;
	out.base = SLOT_ZERO;
	out.index = SLOT_ZERO;
	out.scale = 0;
	out.displacement = 0;
	out.immediateLow = 0;
	out.immediateHigh = 0;
	out.register = 0;
	out.rm = 0;

	const stop = Math.min(end, start + MAXIMUM_LENGTH + 1);
	let opcode = 0;
	for (;;) {
		if (at >= stop) return tooLongOrMore(out, at, start);
		opcode = bytes[at++]!;
		if (opcode === 0x66) operandOverride = true;
		else if (opcode === 0x67) addressOverride = true;
		else if (opcode === 0xf0) out.lock = true;
		else if (opcode === 0xf2 || opcode === 0xf3) repeat = opcode;
		else if (longMode && (opcode & 0xf0) === 0x40) {
			rex = opcode;
			continue;
		} else {
			const override = SEGMENT_OVERRIDES[opcode];
			if (override === undefined) break;
			// In 64-bit mode the overrides of ES, CS, SS and DS are ignored.
			if (!longMode || override >= 4) segmentRegister = override;
		}
		// A REX prefix counts only directly before the opcode.
		rex = 0;
	}
	let map = 0;
	if (opcode === 0x0f) {
		if (at >= stop) return tooLongOrMore(out, at, start);
		opcode = bytes[at++]!;
		map = 1;
		if (opcode === 0x38 || opcode === 0x3a) {
			map = opcode === 0x38 ? 2 : 3;
			if (at >= stop) return tooLongOrMore(out, at, start);
			opcode = bytes[at++]!;
		}
	}

	// The first candidate that fits; ModRM is looked at before it is known to be there, as the bytes must be anyway.
	const list = candidates(map, opcode);
	const modrm = at < stop ? bytes[at]! : NEED_MORE;
	let form: InstructionForm | undefined;
	// All of an opcode have ModRM or none has; it is fetched even where its value leads to #UD.
	if (modrm === NEED_MORE && list[0]?.hasModrm === true) return tooLongOrMore(out, at + 1, start);
	for (const candidate of list) {
		if (candidate.mode !== undefined && (candidate.mode === "64") !== longMode) continue;
		// 90 is NOP (F3 90 PAUSE), which leaves the upper half of RAX, unless REX.B makes it XCHG R8, RAX.
		if (map === 0 && opcode === 0x90 && candidate.opcodeRegister !== ((rex & 1) !== 0)) continue;
		if (candidate.mandatory !== "any") {
			const wanted = repeat === 0xf3 ? "f3" : repeat === 0xf2 ? "f2" : operandOverride ? "66" : "np";
			if (candidate.mandatory !== wanted) continue;
		}
		if (candidate.hasModrm) {
			if (modrm === NEED_MORE) return tooLongOrMore(out, at + 1, start);
			if (candidate.exactModrm >= 0 && candidate.exactModrm !== modrm) continue;
			if (candidate.digit >= 0 && candidate.digit !== ((modrm >> 3) & 7)) continue;
			if (!rmFits(candidate, modrm >= 0xc0)) continue;
		}
		form = candidate;
		break;
	}
	out.rep = repeat === 0 ? "none" : repeat === 0xf3 ? "rep" : "repne";
	out.rex = rex !== 0;
	if (form === undefined) {
		out.length = at - start;
		return true;
	}

	out.addressSize = longMode ? (addressOverride ? 32 : 64) : addressOverride ? 16 : 32;
	if (longMode && form.size64 === "64") out.operandSize = 64;
	else if ((rex & 8) !== 0) out.operandSize = 64;
	else if (operandOverride && form.mandatory !== "66") out.operandSize = 16;
	else out.operandSize = longMode && form.size64 === "default64" ? 64 : 32;

	if (form.opcodeRegister) out.rm = (opcode & 7) | ((rex & 1) << 3);
	if (form.hasModrm) {
		at++;
		out.register = ((modrm >> 3) & 7) | ((rex & 4) << 1);
		const mod = modrm >> 6;
		const rm = modrm & 7;
		if (mod === 3) out.rm = rm | ((rex & 1) << 3);
		else {
			out.memory = true;
			let displacementBytes = mod === 1 ? 1 : mod === 2 ? 4 : 0;
			let stackBase = false;
			if (out.addressSize === 16) {
				if (mod === 2) displacementBytes = 2;
				out.base = BASES_16[rm]!;
				out.index = INDICES_16[rm]!;
				if (rm === 6 && mod === 0) {
					out.base = SLOT_ZERO;
					displacementBytes = 2;
				}
				stackBase = out.base === 5;
			} else {
				if (rm === 4) {
					if (at >= stop) return tooLongOrMore(out, at, start);
					const sib = bytes[at++]!;
					const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
					if (index !== 4) {
						out.index = index;
						out.scale = sib >> 6;
					}
					if ((sib & 7) === 5 && mod === 0) displacementBytes = 4;
					else out.base = (sib & 7) | ((rex & 1) << 3);
				} else if (rm === 5 && mod === 0) {
					displacementBytes = 4;
					if (longMode) out.base = SLOT_PAGE;
				} else out.base = rm | ((rex & 1) << 3);
				stackBase = out.base === 4 || out.base === 5;
			}
			if (segmentRegister < 0) segmentRegister = stackBase ? 2 : 3;
			if (at + displacementBytes > stop) return tooLongOrMore(out, at + displacementBytes, start);
			if (displacementBytes === 1) out.displacement = (bytes[at]! << 24) >> 24;
			else if (displacementBytes === 2) out.displacement = ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16;
			else if (displacementBytes === 4) out.displacement = word(bytes, at);
			at += displacementBytes;
		}
	}
	out.segmentRegister = segmentRegister < 0 ? 3 : segmentRegister;
	out.segment = longMode && out.segmentRegister < 4 ? SLOT_ZERO : SLOT_ES_BASE + out.segmentRegister;

	let immediates = 0;
	for (const operand of form.operands) {
		if (operand.kind !== "immediate" && operand.kind !== "relative" && operand.kind !== "moffs") continue;
		let size = 0;
		if (operand.kind === "moffs") size = out.addressSize / 8;
		else if (operand.size === "z") size = out.operandSize === 16 ? 2 : 4;
		else if (operand.size === "v") size = out.operandSize / 8;
		else size = (operand.size as number) / 8;
		if (at + size > stop) return tooLongOrMore(out, at + size, start);
		let low = 0;
		let high = 0;
		if (size === 1) low = operand.signed ? (bytes[at]! << 24) >> 24 : bytes[at]!;
		else if (size === 2) {
			low = bytes[at]! | (bytes[at + 1]! << 8);
			if (operand.signed || operand.size === "z") low = (low << 16) >> 16;
		} else {
			low = word(bytes, at);
			if (size === 8) high = word(bytes, at + 4);
		}
		if (size < 8) high = operand.kind === "moffs" || (size === 4 && operand.size === "v") ? 0 : low >> 31;
		if (immediates === 0) {
			out.immediateLow = low;
			out.immediateHigh = high;
		} else {
			// ENTER, far pointers and EXTRQ/INSERTQ: the second immediate goes to the upper half.
			out.immediateHigh = low;
		}
		immediates++;
		at += size;
	}
	if (at - start > MAXIMUM_LENGTH) {
		out.length = at - start;
		return true;
	}
	// LOCK is defined where the instruction says so and its destination, the first operand, is in memory.
	if (out.lock && !(form.lock === true && out.memory && form.operands[0]?.kind === "modrmRm")) {
		out.length = at - start;
		return true;
	}
	out.form = form;
	out.length = at - start;
	return true;
}

function tooLongOrMore(out: Decoded, at: number, start: number): boolean {
	if (at - start <= MAXIMUM_LENGTH) return false;
	out.form = undefined;
	out.length = at - start;
	return true;
}

function word(bytes: Uint8Array, at: number): number {
	return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function rmFits(form: InstructionForm, register: boolean): boolean {
	for (const operand of form.operands) {
		if (operand.kind === "modrmRm" && operand.rm !== "any") return (operand.rm === "register") === register;
	}
	return true;
}
