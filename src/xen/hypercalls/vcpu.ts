/** vcpu_op (public/vcpu.h): bringing vCPUs up and down, their runstate and time areas, their timers. */

import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import { LEGACY_MAX_VCPUS, sharedInfo, vcpuInfo } from "../abi/shared-info.ts";
import * as abi from "../abi/vcpu.ts";
import { vcpuGuestContext } from "../abi/vcpu-context.ts";
import { ShutdownReason } from "../domain.ts";
import type { Arguments, Hypercall, HypercallResult } from "../hypercall.ts";
import { holdWritable } from "../mm/shared-frames.ts";
import { setVcpuContext } from "../pv/vcpu-context.ts";
import { addressOk, copyFromGuest, copyToGuest, SCRATCH, SCRATCH_LIST } from "../scratch.ts";
import { updateRunstateArea, updateTimeArea, updateVcpuTime, writeRunstate } from "../time/time.ts";
import type { Vcpu } from "../vcpu.ts";

const { VcpuOp } = abi;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;
/** STIME_DELTA_MAX of Xen */
const LONGEST_DELTA = 2 ** 62;

/** Where a vCPU's vcpu_info is before it asks for another place: in shared_info, for the first 32. Linear address, or 0. */
export function initialVcpuInfo(vcpu: Vcpu): number {
	if (vcpu.id >= LEGACY_MAX_VCPUS) return 0;
	return vcpu.domain.sharedInfo + sharedInfo.offset.vcpuInfo + vcpu.id * vcpuInfo.size;
}

function initialise(target: Vcpu, address: number): HypercallResult {
	if (target.vcpuInfo === 0) target.vcpuInfo = initialVcpuInfo(target);
	// A vCPU beyond the 32nd needs a vcpu_info of its own first.
	if (target.vcpuInfo === 0) return -Errno.EINVAL;
	const { hypervisor } = target.domain;
	if (!copyFromGuest(hypervisor, address, vcpuGuestContext.size, SCRATCH_LIST)) return -Errno.EFAULT;
	if (target.initialised) return -Errno.EEXIST;
	// Loading its selectors uses SCRATCH.
	return setVcpuContext(target, vcpuGuestContext.at(hypervisor.memory, SCRATCH_LIST));
}

function up(target: Vcpu): number {
	if (!target.initialised) return -Errno.EINVAL;
	if (!target.online) target.domain.hypervisor.scheduler.bringUp(target);
	return 0;
}

/** A domain whose last vCPU goes down has powered itself off. */
function down(target: Vcpu): number {
	const { domain } = target;
	for (const vcpu of domain.vcpus) {
		if (vcpu === target || !vcpu.online) continue;
		domain.hypervisor.scheduler.takeDown(target);
		return 0;
	}
	domain.shutDown(ShutdownReason.poweroff);
	target.reschedule = true;
	return 0;
}

function getRunstateInfo(current: Vcpu, target: Vcpu, address: number): number {
	const { hypervisor } = current.domain;
	writeRunstate(target, SCRATCH, hypervisor.clock.now());
	return copyToGuest(hypervisor, address, abi.runstateInfo.size) ? 0 : -Errno.EFAULT;
}

function registerRunstateArea(current: Vcpu, target: Vcpu, address: number): number {
	const { hypervisor } = current.domain;
	if (!copyFromGuest(hypervisor, address, abi.memoryArea.size)) return -Errno.EFAULT;
	const area = hypervisor.memory.i64(SCRATCH);
	if (!addressOk(area)) return -Errno.EFAULT;
	target.runstate.area = area;
	if (target === current) {
		updateRunstateArea(target);
		return 0;
	}
	writeRunstate(target, SCRATCH, hypervisor.clock.now());
	copyToGuest(hypervisor, area, abi.runstateInfo.size);
	return 0;
}

function registerTimeArea(current: Vcpu, target: Vcpu, address: number): number {
	const { hypervisor } = current.domain;
	if (!copyFromGuest(hypervisor, address, abi.memoryArea.size)) return -Errno.EFAULT;
	const area = hypervisor.memory.i64(SCRATCH);
	if (!addressOk(area)) return -Errno.EFAULT;
	target.timeArea = area;
	updateTimeArea(target);
	return 0;
}

function setPeriodicTimer(current: Vcpu, target: Vcpu, address: number): number {
	const { hypervisor } = current.domain;
	if (!copyFromGuest(hypervisor, address, abi.setPeriodicTimer.size)) return -Errno.EFAULT;
	const period = hypervisor.memory.u64(SCRATCH);
	if (period < NANOSECONDS_PER_MILLISECOND) return -Errno.EINVAL;
	if (period > LONGEST_DELTA) return -Errno.EINVAL;
	target.timers.setPeriodic(period);
	return 0;
}

