/**
 * The processor: puts the MMU, the code cache and the interpreter together behind {@link Processor}.
 */

import type { Memory } from "../memory/memory.ts";
import { instantiate } from "../wasm/host.ts";
import { CodeCache, type CodeCacheStatistics } from "./code-cache.ts";
import { InstructionAtRip } from "./interpreter/at-rip.ts";
import { HOT_VARIANTS } from "./interpreter/hot.ts";
import { emitMain, MARGIN } from "./interpreter/module.ts";
import { hostRandom, seededRandom } from "./interpreter/random.ts";
import { RareInstructions } from "./interpreter/rare.ts";
import { keyOfName, variantOf } from "./interpreter/record.ts";
import { Variants } from "./interpreter/variants.ts";
import { WARM_VARIANTS } from "./interpreter/warm.ts";
import * as layout from "./layout.ts";
import { Access, type Environment, Exit, type Processor, type StoreHandler, Vector } from "./processor.ts";
import { Flag, Gpr, Registers } from "./registers.ts";
import { forms } from "./semantics/index.ts";
import { simdService } from "./simd/service.ts";
import { Translator, type TranslatorStatistics } from "./translator/translator.ts";
import { type CpuVendor, DEFAULT_VENDOR, VENDOR_BEHAVIOUR } from "./vendor.ts";

/** The exports of the main module. */
interface MainExports {
	enter(): void;
	run(fuel: number): number;
	step(): number;
	translate(low: number, high: number, access: number, space: number): number;
	flushPage(low: number, high: number): void;
	flushHalf(space: number, half: number): void;
	flushSpace(space: number): void;
	protectFrame(mfn: number): void;
	forgetFrame(mfn: number): void;
}

const TWO_32 = 2 ** 32;

export interface ProcessorStatistics {
	instructions: number;
	/** Of them, those that regions executed. */
	translated: number;
	/** Entries into regions, and of them those that ended before an instruction that the interpreter had to execute (a TLB miss, mostly). */
	regionEntries: number;
	regionRedos: number;
	tlbMisses: number;
	/** Look-ups of computed branches' targets that failed; undefined where they are not counted. */
	jumpCacheMisses?: number;
	/** Variants of instructions that were compiled, modules of them, and the milliseconds it took. */
	variants: number;
	variantModules: number;
	compileTime: number;
	code: CodeCacheStatistics;
	translator: TranslatorStatistics | undefined;
}

export type Tier = "interpreter" | "translator" | "both";

/** A block that branches have led to so often is hot; whether it is translated then or when it is so again, the translator decides. */
const HOT_COUNT = 4000;

/**
 * A boot of Debian decodes 40 MB, but code that keeps changing leaves its old records behind until all are forgotten: without a limit the host's
 * memory would grow to the whole arena.
 */
const CODE_ARENA = 192 * 2 ** 20;

export interface EngineOptions {
	/**
	 * "interpreter" alone, or "both" it and the translator for hot code (the default). "translator": all code is translated when it is first led to, which
	 * takes long; what it cannot translate, and what runs until it has, is the interpreter's still. For tests.
	 */
	readonly tier?: Tier;
	/** A block may be translated once branches have led to it so often, and half as often once more; small for tests. */
	readonly hotCount?: number;
	/** Whose processor it is, where makers differ (vendor.ts). Default: "intel". */
	readonly vendor?: CpuVendor;
	/** Makes RDRAND and RDSEED repeatable; without it they take the host's random numbers. */
	readonly randomSeed?: number;
	/** Bytes of memory for decoded code, at most what layout.ts sets aside; small for tests. */
	readonly codeArena?: number;
	/** Bytes of WebAssembly that translated code may take; what is beyond makes all of it be translated anew. */
	readonly codeBudget?: number;
	/** Lets {@link Environment.emitExits}'s code deal with exits, which a guest cannot tell; without it every one is returned. Default: true. */
	readonly emittedExits?: boolean;
}

