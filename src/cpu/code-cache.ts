/**
 * Decoded instructions, kept per frame and mode. A frame with code has a code index: for each byte offset the linear address of the record
 * decoded there, or 0. Frames with code are never written through the TLB's fast path;
 * {@link CodeCache.drop} is called before their bytes change.
 *
 *   arena:  | records | ...  ->        <- ... | code index | code index |
 */

import type { Memory } from "../memory/memory.ts";
import { type Decoded, decode, decodeCrossing, newDecoded } from "./decode/decoder.ts";
import * as record from "./interpreter/record.ts";
import type { Variants } from "./interpreter/variants.ts";
import * as layout from "./layout.ts";
import { tlbEntryOffset } from "./mmu/inline.ts";
import { Access, Vector } from "./processor.ts";
import type { VendorBehaviour } from "./vendor.ts";

const CODE_INDEX_SIZE = layout.PAGE_SIZE * 4;
/** Longest run of instructions without a look-up: the interpreter may run it without asking for its fuel (module.ts, MARGIN). */
const BLOCK_LIMIT = 64;
/** Room for a block: a crossing takes two records, and the last names where to go on. */
const BLOCK_ROOM = (BLOCK_LIMIT + 3) * record.RECORD_SIZE;

export interface CodePage {
	readonly mfn: number;
	/** Linear address of the code index. */
	readonly index: number;
	/** Records decoded from this frame: start and end addresses, in turn. */
	ranges: number[];
	/** Numbers of the translated regions that have code of this page. */
	regions: number[];
}

/** Where an instruction was executed: its virtual address and TLB context were so at that moment. */
export interface CodePlace {
	readonly page: CodePage;
	readonly offset: number;
	readonly longMode: boolean;
	/** Signed, exact where it is canonical. */
	readonly address: number;
	readonly space: number;
}

/** What an entry of a table spans, from the fourth level down. */
const TABLE_SPANS = [2 ** 39, 2 ** 30, 2 ** 21, layout.PAGE_SIZE] as const;
const TABLE_ENTRIES = 512;
const PRESENT = 1;
const LARGE_PAGE = 0x80;

export interface CodeCacheStatistics {
	/** Frames with decoded code, by mode; bytes of records and code indices; times that all was forgotten to make room. */
	readonly pages: number;
	readonly bytes: number;
	readonly resets: number;
}

export interface CodeTranslator {
	/** Linear address of a byte of code, or 0 with the exception in the context block. */
	translate(low: number, high: number, access: number, space: number): number;
	protectFrame(mfn: number): void;
	flushSpace(space: number): void;
}

export class CodeCache {
	private readonly decoded: Decoded;
	/** Code pages by frame: in 64-bit mode and in compatibility mode. */
	private readonly pages: [Map<number, CodePage>, Map<number, CodePage>] = [new Map(), new Map()];
	/** Frames in which an instruction ends, to those in which it began. */
	private readonly crossers = new Map<number, Set<number>>();
	/** Where the next record goes, and the lowest code index. */
	private top = layout.CODE_ARENA;
	private indexTop: number;
	private readonly arenaEnd: number;
	private resets = 0;
	/** The last block, if it ends behind a conditional branch: its page, where it would go on, and its length in instructions. */
	private openPage: CodePage | undefined;
	private openOffset = 0;
	private openLength = 0;
	mmu!: CodeTranslator;
	/** Called when the records of a page become look-ups. */
	onInvalidate: (page: CodePage) => void = () => {};
	/** Called when all pages are forgotten, after {@link onInvalidate} for each of them. */
	onReset: () => void = () => {};
	private readonly byIndex = new Map<number, { page: CodePage; longMode: boolean }>();

	constructor(
		private readonly memory: Memory,
		private readonly variants: Variants,
		vendor: VendorBehaviour,
		arenaBytes: number = layout.CODE_ARENA_END - layout.CODE_ARENA,
	) {
		this.decoded = newDecoded(vendor);
		this.arenaEnd = Math.min(layout.CODE_ARENA_END, layout.CODE_ARENA + arenaBytes);
		this.indexTop = this.arenaEnd;
	}

