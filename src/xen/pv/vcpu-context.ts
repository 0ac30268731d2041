/**
 * VCPUOP_initialise: a vCPU's first state from struct vcpu_guest_context; and XEN_DOMCTL_getvcpucontext, the reverse. With the checks that keep a guest from giving itself
 * more than it may have. Relies on the page types for page-table roots and descriptor tables (mm/), and on the selectors that Xen
 * leaves to ring 3.
 */

import { fxsave } from "../../cpu/fpu/save.ts";
import * as layout from "../../cpu/layout.ts";
import { Flag, Gpr, type GprName, Segment } from "../../cpu/registers.ts";
import {
	CR0_TS,
	CR4_GUEST_MASK,
	FLAT_RING3_CS64,
	FLAT_RING3_SS64,
	INITIAL_CR0,
	INITIAL_CR4,
	isCanonical,
	trapInfo,
	Vgcf,
} from "../abi/arch.ts";
import { Errno } from "../abi/errno.ts";
import { vcpuGuestContext } from "../abi/vcpu-context.ts";
import { type HypercallResult, PREEMPTED } from "../hypercall.ts";
import { RESTART } from "../mm/entries.ts";
import { setGdt } from "../mm/gdt.ts";
import { ENTRIES } from "../mm/pte.ts";
import { installRoots } from "../mm/roots.ts";
import { addressOk } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";
import { GDT_FRAMES_MAX, TRAP_VECTORS } from "../vcpu-block.ts";
import { dataSegmentBase, loadCode, loadStack } from "./segments.ts";

type Context = ReturnType<typeof vcpuGuestContext.at>;

const LDT_ENTRIES_MAX = 8192;
const PAGE_MASK = 0xfff;

/** Ring 0 selectors of the old ABI become Xen's flat ones: fixup_guest_code_selector, fixup_guest_stack_selector. */
function ring3Code(selector: number): number {
	return (selector & 3) === 0 ? FLAT_RING3_CS64 : selector;
}
function ring3Stack(selector: number): number {
	return (selector & 3) === 0 ? FLAT_RING3_SS64 : selector;
}

/** Machine frame of a cr3 value; xen_cr3_to_pfn. */
function frameOfCr3(memory: Context["memory"], address: number): number {
	return (memory.u32(address + 4) & 0xf_ffff) * 2 ** 20 + (memory.u32(address) >>> 12);
}

/** Everything that can be refused without touching the vCPU. */
function isAcceptable(context: Context): boolean {
	const { memory, userRegs } = context;
	const addresses = [
		userRegs.rip,
		userRegs.rsp,
		context.kernelSp,
		context.fsBase,
		context.gsBaseKernel,
		context.gsBaseUser,
		context.eventCallbackRip,
		context.syscallCallbackRip,
		context.failsafeCallbackRip,
	];
	if (!addresses.every(isCanonical)) return false;
	if (context.ldtEntries > LDT_ENTRIES_MAX || !addressOk(context.ldtBase)) return false;
	if ((memory.u32(context.address + vcpuGuestContext.offset.ldtBase) & PAGE_MASK) !== 0) return false;
	for (let vector = 0; vector < TRAP_VECTORS; vector++) {
		if (!isCanonical(memory.i64(context.trapContext + vector * trapInfo.size + trapInfo.offset.handler))) return false;
	}
	return (context.flags & Vgcf.inKernel) !== 0 || memory.u64(context.controlRegisters + 8) !== 0;
}

/** The frames of the context's GDT. */
function gdtFrames(context: Context): number[] {
	const count = Math.min(Math.ceil(context.gdtEntries / ENTRIES), GDT_FRAMES_MAX);
	return Array.from({ length: count }, (_, index) => context.memory.u64(context.gdtFrames + index * 8));
}

const GENERAL: readonly GprName[] = [
	"r15",
	"r14",
	"r13",
	"r12",
	"rbp",
	"rbx",
	"r11",
	"r10",
	"r9",
	"r8",
	"rax",
	"rcx",
	"rdx",
	"rsi",
	"rdi",
];