export class Engine implements Processor {
	readonly vendor: CpuVendor;
	private readonly main: MainExports;
	private readonly variants: Variants;
	private readonly code: CodeCache;
	private readonly translator: Translator | undefined;
	private readonly rare: RareInstructions;
	private readonly atRip: InstructionAtRip;
	private readonly contexts: Registers[] = [];
	private current = 0;
	private instructions = 0;
	/** Instructions that will have been executed once the running stretch has used up its fuel. */
	private runEnd = 0;
	exitsHandled = 0;
	interruptLength = 0;

	constructor(
		readonly memory: Memory,
		private readonly environment: Environment,
		options: EngineOptions = {},
	) {
		const table = new WebAssembly.Table({ element: "anyfunc", initial: 64 });
		const memoryPages = memory.wasm.buffer.byteLength / 65536;
		const vendor = VENDOR_BEHAVIOUR[options.vendor ?? DEFAULT_VENDOR];
		this.vendor = vendor.vendor;
		const translate = (low: number, high: number, access: Access): number => this.translateHalves(low, high, access);
		this.atRip = new InstructionAtRip(memory, translate, vendor);
		this.rare = new RareInstructions(
			memory,
			environment,
			translate,
			options.randomSeed === undefined ? hostRandom() : seededRandom(options.randomSeed),
			vendor,
		);
		const service = {
			cpuid: () => this.cpuid(),
			x87: (operation: number, operand: number) => this.rare.x87(operation, operand),
			random: (bits: number, seed: number) => this.rare.random(bits, seed),
			rare: (operation: number, operand: number) => this.rare.execute(operation, operand),
			simd: (operation: number, control: number) => simdService(memory, operation, control),
		};
		const hot = keysOf(HOT_VARIANTS);
		const main = emitMain(
			hot.map((key) => variantOf(key, forms)),
			memoryPages,
			options.tier === "interpreter" ? 0 : (options.hotCount ?? (options.tier === "translator" ? 1 : HOT_COUNT)),
			vendor,
			options.emittedExits === false ? undefined : environment.emitExits,
		);
		const exports = instantiate(main, {
			engine: {
				memory: memory.wasm,
				table,
				codeWritten: (mfn: number) => this.code.drop(mfn),
				divertedStore: (offset: number, length: number, value: number) => this.storeDiverted(offset, length, value),
				decode: () => this.code.decodeAtRip(),
				becameHot: () => this.translator?.becameHot(),
				crossingValid: (at: number) => this.code.crossingValid(at),
				readTsc: () => {
					this.book(memory.u32(layout.RUN_LEFT));
					memory.setU32(layout.TSC_WINDOW, environment.tscWindow ?? 0);
					return environment.readTsc();
				},
			},
			service,
		});
		this.main = exports as unknown as MainExports;
		this.variants = new Variants(
			hot,
			keysOf(WARM_VARIANTS.filter((name) => !HOT_VARIANTS.includes(name))),
			table,
			{ engine: { memory: memory.wasm, ...exports }, service },
			memoryPages,
			vendor,
		);
		this.code = new CodeCache(memory, this.variants, vendor, options.codeArena ?? CODE_ARENA);
		this.code.mmu = this.main;
		if (options.tier !== "interpreter") {
			this.translator = new Translator(
				memory,
				this.code,
				table,
				{ engine: { memory: memory.wasm, ...exports } },
				memoryPages,
				options.hotCount ?? HOT_COUNT,
				vendor,
				options.codeBudget,
			);
		}
		this.running = memory.bytes.subarray(layout.STATE, layout.STATE + layout.CONTEXT_SIZE);
		memory.setU64(layout.DIVERTED_PAGE, layout.NO_PAGE);
		for (let space = 0; space < layout.TLB_CONTEXTS; space++) {
			memory.fill(layout.TLB + space * layout.TLB_SIZE, layout.TLB_SIZE, layout.NO_PAGE);
			memory.setU8(layout.SPACE_MODES + space, 1);
		}
		for (let index = 0; index < layout.CONTEXT_COUNT; index++) {
			const base = index === 0 ? layout.STATE : layout.CONTEXTS + index * layout.CONTEXT_SIZE;
			resetContext(memory, base);
			this.contexts.push(new Registers(memory, base));
		}
	}

