/**
 * Decides what is translated: blocks that branches have led to often enough are queued by the interpreter, made into regions between two stretches of
 * guest code, several in a module, and entered in the table; their first record then says so. A region that another one has just taken in need not
 * be made: if control still comes to it from elsewhere, it will be hot once more.
 */

import type { Memory } from "../../memory/memory.ts";
import { instantiate, type WasmImports, type WasmTable } from "../../wasm/host.ts";
import type { CodeCache, CodePage, CodePlace } from "../code-cache.ts";
import * as record from "../interpreter/record.ts";
import { PAGE_SIZE } from "../layout.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { emitRegions, type RegionSource } from "./emit.ts";
import { type CodeSource, findRegion, type Region, type RegionPage } from "./region.ts";

export interface TranslatorStatistics {
	/** Regions made, modules they came in, bytes of WebAssembly, blocks and instructions in them, milliseconds spent. */
	regions: number;
	modules: number;
	codeBytes: number;
	blocks: number;
	instructions: number;
	milliseconds: number;
	/** Regions that can be entered now, places in the table that regions have had, bytes of the modules with live regions. */
	live: number;
	slots: number;
	liveBytes: number;
}

/** A module is freed when none of its regions is in the table. */
interface RegionModule {
	readonly bytes: number;
	live: number;
}

/** A region that can be entered. */
interface LiveRegion {
	readonly module: RegionModule;
	/** The record that names it, in the page that it begins in. */
	readonly head: number;
	readonly pages: readonly CodePage[];
}

interface Candidate extends CodePlace {
	/** Asked for: everything that can be reached is in it, executed or not. */
	readonly asked: boolean;
}

/** A region, and what it takes to install it. */
interface Source extends RegionSource {
	readonly candidate: Candidate;
	readonly pages: readonly CodePage[];
}

interface KnownPage extends RegionPage {
	readonly page: CodePage;
}

/** Regions in one module, and in one turn between two stretches of guest code. */
const BATCH = 24;
/** Instructions that a part of a batch waits for more. */
const PATIENCE = 4_000_000;
/** What the times in records count, in instructions. */
const TICK = 2 ** 20;
/** Ticks from one time that a block has become hot to the next within which it is taken to be what the guest does now. */
const AT_PRESENT = 16;
/** A block that becomes hot now and then is translated when it has done so this often and once more; at most what LAST_HOT has bits for. */
const PATIENT_ROUNDS = 7;
/** LAST_HOT: the tick (not 0, modulo so many), and above it how often the block has become hot. */
const TICK_BITS = 13;
const TICKS = 2 ** TICK_BITS - 1;
/** What a guest makes hot faster than it can be translated must not pile up. */
const LONGEST_QUEUE = 1024;
/** A block that runs less often than one in so many of its region's runs stays out. */
const WORTHWHILE = 4;
const MOST_REGIONS = 0x7ff0;
/** WebAssembly that may be alive. V8's machine code is several times as long. */
const CODE_BUDGET = 48 * 2 ** 20;

function pagesOf({ blocks }: Region): CodePage[] {
	const pages = blocks.flatMap(({ page, crossesTo }) => (crossesTo === undefined ? [page] : [page, crossesTo]));
	return [...new Set(pages.map((page) => (page as KnownPage).page))];
}

export class Translator {
	readonly statistics: TranslatorStatistics = {
		regions: 0,
		modules: 0,
		codeBytes: 0,
		blocks: 0,
		instructions: 0,
		milliseconds: 0,
		live: 0,
		slots: 0,
		liveBytes: 0,
	};
	/** By their numbers. */
	private readonly regions: (LiveRegion | undefined)[] = [];
	/** Offsets of the blocks, by page, that are within a region and were not hot since. */
	private covered = new WeakMap<CodePage, Set<number>>();
	private readonly queue: Candidate[] = [];
	private readonly free: number[] = [];
	private next = 0;
	private lastTurn = 0;
	/** Instructions, as {@link work} was told last. */
	private executed = 0;
	/** No place in the table or no budget is left: all regions go, and what is still hot comes again. */
	private full = false;

	constructor(
		private readonly memory: Memory,
		private readonly code: CodeCache,
		private readonly table: WasmTable,
		private readonly imports: WasmImports,
		private readonly memoryPages: number,
		private readonly hotCount: number,
		private readonly vendor: VendorBehaviour,
		private readonly codeBudget = CODE_BUDGET,
	) {
		code.onInvalidate = (page) => this.release(page);
		// What waits names pages that are no more.
		code.onReset = () => {
			this.queue.length = 0;
		};
	}

