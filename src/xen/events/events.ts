/**
 * Event channels (public/event_channel.h): a domain's ports, what each is bound to, and sending. How a pending port reaches its
 * domain is an {@link EventDelivery}: the 2-level ABI (events-2level.ts), the FIFO ABI (events-fifo.ts), or a callback for the
 * services that run beside the hypervisor (events-service.ts). Calls return a port, 0, or a negative errno.
 */
import { Errno } from "../abi/errno.ts";
import { FIFO_PORTS, FIFO_PRIORITY_DEFAULT, VIRQ_COUNT, Virq } from "../abi/event-channel.ts";
import { vcpuInfo } from "../abi/shared-info.ts";
import type { Domain } from "../domain.ts";
import { releaseWritable } from "../mm/shared-frames.ts";
import type { Vcpu } from "../vcpu.ts";
import { TwoLevelDelivery } from "./2level.ts";
import { FifoDelivery } from "./fifo.ts";

export const PortState = { free: 0, reserved: 1, unbound: 2, interdomain: 3, pirq: 4, virq: 5, ipi: 6 } as const;

const UPCALL_PENDING = vcpuInfo.offset.evtchnUpcallPending;

/** Ports become valid by the bucket, as in Xen: a port of a bucket in use is "closed", one beyond it -EINVAL. */
const BUCKET = 64;
/** libxl's default of max_event_channels: the highest port. */
const DEFAULT_MAXIMUM_PORT = 1023;

/** How a domain's ports are marked pending. All ports that are passed are valid. */
export interface EventDelivery {
	/** Ports that the ABI can express. */
	readonly ports: number;
	/** A port has just been bound. */
	bind(port: number): void;
	setPending(port: number): void;
	clearPending(port: number): void;
	unmask(port: number): void;
	isPending(port: number): boolean;
	setPriority(port: number, priority: number): number;
	/** The domain goes, or changes to another ABI. */
	destroy(): void;
}

export interface EventChannelOptions {
	/** The highest port that the domain may have. */
	readonly maximumPort?: number;
	/** Where not the 2-level ABI of a guest. */
	readonly delivery?: (channels: EventChannels) => EventDelivery;
}

/** VIRQs of which a domain has one, delivered to any vCPU; the others are one a vCPU. */
export function virqIsGlobal(virq: number): boolean {
	return virq !== Virq.timer && virq !== Virq.debug && virq !== Virq.xenoprof && virq !== Virq.xenpmu;
}

export class EventChannels {
	delivery: EventDelivery;
	/** vCPUs in SCHEDOP_poll, kept by the scheduler. */
	pollers = 0;

	/** The port table, a column an array. PortState: */
	state = new Uint8Array(BUCKET);
	/** vCPU that is notified. */
	vcpu = new Uint16Array(BUCKET);
	/** Domain that may bind (unbound) or is bound (interdomain). */
	remoteDomain = new Uint16Array(BUCKET);
	/** Remote port (interdomain), VIRQ or PIRQ. */
	target = new Uint32Array(BUCKET);
	/** FIFO: priority; the queue it was last linked on; pending while there is no event word for it. */
	priority = new Uint8Array(BUCKET);
	lastVcpu = new Uint16Array(BUCKET);
	lastPriority = new Uint8Array(BUCKET);
	savedPending = new Uint8Array(BUCKET);

	private readonly maximumPort: number;
	/** No port below it is free. */
	private lowestFree = 1;

	constructor(
		readonly domain: Domain,
		options: EventChannelOptions = {},
	) {
		this.maximumPort = Math.min(options.maximumPort ?? DEFAULT_MAXIMUM_PORT, FIFO_PORTS - 1);
		this.state[0] = PortState.reserved;
		this.delivery = options.delivery?.(this) ?? new TwoLevelDelivery(this);
	}

	/** Ports that exist: 0 up to this. */
	get validPorts(): number {
		return this.state.length;
	}

	isValid(port: number): boolean {
		return port < this.state.length;
	}

	// Binding

	/** EVTCHNOP_alloc_unbound: a port that `remoteDomain` may bind to. */
	allocateUnbound(remoteDomain: number): number {
		const port = this.freePort();
		if (port < 0) return port;
		this.bind(port, PortState.unbound, 0);
		this.remoteDomain[port] = remoteDomain;
		return port;
	}

