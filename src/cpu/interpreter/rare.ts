/**
 * Instructions that run in TypeScript because they are rare: segment loads and far transfers, descriptor queries, x87 and its state
 * images, random numbers. Operations work on the running context in linear memory.
 *
 * An operation returns a {@link RareOutcome}; for `fault` it has put vector and error code into the context block, for `transfer` RIP.
 */

import type { Memory } from "../../memory/memory.ts";
import { fxrstor, fxsave, XsaveForm, xrstor, xsave } from "../fpu/save.ts";
import { executeX87 } from "../fpu/x87.ts";
import * as layout from "../layout.ts";
import { Access, type Environment, Vector } from "../processor.ts";
import { ARITHMETIC_FLAGS, Flag, Gpr, Registers, Segment } from "../registers.ts";
import { packFlags, unpackFlags } from "../semantics/flag-words.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { LOAD_SHADOWS, type RareOperation, RareOutcome, rareOperations } from "./rare-operations.ts";

const STATE = layout.STATE;

/** A segment descriptor's parts (SDM volume 3, 3.4.5). */
interface Descriptor {
	readonly base: number;
	readonly limit: number;
	readonly type: number;
	/** Code or data, not system. */
	readonly ordinary: boolean;
	readonly dpl: number;
	readonly present: boolean;
	readonly longMode: boolean;
	readonly big: boolean;
	readonly access: number;
}

function parseDescriptor(low: number, high: number): Descriptor {
	const granular = (high & 0x80_0000) !== 0;
	const limit = (low & 0xffff) | (high & 0xf_0000);
	return {
		base: ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0,
		limit: granular ? limit * 4096 + 4095 : limit,
		type: (high >>> 8) & 15,
		ordinary: (high & 0x1000) !== 0,
		dpl: (high >>> 13) & 3,
		present: (high & 0x8000) !== 0,
		longMode: (high & 0x20_0000) !== 0,
		big: (high & 0x40_0000) !== 0,
		access: high & 0x00f0_ff00,
	};
}

const CODE = 8;
const CONFORMING = 4;
/** Readable code or writable data. */
const READABLE_OR_WRITABLE = 2;

export class RareInstructions {
	private readonly registers: Registers;
	private readonly handlers: Readonly<Record<RareOperation, (operand: number) => RareOutcome>>;

	constructor(
		private readonly memory: Memory,
		private readonly environment: Environment,
		private readonly translate: (low: number, high: number, access: Access) => number,
		/** 32 random bits. */
		private readonly randomWord: () => number,
		private readonly vendor: VendorBehaviour,
	) {
		this.registers = new Registers(memory, STATE);
		this.handlers = {
			loadSegment: (operand) => this.loadSegmentBy(operand),
			farTransfer: (operand) => this.farTransfer(operand & 0xffff),
			returnFar: (operand) => this.returnFar(operand >>> 8, operand & 0xff),
			interruptReturn: (bits) => this.interruptReturn(bits),
			loadAccessRights: (selector) => this.queryDescriptor(selector, "access"),
			loadSegmentLimit: (selector) => this.queryDescriptor(selector, "limit"),
			verifyRead: (selector) => this.queryDescriptor(selector, "read"),
			verifyWrite: (selector) => this.queryDescriptor(selector, "write"),
			fxsave: (linear) => {
				fxsave(memory, STATE, linear, this.wideImage());
				return RareOutcome.done;
			},
			fxrstor: (linear) => this.vectorOutcome(fxrstor(memory, STATE, linear, this.wideImage())),
			xsave: (linear) => this.xsave(linear, XsaveForm.xsave),
			xsaveopt: (linear) => this.xsave(linear, XsaveForm.xsaveopt),
			xsavec: (linear) => this.xsave(linear, XsaveForm.xsavec),
			xrstor: (linear) =>
				this.vectorOutcome(xrstor(memory, STATE, linear, this.registers.low(Gpr.rax), this.wideImage())),
		};
	}

	execute(operation: number, operand: number): number {
		return this.handlers[rareOperations[operation]!](operand);
	}

	x87(operation: number, operand: number): number {
		return executeX87(this.memory, STATE, operation, operand);
	}

	/** Whether the image is of the 64-bit format: the semantics say so in the mailbox. */
	private wideImage(): boolean {
		return this.memory.u32(layout.MAILBOX) !== 0;
	}

