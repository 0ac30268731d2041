/**
 * Emits regions as WebAssembly functions, several in a module. A region's function takes the fuel and returns an Outcome with RIP, registers and
 * the fuel that is left in memory:
 *
 *   (prologue: registers to locals)
 *   block redo   <- side exits: TLB misses, faults, slow paths; `at` says where
 *     block leave  <- jumps out of the region; `target` says where to
 *       structured code of the blocks
 */
import { operandsOf } from "../interpreter/context.ts";
import { RegionOutcome } from "../interpreter/module.ts";
import { type Variant, variantKey, variantOf } from "../interpreter/record.ts";
import * as layout from "../layout.ts";
import { tlbEntry } from "../mmu/inline.ts";
import { forms, type Operand } from "../semantics/table.ts";
import { type I64, i32, i64, v128 } from "../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference, Label } from "../wasm/function.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import {
	type Knowledge,
	NotTranslatable,
	noRegisters,
	RegionLocals,
	type RegisterUse,
	type Transfer,
	TranslatorContext,
} from "./context.ts";
import * as lazy from "./lazy-flags.ts";
import { type Block, passesThrough, type Region, type RegionInstruction } from "./region.ts";

const STATE = i32.const(layout.STATE);

/** What a region needs to know of the place it is made for. */
export interface RegionSource {
	readonly region: Region;
	readonly longMode: boolean;
	/** Linear address of a decoded record of the instruction at an offset from the entry's page, for those that the region hands to the interpreter's function; 0 if there is none. */
	recordOf(offset: number): number;
}

interface Imports {
	readonly materialise: FunctionReference;
	readonly callVariant: FunctionReference;
}

/** A module with one exported function a region: "0", "1", ... */
export function emitRegions(sources: readonly RegionSource[], memoryPages: number): Uint8Array<ArrayBuffer> {
	const module = new ModuleBuilder();
	module.importMemory("engine", "memory", memoryPages, memoryPages);
	const imports: Imports = {
		materialise: module.import("engine", "materialiseFlags", lazy.MATERIALISE_PARAMETERS, undefined),
		callVariant: module.import("engine", "callVariant", ["i32"], "i32"),
	};
	for (const [index, source] of sources.entries()) {
		const name = `region_${source.region.entry.start.toString(16)}`;
		const reference = module.function(name, ["i32"], "i32", (f) => new RegionEmitter(f, source, imports).emit());
		module.export(String(index), reference);
	}
	return module.finish();
}

class RegionEmitter {
	private readonly locals: RegionLocals;
	private readonly use: RegisterUse = noRegisters();
	private redo!: Label;
	private leave!: Label;
	private readonly loops = new Map<Block, Label>();
	private readonly merges = new Map<Block, Label>();
	/** What is known of the flags at a block's start, for blocks with one predecessor. */
	private readonly entryKnowledge = new Map<Block, number | undefined>();

	constructor(
		private readonly f: FunctionBuilder,
		private readonly source: RegionSource,
		private readonly imports: Imports,
	) {
		this.locals = new RegionLocals(f);
		const { entry } = source.region;
		this.entryKnowledge.set(entry, undefined);
		const callsVariants = source.region.blocks.some((block) =>
			block.instructions.some((one) => !isTranslatable(one, source.longMode)),
		);
		if (callsVariants) this.useEverything();
	}

	/** A region that calls variants stores and loads what its instructions name; found by emitting it once for that alone. */
	private useEverything(): void {
		const probe = this.f.checkpoint();
		this.f.block((label) => {
			this.redo = label;
			for (const block of this.source.region.blocks) {
				const knowledge: Knowledge = { kind: undefined };
				for (const one of block.instructions) {
					if (isTranslatable(one, this.source.longMode)) this.contextFor(one, knowledge);
				}
			}
		});
		this.f.rollback(probe);
	}

	emit(): void {
		const { f, locals } = this;
		f.block((redo) => {
			this.redo = redo;
			f.block((leave) => {
				this.leave = leave;
				this.tree(this.source.region.entry);
			});
			f.store64(STATE, locals.target, layout.RIP);
			this.storeRegisters();
			f.store32(i32.const(layout.FUEL_LEFT), locals.left);
			f.return(i32.const(RegionOutcome.jump));
		});
		f.store64(STATE, this.address(i64.add(locals.page, i64.extend_i32_s(locals.at))), layout.RIP);
		this.storeRegisters();
		f.store32(i32.const(layout.FUEL_LEFT), i32.sub(locals.left, locals.done));
		f.return(i32.const(RegionOutcome.redo));
		f.prologue(() => {
			f.set(locals.tlb, i32.load(i32.const(layout.CURRENT_TLB)));
			f.set(locals.page, i64.load(STATE, layout.SLOT_PAGE * 8));
			this.loadRegisters();
			if (this.use.flags) f.set(locals.kind, i32.load(i32.const(layout.FLAG_KIND)));
		});
	}

