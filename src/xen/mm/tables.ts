/**
 * Page tables: what their entries may say, and the references that they hold. An L1 entry holds a reference to the frame that it maps and,
 * where it lets it be written, a use of it as writable; an entry of an upper table holds a use of the next table as that. A table may also
 * point to tables of its own level, read-only (linear mappings), under the limits that keep counts finite.
 */
import { Errno } from "../abi/errno.ts";
import * as info from "./frame-info.ts";
import { FrameType, tableType } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { forgetDescriptorFrames } from "./ldt.ts";
import {
	continuePageType,
	getPageAndType,
	getPageType,
	HELD,
	putPageAndType,
	type TypeResult,
	WAIT,
} from "./page-types.ts";
import {
	adjustL1High,
	adjustL1Low,
	adjustUpper,
	ENTRIES,
	FIRST_XEN_SLOT,
	L1_DISALLOWED,
	LAST_XEN_SLOT,
	Pte,
	pteFrame,
	UPPER_DISALLOWED,
} from "./pte.ts";
import { m2pVisibleByDefault } from "./vm-assist-bits.ts";

const EINVAL = -Errno.EINVAL;
/** A frame number with all bits set: Linux's entries for pages that do not exist. */
const NO_FRAME = 2 ** 40 - 1;
const LINEAR_LIMIT = 0x7fff;

/** Whether an entry of a table of `level` is the guest's to write. */
export function isGuestSlot(level: number, slot: number): boolean {
	return level !== 4 || slot < FIRST_XEN_SLOT || slot > LAST_XEN_SLOT;
}

/**
 * Takes what an L1 entry needs.
 * @param tableOwner domain id of the table's owner
 * @param pageOwner who must own the frame: the same, or DOMID_IO where only I/O may be mapped
 * @returns 0 or a negative errno
 */
export function getPageFromL1Entry(
	frames: FrameTable,
	low: number,
	high: number,
	tableOwner: number,
	pageOwner: number,
): number {
	if ((low & Pte.present) === 0) return 0;
	if ((low & L1_DISALLOWED) !== 0) {
		frames.complain(tableOwner, `Bad L1 flags ${(low & L1_DISALLOWED).toString(16)}`);
		return EINVAL;
	}
	const mfn = pteFrame(low, high);
	if (mfn >= frames.frames) {
		if (mfn === NO_FRAME) return EINVAL;
		frames.complain(tableOwner, `Non-privileged (${tableOwner}) attempt to map I/O space ${mfn.toString(16)}`);
		return -Errno.EPERM;
	}
	if (frames.getPage(mfn, pageOwner)) {
		if ((low & Pte.writable) === 0 || getPageType(frames, mfn, FrameType.writable) === 0) return 0;
		frames.putPage(mfn);
	}
	frames.complain(
		tableOwner,
		`Error getting mfn ${mfn.toString(16)} (pfn ${frames.m2p(mfn).toString(16)}) from L1 entry ${(high >>> 0)
			.toString(16)
			.padStart(
				8,
				"0",
			)}${(low >>> 0).toString(16).padStart(8, "0")} for l1e_owner d${tableOwner}, pg_owner d${pageOwner}`,
	);
	return -Errno.EBUSY;
}

/** Drops what an L1 entry held. */
export function putPageFromL1Entry(frames: FrameTable, low: number, high: number): void {
	if ((low & Pte.present) === 0) return;
	const mfn = pteFrame(low, high);
	if (mfn >= frames.frames) return;
	if ((low & Pte.writable) !== 0) {
		putPageAndType(frames, mfn);
		return;
	}
	// The LDT is read through the guest's mapping: one of its pages may be on its way out (rare, so all of the LDT is looked up anew).
	const word = frames.words[frames.info(mfn) + info.TYPE]!;
	if ((word & info.TYPE_MASK) >>> 0 === FrameType.segmentDescriptors && (word & info.TYPE_COUNT) !== 0) {
		forgetDescriptorFrames(frames, frames.words[frames.info(mfn) + info.OWNER]!);
	}
	frames.putPage(mfn);
}

/**
 * Takes what an entry of an L2, L3 or L4 table needs. `table` is the frame of the table.
 * @returns 0, a negative errno, HELD or WAIT (page-types.ts)
 */
export function getPageFromUpperEntry(
	frames: FrameTable,
	level: number,
	low: number,
	high: number,
	table: number,
	owner: number,
): TypeResult {
	if ((low & Pte.present) === 0) return 0;
	if ((low & UPPER_DISALLOWED) !== 0) {
		frames.complain(owner, `Bad L${level} flags ${(low & UPPER_DISALLOWED).toString(16)}`);
		return EINVAL;
	}
	const mfn = pteFrame(low, high);
	const result = getPageAndType(frames, mfn, owner, tableType(level - 1));
	// What is wrong with an L1 table, an L2 entry does not say.
	if (result >= 0 || (result !== EINVAL && level !== 2)) return result;
	return getLinear(frames, level, low, mfn, table, owner) ? 0 : EINVAL;
}

/** Drops what an entry of an upper table held. */
export function putPageFromUpperEntry(frames: FrameTable, low: number, high: number, table: number): void {
	if ((low & Pte.present) === 0) return;
	const mfn = pteFrame(low, high);
	if (mfn !== table) putPageAndType(frames, mfn, table);
}

/**
 * A linear mapping: an entry that points to a table of its own table's level. It must be read-only; the table is complete; and of two
 * different tables, the one that points has no such use itself, and the one pointed to no such entries.
 */
