/**
 * Changes of single entries of tables in use: the new entry takes its references, is written, and then the old one drops its own. This is
 * what fork, exec and page faults of a guest spend their time in, so nothing here allocates.
 */
import { Errno } from "../abi/errno.ts";
import type { Vcpu } from "../vcpu.ts";
import { type FrameType, tableType } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { getPageAndType, HELD, putPageAndType, WAIT } from "./page-types.ts";
import {
	adjustL1High,
	adjustL1Low,
	adjustUpper,
	ENTRIES,
	FAST_HIGH,
	FAST_LOW,
	L1_DISALLOWED,
	PTE_GUEST_KERNEL,
	Pte,
	pteFrame,
	UPPER_DISALLOWED,
} from "./pte.ts";
import {
	getPageFromL1Entry,
	getPageFromUpperEntry,
	isGuestSlot,
	putPageFromL1Entry,
	putPageFromUpperEntry,
} from "./tables.ts";

/** The work ran out; what was done is kept, and the same operation goes on with it. */
export const RESTART = 1;

const EINVAL = -Errno.EINVAL;

/**
 * Writes an L1 entry.
 * @param table frame of the table, valid as one; `at` the entry's index in frames.words
 * @param keep bits of the old low half to keep: accessed and dirty, or none
 * @returns 0 or a negative errno
 */
export function updateL1Entry(
	frames: FrameTable,
	table: number,
	at: number,
	low: number,
	high: number,
	keep: number,
	tableOwner: number,
	pageOwner: number,
): number {
	const { words } = frames;
	const oldLow = words[at]!;
	const oldHigh = words[at + 1]!;
	if ((low & Pte.present) === 0) {
		write(frames, table, at, low | (oldLow & keep), high);
		putPageFromL1Entry(frames, oldLow, oldHigh);
		return 0;
	}
	const newLow = adjustL1Low(low, high);
	const newHigh = adjustL1High(low, high);
	if (((oldLow ^ low) & ~FAST_LOW) === 0 && ((oldHigh ^ high) & ~FAST_HIGH) === 0 && (low & L1_DISALLOWED) === 0) {
		write(frames, table, at, newLow | (oldLow & keep), newHigh);
		return 0;
	}
	const result = getPageFromL1Entry(frames, low, high, tableOwner, pageOwner);
	if (result !== 0) return result;
	write(frames, table, at, newLow | (oldLow & keep), newHigh);
	putPageFromL1Entry(frames, oldLow, oldHigh);
	return 0;
}

/** Writes an entry of an L2, L3 or L4 table: 0, a negative errno, or RESTART. */
export function updateUpperEntry(
	frames: FrameTable,
	vcpu: Vcpu,
	level: number,
	table: number,
	at: number,
	low: number,
	high: number,
	keep: number,
): number {
	const { words } = frames;
	const slot = (at >>> 1) & 511;
	const owner = vcpu.domain.id;
	if (!isGuestSlot(level, slot)) {
		frames.complain(owner, `L${level} update in Xen-private area, slot ${slot}`);
		return EINVAL;
	}
	const oldLow = words[at]!;
	const oldHigh = words[at + 1]!;
	if (!frames.kernelMappingsChanged && mapsForKernel(frames, level, slot, oldLow, oldHigh)) {
		frames.noteStaleFrame(pteFrame(frames.words[at]!, frames.words[at + 1]!));
	}
	if ((low & Pte.present) !== 0) {
		if ((low & UPPER_DISALLOWED) !== 0) {
			frames.complain(owner, `Bad L${level} flags ${(low & UPPER_DISALLOWED).toString(16)}`);
			return EINVAL;
		}
		const adjusted = adjustUpper(level, low) | (oldLow & keep);
		if (((oldLow ^ low) & ~FAST_LOW) === 0 && ((oldHigh ^ high) & ~FAST_HIGH) === 0) {
			write(frames, table, at, adjusted, high);
			return 0;
		}
		const result = getPageFromUpperEntry(frames, level, low, high, table, owner);
		const settled = settle(frames, vcpu, pteFrame(low, high), result);
		if (settled !== 0) return settled;
		write(frames, table, at, adjusted, high);
	} else {
		write(frames, table, at, low | (oldLow & keep), high);
	}
	putPageFromUpperEntry(frames, oldLow, oldHigh, table);
	return 0;
}

/**
 * Whether an entry of an upper table leads to pages of the guest's kernel: by its place in an L4 table, else by the first page that is mapped below it.
 * A table that maps nothing leads nowhere.
 */
function mapsForKernel(frames: FrameTable, level: number, slot: number, low: number, high: number): boolean {
	if ((low & Pte.present) === 0) return false;
	if (level === 4) return slot >= 256;
	const table = pteFrame(low, high);
	const first = frames.tables.presentFrom(table, 0);
	if (first === ENTRIES) return false;
	const at = frames.entry(table, first);
	if (level === 2) return (frames.words[at + 1]! & PTE_GUEST_KERNEL) !== 0;
	return mapsForKernel(frames, level - 1, 0, frames.words[at]!, frames.words[at + 1]!);
}

/** Takes a reference to a frame of the vCPU's domain and a use of it as a table: 0, a negative errno, or RESTART. */
export function acquireTable(frames: FrameTable, vcpu: Vcpu, mfn: number, type: FrameType): number {
	return settle(frames, vcpu, mfn, getPageAndType(frames, mfn, vcpu.domain.id, type));
}

/** {@link acquireTable} for a table of a level from 1 to 4. */
export function acquireLevel(frames: FrameTable, vcpu: Vcpu, mfn: number, level: number): number {
	return acquireTable(frames, vcpu, mfn, tableType(level));
}

/** Makes the vCPU the holder of a table that became partial, or lets it go once its operation has ended one way or the other. */
function settle(frames: FrameTable, vcpu: Vcpu, mfn: number, result: number): number {
	if (result === WAIT) return RESTART;
	const previous = vcpu.partialTable;
	vcpu.partialTable = result === HELD ? mfn : 0;
	if (previous !== 0) putPageAndType(frames, previous);
	return result === HELD ? RESTART : result;
}

/** Drops an L1 entry's references after another party (a grant mapping) has put its own entry in its place. */
export function replaceL1Entry(frames: FrameTable, table: number, at: number, low: number, high: number): void {
	const oldLow = frames.words[at]!;
	const oldHigh = frames.words[at + 1]!;
	write(frames, table, at, adjustL1Low(low, high), adjustL1High(low, high));
	putPageFromL1Entry(frames, oldLow, oldHigh);
}

function write(frames: FrameTable, table: number, at: number, low: number, high: number): void {
	frames.contentsChange(table);
	const oldLow = frames.words[at]!;
	const oldHigh = frames.words[at + 1]!;
	if ((oldLow & Pte.present) !== 0 && (oldHigh & PTE_GUEST_KERNEL) !== 0)
		frames.noteStaleFrame(pteFrame(oldLow, oldHigh));
	frames.words[at] = low;
	frames.words[at + 1] = high;
}
