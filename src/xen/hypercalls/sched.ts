/** sched_op, its compat form, and set_timer_op (public/sched.h). */

import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import * as abi from "../abi/sched.ts";
import { vcpuInfo } from "../abi/shared-info.ts";
import { ShutdownReason } from "../domain.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import { eventsNeedDelivery } from "../pv/traps.ts";
import { addressOk, copyFromGuest, readGuestU32, SCRATCH, SCRATCH_LIST } from "../scratch.ts";
import { Watchdogs } from "../time/vcpu-timers.ts";
import type { Vcpu } from "../vcpu.ts";

const { SchedOp } = abi;
const UPCALL_MASK = vcpuInfo.offset.evtchnUpcallMask;

function yieldTurn(vcpu: Vcpu): number {
	vcpu.yielded = true;
	vcpu.reschedule = true;
	return 0;
}

/** Unmasks events and waits for one, unless one is there. */
function block(vcpu: Vcpu): number {
	const { memory, scheduler } = vcpu.domain.hypervisor;
	if (vcpu.vcpuInfo !== 0) memory.setU8(vcpu.vcpuInfo + UPCALL_MASK, 0);
	if (!eventsNeedDelivery(vcpu) && !vcpu.nmiPending) scheduler.block(vcpu);
	return 0;
}

function shutdown(vcpu: Vcpu, reason: number): number {
	const { domain } = vcpu;
	// Xen keeps a byte of it. A guest's own crash goes the way of ours, so that there is a report of it.
	const told = reason & 0xff;
	if (told === ShutdownReason.crash) domain.crash("SCHEDOP_shutdown: the guest says that it crashed");
	else domain.shutDown(told);
	vcpu.reschedule = true;
	return 0;
}

function shutdownOp(vcpu: Vcpu, address: number): number {
	const reason = readGuestU32(vcpu.domain.hypervisor, address);
	if (reason < 0) return -Errno.EFAULT;
	return shutdown(vcpu, reason);
}

/** The guest says why it is about to shut down, without doing it yet. */
function shutdownCode(vcpu: Vcpu, address: number): number {
	const reason = readGuestU32(vcpu.domain.hypervisor, address);
	if (reason < 0) return -Errno.EFAULT;
	// Xen keeps a byte of it, whatever it is: the toolstack makes of it what it can.
	vcpu.domain.shutdownCode = reason & 0xff;
	return 0;
}

function poll(vcpu: Vcpu, address: number): number {
	const { domain } = vcpu;
	const { hypervisor, events } = domain;
	const { memory, scheduler, clock } = hypervisor;
	if (!copyFromGuest(hypervisor, address, abi.schedPoll.size)) return -Errno.EFAULT;
	const count = memory.u32(SCRATCH + abi.schedPoll.offset.nrPorts);
	const ports = memory.i64(SCRATCH + abi.schedPoll.offset.ports);
	const timeout = memory.u64(SCRATCH + abi.schedPoll.offset.timeout);
	if (count > abi.POLL_PORTS_MAX) return -Errno.EINVAL;
	if (!addressOk(ports)) return -Errno.EFAULT;
	if (eventsNeedDelivery(vcpu)) return 0;
	if (count > 0 && !copyFromGuest(hypervisor, ports, count * 4, SCRATCH_LIST)) return -Errno.EFAULT;
	for (let index = 0; index < count; index++) {
		const port = memory.u32(SCRATCH_LIST + index * 4);
		if (port === 0 || !events.isValid(port)) return -Errno.EINVAL;
		if (events.delivery.isPending(port)) return 0;
	}
	scheduler.poll(vcpu, count === 1 ? memory.u32(SCRATCH_LIST) : -1);
	// A deadline that is past still lets the others run first, as its timer would.
	if (timeout !== 0) vcpu.timers.setPoll(Math.max(timeout, clock.now()));
	return 0;
}

