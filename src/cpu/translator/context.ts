/**
 * The translator's {@link Context}: registers live in locals of the region's function, operands are known while it is emitted. Whatever is rare - a TLB
 * miss, a fault, an exact slow path - leaves the region before the instruction, which the interpreter then executes.
 *
 * Registers that were written are stored before every place where the region may be left, so that such an exit has no registers to save: it stores
 * fuel and flags, and returns a constant that says where it is.
 */

import {
	type I32,
	type I64,
	i32,
	i64,
	i64x2,
	type Local,
	type Relative,
	relativeTo,
	select,
	type V128,
	v128,
} from "../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../wasm/function.ts";
import type { Decoded } from "../decode/decoder.ts";
import { compatibilityAddress, loadBits, storeBits } from "../interpreter/context.ts";
import { RegionOutcome, redoAt } from "../interpreter/module.ts";
import * as layout from "../layout.ts";
import { tlbHit, tlbSlot } from "../mmu/inline.ts";
import { Exit } from "../processor.ts";
import { Gpr, Segment } from "../registers.ts";
import type { Context } from "../semantics/context.ts";
import { ContextBlock } from "../semantics/context-block.ts";
import { sext, zext } from "../semantics/flags.ts";
import type { Operand } from "../semantics/table.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { closed, isSame, type KnownPage, knownPage, Lookup } from "./known-pages.ts";
import * as lazy from "./lazy-flags.ts";

/** Thrown by a context while it emits an instruction that a region cannot hold: the caller emits a call of its variant instead. */
export class NotTranslatable extends Error {}

const STATE = i32.const(layout.STATE);
const GPR_COUNT = 16;
const XMM_COUNT = 16;
/** Pages that are known at a time. */
const KNOWN_PAGES = 6;

/** Which registers a region has in locals. */
export interface RegisterUse {
	readonly gpr: Set<number>;
	readonly xmm: Set<number>;
	flags: boolean;
}

export function noRegisters(): RegisterUse {
	return { gpr: new Set(), xmm: new Set(), flags: false };
}

/** Functions of the main module that regions call. */
export interface RegionFunctions {
	/** See lazy-flags.ts. */
	readonly materialise: FunctionReference;
	/** (record) -> outcome of its variant. */
	readonly callVariant: FunctionReference;
	/** (fuel left) -> i64 time stamp. */
	readonly timeStamp: FunctionReference;
}

/** Where control goes behind a block: what the last instruction said. */
export interface Transfer {
	/** Offset of the target from the start of the entry's page, or the target's address in an expression. */
	readonly target: number | I64;
	/** Falls through where it is 0. */
	readonly condition: I32 | undefined;
}

/** The locals of a region's function, shared by all its instructions. */
export class RegionLocals {
	readonly gpr: Local<"i64">[] = [];
	readonly xmm: Local<"v128">[] = [];
	/** Virtual address of the entry's page, where that may differ: {@link RegionCode.page}. */
	readonly page: Local<"i64">;
	readonly kind: Local<"i32">;
	readonly first: Local<"i64">;
	readonly second: Local<"i64">;
	/** The flags before a step. */
	readonly oldKind: Local<"i32">;
	readonly oldFirst: Local<"i64">;
	readonly oldSecond: Local<"i64">;
	/** {@link Context.mxcsrWord}, where that is known. */
	readonly mxcsrWord: Local<"i32">;
	/** Linear addresses in pages that were looked up: {@link KnownPage}. */
	readonly linear: Local<"i32">[] = [];
	/** Fuel. */
	readonly left: Local<"i32">;

	constructor(f: FunctionBuilder) {
		this.left = f.parameter(0, "i32");
		for (let index = 0; index < GPR_COUNT; index++) this.gpr.push(f.local("i64"));
		for (let index = 0; index < XMM_COUNT; index++) this.xmm.push(f.local("v128"));
		for (let index = 0; index < KNOWN_PAGES; index++) this.linear.push(f.local("i32"));
		this.page = f.local("i64");
		this.mxcsrWord = f.local("i32");
		this.kind = f.local("i32");
		this.first = f.local("i64");
		this.second = f.local("i64");
		this.oldKind = f.local("i32");
		this.oldFirst = f.local("i64");
		this.oldSecond = f.local("i64");
	}
}

