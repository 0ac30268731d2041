/** event_channel_op and its compat form: arguments in, the work to EventChannels, results out. */

import { DOMID_SELF } from "../abi/domid.ts";
import { Errno } from "../abi/errno.ts";
import * as abi from "../abi/event-channel.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import { PortState } from "../events/events.ts";
import { FifoDelivery } from "../events/fifo.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import { copyFromGuest, copyToGuest, readGuestU32, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const { EventChannelOp } = abi;

/** What an unprivileged guest may name: itself, by DOMID_SELF or its id. Others are -EPERM, unknown ones -ESRCH. */
function ownDomain(vcpu: Vcpu, domid: number): number {
	const { domain } = vcpu;
	if (domid === DOMID_SELF || domid === domain.id) return 0;
	return domain.hypervisor.domains.has(domid) ? -Errno.EPERM : -Errno.ESRCH;
}

/** Works on a private copy in SCRATCH; the caller copies it back where the result is not negative. */
type Operation = (vcpu: Vcpu) => number;

function allocUnbound(vcpu: Vcpu): number {
	const { domain } = vcpu;
	const args = abi.allocUnbound.at(domain.hypervisor.memory, SCRATCH);
	const denied = ownDomain(vcpu, args.dom);
	if (denied !== 0) return denied;
	const remote = args.remoteDom === DOMID_SELF ? domain.id : args.remoteDom;
	const port = domain.events.allocateUnbound(remote);
	if (port < 0) return port;
	args.port = port;
	return 0;
}

function bindInterdomain(vcpu: Vcpu): number {
	const { domain } = vcpu;
	const args = abi.bindInterdomain.at(domain.hypervisor.memory, SCRATCH);
	const remote = args.remoteDom === DOMID_SELF ? domain.id : args.remoteDom;
	const port = domain.events.bindInterdomain(remote, args.remotePort);
	if (port < 0) return port;
	args.localPort = port;
	return 0;
}

function bindVirq(vcpu: Vcpu): number {
	const args = abi.bindVirq.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const port = vcpu.domain.events.bindVirq(args.virq, args.vcpu);
	if (port < 0) return port;
	args.port = port;
	return 0;
}

/** A domU without devices has no physical interrupt: the hypervisor's own are not permitted to it. */
const PIRQS = 256;
function bindPirq(vcpu: Vcpu): number {
	const args = abi.bindPirq.at(vcpu.domain.hypervisor.memory, SCRATCH);
	return args.pirq >= PIRQS ? -Errno.EINVAL : -Errno.EPERM;
}

function bindIpi(vcpu: Vcpu): number {
	const args = abi.bindIpi.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const port = vcpu.domain.events.bindIpi(args.vcpu);
	if (port < 0) return port;
	args.port = port;
	return 0;
}

const STATUS_OF_STATE: Readonly<Record<number, number>> = {
	[PortState.free]: abi.PortStatus.closed,
	[PortState.reserved]: abi.PortStatus.closed,
	[PortState.unbound]: abi.PortStatus.unbound,
	[PortState.interdomain]: abi.PortStatus.interdomain,
	[PortState.pirq]: abi.PortStatus.pirq,
	[PortState.virq]: abi.PortStatus.virq,
	[PortState.ipi]: abi.PortStatus.ipi,
};

function status(vcpu: Vcpu): number {
	const { domain } = vcpu;
	const { memory } = domain.hypervisor;
	const args = abi.status.at(memory, SCRATCH);
	const denied = ownDomain(vcpu, args.dom);
	if (denied !== 0) return denied;
	const { events } = domain;
	const { port } = args;
	if (!events.isValid(port)) return -Errno.EINVAL;
	const state = events.state[port] as number;
	args.status = STATUS_OF_STATE[state] as number;
	args.vcpu = events.vcpu[port] as number;
	if (state === PortState.unbound || state === PortState.interdomain) {
		// domid_t is the first half of its word; the rest is as the guest gave it.
		memory.setU16(args.address + abi.status.offset.first, events.remoteDomain[port] as number);
	}
	if (state === PortState.interdomain) args.second = events.target[port] as number;
	if (state === PortState.virq || state === PortState.pirq) args.first = events.target[port] as number;
	return 0;
}

function bindVcpu(vcpu: Vcpu): number {
	const args = abi.bindVcpu.at(vcpu.domain.hypervisor.memory, SCRATCH);
	return vcpu.domain.events.bindVcpu(args.port, args.vcpu);
}

function reset(vcpu: Vcpu): number {
	const args = abi.reset.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const denied = ownDomain(vcpu, args.dom);
	if (denied !== 0) return denied;
	vcpu.domain.events.reset();
	return 0;
}

