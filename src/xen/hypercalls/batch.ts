/**
 * What mmu_update and mmuext_op share: whose frames they are about, and how a long batch is preempted and taken up again (the count's top
 * bit, as Xen has it).
 */
import { DOMID_IO, DOMID_SELF, DOMID_XEN } from "../abi/domid.ts";
import { Errno } from "../abi/errno.ts";
import { MMU_UPDATE_PREEMPTED } from "../abi/mmu.ts";
import { type Arguments, type HypercallResult, PREEMPTED } from "../hypercall.ts";
import { RESTART } from "../mm/entries.ts";
import { dropDeferred } from "../mm/page-types.ts";
import { copyToGuest, readGuestU32, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

/** The domain id whose frames a call is about, or a negative errno: an unprivileged domain has only itself and, for I/O, DOMID_IO. */
export function pageOwner(vcpu: Vcpu, domid: number): number {
	const { domain } = vcpu;
	const { frames } = domain.hypervisor;
	if (domid === DOMID_SELF) return domain.id;
	if (domid === domain.id) {
		frames.complain(domain.id, "Cannot specify itself as foreign domain");
		return -Errno.ESRCH;
	}
	if (domid === DOMID_IO) return DOMID_IO;
	if (domid === DOMID_XEN || domain.hypervisor.domains.has(domid)) return -Errno.EPERM;
	frames.complain(domain.id, `Unknown domain d${domid}`);
	return -Errno.ESRCH;
}

/** Starts a batch with the tables that an earlier one left to be dropped; false where that is all there is time for (PREEMPTED). */
export function startBatch(vcpu: Vcpu): boolean {
	const { frames } = vcpu.domain.hypervisor;
	frames.startWork();
	return vcpu.domain.deferredTable === 0 || dropDeferred(frames, vcpu.domain);
}

/** Whether the arguments are those of a batch that ended and only had tables left to drop; its result is then in the fourth. */
export function isLeftover(args: Arguments): boolean {
	return args.low(1) === MMU_UPDATE_PREEMPTED && args.low(0) === 0 && args.high(0) === 0;
}

/** Ends a batch after `done` of its elements: writes the guest's count, and arranges for what is left. */
export function endBatch(
	vcpu: Vcpu,
	args: Arguments,
	done: number,
	before: number,
	size: number,
	result: number,
): HypercallResult {
	const { hypervisor } = vcpu.domain;
	const doneAddress = args.signed(2);
	if (doneAddress !== 0) {
		hypervisor.memory.setU32(SCRATCH, before + done);
		copyToGuest(hypervisor, doneAddress, 4);
	}
	if (result === RESTART) {
		args.setNumber(0, args.signed(0) + done * size);
		args.set(1, (((args.low(1) & ~MMU_UPDATE_PREEMPTED) - done) | MMU_UPDATE_PREEMPTED) >>> 0, 0);
		return PREEMPTED;
	}
	if (vcpu.domain.deferredTable !== 0) {
		args.set(0, 0, 0);
		args.set(1, MMU_UPDATE_PREEMPTED, 0);
		args.set(2, 0, 0);
		args.set(3, result >>> 0, 0);
		return PREEMPTED;
	}
	return result;
}

/** What a call that resumes had already done, for the count that the guest gets. */
export function doneBefore(vcpu: Vcpu, args: Arguments): number {
	if ((args.low(1) & MMU_UPDATE_PREEMPTED) === 0 || args.signed(2) === 0) return 0;
	return Math.max(readGuestU32(vcpu.domain.hypervisor, args.signed(2)), 0);
}
