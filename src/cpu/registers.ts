/**
 * A vCPU's registers, seen from TypeScript: accessors over a context block in linear memory.
 * `base` is STATE while the vCPU runs and its slot of CONTEXTS while it does not, so holders of a Registers object
 * need not know which. 64-bit values are numbers: virtual addresses signed and exact when canonical; use lo/hi or the
 * `big` accessors where all 64 bits matter.
 */

import type { Memory } from "../memory/memory.ts";
import * as layout from "./layout.ts";
import { packFlags, unpackFlags } from "./semantics/flag-words.ts";

/** General registers by their numbers in instruction encodings. */
export const Gpr = {
	rax: 0,
	rcx: 1,
	rdx: 2,
	rbx: 3,
	rsp: 4,
	rbp: 5,
	rsi: 6,
	rdi: 7,
	r8: 8,
	r9: 9,
	r10: 10,
	r11: 11,
	r12: 12,
	r13: 13,
	r14: 14,
	r15: 15,
} as const;
export type GprName = keyof typeof Gpr;

/** Segment registers by their numbers in instruction encodings. */
export const Segment = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5 } as const;
export type SegmentName = keyof typeof Segment;

/** Bits of RFLAGS. */
export const Flag = {
	CF: 0x1,
	PF: 0x4,
	AF: 0x10,
	ZF: 0x40,
	SF: 0x80,
	TF: 0x100,
	IF: 0x200,
	DF: 0x400,
	OF: 0x800,
	IOPL: 0x3000,
	NT: 0x4000,
	RF: 0x1_0000,
	VM: 0x2_0000,
	AC: 0x4_0000,
	VIF: 0x8_0000,
	VIP: 0x10_0000,
	ID: 0x20_0000,
} as const;

export const ARITHMETIC_FLAGS = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;

export class Registers {
	constructor(
		private readonly memory: Memory,
		public base: number,
	) {}

	/** General register as a signed number. */
	get(register: number): number {
		return this.memory.i64(this.base + register * 8);
	}
	set(register: number, value: number): void {
		this.memory.setU64(this.base + register * 8, value);
	}
	low(register: number): number {
		return this.memory.u32(this.base + register * 8);
	}
	high(register: number): number {
		return this.memory.u32(this.base + register * 8 + 4);
	}
	setHalves(register: number, low: number, high: number): void {
		this.memory.setU32(this.base + register * 8, low);
		this.memory.setU32(this.base + register * 8 + 4, high);
	}
	big(register: number): bigint {
		return this.memory.big(this.base + register * 8);
	}
	setBig(register: number, value: bigint): void {
		this.memory.setBig(this.base + register * 8, value);
	}

	get rip(): number {
		return this.memory.i64(this.base + layout.RIP);
	}
	set rip(value: number) {
		this.memory.setU64(this.base + layout.RIP, value);
	}
	setRipHalves(low: number, high: number): void {
		this.memory.setU32(this.base + layout.RIP, low);
		this.memory.setU32(this.base + layout.RIP + 4, high);
	}

	/** RFLAGS, materialised from the lazy flags. */
	get rflags(): number {
		const { memory, base } = this;
		return memory.u32(base + layout.FLAGS_OTHER) | packFlags(memory, base);
	}
	set rflags(value: number) {
		this.memory.setU32(this.base + layout.FLAGS_OTHER, (value & ~ARITHMETIC_FLAGS) | 2);
		unpackFlags(this.memory, this.base, value);
	}

	get cr2(): number {
		return this.memory.i64(this.base + layout.CR2);
	}
	set cr2(value: number) {
		this.memory.setU64(this.base + layout.CR2, value);
	}
	get vector(): number {
		return this.memory.u32(this.base + layout.VECTOR);
	}
	get errorCode(): number {
		return this.memory.u32(this.base + layout.ERROR_CODE);
	}

	selector(segment: number): number {
		return this.memory.u16(this.base + layout.SELECTORS + segment * 2);
	}
	setSelector(segment: number, selector: number): void {
		this.memory.setU16(this.base + layout.SELECTORS + segment * 2, selector);
	}
	segmentBase(segment: number): number {
		return this.memory.i64(this.base + (layout.SLOT_ES_BASE + segment) * 8);
	}
	/** A load sets the selector first: whether it is null counts in compatibility mode. */
	setSegmentBase(segment: number, value: number): void {
		this.memory.setU64(this.base + (layout.SLOT_ES_BASE + segment) * 8, value);
		this.setCompatibilityBase(segment);
	}
	private setCompatibilityBase(segment: number): void {
		const { memory, base } = this;
		const slot = base + (layout.SLOT_COMPATIBILITY_BASES + segment) * 8;
		if ((this.selector(segment) & ~3) === 0) memory.setU64(slot, layout.NULL_SEGMENT);
		else memory.setU64(slot, memory.u32(base + (layout.SLOT_ES_BASE + segment) * 8));
	}
	/**
	 * Ends a transfer of control that may lead to compatibility mode, after RIP, RSP, mode and segments have been set. Outside 64-bit mode there are
	 * only EIP and ESP, and what is in the segment registers counts.
	 */
	finishTransfer(): void {
		if (this.longMode) return;
		this.memory.setU32(this.base + layout.RIP + 4, 0);
		this.memory.setU32(this.base + Gpr.rsp * 8 + 4, 0);
		for (let segment = Segment.es; segment <= Segment.gs; segment++) this.setCompatibilityBase(segment);
	}
	/** Null selectors of DS, ES, FS and GS become 0, as a return to an outer privilege level leaves them (SDM volume 2, IRET). */
	clearNullSelectors(): void {
		for (const segment of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) {
			if (this.selector(segment) < 4) this.setSelector(segment, 0);
		}
	}
	/** 64-bit mode (CS.L set) or compatibility mode. */
	get longMode(): boolean {
		return this.memory.u8(this.base + layout.LONG_MODE) !== 0;
	}
	set longMode(value: boolean) {
		this.memory.setU8(this.base + layout.LONG_MODE, value ? 1 : 0);
	}
	get cpl(): number {
		return this.memory.u8(this.base + layout.CPL);
	}
	set cpl(value: number) {
		this.memory.setU8(this.base + layout.CPL, value);
	}
	/** TLB context: 0 guest kernel, 1 guest user. */
	get addressSpace(): number {
		return this.memory.u8(this.base + layout.ADDRESS_SPACE);
	}
	set addressSpace(value: number) {
		this.memory.setU8(this.base + layout.ADDRESS_SPACE, value);
	}

	/** CR0, CR3, CR4 by their layout offset (layout.CR0 ...), EFER, XCR0, TSC_AUX likewise. */
	control(offset: number): number {
		return this.memory.u64(this.base + offset);
	}
	setControl(offset: number, value: number): void {
		this.memory.setU64(this.base + offset, value);
	}
	/** DR0-3 as index 0-3, DR6 as 4, DR7 as 5. */
	debug(index: number): number {
		return this.memory.i64(this.base + layout.DEBUG_REGISTERS + index * 8);
	}
	setDebug(index: number, value: number): void {
		this.memory.setU64(this.base + layout.DEBUG_REGISTERS + index * 8, value);
	}
}