	get statistics(): CodeCacheStatistics {
		return {
			pages: this.byIndex.size,
			bytes: this.top - layout.CODE_ARENA + this.arenaEnd - this.indexTop,
			resets: this.resets,
		};
	}

	/** The record of the instruction at RIP; 0 where it cannot be fetched (the exception is in the context block). */
	decodeAtRip(): number {
		const { memory } = this;
		const space = memory.u32(layout.CURRENT_SPACE);
		const longMode = memory.u8(layout.STATE + layout.LONG_MODE) !== 0;
		if (!longMode) this.wrapRip();
		const low = memory.u32(layout.STATE + layout.RIP);
		const high = memory.u32(layout.STATE + layout.RIP + 4);
		const linear = this.mmu.translate(low, high, Access.execute, space);
		if (linear === 0) return 0;
		const mfn = memory.frameAt(linear);
		if (this.top + BLOCK_ROOM > this.indexTop - CODE_INDEX_SIZE) this.reset();
		const page = this.pageFor(mfn, longMode);
		const entry = layout.TLB + space * layout.TLB_SIZE + tlbEntryOffset(low, high);
		memory.setU32(entry + layout.TLB_EXECUTE, (low & -layout.PAGE_SIZE) >>> 0);
		memory.setU32(entry + layout.TLB_EXECUTE + 4, high);
		memory.setU32(entry + layout.TLB_CODE, page.index);
		const offset = low & (layout.PAGE_SIZE - 1);
		const known = memory.u32(page.index + offset * 4);
		return known !== 0 ? known : this.decodeBlock(page, offset, low, high, space, longMode);
	}

	/**
	 * Outside 64-bit mode EIP wraps at 4 GiB. Code that has run up to there always comes here, since no page beyond has an execute entry in that mode.
	 */
	private wrapRip(): void {
		for (const at of [layout.RIP, layout.SLOT_PAGE * 8]) this.memory.setU32(layout.STATE + at + 4, 0);
	}

	/** Record of the instruction at an offset of a page, or 0. */
	recordAt(page: CodePage, offset: number): number {
		return this.memory.u32(page.index + offset * 4);
	}

	/** Where the instruction at RIP is, if its page's code index is known to the TLB. */
	placeOfRip(): CodePlace | undefined {
		const { memory } = this;
		const low = memory.u32(layout.STATE + layout.RIP);
		const space = memory.u32(layout.CURRENT_SPACE);
		const entry = layout.TLB + space * layout.TLB_SIZE + tlbEntryOffset(low, memory.u32(layout.STATE + layout.RIP + 4));
		const known = this.byIndex.get(memory.u32(entry + layout.TLB_CODE));
		const offset = low & (layout.PAGE_SIZE - 1);
		return (
			known && { ...known, offset, address: (memory.u32(layout.STATE + layout.RIP + 4) | 0) * 2 ** 32 + low, space }
		);
	}

	/**
	 * The code page that is mapped at a virtual address (exact, signed), if code of that mode has been decoded in its frame. Only looks: no
	 * TLB entry, accessed bit or exception comes of it.
	 */
	pageMappedAt(address: number, space: number, longMode: boolean): CodePage | undefined {
		const { memory } = this;
		const indexIn = (size: number): number =>
			((Math.floor(address / size) % TABLE_ENTRIES) + TABLE_ENTRIES) % TABLE_ENTRIES;
		let table = memory.u32(layout.ROOTS + space * 4);
		for (const size of TABLE_SPANS) {
			const entry = table + indexIn(size) * 8;
			const low = memory.u32(entry);
			const mfn = (low >>> 12) + (memory.u32(entry + 4) & 0xf_ffff) * 2 ** 20;
			if ((low & PRESENT) === 0 || mfn >= memory.frames) return undefined;
			if (size === layout.PAGE_SIZE) return this.pageOf(mfn, longMode);
			if ((low & LARGE_PAGE) !== 0) {
				const first = mfn - (mfn % TABLE_ENTRIES);
				return size === 2 ** 21 ? this.pageOf(first + indexIn(layout.PAGE_SIZE), longMode) : undefined;
			}
			table = memory.frame(mfn);
		}
		return undefined;
	}