	/** The interpreter says that branches lead often to the instruction at RIP, or somebody wants a region there (`asked`). */
	becameHot(asked = false): void {
		const place = this.code.placeOfRip();
		if (place === undefined) return;
		const worthwhile = asked || this.hotCount === 1 || this.isWorthwhile(place);
		if (worthwhile && this.queue.length < LONGEST_QUEUE) this.queue.push({ ...place, asked });
		else this.cool(place);
	}

	/**
	 * Whether a block that has become hot is worth a region now. A region costs as much as interpreting its code ten thousand times and more; what starts a
	 * system runs some thousand times in all, spread over the whole of it. So a block must become hot twice in a row, or often.
	 */
	private isWorthwhile({ page, offset }: CodePlace): boolean {
		const { memory } = this;
		const at = this.code.recordAt(page, offset);
		// What is no instruction by now, or a region already, is for sourceOf() to see.
		if (at === 0 || memory.u16(at) < record.KIND_FIRST || memory.u16(at) >= record.KIND_REGION) return true;
		const now = 1 + (Math.floor(this.executed / TICK) % TICKS);
		const noted = memory.u16(at + record.LAST_HOT);
		const rounds = noted >>> TICK_BITS;
		const last = noted & TICKS;
		if (rounds >= PATIENT_ROUNDS || (last !== 0 && (now - last + TICKS) % TICKS <= AT_PRESENT)) return true;
		memory.setU16(at + record.LAST_HOT, ((rounds + 1) << TICK_BITS) | now);
		return false;
	}

	/** Lets a block become hot once more. Half of the count stays, by which other regions know that it is worthwhile. */
	private cool({ page, offset }: CodePlace): void {
		const at = this.code.recordAt(page, offset);
		if (at !== 0) this.memory.setU16(at + record.COUNT, this.hotCount >> 1);
	}

	/**
	 * To be called between two stretches of guest code, with the number of instructions executed so far: translates what is waiting, once it fills a module or has waited for long enough.
	 * A module costs about as much as ten regions in it.
	 */
	work(executed: number): void {
		this.executed = executed;
		if (this.queue.length === 0) return;
		if (this.queue.length < BATCH && executed - this.lastTurn < PATIENCE) return;
		this.lastTurn = executed;
		this.translate(this.queue.splice(0, BATCH));
	}

	/** Translates all that is waiting, at once. */
	finish(): void {
		while (this.queue.length > 0) this.translate(this.queue.splice(0, BATCH));
	}

	private translate(candidates: readonly Candidate[]): void {
		const { statistics } = this;
		const started = performance.now();
		const sources: Source[] = [];
		for (const candidate of candidates) {
			const source = this.sourceOf(candidate);
			if (source === undefined) continue;
			sources.push(source);
			statistics.blocks += source.region.blocks.length;
			statistics.instructions += source.region.instructions;
		}
		if (sources.length > 0) {
			const bytes = emitRegions(sources, this.memoryPages);
			const exports = instantiate(bytes, this.imports);
			const module: RegionModule = { bytes: bytes.length, live: 0 };
			for (const [index, source] of sources.entries()) {
				this.install(source, exports[String(index)], module);
			}
			statistics.modules++;
			statistics.codeBytes += bytes.length;
		}
		if (this.full) {
			this.full = false;
			this.code.reset();
		}
		statistics.milliseconds += performance.now() - started;
	}

