/**
 * Types of frames: a frame takes a type with its first use as such, and may change it only when no use is left. Tables and segment
 * descriptors are checked when they take their type (mm/tables.ts, mm/descriptor-rules.ts); checking and dropping big tables stops when the
 * hypercall's share of work is used up, and goes on later:
 *
 *   none --first use--> checking --done--> validated --last use gone--> dropping --done--> none
 *                        |    ^              (both stop as `partial`, with one use, held by whoever the table is partial for)
 *
 * A partial table's holder is the entry of a partial parent (SUBTABLE_PARTIAL), a vCPU (Vcpu.partialTable), or its domain's list of tables
 * that are yet to be dropped (Domain.deferredTable).
 */
import { Errno } from "../abi/errno.ts";
import { checkDescriptorPage } from "./descriptor-rules.ts";
import * as info from "./frame-info.ts";
import { FrameType } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { ENTRIES } from "./pte.ts";
import { dropTable, validateTable } from "./tables.ts";

/** The work ran out: the caller now holds a use of (and keeps its reference to) a partial table. */
export const HELD = 1;
/** The work ran out on a table that is partial for somebody else: the caller holds nothing. */
export const WAIT = 2;
/** 0, a negative errno, HELD or WAIT. */
export type TypeResult = number;

const EINVAL = -Errno.EINVAL;

/** Adds a use of a frame as `type`. The caller holds a reference to the frame. */
export function getPageType(frames: FrameTable, mfn: number, type: FrameType): TypeResult {
	const { words } = frames;
	const at = frames.info(mfn);
	const word = words[at + info.TYPE]!;
	const count = word & info.TYPE_COUNT;
	const was = (word & info.TYPE_MASK) >>> 0;
	if (count === 0) {
		if (was === type && (word & info.VALIDATED) !== 0) {
			words[at + info.TYPE] = word + 1;
			return 0;
		}
		// A stale translation could still write what is no longer to be written.
		if (was === FrameType.writable && words[at + info.STAMP] === frames.epoch) frames.forget(mfn);
		if (type === FrameType.writable) {
			words[at + info.TYPE] = type + info.VALIDATED + 1;
			return 0;
		}
		words[at + info.TYPE] = type + 1;
		words[at + info.PROGRESS] = 0;
		words[at + info.LINEAR] = 0;
		return validate(frames, mfn, type);
	}
	if (was !== type) {
		// A table that an upper table of its own level points to may be a linear mapping, which the caller tries next.
		if (was !== type + FrameType.l1) complainOfType(frames, mfn, word, type);
		return EINVAL;
	}
	if (count === info.TYPE_COUNT) return EINVAL;
	if ((word & info.VALIDATED) === 0) return (word & info.PARTIAL) === 0 ? EINVAL : join(frames, mfn);
	words[at + info.TYPE] = word + 1;
	return 0;
}

/** Takes a reference to a frame of `owner`, and a use of it as `type`. Both are held after 0 and HELD. */
export function getPageAndType(frames: FrameTable, mfn: number, owner: number, type: FrameType): TypeResult {
	if (!frames.getPage(mfn, owner)) return EINVAL;
	const result = getPageType(frames, mfn, type);
	if (result !== 0 && result !== HELD) frames.putPage(mfn);
	return result;
}

/** Goes on checking a partial table that the caller holds: 0, HELD, or a negative errno; it holds the use in each case. */
export function continuePageType(frames: FrameTable, mfn: number): TypeResult {
	const { words } = frames;
	const at = frames.info(mfn);
	const word = words[at + info.TYPE]!;
	if ((word & info.VALIDATED) !== 0) return 0;
	words[at + info.TYPE] = word & ~info.PARTIAL;
	const result = check(frames, mfn, (word & info.TYPE_MASK) >>> 0);
	if (result !== 0) words[at + info.TYPE]! |= info.PARTIAL;
	else words[at + info.TYPE]! |= info.VALIDATED;
	return result;
}

/** Goes on checking a table that is partial for another holder, and adds a use once it is complete. */
function join(frames: FrameTable, mfn: number): TypeResult {
	const result = continuePageType(frames, mfn);
	if (result === HELD) return WAIT;
	if (result === 0) frames.words[frames.info(mfn) + info.TYPE]!++;
	return result;
}

function check(frames: FrameTable, mfn: number, type: number): TypeResult {
	if (type === FrameType.segmentDescriptors) return checkDescriptorPage(frames, mfn) ? 0 : EINVAL;
	return validateTable(frames, mfn, type / FrameType.l1);
}

