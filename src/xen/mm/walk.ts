/**
 * Finds the L1 entry that maps a virtual address, by the tables alone: no access, no accessed bits, no TLB.
 *
 *   63 ... 48 47 ... 39 38 ... 30 29 ... 21 20 ... 12 11 ... 0
 *     sign       L4        L3        L2        L1      offset
 */

import { addressOk } from "../scratch.ts";
import type { FrameTable } from "./frames.ts";
import { Pte, pteFrame } from "./pte.ts";

/**
 * @param root frame of the L4 table, complete
 * @returns index in frames.words of the L1 entry, or 0 where there is no L1 table for the (signed) address, or the address is the hypervisor's
 */
export function findL1Entry(frames: FrameTable, root: number, virtualAddress: number): number {
	if (!addressOk(virtualAddress) || root === 0) return 0;
	const { words } = frames;
	const high = Math.floor(virtualAddress / 2 ** 32);
	const low = virtualAddress - high * 2 ** 32;
	const l4 = frames.entry(root, (high >>> 7) & 511);
	if ((words[l4]! & Pte.present) === 0) return 0;
	const l3 = frames.entry(pteFrame(words[l4]!, words[l4 + 1]!), ((high & 0x7f) << 2) | (low >>> 30));
	if ((words[l3]! & Pte.present) === 0) return 0;
	const l2 = frames.entry(pteFrame(words[l3]!, words[l3 + 1]!), (low >>> 21) & 511);
	if ((words[l2]! & (Pte.present | Pte.pageSize)) !== Pte.present) return 0;
	return frames.entry(pteFrame(words[l2]!, words[l2 + 1]!), (low >>> 12) & 511);
}

/** The frame of the table that holds an entry. */
export function tableOf(frames: FrameTable, entry: number): number {
	return frames.memory.frameAt(entry * 4);
}
