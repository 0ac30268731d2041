/** A virtual CPU of a PV guest: its registers, how it wants events and exceptions delivered, and whether it can run. */
import { CONTEXT_SIZE, CR0, CR4, EFER, MXCSR, X87_CONTROL, X87_TAGS, XCR0 } from "../cpu/layout.ts";
import { Registers, Segment } from "../cpu/registers.ts";
import { CONTEXTS } from "../memory/map.ts";
import type { Memory } from "../memory/memory.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64, INITIAL_CR0, INITIAL_CR4, INITIAL_EFER } from "./abi/arch.ts";
import { VIRQ_COUNT } from "./abi/event-channel.ts";
import { TRAP_MASKS_EVENTS } from "./abi/traps.ts";
import type { Domain } from "./domain.ts";
import { Runstate } from "./time/time.ts";
import { VcpuTimers } from "./time/vcpu-timers.ts";
import { GDT_FRAMES_MAX, gate, TRAP_VECTORS, type VcpuBlock, vcpuBlock, vcpuBlockAddress } from "./vcpu-block.ts";

type GateView = ReturnType<typeof gate.at>;

/** A callback of callback_op/set_callbacks. */
export interface Callback {
	address: number;
	maskEvents: boolean;
}

/** An entry of set_trap_table: struct trap_info. */
export class TrapEntry {
	/** @param at linear address of its gate in the vCPU's block. */
	constructor(
		private readonly memory: Memory,
		private readonly at: number,
	) {}

	/** Virtual address of the handler; 0 where none is set. */
	get address(): number {
		return this.memory.i64(this.at + gate.offset.handler);
	}
	set address(value: number) {
		this.memory.setU64(this.at + gate.offset.handler, value);
	}
	/** Bits 0-1: the privilege that may raise it by INT n (0 never from user mode); bit 2: mask events on entry. */
	get flags(): number {
		return this.memory.u8(this.at + gate.offset.flags);
	}
	set flags(value: number) {
		this.memory.setU8(this.at + gate.offset.flags, value);
	}
	get selector(): number {
		return this.memory.u16(this.at + gate.offset.selector);
	}
	set selector(value: number) {
		this.memory.setU16(this.at + gate.offset.selector, value);
	}
}

function callbackOf(view: GateView): Callback | undefined {
	const { handler } = view;
	return handler === 0 ? undefined : { address: handler, maskEvents: (view.flags & TRAP_MASKS_EVENTS) !== 0 };
}

function setCallback(view: GateView, callback: Callback | undefined): void {
	view.handler = callback?.address ?? 0;
	view.flags = callback?.maskEvents === true ? TRAP_MASKS_EVENTS : 0;
}

export class Vcpu {
	/** Up: VCPUOP_up has been called (or it is vCPU 0). */
	online = false;
	/** VCPUOP_initialise has been called, or the domain builder has set it up. */
	initialised = false;
	/** SCHEDOP_block or poll: waits for an event. */
	blocked = false;
	/** Nanoseconds that it has run, each the longer the less its domain's weight is (fair-share.ts). */
	virtualTime = 0;
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
	/** How its kernel is entered and left, in linear memory (vcpu-block.ts). */
	readonly block: VcpuBlock;
	/** The virtual IDT, one entry a vector. */
	readonly traps: readonly TrapEntry[];
	/** Machine frames of the GDT's pages (set_gdt), 0 for none; entries from 14 pages on are Xen's. */
	readonly gdtFrames: Uint32Array;
	/** Virtual address and number of entries of the LDT (MMUEXT_SET_LDT). */
	ldtBase = 0;
	ldtEntries = 0;
	/** Machine frames of the LDT's pages that are in use, 0 for the others (mm/ldt.ts). */
	readonly ldtFrames = new Uint32Array(16);
	/** Machine frame of a table that it was preempted while checking (mm/page-types.ts), 0 for none. */
	partialTable = 0;
	/** PHYSDEVOP_set_iobitmap: virtual address and number of ports. */
	ioBitmap = 0;
	ioBitmapPorts = 0;
	/** I/O breakpoints of DR7, which the processor's own never has. */
	debugControlEmulated = 0;
	/** register_vcpu_info has moved it; it does so once. */
	vcpuInfoRegistered = false;

