/**
 * Emits regions as WebAssembly functions, several in a module. A region's function takes the fuel and returns a RegionOutcome with RIP, registers
 * and the fuel that is left in memory. It begins by loading the registers that it uses into locals; then comes the structured code of its blocks.
 */

import type { ValueType } from "../../wasm/encoding.ts";
import { type I64, i32, i64, v128 } from "../../wasm/expression.ts";
import { FunctionBuilder, type Label } from "../../wasm/function.ts";
import { ModuleBuilder } from "../../wasm/module.ts";
import { operandsOf } from "../interpreter/context.ts";
import { RegionOutcome } from "../interpreter/module.ts";
import { type Variant, variantKey, variantOf } from "../interpreter/record.ts";
import * as layout from "../layout.ts";
import { tlbSlot } from "../mmu/inline.ts";
import { forms, type Operand } from "../semantics/table.ts";
import type { CpuVendor, VendorBehaviour } from "../vendor.ts";
import {
	type Knowledge,
	meet,
	NotTranslatable,
	noKnowledge,
	type Place,
	passedOn,
	RegionCode,
	type RegionFunctions,
	type RegionLocals,
	type Transfer,
	TranslatorContext,
} from "./context.ts";
import * as lazy from "./lazy-flags.ts";
import { type Block, passesThrough, type Region, type RegionInstruction, type RegionPage } from "./region.ts";

const STATE = i32.const(layout.STATE);

/** What a region needs to know of the place it is made for. */
export interface RegionSource extends Place {
	readonly vendor: VendorBehaviour;
	readonly region: Region;
	/** Linear address of a decoded record of the instruction at an offset from the entry's page, for those that the region hands to the interpreter's function; 0 if there is none. */
	recordOf(offset: number): number;
}

const IMPORTS: Readonly<
	Record<keyof RegionFunctions, readonly [parameters: readonly ValueType[], result: ValueType | undefined]>
> = {
	materialise: [lazy.MATERIALISE_PARAMETERS, undefined],
	callVariant: [["i32"], "i32"],
	timeStamp: [["i32"], "i64"],
};

function importFunctions(module: ModuleBuilder): RegionFunctions {
	return Object.fromEntries(
		Object.entries(IMPORTS).map(([name, [parameters, result]]) => [
			name,
			module.import("engine", name, parameters, result),
		]),
	) as unknown as RegionFunctions;
}

/** A module with one exported function a region: "0", "1", ... */
export function emitRegions(sources: readonly RegionSource[], memoryPages: number): Uint8Array<ArrayBuffer> {
	const module = new ModuleBuilder();
	module.importMemory("engine", "memory", memoryPages, memoryPages);
	const functions = importFunctions(module);
	for (const [index, source] of sources.entries()) {
		const name = `region_${source.region.entry.start.toString(16)}`;
		const reference = module.function(name, ["i32"], "i32", (f) => new RegionEmitter(f, source, functions).emit());
		module.export(String(index), reference);
	}
	return module.finish();
}

class RegionEmitter {
	private readonly code: RegionCode;
	private readonly locals: RegionLocals;
	private readonly loops = new Map<Block, Label>();
	private readonly merges = new Map<Block, Label>();
	/** What is known at a block's start, on all ways that lead there; not of a loop's, which come from behind. */
	private readonly entryKnowledge = new Map<Block, Knowledge>();
	private usesEverything = false;

	constructor(
		private readonly f: FunctionBuilder,
		private readonly source: RegionSource,
		functions: RegionFunctions,
	) {
		this.code = new RegionCode(f, functions, source);
		this.locals = this.code.locals;
		const { entry } = source.region;
		if (!entry.isLoop) this.entryKnowledge.set(entry, noKnowledge(true));
	}

	/** A variant may change any register: what the region has in locals is loaded again behind it, and must be known there. */
	private useEverything(): void {
		const { use } = this.code;
		if (this.usesEverything) return;
		this.usesEverything = true;
		for (const register of this.locals.gpr.keys()) use.gpr.add(register);
		for (const { decoded } of this.source.region.blocks.flatMap((block) => block.instructions)) {
			const { operands } = decoded.form!;
			if (!operands.some(({ file }) => file === "xmm")) continue;
			// XMM0 is what some instructions have as their hidden operand.
			for (const register of [0, decoded.register, decoded.rm]) use.xmm.add(register);
		}
		use.flags = true;
	}

