/**
 * Entries into a PV guest's kernel: bounce frames on its stack for exceptions, events and system calls,
 * and the switch between guest kernel and guest user mode, as 64-bit Xen does them (public/arch-x86/xen-x86_64.h, struct
 * cpu_user_regs; Xen's create_bounce_frame). The hot paths allocate nothing.
 */
import { ADDRESS_SPACE, CR0, FLAGS_OTHER, FRAME_HAS_CODE, RIP, SLOT_GS_BASE } from "../../cpu/layout.ts";
import { Access, PageFault, Vector } from "../../cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../cpu/registers.ts";
import { FRAME_FLAGS } from "../../memory/map.ts";
import {
	CR0_TS,
	HYPERVISOR_VIRT_END,
	HYPERVISOR_VIRT_START,
	VCPU_INFO_CR2,
	VCPU_INFO_UPCALL_MASK,
} from "../abi/arch.ts";
import { exceptionName, hasErrorCode, TRAP_MASKS_EVENTS } from "../abi/traps.ts";
import { copyToGuest, SCRATCH } from "../scratch.ts";
import { hex, TraceCategory } from "../trace.ts";
import type { Callback, Vcpu } from "../vcpu.ts";
import { setFlatSegments } from "./segments.ts";

/** VMASST_TYPE_architectural_iopl: saved RFLAGS carry the virtual IOPL. */
export const VMASST_ARCHITECTURAL_IOPL = 1 << 4;

const FRAME = 40;
const ERROR_CODE = 8;
const SAVED_REGISTERS = 16;
/** What an entry clears in RFLAGS: alignment checks, virtual-8086 mode, resume, nested task, single step. */
export const CLEARED_ON_ENTRY = Flag.AC | Flag.VM | Flag.RF | Flag.NT | Flag.TF;
/** What a PV guest may set in RFLAGS by iret: everything but IOPL, VM, VIF and VIP. */
export const IRET_FLAGS =
	Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.TF | Flag.DF | Flag.OF | Flag.NT | Flag.RF | Flag.AC | Flag.ID;
/** The vector of 32-bit system calls, for which Xen has a gate of its own. */
const LEGACY_SYSTEM_CALL = 0x80;
/** SYSCALL, two bytes. */
const SYSCALL_LENGTH = 2;
/** "No error code" of {@link bounce}. */
const NONE = -1;

/**
 * Switches between guest kernel and guest user mode: page tables (the processor keeps both contexts) and GS base. The base that
 * was running is kept, as WRGSBASE may have changed it (Xen's toggle_guest_mode).
 */
export function toggleGuestMode(vcpu: Vcpu): void {
	const { base } = vcpu.registers;
	const { memory } = vcpu.domain.hypervisor;
	const running = memory.i64(base + SLOT_GS_BASE * 8);
	if (vcpu.kernelMode) {
		vcpu.gsBaseKernel = running;
		memory.setU64(base + SLOT_GS_BASE * 8, vcpu.gsBaseUser);
		memory.setU8(base + ADDRESS_SPACE, 1);
		vcpu.kernelMode = false;
	} else {
		vcpu.gsBaseUser = running;
		memory.setU64(base + SLOT_GS_BASE * 8, vcpu.gsBaseKernel);
		memory.setU8(base + ADDRESS_SPACE, 0);
		vcpu.kernelMode = true;
	}
}

/**
 * Pushes a frame on the guest kernel's stack and goes to `address`. From the stack pointer up: RCX, R11, [error code,] RIP, CS with the saved upcall mask in its byte 4, RFLAGS with IF telling the same, RSP, SS.
 * A frame that cannot be written, or no handler, ends the domain.
 */
function bounce(vcpu: Vcpu, address: number, maskEvents: boolean, errorCode: number): void {
	const { registers, domain } = vcpu;
	const { hypervisor } = domain;
	const { memory } = hypervisor;
	let selector = registers.selector(Segment.cs);
	let stack: number;
	if (vcpu.kernelMode) {
		stack = registers.get(Gpr.rsp);
		selector &= ~3;
	} else {
		toggleGuestMode(vcpu);
		stack = vcpu.kernelStackPointer;
	}
	stack = Math.floor(stack / 16) * 16;
	if (stack >= HYPERVISOR_VIRT_START && stack < HYPERVISOR_VIRT_END + 60) {
		domain.crash(`${vcpu.label}: kernel stack ${hex(stack)} lies in the hypervisor's address space`);
		return;
	}
	const size = FRAME + SAVED_REGISTERS + (errorCode === NONE ? 0 : ERROR_CODE);
	const start = stack - size;
	const inPage = ((start % 4096) + 4096) & 4095;
	let at: number;
	if (inPage + size <= 4096) {
		at = hypervisor.processor.translate(start, Access.write, 0);
		if (at < 0) {
			crashOnStack(vcpu, start);
			return;
		}
		const mfn = memory.frameAt(at);
		if ((memory.u8(FRAME_FLAGS + mfn) & FRAME_HAS_CODE) !== 0) hypervisor.processor.codeChanged(mfn);
	} else {
		at = SCRATCH;
	}
	pushFrame(vcpu, at, selector, errorCode);
	if (at === SCRATCH && !copyToGuest(hypervisor, start, size)) {
		crashOnStack(vcpu, start);
		return;
	}
	if (address === 0) {
		domain.crash(`${vcpu.label}: no handler is set for the entry`);
		return;
	}
	if (maskEvents) memory.setU8(vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK, 1);
	const { words } = hypervisor.frames;
	const state = registers.base >>> 2;
	// The arithmetic flags stay: only the others are touched.
	words[state + FLAGS_OTHER / 4]! &= ~CLEARED_ON_ENTRY;
	registers.set(Gpr.rsp, start);
	registers.rip = address;
	setFlatSegments(vcpu);
}