	get executed(): number {
		return this.instructions;
	}

	get statistics(): ProcessorStatistics {
		return {
			instructions: this.instructions,
			translated: this.memory.u64(layout.REGION_INSTRUCTIONS),
			regionEntries: this.memory.u64(layout.REGION_ENTRIES),
			regionRedos: this.memory.u64(layout.REGION_REDOS),
			jumpCacheMisses: this.memory.u64(layout.REGION_MISSES),
			tlbMisses: this.memory.u64(layout.TLB_MISSES),
			variants: this.variants.compiled,
			variantModules: this.variants.modules,
			compileTime: this.variants.compileTime,
			code: this.code.statistics,
			translator: this.translator?.statistics,
		};
	}

	/** Name of the variant of the instruction at RIP, for profiles; undefined where it cannot be fetched or is undefined. */
	variantAtRip(): string | undefined {
		const at = this.code.decodeAtRip();
		return at === 0 ? undefined : this.variants.nameOf(this.memory.u16(at));
	}

	/** Asks for a region at RIP however seldom it runs; {@link translateQueued} makes it. For tests and tools. */
	requestTranslation(): void {
		this.main.enter();
		if (this.code.decodeAtRip() !== 0) this.translator?.becameHot(true);
	}

	/** Makes all the regions that have been asked for, which {@link run} would do in its own time. */
	translateQueued(): void {
		this.translator?.finish();
	}

	run(fuel: number): Exit {
		const { memory } = this;
		this.main.enter();
		let left = fuel;
		for (;;) {
			if (this.mustStep() || left < MARGIN) {
				if (left <= 0) return Exit.fuel;
				const exit = this.singleStep();
				if (exit !== Exit.exception) {
					left--;
					this.instructions++;
				}
				const reason = exit === undefined ? undefined : this.finish(exit);
				if (reason !== undefined) return reason;
				if (this.trapAfterStep) return Exit.exception;
				continue;
			}
			this.runEnd = this.instructions + left;
			memory.setU32(layout.TSC_WINDOW, 0);
			left = this.main.run(left);
			// Of what has been executed in a row nobody asks.
			memory.setU8(layout.STATE + layout.INTERRUPT_SHADOW, 0);
			this.book(left);
			this.exitsHandled += memory.u32(layout.EXITS_HANDLED);
			memory.setU32(layout.EXITS_HANDLED, 0);
			this.translator?.work(this.instructions);
			const reason = this.finish(memory.u32(layout.EXIT_REASON) as Exit);
			if (reason !== undefined && reason !== Exit.fuel) return reason;
		}
	}

	/** The running context as bytes, and what it was before a diverted instruction. */
	private readonly running: Uint8Array;
	private readonly before = new Uint8Array(layout.CONTEXT_SIZE);
	private storeHandler: StoreHandler | undefined;
	/** Offset of a modification in the diverted page that the handler has refused: its instruction may have changed registers; -1 for none. */
	private refused = -1;

	private storeDiverted(offset: number, length: number, value: number): number {
		if (this.storeHandler?.(offset, length, value) === true) return 1;
		// A plain store faults like any other, before its instruction has changed anything.
		if (value === layout.CROSSING) this.refused = offset;
		return 0;
	}

	/** Whether RCX, the count of a repeated instruction, is no longer what it was before the diverted instruction. */
	private countHasChanged(): boolean {
		const at = Gpr.rcx * 8;
		for (let byte = at; byte < at + 8; byte++) if (this.running[byte] !== this.before[byte]) return true;
		return false;
	}