/** What is known at a point of the code about the flag locals. */
export interface Knowledge {
	/** The setter's kind, or undefined. */
	kind: number | undefined;
	/** The context block still has the same flags. */
	clean: boolean;
	/** What the general registers are, by their numbers, where that is known to be relative to something. */
	values: (Relative | undefined)[];
	/** Pages that were looked up on the way here, the latest last: at most as many as there are locals for them. */
	pages: KnownPage[];
	/** SIMD instructions have been found available; the local has {@link Context.mxcsrWord}. */
	simd: boolean;
	mxcsr: boolean;
}

export function noKnowledge(clean: boolean): Knowledge {
	return { kind: undefined, clean, values: [], pages: [], simd: false, mxcsr: false };
}

/** What of it holds at the start of a block that control only comes to from here. */
export function passedOn({ kind, clean, values, pages, simd, mxcsr }: Knowledge): Knowledge {
	return { kind, clean, values: [...values], pages: closed(pages), simd, mxcsr };
}

/** What holds wherever either of two does. */
export function meet(one: Knowledge, other: Knowledge): Knowledge {
	const values = one.values.map((value, register) => {
		const same = other.values[register];
		return value !== undefined && same !== undefined && value.to === same.to && value.by === same.by
			? value
			: undefined;
	});
	const pages = one.pages.filter((page) => other.pages.some((same) => isSame(page, same)));
	return {
		kind: one.kind === other.kind ? one.kind : undefined,
		clean: one.clean && other.clean,
		values,
		pages,
		simd: one.simd && other.simd,
		mxcsr: one.mxcsr && other.mxcsr,
	};
}

/** What all the code of a region is in: 64-bit or compatibility mode, and which TLB context translates. */
export interface Place {
	readonly longMode: boolean;
	readonly space: number;
	/** Virtual address of the entry's page, if the region is for that alone. */
	readonly pageAddress: number | undefined;
}

/** What the instructions of a region share while it is emitted. */
export class RegionCode {
	readonly locals: RegionLocals;
	readonly longMode: boolean;
	/** Linear address of the TLB. */
	readonly tlb: number;
	/** Virtual address of the entry's page. */
	readonly page: I64;
	readonly use = noRegisters();
	/** Registers that the context block does not have yet. Empty at every end of a block. */
	private readonly staleGpr = new Set<number>();
	private readonly staleXmm = new Set<number>();
	/** Stand for the bases of segments and for the page of the entry, which stay the same within a region. */
	private readonly bases = new Map<number, object>();

	constructor(
		readonly f: FunctionBuilder,
		readonly functions: RegionFunctions,
		{ longMode, space, pageAddress }: Place,
	) {
		this.longMode = longMode;
		this.tlb = layout.TLB + space * layout.TLB_SIZE;
		this.locals = new RegionLocals(f);
		this.page = pageAddress === undefined ? this.locals.page : i64.const(pageAddress);
	}

	gprWritten(register: number): void {
		this.use.gpr.add(register);
		this.staleGpr.add(register);
	}

	xmmWritten(register: number): void {
		this.use.xmm.add(register);
		this.staleXmm.add(register);
	}

	/** What addresses are relative to that are computed from a slot's value. */
	base(slot: number): object {
		let base = this.bases.get(slot);
		if (base === undefined) {
			base = {};
			this.bases.set(slot, base);
		}
		return base;
	}

	/** Code was called that may change registers, bases, the TLB and control registers. */
	forget(knowledge: Knowledge): void {
		knowledge.values = [];
		knowledge.pages = [];
		knowledge.simd = false;
		knowledge.mxcsr = false;
		this.bases.clear();
	}

	/** A local for the linear address of a page that becomes known; the page that was known for longest has to leave it. */
	linearLocal({ pages }: Knowledge): Local<"i32"> {
		for (const local of this.locals.linear) {
			let free = true;
			for (const { linear } of pages) if (linear === local) free = false;
			if (free) return local;
		}
		return pages.shift()!.linear;
	}