	/** The region that begins at a candidate; undefined where there is none to be made. */
	private sourceOf(candidate: Candidate): Source | undefined {
		const { code, memory } = this;
		const { page, offset, longMode, space, asked } = candidate;
		const at = code.recordAt(page, offset);
		if (at === 0 || memory.u16(at) < record.KIND_FIRST || memory.u16(at) >= record.KIND_REGION) return undefined;
		if (!asked && this.covered.get(page)?.delete(offset)) {
			this.cool(candidate);
			return undefined;
		}
		const pages = this.pagesAround(candidate);
		const recordOf = (where: number): number => {
			const known = pages(Math.floor(where / PAGE_SIZE));
			return known === undefined ? 0 : code.recordAt(known.page, where & (PAGE_SIZE - 1));
		};
		const source: CodeSource = {
			bytes: memory.bytes,
			longMode,
			vendor: this.vendor,
			pageAt: pages,
			worthwhile: (where) => {
				if (asked || where === offset) return pages(Math.floor(where / PAGE_SIZE)) !== undefined;
				const found = recordOf(where);
				return found !== 0 && memory.u16(found + record.COUNT) * WORTHWHILE >= this.hotCount;
			},
			reached: (where) => asked || recordOf(where) !== 0,
			lastTarget: (where) => {
				const at = recordOf(where);
				if (at === 0) return undefined;
				const crosses = memory.u16(at) === record.KIND_CROSSING;
				const low = memory.u32(at + (crosses ? record.RECORD_SIZE : 0) + record.LINK);
				// Its lower half is what is noted; the whole is compared when it is there.
				return low === 0 ? undefined : (low - ((candidate.address - offset) % 2 ** 32)) | 0;
			},
		};
		const region = findRegion(source, offset);
		if (region === undefined) return undefined;
		this.cover(region);
		return {
			region,
			longMode,
			vendor: this.vendor,
			space,
			// A kernel's code stays where it is.
			pageAddress: candidate.address < 0 ? candidate.address - offset : undefined,
			candidate,
			pages: pagesOf(region),
			recordOf,
		};
	}

	/** Pages by their distance from a candidate's, as they are mapped around it now. */
	private pagesAround({ page, address, space, longMode }: Candidate): (distance: number) => KnownPage | undefined {
		const { code, memory } = this;
		const known = new Map<number, KnownPage | undefined>();
		const knownPage = (found: CodePage | undefined): KnownPage | undefined =>
			found && { frame: memory.frame(found.mfn), index: found.index, page: found };
		known.set(0, knownPage(page));
		// Another process may be running by now.
		const valid = code.pageMappedAt(address, space, longMode) === page;
		return (distance) => {
			if (!known.has(distance)) {
				const other = valid ? code.pageMappedAt(address + distance * PAGE_SIZE, space, longMode) : undefined;
				known.set(distance, knownPage(other));
			}
			return known.get(distance);
		};
	}

	private cover({ blocks, entry }: Region): void {
		for (const block of blocks) {
			if (block === entry) continue;
			const { page } = block.page as KnownPage;
			const offsets = this.covered.get(page);
			if (offsets === undefined) this.covered.set(page, new Set([block.start & (PAGE_SIZE - 1)]));
			else offsets.add(block.start & (PAGE_SIZE - 1));
		}
	}

	private install({ candidate, pages }: Source, region: unknown, module: RegionModule): void {
		const { memory, statistics } = this;
		const { page, offset } = candidate;
		const head = this.code.recordAt(page, offset);
		const kind = head === 0 ? 0 : memory.u16(head);
		if (kind < record.KIND_FIRST || kind >= record.KIND_REGION) return;
		const number = this.free.pop() ?? (this.next < MOST_REGIONS ? this.next++ : undefined);
		if (number === undefined) {
			this.full = true;
			return;
		}
		const place = record.KIND_REGION + number;
		if (this.table.length <= place) this.table.grow(place + 1024 - this.table.length);
		this.table.set(place, region);
		memory.setU16(head + record.ORIGINAL, kind);
		memory.setU16(head, place);
		for (const of of pages) of.regions.push(number);
		this.regions[number] = { module, head, pages };
		if (module.live++ === 0) statistics.liveBytes += module.bytes;
		statistics.regions++;
		statistics.live++;
		statistics.slots = this.next;
		if (statistics.liveBytes > this.codeBudget) this.full = true;
	}

	/** A page's code changes: no region that has any of it can be entered any more. */
	private release(page: CodePage): void {
		const { memory, statistics } = this;
		this.covered.delete(page);
		for (const number of page.regions) {
			const { module, head, pages } = this.regions[number]!;
			this.regions[number] = undefined;
			this.table.set(record.KIND_REGION + number, null);
			this.free.push(number);
			memory.setU16(head, memory.u16(head + record.ORIGINAL));
			memory.setU16(head + record.COUNT, 0);
			memory.setU16(head + record.LAST_HOT, 0);
			for (const other of pages) if (other !== page) other.regions.splice(other.regions.indexOf(number), 1);
			statistics.live--;
			if (--module.live === 0) statistics.liveBytes -= module.bytes;
		}
		page.regions = [];
	}
}