	private loadRegisters(): void {
		const { f, locals, use } = this;
		for (const register of use.gpr) f.set(locals.gpr[register]!, i64.load(STATE, register * 8));
		for (const register of use.xmm) f.set(locals.xmm[register]!, v128.load(STATE, layout.XMM + register * 16));
		if (use.flags) {
			f.set(locals.first, i64.load(STATE, layout.FLAG_RESULT));
			f.set(locals.second, i64.load(STATE, layout.FLAG_CARRY));
		}
	}

	/** Leaves the registers for whoever comes next: another region, or the interpreter behind the dispatcher. */
	private storeRegisters(): void {
		const { f, locals, use } = this;
		this.storeGeneral();
		if (!use.flagsWritten) return;
		const { kind, first, second } = locals;
		f.if(
			lazy.isStepExpression(kind),
			() => this.materialise(),
			() => {
				f.store64(STATE, first, layout.FLAG_RESULT);
				f.store64(STATE, second, layout.FLAG_CARRY);
				f.store32(i32.const(layout.FLAG_KIND), kind);
			},
		);
	}

	private materialise(): void {
		const { kind, first, second, oldKind, oldFirst, oldSecond } = this.locals;
		this.f.call(this.imports.materialise, kind, first, second, oldKind, oldFirst, oldSecond);
		this.f.store32(i32.const(layout.FLAG_KIND), i32.const(lazy.WORDS));
	}

	/** Registers and flag words as everybody but regions knows them. */
	private publishRegisters(): void {
		this.storeGeneral();
		if (this.use.flags) this.materialise();
	}

	private storeGeneral(): void {
		const { f, locals, use } = this;
		for (const register of use.gprWritten) f.store64(STATE, locals.gpr[register]!, register * 8);
		for (const register of use.xmmWritten) f.storeV128(STATE, locals.xmm[register]!, layout.XMM + register * 16);
	}

	// ---- control flow ----

	private tree(block: Block): void {
		if (!block.isLoop) {
			this.within(block, block.merges, 0);
			return;
		}
		this.f.loop((start) => {
			this.loops.set(block, start);
			this.within(block, block.merges, 0);
		});
	}

	/** The block inside the wasm blocks whose ends are the merges that it dominates, the last of them outermost. */
	private within(block: Block, merges: readonly Block[], index: number): void {
		const merge = merges[index];
		if (merge === undefined) {
			this.block(block);
			return;
		}
		this.f.block((end) => {
			this.merges.set(merge, end);
			this.within(block, merges, index + 1);
		});
		this.tree(merge);
	}

	/** A virtual address as it is in the region's mode. */
	private address(value: I64): I64 {
		return this.source.longMode ? value : i64.extend_i32_u(i32.wrap(value));
	}

	private addressOf(offset: number): I64 {
		return this.address(i64.add(this.locals.page, i64.const(offset)));
	}

	private go(from: Block, to: Block | undefined, offset: number, knowledge: Knowledge): void {
		const { f } = this;
		if (to === undefined) {
			this.leaveFor(this.addressOf(offset));
			return;
		}
		if (!passesThrough(from, to.page)) this.requirePage(to);
		if (to.order <= from.order) f.br(this.loops.get(to)!);
		else if (to.isMerge) f.br(this.merges.get(to)!);
		else {
			// Its only way in: what is known of the flags is known there too.
			this.entryKnowledge.set(to, to.isLoop ? undefined : knowledge.kind);
			this.tree(to);
		}
	}

	/** Goes to a page that this run of the region may not have seen yet, if the frame is mapped there whose code the region has. */
	private requirePage({ start, page }: Block): void {
		const { f, locals } = this;
		f.scratch(() => {
			const address = f.let(i64.and(this.addressOf(start), i64.const(-layout.PAGE_SIZE)));
			const entry = f.let(tlbEntry(locals.tlb, address));
			const mapped = i64.eq(i64.load(entry, layout.TLB_EXECUTE), address);
			const expected = i32.eq(i32.load(entry, layout.TLB_CODE), i32.const(page.index));
			f.if(i32.eqz(i32.and(mapped, expected)), () => this.leaveFor(this.addressOf(start)));
		});
	}

	private leaveFor(target: I64): void {
		const { f, locals } = this;
		f.set(locals.target, target);
		f.br(this.leave);
	}

	private block(block: Block): void {
		const { f, locals } = this;
		if (block.order === 0 || block.isLoop) {
			f.set(locals.at, i32.const(block.start));
			f.set(locals.done, i32.const(0));
			f.brIf(this.redo, i32.lt_s(locals.left, i32.const(block.longest)));
		}
		const knowledge: Knowledge = { kind: this.entryKnowledge.get(block) };
		let transfer: Transfer | undefined;
		for (const [index, one] of block.instructions.entries()) {
			f.set(locals.at, i32.const(one.offset));
			f.set(locals.done, i32.const(index));
			f.scratch(() => {
				transfer = this.instruction(one, knowledge);
				const last = index === block.instructions.length - 1;
				if (!last && transfer === undefined) return;
				f.set(locals.left, i32.sub(locals.left, i32.const(index + 1)));
				this.end(block, one, transfer, knowledge);
			});
			if (transfer !== undefined) break;
		}
	}

