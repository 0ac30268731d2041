/** A virtual CPU of a PV guest: its registers, how it wants events and exceptions delivered, and whether it can run. */
import { CONTEXT_SIZE, CONTEXTS, CR0, CR4, EFER, MXCSR, X87_CONTROL, X87_TAGS, XCR0 } from "../cpu/layout.ts";
import { Registers, Segment } from "../cpu/registers.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64, INITIAL_CR0, INITIAL_CR4, INITIAL_EFER } from "./abi/arch.ts";
import { VIRQ_COUNT } from "./abi/event-channel.ts";
import type { Domain } from "./domain.ts";
import { Runstate } from "./time.ts";
import { VcpuTimers } from "./vcpu-timers.ts";

/** An entry of set_trap_table: struct trap_info. */
export interface TrapEntry {
	vector: number;
	/** Bits 0-1: the privilege that may raise it by INT n (0 never from user mode); bit 2: mask events on entry. */
	flags: number;
	selector: number;
	/** Virtual address of the handler; 0 where none is set. */
	address: number;
}

/** A callback of callback_op/set_callbacks. */
export interface Callback {
	address: number;
	maskEvents: boolean;
}

export const TRAP_VECTORS = 256;

export class Vcpu {
	/** Up: VCPUOP_up has been called (or it is vCPU 0). */
	online = false;
	/** VCPUOP_initialise has been called, or the domain builder has set it up. */
	initialised = false;
	/** SCHEDOP_block or poll: waits for an event. */
	blocked = false;
	/** SCHEDOP_yield: gives up the rest of its turn. The run loop clears it. */
	yielded = false;
	/** The run loop must return to the scheduler: it blocks, yields, or a timer has moved. The scheduler clears it. */
	reschedule = false;
	/** SCHEDOP_poll: the port that it waits for, -1 one of several, 0 it does not poll. */
	pollPort = 0;
	/** Ports of the VIRQs that are bound to this vCPU, 0 where none is. */
	readonly virqPorts = new Uint32Array(VIRQ_COUNT);
	readonly runstate = new Runstate();
	/** Virtual address of the second vcpu_time_info that it asked for, 0 where it did not. */
	timeArea = 0;
	private ownTimers: VcpuTimers | undefined;
	/** TF_kernel_mode: the guest kernel runs, not one of its user programs. */
	kernelMode = true;
	/** Machine frames of the two L4 tables; user 0 where none is set. */
	kernelRoot = 0;
	userRoot = 0;
	/** stack_switch. */
	kernelStackSelector = 0;
	kernelStackPointer = 0;
	/** The virtual IDT, one entry a vector. */
	readonly traps: TrapEntry[] = Array.from({ length: TRAP_VECTORS }, (_, vector) => ({
		vector,
		flags: 0,
		selector: 0,
		address: 0,
	}));
	eventCallback: Callback | undefined;
	failsafeCallback: Callback | undefined;
	syscallCallback: Callback | undefined;
	syscall32Callback: Callback | undefined;
	sysenterCallback: Callback | undefined;
	/** Bases of GS in kernel and in user mode; the running mode's is in the registers and stale here. */
	gsBaseKernel = 0;
	gsBaseUser = 0;
	/** Machine frames of the GDT's pages and its number of entries (set_gdt); entries from 14 pages on are Xen's. */
	readonly gdtFrames: number[] = [];
	gdtEntries = 0;
	/** Virtual address and number of entries of the LDT (MMUEXT_SET_LDT). */
	ldtBase = 0;
	ldtEntries = 0;
	/** Machine frames of the LDT's pages that are in use, 0 for the others (mm/ldt.ts). */
	readonly ldtFrames = new Uint32Array(16);
	/** The selector (without RPL) whose descriptor was last asked for in vain because its page of the LDT is missing, or 0. */
	ldtFault = 0;
	/** Machine frame of a table that it was preempted while checking (mm/page-types.ts), 0 for none. */
	partialTable = 0;
	/** Virtualised IOPL, in place in RFLAGS (PHYSDEVOP_set_iopl). */
	iopl = 0;
	/** PHYSDEVOP_set_iobitmap: virtual address and number of ports. */
	ioBitmap = 0;
	ioBitmapPorts = 0;
	/** I/O breakpoints of DR7, which the processor's own never has. */
	debugControlEmulated = 0;
	/** An NMI waits for delivery; while its handler runs (until iret) another must wait. */
	nmiPending = false;
	nmiMasked = false;
	/** Linear address of this vCPU's vcpu_info: in shared_info, or where register_vcpu_info put it. */
	vcpuInfo = 0;
	/** register_vcpu_info has moved it; it does so once. */
	vcpuInfoRegistered = false;

	/** @param slot its context's number in CONTEXTS (layout.ts), its own as long as it lives. */
	constructor(
		readonly domain: Domain,
		readonly id: number,
		readonly slot: number,
		readonly registers: Registers = new Registers(domain.hypervisor.memory, CONTEXTS + slot * CONTEXT_SIZE),
	) {}

	/** Its timers, made when first asked for. */
	get timers(): VcpuTimers {
		this.ownTimers ??= new VcpuTimers(this);
		return this.ownTimers;
	}

	/** "d1v0" in logs. */
	get label(): string {
		return `d${this.domain.id}v${this.id}`;
	}

	/**
	 * Registers as a PV guest finds them before the builder or VCPUOP_initialise says more: all zero, kernel mode, flat segments,
	 * the control registers that Xen gives every guest, an initialised FPU.
	 */
	resetRegisters(): void {
		const { registers } = this;
		const { memory } = this.domain.hypervisor;
		memory.fill(registers.base, CONTEXT_SIZE, 0);
		registers.rflags = 0x202;
		registers.cpl = 3;
		registers.longMode = true;
		registers.addressSpace = 0;
		registers.setSelector(Segment.cs, FLAT_RING3_CS64);
		registers.setSelector(Segment.ss, FLAT_RING3_SS64);
		registers.setControl(CR0, INITIAL_CR0);
		registers.setControl(CR4, INITIAL_CR4);
		registers.setControl(EFER, INITIAL_EFER);
		registers.setControl(XCR0, 1);
		registers.setDebug(4, 0xffff0ff0);
		registers.setDebug(5, 0x400);
		memory.setU32(registers.base + MXCSR, 0x1f80);
		memory.setU16(registers.base + X87_CONTROL, 0x37f);
		memory.setU8(registers.base + X87_TAGS, 0);
		this.kernelMode = true;
	}
}
