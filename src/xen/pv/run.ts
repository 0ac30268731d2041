/**
 * The inner loop: runs one vCPU until its fuel is used up, it waits, or its domain is done. Between two stretches of guest
 * code it decides what their exits mean for a PV guest (DESIGN section 3). The scheduler has made the vCPU's context the
 * processor's. Nothing here allocates.
 */
import { Exit, Vector } from "../../cpu/processor.ts";
import { Gpr } from "../../cpu/registers.ts";
import { dispatchHypercall } from "../hypercalls/index.ts";
import { REQUEST_WORK } from "../hypercalls/mmu.ts";
import { ldtFaultAddress } from "../mm/ldt.ts";
import { writePageTable, writtenTable } from "../mm/ptwr.ts";
import type { Vcpu } from "../vcpu.ts";
import { emulateForcedInvalidOpcode, emulatePrivileged } from "./emulate.ts";
import { FAST_CALLS } from "./fast/hypercalls.ts";
import {
	deliverEvents,
	deliverNmi,
	deviceNotAvailable,
	enterSysenter,
	enterSystemCall,
	eventsNeedDelivery,
	injectException,
	softwareInterrupt,
} from "./traps.ts";

/** Why {@link runVcpu} returned. */
export const RunResult = {
	/** The budget of instructions is used up. */
	fuel: 0,
	/** It waits for an event, has yielded, is down, or something else asked for the scheduler. */
	reschedule: 1,
	/** Its domain has shut down or crashed. */
	shutdown: 2,
} as const;
export type RunResult = (typeof RunResult)[keyof typeof RunResult];

/** Instructions that a hypercall counts as, beside its work: a guest that makes nothing but calls ends its turn in time, too. */
const HYPERCALL_CHARGE = 50;

/**
 * Runs `vcpu`, whose context is loaded, for at most `fuel` instructions; an exit counts as one more, so that a guest
 * that only takes exceptions ends its turn too. An error in the hypervisor itself ends the domain, never the host.
 */
export function runVcpu(vcpu: Vcpu, fuel: number): RunResult {
	try {
		return loop(vcpu, fuel);
	} catch (error) {
		vcpu.domain.crash(`failure of the hypervisor: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
		return RunResult.shutdown;
	}
}

function loop(vcpu: Vcpu, fuel: number): RunResult {
	const { domain } = vcpu;
	const { processor } = domain.hypervisor;
	let left = fuel;
	for (;;) {
		if (domain.shutdown !== undefined) return RunResult.shutdown;
		if (vcpu.reschedule || vcpu.blocked || !vcpu.online) return RunResult.reschedule;
		if (left <= 0) return RunResult.fuel;
		// Between a load of SS and that of RSP no interrupt comes.
		const { interruptShadow } = processor;
		if (!interruptShadow) {
			if (vcpu.nmiPending && !vcpu.nmiMasked) deliverNmi(vcpu);
			if (eventsNeedDelivery(vcpu)) {
				deliverEvents(vcpu);
				if (domain.shutdown !== undefined) return RunResult.shutdown;
			}
		}
		const before = processor.executed + processor.exitsHandled;
		const exit = processor.run(interruptShadow ? 1 : left);
		left -= processor.executed + processor.exitsHandled - before;
		switch (exit) {
			case Exit.fuel:
			case Exit.handled:
				break;
			case Exit.syscall:
				left -= systemCall(vcpu);
				break;
			case Exit.exception:
				left -= exception(vcpu);
				break;
			case Exit.softwareInterrupt:
				left--;
				softwareInterrupt(vcpu, vcpu.registers.vector, processor.interruptLength);
				break;
			case Exit.sysenter:
				left--;
				enterSysenter(vcpu);
				break;
		}
	}
}

/** @returns what it is charged as, in instructions */
function systemCall(vcpu: Vcpu): number {
	if (vcpu.kernelMode && vcpu.registers.longMode) {
		const { frames, scheduler } = vcpu.domain.hypervisor;
		// A turn must not depend on whether fast/ has dealt with a call: such a one counts as any other exit, as long as it has no more work than one change
		// of a page-table entry.
		const short = FAST_CALLS.has(vcpu.registers.low(Gpr.rax));
		// What emulated stores to page tables have done is theirs.
		frames.takeWork();
		dispatchHypercall(vcpu);
		const work = frames.takeWork();
		if (short && work <= REQUEST_WORK) return 1;
		scheduler.charge(work + HYPERCALL_CHARGE);
		return work + HYPERCALL_CHARGE;
	} else {
		enterSystemCall(vcpu);
	}
	return 1;
}

/** @returns what it is charged as, in instructions */
function exception(vcpu: Vcpu): number {
	const { registers } = vcpu;
	const { vector, errorCode, cr2 } = registers;
	switch (vector) {
		case Vector.pageFault: {
			// A guest kernel's store to a page table, which is mapped read-only: done on its behalf where it is allowed.
			const table = writtenTable(vcpu, cr2, errorCode);
			if (table !== 0) {
				const stores = writePageTable(vcpu, cr2, table);
				if (stores !== 0) return stores;
				injectException(vcpu, registers.vector, registers.errorCode);
				return 1;
			}
			break;
		}
		case Vector.generalProtection: {
			const missing = vcpu.ldtFault === 0 ? undefined : ldtFaultAddress(vcpu, errorCode);
			if (missing !== undefined) {
				// Xen reads the LDT where the guest has it mapped, and a page that is missing there is the guest's fault to take.
				registers.cr2 = missing;
				injectException(vcpu, Vector.pageFault, 0);
				return 1;
			}
			if (emulatePrivileged(vcpu, errorCode)) return 1;
			break;
		}
		case Vector.invalidOpcode:
			if (emulateForcedInvalidOpcode(vcpu)) return 1;
			break;
		case Vector.deviceNotAvailable:
			deviceNotAvailable(vcpu);
			return 1;
	}
	// Looking at the instruction may have met a page of its own that is not there.
	registers.cr2 = cr2;
	injectException(vcpu, vector, errorCode);
	return 1;
}
