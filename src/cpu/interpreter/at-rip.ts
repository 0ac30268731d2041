/**
 * What must be known of the instruction at RIP before or after it is executed: breakpoints, single steps, and which of its accesses has faulted.
 * It is decoded anew, since none of this happens often.
 */

import type { Memory } from "../../memory/memory.ts";
import { type Decoded, decode, decodeCrossing, newDecoded } from "../decode/decoder.ts";
import * as layout from "../layout.ts";
import { Access, Vector } from "../processor.ts";
import { Flag, Gpr, Registers, Segment } from "../registers.ts";
import type { VendorBehaviour } from "../vendor.ts";

const STATE = layout.STATE;
/** Of DR6. */
const SINGLE_STEP = 0x4000;
/** Data breakpoints that wait are in the shadow's upper half. */
const SHADOW_WATCHED_SHIFT = 4;

/** Operands of the string instructions: memory at RSI that is read, and what happens at RDI. */
const STRINGS: Readonly<Record<string, { readonly reads: boolean; readonly destination?: "r" | "w" }>> = {
	movs: { reads: true, destination: "w" },
	cmps: { reads: true, destination: "r" },
	stos: { reads: false, destination: "w" },
	lods: { reads: true },
	scas: { reads: false, destination: "r" },
};

export class InstructionAtRip {
	private readonly registers: Registers;
	private readonly decoded: Decoded;

	constructor(
		private readonly memory: Memory,
		/** A linear address, or 0. */
		private readonly translate: (low: number, high: number, access: Access) => number,
		vendor: VendorBehaviour,
	) {
		this.decoded = newDecoded(vendor);
		this.registers = new Registers(memory, STATE);
	}

	private raise(vector: number, errorCode = 0): void {
		this.memory.setU32(STATE + layout.VECTOR, vector);
		this.memory.setU32(STATE + layout.ERROR_CODE, errorCode);
	}

	/** Decodes the instruction at RIP where it lies within its page. */
	private decodeAtRip(): boolean {
		const { memory } = this;
		const low = memory.u32(STATE + layout.RIP);
		const high = memory.u32(STATE + layout.RIP + 4);
		const linear = this.translate(low, high, Access.execute);
		if (linear === 0) return false;
		const { longMode } = this.registers;
		const end = (linear & -layout.PAGE_SIZE) + layout.PAGE_SIZE;
		if (decode(memory.bytes, linear, end >>> 0, longMode, this.decoded)) return true;
		// The instruction crosses into the next page: decode a copy.
		const next = (low & -layout.PAGE_SIZE) + layout.PAGE_SIZE;
		const second = this.translate(next >>> 0, next === 0 ? (high + 1) >>> 0 : high, Access.execute);
		if (second === 0) return false;
		return decodeCrossing(memory.bytes, linear, end >>> 0, second, longMode, this.decoded);
	}

	private effectiveAddress(): number {
		const { memory, decoded } = this;
		const slot = (index: number): number => memory.i64(STATE + index * 8);
		const page = this.registers.rip - (memory.u32(STATE + layout.RIP) & (layout.PAGE_SIZE - 1));
		const base =
			decoded.base === layout.SLOT_PAGE
				? page + (memory.u32(STATE + layout.RIP) & (layout.PAGE_SIZE - 1)) + decoded.length
				: slot(decoded.base);
		const offset = base + slot(decoded.index) * 2 ** decoded.scale + decoded.displacement;
		const { addressSize } = decoded;
		return this.within(
			decoded.segment,
			addressSize === 64 ? offset : addressSize === 16 ? offset & 0xffff : offset >>> 0,
		);
	}

	// ---- breakpoints and single steps ----

	/** Data breakpoints, as in DR6, that the instruction touches, and the one before it if that has loaded SS. */
	private watched = 0;

	/**
	 * Before an instruction is executed by itself.
	 * @param breakpoints what DR7 enables, its lowest eight bits
	 * @returns whether it is not to be executed, because of a breakpoint: #DB is in the context block
	 */
	begin(breakpoints: number): boolean {
		const { memory } = this;
		const shadow = memory.u8(STATE + layout.INTERRUPT_SHADOW);
		memory.setU8(STATE + layout.INTERRUPT_SHADOW, 0);
		this.watched = shadow >> SHADOW_WATCHED_SHIFT;
		if (breakpoints === 0) return false;
		if (shadow === 0 && this.instructionBreakpoint()) return true;
		this.watch();
		return false;
	}

	/**
	 * After an instruction that has been executed by itself.
	 * @param trap whether it began with TF set
	 * @returns whether a #DB trap is due, with DR6 saying why; after a load of SS it waits for the next instruction
	 */
	end(trap: boolean): boolean {
		const { memory, registers, watched } = this;
		if (memory.u8(STATE + layout.INTERRUPT_SHADOW) !== 0) {
			memory.setU8(STATE + layout.INTERRUPT_SHADOW, 1 | (watched << SHADOW_WATCHED_SHIFT));
			return false;
		}
		if (!trap && watched === 0) return false;
		registers.setDebug(4, registers.debug(4) | watched | (trap ? SINGLE_STEP : 0));
		this.raise(Vector.debug);
		return true;
	}

