/**
 * Decoded instructions as the interpreter reads them: fixed-size records in linear memory, in the order of the code.
 *
 *   0 kind u16 | 2 offset u16 | 4 next u16 | 6 A | 7 B | 8 base | 9 index | 10 scale | 11 segment | 12 count u16 | 14 original u16
 *   16 displacement i32 | 20 link u32 | 24 immediate i64
 *
 * offset and next: of this and the next instruction from the start of the page (next may lie beyond it).
 * A, B: byte offsets of the ModRM.reg and ModRM.rm register in their file; base, index, segment: byte offsets of register slots.
 * count, original: for the translator.
 * link: of a relative branch, the target's record, once it is known and on the same page; of another, the lower half of where it led last.
 * A record's distance from another in a block, in records, is the number of instructions between them.
 */

import type { Memory } from "../../memory/memory.ts";
import type { Decoded } from "../decode/decoder.ts";
import { Field } from "../decode/plan.ts";
import { SLOT_PAGE, SLOT_ZERO } from "../layout.ts";
import type { InstructionForm } from "../semantics/table.ts";

export const RECORD_SIZE = 32;
export const RECORD_SHIFT = 5;
export const KIND = 0;
export const OFFSET = 2;
export const NEXT = 4;
export const FIELD_A = 6;
export const FIELD_B = 7;
export const FIELD_BASE = 8;
export const FIELD_INDEX = 9;
export const FIELD_SCALE = 10;
export const FIELD_SEGMENT = 11;
/** How often a branch has led here, as long as no region begins here. */
export const COUNT = 12;
/** The kind of the instruction where a region begins, whose number is in its kind's place. */
export const ORIGINAL = 14;
/** In its place as long as no region begins there: when the block became hot, and how often (translator.ts). */
export const LAST_HOT = ORIGINAL;
export const DISPLACEMENT = 16;
export const LINK = 20;
export const IMMEDIATE = 24;

/** No instruction: look up the address `offset` anew. Ends blocks, and replaces the records of code that has changed. */
export const KIND_LOOKUP = 0;
/** The next record's instruction goes on in the next page: valid while that page's frame is the one in the immediate. */
export const KIND_CROSSING = 1;
/** Undefined opcode. */
export const KIND_UNDEFINED = 2;
export const KIND_FIRST = 3;

/** Kinds from here on: a translated region begins here; the kind is its place in the table. */
export const KIND_REGION = 0x8000;

/** How a memory operand's address is computed; the part of an instruction's encoding that its code depends on. */
export type Addressing = "register" | "base" | "full" | "full32" | "full16";
const ADDRESSINGS: readonly Addressing[] = ["register", "base", "full", "full32", "full16"];

/** A form with everything settled that its emitted code depends on. */
export interface Variant {
	readonly form: InstructionForm;
	readonly operandSize: 16 | 32 | 64;
	readonly addressSize: 16 | 32 | 64;
	readonly addressing: Addressing;
	readonly longMode: boolean;
	readonly rep: "none" | "rep" | "repne";
}

/** Keys of one form. */
export const KEYS_PER_FORM = 5 * 5 * 5 * 2 * 3;

/** Index into {@link ADDRESSINGS}. */
function addressingOf(decoded: Decoded): number {
	if (!decoded.memory) return 0;
	if (decoded.addressSize === 16) return 4;
	if (decoded.addressSize === 32) return 3;
	return decoded.index === SLOT_ZERO && decoded.segment === SLOT_ZERO ? 1 : 2;
}

/** A number that is the same for instructions that share their emitted code. The instruction must be defined. */
export function variantKey(decoded: Decoded, longMode: boolean): number {
	const plan = decoded.plan!;
	const size = plan.dependsOnOperandSize ? decoded.operandSize >> 4 : 0;
	const address = plan.dependsOnAddressSize ? decoded.addressSize >> 4 : 0;
	const rep = !plan.dependsOnRep || decoded.rep === "none" ? 0 : decoded.rep === "rep" ? 1 : 2;
	return ((((plan.id * 5 + size) * 5 + addressingOf(decoded)) * 5 + address) * 2 + (longMode ? 1 : 0)) * 3 + rep;
}

/** The variant of a key. */
export function variantOf(key: number, forms: readonly InstructionForm[]): Variant {
	let rest = key;
	const digit = (base: number): number => {
		const value = rest % base;
		rest = (rest - value) / base;
		return value;
	};
	const rep = (["none", "rep", "repne"] as const)[digit(3)]!;
	const longMode = digit(2) === 1;
	const address = digit(5);
	const addressing = ADDRESSINGS[digit(5)]!;
	const size = digit(5);
	const addressSize =
		address !== 0
			? ((address * 16) as 16 | 32 | 64)
			: addressing === "full16"
				? 16
				: addressing === "full32"
					? 32
					: longMode
						? 64
						: 32;
	return {
		form: forms[rest]!,
		operandSize: size === 0 ? 32 : ((size * 16) as 16 | 32 | 64),
		addressSize,
		addressing,
		longMode,
		rep,
	};
}

/** Byte offset of a register in its file, as fields A and B hold it. */
function registerField(field: number, register: number, rex: boolean): number {
	if (field === Field.general) return register * 8;
	if (field === Field.xmm) return register * 16;
	if (field === Field.mmx) return (register & 7) * 16;
	if (field === Field.number) return register;
	// Without REX, byte registers 4-7 are AH, CH, DH, BH: the second byte of the first four.
	return !rex && register >= 4 && register < 8 ? (register - 4) * 8 + 1 : register * 8;
}

/** Writes the record of a defined instruction at `offset` of its page: word by word, as the picture above has the fields. */
export function writeRecord(memory: Memory, record: number, kind: number, offset: number, decoded: Decoded): void {
	const { words } = memory;
	const plan = decoded.plan!;
	const next = offset + decoded.length;
	const a = registerField(plan.fieldA, decoded.register, decoded.rex);
	const b = registerField(plan.fieldB, decoded.rm, decoded.rex);
	const at = record >> 2;
	words[at] = kind | (offset << 16);
	words[at + 1] = next | (a << 16) | (b << 24);
	words[at + 2] = (decoded.base * 8) | (decoded.index << 11) | (decoded.scale << 16) | (decoded.segment << 27);
	words[at + 3] = 0;
	words[at + 4] = decoded.base === SLOT_PAGE ? (decoded.displacement + next) | 0 : decoded.displacement;
	words[at + 5] = 0;
	words[at + 6] = decoded.immediateLow;
	words[at + 7] = decoded.immediateHigh;
}

/** A record that only names an address. */
export function writeLookup(memory: Memory, record: number, offset: number): void {
	memory.setU16(record + KIND, KIND_LOOKUP);
	memory.setU16(record + OFFSET, offset);
	memory.setU16(record + NEXT, offset);
	memory.setU32(record + LINK, 0);
}

/** A variant's key as text: encoding, operand size, addressing, address size, mode, rep. Stable when the table grows. */
export function nameOfKey(key: number, forms: readonly InstructionForm[]): string {
	return `${forms[Math.floor(key / KEYS_PER_FORM)]!.encoding}|${(key % KEYS_PER_FORM).toString(36)}`;
}

/** The key of a variant's name, or undefined where no form has its encoding. */
export function keyOfName(name: string, forms: readonly InstructionForm[]): number | undefined {
	const [encoding, rest] = name.split("|");
	const form = forms.find((candidate) => candidate.encoding === encoding);
	return form === undefined ? undefined : form.id * KEYS_PER_FORM + Number.parseInt(rest!, 36);
}