	/** The code page of a frame, if anything is decoded there now: only then its code is guarded against changes. */
	private pageOf(mfn: number, longMode: boolean): CodePage | undefined {
		const guarded = (this.memory.u8(layout.FRAME_FLAGS + mfn) & layout.FRAME_HAS_CODE) !== 0;
		return guarded ? this.pages[longMode ? 0 : 1].get(mfn) : undefined;
	}

	/**
	 * Decodes from `start` up to and with the next branch, conditional ones included: most of what is behind those is never executed. If nothing
	 * else has been decoded when the fall-through is, its records follow as if they had never stopped.
	 */
	private decodeBlock(
		page: CodePage,
		start: number,
		low: number,
		high: number,
		space: number,
		longMode: boolean,
	): number {
		const { memory, decoded } = this;
		const { words } = memory;
		this.markCode(page.mfn);
		const frame = memory.frame(page.mfn);
		const index = page.index >> 2;
		const continues = page === this.openPage && start === this.openOffset && this.openLength < BLOCK_LIMIT;
		const first = continues ? this.top - record.RECORD_SIZE : this.top;
		let at = first;
		let offset = start;
		let length = continues ? this.openLength : 0;
		this.openPage = undefined;
		for (; length < BLOCK_LIMIT; length++) {
			if (offset >= layout.PAGE_SIZE || (words[index + offset] !== 0 && at !== first)) break;
			const instruction = at;
			if (!decode(memory.bytes, frame + offset, frame + layout.PAGE_SIZE, longMode, decoded)) {
				const next = this.nextPage(low, high, space);
				if (next === 0) {
					// Only the instruction that is about to execute may fault.
					if (at === first) return 0;
					break;
				}
				decodeCrossing(memory.bytes, frame + offset, frame + layout.PAGE_SIZE, next, longMode, decoded);
				const nextFrame = memory.frameAt(next);
				this.noteCrossing(page.mfn, nextFrame);
				record.writeLookup(memory, at, offset);
				memory.setU16(at + record.KIND, record.KIND_CROSSING);
				memory.setU32(at + record.IMMEDIATE, nextFrame);
				at += record.RECORD_SIZE;
			}
			words[index + offset] = instruction;
			const { plan } = decoded;
			if (plan === undefined) {
				record.writeLookup(memory, at, offset);
				memory.setU16(at + record.KIND, record.KIND_UNDEFINED);
				memory.setU32(at + record.IMMEDIATE, decoded.length > 15 ? Vector.generalProtection : Vector.invalidOpcode);
				return this.finishBlock(page, first, at + record.RECORD_SIZE, continues);
			}
			record.writeRecord(memory, at, this.variants.kindOf(decoded, longMode), offset, decoded);
			at += record.RECORD_SIZE;
			offset += decoded.length;
			if (plan.ends) return this.finishBlock(page, first, at, continues);
			if (plan.branches) {
				this.openPage = page;
				this.openOffset = offset;
				this.openLength = length + 1;
				break;
			}
		}
		record.writeLookup(memory, at, offset);
		return this.finishBlock(page, first, at + record.RECORD_SIZE, continues);
	}

	private finishBlock(page: CodePage, first: number, end: number, continues: boolean): number {
		const { ranges } = page;
		if (continues) ranges[ranges.length - 1] = end;
		else ranges.push(first, end);
		this.top = end;
		return first;
	}

	/** Linear address of the next page's first byte, or 0. */
	private nextPage(low: number, high: number, space: number): number {
		const nextLow = ((low & -layout.PAGE_SIZE) + layout.PAGE_SIZE) >>> 0;
		if (nextLow === 0 && this.memory.u8(layout.STATE + layout.LONG_MODE) === 0) {
			// An instruction does not wrap with EIP: it goes beyond the code segment's limit.
			this.memory.setU32(layout.STATE + layout.VECTOR, Vector.generalProtection);
			this.memory.setU32(layout.STATE + layout.ERROR_CODE, 0);
			return 0;
		}
		return this.mmu.translate(nextLow, nextLow === 0 ? (high + 1) >>> 0 : high, Access.execute, space);
	}

