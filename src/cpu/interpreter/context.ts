/**
 * The interpreter's {@link Context}: registers live in the context block, operands are found through the decoded record.
 * The same code is emitted as a case of the interpreter's switch or as a function of its own; {@link Ending} is what differs.
 */

import { type I32, type I64, i32, i64, i64x2, type Local, type V128, v128 } from "../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../wasm/function.ts";
import * as layout from "../layout.ts";
import { emitTranslate, tlbEntry, tlbHit, tlbLinear } from "../mmu/inline.ts";
import type { MmuFunctions } from "../mmu/walk.ts";
import { type Exit, Vector } from "../processor.ts";
import type { Context, Service } from "../semantics/context.ts";
import { ContextBlock } from "../semantics/context-block.ts";
import { sext, zext } from "../semantics/flags.ts";
import type { Operand, OperandForm } from "../semantics/table.ts";
import type { VendorBehaviour } from "../vendor.ts";
import * as record from "./record.ts";

/** How an instruction's code says what comes next. */
export interface Ending {
	/** Faulted: the exception is in the context block. */
	fault(): void;
	/** RIP is set: go on there. The instruction counts. */
	jump(): void;
	/** RIP is set: go on there, to the same instruction. It does not count. */
	again(): void;
	/** RIP and EXIT_REASON are set: leave. The instruction counts. */
	exit(): void;
	/** A relative branch that is taken. */
	branch(): void;
}

export type ServiceFunctions = Readonly<Record<Service, FunctionReference>>;

const STATE = i32.const(layout.STATE);

function bitsOf(form: OperandForm, operandSize: 16 | 32 | 64): number {
	switch (form.size) {
		case "v":
			return operandSize;
		case "z":
			return operandSize === 16 ? 16 : 32;
		case "y":
			return operandSize === 64 ? 64 : 32;
		case "none":
			return operandSize;
		default:
			return form.size;
	}
}

/** The operands of a variant, in order, for its semantics. */
export function operandsOf(variant: record.Variant): Operand[] {
	return variant.form.operands.map((form, index) => ({
		form,
		index,
		bits: bitsOf(form, variant.operandSize),
		memory: form.kind === "moffs" || (form.kind === "modrmRm" && variant.addressing !== "register"),
	}));
}

export class InterpreterContext extends ContextBlock implements Context {
	readonly operandSize: 16 | 32 | 64;
	readonly addressSize: 16 | 32 | 64;
	readonly longMode: boolean;
	readonly rep: "none" | "rep" | "repne";
	/** Linear addresses of memory operands that are modified, by operand. */
	private readonly modified = new Map<number, Local<"i32">>();

	constructor(
		readonly f: FunctionBuilder,
		private readonly variant: record.Variant,
		private readonly ip: I32,
		private readonly tlb: I32,
		private readonly mmu: MmuFunctions,
		private readonly services: ServiceFunctions,
		private readonly ending: Ending,
		readonly vendor: VendorBehaviour,
	) {
		super();
		this.operandSize = variant.operandSize;
		this.addressSize = variant.addressSize;
		this.longMode = variant.longMode;
		this.rep = variant.rep;
	}

	private field(offset: number): I32 {
		return i32.load8_u(this.ip, offset);
	}

	/** Record field and context offset of the register file of a register operand. */
	private registerAddress(operand: Operand): { address: I32; offset: number } {
		const { form } = operand;
		const offset =
			form.file === "xmm"
				? layout.STATE + layout.XMM
				: form.file === "mmx"
					? layout.STATE + layout.X87_REGISTERS
					: layout.STATE + layout.REGISTERS;
		if (form.kind === "fixedRegister") return { address: i32.const(form.value * 8), offset };
		return {
			address: this.field(form.kind === "modrmRegister" ? record.FIELD_A : record.FIELD_B),
			offset,
		};
	}

	read(operand: Operand): I64 {
		const { form, bits } = operand;
		switch (form.kind) {
			case "constant":
				return i64.const(form.value);
			case "immediate": {
				const immediate = i64.load(this.ip, record.IMMEDIATE);
				return this.f.let(bits < 64 ? zext(immediate, form.signed ? this.operandSize : bits) : immediate);
			}
			case "relative":
				return i64.load(this.ip, record.IMMEDIATE);
			case "segment":
			case "control":
			case "debug":
				return i64.extend_i32_u(this.field(record.FIELD_A));
			default:
				break;
		}
		if (operand.memory) {
			if (form.access === "rw") return this.readModified(operand);
			return this.load(bits, this.virtualAddress(operand));
		}
		const { address, offset } = this.registerAddress(operand);
		return this.f.let(loadBits(bits, address, offset));
	}