/**
 * Writes the frame's words at linear address `at`. One function over the words of memory: a frame is a dozen of them, at every entry
 * of the guest kernel, and calls of accessors would cost more than the stores.
 */
function pushFrame(vcpu: Vcpu, at: number, selector: number, errorCode: number): void {
	const { registers, domain } = vcpu;
	const { words } = domain.hypervisor.frames;
	const state = registers.base >>> 2;
	let to = at >>> 2;
	words[to] = words[state + Gpr.rcx * 2]!;
	words[to + 1] = words[state + Gpr.rcx * 2 + 1]!;
	words[to + 2] = words[state + Gpr.r11 * 2]!;
	words[to + 3] = words[state + Gpr.r11 * 2 + 1]!;
	to += SAVED_REGISTERS / 4;
	if (errorCode !== NONE) {
		words[to] = errorCode;
		words[to + 1] = 0;
		to += ERROR_CODE / 4;
	}
	const mask = domain.hypervisor.memory.u8(vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK);
	let saved = mask === 0 ? registers.rflags | Flag.IF : registers.rflags & ~Flag.IF;
	if ((domain.vmAssist & VMASST_ARCHITECTURAL_IOPL) !== 0) saved |= vcpu.iopl;
	words[to] = words[state + RIP / 4]!;
	words[to + 1] = words[state + RIP / 4 + 1]!;
	words[to + 2] = selector;
	words[to + 3] = mask;
	words[to + 4] = saved;
	words[to + 5] = 0;
	words[to + 6] = words[state + Gpr.rsp * 2]!;
	words[to + 7] = words[state + Gpr.rsp * 2 + 1]!;
	words[to + 8] = registers.selector(Segment.ss);
	words[to + 9] = 0;
}

function crashOnStack(vcpu: Vcpu, address: number): void {
	vcpu.domain.crash(`${vcpu.label}: the kernel stack at ${hex(address)} cannot be written`);
}

function bounceTo(vcpu: Vcpu, callback: Callback | undefined): void {
	bounce(vcpu, callback?.address ?? 0, callback?.maskEvents ?? false, NONE);
}

/**
 * Raises an exception in the guest through its trap table: `errorCode` counts where the vector has one, `cr2` is taken from the
 * registers for #PF. Without a handler the domain ends (a real machine would have no one left to turn to either).
 */
export function injectException(vcpu: Vcpu, vector: number, errorCode: number): void {
	const { domain } = vcpu;
	const { trace } = domain.hypervisor;
	trace.exceptionCounts[vector] = (trace.exceptionCounts[vector] ?? 0) + 1;
	if ((trace.categories & TraceCategory.faults) !== 0) trace.fault(vcpu, vector, errorCode);
	const entry = vcpu.traps[vector];
	if (entry === undefined || entry.address === 0) {
		const where = vector === Vector.pageFault ? ` at address ${hex(vcpu.registers.cr2)}` : "";
		domain.crash(
			`${vcpu.label}: unhandled ${exceptionName(vector)} [#${vector}, ec=${errorCode.toString(16).padStart(4, "0")}]${where}`,
		);
		return;
	}
	let pushed = NONE;
	if (hasErrorCode(vector)) {
		pushed = errorCode;
		if (vector === Vector.pageFault) {
			domain.hypervisor.memory.setU64(vcpu.vcpuInfo + VCPU_INFO_CR2, vcpu.registers.cr2);
			// The guest kernel runs in ring 3 too: only its user programs' accesses are "user" to it.
			pushed = vcpu.kernelMode ? errorCode & ~PageFault.user : errorCode | PageFault.user;
		}
	}
	bounce(vcpu, entry.address, (entry.flags & TRAP_MASKS_EVENTS) !== 0, pushed);
}

/**
 * INT n. The trap table's DPL decides who may: 0 nobody, 1 and 2 the kernel, 3 everyone. RIP is behind the instruction,
 * `length` bytes long. Refused: #GP with the error code that an IDT gate of ring 0 gives.
 */
