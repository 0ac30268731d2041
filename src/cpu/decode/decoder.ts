/**
 * Decodes one instruction by the table of forms: prefixes, opcode map, ModRM, SIB, displacement, immediate.
 * The result is one reused object, since decoding runs for every instruction that is executed for the first time.
 *
 *   [prefixes] [REX] opcode (1-3 bytes) [ModRM: mod reg rm] [SIB: scale index base] [displacement] [immediate]
 */
import { SLOT_COMPATIBILITY_BASES, SLOT_ES_BASE, SLOT_PAGE, SLOT_ZERO } from "../layout.ts";
import { forms, type InstructionForm } from "../semantics/table.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { type DecodePlan, Immediate, Mandatory, Modes, OperandWidth, planOf } from "./plan.ts";

export const MAXIMUM_LENGTH = 15;

export interface Decoded {
	/** Whose processor decodes. */
	readonly vendor: VendorBehaviour;
	/** Undefined for an undefined opcode. */
	form: InstructionForm | undefined;
	/** What decoding knows of the form. */
	plan: DecodePlan | undefined;
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

export function newDecoded(vendor: VendorBehaviour): Decoded {
	return {
		vendor,
		form: undefined,
		plan: undefined,
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

/** What a byte is in front of an opcode: 0 the opcode itself, else a prefix. */
const Prefix = { none: 0, operandSize: 1, addressSize: 2, lock: 3, repeat: 4, rex: 5, segment: 6 } as const;
const PREFIXES = new Uint8Array(256);
PREFIXES[0x66] = Prefix.operandSize;
PREFIXES[0x67] = Prefix.addressSize;
PREFIXES[0xf0] = Prefix.lock;
PREFIXES.fill(Prefix.repeat, 0xf2, 0xf4);
PREFIXES.fill(Prefix.rex, 0x40, 0x50);
for (const [segment, byte] of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].entries()) PREFIXES[byte] = Prefix.segment + segment;

/** 16-bit addressing: base and index registers by ModRM.rm (SDM volume 2, table 2-1). */
const BASES_16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDICES_16 = [6, 7, 6, 7, SLOT_ZERO, SLOT_ZERO, SLOT_ZERO, SLOT_ZERO];

let slots: (readonly DecodePlan[])[] = [];
let slotsOf = 0;

/** Forms by map and opcode, specific before general ones. Made again when the table has grown. */
function makeSlots(): void {
	const lists: DecodePlan[][] = Array.from({ length: 4 * 256 }, () => []);
	for (const form of forms) {
		const plan = planOf(form);
		const count = form.opcodeRegister ? 8 : 1;
		for (let low = 0; low < count; low++) lists[form.map * 256 + form.opcode + low]?.push(plan);
	}
	const rank = ({ form }: DecodePlan) =>
		(form.exactModrm >= 0 ? 0 : 4) + (form.mandatory === "any" ? 2 : form.mandatory === "np" ? 1 : 0);
	for (const list of lists) list.sort((a, b) => rank(a) - rank(b));
	slots = lists;
	slotsOf = forms.length;
}

/** Thrown inside {@link decode} only: the bytes ran out. */
const NEED_MORE = -1;

/**
 * Decodes the instruction at `bytes[start]`, looking at nothing at or beyond `end`.
 * @returns false where more bytes are needed; true otherwise, with `out.form` undefined for an undefined opcode (#UD) and
 * `out.length` over 15 for one that is too long (#GP).
 */
export function decode(bytes: Uint8Array, start: number, end: number, longMode: boolean, out: Decoded): boolean {
	if (slotsOf !== forms.length) makeSlots();
	const { vendor } = out;
	let at = start;
	let operandOverride = false;
	let addressOverride = false;
	let repeat = 0;
	let rex = 0;
	let segmentRegister = -1;
	out.lock = false;
	out.form = undefined;
	out.plan = undefined;
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
		const prefix = PREFIXES[opcode]!;
		if (prefix === Prefix.none) break;
		if (prefix === Prefix.rex) {
			if (!longMode) break;
			rex = opcode;
			continue;
		}
		if (prefix === Prefix.operandSize) operandOverride = true;
		else if (prefix === Prefix.addressSize) addressOverride = true;
		else if (prefix === Prefix.lock) out.lock = true;
		else if (prefix === Prefix.repeat) repeat = opcode;
		// In 64-bit mode the overrides of ES, CS, SS and DS are ignored.
		else if (!longMode || prefix >= Prefix.segment + 4) segmentRegister = prefix - Prefix.segment;
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
	const list = slots[map * 256 + opcode]!;
	const modrm = at < stop ? bytes[at]! : NEED_MORE;
	// All of an opcode have ModRM or none has; it is fetched even where its value leads to #UD.
	if (modrm === NEED_MORE && list.length > 0 && list[0]!.hasModrm) return tooLongOrMore(out, at + 1, start);
	let plan: DecodePlan | undefined;
	const mode = longMode ? Modes.long : Modes.compatibility;
	const mandatory =
		repeat === 0xf3
			? Mandatory.f3
			: repeat === 0xf2
				? Mandatory.f2
				: operandOverride
					? Mandatory.operandSize
					: Mandatory.np;
	for (let index = 0; index < list.length; index++) {
		const candidate = list[index]!;
		if ((candidate.modes & mode) === 0 || (candidate.mandatory & mandatory) === 0) continue;
		// 90 is NOP (F3 90 PAUSE), which leaves the upper half of RAX, unless REX.B makes it XCHG R8, RAX.
		if (map === 0 && opcode === 0x90) {
			const exchanges = (rex & 1) !== 0 && !(repeat === 0xf3 && vendor.pauseIgnoresRexB);
			if (candidate.opcodeRegister !== exchanges) continue;
		}
		if (candidate.hasModrm) {
			if (candidate.exactModrm >= 0 && candidate.exactModrm !== modrm) continue;
			if (candidate.digit >= 0 && candidate.digit !== ((modrm >> 3) & 7)) continue;
			if (!(modrm >= 0xc0 ? candidate.takesRegister : candidate.takesMemory)) continue;
		}
		plan = candidate;
		break;
	}
	out.rep = repeat === 0 ? "none" : repeat === 0xf3 ? "rep" : "repne";
	out.rex = rex !== 0;
	if (plan === undefined) {
		out.length = at - start;
		return true;
	}

	out.addressSize = longMode ? (addressOverride ? 32 : 64) : addressOverride ? 16 : 32;
	if ((rex & 8) !== 0) out.operandSize = 64;
	else if (longMode && plan.width === OperandWidth.nearBranch && vendor.nearBranchIgnoresOperandSize)
		out.operandSize = 64;
	else if (operandOverride && !plan.mandatoryOperandSize) out.operandSize = 16;
	else out.operandSize = longMode && plan.width !== OperandWidth.normal ? 64 : 32;

	if (plan.opcodeRegister) out.rm = (opcode & 7) | ((rex & 1) << 3);
	if (plan.hasModrm) {
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
	out.segment = longMode
		? out.segmentRegister < 4
			? SLOT_ZERO
			: SLOT_ES_BASE + out.segmentRegister
		: SLOT_COMPATIBILITY_BASES + out.segmentRegister;

	for (let index = 0; index < plan.immediates.length; index++) {
		const immediate = plan.immediates[index]!;
		const size =
			immediate.size === Immediate.address
				? out.addressSize >> 3
				: immediate.size === Immediate.operand
					? out.operandSize >> 3
					: immediate.size === Immediate.operandTo32
						? out.operandSize === 16
							? 2
							: 4
						: immediate.size;
		if (at + size > stop) return tooLongOrMore(out, at + size, start);
		let low = 0;
		let high = 0;
		if (size === 1) low = immediate.signed ? (bytes[at]! << 24) >> 24 : bytes[at]!;
		else if (size === 2) {
			low = bytes[at]! | (bytes[at + 1]! << 8);
			if (immediate.signed || immediate.size === Immediate.operandTo32) low = (low << 16) >> 16;
		} else {
			low = word(bytes, at);
			if (size === 8) high = word(bytes, at + 4);
		}
		if (size < 8) {
			const unsigned = immediate.size === Immediate.address || (size === 4 && immediate.size === Immediate.operand);
			high = unsigned ? 0 : low >> 31;
		}
		if (index === 0) {
			out.immediateLow = low;
			out.immediateHigh = high;
		} else {
			// ENTER, far pointers and EXTRQ/INSERTQ: the second immediate goes to the upper half.
			out.immediateHigh = low;
		}
		at += size;
	}
	if (at - start > MAXIMUM_LENGTH) {
		out.length = at - start;
		return true;
	}
	// LOCK is defined where the instruction says so and its destination, the first operand, is in memory.
	if (out.lock && !(plan.lockable && out.memory)) {
		out.length = at - start;
		return true;
	}
	out.form = plan.form;
	out.plan = plan;
	out.length = at - start;
	return true;
}

const crossing = new Uint8Array(MAXIMUM_LENGTH + 1);

/**
 * {@link decode} for an instruction whose first bytes, at `bytes[start]`, end with their page before `end`: the rest is at `bytes[next]`. To be
 * called where decode asks for more.
 */
export function decodeCrossing(
	bytes: Uint8Array,
	start: number,
	end: number,
	next: number,
	longMode: boolean,
	out: Decoded,
): boolean {
	const head = end - start;
	crossing.set(bytes.subarray(start, end));
	crossing.set(bytes.subarray(next, next + crossing.length - head), head);
	return decode(crossing, 0, crossing.length, longMode, out);
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