function validate(frames: FrameTable, mfn: number, type: FrameType): TypeResult {
	const { words } = frames;
	const at = frames.info(mfn);
	const result = check(frames, mfn, type);
	if (result === 0) {
		words[at + info.TYPE]! |= info.VALIDATED;
		return 0;
	}
	if (result === HELD) {
		words[at + info.TYPE]! |= info.PARTIAL;
		return HELD;
	}
	frames.complain(
		words[at + info.OWNER]!,
		`Error while validating mfn ${mfn.toString(16)} (pfn ${frames.m2p(mfn).toString(16)}) for type ${typeName(type)}`,
	);
	// What had been checked before the failure has references to drop; where that is too much for now, the domain's list keeps the frame.
	if (type === FrameType.segmentDescriptors || dropTable(frames, mfn, type / FrameType.l1)) {
		words[at + info.TYPE] = 0;
	} else {
		words[at + info.TYPE]! |= info.PARTIAL;
		words[at + info.REFERENCES]!++;
		defer(frames, mfn);
	}
	return result;
}

/**
 * Drops a use of a frame. `parent` is the table whose entry is it, where one is.
 * @returns false where the work ran out: the frame is then partial, and the caller still holds the use.
 */
export function putPageType(frames: FrameTable, mfn: number, parent = 0): boolean {
	const { words } = frames;
	const at = frames.info(mfn);
	const word = words[at + info.TYPE]!;
	const type = (word & info.TYPE_MASK) >>> 0;
	if ((word & info.TYPE_COUNT) === 1) {
		if (type === FrameType.writable) {
			words[at + info.STAMP] = frames.epoch;
		} else if (type >= FrameType.l1 && type <= FrameType.l4 && (word & (info.VALIDATED | info.PARTIAL)) !== 0) {
			if ((word & info.PARTIAL) === 0) words[at + info.PROGRESS] = ENTRIES;
			words[at + info.TYPE] = word & ~(info.VALIDATED | info.PARTIAL);
			if (!dropTable(frames, mfn, type / FrameType.l1)) {
				words[at + info.TYPE]! |= info.PARTIAL;
				return false;
			}
		}
	}
	words[at + info.TYPE]!--;
	if (parent !== 0 && (words[frames.info(parent) + info.TYPE]! & info.TYPE_MASK) >>> 0 === type) {
		words[at + info.LINEAR]!++;
		words[frames.info(parent) + info.LINEAR]!--;
	}
	return true;
}

/** Drops a writable use that never gave a guest a mapping: no TLB can have it. */
export function putUnmappedWritable(frames: FrameTable, mfn: number): void {
	frames.words[frames.info(mfn) + info.TYPE]!--;
}

/** Drops a use and a reference; a table that is too much work for now goes to its domain's list. */
export function putPageAndType(frames: FrameTable, mfn: number, parent = 0): void {
	if (putPageType(frames, mfn, parent)) frames.putPage(mfn);
	else defer(frames, mfn);
}

/** Puts a partial table with one use and a reference on its domain's list. */
function defer(frames: FrameTable, mfn: number): void {
	const domain = frames.host.domains.get(frames.words[frames.info(mfn) + info.OWNER]!);
	if (domain === undefined) {
		// The builder's domain is not registered yet: finish at once.
		frames.work = Number.POSITIVE_INFINITY;
		putPageAndType(frames, mfn);
		return;
	}
	frames.words[frames.info(mfn) + info.NEXT] = domain.deferredTable;
	domain.deferredTable = mfn;
}

/** Drops the tables on a domain's list; false where the work ran out before the end. */
export function dropDeferred(frames: FrameTable, domain: { deferredTable: number }): boolean {
	while (domain.deferredTable !== 0) {
		if (frames.work <= 0) return false;
		const mfn = domain.deferredTable;
		domain.deferredTable = frames.words[frames.info(mfn) + info.NEXT]!;
		putPageAndType(frames, mfn);
	}
	return true;
}

const TYPE_NAMES = ["none", "L1 table", "L2 table", "L3 table", "L4 table", "segment descriptors", "?", "writable"];

export function typeName(type: number): string {
	return TYPE_NAMES[type / FrameType.l1] ?? "?";
}

function complainOfType(frames: FrameTable, mfn: number, word: number, type: FrameType): void {
	const saw = typeName((word & info.TYPE_MASK) >>> 0);
	frames.complain(
		frames.words[frames.info(mfn) + info.OWNER]!,
		`Bad type (saw ${saw} ${word.toString(16)} != exp ${typeName(type)}) for mfn ${mfn.toString(16)} (pfn ${frames.m2p(mfn).toString(16)})`,
	);
}
