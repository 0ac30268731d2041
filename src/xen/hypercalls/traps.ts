/**
 * Hypercalls by which a PV kernel says how it wants to be entered, and how it leaves: set_trap_table, set_callbacks, callback_op,
 * nmi_op, stack_switch, iret, fpu_taskswitch, set_debugreg, get_debugreg, set_segment_base. public/arch-x86/xen.h,
 * xen-x86_64.h, callback.h, nmi.h.
 */

import { CR0, CR4, RIP } from "../../cpu/layout.ts";
import { Access, Vector } from "../../cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../cpu/registers.ts";
import {
	CR0_TS,
	Cr4,
	FLAT_RING3_CS32,
	iretContext,
	isCanonical,
	SegmentBase,
	trapInfo,
	VCPU_INFO_UPCALL_MASK,
	VGCF_in_syscall,
} from "../abi/arch.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import { CALLBACKF_mask_events, CallbackOp, CallbackType, NmiOp, TRAP_MASKS_EVENTS } from "../abi/traps.ts";
import type { Arguments, Hypercall, HypercallResult } from "../hypercall.ts";
import { PREEMPTED, REGISTERS_SET } from "../hypercall.ts";
import { dataSegmentBase, loadCode, loadFault, loadStack, setFlatSegments } from "../pv/segments.ts";
import {
	clobberSyscallRegisters,
	eventsNeedDelivery,
	IRET_FLAGS,
	injectException,
	toggleGuestMode,
	VMASST_ARCHITECTURAL_IOPL,
} from "../pv/traps.ts";
import { addressOk, copyFromGuest, SCRATCH } from "../scratch.ts";
import type { Callback, Vcpu } from "../vcpu.ts";

/** Trap table entries handled before the guest gets a chance to take its events. */
const TRAPS_AT_ONCE = 256;

function setTrapTable(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { hypervisor } = vcpu.domain;
	const { memory } = hypervisor;
	const { offset } = trapInfo;
	let address = args.signed(0);
	if (args.low(0) === 0 && args.high(0) === 0) {
		for (const entry of vcpu.traps) {
			entry.flags = 0;
			entry.selector = 0;
			entry.address = 0;
		}
		return 0;
	}
	for (let count = 0; ; count++) {
		if (count > 0 && (count >= TRAPS_AT_ONCE || eventsNeedDelivery(vcpu))) {
			args.setNumber(0, address);
			return PREEMPTED;
		}
		if (!copyFromGuest(hypervisor, address, trapInfo.size)) return -Errno.EFAULT;
		const handler = memory.i64(SCRATCH + offset.handler);
		if (handler === 0) return 0;
		if (!isCanonical(handler)) return -Errno.EINVAL;
		const entry = vcpu.traps[memory.u8(SCRATCH + offset.vector)];
		if (entry !== undefined) {
			entry.flags = memory.u8(SCRATCH + offset.flags);
			entry.selector = memory.u16(SCRATCH + offset.cs) | 3;
			entry.address = handler;
		}
		address += trapInfo.size;
	}
}

function setNmiCallback(vcpu: Vcpu, address: number): number {
	if (!isCanonical(address)) return -Errno.EINVAL;
	const entry = vcpu.traps[Vector.nmi];
	if (entry !== undefined) {
		entry.flags = address === 0 ? 0 : TRAP_MASKS_EVENTS;
		entry.address = address;
	}
	return 0;
}

function registerCallback(vcpu: Vcpu, type: number, address: number, maskEvents: boolean): number {
	if (!isCanonical(address)) return -Errno.EINVAL;
	const callback: Callback = { address, maskEvents };
	switch (type) {
		case CallbackType.event:
			vcpu.eventCallback = callback;
			return 0;
		case CallbackType.failsafe:
			vcpu.failsafeCallback = callback;
			return 0;
		case CallbackType.syscall:
			vcpu.syscallCallback = callback;
			return 0;
		case CallbackType.syscall32:
			vcpu.syscall32Callback = callback;
			return 0;
		case CallbackType.sysenter:
			vcpu.sysenterCallback = callback;
			return 0;
		case CallbackType.nmi:
			return setNmiCallback(vcpu, address);
		default:
			return -Errno.ENOSYS;
	}
}

function setCallbacks(vcpu: Vcpu, args: Arguments): HypercallResult {
	// Errors are not told to the caller: as Xen, which drops them too.
	registerCallback(vcpu, CallbackType.event, args.signed(0), false);
	registerCallback(vcpu, CallbackType.failsafe, args.signed(1), false);
	registerCallback(vcpu, CallbackType.syscall, args.signed(2), false);
	return 0;
}

