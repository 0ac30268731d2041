/**
 * Fast paths: what a guest's switches between kernel and user mode mean for the hypervisor, emitted into the processor's module (cpu/exits.ts), so
 * that they need not leave WebAssembly. They do the common cases of traps.ts and hypercalls/, on the same data (vcpu-block.ts), and give up before
 * a change where a case is another: everything they do could as well be done by run.ts, with the same count of instructions.
 */
import type { ExitEmitter } from "../../../cpu/exits.ts";
import { ExitOutcome } from "../../../cpu/exits.ts";
import { LONG_MODE } from "../../../cpu/layout.ts";
import { Exit } from "../../../cpu/processor.ts";
import { i32 } from "../../../wasm/expression.ts";
import { SHARED, shared } from "../../vcpu-block.ts";
import { emitExchangeEntry, emitReadGsBase } from "./emulation.ts";
import { emitBounce, emitEvents, emitException, emitSystemCall } from "./entry.ts";
import { emitGuestAddresses } from "./guest-address.ts";
import { GuestState, leaveIf } from "./guest-state.ts";
import { emitHypercall } from "./hypercalls.ts";
import { emitEntryFunctions, emitUpdateL1Entry } from "./l1-entry.ts";

export const emitFastPaths: ExitEmitter = (module, engine) => {
	const addresses = emitGuestAddresses(module, engine);
	const bounce = emitBounce(module, addresses);
	const systemCall = emitSystemCall(module, bounce);
	const updateL1Entry = emitUpdateL1Entry(module, emitEntryFunctions(module));
	const exchangeEntry = emitExchangeEntry(module, addresses, updateL1Entry);
	const exception = emitException(module, bounce, exchangeEntry, emitReadGsBase(module, addresses));
	const events = emitEvents(module, bounce);
	const hypercall = emitHypercall(module, addresses, updateL1Entry);
	return module.function("fastExit", ["i32", "i32"], "i32", (f) => {
		const guest = new GuestState(f);
		const reason = f.parameter(0, "i32");
		const left = f.parameter(1, "i32");
		// What is traced is TypeScript's, and an NMI comes before all else.
		leaveIf(f, i32.load(i32.const(SHARED), shared.offset.traceCategories));
		leaveIf(f, guest.byte("nmiPending"));
		f.block((dealtWith) => {
			f.if(i32.eq(reason, i32.const(Exit.syscall)), () => {
				leaveIf(f, i32.eqz(guest.state8(LONG_MODE)));
				f.if(
					guest.byte("kernelMode"),
					() => f.brIf(dealtWith, f.callFor("i32", hypercall)),
					() => f.brIf(dealtWith, f.callFor("i32", systemCall)),
				);
			});
			f.if(i32.eq(reason, i32.const(Exit.exception)), () => f.brIf(dealtWith, f.callFor("i32", exception)));
			f.return(i32.const(ExitOutcome.left));
		});
		// The exit takes one of the fuel; at its end the scheduler comes first.
		f.if(i32.le_s(left, i32.const(1)), () => f.return(i32.const(ExitOutcome.done)));
		f.if(f.callFor("i32", events), () => f.return(i32.const(ExitOutcome.done)));
		f.return(i32.const(ExitOutcome.ends));
	});
};