export function softwareInterrupt(vcpu: Vcpu, vector: number, length: number): void {
	const entry = vcpu.traps[vector];
	// #BP and #OF have gates of their own that every ring may use; ICEBP, one byte long, asks no gate. INT 1 does.
	if (vector === Vector.breakpoint || vector === Vector.overflow || (vector === Vector.debug && length === 1)) {
		injectException(vcpu, vector, 0);
		return;
	}
	// 0x80 goes directly to the guest, whatever the entry's DPL.
	const needed = vector === LEGACY_SYSTEM_CALL ? 0 : vcpu.kernelMode ? 1 : 3;
	if (entry === undefined || entry.address === 0 || (entry.flags & 3) < needed) {
		vcpu.registers.rip -= length;
		injectException(vcpu, Vector.generalProtection, (vector << 3) | 2);
		return;
	}
	const { trace } = vcpu.domain.hypervisor;
	trace.exceptionCounts[vector] = (trace.exceptionCounts[vector] ?? 0) + 1;
	bounce(vcpu, entry.address, (entry.flags & TRAP_MASKS_EVENTS) !== 0, NONE);
}

/** #NM: Xen clears the guest's CR0.TS on the way (public/xen.h, fpu_taskswitch). */
export function deviceNotAvailable(vcpu: Vcpu): void {
	const { registers } = vcpu;
	registers.setControl(CR0, (registers.control(CR0) & ~CR0_TS) >>> 0);
	injectException(vcpu, Vector.deviceNotAvailable, 0);
}

/** Calls the event callback: the guest has a pending event and does not mask it. */
export function deliverEvents(vcpu: Vcpu): void {
	const { trace } = vcpu.domain.hypervisor;
	trace.count("eventUpcalls");
	if ((trace.categories & TraceCategory.events) !== 0) trace.event(vcpu);
	bounce(vcpu, vcpu.eventCallback?.address ?? 0, true, NONE);
}

/** Delivers the pending NMI where the guest has a handler; without one it is lost, as in Xen. */
export function deliverNmi(vcpu: Vcpu): void {
	vcpu.nmiPending = false;
	const entry = vcpu.traps[Vector.nmi];
	if (entry === undefined || entry.address === 0) return;
	vcpu.nmiMasked = true;
	injectException(vcpu, Vector.nmi, 0);
}

/** What SYSCALL itself does to general registers: RCX = RIP behind it, R11 = RFLAGS. */
export function clobberSyscallRegisters(vcpu: Vcpu): void {
	const { registers } = vcpu;
	const { words } = vcpu.domain.hypervisor.frames;
	const state = registers.base >>> 2;
	words[state + Gpr.rcx * 2] = words[state + RIP / 4]!;
	words[state + Gpr.rcx * 2 + 1] = words[state + RIP / 4 + 1]!;
	words[state + Gpr.r11 * 2] = registers.rflags;
	words[state + Gpr.r11 * 2 + 1] = 0;
}

/** SYSCALL of a user program, a 32-bit one's where that is the maker's choice. RIP is behind it; RCX and R11 become what the instruction makes of them. */
export function enterSystemCall(vcpu: Vcpu): void {
	const { registers } = vcpu;
	vcpu.domain.hypervisor.trace.count("systemCalls");
	clobberSyscallRegisters(vcpu);
	const callback = registers.longMode ? vcpu.syscallCallback : vcpu.syscall32Callback;
	if (callback === undefined || callback.address === 0) {
		// A kernel that takes no system calls gets #UD at the instruction.
		registers.rip -= SYSCALL_LENGTH;
		injectException(vcpu, Vector.invalidOpcode, 0);
		return;
	}
	bounceTo(vcpu, callback);
	vcpu.domain.hypervisor.frames.words[(registers.base + FLAGS_OTHER) >>> 2]! &= ~Flag.DF;
}

/**
 * SYSENTER of a user program: RIP and RSP are lost to it, so the frame has RIP 0 and CS 3, as from Xen. Without a callback
 * it is #GP(0) with the events masked.
 */
export function enterSysenter(vcpu: Vcpu): void {
	const { registers } = vcpu;
	const callback = vcpu.sysenterCallback;
	vcpu.domain.hypervisor.trace.count("systemCalls");
	registers.rip = 0;
	registers.setSelector(Segment.cs, 3);
	registers.set(Gpr.rsp, 0);
	registers.rflags &= ~Flag.VM;
	setSysenterStack(vcpu);
	if (callback === undefined || callback.address === 0) {
		bounce(vcpu, vcpu.traps[Vector.generalProtection]?.address ?? 0, true, 0);
		return;
	}
	bounceTo(vcpu, callback);
}

function setSysenterStack(vcpu: Vcpu): void {
	vcpu.registers.setSelector(Segment.ss, 0xe02b);
}

/** An event waits and the guest accepts it: preemptible hypercalls stop here. */
export function eventsNeedDelivery(vcpu: Vcpu): boolean {
	const word = vcpu.domain.hypervisor.memory.u16(vcpu.vcpuInfo);
	return (word & 0xff) !== 0 && word >>> 8 === 0;
}