	private xsave(linear: number, form: XsaveForm): RareOutcome {
		xsave(this.memory, STATE, linear, this.registers.low(Gpr.rax), this.wideImage(), form);
		return RareOutcome.done;
	}

	private fault(vector: number, errorCode = 0): RareOutcome {
		this.memory.setU32(STATE + layout.VECTOR, vector);
		this.memory.setU32(STATE + layout.ERROR_CODE, errorCode);
		return RareOutcome.fault;
	}

	private vectorOutcome(vector: number): RareOutcome {
		return vector === 0 ? RareOutcome.done : this.fault(vector);
	}

	private descriptor(selector: number): Descriptor | undefined {
		const found = this.environment.descriptor(selector);
		return found === undefined ? undefined : parseDescriptor(found.low, found.high);
	}

	// ---- segments ----

	private loadSegment(segment: number, selector: number): RareOutcome {
		const { registers } = this;
		const cpl = registers.cpl;
		const rpl = selector & 3;
		if ((selector & ~3) === 0) {
			// A null selector is no stack, except in 64-bit mode below privilege 3.
			if (segment === Segment.cs) return this.fault(Vector.generalProtection);
			if (segment === Segment.ss && (!registers.longMode || cpl === 3 || rpl !== cpl)) {
				return this.fault(Vector.generalProtection);
			}
			registers.setSelector(segment, selector);
			registers.setSegmentBase(segment, 0);
			return RareOutcome.done;
		}
		const errorCode = selector & ~3;
		const descriptor = this.descriptor(selector);
		if (descriptor === undefined || !descriptor.ordinary) return this.fault(Vector.generalProtection, errorCode);
		const isCode = (descriptor.type & CODE) !== 0;
		if (segment === Segment.ss) {
			const writableData = !isCode && (descriptor.type & READABLE_OR_WRITABLE) !== 0;
			if (!writableData || descriptor.dpl !== cpl || rpl !== cpl)
				return this.fault(Vector.generalProtection, errorCode);
			if (!descriptor.present) return this.fault(Vector.stackSegment, errorCode);
		} else {
			if (isCode && (descriptor.type & READABLE_OR_WRITABLE) === 0) {
				return this.fault(Vector.generalProtection, errorCode);
			}
			const conforming = isCode && (descriptor.type & CONFORMING) !== 0;
			if (!conforming && (rpl > descriptor.dpl || cpl > descriptor.dpl)) {
				return this.fault(Vector.generalProtection, errorCode);
			}
			if (!descriptor.present) return this.fault(Vector.segmentNotPresent, errorCode);
		}
		registers.setSelector(segment, selector);
		registers.setSegmentBase(segment, descriptor.base);
		return RareOutcome.done;
	}

	private loadSegmentBy(operand: number): RareOutcome {
		const segment = (operand >>> 16) & 0xff;
		const outcome = this.loadSegment(segment, operand & 0xffff);
		// MOV and POP to SS, and not LSS, which sets both, hold back interrupts and debug traps (SDM volume 3, 6.8.3).
		const shadows = segment === Segment.ss && (operand & LOAD_SHADOWS) !== 0;
		if (shadows && outcome === RareOutcome.done) this.memory.setU8(STATE + layout.INTERRUPT_SHADOW, 1);
		return outcome;
	}

	/** Checks a code segment for a transfer that stays at the current privilege; undefined after a fault. */
	private codeSegment(selector: number): Descriptor | undefined {
		const cpl = this.registers.cpl;
		if ((selector & ~3) === 0) {
			this.fault(Vector.generalProtection);
			return undefined;
		}
		const descriptor = this.descriptor(selector);
		const errorCode = selector & ~3;
		const bad =
			descriptor === undefined ||
			!descriptor.ordinary ||
			(descriptor.type & CODE) === 0 ||
			(descriptor.longMode && descriptor.big) ||
			((descriptor.type & CONFORMING) !== 0 ? descriptor.dpl > cpl : descriptor.dpl !== cpl || (selector & 3) > cpl);
		if (bad) {
			this.fault(Vector.generalProtection, errorCode);
			return undefined;
		}
		if (!descriptor.present) {
			this.fault(Vector.segmentNotPresent, errorCode);
			return undefined;
		}
		return descriptor;
	}