function setRegisters(vcpu: Vcpu, context: Context): void {
	const { registers } = vcpu;
	const { memory, userRegs } = context;
	GENERAL.forEach((name, index) => {
		const word = userRegs.address + index * 8;
		registers.setHalves(Gpr[name], memory.u32(word), memory.u32(word + 4));
	});
	registers.set(Gpr.rsp, userRegs.rsp);
	registers.rip = userRegs.rip;
	// IOPL is virtual, real interrupts stay enabled, and no guest has VM86 or a nested task.
	vcpu.iopl = userRegs.rflags & Flag.IOPL;
	registers.rflags = (userRegs.rflags & ~(Flag.IOPL | Flag.VM | Flag.NT | Flag.VIF | Flag.VIP)) | Flag.IF;
	// Selectors that do not load leave the flat ones, as a failed load in Xen's context switch gives the null selector.
	if (!loadCode(vcpu, ring3Code(userRegs.cs))) loadCode(vcpu, FLAT_RING3_CS64);
	if (!loadStack(vcpu, ring3Stack(userRegs.ss))) loadStack(vcpu, FLAT_RING3_SS64);
	const data = [
		[Segment.ds, userRegs.ds],
		[Segment.es, userRegs.es],
		[Segment.fs, userRegs.fs],
		[Segment.gs, userRegs.gs],
	] as const;
	for (const [segment, selector] of data) {
		const base = dataSegmentBase(vcpu, selector);
		registers.setSelector(segment, base === undefined ? 0 : selector);
		registers.setSegmentBase(segment, base ?? 0);
	}
	if ((userRegs.fs & ~3) === 0) registers.setSegmentBase(Segment.fs, context.fsBase);
	vcpu.gsBaseKernel = context.gsBaseKernel;
	vcpu.gsBaseUser = (userRegs.gs & ~3) === 0 ? context.gsBaseUser : 0;
	registers.setSegmentBase(Segment.gs, vcpu.kernelMode ? vcpu.gsBaseKernel : vcpu.gsBaseUser);
	registers.finishTransfer();
}

/** FXSAVE's image, where the context says that it has one. */
function setFpu(vcpu: Vcpu, context: Context): void {
	if ((context.flags & Vgcf.i387Valid) === 0) return;
	const { memory } = context;
	const { base } = vcpu.registers;
	const image = context.fpuContext;
	const status = memory.u16(image + 2);
	const top = (status >>> 11) & 7;
	memory.setU16(base + layout.X87_CONTROL, memory.u16(image));
	memory.setU16(base + layout.X87_STATUS, status & ~0x3800);
	memory.setU8(base + layout.X87_TOP, top);
	memory.setU8(base + layout.X87_TAGS, memory.u8(image + 4));
	memory.setU32(base + layout.MXCSR, memory.u32(image + 24) & 0xffff);
	// The image has the stack from its top, the context block by physical register.
	for (let index = 0; index < 8; index++) {
		memory.copy(base + layout.X87_REGISTERS + ((top + index) & 7) * 16, image + 32 + index * 16, 10);
	}
	memory.copy(base + layout.XMM, image + 160, 256);
}

function setTraps(vcpu: Vcpu, context: Context): void {
	for (let vector = 0; vector < TRAP_VECTORS; vector++) {
		// Not through a view: its own `address` is where it lies.
		const info = context.trapContext + vector * trapInfo.size;
		const trap = vcpu.traps[vector];
		if (trap === undefined) continue;
		trap.flags = context.memory.u8(info + trapInfo.offset.flags);
		trap.selector = ring3Code(context.memory.u16(info + trapInfo.offset.cs));
		trap.address = context.memory.i64(info + trapInfo.offset.handler);
	}
	const failsafeMasks = (context.flags & Vgcf.failsafeDisablesEvents) !== 0;
	const syscallMasks = (context.flags & Vgcf.syscallDisablesEvents) !== 0;
	vcpu.eventCallback = { address: context.eventCallbackRip, maskEvents: true };
	vcpu.failsafeCallback = { address: context.failsafeCallbackRip, maskEvents: failsafeMasks };
	vcpu.syscallCallback = { address: context.syscallCallbackRip, maskEvents: syscallMasks };
}

function setControl(vcpu: Vcpu, context: Context): void {
	const { registers } = vcpu;
	const { memory } = context;
	const cr0 = memory.u32(context.controlRegisters);
	const cr4 = memory.u32(context.controlRegisters + 4 * 8);
	registers.setControl(layout.CR0, ((INITIAL_CR0 & ~CR0_TS) | (cr0 & CR0_TS)) >>> 0);
	registers.setControl(layout.CR4, (INITIAL_CR4 | (cr4 & CR4_GUEST_MASK)) >>> 0);
}

/**
 * Sets up a vCPU that has never run.
 * @returns 0, a negative errno, or PREEMPTED where a page table that it needs is just being taken down.
 */
export function setVcpuContext(vcpu: Vcpu, context: Context): HypercallResult {
	const { memory } = context;
	const { frames } = vcpu.domain.hypervisor;
	if (!isAcceptable(context)) return -Errno.EINVAL;
	const kernelRoot = frameOfCr3(memory, context.controlRegisters + 3 * 8);
	const userRoot = frameOfCr3(memory, context.controlRegisters + 8);
	frames.startWork();
	const roots = installRoots(vcpu, kernelRoot, userRoot);
	if (roots !== 0) return roots === RESTART ? PREEMPTED : roots;
	const gdt = setGdt(vcpu, gdtFrames(context), context.gdtEntries);
	if (gdt !== 0) {
		vcpu.kernelRoot = 0;
		vcpu.userRoot = 0;
		frames.putPageAndType(kernelRoot);
		if (userRoot !== 0) frames.putPageAndType(userRoot);
		return gdt;
	}
	vcpu.resetRegisters();
	vcpu.kernelMode = (context.flags & Vgcf.inKernel) !== 0;
	vcpu.registers.addressSpace = vcpu.kernelMode ? 0 : 1;
	vcpu.ldtBase = context.ldtBase;
	vcpu.ldtEntries = context.ldtEntries;
	vcpu.kernelStackSelector = ring3Stack(context.kernelSs & 0xffff);
	vcpu.kernelStackPointer = context.kernelSp;
	setTraps(vcpu, context);
	setRegisters(vcpu, context);
	setFpu(vcpu, context);
	setControl(vcpu, context);
	vcpu.initialised = true;
	if ((context.flags & Vgcf.online) !== 0) vcpu.domain.hypervisor.scheduler.bringUp(vcpu);
	return 0;
}

