/**
 * What an instruction's semantics is written against. A context decides where registers live and how operands are found: the interpreter's reads
 * both from a decoded record at run time, the translator's knows them when it emits. Semantics must follow one rule: no
 * register, flag or memory changes before the last access that may fault.
 *
 * Integer operands are I64 expressions, zero-extended from their size. Expressions are evaluated where they are used:
 * bind what is used twice with `c.f.let`.
 */

import type { I32, I64, V128 } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import type { Exit } from "../processor.ts";
import type { VendorBehaviour } from "../vendor.ts";
import type { Operand } from "./table.ts";

/** Names of the runtime services that emitted code may call; the engine provides them. */
export type Service =
	/** (leaf in EAX, subleaf in ECX) -> registers. */
	| "cpuid"
	/** x87 operation `index` with operand (linear address or ST index): returns 0 or an exception vector. */
	| "x87"
	/** Random number to the mailbox: 1 when there is one. */
	| "random"
	/** Anything else that is rare, by number; see interpreter/rare.ts. */
	| "rare"
	/** Exact but slow SIMD operations (directed rounding, unmasked exceptions), by number. */
	| "simd";

export interface Context {
	readonly f: FunctionBuilder;
	/** Operand size of this variant, in bits: 8 never (operands have their own), 16, 32 or 64. */
	readonly operandSize: 16 | 32 | 64;
	/** Address size in bits: 64, or 32 with prefix 67; in compatibility mode 32, or 16. */
	readonly addressSize: 16 | 32 | 64;
	/** 64-bit mode or compatibility mode. */
	readonly longMode: boolean;
	/** The REP prefix of this variant. */
	readonly rep: "none" | "rep" | "repne";
	/** Whose processor it is, where makers differ. */
	readonly vendor: VendorBehaviour;

	/** The operand's value, zero-extended. Memory is read now, at most once for an operand; a "rw" operand is checked for writing. */
	read(operand: Operand): I64;
	/** The operand's value, sign-extended. */
	readSigned(operand: Operand): I64;
	/** Writes the low bits. A 32-bit register is zero-extended to 64, smaller ones keep the rest. */
	write(operand: Operand, value: I64): void;
	/** The operand as 128 bits: a register whole; memory by the operand's size, upper bits zero. `aligned`: #GP unless on a 16-byte boundary. */
	readVector(operand: Operand, aligned?: boolean): V128;
	/** Writes a vector register whole, or the operand's size to memory. */
	writeVector(operand: Operand, value: V128, aligned?: boolean): void;
	/** Offset of a memory operand within its segment, as LEA computes it, cut to the address size. */
	effectiveAddress(operand: Operand): I64;
	/** Virtual address of a memory operand: effective address plus segment base. */
	virtualAddress(operand: Operand): I64;
	/** Checks and translates `bytes` bytes (1-512) at a memory operand: a linear address, a private copy where a page is crossed. */
	memoryBlock(operand: Operand, bytes: number, access: "r" | "w"): I32;

	/** After writing through a {@link memoryBlock}: writes a private copy back. */
	commitBlock(linear: I32): void;

	/** Reads `bits` bits at a virtual address, zero-extended. */
	load(bits: number, address: I64): I64;
	store(bits: number, address: I64, value: I64): void;
	loadVector(address: I64): V128;
	storeVector(address: I64, value: V128): void;
	/** Linear address of the byte at a virtual address, for bulk work that stays inside its page. */
	linear(address: I64, access: "r" | "w"): I32;
	/** Makes sure that `bits` bits at an address can be written (first of several writes that must all happen or none). */
	checkWrite(bits: number, address: I64): void;
	/** A store that an instruction leaves behind which is about to fault (the exception to the rule, where a maker's processors do so). */
	storeBeforeFault(bits: number, address: I64, value: I64): void;

	/** Both immediates of ENTER or of a far pointer: the first in the lower, the second in the upper 32 bits. */
	immediatePair(): I64;

	/** General register by number, zero-extended from `bits` (default 64). */
	gpr(register: number, bits?: number): I64;
	setGpr(register: number, value: I64, bits?: number): void;
	/** XMM by number (fixed registers as in PBLENDVB's XMM0). */
	xmm(register: number): V128;
	setXmm(register: number, value: V128): void;
	/** A word of the context block by its layout offset. */
	state8(offset: number): I32;
	state16(offset: number): I32;
	state32(offset: number): I32;
	state64(offset: number): I64;
	setState8(offset: number, value: I32): void;
	setState16(offset: number, value: I32): void;
	setState32(offset: number, value: I32): void;
	setState64(offset: number, value: I64): void;
	/** Adds a segment base where the mode has one: `segment` 0 ES .. 5 GS, or "operand" for the one the prefixes chose (default DS). */
	segmented(address: I64, segment: number | "operand"): I64;

	/**
	 * Leaves flags to be computed when something asks for them: of left + right, left - right, the result `left` of a logic operation, or the
	 * result `left` of INC, DEC or a rotation. False where the context wants them computed now.
	 */
	deferFlags(
		operation: "add" | "subtract" | "logic" | "increment" | "decrement" | "rotateLeft" | "rotateRight",
		bits: number,
		left: I64,
		right: I64,
	): boolean;
	/** A condition (by its number in Jcc) computed directly from deferred flags, where that is possible. */
	knownCondition(code: number): I32 | undefined;
	/** Runs a check that has passed, unless it has on every way here and nothing can have changed that: SIMD instructions are available. */
	availability(check: () => void): void;
	/** A word that depends on MXCSR alone, and is computed by `compute` unless it is known from before. Always the same computation. */
	mxcsrWord(compute: () => I32): I32;
	/** Lazy flag words; see flags.ts. */
	flagResult(): I64;
	flagCarry(): I64;
	setFlags(result: I64, carry: I64): void;
	setFlagResult(result: I64): void;
	setFlagCarry(carry: I64): void;

	/** Address of this instruction and of the next one. */
	rip(): I64;
	nextRip(): I64;
	/** Where an indirect branch leads to as a rule, if that is known: an address at which there is code. */
	expectedTarget(): I64 | undefined;
	/** Ends the instruction by a jump to `target` (already cut to the operand size). */
	jump(target: I64): void;
	/** Relative branch by the operand's offset; with a condition, falls through where it is 0. */
	branch(offset: Operand, condition?: I32): void;
	/** Ends the instruction with a fault: nothing of it has happened. */
	raise(vector: number, errorCode?: I32): void;
	/** {@link raise} with a vector computed at run time. */
	raiseVector(vector: I32): void;
	/** Ends the instruction with the exception that a service has put into the context block. */
	faulted(): void;
	/** Ends the run after this instruction with RIP as a service has set it. */
	transferred(reason: Exit): void;
	/** Ends the run after this instruction, RIP behind it, with the reason and registers.vector. */
	exit(reason: Exit, vector?: I32): void;
	/** Lets the same instruction execute again (a repeated string instruction between two portions). */
	again(): void;

	/** Calls a TypeScript service with two i32 arguments; the registers are in the context block. Returns its i32. */
	service(service: Service, first: I32, second: I32): I32;
	/** Something that later instructions on this page may depend on has changed (mode, code): do not run on in this block. */
	endBlock(): void;
}