	runDiverted(page: number, store: StoreHandler): Exit {
		const { memory } = this;
		this.before.set(this.running);
		this.storeHandler = store;
		this.refused = -1;
		memory.setU64(layout.DIVERTED_PAGE, page);
		try {
			this.main.enter();
			const exit = this.singleStep();
			const reason = exit === undefined ? undefined : this.finish(exit);
			if (this.refused >= 0) {
				this.running.set(this.before);
				this.translate(page + this.refused, Access.write, memory.u32(layout.CURRENT_SPACE));
				return Exit.exception;
			}
			if (reason === undefined) return this.trapAfterStep ? Exit.exception : Exit.fuel;
			// A repeated instruction that has got further: what remains faults anew.
			return reason === Exit.exception && this.countHasChanged() ? Exit.fuel : reason;
		} finally {
			memory.setU64(layout.DIVERTED_PAGE, layout.NO_PAGE);
			this.storeHandler = undefined;
		}
	}

	/** Counts the instructions of the running stretch, of whose fuel `left` is left: exits that emitted code has dealt with took some too. */
	private book(left: number): void {
		this.instructions = this.runEnd - left - this.memory.u32(layout.EXITS_HANDLED);
	}

	/** RDTSC: EDX:EAX. */
	private timeStamp(): void {
		const ticks = this.environment.readTsc();
		const registers = this.contexts[this.current]!;
		registers.setHalves(Gpr.rax, ticks % TWO_32, 0);
		registers.setHalves(Gpr.rdx, Math.floor(ticks / TWO_32), 0);
	}

	/** Handles the exits that are the processor's own; undefined lets the run go on. */
	private finish(exit: Exit): Exit | undefined {
		switch (exit) {
			case Exit.timeStamp:
				this.timeStamp();
				return undefined;
			case Exit.modeChange:
				this.main.enter();
				return undefined;
			case Exit.softwareInterrupt:
				this.interruptLength = this.memory.u32(layout.EXIT_LENGTH);
				return exit;
			case Exit.exception:
				this.refineException();
				return exit;
			default:
				return exit;
		}
	}

	/** A non-canonical address reached through the stack segment is #SS, not #GP (SDM volume 1, 3.3.7.1). */
	private refineException(): void {
		// The MMU reports #GP(0) for both; telling them apart needs the instruction, which the rare path decodes.
		if (this.memory.u32(layout.STATE + layout.VECTOR) === Vector.generalProtection) this.atRip.refineCanonical();
	}

	private trapAfterStep = false;

	get interruptShadow(): boolean {
		return this.memory.u8(layout.STATE + layout.INTERRUPT_SHADOW) !== 0;
	}

	private mustStep(): boolean {
		const { memory } = this;
		return (
			(memory.u32(layout.STATE + layout.FLAGS_OTHER) & Flag.TF) !== 0 ||
			(memory.u32(layout.STATE + layout.DEBUG_REGISTERS + 40) & 0xff) !== 0
		);
	}

	/** One instruction: undefined when the next may follow. */
	private singleStep(): Exit | undefined {
		const { memory } = this;
		this.trapAfterStep = false;
		const trap = (memory.u32(layout.STATE + layout.FLAGS_OTHER) & Flag.TF) !== 0;
		const breakpoints = memory.u32(layout.STATE + layout.DEBUG_REGISTERS + 40) & 0xff;
		if (this.atRip.begin(breakpoints)) return Exit.exception;
		const goesOn = this.main.step();
		const exit = goesOn === 1 ? undefined : (memory.u32(layout.EXIT_REASON) as Exit);
		// A fault, an interrupt or a system call goes to its handler, which runs with TF clear (SDM volume 3, 6.12.1.3 and 17.3.1.4);
		// #DB in its place would hide which it was.
		const completed = exit === undefined || exit === Exit.modeChange || exit === Exit.timeStamp;
		if (completed && this.atRip.end(trap)) this.trapAfterStep = true;
		return exit;
	}

	private cpuid(): number {
		const registers = this.contexts[this.current]!;
		const answer = this.environment.cpuid(registers.low(Gpr.rax), registers.low(Gpr.rcx));
		registers.setHalves(Gpr.rax, answer.eax, 0);
		registers.setHalves(Gpr.rbx, answer.ebx, 0);
		registers.setHalves(Gpr.rcx, answer.ecx, 0);
		registers.setHalves(Gpr.rdx, answer.edx, 0);
		return 0;
	}