	emit(): void {
		const { f, locals } = this;
		this.tree(this.source.region.entry);
		f.prologue(() => {
			const { pageAddress, region, space } = this.source;
			const page = i64.load(STATE, layout.SLOT_PAGE * 8);
			const otherSpace = i32.ne(i32.load(i32.const(layout.CURRENT_SPACE)), i32.const(space));
			const elsewhere =
				pageAddress === undefined ? otherSpace : i32.or(otherSpace, i64.ne(page, i64.const(pageAddress)));
			f.if(elsewhere, () => this.code.redo(region.entry.start, 0, noKnowledge(true)));
			if (pageAddress === undefined) f.set(locals.page, page);
			this.loadRegisters();
			if (this.code.use.flags) f.set(locals.kind, i32.load(i32.const(layout.FLAG_KIND)));
		});
	}

	private loadRegisters(): void {
		const { f, locals } = this;
		const { use } = this.code;
		for (const register of use.gpr) f.set(locals.gpr[register]!, i64.load(STATE, register * 8));
		for (const register of use.xmm) f.set(locals.xmm[register]!, v128.load(STATE, layout.XMM + register * 16));
		if (use.flags) {
			f.set(locals.first, i64.load(STATE, layout.FLAG_RESULT));
			f.set(locals.second, i64.load(STATE, layout.FLAG_CARRY));
		}
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
		return this.address(i64.add(this.code.page, i64.const(offset)));
	}

	private go(from: Block, to: Block | undefined, offset: number, knowledge: Knowledge): void {
		const { f } = this;
		if (to === undefined) {
			this.leaveFor(this.addressOf(offset), knowledge);
			return;
		}
		this.requirePages(from, to, knowledge);
		if (to.order <= from.order) {
			f.br(this.loops.get(to)!);
			return;
		}
		if (!to.isLoop) {
			const passed = passedOn(knowledge);
			const other = this.entryKnowledge.get(to);
			this.entryKnowledge.set(to, other === undefined ? passed : meet(passed, other));
		}
		if (to.isMerge) f.br(this.merges.get(to)!);
		else this.tree(to);
	}

	/** Goes to pages that this run of the region may not have seen yet, if the frames are mapped there whose code the region has. */
	private requirePages(from: Block, to: Block, knowledge: Knowledge): void {
		const { start, page, crossesTo } = to;
		if (!passesThrough(from, page)) this.requirePage(start, page, start, knowledge);
		if (crossesTo !== undefined && !passesThrough(from, crossesTo)) {
			this.requirePage(start + layout.PAGE_SIZE, crossesTo, start, knowledge);
		}
	}

	/** Leaves for the instruction at `start` where another frame is mapped at `offset`. */
	private requirePage(offset: number, page: RegionPage, start: number, knowledge: Knowledge): void {
		const { f } = this;
		f.scratch(() => {
			const address = f.let(i64.and(this.addressOf(offset), i64.const(-layout.PAGE_SIZE)));
			const slot = f.let(tlbSlot(address));
			const { tlb } = this.code;
			const mapped = i64.eq(i64.load(slot, tlb + layout.TLB_EXECUTE), address);
			const expected = i32.eq(i32.load(slot, tlb + layout.TLB_CODE), i32.const(page.index));
			f.block((here) => {
				f.likely(mapped, () => f.likely(expected, () => f.br(here)));
				this.leaveFor(this.addressOf(start), knowledge);
			});
		});
	}

	private leaveFor(target: I64, knowledge: Knowledge): void {
		const { f, locals } = this;
		f.store64(STATE, target, layout.RIP);
		f.store32(i32.const(layout.FUEL_LEFT), locals.left);
		this.code.saveFlags(knowledge);
		f.return(i32.const(RegionOutcome.jump));
	}