	/** Ends a transfer to another code segment; RIP and RSP are set. */
	private enterCode(selector: number, descriptor: Descriptor): void {
		const { registers } = this;
		registers.setSelector(Segment.cs, (selector & ~3) | registers.cpl);
		registers.setSegmentBase(Segment.cs, descriptor.longMode ? 0 : descriptor.base);
		registers.longMode = descriptor.longMode;
		registers.finishTransfer();
	}

	/** JMP and CALL to another segment; the offset is in the mailbox, CALL's operand size in bits in the next word, 0 for JMP. */
	private farTransfer(selector: number): RareOutcome {
		const { memory, registers } = this;
		const low = memory.u32(layout.MAILBOX);
		const high = memory.u32(layout.MAILBOX + 4);
		const callBits = memory.u32(layout.MAILBOX + 8);
		const descriptor = this.codeSegment(selector);
		if (descriptor === undefined) return RareOutcome.fault;
		if (callBits !== 0) {
			const bytes = callBits / 8;
			const stack = registers.get(Gpr.rsp) - 2 * bytes;
			const returnTo = registers.rip;
			if (!this.writeStack(stack + bytes, bytes, registers.selector(Segment.cs))) return RareOutcome.fault;
			if (!this.writeStack(stack, bytes, returnTo)) return RareOutcome.fault;
			this.setStackPointer(stack);
		}
		registers.setRipHalves(low, high);
		this.enterCode(selector, descriptor);
		return RareOutcome.transfer;
	}

	private setStackPointer(value: number): void {
		this.registers.set(Gpr.rsp, this.registers.longMode ? value : value >>> 0);
	}

	/** RETF: pops the offset and the selector, then `release` bytes. */
	private returnFar(release: number, bits: number): RareOutcome {
		const { registers } = this;
		const bytes = bits / 8;
		const stack = registers.get(Gpr.rsp);
		if (!this.readStack(stack, bytes, 0) || !this.readStack(stack + bytes, bytes, 1)) return RareOutcome.fault;
		const selector = this.memory.u16(layout.MAILBOX + 8);
		if ((selector & 3) < registers.cpl) return this.fault(Vector.generalProtection, selector & ~3);
		const descriptor = this.codeSegment(selector);
		if (descriptor === undefined) return RareOutcome.fault;
		if (!this.reachable(descriptor)) return this.fault(Vector.generalProtection);
		this.setStackPointer(stack + 2 * bytes + release);
		this.memory.copy(STATE + layout.RIP, layout.MAILBOX, 8);
		this.enterCode(selector, descriptor);
		return RareOutcome.transfer;
	}

	/** Whether the new RIP in the mailbox's first word may be in a code segment: far returns to others fault themselves. */
	private reachable({ longMode }: Descriptor): boolean {
		const high = this.memory.i32(layout.MAILBOX + 4);
		if (longMode) return high >> 15 === 0 || high >> 15 === -1;
		return high === 0 || this.vendor.farReturnTakesLowerHalf;
	}

	/** IRET within a privilege level (SDM volume 2, IRET). 64-bit mode always restores the stack too. */
	private interruptReturn(bits: number): RareOutcome {
		const { memory, registers } = this;
		const bytes = bits / 8;
		const wasLong = registers.longMode;
		const stack = registers.get(Gpr.rsp);
		if ((registers.rflags & Flag.NT) !== 0) return this.fault(Vector.generalProtection);
		const words = wasLong ? 5 : 3;
		for (let index = 0; index < words; index++) {
			if (!this.readStack(stack + index * bytes, bytes, index)) return RareOutcome.fault;
		}
		const word = (index: number): number => memory.u32(layout.MAILBOX + index * 8);
		const selector = word(1) & 0xffff;
		if ((selector & 3) !== registers.cpl) return this.fault(Vector.generalProtection, selector & ~3);
		const descriptor = this.codeSegment(selector);
		if (descriptor === undefined) return RareOutcome.fault;
		if (!this.reachable(descriptor)) return this.fault(Vector.generalProtection);
		// Not canonical they may be, and so no numbers.
		const halves = (index: number): [low: number, high: number] => [
			word(index),
			memory.u32(layout.MAILBOX + index * 8 + 4),
		];
		const newStackPointer = halves(3);
		const newRip = halves(0);
		const flags = word(2);
		if (wasLong) {
			const outcome = this.loadSegment(Segment.ss, word(4) & 0xffff);
			if (outcome !== RareOutcome.done) return outcome;
			registers.setHalves(Gpr.rsp, ...newStackPointer);
		} else this.setStackPointer(stack + 3 * bytes);
		registers.setRipHalves(...newRip);
		this.enterCode(selector, descriptor);
		// Unprivileged: IF and IOPL stay (SDM volume 1, 3.4.3).
		let changeable = ARITHMETIC_FLAGS | Flag.TF | Flag.DF | Flag.NT | Flag.AC | Flag.RF;
		if (bits !== 16) changeable |= Flag.ID;
		const old = registers.rflags;
		if ((old & Flag.IOPL) >>> 12 >= registers.cpl) changeable |= Flag.IF;
		registers.rflags = (old & ~changeable) | (flags & changeable);
		return RareOutcome.transfer;
	}