	/** Registers of a context, whether it runs or not. */
	context(index: number): Registers {
		return this.contexts[index]!;
	}

	switchContext(index: number): void {
		if (index === this.current) return;
		const { memory } = this;
		const from = this.contexts[this.current]!;
		const to = this.contexts[index]!;
		const slot = layout.CONTEXTS + this.current * layout.CONTEXT_SIZE;
		memory.copy(slot, layout.STATE, layout.CONTEXT_SIZE);
		from.base = slot;
		memory.copy(layout.STATE, to.base, layout.CONTEXT_SIZE);
		to.base = layout.STATE;
		this.current = index;
		this.flushAll();
	}

	setRoot(addressSpace: number, mfn: number): void {
		this.memory.setU32(layout.ROOTS + addressSpace * 4, this.memory.frame(mfn));
	}

	flushAll(): void {
		for (let space = 0; space < layout.TLB_CONTEXTS; space++) this.main.flushSpace(space);
	}

	flushSpace(addressSpace: number): void {
		this.main.flushSpace(addressSpace);
	}

	flushLower(): void {
		for (let space = 0; space < layout.TLB_CONTEXTS; space++) this.main.flushHalf(space, 0);
	}

	forgetFrame(mfn: number): void {
		this.main.forgetFrame(mfn);
	}

	flushPage(virtualAddress: number): void {
		this.main.flushPage(virtualAddress >>> 0, Math.floor(virtualAddress / TWO_32) | 0);
	}

	translate(virtualAddress: number, access: Access, addressSpace: number): number {
		const linear = this.main.translate(
			virtualAddress >>> 0,
			Math.floor(virtualAddress / TWO_32) | 0,
			access,
			addressSpace,
		);
		return linear === 0 ? -1 : linear >>> 0;
	}

	/** Translation in the running address space; 0 for a fault, with the exception in the context block. */
	private translateHalves(low: number, high: number, access: Access): number {
		return this.main.translate(low, high, access, this.memory.u32(layout.CURRENT_SPACE)) >>> 0;
	}

	codeChanged(mfn: number): void {
		if ((this.memory.u8(layout.FRAME_FLAGS + mfn) & layout.FRAME_HAS_CODE) !== 0) this.code.drop(mfn);
	}
}

/** Keys of variants by their names; those of forms that are no more are left out. */
function keysOf(names: readonly string[]): number[] {
	return names.map((name) => keyOfName(name, forms)).filter((key) => key !== undefined);
}

/** State after reset as far as it matters to an environment that sets its own: floating point initialised, flags clear. */
function resetContext(memory: Memory, base: number): void {
	memory.fill(base, layout.CONTEXT_SIZE, 0);
	memory.setU32(base + layout.FLAGS_OTHER, 2);
	memory.setU32(base + layout.FLAG_RESULT, 1);
	memory.setU32(base + layout.FLAG_CARRY, 0x100 ^ 0x100);
	memory.setU8(base + layout.LONG_MODE, 1);
	memory.setU8(base + layout.CPL, 3);
	memory.setU32(base + layout.MXCSR, 0x1f80);
	memory.setU16(base + layout.X87_CONTROL, 0x37f);
	memory.setU64(base + layout.CR0, 0x8005_0033);
	memory.setU64(base + layout.CR4, 0x0000_0660);
	memory.setU64(base + layout.EFER, 0xd01);
	memory.setU64(base + layout.XCR0, 3);
	memory.setU64(base + layout.DEBUG_REGISTERS + 32, 0xffff_0ff0);
	memory.setU64(base + layout.DEBUG_REGISTERS + 40, 0x400);
}

/** Makes a processor over a memory. The environment's callbacks may be called from the first {@link Processor.run} on. */
export function createProcessor(memory: Memory, environment: Environment, options: EngineOptions = {}): Engine {
	return new Engine(memory, environment, options);
}