	/** @param slot its context's number in CONTEXTS (layout.ts), its own as long as it lives. */
	constructor(
		readonly domain: Domain,
		readonly id: number,
		readonly slot: number,
		readonly registers: Registers = new Registers(domain.hypervisor.memory, CONTEXTS + slot * CONTEXT_SIZE),
	) {
		const { memory } = domain.hypervisor;
		const address = vcpuBlockAddress(slot);
		// The slot may have been another's.
		memory.fill(address, vcpuBlock.size, 0);
		this.block = vcpuBlock.at(memory, address);
		this.traps = Array.from(
			{ length: TRAP_VECTORS },
			(_, vector) => new TrapEntry(memory, this.block.traps + vector * gate.size),
		);
		this.gdtFrames = new Uint32Array(memory.wasm.buffer, this.block.gdtFrames, GDT_FRAMES_MAX);
		this.block.domainId = domain.id;
		this.block.vmAssist = domain.vmAssist;
		this.block.deferredTable = domain.deferredTable;
		this.kernelMode = true;
	}

	/** TF_kernel_mode: the guest kernel runs, not one of its user programs. */
	get kernelMode(): boolean {
		return this.block.kernelMode !== 0;
	}
	set kernelMode(value: boolean) {
		this.block.kernelMode = value ? 1 : 0;
	}
	/** An NMI waits for delivery; while its handler runs (until iret) another must wait. */
	get nmiPending(): boolean {
		return this.block.nmiPending !== 0;
	}
	set nmiPending(value: boolean) {
		this.block.nmiPending = value ? 1 : 0;
	}
	get nmiMasked(): boolean {
		return this.block.nmiMasked !== 0;
	}
	set nmiMasked(value: boolean) {
		this.block.nmiMasked = value ? 1 : 0;
	}
	/** Virtualised IOPL, in place in RFLAGS (PHYSDEVOP_set_iopl). */
	get iopl(): number {
		return this.block.iopl;
	}
	set iopl(value: number) {
		this.block.iopl = value;
	}
	/** Machine frames of the two L4 tables; user 0 where none is set. */
	get kernelRoot(): number {
		return this.block.kernelRoot;
	}
	set kernelRoot(mfn: number) {
		this.block.kernelRoot = mfn;
	}
	get userRoot(): number {
		return this.block.userRoot;
	}
	set userRoot(mfn: number) {
		this.block.userRoot = mfn;
	}
	/** The selector (without RPL) whose descriptor was last asked for in vain because its page of the LDT is missing, or 0. */
	get ldtFault(): number {
		return this.block.ldtFault;
	}
	set ldtFault(selector: number) {
		this.block.ldtFault = selector;
	}
	/** Linear address of this vCPU's vcpu_info: in shared_info, or where register_vcpu_info put it. */
	get vcpuInfo(): number {
		return this.block.vcpuInfo;
	}
	set vcpuInfo(address: number) {
		this.block.vcpuInfo = address;
	}
	/** stack_switch. */
	get kernelStackSelector(): number {
		return this.block.kernelStackSelector;
	}
	set kernelStackSelector(selector: number) {
		this.block.kernelStackSelector = selector;
	}
	get kernelStackPointer(): number {
		return this.block.kernelStackPointer;
	}
	set kernelStackPointer(address: number) {
		this.block.kernelStackPointer = address;
	}
	/** Bases of GS in kernel and in user mode; the running mode's is in the registers and stale here. */
	get gsBaseKernel(): number {
		return this.block.gsBaseKernel;
	}
	set gsBaseKernel(base: number) {
		this.block.gsBaseKernel = base;
	}
	get gsBaseUser(): number {
		return this.block.gsBaseUser;
	}
	set gsBaseUser(base: number) {
		this.block.gsBaseUser = base;
	}
	/** Number of entries of the GDT. */
	get gdtEntries(): number {
		return this.block.gdtEntries;
	}
	set gdtEntries(count: number) {
		this.block.gdtEntries = count;
	}
	get eventCallback(): Callback | undefined {
		return callbackOf(this.block.eventCallback);
	}
	set eventCallback(callback: Callback | undefined) {
		setCallback(this.block.eventCallback, callback);
	}
	get failsafeCallback(): Callback | undefined {
		return callbackOf(this.block.failsafeCallback);
	}
	set failsafeCallback(callback: Callback | undefined) {
		setCallback(this.block.failsafeCallback, callback);
	}
	get syscallCallback(): Callback | undefined {
		return callbackOf(this.block.syscallCallback);
	}
	set syscallCallback(callback: Callback | undefined) {
		setCallback(this.block.syscallCallback, callback);
	}
	get syscall32Callback(): Callback | undefined {
		return callbackOf(this.block.syscall32Callback);
	}
	set syscall32Callback(callback: Callback | undefined) {
		setCallback(this.block.syscall32Callback, callback);
	}
	get sysenterCallback(): Callback | undefined {
		return callbackOf(this.block.sysenterCallback);
	}
	set sysenterCallback(callback: Callback | undefined) {
		setCallback(this.block.sysenterCallback, callback);
	}

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