	/** Whether the page after the current one still has the frame that a crossing record expects. */
	crossingValid(at: number): number {
		const { memory } = this;
		const low = memory.u32(layout.STATE + layout.SLOT_PAGE * 8);
		const high = memory.u32(layout.STATE + layout.SLOT_PAGE * 8 + 4);
		const next = this.nextPage(low, high, memory.u32(layout.CURRENT_SPACE));
		return next !== 0 && memory.frameAt(next) === memory.u32(at + record.IMMEDIATE) ? 1 : 0;
	}

	private noteCrossing(from: number, to: number): void {
		this.markCode(to);
		const known = this.crossers.get(to);
		if (known === undefined) this.crossers.set(to, new Set([from]));
		else known.add(from);
	}

	private markCode(mfn: number): void {
		const { memory } = this;
		const flags = memory.u8(layout.FRAME_FLAGS + mfn);
		if ((flags & layout.FRAME_HAS_CODE) !== 0) return;
		memory.setU8(layout.FRAME_FLAGS + mfn, flags | layout.FRAME_HAS_CODE);
		this.mmu.protectFrame(mfn);
	}

	private pageFor(mfn: number, longMode: boolean): CodePage {
		const pages = this.pages[longMode ? 0 : 1];
		let page = pages.get(mfn);
		if (page === undefined) {
			this.indexTop -= CODE_INDEX_SIZE;
			const index = this.indexTop;
			this.memory.fill(index, CODE_INDEX_SIZE, 0);
			page = { mfn, index, ranges: [], regions: [] };
			this.byIndex.set(index, { page, longMode });
			if (longMode) this.memory.setU32(layout.FRAME_CODE + mfn * 4, index);
			pages.set(mfn, page);
		}
		return page;
	}

	/** Forgets what was decoded from a frame; to be called before its bytes change. */
	drop(mfn: number): void {
		const { memory } = this;
		const flags = memory.u8(layout.FRAME_FLAGS + mfn);
		if ((flags & layout.FRAME_HAS_CODE) === 0) return;
		memory.setU8(layout.FRAME_FLAGS + mfn, flags & ~layout.FRAME_HAS_CODE);
		memory.setU32(layout.CODE_GENERATION, (memory.u32(layout.CODE_GENERATION) + 1) >>> 0);
		for (const pages of this.pages) {
			const page = pages.get(mfn);
			if (page !== undefined) this.invalidate(page);
		}
		const crossers = this.crossers.get(mfn);
		if (crossers !== undefined) {
			this.crossers.delete(mfn);
			for (const from of crossers) this.drop(from);
		}
	}

	/** Turns every record of a page into a look-up of its own address: the one being executed may be among them. */
	private invalidate(page: CodePage): void {
		const { memory } = this;
		const { ranges } = page;
		this.onInvalidate(page);
		if (page === this.openPage) this.openPage = undefined;
		for (let range = 0; range < ranges.length; range += 2) {
			for (let at = ranges[range]!; at < ranges[range + 1]!; at += record.RECORD_SIZE) {
				memory.setU16(at + record.KIND, record.KIND_LOOKUP);
				memory.setU32(at + record.LINK, 0);
			}
		}
		page.ranges = [];
		memory.fill(page.index, CODE_INDEX_SIZE, 0);
	}

	/** Forgets everything: the arena or the translator's budget is used up. Called only between blocks. */
	reset(): void {
		const { memory } = this;
		this.resets++;
		for (const pages of this.pages) {
			for (const mfn of pages.keys()) {
				memory.setU8(layout.FRAME_FLAGS + mfn, memory.u8(layout.FRAME_FLAGS + mfn) & ~layout.FRAME_HAS_CODE);
			}
			for (const page of pages.values()) {
				this.onInvalidate(page);
				memory.setU32(layout.FRAME_CODE + page.mfn * 4, 0);
			}
			pages.clear();
		}
		this.byIndex.clear();
		for (const mfn of this.crossers.keys()) {
			memory.setU8(layout.FRAME_FLAGS + mfn, memory.u8(layout.FRAME_FLAGS + mfn) & ~layout.FRAME_HAS_CODE);
		}
		this.crossers.clear();
		this.top = layout.CODE_ARENA;
		this.openPage = undefined;
		this.indexTop = this.arenaEnd;
		this.onReset();
		for (let space = 0; space < layout.TLB_CONTEXTS; space++) this.mmu.flushSpace(space);
	}
}
