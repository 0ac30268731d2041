/**
 * The layout of the frame table: what the hypervisor remembers of a machine frame. It is data in linear memory (FRAME_TABLE of layout.ts), so that
 * threads may share it and snapshots carry it. Everything that reads or writes an entry uses the names below.
 *
 *   word 0   31         allocated: the owner's own reference is still held (Xen's PGC_allocated)
 *            30         belongs to the hypervisor's heap, shared with the owner (shared_info, grant frames)
 *            29 ...  0  number of references
 *   word 1   31 ... 29  type
 *            28         pinned: one of the type's uses is MMUEXT_PIN_*
 *            27         validated: what the type asks of the contents is checked, entries hold their references
 *            26         partial: of a table, the entries below word 3 hold their references and the others do not yet, or no longer
 *            25 ...  0  number of uses as this type
 *   word 2              owner's domain id
 *   word 3   16         the entry at the number below is itself a partially validated table, and this one holds it
 *            15 ...  0  number of entries that hold references, while partial
 *   word 4              next in a domain's list of tables yet to be dropped
 *   word 5              unused
 *   word 6              TLB epoch in which the last writable use, or the last reference, went away
 *   word 7              signed: linear (recursive) entries in this table, or minus the uses of this table by linear entries
 *
 * Frame 0 is never used; word 6 of its entry is the first frame above all that were ever given out. Which frames are free is in free-frames.ts.
 */
import { FRAME_INFO_SIZE, FRAME_TABLE } from "../../memory/map.ts";

export const INFO_WORDS = FRAME_INFO_SIZE / 4;
/** Index of the table's first word in a Uint32Array over the whole memory. */
export const INFO_BASE = FRAME_TABLE / 4;

export const REFERENCES = 0;
export const TYPE = 1;
export const OWNER = 2;
export const PROGRESS = 3;
export const NEXT = 4;
export const STAMP = 6;
export const LINEAR = 7;
/** In the entry of frame 0. */
export const END = 6;

export const ALLOCATED = 0x8000_0000;
export const XEN_HEAP = 0x4000_0000;
export const REFERENCE_COUNT = 0x3fff_ffff;

export const TYPE_MASK = 0xe000_0000;
export const PINNED = 0x1000_0000;
export const VALIDATED = 0x0800_0000;
export const PARTIAL = 0x0400_0000;
export const TYPE_COUNT = 0x03ff_ffff;

export const PROGRESS_COUNT = 0xffff;
export const SUBTABLE_PARTIAL = 0x1_0000;

/** Types of frames, in place in word 1. The tables' are their level. */
export const FrameType = {
	none: 0,
	l1: 0x2000_0000,
	l2: 0x4000_0000,
	l3: 0x6000_0000,
	l4: 0x8000_0000,
	segmentDescriptors: 0xa000_0000,
	writable: 0xe000_0000,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** The type of a page table of a level from 1 to 4. */
export function tableType(level: number): FrameType {
	return (level * 0x2000_0000) as FrameType;
}