function callbackOp(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { hypervisor } = vcpu.domain;
	const { memory } = hypervisor;
	switch (args.low(0)) {
		case CallbackOp.register: {
			// struct callback_register: u16 type, u16 flags, address at 8.
			if (!copyFromGuest(hypervisor, args.signed(1), 16)) return -Errno.EFAULT;
			const maskEvents = (memory.u16(SCRATCH + 2) & CALLBACKF_mask_events) !== 0;
			return registerCallback(vcpu, memory.u16(SCRATCH), memory.i64(SCRATCH + 8), maskEvents);
		}
		case CallbackOp.unregister:
			if (!copyFromGuest(hypervisor, args.signed(1), 4)) return -Errno.EFAULT;
			switch (memory.u16(SCRATCH)) {
				case CallbackType.nmi:
					return setNmiCallback(vcpu, 0);
				case CallbackType.event:
				case CallbackType.failsafe:
				case CallbackType.syscall:
				case CallbackType.syscall32:
				case CallbackType.sysenter:
					return -Errno.EINVAL;
				default:
					return -Errno.ENOSYS;
			}
		default:
			return -Errno.ENOSYS;
	}
}

function nmiOp(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { hypervisor } = vcpu.domain;
	switch (args.low(0)) {
		case NmiOp.registerCallback:
			if (!copyFromGuest(hypervisor, args.signed(1), 16)) return -Errno.EFAULT;
			return setNmiCallback(vcpu, hypervisor.memory.i64(SCRATCH));
		case NmiOp.unregisterCallback:
			return setNmiCallback(vcpu, 0);
		default:
			return -Errno.ENOSYS;
	}
}

function stackSwitch(vcpu: Vcpu, args: Arguments): HypercallResult {
	vcpu.kernelStackSelector = (args.low(0) & 0xffff) | 3;
	vcpu.kernelStackPointer = args.signed(1);
	return 0;
}

/**
 * Leaves the guest kernel for the state in struct iret_context at RSP. CS says where to: ring 3 user mode, any other the kernel
 * again. RFLAGS.IF becomes the upcall mask. A state that cannot be loaded goes to the failsafe callback, with the registers as
 * they would have been.
 */
function iret(vcpu: Vcpu): HypercallResult {
	const { registers, domain } = vcpu;
	const { hypervisor } = domain;
	const { memory } = hypervisor;
	const { offset } = iretContext;
	const stack = registers.get(Gpr.rsp);
	let from: number = SCRATCH;
	if ((registers.low(Gpr.rsp) & 4095) <= 4096 - iretContext.size) {
		from = addressOk(stack) ? hypervisor.processor.translate(stack, Access.read, 0) : -1;
	} else if (!copyFromGuest(hypervisor, stack, iretContext.size)) {
		from = -1;
	}
	if (from < 0) {
		domain.crash(`${vcpu.label}: fault while reading the iret context from the guest's stack`);
		return REGISTERS_SET;
	}
	// From here on over the words of memory: this is the commonest hypercall, and accessors cost more than what they do.
	const { words } = hypervisor.frames;
	const frame = from >>> 2;
	const selector = words[frame + offset.cs / 4]! & 0xffff;
	const stackSelector = words[frame + offset.ss / 4]! & 0xffff;
	const rflags = words[frame + offset.rflags / 4]!;
	if ((selector & 3) === 3) {
		if (vcpu.userRoot === 0) {
			domain.crash(`${vcpu.label}: switching to user mode without a user page table`);
			return REGISTERS_SET;
		}
		toggleGuestMode(vcpu);
	}
	if ((domain.vmAssist & VMASST_ARCHITECTURAL_IOPL) !== 0) vcpu.iopl = rflags & Flag.IOPL;
	const state = registers.base >>> 2;
	const ripHigh = words[frame + offset.rip / 4 + 1]!;
	const inSyscall = (words[frame + offset.flags / 4]! & VGCF_in_syscall) !== 0;
	words[state + Gpr.rax * 2] = words[frame + offset.rax / 4]!;
	words[state + Gpr.rax * 2 + 1] = words[frame + offset.rax / 4 + 1]!;
	words[state + Gpr.rsp * 2] = words[frame + offset.rsp / 4]!;
	words[state + Gpr.rsp * 2 + 1] = words[frame + offset.rsp / 4 + 1]!;
	words[state + RIP / 4] = words[frame + offset.rip / 4]!;
	words[state + RIP / 4 + 1] = ripHigh;
	if (!inSyscall) {
		words[state + Gpr.r11 * 2] = words[frame + offset.r11 / 4]!;
		words[state + Gpr.r11 * 2 + 1] = words[frame + offset.r11 / 4 + 1]!;
		words[state + Gpr.rcx * 2] = words[frame + offset.rcx / 4]!;
		words[state + Gpr.rcx * 2 + 1] = words[frame + offset.rcx / 4 + 1]!;
	}
	registers.rflags = (rflags & IRET_FLAGS) | Flag.IF | 2;
	memory.setU8(vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK, (rflags & Flag.IF) === 0 ? 1 : 0);
	vcpu.nmiMasked = false;
	// Canonical: bits 47 to 63 are all the same.
	const top = (ripHigh | 0) >> 15;
	const canonical = top === 0 || top === -1;
	if (inSyscall && canonical) {
		// As SYSRET returns: flat segments, RCX and R11 as SYSCALL would make them. Of its two forms CS chooses.
		setFlatSegments(vcpu);
		if (selector === FLAT_RING3_CS32) loadCode(vcpu, selector);
		clobberSyscallRegisters(vcpu);
		registers.finishTransfer();
		return REGISTERS_SET;
	}
	// What IRET cannot load is a fault of the state that it was to load, and goes to the guest as its own.
	const codeLoaded = loadCode(vcpu, selector | 3);
	// Of RIP a segment of compatibility mode takes the lower half.
	const reachable = canonical || !registers.longMode;
	if (codeLoaded && reachable && loadStack(vcpu, stackSelector | 3)) {
		registers.finishTransfer();
		// It is ring 0 that IRET leaves.
		registers.clearNullSelectors();
		return REGISTERS_SET;
	}
	registers.setSelector(Segment.cs, selector | 3);
	registers.setSelector(Segment.ss, stackSelector | 3);
	const refused = codeLoaded ? stackSelector : selector;
	const outside = codeLoaded && !reachable;
	const vector = outside ? Vector.generalProtection : loadFault(vcpu, refused | 3, codeLoaded);
	injectException(vcpu, vector, outside ? 0 : refused & 0xfffc);
	return REGISTERS_SET;
}