const FXSAVE_ALL = true;

/** Writes a vCPU's state (XEN_DOMCTL_getvcpucontext) to a linear address; it must not be running. */
export function getVcpuContext(vcpu: Vcpu, address: number): void {
	const { memory } = vcpu.domain.hypervisor;
	const { registers } = vcpu;
	memory.fill(address, vcpuGuestContext.size, 0);
	const context = vcpuGuestContext.at(memory, address);
	fxsave(memory, registers.base, context.fpuContext, FXSAVE_ALL);
	context.flags =
		Vgcf.i387Valid |
		(vcpu.kernelMode ? Vgcf.inKernel : 0) |
		(vcpu.failsafeCallback?.maskEvents === true ? Vgcf.failsafeDisablesEvents : 0) |
		(vcpu.syscallCallback?.maskEvents === true ? Vgcf.syscallDisablesEvents : 0) |
		(vcpu.online ? Vgcf.online : 0);
	getRegisters(vcpu, context);
	for (let vector = 0; vector < TRAP_VECTORS; vector++) {
		const trap = vcpu.traps[vector];
		const info = context.trapContext + vector * trapInfo.size;
		memory.setU8(info, vector);
		memory.setU8(info + trapInfo.offset.flags, trap?.flags ?? 0);
		memory.setU16(info + trapInfo.offset.cs, trap?.selector ?? 0);
		memory.setU64(info + trapInfo.offset.handler, trap?.address ?? 0);
	}
	context.ldtBase = vcpu.ldtBase;
	context.ldtEntries = vcpu.ldtEntries;
	for (const [index, mfn] of vcpu.gdtFrames.entries()) memory.setU64(context.gdtFrames + index * 8, mfn);
	context.gdtEntries = vcpu.gdtEntries;
	context.kernelSs = vcpu.kernelStackSelector;
	context.kernelSp = vcpu.kernelStackPointer;
	const control = [
		registers.control(layout.CR0),
		cr3OfFrame(vcpu.userRoot),
		registers.cr2,
		cr3OfFrame(vcpu.kernelRoot),
	];
	for (const [index, value] of [...control, registers.control(layout.CR4)].entries()) {
		memory.setU64(context.controlRegisters + index * 8, value);
	}
	for (const [index, number] of [0, 1, 2, 3, 6, 7].entries()) {
		memory.setU64(context.debugRegisters + number * 8, registers.debug(index));
	}
	context.eventCallbackRip = vcpu.eventCallback?.address ?? 0;
	context.failsafeCallbackRip = vcpu.failsafeCallback?.address ?? 0;
	context.syscallCallbackRip = vcpu.syscallCallback?.address ?? 0;
	context.vmAssist = vcpu.domain.vmAssist;
	const gsBase = registers.segmentBase(Segment.gs);
	context.fsBase = registers.segmentBase(Segment.fs);
	context.gsBaseKernel = vcpu.kernelMode ? gsBase : vcpu.gsBaseKernel;
	context.gsBaseUser = vcpu.kernelMode ? vcpu.gsBaseUser : gsBase;
}

function getRegisters(vcpu: Vcpu, { memory, userRegs }: Context): void {
	const { registers } = vcpu;
	GENERAL.forEach((name, index) => {
		memory.setU32(userRegs.address + index * 8, registers.low(Gpr[name]));
		memory.setU32(userRegs.address + index * 8 + 4, registers.high(Gpr[name]));
	});
	userRegs.rsp = registers.get(Gpr.rsp);
	userRegs.rip = registers.rip;
	userRegs.rflags = (registers.rflags & ~Flag.IOPL) | vcpu.iopl;
	userRegs.cs = registers.selector(Segment.cs);
	userRegs.ss = registers.selector(Segment.ss);
	userRegs.ds = registers.selector(Segment.ds);
	userRegs.es = registers.selector(Segment.es);
	userRegs.fs = registers.selector(Segment.fs);
	userRegs.gs = registers.selector(Segment.gs);
}

/** xen_pfn_to_cr3 */
function cr3OfFrame(mfn: number): number {
	return (mfn % 2 ** 52) * 4096;
}