	/** An instruction breakpoint at RIP: #DB before the instruction, unless RF is set. */
	private instructionBreakpoint(): boolean {
		const { registers, memory } = this;
		const flags = memory.u32(STATE + layout.FLAGS_OTHER);
		if ((flags & Flag.RF) !== 0) {
			memory.setU32(STATE + layout.FLAGS_OTHER, flags & ~Flag.RF);
			return false;
		}
		const dr7 = registers.debug(5);
		let hit = 0;
		for (let index = 0; index < 4; index++) {
			const enabled = (dr7 >>> (index * 2)) & 3;
			if (enabled !== 0 && ((dr7 >>> (16 + index * 4)) & 3) === 0 && registers.debug(index) === registers.rip) {
				hit |= 1 << index;
			}
		}
		if (hit === 0) return false;
		registers.setDebug(4, registers.debug(4) | hit);
		this.raise(Vector.debug);
		return true;
	}

	/** Notes which data breakpoints the instruction at RIP will touch. */
	private watch(): void {
		if (!this.decodeAtRip()) return;
		const { registers, decoded } = this;
		const { form, operandSize } = decoded;
		if (form === undefined) return;
		if (decoded.memory) {
			const operand = form.operands.find((candidate) => candidate.kind === "modrmRm");
			const size = operand?.size;
			const bits = typeof size === "number" ? size : size === "v" || size === "y" ? operandSize : 32;
			this.touch(this.effectiveAddress(), bits / 8, operand !== undefined && operand.access !== "r");
		}
		const string = STRINGS[form.name];
		if (string === undefined) return;
		const { addressSize } = decoded;
		if (decoded.rep !== "none" && this.register(Gpr.rcx, addressSize) === 0) return;
		// Of each two opcodes the even one is of bytes.
		const bytes = (form.opcode & 1) === 0 ? 1 : operandSize / 8;
		const extraSegment = registers.longMode ? layout.SLOT_ZERO : layout.SLOT_COMPATIBILITY_BASES + Segment.es;
		if (string.reads) this.touch(this.within(decoded.segment, this.register(Gpr.rsi, addressSize)), bytes, false);
		if (string.destination !== undefined) {
			const address = this.within(extraSegment, this.register(Gpr.rdi, addressSize));
			this.touch(address, bytes, string.destination === "w");
		}
	}

	private touch(address: number, bytes: number, writes: boolean): void {
		const { registers } = this;
		const dr7 = registers.debug(5);
		for (let index = 0; index < 4; index++) {
			const kind = (dr7 >>> (16 + index * 4)) & 3;
			if (((dr7 >>> (index * 2)) & 3) === 0 || kind === 0 || (kind === 1 && !writes)) continue;
			const length = [1, 2, 8, 4][(dr7 >>> (18 + index * 4)) & 3]!;
			const start = registers.debug(index);
			if (address < start + length && start < address + bytes) this.watched |= 1 << index;
		}
	}

	/** A register as an offset of `bits` bits. */
	private register(register: number, bits: number): number {
		if (bits === 64) return this.registers.get(register);
		const low = this.registers.low(register);
		return bits === 16 ? low & 0xffff : low;
	}

	/** The virtual address of an offset within the segment whose base is in a slot. */
	private within(slot: number, offset: number): number {
		const address = offset + this.memory.i64(STATE + slot * 8);
		return this.registers.longMode ? address : address >>> 0;
	}

	// ---- faults ----

	/** Of PUSH, CALL or POP with an operand in memory: whether it was the stack whose address is not canonical. */
	private faultedAtStack(): boolean {
		const pops = this.decoded.form?.name === "pop";
		if (!this.registers.longMode) {
			// Compatibility mode: over the end of the segment.
			const pointer = this.registers.low(Gpr.rsp);
			if (!pops && this.memory.u64(STATE + this.decoded.segment * 8) === layout.NULL_SEGMENT) return false;
			return pops ? pointer > 0xffff_fffc : pointer > 0 && pointer < 4;
		}
		if (pops) {
			const top = this.registers.high(Gpr.rsp) >> 15;
			return top !== 0 && top !== -1;
		}
		if (this.decoded.addressSize !== 64) return true;
		const address = this.effectiveAddress();
		const wrapped = address - Math.round(address / 2 ** 64) * 2 ** 64;
		return wrapped >= -(2 ** 47) && wrapped < 2 ** 47;
	}

	/** Turns #GP(0) for a non-canonical address into #SS(0) where the access was through the stack segment. */
	refineCanonical(): void {
		const { memory } = this;
		if (memory.u32(layout.NOT_CANONICAL) === 0) return;
		memory.setU32(layout.NOT_CANONICAL, 0);
		const { vector, errorCode } = this.registers;
		if (this.decodeAtRip() && this.decoded.form !== undefined) {
			const stack = STACK_INSTRUCTIONS.has(this.decoded.form.name) && (!this.decoded.memory || this.faultedAtStack());
			if (stack || (this.decoded.memory && this.decoded.segmentRegister === Segment.ss)) {
				this.raise(Vector.stackSegment);
				return;
			}
		}
		this.raise(vector, errorCode);
	}
}

/** PUSH and CALL read their memory operand first; POP writes its own last. */
const STACK_INSTRUCTIONS = new Set(["push", "pop", "call", "ret", "enter", "leave", "pushf", "popf", "iret", "retf"]);
