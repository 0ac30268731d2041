/**
 * The arithmetic flags in two words, from TypeScript. Both tiers keep them so (see semantics/flags.ts for the emitted side):
 *
 *   result  sign-extended result          ZF = (result == 0)
 *   carry   bit 63       CF
 *           bit 62       CF xor OF        (the carry into the top bit)
 *           bit 16       flips SF         SF = bit 63 of result xor bit 16 of carry
 *           bits 15..8   flip PF          PF = even parity of (result xor carry >> 8) & 0xff
 *           bit 3        AF
 */

import type { Memory } from "../../memory/memory.ts";
import { FLAG_CARRY, FLAG_RESULT } from "../layout.ts";

const CF = 0x1;
const PF = 0x4;
const AF = 0x10;
const ZF = 0x40;
const SF = 0x80;
const OF = 0x800;

function evenParity(byte: number): boolean {
	let bits = byte;
	bits ^= bits >> 4;
	bits ^= bits >> 2;
	bits ^= bits >> 1;
	return (bits & 1) === 0;
}

/** CF, PF, AF, ZF, SF and OF in their places of RFLAGS, from the context block at `base`. */
export function packFlags(memory: Memory, base: number): number {
	const resultLow = memory.u32(base + FLAG_RESULT);
	const resultHigh = memory.u32(base + FLAG_RESULT + 4);
	const carryLow = memory.u32(base + FLAG_CARRY);
	const carryHigh = memory.u32(base + FLAG_CARRY + 4);
	const cf = carryHigh >>> 31;
	return (
		(cf !== 0 ? CF : 0) |
		(evenParity((resultLow ^ (carryLow >>> 8)) & 0xff) ? PF : 0) |
		((carryLow & 8) !== 0 ? AF : 0) |
		(resultLow === 0 && resultHigh === 0 ? ZF : 0) |
		(((resultHigh >>> 31) ^ ((carryLow >>> 16) & 1)) !== 0 ? SF : 0) |
		((cf ^ ((carryHigh >>> 30) & 1)) !== 0 ? OF : 0)
	);
}

/** Sets the two words so that {@link packFlags} gives back the arithmetic flags of `rflags`. */
export function unpackFlags(memory: Memory, base: number, rflags: number): void {
	const zero = (rflags & ZF) !== 0;
	const cf = rflags & CF;
	const of = (rflags & OF) !== 0 ? 1 : 0;
	// A result of 0 has even parity, a result of 1 odd.
	const flipParity = ((rflags & PF) !== 0) !== zero;
	memory.setU32(base + FLAG_RESULT, zero ? 0 : 1);
	memory.setU32(base + FLAG_RESULT + 4, 0);
	memory.setU32(
		base + FLAG_CARRY,
		((rflags & AF) !== 0 ? 8 : 0) | (flipParity ? 0x100 : 0) | ((rflags & SF) !== 0 ? 0x1_0000 : 0),
	);
	memory.setU32(base + FLAG_CARRY + 4, ((cf << 31) | ((cf ^ of) << 30)) >>> 0);
}