	/** Stores the registers that were written. @param always whether control always comes here, or only on a condition. */
	flush(always: boolean): void {
		const { f, locals } = this;
		for (const register of this.staleGpr) f.store64(STATE, locals.gpr[register]!, register * 8);
		for (const register of this.staleXmm) f.storeV128(STATE, locals.xmm[register]!, layout.XMM + register * 16);
		if (!always) return;
		this.staleGpr.clear();
		this.staleXmm.clear();
	}

	/** Leaves the flags in the context block as the next region takes them. */
	saveFlags({ kind, clean }: Knowledge): void {
		if (clean) return;
		const { f, locals } = this;
		this.use.flags = true;
		const store = (): void => {
			f.store64(STATE, locals.first, layout.FLAG_RESULT);
			f.store64(STATE, locals.second, layout.FLAG_CARRY);
			f.store32(i32.const(0), kind === undefined ? locals.kind : i32.const(kind), layout.FLAG_KIND);
		};
		if (kind === undefined) f.if(lazy.isStepExpression(locals.kind), () => this.materialise(), store);
		else if (lazy.isStep(kind)) this.materialise();
		else store();
	}

	/** Leaves the flags in the context block as words. */
	materialise(): void {
		const { kind, first, second, oldKind, oldFirst, oldSecond } = this.locals;
		this.f.call(this.functions.materialise, kind, first, second, oldKind, oldFirst, oldSecond);
	}

	/** Leaves the region before the instruction at `offset`, `done` instructions behind the last booking of fuel. Registers must be flushed. */
	redo(offset: number, done: number, knowledge: Knowledge): void {
		const { f, locals } = this;
		this.saveFlags(knowledge);
		const outcome = redoAt(offset, done);
		if (outcome !== undefined) {
			f.store32(i32.const(0), locals.left, layout.FUEL_LEFT);
			f.return(i32.const(outcome));
			return;
		}
		const rip = i64.add(this.page, i64.const(offset));
		f.store64(STATE, this.longMode ? rip : zext(rip, 32), layout.RIP);
		f.store32(i32.const(0), i32.sub(locals.left, i32.const(done)), layout.FUEL_LEFT);
		f.return(i32.const(RegionOutcome.redo));
	}
}

export class TranslatorContext extends ContextBlock implements Context {
	readonly rep: "none" | "rep" | "repne";
	readonly vendor: VendorBehaviour;
	readonly operandSize: 16 | 32 | 64;
	readonly addressSize: 16 | 32 | 64;
	/** What the instruction says about control, if anything. */
	transfer: Transfer | undefined;
	private readonly modified = new Map<number, I32>();
	private readonly depth: number;
	/** It has stored to memory: what follows must not leave the region in a way that makes the interpreter read that again. */
	private stored = false;

	readonly f: FunctionBuilder;
	private readonly locals: RegionLocals;
	private readonly use: RegisterUse;

	constructor(
		private readonly code: RegionCode,
		private readonly knowledge: Knowledge,
		private readonly decoded: Decoded,
		/** Of the instruction, from the start of the entry's page. */
		private readonly offset: number,
		/** Instructions of its block before it. */
		private readonly done: number,
		readonly longMode: boolean,
		/** Offset of where it leads to, where it is an indirect branch that the region follows. */
		private readonly expected?: number,
	) {
		super();
		this.f = code.f;
		this.locals = code.locals;
		this.use = code.use;
		this.vendor = decoded.vendor;
		this.operandSize = decoded.operandSize;
		this.addressSize = decoded.addressSize;
		this.rep = decoded.form!.rep === undefined ? "none" : decoded.rep;
		this.depth = this.f.nesting;
	}

	/** Leaves the region before this instruction, where `condition` is not 0 or is not given. */
	private redo(condition?: I32): void {
		const { code, f } = this;
		code.flush(this.always);
		const leave = (): void => code.redo(this.offset, this.done, this.knowledge);
		if (condition === undefined) leave();
		else f.unlikely(condition, leave);
	}

	// ---- registers ----

	/** Whether control comes here whenever the instruction is executed. */
	private get always(): boolean {
		return this.f.nesting === this.depth;
	}

	private readGpr(register: number): I64 {
		this.use.gpr.add(register);
		const local = this.locals.gpr[register]!;
		const { values } = this.knowledge;
		if (this.always) values[register] ??= { to: {}, by: 0 };
		const relative = values[register];
		return relative === undefined ? local : local.knownAs(relative);
	}

