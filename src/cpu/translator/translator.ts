/**
 * Decides what is translated: blocks that branches have led to often enough are queued by the interpreter, made into regions between two stretches of
 * guest code, several in a module, and entered in the table; their first record then says so.
 */
import type { CodeCache, CodePage } from "../code-cache.ts";
import * as record from "../interpreter/record.ts";
import type { Memory } from "../memory.ts";
import { emitRegions, type RegionSource } from "./emit.ts";
import { findRegion } from "./region.ts";

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

interface Candidate {
	readonly page: CodePage;
	readonly offset: number;
	readonly longMode: boolean;
}

/** Regions in one module, and in one turn between two stretches of guest code. */
const BATCH = 24;
/** Instructions that a part of a batch waits for more. */
const PATIENCE = 4_000_000;
/** What a guest makes hot faster than it can be translated must not pile up. */
const LONGEST_QUEUE = 1024;
const MOST_REGIONS = 0x7ff0;
/** WebAssembly that may be alive. V8's machine code is several times as long. */
const CODE_BUDGET = 48 * 2 ** 20;

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
	/** The modules of regions by their numbers. */
	private readonly modules: (RegionModule | undefined)[] = [];
	private readonly queue: Candidate[] = [];
	private readonly free: number[] = [];
	private next = 0;
	private lastTurn = 0;
	/** No place in the table or no budget is left: all regions go, and what is still hot comes again. */
	private full = false;

	constructor(
		private readonly memory: Memory,
		private readonly code: CodeCache,
		private readonly table: WebAssembly.Table,
		private readonly imports: WebAssembly.Imports,
		private readonly memoryPages: number,
		private readonly codeBudget = CODE_BUDGET,
	) {
		code.onInvalidate = (page) => this.release(page);
		// What waits names pages that are no more.
		code.onReset = () => {
			this.queue.length = 0;
		};
	}

	/** The interpreter says that branches lead often to the instruction at RIP. */
	becameHot(): void {
		const place = this.code.placeOfRip();
		if (place === undefined) return;
		if (this.queue.length < LONGEST_QUEUE) {
			this.queue.push(place);
			return;
		}
		// Let it become hot once more.
		const at = this.code.recordAt(place.page, place.offset);
		if (at !== 0) this.memory.setU16(at + record.COUNT, 0);
	}

	/**
	 * To be called between two stretches of guest code, with the number of instructions executed so far: translates what is waiting, once it fills a module or has waited for long enough.
	 * A module costs about as much as ten regions in it.
	 */
	work(executed: number): void {
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
		const { memory, statistics } = this;
		const started = performance.now();
		const sources: (RegionSource & { readonly candidate: Candidate })[] = [];
		for (const candidate of candidates) {
			const { page, offset, longMode } = candidate;
			const at = this.code.recordAt(page, offset);
			if (at === 0 || memory.u16(at) < record.KIND_FIRST || memory.u16(at) >= record.KIND_REGION) continue;
			const region = findRegion(memory.bytes, memory.frame(page.mfn), offset, longMode);
			if (region === undefined) continue;
			sources.push({ region, longMode, candidate, recordOf: (where) => this.code.recordAt(page, where) });
			statistics.blocks += region.blocks.length;
			statistics.instructions += region.instructions;
		}
		if (sources.length > 0) {
			const bytes = emitRegions(sources, this.memoryPages);
			const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), this.imports);
			const module: RegionModule = { bytes: bytes.length, live: 0 };
			for (const [index, { candidate }] of sources.entries()) {
				this.install(candidate, instance.exports[String(index)], module);
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

	private install(candidate: Candidate, region: unknown, module: RegionModule): void {
		const { memory, statistics } = this;
		const { page, offset } = candidate;
		const at = this.code.recordAt(page, offset);
		const kind = at === 0 ? 0 : memory.u16(at);
		if (kind < record.KIND_FIRST || kind >= record.KIND_REGION) return;
		const number = this.free.pop() ?? (this.next < MOST_REGIONS ? this.next++ : undefined);
		if (number === undefined) {
			this.full = true;
			return;
		}
		const place = record.KIND_REGION + number;
		if (this.table.length <= place) this.table.grow(place + 1024 - this.table.length);
		this.table.set(place, region);
		memory.setU16(at + record.ORIGINAL, kind);
		memory.setU16(at, place);
		page.regions.push(number);
		this.modules[number] = module;
		if (module.live++ === 0) statistics.liveBytes += module.bytes;
		statistics.regions++;
		statistics.live++;
		statistics.slots = this.next;
		if (statistics.liveBytes > this.codeBudget) this.full = true;
	}

	private release(page: CodePage): void {
		for (const number of page.regions) {
			this.table.set(record.KIND_REGION + number, null);
			this.free.push(number);
			this.statistics.live--;
			const module = this.modules[number]!;
			this.modules[number] = undefined;
			if (--module.live === 0) this.statistics.liveBytes -= module.bytes;
		}
		page.regions = [];
	}
}