	/** Reads a stack word to the mailbox. */
	private readStack(address: number, bytes: number, index: number): boolean {
		const { memory } = this;
		const to = layout.MAILBOX + index * 8;
		memory.setU32(to, 0);
		memory.setU32(to + 4, 0);
		let linear = 0;
		for (let byte = 0; byte < bytes; byte++) {
			const inPage = (address + byte) & (layout.PAGE_SIZE - 1);
			linear = byte === 0 || inPage === 0 ? this.stackByte(address + byte, Access.read) : linear + 1;
			if (linear === 0) return false;
			memory.setU8(to + byte, memory.u8(linear));
		}
		return true;
	}

	private writeStack(address: number, bytes: number, value: number): boolean {
		const { memory } = this;
		memory.setU64(layout.MAILBOX + 16, value);
		for (const write of [false, true]) {
			for (let byte = 0; byte < bytes; byte++) {
				const linear = this.stackByte(address + byte, Access.write);
				if (linear === 0) return false;
				if (write) memory.setU8(linear, memory.u8(layout.MAILBOX + 16 + byte));
			}
		}
		return true;
	}

	private stackByte(address: number, access: Access): number {
		const { registers } = this;
		if (registers.longMode) return this.translate(address >>> 0, Math.floor(address / 2 ** 32) | 0, access);
		return this.translate((address + registers.segmentBase(Segment.ss)) >>> 0, 0, access);
	}

	/** LAR, LSL, VERR, VERW: ZF says whether; the value goes to the mailbox. */
	private queryDescriptor(selector: number, query: "access" | "limit" | "read" | "write"): RareOutcome {
		const { memory, registers } = this;
		const descriptor = (selector & 0xfffc) === 0 ? undefined : this.descriptor(selector);
		let good = descriptor !== undefined;
		if (descriptor !== undefined) {
			const isCode = descriptor.ordinary && (descriptor.type & CODE) !== 0;
			const conforming = isCode && (descriptor.type & CONFORMING) !== 0;
			const visible = conforming || Math.max(registers.cpl, selector & 3) <= descriptor.dpl;
			const rw = (descriptor.type & READABLE_OR_WRITABLE) !== 0;
			if (query === "read") good = descriptor.ordinary && visible && (!isCode || rw);
			else if (query === "write") good = descriptor.ordinary && visible && !isCode && rw;
			else {
				// System types that have a limit or access rights in long mode: LDT, TSS; LAR also call gates.
				const system = query === "limit" ? [2, 9, 11] : [2, 9, 11, 12];
				good = visible && (descriptor.ordinary || system.includes(descriptor.type));
			}
			if (good) memory.setU32(layout.MAILBOX, query === "limit" ? descriptor.limit : descriptor.access);
		}
		const flags = packFlags(memory, STATE);
		unpackFlags(memory, STATE, good ? flags | Flag.ZF : flags & ~Flag.ZF);
		return RareOutcome.done;
	}

	// ---- random numbers ----

	/** 64 random bits to the mailbox, for RDRAND and RDSEED; always has some. */
	random(_bits: number, _unused: number): number {
		this.memory.setU32(layout.MAILBOX, this.randomWord());
		this.memory.setU32(layout.MAILBOX + 4, this.randomWord());
		return 1;
	}
}
