/**
 * Writable page tables: a guest kernel may store to its L1 tables as if they were memory. The mapping is read-only, the store faults, and the
 * emulator of the instruction brings its bytes here (VMASST_TYPE_writable_pagetables).
 */
import { PageFault } from "../../cpu/processor.ts";
import type { Vcpu } from "../vcpu.ts";
import { updateL1Entry } from "./entries.ts";
import { FrameType } from "./frame-info.ts";
import { Pte, pteFrame } from "./pte.ts";
import { assisted, VmAssist } from "./vm-assist-bits.ts";
import { findL1Entry } from "./walk.ts";

export const PageTableWrite = {
	/** The store has been done. */
	done: 0,
	/** It is not one that can be: the guest gets its page fault. */
	refused: 1,
	/** The entry was not what the CMPXCHG expected; {@link pageTableWord} is what it holds. */
	mismatch: 2,
} as const;
export type PageTableWrite = (typeof PageTableWrite)[keyof typeof PageTableWrite];

/** The word, of the store's size, that a CMPXCHG found. */
export const pageTableWord = { low: 0, high: 0 };

/** Whether a page fault of the guest's kernel is a store to one of its L1 tables. `errorCode` is the fault's. */
export function isPageTableWrite(vcpu: Vcpu, faultAddress: number, errorCode: number): boolean {
	const wanted = PageFault.present | PageFault.write;
	if ((errorCode & (wanted | PageFault.reserved | PageFault.fetch)) !== wanted || !vcpu.kernelMode) return false;
	return assisted(vcpu.domain, VmAssist.writablePagetables) && tableAt(vcpu, faultAddress) !== 0;
}

/** The frame of the guest's L1 table that is mapped read-only at an address, or 0. */
function tableAt(vcpu: Vcpu, virtualAddress: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const entry = findL1Entry(frames, vcpu.kernelRoot, virtualAddress);
	if (entry === 0) return 0;
	const low = frames.words[entry]!;
	if ((low & (Pte.present | Pte.writable)) !== Pte.present) return 0;
	const mfn = pteFrame(low, frames.words[entry + 1]!);
	return frames.owner(mfn) === vcpu.domain.id && frames.isValid(mfn, FrameType.l1) ? mfn : 0;
}

/**
 * Stores to an L1 table at a virtual address of the guest's kernel.
 * @param size bytes: 1, 2, 4 or 8, and the address a multiple of it
 * @param low @param high the value; what is above `size` is ignored
 * @param expected for a CMPXCHG, the value that must be there
 */
export function pageTableWrite(
	vcpu: Vcpu,
	virtualAddress: number,
	size: number,
	low: number,
	high: number,
	expected?: { readonly low: number; readonly high: number },
): PageTableWrite {
	const { frames } = vcpu.domain.hypervisor;
	const { words } = frames;
	const offset = ((virtualAddress % 4096) + 4096) % 4096;
	const mfn = tableAt(vcpu, virtualAddress);
	if (mfn === 0 || (size !== 1 && size !== 2 && size !== 4 && size !== 8) || offset % size !== 0) {
		frames.complain(vcpu.domain.id, `ptwr_emulate: bad access (${size} bytes at ${virtualAddress.toString(16)})`);
		return PageTableWrite.refused;
	}
	const at = frames.entry(mfn, offset >>> 3);
	const oldLow = words[at]!;
	const oldHigh = words[at + 1]!;
	// The bytes within the entry that the store covers, as masks of its halves.
	const shift = (offset & 3) * 8;
	const mask = size >= 4 ? 0xffff_ffff : ((1 << (size * 8)) - 1) << shift;
	const lowMask = size === 8 || (offset & 4) === 0 ? mask : 0;
	const highMask = size === 8 || (offset & 4) !== 0 ? mask : 0;
	const newHigh = size === 8 ? high : low << shift;
	if (expected !== undefined) {
		const wantedLow = expected.low << shift;
		const wantedHigh = size === 8 ? expected.high : wantedLow;
		if (((oldLow ^ wantedLow) & lowMask) !== 0 || ((oldHigh ^ wantedHigh) & highMask) !== 0) {
			pageTableWord.low = (size === 8 ? oldLow : (((offset & 4) !== 0 ? oldHigh : oldLow) & mask) >>> shift) >>> 0;
			pageTableWord.high = size === 8 ? oldHigh : 0;
			return PageTableWrite.mismatch;
		}
	}
	const owner = vcpu.domain.id;
	const result = updateL1Entry(
		frames,
		mfn,
		at,
		((oldLow & ~lowMask) | ((low << shift) & lowMask)) >>> 0,
		((oldHigh & ~highMask) | (newHigh & highMask)) >>> 0,
		0,
		owner,
		owner,
	);
	if (result === 0) return PageTableWrite.done;
	frames.complain(owner, `ptwr_emulate: could not get_page_from_l1e() (${result})`);
	return PageTableWrite.refused;
}
