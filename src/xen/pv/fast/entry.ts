/**
 * Entries into the guest's kernel, emitted: the bounce frame of traps.ts, and what ends in one: system calls of user programs, page faults,
 * events. The functions return 1, or 0 where they have changed nothing and the case is TypeScript's.
 */
import { CR2, ERROR_CODE, FLAGS_OTHER, VECTOR } from "../../../cpu/layout.ts";
import { PageFault, Vector } from "../../../cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../../cpu/registers.ts";
import { type I32, type I64, i32, i64, select } from "../../../wasm/expression.ts";
import type { FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, VCPU_INFO_CR2, VCPU_INFO_UPCALL_PENDING } from "../../abi/arch.ts";
import { TRAP_MASKS_EVENTS } from "../../abi/traps.ts";
import { gate, vcpuBlock } from "../../vcpu-block.ts";
import { CLEARED_ON_ENTRY, VMASST_ARCHITECTURAL_IOPL } from "../traps.ts";
import type { GuestAddresses } from "./guest-address.ts";
import { anyOf, GuestState, leaveIf } from "./guest-state.ts";

/** "No error code". */
const NONE = -1;
/** Bytes of a frame without error code: RCX, R11, and the five words that IRET takes. */
const FRAME = 56;

/** Emits bounce (handler, flags of the gate, error code, RCX and R11 for the frame): traps.ts, bounce. */
export function emitBounce(module: ModuleBuilder, addresses: GuestAddresses): FunctionReference {
	return module.function("bounce", ["i64", "i32", "i32", "i64", "i64"], "i32", (f) => {
		const guest = new GuestState(f);
		const handler = f.parameter(0, "i64");
		const flags = f.parameter(1, "i32");
		const errorCode = f.parameter(2, "i32");
		const kernelMode = f.let(guest.byte("kernelMode"));
		const hasError = f.let(i32.ne(errorCode, i32.const(NONE)));
		const size = f.let(i32.add(i32.const(FRAME), i32.shl(hasError, i32.const(3))));
		const top = f.let(
			i64.and(select(kernelMode, guest.gpr(Gpr.rsp), guest.long("kernelStackPointer")), i64.const(-16)),
		);
		// No handler, a stack in the hypervisor's addresses, a frame across two pages or one that cannot be written: not here.
		leaveIf(f, i64.eqz(handler));
		const forbidden = HYPERVISOR_VIRT_END + 60 - HYPERVISOR_VIRT_START;
		leaveIf(f, i64.lt_u(i64.sub(top, i64.const(HYPERVISOR_VIRT_START)), i64.const(forbidden)));
		const start = f.let(i64.sub(top, i64.extend_i32_u(size)));
		leaveIf(f, i32.gt_u(i32.add(anyOf(i32.wrap(start), 4095), size), i32.const(4096)));
		const at = f.let(f.callFor("i32", addresses.writable, start));
		leaveIf(f, i32.eqz(at));

		f.store64(at, f.parameter(3, "i64"));
		f.store64(at, f.parameter(4, "i64"), 8);
		f.if(hasError, () => f.store64(at, i64.extend_i32_u(errorCode), 16));
		const to = f.let(i32.add(at, select(hasError, i32.const(24), i32.const(16))));
		const mask = f.let(guest.upcallMask);
		const code = guest.selector(Segment.cs);
		const word = (value: I32): I64 => i64.extend_i32_u(value);
		f.store64(to, guest.rip);
		f.store64(to, i64.or(word(select(kernelMode, anyOf(code, ~3), code)), i64.shl(word(mask), i64.const(32))), 8);
		const interrupts = select(mask, i32.const(0), i32.const(Flag.IF));
		const iopl = select(anyOf(guest.word("vmAssist"), VMASST_ARCHITECTURAL_IOPL), guest.word("iopl"), i32.const(0));
		f.store64(to, word(i32.or(i32.or(anyOf(guest.rflags, ~Flag.IF), interrupts), iopl)), 16);
		f.store64(to, guest.gpr(Gpr.rsp), 24);
		f.store64(to, word(guest.selector(Segment.ss)), 32);

		f.if(i32.eqz(kernelMode), () => guest.enterKernelMode());
		f.if(anyOf(flags, TRAP_MASKS_EVENTS), () => {
			guest.upcallMask = i32.const(1);
		});
		guest.setState32(FLAGS_OTHER, anyOf(guest.state32(FLAGS_OTHER), ~CLEARED_ON_ENTRY));
		guest.setGpr(Gpr.rsp, start);
		guest.rip = handler;
		guest.setFlatSegments();
		f.return(i32.const(1));
	});
}