	private block(block: Block): void {
		const { code, f, locals } = this;
		const knowledge: Knowledge = this.entryKnowledge.get(block) ?? noKnowledge(false);
		if (block.order === 0 || block.isLoop) {
			f.unlikely(i32.lt_s(locals.left, i32.const(block.longest)), () => code.redo(block.start, 0, knowledge));
		}
		let transfer: Transfer | undefined;
		for (const [index, one] of block.instructions.entries()) {
			f.scratch(() => {
				const last = index === block.instructions.length - 1;
				transfer = this.instruction(one, index, knowledge, last ? block.taken?.start : undefined);
				if (!last && transfer === undefined) return;
				code.flush(true);
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
			this.leaveFor(this.address(target), knowledge);
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

	private instruction(
		one: RegionInstruction,
		done: number,
		knowledge: Knowledge,
		expected: number | undefined,
	): Transfer | undefined {
		const { code, f, source, locals } = this;
		const { variant, operands, translatable } = known(one, source.longMode);
		if (translatable) {
			const context = new TranslatorContext(code, knowledge, one.decoded, one.offset, done, source.longMode, expected);
			variant.form.semantics(context, ...operands);
			return context.transfer;
		}
		this.useEverything();
		code.flush(true);
		// The record of an instruction that goes on in the next page says so first.
		const record = one.crossesTo === undefined ? source.recordOf(one.offset) : 0;
		if (record === 0) {
			code.redo(one.offset, done, knowledge);
			return { target: i64.const(0), condition: undefined };
		}
		code.materialise();
		const page = one.offset - (((one.offset % layout.PAGE_SIZE) + layout.PAGE_SIZE) % layout.PAGE_SIZE);
		f.store64(STATE, this.addressOf(page), layout.SLOT_PAGE * 8);
		const generation = f.let(i32.load(i32.const(layout.CODE_GENERATION)));
		const outcome = f.let(f.callFor("i32", code.functions.callVariant, i32.const(record)));
		// Anything but going on: the dispatcher sets RIP for a fault and books the instruction.
		f.unlikely(outcome, () => {
			f.store64(i32.const(layout.FAULT_RIP), this.addressOf(one.offset));
			f.store32(i32.const(layout.FUEL_LEFT), i32.sub(locals.left, i32.const(done)));
			f.return(i32.add(outcome, i32.const(RegionOutcome.variant)));
		});
		// It may have changed this very code: then the region is not to be trusted.
		f.unlikely(i32.ne(i32.load(i32.const(layout.CODE_GENERATION)), generation), () => {
			f.store64(STATE, this.addressOf(one.offset + one.decoded.length), layout.RIP);
			f.store32(i32.const(layout.FUEL_LEFT), i32.sub(locals.left, i32.const(done + 1)));
			f.return(i32.const(RegionOutcome.jump));
		});
		this.loadRegisters();
		code.forget(knowledge);
		f.set(locals.kind, i32.const(lazy.WORDS));
		knowledge.kind = lazy.WORDS;
		knowledge.clean = true;
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

/** By maker, since semantics may be of different length, and by key. */
const knownVariants: Readonly<Record<CpuVendor, Map<number, Known>>> = { intel: new Map(), amd: new Map() };

function known(one: RegionInstruction, longMode: boolean): Known {
	const key = variantKey(one.decoded, longMode);
	const variants = knownVariants[one.decoded.vendor.vendor];
	let answer = variants.get(key);
	if (answer === undefined) {
		const variant = variantOf(key, forms);
		answer = { variant, operands: operandsOf(variant), translatable: tryEmit(one, longMode, variant) };
		variants.set(key, answer);
	}
	return answer;
}

/** What instructions are tried with. */
const PROBE = importFunctions(new ModuleBuilder());

function tryEmit(one: RegionInstruction, longMode: boolean, variant: Variant): boolean {
	const f = new FunctionBuilder(["i32"], "i32");
	const code = new RegionCode(f, PROBE, { longMode, space: 0, pageAddress: undefined });
	try {
		const context = new TranslatorContext(code, noKnowledge(false), one.decoded, one.offset, 0, longMode);
		variant.form.semantics(context, ...operandsOf(variant));
	} catch (error) {
		if (!(error instanceof NotTranslatable)) throw error;
		return false;
	}
	return true;
}