	private writeGpr(register: number, value: I64): void {
		this.f.set(this.locals.gpr[register]!, value);
		this.code.gprWritten(register);
		this.knowledge.values[register] = this.always ? value.relative : undefined;
	}

	gpr(register: number, bits = 64): I64 {
		return zext(this.readGpr(register), bits);
	}

	setGpr(register: number, value: I64, bits = 64): void {
		if (bits >= 32) {
			this.writeGpr(register, zext(value, bits));
			return;
		}
		const mask = 2 ** bits - 1;
		const kept = i64.and(this.readGpr(register), i64.const(-mask - 1));
		this.writeGpr(register, i64.or(kept, i64.and(value, i64.const(mask))));
	}

	xmm(register: number): V128 {
		this.use.xmm.add(register);
		return this.locals.xmm[register]!;
	}

	setXmm(register: number, value: V128): void {
		this.f.set(this.locals.xmm[register]!, value);
		this.code.xmmWritten(register);
	}

	/** Number of a register operand; byte registers 4-7 without REX are the second bytes of 0-3. */
	private registerOf(operand: Operand): { register: number; high: boolean } {
		const { form } = operand;
		if (form.kind === "fixedRegister") return { register: form.value, high: false };
		const register = form.kind === "modrmRegister" ? this.decoded.register : this.decoded.rm;
		const high = form.file === "gpr" && operand.bits === 8 && !this.decoded.rex && register >= 4 && register < 8;
		return { register: high ? register - 4 : register, high };
	}

	private immediate(): I64 {
		const { immediateLow, immediateHigh } = this.decoded;
		return i64.const((BigInt(immediateHigh | 0) << 32n) | BigInt(immediateLow >>> 0));
	}

	immediatePair(): I64 {
		return this.immediate();
	}

	read(operand: Operand): I64 {
		const { form, bits } = operand;
		switch (form.kind) {
			case "constant":
				return i64.const(form.value);
			case "immediate":
				return zext(this.immediate(), form.signed ? this.operandSize : bits);
			case "relative":
				return this.immediate();
			case "segment":
			case "control":
			case "debug":
				return i64.const(this.decoded.register);
			default:
				break;
		}
		if (operand.memory) {
			if (form.access === "rw") return this.f.let(loadBits(bits, this.modifiable(operand), 0));
			return this.load(bits, this.virtualAddress(operand));
		}
		if (form.file !== "gpr") throw new NotTranslatable("integer operand of a vector register");
		const { register, high } = this.registerOf(operand);
		const value = this.readGpr(register);
		return this.f.let(zext(high ? i64.shr_u(value, i64.const(8)) : value, bits));
	}

	readSigned(operand: Operand): I64 {
		const { form } = operand;
		if (form.kind === "immediate") {
			return form.signed || form.size === "z" ? this.immediate() : sext(this.immediate(), operand.bits);
		}
		if (form.kind === "relative") return this.immediate();
		return this.f.let(sext(this.read(operand), operand.bits));
	}

	private modifiable(operand: Operand): I32 {
		const known = this.modified.get(operand.index);
		if (known !== undefined) return known;
		const linear = this.translated(layout.TLB_WRITE, this.f.let(this.virtualAddress(operand)), operand.bits / 8);
		this.modified.set(operand.index, linear);
		return linear;
	}

	write(operand: Operand, value: I64): void {
		const { bits } = operand;
		if (operand.memory) {
			const linear = this.modified.get(operand.index);
			if (linear === undefined) this.store(bits, this.virtualAddress(operand), value);
			else storeBits(this.f, bits, linear, value, 0);
			this.stored = true;
			return;
		}
		if (operand.form.file !== "gpr") throw new NotTranslatable("integer operand of a vector register");
		const { register, high } = this.registerOf(operand);
		if (!high) {
			this.setGpr(register, value, bits);
			return;
		}
		const kept = i64.and(this.readGpr(register), i64.const(~0xff00));
		this.writeGpr(register, i64.or(kept, i64.shl(i64.and(value, i64.const(0xff)), i64.const(8))));
	}