	/** A number of a segment, control or debug register operand. */
	readSigned(operand: Operand): I64 {
		if (operand.form.kind === "immediate") {
			const immediate = i64.load(this.ip, record.IMMEDIATE);
			return operand.form.signed || operand.form.size === "z"
				? this.f.let(immediate)
				: this.f.let(sext(immediate, operand.bits));
		}
		if (operand.form.kind === "relative") return i64.load(this.ip, record.IMMEDIATE);
		return this.f.let(sext(this.read(operand), operand.bits));
	}

	private readModified(operand: Operand): I64 {
		const linear = this.modifiable(operand);
		return this.f.let(loadBits(operand.bits, linear, 0));
	}

	/** Linear address of a memory operand that will be written; its fault, if any, happens here. */
	private modifiable(operand: Operand): Local<"i32"> {
		const known = this.modified.get(operand.index);
		if (known !== undefined) return known;
		const linear = this.linearForWriting(this.f.let(this.virtualAddress(operand)), operand.bits / 8);
		this.modified.set(operand.index, linear);
		return linear;
	}

	write(operand: Operand, value: I64): void {
		const { f } = this;
		const { bits } = operand;
		if (operand.memory) {
			const linear = this.modified.get(operand.index);
			if (linear === undefined) {
				this.store(bits, this.virtualAddress(operand), value);
				return;
			}
			storeBits(f, bits, linear, value, 0);
			f.if(i32.eq(linear, i32.const(layout.CROSSING)), () => f.call(this.mmu.commitCrossing));
			return;
		}
		const { address, offset } = this.registerAddress(operand);
		if (operand.form.file === "gpr" && bits === 32) {
			f.store64(address, zext(value, 32), offset);
		} else storeBits(f, bits, address, value, offset);
	}

	readVector(operand: Operand, aligned = false): V128 {
		const { f } = this;
		if (!operand.memory) {
			const { address, offset } = this.registerAddress(operand);
			return f.let(operand.form.file === "mmx" ? v128.load64_zero(address, offset) : v128.load(address, offset));
		}
		const address = f.let(this.virtualAddress(operand));
		if (aligned) this.requireAlignment(address);
		const linear = this.linearForReading(address, operand.bits / 8);
		switch (operand.bits) {
			case 128:
				return f.let(v128.load(linear));
			case 64:
				return f.let(v128.load64_zero(linear));
			case 32:
				return f.let(v128.load32_zero(linear));
			default:
				throw new RangeError(`vector operand of ${operand.bits} bits`);
		}
	}

	private requireAlignment(address: I64): void {
		this.f.if(i32.and(i32.wrap(address), i32.const(15)), () => this.raise(Vector.generalProtection));
	}

	writeVector(operand: Operand, value: V128, aligned = false): void {
		const { f } = this;
		if (!operand.memory) {
			const { address, offset } = this.registerAddress(operand);
			if (operand.form.file === "mmx") {
				const bound = f.let(value);
				f.store64(address, i64x2.extract(bound, 0), offset);
				// As an x87 register it is a NaN or infinity: sign and exponent all ones.
				f.store16(address, i32.const(0xffff), offset + 8);
			} else f.storeV128(address, value, offset);
			return;
		}
		const address = f.let(this.virtualAddress(operand));
		if (aligned) this.requireAlignment(address);
		if (operand.bits === 128) this.storeVector(address, value);
		else this.store(operand.bits, address, i64x2.extract(f.let(value), 0));
	}

	effectiveAddress(operand: Operand): I64 {
		if (operand.form.kind === "moffs") {
			const address = i64.load(this.ip, record.IMMEDIATE);
			return this.variant.addressSize === 64 ? address : zext(address, this.variant.addressSize);
		}
		const slot = (field: number): I64 => i64.load(this.field(field), layout.STATE);
		const displacement = i64.load32_s(this.ip, record.DISPLACEMENT);
		if (this.variant.addressing === "base") return i64.add(slot(record.FIELD_BASE), displacement);
		const sum = i64.add(
			i64.add(
				slot(record.FIELD_BASE),
				i64.shl(slot(record.FIELD_INDEX), i64.extend_i32_u(this.field(record.FIELD_SCALE))),
			),
			displacement,
		);
		return zext(sum, this.variant.addressSize);
	}

	virtualAddress(operand: Operand): I64 {
		const offset = this.effectiveAddress(operand);
		if (this.variant.addressing === "base" && operand.form.kind !== "moffs") return offset;
		const address = i64.add(offset, i64.load(this.field(record.FIELD_SEGMENT), layout.STATE));
		return this.longMode ? address : compatibilityAddress(address);
	}