function setSingleshotTimer(current: Vcpu, target: Vcpu, address: number): number {
	if (target !== current) return -Errno.EINVAL;
	const { hypervisor } = current.domain;
	if (!copyFromGuest(hypervisor, address, abi.setSingleshotTimer.size)) return -Errno.EFAULT;
	const deadline = hypervisor.memory.u64(SCRATCH);
	// VCPU_SSHOTTMR_future is ignored, as in Xen: what is past comes at once.
	target.timers.setTick(deadline);
	return 0;
}

/** Moves a vCPU's vcpu_info to a place of the guest's; once, for itself or a vCPU that is down. */
function registerVcpuInfo(current: Vcpu, target: Vcpu, address: number): number {
	const { domain } = current;
	const { hypervisor } = domain;
	if (!copyFromGuest(hypervisor, address, abi.registerVcpuInfo.size)) return -Errno.EFAULT;
	const { memory } = hypervisor;
	const { mfn, offset } = abi.registerVcpuInfo.at(memory, SCRATCH);
	// In one page, and aligned for its words of 64 bits.
	if (offset > PAGE_SIZE - vcpuInfo.size || (offset & 7) !== 0) return -Errno.ENXIO;
	if (target.vcpuInfoRegistered) return -Errno.EINVAL;
	if (target !== current && target.online) return -Errno.EINVAL;
	const frame = holdWritable(domain, mfn);
	if (frame < 0) return -Errno.EINVAL;
	const info = frame + offset;
	if (target.vcpuInfo === 0) target.vcpuInfo = initialVcpuInfo(target);
	if (target.vcpuInfo === 0) {
		memory.fill(info, vcpuInfo.size, 0);
		memory.setU8(info + vcpuInfo.offset.evtchnUpcallMask, 1);
	} else {
		memory.copy(info, target.vcpuInfo, vcpuInfo.size);
	}
	target.vcpuInfo = info;
	target.vcpuInfoRegistered = true;
	// Everything counts as pending, so that nothing of the move is lost.
	memory.setU8(info + vcpuInfo.offset.evtchnUpcallPending, 1);
	memory.fill(info + vcpuInfo.offset.evtchnPendingSel, 8, 0xff);
	updateVcpuTime(target);
	return 0;
}

/** A non-maskable interrupt for a vCPU; one at a time waits for delivery. */
export function sendNmi(target: Vcpu): void {
	if (target.nmiPending) return;
	target.nmiPending = true;
	target.domain.hypervisor.scheduler.unblock(target);
}

function sendNmiOp(target: Vcpu, address: number): number {
	if (address !== 0) return -Errno.EINVAL;
	sendNmi(target);
	return 0;
}

function vcpuOp(current: Vcpu, args: Arguments): HypercallResult {
	const address = args.signed(2);
	const target = current.domain.vcpus[args.low(1)];
	if (target === undefined) return -Errno.ENOENT;
	switch (args.low(0)) {
		case VcpuOp.initialise:
			return initialise(target, address);
		case VcpuOp.up:
			return up(target);
		case VcpuOp.down:
			return down(target);
		case VcpuOp.isUp:
			return target.online ? 1 : 0;
		case VcpuOp.getRunstateInfo:
			return getRunstateInfo(current, target, address);
		case VcpuOp.registerRunstateMemoryArea:
			return registerRunstateArea(current, target, address);
		case VcpuOp.setPeriodicTimer:
			return setPeriodicTimer(current, target, address);
		case VcpuOp.stopPeriodicTimer:
			target.timers.setPeriodic(0);
			return 0;
		case VcpuOp.setSingleshotTimer:
			return setSingleshotTimer(current, target, address);
		case VcpuOp.stopSingleshotTimer:
			if (target !== current) return -Errno.EINVAL;
			target.timers.stopSingleshot();
			return 0;
		case VcpuOp.registerVcpuInfo:
			return registerVcpuInfo(current, target, address);
		case VcpuOp.sendNmi:
			return sendNmiOp(target, address);
		case VcpuOp.getPhysid:
			// Only a vCPU of the hardware domain that is pinned has one.
			return -Errno.EINVAL;
		case VcpuOp.registerVcpuTimeMemoryArea:
			return registerTimeArea(current, target, address);
		default:
			return -Errno.ENOSYS;
	}
}

export const vcpuHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.vcpu_op,
		name: "vcpu_op",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.vcpuOpNames },
			{ name: "vcpuid", kind: "unsigned" },
			{ name: "extra_args", kind: "pointer" },
		],
		handler: vcpuOp,
	},
];
