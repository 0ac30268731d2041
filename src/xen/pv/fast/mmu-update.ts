/**
 * mmu_update with one request for an L1 entry, emitted: what a page fault of a Linux guest, and each page of an exec, makes (hypercalls/mmu.ts).
 */
import { Gpr } from "../../../cpu/registers.ts";
import { i32, i64, select } from "../../../wasm/expression.ts";
import type { FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from "../../abi/arch.ts";
import { DOMID_SELF } from "../../abi/domid.ts";
import { MMU_COMMAND_MASK, MMU_UPDATE_SIZE, MmuCommand } from "../../abi/mmu.ts";
import { Pte } from "../../mm/pte.ts";
import type { GuestAddresses } from "./guest-address.ts";
import { anyOf, GuestState, leaveIf } from "./guest-state.ts";
import { frameAddress, infoOf, isFrame, leaveUnlessL1Table, leaveUnlessOwned } from "./l1-entry.ts";

/** Emits (linear address of a request, domain id of the caller, whose table and frame it is about) -> 1, or 0 where it has changed nothing. */
export function emitUpdateRequest(module: ModuleBuilder, updateL1Entry: FunctionReference): FunctionReference {
	return module.function("updateRequest", ["i32", "i32"], "i32", (f) => {
		const request = f.parameter(0, "i32");
		const owner = f.parameter(1, "i32");
		const pointer = f.let(i64.load(request));
		const command = f.let(anyOf(i32.wrap(pointer), MMU_COMMAND_MASK));
		const preserve = f.let(i32.eq(command, i32.const(MmuCommand.preserveAd)));
		const known = i32.or(preserve, i32.or(i32.eqz(command), i32.eq(command, i32.const(MmuCommand.noTranslate))));
		leaveIf(f, i32.eqz(known));
		const table = f.let(i64.shr_u(pointer, i64.const(12)));
		leaveIf(f, i32.eqz(isFrame(table)));
		const info = f.let(infoOf(table));
		leaveUnlessOwned(f, owner, info);
		leaveUnlessL1Table(f, info);
		const at = i32.add(frameAddress(table), anyOf(i32.wrap(pointer), 0xff8));
		const keep = select(preserve, i32.const(Pte.accessed | Pte.dirty), i32.const(0));
		f.return(f.callFor("i32", updateL1Entry, i32.wrap(table), at, i64.load(request, 8), keep, owner));
	});
}

/** Emits () -> 1, or 0 where it has changed nothing. */
export function emitMmuUpdate(
	module: ModuleBuilder,
	addresses: GuestAddresses,
	updateRequest: FunctionReference,
): FunctionReference {
	return module.function("mmuUpdate", [], "i32", (f) => {
		const guest = new GuestState(f);
		const address = f.let(guest.gpr(Gpr.rdi));
		// One request, no count of those done, the domain's own table and frame, and nothing left to be dropped.
		leaveIf(f, i64.ne(guest.gpr(Gpr.rsi), i64.const(1)));
		leaveIf(f, i64.ne(guest.gpr(Gpr.rdx), i64.const(0)));
		leaveIf(f, i32.ne(i32.wrap(guest.gpr(Gpr.r10)), i32.const(DOMID_SELF)));
		leaveIf(f, guest.word("deferredTable"));
		leaveIf(f, i32.gt_u(anyOf(i32.wrap(address), 4095), i32.const(4096 - MMU_UPDATE_SIZE)));
		const forbidden = HYPERVISOR_VIRT_END - HYPERVISOR_VIRT_START;
		leaveIf(f, i64.lt_u(i64.sub(address, i64.const(HYPERVISOR_VIRT_START)), i64.const(forbidden)));
		const request = f.let(f.callFor("i32", addresses.readable, address));
		leaveIf(f, i32.eqz(request));

		f.return(f.callFor("i32", updateRequest, request, guest.word("domainId")));
	});
}