	memoryBlock(operand: Operand, bytes: number, access: "r" | "w"): I32 {
		const address = this.f.let(this.virtualAddress(operand));
		return access === "r" ? this.linearForReading(address, bytes) : this.linearForWriting(address, bytes);
	}

	commitBlock(linear: I32): void {
		this.f.if(i32.eq(linear, i32.const(layout.CROSSING)), () => this.f.call(this.mmu.commitCrossing));
	}

	private linearForReading(address: I64, bytes: number): Local<"i32"> {
		return this.translated(layout.TLB_READ, this.mmu.slowRead, address, bytes);
	}
	private linearForWriting(address: I64, bytes: number): Local<"i32"> {
		return this.translated(layout.TLB_WRITE, this.mmu.slowModify, address, bytes);
	}
	private translated(
		tag: typeof layout.TLB_READ | typeof layout.TLB_WRITE,
		slow: FunctionReference,
		address: I64,
		bytes: number,
	): Local<"i32"> {
		const { f } = this;
		const linear = f.local("i32");
		const miss = f.callFor("i32", slow, address, i32.const(bytes));
		emitTranslate(f, linear, this.tlb, tag, address, bytes, miss, () => this.ending.fault());
		return linear;
	}

	load(bits: number, address: I64): I64 {
		const linear = this.linearForReading(this.f.let(address), bits / 8);
		return this.f.let(loadBits(bits, linear, 0));
	}

	private storeWith(bytes: number, address: I64, put: (linear: I32, offset: number) => void): void {
		const { f } = this;
		const bound = f.let(address);
		const entry = f.let(tlbEntry(this.tlb, bound));
		f.if(
			tlbHit(entry, layout.TLB_WRITE, bound, bytes),
			() => put(tlbLinear(entry, bound), 0),
			() => {
				put(i32.const(0), layout.STORE_BUFFER);
				f.if(i32.eqz(f.callFor("i32", this.mmu.slowStore, bound, i32.const(bytes))), () => this.ending.fault());
			},
		);
	}

	store(bits: number, address: I64, value: I64): void {
		const bound = this.f.let(value);
		this.storeWith(bits / 8, address, (linear, offset) => storeBits(this.f, bits, linear, bound, offset));
	}

	loadVector(address: I64): V128 {
		return this.f.let(v128.load(this.linearForReading(this.f.let(address), 16)));
	}

	storeVector(address: I64, value: V128): void {
		const bound = this.f.let(value);
		this.storeWith(16, address, (linear, offset) => this.f.storeV128(linear, bound, offset));
	}

	linear(address: I64, access: "r" | "w"): I32 {
		if (access === "r") return this.linearForReading(address, 1);
		return this.linearForWriting(address, 1);
	}

	checkWrite(bits: number, address: I64): void {
		this.linearForWriting(this.f.let(address), bits / 8);
	}

	storeBeforeFault(bits: number, address: I64, value: I64): void {
		this.store(bits, address, value);
	}

	immediatePair(): I64 {
		return this.f.let(i64.load(this.ip, record.IMMEDIATE));
	}

	gpr(register: number, bits = 64): I64 {
		return loadBits(bits, i32.const(register * 8), layout.STATE);
	}

	setGpr(register: number, value: I64, bits = 64): void {
		const address = i32.const(register * 8);
		if (bits === 32) this.f.store64(address, zext(value, 32), layout.STATE);
		else storeBits(this.f, bits, address, value, layout.STATE);
	}

	xmm(register: number): V128 {
		return v128.load(STATE, layout.XMM + register * 16);
	}
	setXmm(register: number, value: V128): void {
		this.f.storeV128(STATE, value, layout.XMM + register * 16);
	}

	segmented(address: I64, segment: number | "operand"): I64 {
		if (segment === "operand") {
			const { addressSize } = this.variant;
			const offset = addressSize === 16 ? zext(address, 16) : address;
			const sum = i64.add(offset, i64.load(this.field(record.FIELD_SEGMENT), layout.STATE));
			return this.longMode ? sum : compatibilityAddress(sum);
		}
		if (this.longMode) {
			return segment < 4 ? address : i64.add(address, this.state64((layout.SLOT_ES_BASE + segment) * 8));
		}
		return compatibilityAddress(i64.add(address, this.state64((layout.SLOT_COMPATIBILITY_BASES + segment) * 8)));
	}

