/**
 * The 2-level event ABI: a bit a port in shared_info, a bit a word of them in the vCPU's evtchn_pending_sel. What is there before
 * the guest asks for anything else.
 */
import { Errno } from "../abi/errno.ts";
import { TWO_LEVEL_PORTS } from "../abi/event-channel.ts";
import { sharedInfo, vcpuInfo } from "../abi/shared-info.ts";
import type { EventChannels, EventDelivery } from "./events.ts";

const PENDING = sharedInfo.offset.evtchnPending;
const MASK = sharedInfo.offset.evtchnMask;
const PENDING_SEL = vcpuInfo.offset.evtchnPendingSel;

export class TwoLevelDelivery implements EventDelivery {
	readonly ports = TWO_LEVEL_PORTS;

	constructor(private readonly channels: EventChannels) {}

	bind(): void {
		// The bits are as the guest left them.
	}

	setPending(port: number): void {
		const { domain } = this.channels;
		const { memory } = domain.hypervisor;
		const byte = domain.sharedInfo + PENDING + (port >>> 3);
		const bit = 1 << (port & 7);
		const pending = memory.u8(byte);
		if ((pending & bit) !== 0) return;
		memory.setU8(byte, pending | bit);
		if ((memory.u8(byte + MASK - PENDING) & bit) === 0) this.select(port);
		this.channels.checkPollers(port);
	}

	clearPending(port: number): void {
		const { domain } = this.channels;
		const { memory } = domain.hypervisor;
		const byte = domain.sharedInfo + PENDING + (port >>> 3);
		memory.setU8(byte, memory.u8(byte) & ~(1 << (port & 7)));
	}

	unmask(port: number): void {
		const { domain } = this.channels;
		const { memory } = domain.hypervisor;
		const byte = domain.sharedInfo + MASK + (port >>> 3);
		const bit = 1 << (port & 7);
		const mask = memory.u8(byte);
		if ((mask & bit) === 0) return;
		memory.setU8(byte, mask & ~bit);
		if ((memory.u8(byte + PENDING - MASK) & bit) !== 0) this.select(port);
	}

	isPending(port: number): boolean {
		const { domain } = this.channels;
		const byte = domain.sharedInfo + PENDING + (port >>> 3);
		return ((domain.hypervisor.memory.u8(byte) >>> (port & 7)) & 1) !== 0;
	}

	/** Only the FIFO ABI has priorities. */
	setPriority(): number {
		return -Errno.ENOSYS;
	}

	destroy(): void {
		// It holds nothing.
	}

	/** Marks the port's word in evtchn_pending_sel of its vCPU, and the vCPU where that is news. */
	private select(port: number): void {
		const { channels } = this;
		const vcpuId = channels.vcpu[port] as number;
		const info = channels.domain.vcpus[vcpuId]?.vcpuInfo ?? 0;
		if (info === 0) return;
		const { memory } = channels.domain.hypervisor;
		const byte = info + PENDING_SEL + (port >>> 9);
		const bit = 1 << ((port >>> 6) & 7);
		const selected = memory.u8(byte);
		if ((selected & bit) !== 0) return;
		memory.setU8(byte, selected | bit);
		channels.markPending(vcpuId);
	}
}