	/** EVTCHNOP_bind_interdomain: connects a new port to a remote domain's unbound one. */
	bindInterdomain(remoteDomain: number, remotePort: number): number {
		const remote = this.domain.hypervisor.domains.get(remoteDomain)?.events;
		if (remote === undefined) return -Errno.ESRCH;
		const port = this.freePort();
		if (port < 0) return port;
		if (
			!remote.isValid(remotePort) ||
			remote.state[remotePort] !== PortState.unbound ||
			remote.remoteDomain[remotePort] !== this.domain.id
		) {
			return -Errno.EINVAL;
		}
		this.bind(port, PortState.interdomain, 0);
		this.remoteDomain[port] = remoteDomain;
		this.target[port] = remotePort;
		remote.state[remotePort] = PortState.interdomain;
		remote.remoteDomain[remotePort] = this.domain.id;
		remote.target[remotePort] = port;
		// Notifications of the time when the remote port was unbound are lost: one now stands for them.
		this.delivery.setPending(port);
		return port;
	}

	/** EVTCHNOP_bind_virq */
	bindVirq(virq: number, vcpuId: number): number {
		if (virq >= VIRQ_COUNT) return -Errno.EINVAL;
		if (virqIsGlobal(virq) && vcpuId !== 0) return -Errno.EINVAL;
		const vcpu = this.domain.vcpus[vcpuId];
		if (vcpu === undefined) return -Errno.ENOENT;
		if (vcpu.virqPorts[virq] !== 0) return -Errno.EEXIST;
		const port = this.freePort();
		if (port < 0) return port;
		this.bind(port, PortState.virq, vcpuId);
		this.target[port] = virq;
		vcpu.virqPorts[virq] = port;
		return port;
	}

	/** EVTCHNOP_bind_ipi */
	bindIpi(vcpuId: number): number {
		if (this.domain.vcpus[vcpuId] === undefined) return -Errno.ENOENT;
		const port = this.freePort();
		if (port >= 0) this.bind(port, PortState.ipi, vcpuId);
		return port;
	}

	/** EVTCHNOP_bind_vcpu: which vCPU a port notifies from now on. */
	bindVcpu(port: number, vcpuId: number): number {
		if (this.domain.vcpus[vcpuId] === undefined) return -Errno.ENOENT;
		if (!this.isValid(port)) return -Errno.EINVAL;
		const state = this.state[port];
		const movable =
			state === PortState.unbound ||
			state === PortState.interdomain ||
			(state === PortState.virq && virqIsGlobal(this.target[port] as number));
		if (!movable) return -Errno.EINVAL;
		this.vcpu[port] = vcpuId;
		return 0;
	}

	/** EVTCHNOP_close: frees a port; the other end of an interdomain channel becomes unbound. */
	close(port: number): number {
		if (!this.isValid(port)) return -Errno.EINVAL;
		const state = this.state[port];
		if (state === PortState.free || state === PortState.reserved) return -Errno.EINVAL;
		if (state === PortState.virq) {
			const virq = this.target[port] as number;
			for (const vcpu of this.domain.vcpus) if (vcpu.virqPorts[virq] === port) vcpu.virqPorts[virq] = 0;
		} else if (state === PortState.interdomain) {
			const remote = this.domain.hypervisor.domains.get(this.remoteDomain[port] as number)?.events;
			const remotePort = this.target[port] as number;
			if (remote !== undefined) {
				remote.state[remotePort] = PortState.unbound;
				remote.remoteDomain[remotePort] = this.domain.id;
			}
		}
		this.delivery.clearPending(port);
		this.savedPending[port] = 0;
		this.state[port] = PortState.free;
		this.vcpu[port] = 0;
		if (port < this.lowestFree) this.lowestFree = port;
		return 0;
	}

	/** EVTCHNOP_reset: closes every port; a guest that does it to itself is back at the 2-level ABI. */
	reset(): void {
		for (let port = 1; port < this.validPorts; port++) this.close(port);
		if (this.delivery instanceof FifoDelivery) {
			this.delivery.destroy();
			this.delivery = new TwoLevelDelivery(this);
		}
	}

	/** The domain is gone: closes all ports, lets go of the frames in which it was told of events. */
	destroy(): void {
		const { domain } = this;
		this.reset();
		this.delivery.destroy();
		for (const vcpu of domain.vcpus) {
			if (vcpu.vcpuInfoRegistered) releaseWritable(domain, vcpu.vcpuInfo);
			vcpu.vcpuInfoRegistered = false;
			vcpu.vcpuInfo = 0;
		}
		if (domain.pirqEoiMap !== 0) releaseWritable(domain, domain.pirqEoiMap);
		domain.pirqEoiMap = 0;
	}