	readVector(operand: Operand, aligned = false): V128 {
		const { f } = this;
		if (operand.form.file === "mmx" && !operand.memory) throw new NotTranslatable("MMX");
		if (!operand.memory) {
			if (operand.form.file !== "xmm") throw new NotTranslatable("vector operand of a general register");
			return f.let(this.xmm(this.registerOf(operand).register));
		}
		const address = f.let(this.virtualAddress(operand));
		if (aligned) this.requireAlignment(address);
		const linear = this.translated(layout.TLB_READ, address, operand.bits / 8);
		if (operand.bits === 128) return f.let(v128.load(linear));
		return f.let(operand.bits === 64 ? v128.load64_zero(linear) : v128.load32_zero(linear));
	}

	private requireAlignment(address: I64): void {
		this.redo(i32.and(i32.wrap(address), i32.const(15)));
	}

	writeVector(operand: Operand, value: V128, aligned = false): void {
		const { f } = this;
		if (!operand.memory) {
			if (operand.form.file !== "xmm") throw new NotTranslatable("MMX");
			this.setXmm(this.registerOf(operand).register, value);
			return;
		}
		const address = f.let(this.virtualAddress(operand));
		if (aligned) this.requireAlignment(address);
		if (operand.bits === 128) this.storeVector(address, value);
		else this.store(operand.bits, address, i64x2.extract(f.let(value), 0));
	}

	// ---- addresses and memory ----

	private slot(slot: number): I64 | undefined {
		if (slot === layout.SLOT_ZERO) return undefined;
		if (slot === layout.SLOT_PAGE) return relativeTo(this.code.page, this.code.base(slot), 0);
		return slot < GPR_COUNT ? this.readGpr(slot) : this.state64(slot * 8);
	}

	effectiveAddress(operand: Operand): I64 {
		const { decoded } = this;
		if (operand.form.kind === "moffs") return zext(this.immediate(), decoded.addressSize);
		const ripRelative = decoded.base === layout.SLOT_PAGE;
		const displacement = ripRelative ? decoded.displacement + this.offset + decoded.length : decoded.displacement;
		const index = this.slot(decoded.index);
		const base = this.slot(decoded.base);
		let sum: I64 = i64.const(displacement);
		if (base !== undefined) sum = i64.add(base, sum);
		if (index !== undefined) sum = i64.add(i64.shl(index, i64.const(decoded.scale)), sum);
		return zext(sum, decoded.addressSize);
	}

	virtualAddress(operand: Operand): I64 {
		return this.segmented(this.effectiveAddress(operand), "operand");
	}

	segmented(address: I64, segment: number | "operand"): I64 {
		const first = this.longMode ? layout.SLOT_ES_BASE : layout.SLOT_COMPATIBILITY_BASES;
		const slot = segment === "operand" ? this.decoded.segment : first + segment;
		if (slot === layout.SLOT_ZERO || (this.longMode && slot < layout.SLOT_FS_BASE)) return address;
		const sum = i64.add(address, this.state64(slot * 8));
		if (!this.longMode) {
			// CS and SS are never null there.
			const nullable = slot !== first + Segment.cs && slot !== first + Segment.ss;
			return nullable ? compatibilityAddress(sum) : zext(sum, 32);
		}
		const { constant } = address;
		// A per-CPU variable: GS and a number.
		if (constant === undefined || constant !== BigInt.asIntN(31, constant)) return sum;
		return relativeTo(sum, this.code.base(slot), Number(constant));
	}

