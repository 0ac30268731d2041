/**
 * The iret hypercall, emitted (hypercalls/traps.ts has all of it): to user mode or to the kernel, with code and stack segments that are flat or in the
 * guest's GDT, in 64-bit mode. Anything else leaves to TypeScript before a change.
 */

import { Flag, Gpr } from "../../../cpu/registers.ts";
import { FRAMES } from "../../../memory/map.ts";
import { type I32, type I64, i32, i64, select } from "../../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";
import {
	FLAT_RING3_CS32,
	FLAT_RING3_CS64,
	FLAT_RING3_SS64,
	HYPERVISOR_VIRT_END,
	HYPERVISOR_VIRT_START,
	iretContext,
	VGCF_in_syscall,
} from "../../abi/arch.ts";
import { vcpuBlock } from "../../vcpu-block.ts";
import { Descriptor } from "../segments.ts";
import { IRET_FLAGS, VMASST_ARCHITECTURAL_IOPL } from "../traps.ts";
import type { GuestAddresses } from "./guest-address.ts";
import { anyOf, GuestState, leaveIf } from "./guest-state.ts";

/** A code segment of 64-bit mode and a stack segment, of ring 3: what must be set among what is looked at. */
const { code: CODE, conforming: CONFORMING, writable: WRITABLE, notSystem: NOT_SYSTEM, present: PRESENT } = Descriptor;
const RING3 = 3 << Descriptor.dplShift;
const CODE_WANTED = NOT_SYSTEM | CODE | PRESENT | RING3 | Descriptor.long;
const CODE_SEEN = CODE_WANTED | CONFORMING | Descriptor.default32;
const STACK_WANTED = NOT_SYSTEM | WRITABLE | PRESENT | RING3;
const STACK_SEEN = STACK_WANTED | CODE;

export function emitIret(module: ModuleBuilder, addresses: GuestAddresses): FunctionReference {
	const descriptorAt = emitDescriptorAt(module);
	return module.function("iret", [], "i32", (f) => {
		const guest = new GuestState(f);
		const { offset } = iretContext;
		const stack = f.let(guest.gpr(Gpr.rsp));
		leaveIf(f, i32.gt_u(anyOf(i32.wrap(stack), 4095), i32.const(4096 - iretContext.size)));
		const forbidden = HYPERVISOR_VIRT_END - HYPERVISOR_VIRT_START;
		leaveIf(f, i64.lt_u(i64.sub(stack, i64.const(HYPERVISOR_VIRT_START)), i64.const(forbidden)));
		const frame = f.let(f.callFor("i32", addresses.readable, stack));
		leaveIf(f, i32.eqz(frame));
		const selector = f.let(i32.load16_u(frame, offset.cs));
		const stackSelector = f.let(i32.load16_u(frame, offset.ss));
		const rflags = f.let(i32.load(frame, offset.rflags));
		const rip = f.let(i64.load(frame, offset.rip));
		const inSyscall = f.let(anyOf(i32.load(frame, offset.flags), VGCF_in_syscall));
		const toUser = f.let(i32.eq(anyOf(selector, 3), i32.const(3)));
		// Single steps are TypeScript's, as is a user mode without page tables and an address that cannot be.
		leaveIf(f, anyOf(rflags, Flag.TF));
		leaveIf(f, i32.and(toUser, i32.eqz(guest.word("userRoot"))));
		leaveIf(f, i64.ne(i64.shr_s(i64.shl(rip, i64.const(16)), i64.const(16)), rip));

		// A return from a system call has flat segments, as SYSRET gives: here those of 64-bit mode.
		leaveIf(f, i32.and(inSyscall, i32.eq(selector, i32.const(FLAT_RING3_CS32))));
		const code = f.let(select(inSyscall, i32.const(FLAT_RING3_CS64), i32.or(selector, i32.const(3))));
		const stackSegment = f.let(select(inSyscall, i32.const(FLAT_RING3_SS64), i32.or(stackSelector, i32.const(3))));
		const stackBase = f.local("i64");
		f.set(stackBase, i64.const(0));
		f.if(i32.ne(code, i32.const(FLAT_RING3_CS64)), () => {
			const descriptor = f.let(f.callFor("i32", descriptorAt, code));
			leaveIf(f, i32.eqz(descriptor));
			leaveIf(f, i32.ne(anyOf(i32.load(descriptor, 4), CODE_SEEN), i32.const(CODE_WANTED)));
		});
		f.if(i32.ne(stackSegment, i32.const(FLAT_RING3_SS64)), () => {
			const descriptor = f.let(f.callFor("i32", descriptorAt, stackSegment));
			leaveIf(f, i32.eqz(descriptor));
			leaveIf(f, i32.ne(anyOf(i32.load(descriptor, 4), STACK_SEEN), i32.const(STACK_WANTED)));
			f.set(stackBase, segmentBase(f, descriptor));
		});

		f.if(toUser, () => guest.enterUserMode());
		f.if(anyOf(guest.word("vmAssist"), VMASST_ARCHITECTURAL_IOPL), () =>
			guest.setWord("iopl", anyOf(rflags, Flag.IOPL)),
		);
		guest.setGpr(Gpr.rax, i64.load(frame, offset.rax));
		guest.setGpr(Gpr.rsp, i64.load(frame, offset.rsp));
		guest.rip = rip;
		guest.rflags = i32.or(anyOf(rflags, IRET_FLAGS), i32.const(Flag.IF | 2));
		guest.upcallMask = i32.eqz(anyOf(rflags, Flag.IF));
		guest.setByte("nmiMasked", i32.const(0));
		f.if(
			inSyscall,
			() => {
				// RCX and R11 as SYSCALL would make them.
				guest.setGpr(Gpr.rcx, rip);
				guest.setGpr(Gpr.r11, i64.extend_i32_u(guest.rflags));
			},
			() => {
				guest.setGpr(Gpr.rcx, i64.load(frame, offset.rcx));
				guest.setGpr(Gpr.r11, i64.load(frame, offset.r11));
				guest.clearNullSelectors();
			},
		);
		guest.setCode(code);
		guest.setStack(stackSegment, stackBase);
		f.return(i32.const(1));
	});
}

/** Emits (selector) -> linear address of its descriptor in the guest's part of the GDT, or 0. */
function emitDescriptorAt(module: ModuleBuilder): FunctionReference {
	return module.function("descriptorAt", ["i32"], "i32", (f) => {
		const guest = new GuestState(f);
		const selector = f.parameter(0, "i32");
		const index = f.let(i32.shr_u(selector, i32.const(3)));
		leaveIf(f, i32.or(anyOf(selector, 4), i32.ge_u(index, guest.word("gdtEntries"))));
		leaveIf(f, i32.eqz(index));
		const slot = i32.shl(i32.shr_u(index, i32.const(9)), i32.const(2));
		const frame = i32.load(i32.add(guest.block, slot), vcpuBlock.offset.gdtFrames);
		const page = i32.add(i32.const(FRAMES), i32.shl(frame, i32.const(12)));
		f.return(i32.add(page, i32.shl(anyOf(index, 511), i32.const(3))));
	});
}

/** The base that a descriptor gives: segments.ts, baseOf. */
function segmentBase(f: FunctionBuilder, descriptor: I32): I64 {
	const high = f.let(i32.load(descriptor, 4));
	const middle = i32.shl(anyOf(high, 0xff), i32.const(16));
	return i64.extend_i32_u(i32.or(i32.or(i32.load16_u(descriptor, 2), middle), anyOf(high, 0xff00_0000)));
}
