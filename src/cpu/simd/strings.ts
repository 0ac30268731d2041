/**
 * PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Intel SDM volume 2, 4.1): comparison of two strings of bytes or words in the mailbox.
 *
 * Control, as emitted code passes it:  bits 7..0 immediate, 8 explicit lengths, 9 mask wanted, 21..16 and 29..24 the explicit lengths of
 * the first and second operand, at most 16.
 * Immediate:  bit 0 words, 1 signed, 3..2 aggregation, 5..4 polarity, 6 last index or expanded mask.
 */
import type { Memory } from "../../memory/memory.ts";
import { LEFT, RESULT, RIGHT } from "./operations.ts";

const Aggregation = { equalAny: 0, ranges: 1, equalEach: 2, equalOrdered: 3 } as const;

const CF = 0x1;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

const first = new Int32Array(16);
const second = new Int32Array(16);

/** Loads elements up to `most` of them, or to the first that is zero if `stops`. @returns how many */
function load(
	memory: Memory,
	address: number,
	control: number,
	into: Int32Array,
	most: number,
	stops: boolean,
): number {
	const { bytes } = memory;
	const words = (control & 1) !== 0;
	const unused = (control & 2) === 0 ? 0 : words ? 16 : 24;
	for (let i = 0; i < most; i++) {
		const value = words ? bytes[address + i * 2]! | (bytes[address + i * 2 + 1]! << 8) : bytes[address + i]!;
		if (stops && value === 0) return i;
		into[i] = (value << unused) >> unused;
	}
	return most;
}

/** IntRes1: one bit for each element of the second operand. */
function aggregate(kind: number, count: number, firstLength: number, secondLength: number): number {
	let bits = 0;
	switch (kind) {
		case Aggregation.equalAny:
			for (let j = 0; j < secondLength; j++) {
				for (let i = 0; i < firstLength; i++) {
					if (first[i] === second[j]) bits |= 1 << j;
				}
			}
			break;
		case Aggregation.ranges:
			for (let j = 0; j < secondLength; j++) {
				// A lower bound without its upper one is no range.
				for (let i = 0; i + 1 < firstLength; i += 2) {
					if (second[j]! >= first[i]! && second[j]! <= first[i + 1]!) bits |= 1 << j;
				}
			}
			break;
		case Aggregation.equalEach:
			for (let j = 0; j < count; j++) {
				const equal =
					j < firstLength && j < secondLength ? first[j] === second[j] : j >= firstLength && j >= secondLength;
				if (equal) bits |= 1 << j;
			}
			break;
		default:
			for (let j = 0; j < count; j++) {
				let equal = true;
				for (let i = 0; i < firstLength && i + j < count && equal; i++) {
					equal = i + j < secondLength && first[i] === second[i + j];
				}
				if (equal) bits |= 1 << j;
			}
	}
	return bits;
}

/** Leaves the mask or, as a word, the index in RESULT. @returns the arithmetic flags in their places of RFLAGS. */
export function compareStrings(memory: Memory, control: number): number {
	const words = (control & 1) !== 0;
	const count = words ? 8 : 16;
	const explicit = (control & 0x100) !== 0;
	const mostFirst = explicit ? Math.min((control >> 16) & 0x3f, count) : count;
	const mostSecond = explicit ? Math.min((control >> 24) & 0x3f, count) : count;
	const firstLength = load(memory, LEFT, control, first, mostFirst, !explicit);
	const secondLength = load(memory, RIGHT, control, second, mostSecond, !explicit);

	let bits = aggregate((control >> 2) & 3, count, firstLength, secondLength);
	const polarity = (control >> 4) & 3;
	if (polarity === 1) bits ^= (1 << count) - 1;
	else if (polarity === 3) bits ^= (1 << secondLength) - 1;

	const expand = (control & 0x40) !== 0;
	if ((control & 0x200) === 0) {
		const index = bits === 0 ? count : expand ? 31 - Math.clz32(bits) : 31 - Math.clz32(bits & -bits);
		memory.setU32(RESULT, index);
	} else {
		for (let at = 0; at < 16; at += 4) memory.setU32(RESULT + at, 0);
		if (!expand) memory.setU32(RESULT, bits);
		else {
			for (let i = 0; i < count; i++) {
				if ((bits & (1 << i)) === 0) continue;
				if (words) memory.setU16(RESULT + i * 2, 0xffff);
				else memory.setU8(RESULT + i, 0xff);
			}
		}
	}
	return (
		(bits !== 0 ? CF : 0) |
		(secondLength < count ? ZF : 0) |
		(firstLength < count ? SF : 0) |
		((bits & 1) !== 0 ? OF : 0)
	);
}
