/**
 * What the processor offers its environment, and what it asks of it.
 * The processor knows nothing of Xen: it runs instructions until something happens that is the environment's to decide, and
 * returns why ({@link Exit}). The few questions that must not end a run are the {@link Environment}'s callbacks.
 */

import type { Memory } from "../memory/memory.ts";
import type { ExitEmitter } from "./exits.ts";
import type { CpuVendor } from "./vendor.ts";

/** Why {@link Processor.run} returned. RIP and all registers are as the manual says for the event. */
export const Exit = {
	/** The instruction budget is used up. */
	fuel: 0,
	/** An exception: registers.vector, errorCode (0 where the vector has none) and, for #PF, cr2. Fault: RIP at the instruction. Trap: behind it. */
	exception: 1,
	/** INT n, INT3, INTO, INT1: registers.vector; RIP behind the instruction; `interruptLength` bytes before it lies its start. */
	softwareInterrupt: 2,
	/** SYSCALL: RIP behind it, RCX and R11 not changed. In compatibility mode of an AMD processor only; Intel's have #UD for it there. */
	syscall: 3,
	/** SYSENTER: of an Intel processor only; AMD's have #UD for it in long mode. */
	sysenter: 4,
	/** Within the processor only: RDTSC or RDTSCP, whose answer may depend on the exact number of instructions. */
	timeStamp: 5,
	/** Within the processor only: a flag that changes how instructions execute (TF) was set. */
	modeChange: 6,
	/** {@link Environment.emitExits}'s code has dealt with an exit and wants the run to end. */
	handled: 7,
} as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** Exception vectors. */
export const Vector = {
	divideError: 0,
	debug: 1,
	nmi: 2,
	breakpoint: 3,
	overflow: 4,
	boundRange: 5,
	invalidOpcode: 6,
	deviceNotAvailable: 7,
	doubleFault: 8,
	invalidTss: 10,
	segmentNotPresent: 11,
	stackSegment: 12,
	generalProtection: 13,
	pageFault: 14,
	x87: 16,
	alignmentCheck: 17,
	machineCheck: 18,
	simd: 19,
} as const;

/** Bits of a page fault's error code. */
export const PageFault = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

/** How an address is going to be used. */
export const Access = { read: 0, write: 1, execute: 2 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/** The result of CPUID. */
export interface CpuidResult {
	readonly eax: number;
	readonly ebx: number;
	readonly ecx: number;
	readonly edx: number;
}

/** A segment descriptor as the hidden part of a segment register keeps it; `undefined` selector loads fault. */
export interface DescriptorLookup {
	/** The eight bytes, or undefined where the selector is outside its table. */
	readonly low: number;
	readonly high: number;
}

/** What the processor asks while it runs. None of these may throw. */
export interface Environment {
	/** The answer of CPUID for unprivileged execution. */
	cpuid(leaf: number, subleaf: number): CpuidResult;
	/** Time-stamp counter in ticks, as RDTSC shows it to the running vCPU. */
	readTsc(): number;
	/**
	 * For so many instructions after {@link readTsc} the time stamp may go on by itself, by a quarter of a tick each; 0: every RDTSC is
	 * answered by it.
	 */
	readonly tscWindow?: number;
	/** The eight bytes of a descriptor in the running vCPU's GDT or LDT (bit 2 of the selector), or undefined beyond the limit. */
	descriptor(selector: number): DescriptorLookup | undefined;
	/** Emits code that deals with exits without leaving WebAssembly, where the environment has such. */
	readonly emitExits?: ExitEmitter;
}

/**
 * Does a store in memory's place: bytes `offset` to `offset + length` of the diverted page become those at linear address `value`.
 * @returns false where the store is refused; then nothing has changed.
 */
export type StoreHandler = (offset: number, length: number, value: number) => boolean;

/** One processor. It has one running context at a time; {@link switchContext} changes which. */
export interface Processor {
	readonly memory: Memory;
	/** Whose processor it is, where makers differ: what the environment's CPUID must name. */
	readonly vendor: CpuVendor;

	/**
	 * Runs the current context for at most `fuel` instructions: never more; it stops exactly there.
	 * {@link executed} tells how many were.
	 */
	run(fuel: number): Exit;
	/**
	 * Executes the one instruction at RIP with its stores to a virtual page given to `store` in place of memory, whatever the page tables allow; loads
	 * read memory. For stores that fault because somebody watches the page. It counts neither as executed nor as fuel.
	 * @param page signed virtual address of the page, in the running address space
	 * @returns Exit.fuel: the instruction is done, or a repeated one has got further, and the run may go on. Else as {@link run}; a refused store is
	 * the page fault that it is without a handler, and the instruction has then changed nothing.
	 */
	runDiverted(page: number, store: StoreHandler): Exit;
	/** Whether the last instruction of the last {@link run} was a load of SS, after which an interrupt waits for the next one (SDM volume 3, 6.8.3). */
	readonly interruptShadow: boolean;
	/** Instructions executed since creation. */
	readonly executed: number;
	/** Exits that {@link Environment.emitExits}'s code has dealt with since creation. Each took one of the fuel, and is no instruction. */
	readonly exitsHandled: number;
	/** Where the last Exit.softwareInterrupt's instruction starts, relative to RIP: its length in bytes. */
	readonly interruptLength: number;

	/** Saves the running context to its slot of CONTEXTS and loads slot `index`; registers objects follow by their `base`. Flushes what needs to be. */
	switchContext(index: number): void;

	/**
	 * Page-table root (machine frame of the L4 table) of a TLB context of the running context: 0 guest kernel, 1 guest user.
	 * Does not flush; a changed root needs {@link flush}.
	 */
	setRoot(addressSpace: number, mfn: number): void;
	/** Drops every translation of every TLB context. */
	flushAll(): void;
	/** Drops every translation of one TLB context. */
	flushSpace(addressSpace: number): void;
	/** Drops the translations of the lower half of the addresses (bit 63 clear) in every TLB context. */
	flushLower(): void;
	/** Drops every translation to a machine frame in every TLB context. */
	forgetFrame(mfn: number): void;
	/** Drops the translations of one page in every TLB context. */
	flushPage(virtualAddress: number): void;

	/**
	 * Translates a virtual address as the guest's own access would in TLB context `addressSpace`, setting accessed and dirty bits.
	 * @returns the linear address, or -1 where the access would fault (error code and CR2 then are in the registers).
	 */
	translate(virtualAddress: number, access: Access, addressSpace: number): number;

	/** To be called before bytes of a frame change by any other way than a guest's store: drops its decoded code. */
	codeChanged(mfn: number): void;
}
