/**
 * The running vCPU as the emitted fast paths see it: its registers (the context block, cpu/layout.ts) and its block (vcpu-block.ts), as typed
 * expressions by the names that TypeScript uses too.
 */
import {
	ADDRESS_SPACE,
	FLAG_CARRY,
	FLAG_RESULT,
	FLAGS_OTHER,
	LONG_MODE,
	RIP,
	SELECTORS,
	SLOT_CS_BASE,
	SLOT_GS_BASE,
	SLOT_SS_BASE,
} from "../../../cpu/layout.ts";
import { ARITHMETIC_FLAGS, Segment } from "../../../cpu/registers.ts";
import { ContextBlock } from "../../../cpu/semantics/context-block.ts";
import { packArithmetic, unpackArithmetic } from "../../../cpu/semantics/flags.ts";
import { f64, type I32, type I64, i32, i64 } from "../../../wasm/expression.ts";
import type { FunctionBuilder } from "../../../wasm/function.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64, VCPU_INFO_UPCALL_MASK } from "../../abi/arch.ts";
import { type gate, SHARED, shared, vcpuBlock } from "../../vcpu-block.ts";

const ZERO = i32.const(0);
const BLOCK = vcpuBlock.offset;
const SHARED_OFFSET = shared.offset;

/** Callbacks, by their names in the block. */
export type CallbackName = "eventCallback" | "syscallCallback";

export class GuestState extends ContextBlock {
	/** Linear address of the vCPU's block. */
	readonly block: I32;

	constructor(readonly f: FunctionBuilder) {
		super();
		this.block = f.let(i32.load(ZERO, SHARED + SHARED_OFFSET.currentBlock));
	}

	gpr(register: number): I64 {
		return this.state64(register * 8);
	}
	setGpr(register: number, value: I64): void {
		this.setState64(register * 8, value);
	}
	get rip(): I64 {
		return this.state64(RIP);
	}
	set rip(value: I64) {
		this.setState64(RIP, value);
	}
	selector(segment: number): I32 {
		return this.state16(SELECTORS + segment * 2);
	}

	byte(field: keyof typeof BLOCK): I32 {
		return i32.load8_u(this.block, BLOCK[field]);
	}
	word(field: keyof typeof BLOCK): I32 {
		return i32.load(this.block, BLOCK[field]);
	}
	long(field: keyof typeof BLOCK): I64 {
		return i64.load(this.block, BLOCK[field]);
	}
	setByte(field: keyof typeof BLOCK, value: I32): void {
		this.f.store8(this.block, value, BLOCK[field]);
	}
	setWord(field: keyof typeof BLOCK, value: I32): void {
		this.f.store32(this.block, value, BLOCK[field]);
	}
	setLong(field: keyof typeof BLOCK, value: I64): void {
		this.f.store64(this.block, value, BLOCK[field]);
	}

	/** Byte of vcpu_info that masks events. */
	get upcallMask(): I32 {
		return i32.load8_u(this.word("vcpuInfo"), VCPU_INFO_UPCALL_MASK);
	}
	set upcallMask(value: I32) {
		this.f.store8(this.word("vcpuInfo"), value, VCPU_INFO_UPCALL_MASK);
	}

	/** RFLAGS with the arithmetic flags. */
	get rflags(): I32 {
		return i32.or(this.state32(FLAGS_OTHER), i32.wrap(packArithmetic(this)));
	}
	set rflags(value: I32) {
		const bits = this.f.let(value);
		this.setState32(FLAGS_OTHER, i32.or(i32.and(bits, i32.const(~ARITHMETIC_FLAGS)), i32.const(2)));
		unpackArithmetic(this, i64.extend_i32_u(bits));
	}
	flagResult(): I64 {
		return this.state64(FLAG_RESULT);
	}
	flagCarry(): I64 {
		return this.state64(FLAG_CARRY);
	}
	setFlags(result: I64, carry: I64): void {
		this.setState64(FLAG_RESULT, result);
		this.setState64(FLAG_CARRY, carry);
	}

	/** CS and SS as every entry into a 64-bit PV kernel finds them. */
	setFlatSegments(): void {
		this.setCode(i32.const(FLAT_RING3_CS64));
		this.setStack(i32.const(FLAT_RING3_SS64), i64.const(0));
	}
	/** CS, of 64-bit mode. */
	setCode(selector: I32): void {
		this.setState16(SELECTORS + Segment.cs * 2, selector);
		this.setState64(SLOT_CS_BASE * 8, i64.const(0));
		this.setState8(LONG_MODE, i32.const(1));
	}
	setStack(selector: I32, base: I64): void {
		this.setState16(SELECTORS + Segment.ss * 2, selector);
		this.setState64(SLOT_SS_BASE * 8, base);
	}

	/** Null selectors of DS, ES, FS and GS become 0: registers.ts, clearNullSelectors. In 64-bit mode all are 0 as a rule. */
	clearNullSelectors(): void {
		const { f } = this;
		// ES, CS, SS, DS; FS, GS.
		const first = i64.and(this.state64(SELECTORS), i64.const(0xffff_0000_0000_ffffn));
		const any = i64.or(first, i64.extend_i32_u(this.state32(SELECTORS + Segment.fs * 2)));
		f.if(i64.ne(any, i64.const(0)), () => {
			for (const segment of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) {
				const selector = f.let(this.selector(segment));
				f.if(i32.lt_u(selector, i32.const(4)), () => this.setState16(SELECTORS + segment * 2, ZERO));
			}
		});
	}

	/** From user mode to the guest's kernel: traps.ts, toggleGuestMode. */
	enterKernelMode(): void {
		this.setLong("gsBaseUser", this.state64(SLOT_GS_BASE * 8));
		this.setState64(SLOT_GS_BASE * 8, this.long("gsBaseKernel"));
		this.setState8(ADDRESS_SPACE, ZERO);
		this.setByte("kernelMode", i32.const(1));
	}
	enterUserMode(): void {
		this.setLong("gsBaseKernel", this.state64(SLOT_GS_BASE * 8));
		this.setState64(SLOT_GS_BASE * 8, this.long("gsBaseUser"));
		this.setState8(ADDRESS_SPACE, i32.const(1));
		this.setByte("kernelMode", ZERO);
	}

	/** Counts one more in a counter of {@link shared}. */
	count(counter: keyof typeof SHARED_OFFSET, index = 0): void {
		const offset = SHARED + SHARED_OFFSET[counter] + index * 8;
		this.f.storeF64(ZERO, f64.add(f64.load(ZERO, offset), f64.const(1)), offset);
	}
}

/** A field of the trap table's entry of a vector. */
export function trapField(vector: number, offset: number, gateSize: typeof gate.size): number {
	return BLOCK.traps + vector * gateSize + offset;
}

/** Any of the bits. */
export const anyOf = (word: I32, bits: number): I32 => i32.and(word, i32.const(bits));

/** Returns 0 from an emitted fast path where `condition` holds: it has changed nothing, and TypeScript takes over. */
export function leaveIf(f: FunctionBuilder, condition: I32): void {
	f.if(condition, () => f.return(ZERO));
}
