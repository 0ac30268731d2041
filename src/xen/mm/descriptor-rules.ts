/**
 * Which segment descriptors a PV guest may have. Descriptors are as the manual draws them (SDM volume 3, 3.4.5); nothing may lead to a
 * privilege above ring 3, where a 64-bit PV kernel runs with its programs.
 *
 *   high 31 ... 24  23 22 21 20  19 ... 16  15  14 13  12  11 ... 8  7 ... 0 | low 31 ... 16  15 ... 0
 *          base     G  D  L  A     limit     P   DPL    S     type     base   |       base       limit
 */
import { FIRST_RESERVED_GDT_ENTRY, FLAT_RING3_CS64 } from "../abi/arch.ts";
import type { FrameTable } from "./frames.ts";
import { ENTRIES } from "./pte.ts";

const PRESENT = 1 << 15;
const DPL = 3 << 13;
const CODE_OR_DATA = 1 << 12;
const TYPE = 0xf << 8;
const CALL_GATE = 0xc << 8;
const GUEST_KERNEL_DPL = 3 << 13;

/** The descriptor that {@link checkDescriptor} allows, changed where it must be. */
export const checkedDescriptor = { low: 0, high: 0 };

/** Whether a guest may have this descriptor; {@link checkedDescriptor} is then what to install. */
export function checkDescriptor(low: number, high: number): boolean {
	checkedDescriptor.low = low;
	checkedDescriptor.high = high;
	if ((high & PRESENT) === 0) return true;
	const dpl = (high & DPL) >>> 13;
	const raised = (high & ~DPL) | GUEST_KERNEL_DPL;
	checkedDescriptor.high = raised >>> 0;
	// Bases and limits of code and data are of no concern: paging protects the hypervisor.
	if ((high & CODE_OR_DATA) !== 0) return true;
	// Type 0 is the second half of a call gate.
	if ((high & TYPE) === 0) return true;
	if ((high & TYPE) !== CALL_GATE) return false;
	const selector = low >>> 16;
	const target = selector >>> 3 < FIRST_RESERVED_GDT_ENTRY || selector === FLAT_RING3_CS64 || (selector & 4) !== 0;
	if (!target || (high & 0xff) !== 0) return false;
	// A gate of DPL 0 faults when it is used, and the fault's handler emulates it; the DPL it would have moves to the selector.
	checkedDescriptor.low = ((low & 0xffff) | (((selector & ~3) | dpl) << 16)) >>> 0;
	checkedDescriptor.high = (high & ~DPL) >>> 0;
	return true;
}

/** Checks a page of descriptors, and changes those that need it. */
export function checkDescriptorPage(frames: FrameTable, mfn: number): boolean {
	const { words } = frames;
	const first = frames.entry(mfn, 0);
	frames.contentsChange(mfn);
	frames.work -= ENTRIES;
	for (let index = 0; index < ENTRIES; index++) {
		const at = first + index * 2;
		if (!checkDescriptor(words[at]!, words[at + 1]!)) return false;
		words[at] = checkedDescriptor.low;
		words[at + 1] = checkedDescriptor.high;
	}
	return true;
}
