/**
 * The two instructions of a Linux kernel that fault most often in a PV guest, emitted: XCHG with an entry of an L1 table, which is mapped
 * read-only (ptep_get_and_clear; mm/ptwr.ts does any other), and RDMSR of KERNEL_GS_BASE, once a context switch (emulate.ts).
 */
import { CR2, ERROR_CODE, FLAGS_OTHER, LONG_MODE, NOT_CANONICAL } from "../../../cpu/layout.ts";
import { PageFault } from "../../../cpu/processor.ts";
import { Flag, Gpr } from "../../../cpu/registers.ts";
import { STATE } from "../../../memory/map.ts";
import { type I32, type I64, i32, i64, select } from "../../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from "../../abi/arch.ts";
import { Pte } from "../../mm/pte.ts";
import { VmAssist } from "../../mm/vm-assist-bits.ts";
import type { GuestAddresses } from "./guest-address.ts";
import { anyOf, GuestState, leaveIf } from "./guest-state.ts";
import { frameAddress, frameOf, infoOf, isFrame, leaveUnlessL1Table, leaveUnlessOwned } from "./l1-entry.ts";

const KERNEL_GS_BASE = 0xc000_0102;
const LONGEST_INSTRUCTION = 15;

/** Linear address of the instruction at RIP. Leaves where a longest one could reach the next page, outside 64-bit mode, and while single-stepping. */
function instructionAt(f: FunctionBuilder, guest: GuestState, addresses: GuestAddresses): I32 {
	leaveIf(f, i32.eqz(guest.state8(LONG_MODE)));
	leaveIf(f, anyOf(guest.state32(FLAGS_OTHER), Flag.TF | Flag.RF));
	const rip = f.let(guest.rip);
	leaveIf(f, i32.gt_u(anyOf(i32.wrap(rip), 4095), i32.const(4096 - LONGEST_INSTRUCTION)));
	const at = f.let(f.callFor("i32", addresses.readable, rip));
	leaveIf(f, i32.eqz(at));
	return at;
}

function advance(guest: GuestState, length: I32): void {
	guest.rip = i64.add(guest.rip, i64.extend_i32_u(length));
}

/** Emits (): #GP of the guest's kernel -> 1 where it was RDMSR of KERNEL_GS_BASE, which is a PV kernel's base of its user programs' GS. */
export function emitReadGsBase(module: ModuleBuilder, addresses: GuestAddresses): FunctionReference {
	return module.function("readGsBase", [], "i32", (f) => {
		const guest = new GuestState(f);
		leaveIf(f, i32.eqz(guest.byte("kernelMode")));
		leaveIf(f, i32.or(guest.state32(ERROR_CODE), guest.word("ldtFault")));
		leaveIf(f, i32.load(i32.const(NOT_CANONICAL)));
		leaveIf(f, i32.ne(i32.wrap(guest.gpr(Gpr.rcx)), i32.const(KERNEL_GS_BASE)));
		const at = instructionAt(f, guest, addresses);
		leaveIf(f, i32.ne(i32.load16_u(at), i32.const(0x320f)));
		const base = f.let(guest.long("gsBaseUser"));
		guest.setGpr(Gpr.rax, i64.and(base, i64.const(0xffff_ffff)));
		guest.setGpr(Gpr.rdx, i64.shr_u(base, i64.const(32)));
		advance(guest, i32.const(2));
		guest.count("emulatedInstructions");
		f.return(i32.const(1));
	});
}