function getLinear(frames: FrameTable, level: number, low: number, mfn: number, table: number, owner: number): boolean {
	if (!frames.exists(mfn) || frames.type(mfn) !== tableType(level)) return false;
	if ((low & Pte.writable) !== 0) {
		frames.complain(owner, "Attempt to create linear p.t. with write perms");
		return false;
	}
	if (mfn === table) return true;
	const { words } = frames;
	if (frames.owner(table) !== owner || !frames.getPage(mfn, owner)) return false;
	const at = frames.info(mfn);
	const parent = frames.info(table);
	const entries = words[parent + info.LINEAR]! | 0;
	const uses = words[at + info.LINEAR]! | 0;
	if (
		entries < 0 ||
		entries >= LINEAR_LIMIT ||
		uses > 0 ||
		uses <= -LINEAR_LIMIT ||
		!frames.isValid(mfn, tableType(level)) ||
		frames.typeCount(mfn) === info.TYPE_COUNT
	) {
		frames.putPage(mfn);
		return false;
	}
	words[parent + info.LINEAR] = entries + 1;
	words[at + info.LINEAR] = uses - 1;
	words[at + info.TYPE]!++;
	return true;
}

/**
 * Checks the entries of a table from where it stopped, and takes their references.
 * @returns 0; HELD where the work ran out; a negative errno, the entries before the bad one then still holding their references
 */
export function validateTable(frames: FrameTable, mfn: number, level: number): TypeResult {
	return level === 1 ? validateL1(frames, mfn) : validateUpper(frames, mfn, level);
}

function validateL1(frames: FrameTable, mfn: number): TypeResult {
	const { words } = frames;
	const owner = words[frames.info(mfn) + info.OWNER]!;
	const first = frames.entry(mfn, 0);
	frames.work -= ENTRIES;
	frames.contentsChange(mfn);
	for (let slot = 0; ; slot++) {
		slot = frames.tables.takeEntries(mfn, slot, owner);
		if (slot === ENTRIES) return 0;
		const at = first + slot * 2;
		const low = words[at]!;
		const high = words[at + 1]!;
		const result = getPageFromL1Entry(frames, low, high, owner, owner);
		if (result !== 0) {
			frames.complain(owner, `Failure in alloc_l1_table: slot ${slot.toString(16)}`);
			words[frames.info(mfn) + info.PROGRESS] = slot;
			return result;
		}
		words[at] = adjustL1Low(low, high);
		words[at + 1] = adjustL1High(low, high);
	}
}

function validateUpper(frames: FrameTable, mfn: number, level: number): TypeResult {
	const { words } = frames;
	const at = frames.info(mfn);
	const owner = words[at + info.OWNER]!;
	let partial = (words[at + info.PROGRESS]! & info.SUBTABLE_PARTIAL) !== 0;
	let advanced = false;
	frames.contentsChange(mfn);
	for (let slot = words[at + info.PROGRESS]! & info.PROGRESS_COUNT; ; slot++) {
		slot = frames.tables.presentFrom(mfn, slot);
		if (slot === ENTRIES) break;
		if (!isGuestSlot(level, slot)) continue;
		const entry = frames.entry(mfn, slot);
		const low = words[entry]!;
		if (frames.work <= 0 && advanced) {
			words[at + info.PROGRESS] = slot;
			return HELD;
		}
		frames.work--;
		advanced = true;
		const high = words[entry + 1]!;
		const result = partial
			? continuePageType(frames, pteFrame(low, high))
			: getPageFromUpperEntry(frames, level, low, high, mfn, owner);
		if (result === HELD || result === WAIT) {
			words[at + info.PROGRESS] = slot | (result === HELD ? info.SUBTABLE_PARTIAL : 0);
			return HELD;
		}
		if (result !== 0) {
			frames.complain(owner, `Failure in alloc_l${level}_table: slot ${slot.toString(16)}`);
			words[at + info.PROGRESS] = slot | (partial ? info.SUBTABLE_PARTIAL : 0);
			return result;
		}
		partial = false;
		words[entry] = adjustUpper(level, low);
	}
	if (level === 4) frames.machineToPhysical.fillXenSlots(mfn, m2pVisibleByDefault(frames.host.domains.get(owner)));
	return 0;
}

/**
 * Drops the references of a table's entries, from the one before PROGRESS down to the first.
 * @returns false where the work ran out
 */
export function dropTable(frames: FrameTable, mfn: number, level: number): boolean {
	const { words } = frames;
	const at = frames.info(mfn);
	let slot = words[at + info.PROGRESS]! & info.PROGRESS_COUNT;
	if (level === 1) {
		frames.work -= ENTRIES;
		const first = frames.entry(mfn, 0);
		for (;;) {
			slot = frames.tables.dropEntries(mfn, slot);
			if (slot-- === 0) return true;
			putPageFromL1Entry(frames, words[first + slot * 2]!, words[first + slot * 2 + 1]!);
		}
	}
	if ((words[at + info.PROGRESS]! & info.SUBTABLE_PARTIAL) !== 0) {
		words[at + info.PROGRESS] = slot;
		const entry = frames.entry(mfn, slot);
		putPageAndType(frames, pteFrame(words[entry]!, words[entry + 1]!), mfn);
	}
	let advanced = false;
	for (;;) {
		slot = frames.tables.presentBefore(mfn, slot);
		if (slot === 0) break;
		const entry = frames.entry(mfn, slot - 1);
		const low = words[entry]!;
		if (isGuestSlot(level, slot - 1)) {
			if (frames.work <= 0 && advanced) {
				words[at + info.PROGRESS] = slot;
				return false;
			}
			frames.work--;
			advanced = true;
			putPageFromUpperEntry(frames, low, words[entry + 1]!, mfn);
		}
		slot--;
	}
	words[at + info.PROGRESS] = 0;
	return true;
}