	private translated(tag: typeof layout.TLB_READ | typeof layout.TLB_WRITE, address: I64, bytes: number): I32 {
		const { f } = this;
		// The interpreter begins an instruction anew, which must find memory as it was: ENTER reads frames that it may have overwritten.
		if (tag === layout.TLB_READ && this.stored) throw new NotTranslatable("load behind a store");
		const { code, knowledge } = this;
		const { relative } = address;
		const write = tag === layout.TLB_WRITE;
		const known = relative && knownPage(knowledge.pages, relative, bytes, write, this.always);
		// Copies: the locals of known pages may go to others before the instruction is through.
		if (known !== undefined) return f.let(i32.add(known.linear, i32.const(relative!.by - known.first)));
		if (relative === undefined || !this.always) {
			const slot = f.let(tlbSlot(address));
			this.redo(i32.eqz(tlbHit(slot, code.tlb + tag, address, bytes)));
			return f.let(i32.add(i32.wrap(address), i32.load(slot, code.tlb + layout.TLB_ADDEND)));
		}
		const lookup = new Lookup(code.tlb);
		const lowest = f.let(i64.add(address, lookup.distance(0)));
		const slot = f.let(tlbSlot(lowest));
		const page = i64.and(i64.add(lowest, lookup.distance(bytes - 1)), i64.const(-layout.PAGE_SIZE));
		this.redo(i64.ne(page, lookup.tag(slot, tag)));
		const linear = code.linearLocal(knowledge);
		f.set(linear, i32.add(i32.wrap(address), i32.load(slot, code.tlb + layout.TLB_ADDEND)));
		const { to, by } = relative;
		knowledge.pages.push({ to, first: by, linear, low: by, high: by + bytes, writable: write, lookup });
		return f.let(linear);
	}

	load(bits: number, address: I64): I64 {
		return this.f.let(loadBits(bits, this.translated(layout.TLB_READ, this.f.let(address), bits / 8), 0));
	}

	store(bits: number, address: I64, value: I64): void {
		const bound = this.f.let(value);
		const linear = this.translated(layout.TLB_WRITE, this.f.let(address), bits / 8);
		storeBits(this.f, bits, linear, bound, 0);
		this.stored = true;
	}

	loadVector(address: I64): V128 {
		return this.f.let(v128.load(this.translated(layout.TLB_READ, this.f.let(address), 16)));
	}

	storeVector(address: I64, value: V128): void {
		const bound = this.f.let(value);
		this.f.storeV128(this.translated(layout.TLB_WRITE, this.f.let(address), 16), bound);
		this.stored = true;
	}

	checkWrite(bits: number, address: I64): void {
		this.translated(layout.TLB_WRITE, this.f.let(address), bits / 8);
	}

	/** The interpreter begins the instruction anew, and must find memory as it was. */
	storeBeforeFault(): void {
		this.redo();
	}

	linear(): I32 {
		throw new NotTranslatable("bulk access");
	}
	memoryBlock(): I32 {
		throw new NotTranslatable("block access");
	}
	commitBlock(): void {
		throw new NotTranslatable("block access");
	}

	// ---- flags ----

	/** Knowledge gained inside a conditional part holds only there, and spoils what was known before. */
	private know(kind: number): void {
		this.knowledge.kind = this.always ? kind : undefined;
	}

	private touchFlags(): void {
		this.use.flags = true;
		this.knowledge.clean = false;
	}

	availability(check: () => void): void {
		const { knowledge } = this;
		if (knowledge.simd) return;
		check();
		knowledge.simd = this.always;
	}

	mxcsrWord(compute: () => I32): I32 {
		const { f, knowledge, locals } = this;
		if (!knowledge.mxcsr) {
			f.set(locals.mxcsrWord, compute());
			knowledge.mxcsr = this.always;
		}
		return locals.mxcsrWord;
	}

	override setState32(offset: number, value: I32): void {
		if (offset === layout.MXCSR) this.knowledge.mxcsr = false;
		super.setState32(offset, value);
	}

	deferFlags(operation: lazy.FlagOperation, bits: number, left: I64, right: I64): boolean {
		const { f, locals } = this;
		this.touchFlags();
		const kind = lazy.flagKind(operation, bits);
		const sort = lazy.sortOf(kind);
		if (sort !== 0) {
			const before = this.knowledge.kind;
			if (before === undefined) {
				// Behind a step of the same sort, what is kept is still from before that.
				const step = f.let(lazy.isOfSort(locals.kind, sort));
				f.set(locals.oldFirst, select(step, locals.oldFirst, locals.first));
				f.set(locals.oldSecond, select(step, locals.oldSecond, locals.second));
				f.set(locals.oldKind, select(step, locals.oldKind, locals.kind));
			} else if (lazy.sortOf(before) !== sort) {
				f.set(locals.oldKind, i32.const(before));
				f.set(locals.oldFirst, locals.first);
				f.set(locals.oldSecond, locals.second);
			}
		}
		f.set(locals.kind, i32.const(kind));
		f.set(locals.first, left);
		f.set(locals.second, right);
		this.know(kind);
		return true;
	}