/** Emits (): #PF of the guest's kernel -> 1 where it was XCHG of a 64-bit register with an entry of an L1 table, and that is done. */
export function emitExchangeEntry(
	module: ModuleBuilder,
	addresses: GuestAddresses,
	updateL1Entry: FunctionReference,
): FunctionReference {
	return module.function("exchangeEntry", [], "i32", (f) => {
		const guest = new GuestState(f);
		const wanted = PageFault.present | PageFault.write;
		const seen = wanted | PageFault.reserved | PageFault.fetch;
		leaveIf(f, i32.ne(anyOf(guest.state32(ERROR_CODE), seen), i32.const(wanted)));
		leaveIf(f, i32.eqz(anyOf(guest.word("vmAssist"), 1 << VmAssist.writablePagetables)));
		const address = f.let(guest.state64(CR2));
		leaveIf(f, anyOf(i32.wrap(address), 7));
		const table = mappedReadOnly(f, guest, address);
		const info = f.let(infoOf(table));
		leaveUnlessOwned(f, guest.word("domainId"), info);
		leaveUnlessL1Table(f, info);

		// REX.W 87 /r with a memory operand; the fault has said where.
		const at = instructionAt(f, guest, addresses);
		const bytes = f.let(i32.load(at));
		leaveIf(f, i32.ne(anyOf(bytes, 0xfff8), i32.const(0x8748)));
		const mod = f.let(anyOf(i32.shr_u(bytes, i32.const(22)), 3));
		const rm = f.let(anyOf(i32.shr_u(bytes, i32.const(16)), 7));
		leaveIf(f, i32.eq(mod, i32.const(3)));
		const register = f.let(i32.or(anyOf(i32.shr_u(bytes, i32.const(19)), 7), i32.shl(anyOf(bytes, 4), i32.const(1))));
		const length = f.let(i32.add(i32.const(3), operandLength(f, bytes, mod, rm)));

		const entry = f.let(i32.add(frameAddress(table), anyOf(i32.wrap(address), 0xff8)));
		// The read half of the exchange goes by the TLB.
		leaveIf(f, i32.ne(f.callFor("i32", addresses.readable, address), entry));
		const slot = f.let(i32.add(i32.const(STATE), i32.shl(register, i32.const(3))));
		const old = f.let(i64.load(entry));
		const keepNothing = i32.const(0);
		const owner = guest.word("domainId");
		leaveIf(f, i32.eqz(f.callFor("i32", updateL1Entry, i32.wrap(table), entry, i64.load(slot), keepNothing, owner)));
		f.store64(slot, old);
		advance(guest, length);
		guest.count("emulatedPageTableWrites");
		f.return(i32.const(1));
	});
}

/** Bytes of the SIB byte and the displacement that follow ModRM (SDM volume 2, 2.1.5). */
function operandLength(f: FunctionBuilder, bytes: I32, mod: I32, rm: I32): I32 {
	const hasSib = f.let(i32.eq(rm, i32.const(4)));
	const base = f.let(select(hasSib, anyOf(i32.shr_u(bytes, i32.const(24)), 7), rm));
	const withoutBase = i32.and(i32.eqz(mod), i32.eq(base, i32.const(5)));
	const four = i32.or(withoutBase, i32.eq(mod, i32.const(2)));
	return i32.add(i32.add(hasSib, i32.shl(four, i32.const(2))), i32.eq(mod, i32.const(1)));
}

/** The frame that the kernel's tables map read-only at an address, by the tables alone (mm/walk.ts, mm/ptwr.ts). */
function mappedReadOnly(f: FunctionBuilder, guest: GuestState, address: I64): I64 {
	const forbidden = HYPERVISOR_VIRT_END - HYPERVISOR_VIRT_START;
	leaveIf(f, i64.lt_u(i64.sub(address, i64.const(HYPERVISOR_VIRT_START)), i64.const(forbidden)));
	leaveIf(f, i64.ne(i64.shr_s(i64.shl(address, i64.const(16)), i64.const(16)), address));
	leaveIf(f, i32.eqz(guest.word("kernelRoot")));
	const frame = f.local("i64");
	const entry = f.local("i64");
	f.set(frame, i64.extend_i32_u(guest.word("kernelRoot")));
	for (const shift of [39, 30, 21, 12]) {
		const slot = anyOf(i32.wrap(i64.shr_u(address, i64.const(shift))), 511);
		f.set(entry, i64.load(i32.add(frameAddress(frame), i32.shl(slot, i32.const(3)))));
		const looked = shift === 12 ? Pte.present | Pte.writable : shift === 21 ? Pte.present | Pte.pageSize : Pte.present;
		leaveIf(f, i32.ne(anyOf(i32.wrap(entry), looked), i32.const(Pte.present)));
		f.set(frame, frameOf(entry));
		leaveIf(f, i32.eqz(isFrame(frame)));
	}
	return frame;
}