	// Sending

	/** EVTCHNOP_send: notifies the other end of a channel, or the vCPU of an IPI. */
	send(port: number): number {
		if (port >= this.state.length) return -Errno.EINVAL;
		switch (this.state[port]) {
			case PortState.interdomain: {
				const remote = this.domain.hypervisor.domains.get(this.remoteDomain[port] as number)?.events;
				remote?.delivery.setPending(this.target[port] as number);
				return 0;
			}
			case PortState.ipi:
				this.delivery.setPending(port);
				return 0;
			case PortState.unbound:
				// Nobody listens yet: dropped, as bind_interdomain makes up for it.
				return 0;
			default:
				return -Errno.EINVAL;
		}
	}

	/** Raises a VIRQ of one vCPU, where the guest has bound it. */
	sendVcpuVirq(vcpu: Vcpu, virq: number): void {
		const port = vcpu.virqPorts[virq] as number;
		if (port !== 0) this.delivery.setPending(port);
	}

	/** Raises a VIRQ of which the domain has one. */
	sendGlobalVirq(virq: number): void {
		const vcpu = this.domain.vcpus[0];
		if (vcpu !== undefined) this.sendVcpuVirq(vcpu, virq);
	}

	unmask(port: number): number {
		if (!this.isValid(port)) return -Errno.EINVAL;
		this.delivery.unmask(port);
		return 0;
	}

	setPriority(port: number, priority: number): number {
		if (!this.isValid(port)) return -Errno.EINVAL;
		return this.delivery.setPriority(port, priority);
	}

	// For the deliveries

	/** Sets evtchn_upcall_pending of a vCPU and wakes it: vcpu_mark_events_pending of Xen. */
	markPending(vcpuId: number): void {
		const vcpu = this.domain.vcpus[vcpuId];
		if (vcpu === undefined || vcpu.vcpuInfo === 0) return;
		const { memory, scheduler } = this.domain.hypervisor;
		if (memory.u8(vcpu.vcpuInfo + UPCALL_PENDING) !== 0) return;
		memory.setU8(vcpu.vcpuInfo + UPCALL_PENDING, 1);
		scheduler.unblock(vcpu);
	}

	/** Wakes the vCPUs that SCHEDOP_poll for a port that has become pending. */
	checkPollers(port: number): void {
		if (this.pollers === 0) return;
		for (const vcpu of this.domain.vcpus) {
			if (vcpu.pollPort === port || vcpu.pollPort < 0) this.domain.hypervisor.scheduler.unblock(vcpu);
		}
	}

	private bind(port: number, state: number, vcpuId: number): void {
		this.state[port] = state;
		this.vcpu[port] = vcpuId;
		this.priority[port] = FIFO_PRIORITY_DEFAULT;
		this.delivery.bind(port);
	}

	private freePort(): number {
		for (let port = this.lowestFree; port < this.state.length; port++) {
			if (port > this.maximumPort) return -Errno.ENOSPC;
			if (this.state[port] === PortState.free) {
				this.lowestFree = port;
				return port;
			}
		}
		const port = this.state.length;
		if (port >= this.delivery.ports || port > this.maximumPort) return -Errno.ENOSPC;
		this.grow();
		this.lowestFree = port;
		return port;
	}

	private grow(): void {
		const length = this.state.length + BUCKET;
		const grown8 = (old: Uint8Array): Uint8Array<ArrayBuffer> => {
			const array = new Uint8Array(length);
			array.set(old);
			return array;
		};
		const grown16 = (old: Uint16Array): Uint16Array<ArrayBuffer> => {
			const array = new Uint16Array(length);
			array.set(old);
			return array;
		};
		const target = new Uint32Array(length);
		target.set(this.target);
		this.target = target;
		this.state = grown8(this.state);
		this.vcpu = grown16(this.vcpu);
		this.remoteDomain = grown16(this.remoteDomain);
		this.priority = grown8(this.priority);
		this.lastVcpu = grown16(this.lastVcpu);
		this.lastPriority = grown8(this.lastPriority);
		this.savedPending = grown8(this.savedPending);
	}
}