function fpuTaskswitch(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { registers } = vcpu;
	const cr0 = registers.control(CR0);
	registers.setControl(CR0, (args.low(0) !== 0 ? cr0 | CR0_TS : cr0 & ~CR0_TS) >>> 0);
	return 0;
}

/** DR6 and DR7 by their index in Registers.debug. */
const DR6 = 4;
const DR7 = 5;
const DR6_ALWAYS_ONE = 0xffff_0ff0;
const DR6_ALWAYS_ZERO = 0x1000;
const DR7_ALWAYS_ONE = 0x400;
const DR7_ALWAYS_ZERO = 0xd800;
const DR7_GENERAL_DETECT = 0x2000;
const DR7_ENABLES = 0xff;
const BREAK_ON_IO = 2;

/**
 * Sets a debug register of the running vCPU. Also what MOV to a debug register does (emulate.ts).
 * @returns 0, -ENODEV where no such register is (#UD), -EPERM or -EINVAL for values that may not be (#GP).
 */
export function setDebugRegister(vcpu: Vcpu, register: number, low: number, high: number): number {
	const { registers } = vcpu;
	const extensions = (registers.control(CR4) & Cr4.DE) !== 0;
	switch (register) {
		case 0:
		case 1:
		case 2:
		case 3: {
			const address = (high | 0) * 2 ** 32 + low;
			if (!isCanonical(address) || !addressOk(address)) return -Errno.EPERM;
			registers.setDebug(register, address);
			return 0;
		}
		case 4:
		case 6:
			if (register === 4 && extensions) return -Errno.ENODEV;
			if (high !== 0) return -Errno.EINVAL;
			registers.setDebug(DR6, ((low & ~DR6_ALWAYS_ZERO) | DR6_ALWAYS_ONE) >>> 0);
			return 0;
		case 5:
		case 7: {
			if (register === 5 && extensions) return -Errno.ENODEV;
			if (high !== 0) return -Errno.EINVAL;
			let value = ((low & ~DR7_ALWAYS_ZERO) | DR7_ALWAYS_ONE) >>> 0;
			if ((value & DR7_GENERAL_DETECT) !== 0) return -Errno.EPERM;
			let emulated = 0;
			if ((value & DR7_ENABLES) !== 0) {
				for (let breakpoint = 0; breakpoint < 4; breakpoint++) {
					if (((value >>> (16 + breakpoint * 4)) & 3) !== BREAK_ON_IO) continue;
					if (!extensions) return -Errno.EPERM;
					emulated |= value & (3 << (breakpoint * 2));
				}
				value = (value & ~emulated) >>> 0;
			}
			vcpu.debugControlEmulated = emulated;
			registers.setDebug(DR7, value);
			return 0;
		}
		default:
			return -Errno.ENODEV;
	}
}