/** Watchdogs are set with id 0, which answers an id, and set again or (timeout 0) stopped with it. */
function watchdog(vcpu: Vcpu, address: number): number {
	const { domain } = vcpu;
	if (!copyFromGuest(domain.hypervisor, address, abi.schedWatchdog.size)) return -Errno.EFAULT;
	const { id, timeout } = abi.schedWatchdog.at(domain.hypervisor.memory, SCRATCH);
	if (id > abi.WATCHDOG_COUNT) return -Errno.EINVAL;
	domain.watchdogs ??= new Watchdogs(domain);
	const { watchdogs } = domain;
	if (id === 0) {
		const free = watchdogs.free();
		// Xen's answer is of 32 bits without a sign here: the only error that is no negative number.
		if (free < 0) return 2 ** 32 - Errno.ENOSPC;
		// One of 0 seconds barks at once.
		watchdogs.start(free, timeout);
		return free + 1;
	}
	if (!watchdogs.isActive(id - 1)) return -Errno.EINVAL;
	if (timeout === 0) watchdogs.stop(id - 1);
	else watchdogs.start(id - 1, timeout);
	return 0;
}

function schedOp(vcpu: Vcpu, args: Arguments): number {
	const address = args.signed(1);
	switch (args.low(0)) {
		case SchedOp.yield:
			return yieldTurn(vcpu);
		case SchedOp.block:
			return block(vcpu);
		case SchedOp.shutdown:
			return shutdownOp(vcpu, address);
		case SchedOp.poll:
			return poll(vcpu, address);
		case SchedOp.remoteShutdown: {
			if (!copyFromGuest(vcpu.domain.hypervisor, address, abi.schedRemoteShutdown.size)) return -Errno.EFAULT;
			const { domainId } = abi.schedRemoteShutdown.at(vcpu.domain.hypervisor.memory, SCRATCH);
			return vcpu.domain.hypervisor.domains.has(domainId) ? -Errno.EPERM : -Errno.ESRCH;
		}
		case SchedOp.shutdownCode:
			return shutdownCode(vcpu, address);
		case SchedOp.watchdog:
			return watchdog(vcpu, address);
		case SchedOp.pinOverride:
			return -Errno.EPERM;
		default:
			return -Errno.ENOSYS;
	}
}

/** sched_op as it was before 3.1: the argument of `shutdown` is the reason itself. */
function schedOpCompat(vcpu: Vcpu, args: Arguments): number {
	switch (args.low(0)) {
		case SchedOp.yield:
			return yieldTurn(vcpu);
		case SchedOp.block:
			return block(vcpu);
		case SchedOp.shutdown:
			return shutdown(vcpu, args.low(1));
		default:
			return -Errno.ENOSYS;
	}
}

const FAR_FUTURE = 2 ** 50;
const HUNDRED_MILLISECONDS = 100_000_000;

/**
 * set_timer_op: VIRQ_TIMER at a system time, 0 stops it. Linux used to ask for times after its own wrapped: what is negative or
 * more than 2^50 ns ahead comes in 100 ms, as in Xen.
 */
function setTimerOp(vcpu: Vcpu, args: Arguments): number {
	const timeout = args.signed(0);
	if (timeout === 0) {
		vcpu.timers.stopSingleshot();
		return 0;
	}
	const now = vcpu.domain.hypervisor.clock.now();
	const wrapped = timeout < 0 || timeout - now >= FAR_FUTURE;
	vcpu.timers.setSingleshot(wrapped ? now + HUNDRED_MILLISECONDS : timeout);
	return 0;
}

export const schedHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.sched_op,
		name: "sched_op",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.schedOpNames },
			{ name: "arg", kind: "pointer" },
		],
		handler: schedOp,
	},
	{
		number: HypercallNumber.sched_op_compat,
		name: "sched_op_compat",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.schedOpNames },
			{ name: "arg", kind: "hex" },
		],
		handler: schedOpCompat,
	},
];

export const timerHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.set_timer_op,
		name: "set_timer_op",
		arguments: [{ name: "timeout", kind: "unsigned" }],
		handler: setTimerOp,
	},
];