	knownCondition(code: number): I32 | undefined {
		const { kind } = this.knowledge;
		if (kind === undefined || kind === lazy.WORDS) return undefined;
		this.use.flags = true;
		const { first, second } = this.locals;
		const positive = lazy.directCondition(kind, code >> 1, first, second);
		if (positive === undefined) return undefined;
		return (code & 1) !== 0 ? i32.eqz(positive) : positive;
	}

	/** Turns the flags into their words. */
	private words(): void {
		const { f, locals } = this;
		this.use.flags = true;
		if (this.knowledge.kind === lazy.WORDS) return;
		const turn = (): void => {
			f.call(
				this.code.functions.materialise,
				locals.kind,
				locals.first,
				locals.second,
				locals.oldKind,
				locals.oldFirst,
				locals.oldSecond,
			);
			f.set(locals.first, i64.load(STATE, layout.FLAG_RESULT));
			f.set(locals.second, i64.load(STATE, layout.FLAG_CARRY));
			f.set(locals.kind, i32.const(lazy.WORDS));
		};
		f.if(locals.kind, turn);
		this.know(lazy.WORDS);
	}

	flagResult(): I64 {
		this.words();
		return this.locals.first;
	}
	flagCarry(): I64 {
		this.words();
		return this.locals.second;
	}
	setFlags(result: I64, carry: I64): void {
		const { f, locals } = this;
		this.touchFlags();
		// Both are computed before either is set: they may come from the old ones.
		const bound = f.let(carry);
		f.set(locals.first, result);
		f.set(locals.second, bound);
		f.set(locals.kind, i32.const(lazy.WORDS));
		this.know(lazy.WORDS);
	}
	setFlagResult(result: I64): void {
		this.words();
		this.touchFlags();
		this.f.set(this.locals.first, result);
	}
	setFlagCarry(carry: I64): void {
		this.words();
		this.touchFlags();
		this.f.set(this.locals.second, carry);
	}

	// ---- control ----

	rip(): I64 {
		return i64.add(this.code.page, i64.const(this.offset));
	}
	nextRip(): I64 {
		const next = i64.add(this.code.page, i64.const(this.offset + this.decoded.length));
		return this.longMode ? next : zext(next, 32);
	}

	expectedTarget(): I64 | undefined {
		return this.expected === undefined ? undefined : i64.add(this.code.page, i64.const(this.expected));
	}

	jump(target: I64): void {
		this.transfer = { target: this.f.let(target), condition: undefined };
	}

	branch(_offset: Operand, condition?: I32): void {
		const { decoded } = this;
		// With a 16-bit operand size the target is cut to 16 bits, and so lies in another page.
		if (this.operandSize === 16) throw new NotTranslatable("branch with a 16-bit target");
		const distance = (decoded.immediateHigh | 0) * 2 ** 32 + (decoded.immediateLow >>> 0);
		this.transfer = { target: this.offset + decoded.length + distance, condition };
	}

	endBlock(): void {
		this.transfer = { target: this.offset + this.decoded.length, condition: undefined };
	}

	raise(): void {
		this.redo();
	}
	raiseVector(): void {
		this.redo();
	}
	faulted(): void {
		this.redo();
	}

	/** A service in a conditional part is a slow path: the interpreter takes it. */
	service(): I32 {
		if (this.always) throw new NotTranslatable("service");
		this.redo();
		return i32.const(0);
	}
	exit(reason: Exit): void {
		if (!this.always) this.redo();
		else if (reason === Exit.timeStamp) this.timeStamp();
		else throw new NotTranslatable("exit");
	}

	/** RDTSC: the one exit that the processor deals with itself, without leaving the region. */
	private timeStamp(): void {
		const { code, f, locals } = this;
		const left = i32.sub(locals.left, i32.const(this.done + 1));
		const ticks = f.let(f.callFor("i64", code.functions.timeStamp, left));
		this.setGpr(Gpr.rax, ticks, 32);
		this.setGpr(Gpr.rdx, i64.shr_u(ticks, i64.const(32)));
	}
	again(): void {
		throw new NotTranslatable("repeated instruction");
	}
	transferred(): void {
		throw new NotTranslatable("transfer");
	}
}