	private end(block: Block, last: RegionInstruction, transfer: Transfer | undefined, knowledge: Knowledge): void {
		const { f } = this;
		if (transfer === undefined) {
			this.go(block, block.next, block.end, knowledge);
			return;
		}
		const { target, condition } = transfer;
		if (typeof target !== "number") {
			const { taken } = block;
			if (taken !== undefined)
				f.if(i64.eq(target, this.addressOf(taken.start)), () => this.go(block, taken, taken.start, knowledge));
			this.leaveFor(this.address(target));
			return;
		}
		const takenBlock = block.taken !== undefined && block.taken.start === target ? block.taken : undefined;
		if (condition === undefined) {
			// An endBlock's target is not the block's own branch.
			this.go(block, takenBlock, target, knowledge);
			return;
		}
		f.if(condition, () => this.go(block, takenBlock, target, knowledge));
		this.go(block, block.next, last.offset + last.decoded.length, knowledge);
	}

	// ---- instructions ----

	private contextFor(one: RegionInstruction, knowledge: Knowledge): TranslatorContext {
		const context = new TranslatorContext(
			this.f,
			this.locals,
			this.use,
			knowledge,
			one.decoded,
			one.offset,
			this.source.longMode,
			this.redo,
			this.imports.materialise,
		);
		const { variant, operands } = known(one, this.source.longMode);
		variant.form.semantics(context, ...operands);
		return context;
	}

	private instruction(one: RegionInstruction, knowledge: Knowledge): Transfer | undefined {
		const { f, source, locals } = this;
		if (isTranslatable(one, source.longMode)) return this.contextFor(one, knowledge).transfer;
		const record = source.recordOf(one.offset);
		if (record === 0) {
			f.br(this.redo);
			return { target: i64.const(0), condition: undefined };
		}
		this.publishRegisters();
		const page = one.offset - (((one.offset % layout.PAGE_SIZE) + layout.PAGE_SIZE) % layout.PAGE_SIZE);
		f.store64(STATE, this.addressOf(page), layout.SLOT_PAGE * 8);
		const generation = f.let(i32.load(i32.const(layout.CODE_GENERATION)));
		const outcome = f.let(f.callFor("i32", this.imports.callVariant, i32.const(record)));
		// Anything but going on: registers are stored; the dispatcher sets RIP for a fault and books the instruction.
		f.if(outcome, () => {
			f.store64(i32.const(layout.FAULT_RIP), this.addressOf(one.offset));
			f.store32(i32.const(layout.FUEL_LEFT), i32.sub(locals.left, locals.done));
			f.return(i32.add(outcome, i32.const(RegionOutcome.variant)));
		});
		// It may have changed this very code: then the region is not to be trusted.
		f.if(i32.ne(i32.load(i32.const(layout.CODE_GENERATION)), generation), () => {
			f.store64(STATE, this.addressOf(one.offset + one.decoded.length), layout.RIP);
			f.store32(i32.const(layout.FUEL_LEFT), i32.sub(locals.left, i32.add(locals.done, i32.const(1))));
			f.return(i32.const(RegionOutcome.jump));
		});
		this.loadRegisters();
		f.set(locals.kind, i32.const(lazy.WORDS));
		knowledge.kind = this.use.flags ? lazy.WORDS : undefined;
		return undefined;
	}
}

/** What is the same for all instructions of a variant. */
interface Known {
	readonly variant: Variant;
	readonly operands: readonly Operand[];
	/** Whether a region can hold the instruction itself; found by trying. */
	readonly translatable: boolean;
}

const knownVariants = new Map<number, Known>();

function known(one: RegionInstruction, longMode: boolean): Known {
	const key = variantKey(one.decoded, longMode);
	let answer = knownVariants.get(key);
	if (answer === undefined) {
		const variant = variantOf(key, forms);
		answer = { variant, operands: operandsOf(variant), translatable: tryEmit(one, longMode, variant) };
		knownVariants.set(key, answer);
	}
	return answer;
}

const isTranslatable = (one: RegionInstruction, longMode: boolean): boolean => known(one, longMode).translatable;

function tryEmit(one: RegionInstruction, longMode: boolean, variant: Variant): boolean {
	const module = new ModuleBuilder();
	const materialise = module.import("engine", "materialiseFlags", lazy.MATERIALISE_PARAMETERS, undefined);
	let answer = true;
	module.function("probe", ["i32"], "i32", (f) => {
		const locals = new RegionLocals(f);
		try {
			f.block((redo) => {
				const knowledge: Knowledge = { kind: undefined };
				const context = new TranslatorContext(
					f,
					locals,
					noRegisters(),
					knowledge,
					one.decoded,
					one.offset,
					longMode,
					redo,
					materialise,
				);
				variant.form.semantics(context, ...operandsOf(variant));
			});
		} catch (error) {
			if (!(error instanceof NotTranslatable)) throw error;
			answer = false;
		}
	});
	return answer;
}
