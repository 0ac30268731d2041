/** What --stats writes and Host.statistics() returns. Counters are of the whole machine, from its start. */
import type { ProcessorStatistics } from "../cpu/engine.ts";
import type { SchedulerStatistics } from "../xen/scheduler.ts";

/** Interpreter and translator. Counts are from the machine's start, sizes are of now. */
export interface ExecutionStatistics {
	/** Instructions executed by each tier, and the translator's share of all. */
	readonly interpreted: number;
	readonly translated: number;
	readonly translatedShare: number;
	/** Forms of instructions that the interpreter had to compile. */
	readonly variants: { readonly compiled: number; readonly modules: number; readonly milliseconds: number };
	/** Spent on emitting and compiling, by both tiers; V8's own threads not counted. */
	readonly compileSeconds: number;
	/** Look-ups of computed branches' targets that failed; null where they are not counted. */
	readonly jumpCacheMisses: number | null;
	/** Frames with decoded code, bytes of it, and times that all of it was forgotten to make room. */
	readonly decoded: { readonly pages: number; readonly bytes: number; readonly resets: number };
	/** Null where the interpreter works alone. */
	readonly translator: {
		/** Regions made, modules they came in, blocks, instructions and bytes of WebAssembly in them. */
		readonly regions: number;
		readonly modules: number;
		readonly blocks: number;
		readonly instructions: number;
		readonly codeBytes: number;
		readonly milliseconds: number;
		/** Regions that can be entered, and bytes of the modules that they are in. */
		readonly liveRegions: number;
		readonly liveBytes: number;
		/** Entries into regions, and of them those that ended before an instruction that the interpreter had to execute. */
		readonly entries: number;
		readonly redone: number;
	} | null;
}

export function executionStatistics(processor: ProcessorStatistics): ExecutionStatistics {
	const { instructions, translated, variants, variantModules, compileTime, code, translator } = processor;
	return {
		interpreted: instructions - translated,
		translated,
		translatedShare: instructions === 0 ? 0 : translated / instructions,
		variants: { compiled: variants, modules: variantModules, milliseconds: compileTime },
		compileSeconds: (compileTime + (translator?.milliseconds ?? 0)) / 1000,
		jumpCacheMisses: processor.jumpCacheMisses ?? null,
		decoded: { ...code },
		translator:
			translator === undefined
				? null
				: {
						regions: translator.regions,
						modules: translator.modules,
						blocks: translator.blocks,
						instructions: translator.instructions,
						codeBytes: translator.codeBytes,
						milliseconds: translator.milliseconds,
						liveRegions: translator.live,
						liveBytes: translator.liveBytes,
						entries: processor.regionEntries,
						redone: processor.regionRedos,
					},
	};
}

export interface Statistics {
	/** Since the first domain was created. */
	readonly wallSeconds: number;
	/** Processor time of the host program in that time, compilation and garbage collection included; null where unknown. */
	readonly cpuSeconds: number | null;
	/** What the guests' clocks show of it. */
	readonly guestSeconds: number;
	readonly clock: "real" | "deterministic";
	/** Guest instructions executed. */
	readonly instructions: number;
	/** Million instructions a second of processor time, or of wall time where that is unknown. */
	readonly mips: number;
	/** By name: hypercalls made, exceptions and software interrupts raised. What never happened is left out. */
	readonly hypercalls: Readonly<Record<string, number>>;
	readonly exceptions: Readonly<Record<string, number>>;
	readonly events: Readonly<Record<string, number>>;
	/** Misses of the translation lookaside buffers; null where the processor does not count them. */
	readonly tlbMisses: number | null;
	/** How instructions were executed; null where the processor does not tell. */
	readonly execution: ExecutionStatistics | null;
	readonly scheduler: Readonly<SchedulerStatistics>;
	readonly memory: {
		/** Of the machine, and in use by its domains. */
		readonly machineBytes: number;
		readonly guestBytes: number;
		/** Of the host program; null where unknown. */
		readonly residentBytes: number | null;
	};
}