	availability(check: () => void): void {
		check();
	}
	mxcsrWord(compute: () => I32): I32 {
		return this.f.let(compute());
	}

	deferFlags(): boolean {
		return false;
	}
	knownCondition(): undefined {
		return undefined;
	}
	flagResult(): I64 {
		return this.state64(layout.FLAG_RESULT);
	}
	flagCarry(): I64 {
		return this.state64(layout.FLAG_CARRY);
	}
	setFlags(result: I64, carry: I64): void {
		this.setState64(layout.FLAG_RESULT, result);
		this.setState64(layout.FLAG_CARRY, carry);
	}
	setFlagResult(result: I64): void {
		this.setState64(layout.FLAG_RESULT, result);
	}
	setFlagCarry(carry: I64): void {
		this.setState64(layout.FLAG_CARRY, carry);
	}

	private page(): I64 {
		return this.state64(layout.SLOT_PAGE * 8);
	}
	rip(): I64 {
		return i64.add(this.page(), i64.load16_u(this.ip, record.OFFSET));
	}
	nextRip(): I64 {
		const next = i64.add(this.page(), i64.load16_u(this.ip, record.NEXT));
		return this.longMode ? next : zext(next, 32);
	}

	expectedTarget(): undefined {
		return undefined;
	}
	jump(target: I64): void {
		this.setState64(layout.RIP, target);
		this.ending.jump();
	}

	branch(offset: Operand, condition?: I32): void {
		const taken = (): void => {
			const target = i64.add(this.nextRip(), this.read(offset));
			const width = this.operandSize === 16 ? 16 : this.longMode ? 64 : 32;
			this.setState64(layout.RIP, width === 64 ? target : zext(target, width));
			this.ending.branch();
		};
		if (condition === undefined) taken();
		else this.f.if(condition, taken);
	}

	raise(vector: number, errorCode: I32 = i32.const(0)): void {
		this.setState32(layout.VECTOR, i32.const(vector));
		this.setState32(layout.ERROR_CODE, errorCode);
		this.ending.fault();
	}

	raiseVector(vector: I32): void {
		this.setState32(layout.VECTOR, vector);
		this.setState32(layout.ERROR_CODE, i32.const(0));
		this.ending.fault();
	}

	faulted(): void {
		this.ending.fault();
	}

	transferred(reason: Exit): void {
		this.f.store32(i32.const(layout.EXIT_REASON), i32.const(reason));
		this.ending.exit();
	}

	exit(reason: Exit, vector: I32 = i32.const(0)): void {
		this.setState32(layout.VECTOR, vector);
		this.setState32(layout.ERROR_CODE, i32.const(0));
		this.setState64(layout.RIP, this.nextRip());
		this.f.store32(i32.const(layout.EXIT_REASON), i32.const(reason));
		this.f.store32(
			i32.const(layout.EXIT_LENGTH),
			i32.sub(i32.load16_u(this.ip, record.NEXT), i32.load16_u(this.ip, record.OFFSET)),
		);
		this.ending.exit();
	}

	again(): void {
		this.setState64(layout.RIP, this.rip());
		this.ending.again();
	}

	service(service: Service, first: I32, second: I32): I32 {
		return this.f.let(this.f.callFor("i32", this.services[service], first, second));
	}

	endBlock(): void {
		this.setState64(layout.RIP, this.nextRip());
		this.ending.jump();
	}
}

/**
 * The virtual address of an offset in a segment outside 64-bit mode, from its sum with a slot of {@link layout.SLOT_COMPATIBILITY_BASES}: 32 bits,
 * and for a null segment the one more that makes it fault.
 */
export function compatibilityAddress(sum: I64): I64 {
	return i64.and(sum, i64.const(layout.NULL_SEGMENT + 0xffff_ffff));
}

export function loadBits(bits: number, address: I32, offset: number): I64 {
	switch (bits) {
		case 8:
			return i64.load8_u(address, offset);
		case 16:
			return i64.load16_u(address, offset);
		case 32:
			return i64.load32_u(address, offset);
		case 64:
			return i64.load(address, offset);
		default:
			throw new RangeError(`integer operand of ${bits} bits`);
	}
}

export function storeBits(f: FunctionBuilder, bits: number, address: I32, value: I64, offset: number): void {
	switch (bits) {
		case 8:
			f.store8(address, value, offset);
			break;
		case 16:
			f.store16(address, value, offset);
			break;
		case 32:
			f.store32of64(address, value, offset);
			break;
		case 64:
			f.store64(address, value, offset);
			break;
		default:
			throw new RangeError(`integer operand of ${bits} bits`);
	}
}