/** Emits (): SYSCALL of a user program in 64-bit mode; traps.ts, enterSystemCall. */
export function emitSystemCall(module: ModuleBuilder, bounce: FunctionReference): FunctionReference {
	return module.function("systemCall", [], "i32", (f) => {
		const guest = new GuestState(f);
		const returnTo = f.let(guest.rip);
		const rflags = f.let(i64.extend_i32_u(guest.rflags));
		const { handler, flags } = gateAt(guest, vcpuBlock.offset.syscallCallback);
		leaveIf(f, i32.eqz(f.callFor("i32", bounce, handler, flags, i32.const(NONE), returnTo, rflags)));
		guest.setGpr(Gpr.rcx, returnTo);
		guest.setGpr(Gpr.r11, rflags);
		guest.setState32(FLAGS_OTHER, anyOf(guest.state32(FLAGS_OTHER), ~Flag.DF));
		guest.count("systemCalls");
		f.return(i32.const(1));
	});
}

/**
 * Emits (): an exception. Page faults are the guest's, but for stores of its kernel to page tables: `exchangeEntry` does the commonest of those,
 * and `readGsBase` the commonest privileged instruction.
 */
export function emitException(
	module: ModuleBuilder,
	bounce: FunctionReference,
	exchangeEntry: FunctionReference,
	readGsBase: FunctionReference,
): FunctionReference {
	return module.function("exception", [], "i32", (f) => {
		const guest = new GuestState(f);
		const vector = f.let(guest.state32(VECTOR));
		f.if(i32.eq(vector, i32.const(Vector.generalProtection)), () => f.return(f.callFor("i32", readGsBase)));
		leaveIf(f, i32.ne(vector, i32.const(Vector.pageFault)));
		const error = f.let(guest.state32(ERROR_CODE));
		const kernelMode = f.let(guest.byte("kernelMode"));
		const refusedWrite = PageFault.present | PageFault.write;
		f.if(i32.and(i32.eq(anyOf(error, refusedWrite), i32.const(refusedWrite)), kernelMode), () =>
			f.return(f.callFor("i32", exchangeEntry)),
		);
		const { handler, flags } = gateAt(guest, vcpuBlock.offset.traps + Vector.pageFault * gate.size);
		// The guest kernel runs in ring 3 too: only its user programs' accesses are "user" to it.
		const pushed = select(kernelMode, anyOf(error, ~PageFault.user), i32.or(error, i32.const(PageFault.user)));
		leaveIf(f, i32.eqz(f.callFor("i32", bounce, handler, flags, pushed, guest.gpr(Gpr.rcx), guest.gpr(Gpr.r11))));
		f.store64(guest.word("vcpuInfo"), guest.state64(CR2), VCPU_INFO_CR2);
		guest.count("exceptions", Vector.pageFault);
		f.return(i32.const(1));
	});
}

/** Emits (): calls the event callback where an event is pending and not masked; 0 where there is one that it could not deliver. */
export function emitEvents(module: ModuleBuilder, bounce: FunctionReference): FunctionReference {
	return module.function("events", [], "i32", (f) => {
		const guest = new GuestState(f);
		const pending = i32.load8_u(guest.word("vcpuInfo"), VCPU_INFO_UPCALL_PENDING);
		f.if(i32.or(i32.eqz(pending), guest.upcallMask), () => f.return(i32.const(1)));
		const { handler } = gateAt(guest, vcpuBlock.offset.eventCallback);
		const masks = i32.const(TRAP_MASKS_EVENTS);
		const none = i32.const(NONE);
		leaveIf(f, i32.eqz(f.callFor("i32", bounce, handler, masks, none, guest.gpr(Gpr.rcx), guest.gpr(Gpr.r11))));
		guest.count("eventUpcalls");
		f.return(i32.const(1));
	});
}

/** A gate at an offset of the block. */
function gateAt(guest: GuestState, offset: number): { readonly handler: I64; readonly flags: I32 } {
	return {
		handler: i64.load(guest.block, offset + gate.offset.handler),
		flags: i32.load8_u(guest.block, offset + gate.offset.flags),
	};
}
