/**
 * The small hypercalls that every switch between a guest's programs makes, emitted: iret, stack_switch, fpu_taskswitch, set_segment_base
 * (hypercalls/traps.ts has all of each), and mmu_update (mmu-update.ts). A function returns 1, or 0 where it has changed nothing and the call is TypeScript's.
 */
import { CR0, SELECTORS, SLOT_FS_BASE, SLOT_GS_BASE } from "../../../cpu/layout.ts";
import { Gpr, Segment } from "../../../cpu/registers.ts";
import { type I64, i32, i64, select } from "../../../wasm/expression.ts";
import type { FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";
import { CR0_TS, FLAT_RING3_CS64, FLAT_RING3_SS64, SegmentBase } from "../../abi/arch.ts";
import { HypercallNumber } from "../../abi/hypercall-numbers.ts";
import { vcpuBlock } from "../../vcpu-block.ts";
import type { GuestAddresses } from "./guest-address.ts";
import { anyOf, GuestState, leaveIf } from "./guest-state.ts";
import { emitIret } from "./iret.ts";
import { emitMmuUpdate, emitUpdateRequest } from "./mmu-update.ts";

const { mmu_update, stack_switch, fpu_taskswitch, iret: IRET, set_segment_base } = HypercallNumber;
/** The calls that are dealt with here, by their numbers. */
export const FAST_CALLS: ReadonlySet<number> = new Set([
	mmu_update,
	stack_switch,
	fpu_taskswitch,
	IRET,
	set_segment_base,
]);

/** A call's effect, from the registers of its arguments; it may leave before a change. */
type Effect = (guest: GuestState) => void;

function stackSwitch(guest: GuestState): void {
	const selector = i32.or(i32.wrap(guest.gpr(Gpr.rdi)), i32.const(3));
	guest.f.store16(guest.block, selector, vcpuBlock.offset.kernelStackSelector);
	guest.setLong("kernelStackPointer", guest.gpr(Gpr.rsi));
}

function fpuTaskswitch(guest: GuestState): void {
	const others = anyOf(guest.state32(CR0), ~CR0_TS);
	const set = i32.wrap(guest.gpr(Gpr.rdi));
	guest.setState32(CR0, select(set, i32.or(others, i32.const(CR0_TS)), others));
}

function setSegmentBase(guest: GuestState): void {
	const { f } = guest;
	const which = f.let(i32.wrap(guest.gpr(Gpr.rdi)));
	const base = f.let(guest.gpr(Gpr.rsi));
	const canonical = (): void => leaveIf(f, i64.ne(i64.shr_s(i64.shl(base, i64.const(16)), i64.const(16)), base));
	const cases: (() => void)[] = [];
	const set = (write: (value: I64) => void) => (): void => {
		canonical();
		write(base);
	};
	cases[SegmentBase.fs] = set((value) => guest.setState64(SLOT_FS_BASE * 8, value));
	cases[SegmentBase.gsUser] = set((value) => guest.setLong("gsBaseUser", value));
	cases[SegmentBase.gsKernel] = set((value) => guest.setState64(SLOT_GS_BASE * 8, value));
	// Only null selectors, which need no descriptor.
	cases[SegmentBase.gsUserSelector] = () => {
		const selector = anyOf(i32.wrap(base), 0xffff);
		leaveIf(f, i32.gt_u(selector, i32.const(3)));
		guest.setState16(SELECTORS + Segment.gs * 2, selector);
		guest.setLong("gsBaseUser", i64.const(0));
	};
	f.switch(which, cases, () => f.return(i32.const(0)));
}

/** Emits (): SYSCALL of the guest's kernel; hypercalls/index.ts, dispatchHypercall. */
export function emitHypercall(
	module: ModuleBuilder,
	addresses: GuestAddresses,
	updateL1Entry: FunctionReference,
): FunctionReference {
	const iret = emitIret(module, addresses);
	const mmuUpdate = emitMmuUpdate(module, addresses, emitUpdateRequest(module, updateL1Entry));
	const small: readonly (readonly [number: number, effect: Effect])[] = [
		[mmu_update, ({ f }) => leaveIf(f, i32.eqz(f.callFor("i32", mmuUpdate)))],
		[stack_switch, stackSwitch],
		[fpu_taskswitch, fpuTaskswitch],
		[set_segment_base, setSegmentBase],
	];
	return module.function("hypercall", [], "i32", (f) => {
		const guest = new GuestState(f);
		const number = f.let(guest.gpr(Gpr.rax));
		f.if(i64.eq(number, i64.const(IRET)), () => {
			leaveIf(f, i32.eqz(f.callFor("i32", iret)));
			guest.count("hypercalls", IRET);
			f.return(i32.const(1));
		});
		// SYSCALL forgets what CS and SS were; a kernel that uses others than the flat ones is told so by TypeScript.
		leaveIf(f, i32.ne(guest.selector(Segment.cs), i32.const(FLAT_RING3_CS64)));
		leaveIf(f, i32.ne(guest.selector(Segment.ss), i32.const(FLAT_RING3_SS64)));
		for (const [call, effect] of small) {
			f.if(i64.eq(number, i64.const(call)), () => {
				effect(guest);
				guest.count("hypercalls", call);
				guest.setGpr(Gpr.rcx, guest.rip);
				guest.setGpr(Gpr.r11, i64.extend_i32_u(guest.rflags));
				guest.setGpr(Gpr.rax, i64.const(0));
				f.return(i32.const(1));
			});
		}
		f.return(i32.const(0));
	});
}
