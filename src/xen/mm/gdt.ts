/**
 * A vCPU's GDT, and the descriptors that its segment registers can be loaded from: up to 14 pages of the guest's, then Xen's own flat
 * segments, then the LDT (mm/ldt.ts).
 */
import { FIRST_RESERVED_GDT_ENTRY, FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS32 } from "../abi/arch.ts";
import { Errno } from "../abi/errno.ts";
import type { Vcpu } from "../vcpu.ts";
import { FrameType } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { ldtFrame } from "./ldt.ts";
import { getPageAndType, putPageAndType } from "./page-types.ts";
import { ENTRIES } from "./pte.ts";

const EINVAL = -Errno.EINVAL;

/** Descriptors of the reserved part of every GDT that a guest can load: flat, ring 3. High halves; the low ones are all FLAT_LOW. */
const FLAT_LOW = 0xffff;
const RESERVED: Readonly<Record<number, number>> = {
	[FLAT_RING3_CS32 >>> 3]: 0x00cf_fb00,
	[FLAT_RING3_SS32 >>> 3]: 0x00cf_f300,
	[FLAT_RING3_CS64 >>> 3]: 0x00af_fb00,
};

/**
 * Gives a vCPU another GDT, of `entries` descriptors in `list`'s frames (as many as needed for them).
 * @returns 0, or -EINVAL where a frame is not the domain's or holds a descriptor that is not allowed
 */
export function setGdt(vcpu: Vcpu, list: readonly number[], entries: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const pages = Math.ceil(entries / ENTRIES);
	if (entries > FIRST_RESERVED_GDT_ENTRY || list.length < pages) return EINVAL;
	for (let page = 0; page < pages; page++) {
		if (getPageAndType(frames, list[page]!, vcpu.domain.id, FrameType.segmentDescriptors) === 0) continue;
		while (page-- > 0) putPageAndType(frames, list[page]!);
		return EINVAL;
	}
	dropGdt(frames, vcpu);
	for (let page = 0; page < pages; page++) vcpu.gdtFrames[page] = list[page]!;
	vcpu.gdtEntries = entries;
	return 0;
}

/** Gives up a vCPU's GDT. */
export function dropGdt(frames: FrameTable, vcpu: Vcpu): void {
	for (const mfn of vcpu.gdtFrames) if (mfn !== 0) putPageAndType(frames, mfn);
	vcpu.gdtFrames.fill(0);
	vcpu.gdtEntries = 0;
}

/** Where {@link readDescriptor} puts the two halves of a descriptor. */
export interface DescriptorHalves {
	low: number;
	high: number;
}

/** Looks up the descriptor that a selector names; false beyond its table, or where a page of the LDT cannot hold descriptors. */
export function readDescriptor(vcpu: Vcpu, selector: number, to: DescriptorHalves): boolean {
	const { frames } = vcpu.domain.hypervisor;
	const index = (selector & 0xffff) >>> 3;
	let mfn = 0;
	if ((selector & 4) !== 0) {
		if (index < vcpu.ldtEntries) mfn = ldtFrame(frames, vcpu, index >>> 9);
		if (mfn === 0) return false;
	} else if (index < vcpu.gdtEntries) {
		mfn = vcpu.gdtFrames[index >>> 9]!;
	} else {
		// The limit is that of Xen's own part; what the guest has not filled is zero.
		const high = RESERVED[index];
		to.low = high === undefined ? 0 : FLAT_LOW;
		to.high = high ?? 0;
		return true;
	}
	const entry = frames.entry(mfn, index & 511);
	to.low = frames.words[entry]!;
	to.high = frames.words[entry + 1]!;
	return true;
}