/** The value of a debug register, as MOV reads it, or undefined where no such register is. */
export function debugRegister(vcpu: Vcpu, register: number): number | undefined {
	const { registers } = vcpu;
	const extensions = (registers.control(CR4) & Cr4.DE) !== 0;
	switch (register) {
		case 0:
		case 1:
		case 2:
		case 3:
			return registers.debug(register);
		case 4:
		case 6:
			return register === 4 && extensions ? undefined : registers.debug(DR6) >>> 0;
		case 5:
		case 7:
			if (register === 5 && extensions) return undefined;
			return (registers.debug(DR7) | vcpu.debugControlEmulated) >>> 0;
		default:
			return undefined;
	}
}

function setSegmentBase(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { registers } = vcpu;
	const base = args.signed(1);
	switch (args.low(0)) {
		case SegmentBase.fs:
			if (!isCanonical(base)) return -Errno.EINVAL;
			registers.setSegmentBase(Segment.fs, base);
			return 0;
		case SegmentBase.gsUser:
			if (!isCanonical(base)) return -Errno.EINVAL;
			vcpu.gsBaseUser = base;
			return 0;
		case SegmentBase.gsKernel:
			if (!isCanonical(base)) return -Errno.EINVAL;
			registers.setSegmentBase(Segment.gs, base);
			return 0;
		case SegmentBase.gsUserSelector: {
			let selector = args.low(1) & 0xffff;
			if (selector > 3) selector |= 3;
			const userBase = dataSegmentBase(vcpu, selector);
			// A selector that cannot be loaded becomes null; the call succeeds even so, as in Xen: Linux would BUG() otherwise.
			registers.setSelector(Segment.gs, userBase === undefined ? 0 : selector);
			vcpu.gsBaseUser = userBase ?? 0;
			return 0;
		}
		default:
			return -Errno.EINVAL;
	}
}

const SEGMENT_BASES = { 0: "FS", 1: "GS_USER", 2: "GS_KERNEL", 3: "GS_USER_SEL" };

export const trapHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.set_trap_table,
		name: "set_trap_table",
		arguments: [{ name: "traps", kind: "pointer" }],
		handler: setTrapTable,
	},
	{
		number: HypercallNumber.stack_switch,
		name: "stack_switch",
		arguments: [
			{ name: "ss", kind: "hex" },
			{ name: "esp", kind: "pointer" },
		],
		handler: stackSwitch,
	},
	{
		number: HypercallNumber.set_callbacks,
		name: "set_callbacks",
		arguments: [
			{ name: "event", kind: "pointer" },
			{ name: "failsafe", kind: "pointer" },
			{ name: "syscall", kind: "pointer" },
		],
		handler: setCallbacks,
	},
	{
		number: HypercallNumber.fpu_taskswitch,
		name: "fpu_taskswitch",
		arguments: [{ name: "set", kind: "unsigned" }],
		handler: fpuTaskswitch,
	},
	{
		number: HypercallNumber.set_debugreg,
		name: "set_debugreg",
		arguments: [
			{ name: "regno", kind: "unsigned" },
			{ name: "value", kind: "hex" },
		],
		handler: (vcpu, args) => setDebugRegister(vcpu, args.low(0), args.low(1), args.high(1)),
	},
	{
		number: HypercallNumber.get_debugreg,
		name: "get_debugreg",
		arguments: [{ name: "regno", kind: "unsigned" }],
		handler: (vcpu, args) => debugRegister(vcpu, args.low(0)) ?? -Errno.ENODEV,
	},
	{ number: HypercallNumber.iret, name: "iret", arguments: [], handler: iret },
	{
		number: HypercallNumber.set_segment_base,
		name: "set_segment_base",
		arguments: [
			{ name: "which", kind: "command", names: SEGMENT_BASES },
			{ name: "base", kind: "pointer" },
		],
		handler: setSegmentBase,
	},
	{
		number: HypercallNumber.nmi_op,
		name: "nmi_op",
		arguments: [
			{ name: "cmd", kind: "command", names: { 0: "register_callback", 1: "unregister_callback" } },
			{ name: "arg", kind: "pointer" },
		],
		handler: nmiOp,
	},
	{
		number: HypercallNumber.callback_op,
		name: "callback_op",
		arguments: [
			{ name: "cmd", kind: "command", names: { 0: "register", 1: "unregister" } },
			{ name: "arg", kind: "pointer" },
		],
		handler: callbackOp,
	},
];