function initControl(vcpu: Vcpu): number {
	const args = abi.initControl.at(vcpu.domain.hypervisor.memory, SCRATCH);
	args.linkBits = abi.FIFO_LINK_BITS;
	return FifoDelivery.initControl(vcpu.domain.events, args.vcpu, args.controlGfn, args.offset);
}

function expandArray(vcpu: Vcpu): number {
	const args = abi.expandArray.at(vcpu.domain.hypervisor.memory, SCRATCH);
	const { delivery } = vcpu.domain.events;
	return delivery instanceof FifoDelivery ? delivery.expandArray(args.arrayGfn) : -Errno.EOPNOTSUPP;
}

function setPriority(vcpu: Vcpu): number {
	const args = abi.setPriority.at(vcpu.domain.hypervisor.memory, SCRATCH);
	return vcpu.domain.events.setPriority(args.port, args.priority);
}

interface Command {
	readonly size: number;
	/** The structure goes back to the guest. */
	readonly out: boolean;
	readonly run: Operation;
}

const commands: readonly (Command | undefined)[] = [
	{ size: abi.bindInterdomain.size, out: true, run: bindInterdomain },
	{ size: abi.bindVirq.size, out: true, run: bindVirq },
	{ size: abi.bindPirq.size, out: true, run: bindPirq },
	{
		size: abi.portArgument.size,
		out: false,
		run: (vcpu) => vcpu.domain.events.close(vcpu.domain.hypervisor.memory.u32(SCRATCH)),
	},
	{
		size: abi.portArgument.size,
		out: false,
		run: (vcpu) => vcpu.domain.events.send(vcpu.domain.hypervisor.memory.u32(SCRATCH)),
	},
	{ size: abi.status.size, out: true, run: status },
	{ size: abi.allocUnbound.size, out: true, run: allocUnbound },
	{ size: abi.bindIpi.size, out: true, run: bindIpi },
	{ size: abi.bindVcpu.size, out: false, run: bindVcpu },
	{
		size: abi.portArgument.size,
		out: false,
		run: (vcpu) => vcpu.domain.events.unmask(vcpu.domain.hypervisor.memory.u32(SCRATCH)),
	},
	{ size: abi.reset.size, out: false, run: reset },
	{ size: abi.initControl.size, out: true, run: initControl },
	{ size: abi.expandArray.size, out: false, run: expandArray },
	{ size: abi.setPriority.size, out: false, run: setPriority },
	// EVTCHNOP_reset_cont, with which a long reset is taken up again; ours is done at once.
	{ size: abi.reset.size, out: false, run: reset },
];

function operate(vcpu: Vcpu, command: number, address: number): number {
	const { hypervisor, events } = vcpu.domain;
	// The two that a running guest does all the time, without a copy.
	if (command === EventChannelOp.send || command === EventChannelOp.unmask) {
		const port = readGuestU32(hypervisor, address);
		if (port < 0) return -Errno.EFAULT;
		return command === EventChannelOp.send ? events.send(port) : events.unmask(port);
	}
	const entry = commands[command];
	if (entry === undefined) return -Errno.ENOSYS;
	if (!copyFromGuest(hypervisor, address, entry.size)) return -Errno.EFAULT;
	const result = entry.run(vcpu);
	if (result === 0 && entry.out && !copyToGuest(hypervisor, address, entry.size)) return -Errno.EFAULT;
	return result;
}

function eventChannelOp(vcpu: Vcpu, args: Arguments): number {
	return operate(vcpu, args.low(0), args.signed(1));
}

/** struct evtchn_op: the command, and behind it the structure of the newer form. Commands from `reset` on are not in it. */
const UNION_OFFSET = 4;
function eventChannelOpCompat(vcpu: Vcpu, args: Arguments): number {
	const address = args.signed(0);
	const command = readGuestU32(vcpu.domain.hypervisor, address);
	if (command < 0) return -Errno.EFAULT;
	if (command >= EventChannelOp.reset) return -Errno.ENOSYS;
	return operate(vcpu, command, address + UNION_OFFSET);
}

export const eventChannelHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.event_channel_op,
		name: "event_channel_op",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.eventChannelOpNames },
			{ name: "arg", kind: "pointer" },
		],
		handler: eventChannelOp,
	},
	{
		number: HypercallNumber.event_channel_op_compat,
		name: "event_channel_op_compat",
		arguments: [{ name: "op", kind: "pointer" }],
		handler: eventChannelOpCompat,
	},
];
