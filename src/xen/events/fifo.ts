/**
 * The FIFO event ABI (public/event_channel.h, Xen's docs/designs on FIFO events): an event word a port in the guest's own frames,
 * sixteen queues a vCPU by priority, linked through the words. The guest owns the words and may write anything there: links are
 * only ever written by us, never followed, so the worst that it can do is lose its own events.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../abi/errno.ts";
import {
	EventWord,
	FIFO_PORTS,
	FIFO_PRIORITY_DEFAULT,
	FIFO_PRIORITY_LOWEST,
	FIFO_QUEUES,
	fifoControlBlock,
} from "../abi/event-channel.ts";
import { sharedInfo } from "../abi/shared-info.ts";
import { holdWritable, releaseWritable } from "../mm/shared-frames.ts";
import { type EventChannels, type EventDelivery, PortState } from "./events.ts";

const WORDS_PER_PAGE = PAGE_SIZE / 4;
const HEADS = fifoControlBlock.offset.head;

export class FifoDelivery implements EventDelivery {
	readonly ports = FIFO_PORTS;
	/** Linear addresses of the event array's pages, in order. */
	private readonly pages: number[] = [];
	/** Linear address of each vCPU's control block, 0 where it has none. */
	private readonly controlBlocks: Uint32Array;
	/** The last port of each queue, 0 where it is empty: index vCPU * 16 + priority. */
	private readonly tails: Uint32Array;

	constructor(private readonly channels: EventChannels) {
		const vcpus = channels.domain.vcpus.length;
		this.controlBlocks = new Uint32Array(vcpus);
		this.tails = new Uint32Array(vcpus * FIFO_QUEUES);
	}

	/**
	 * EVTCHNOP_init_control: a vCPU's control block at `offset` of a frame. The first one changes the domain from the 2-level to
	 * the FIFO ABI; pending events come along once their words exist.
	 */
	static initControl(channels: EventChannels, vcpuId: number, mfn: number, offset: number): number {
		if (channels.domain.vcpus[vcpuId] === undefined) return -Errno.ENOENT;
		if (offset > PAGE_SIZE - fifoControlBlock.size || (offset & 7) !== 0) return -Errno.EINVAL;
		if (channels.delivery instanceof FifoDelivery) return channels.delivery.mapControlBlock(vcpuId, mfn, offset);
		const fifo = new FifoDelivery(channels);
		const result = fifo.mapControlBlock(vcpuId, mfn, offset);
		if (result < 0) return result;
		const { memory } = channels.domain.hypervisor;
		const pending = channels.domain.sharedInfo + sharedInfo.offset.evtchnPending;
		for (let port = 1; port < channels.validPorts; port++) {
			if (((memory.u8(pending + (port >>> 3)) >>> (port & 7)) & 1) !== 0) channels.savedPending[port] = 1;
			channels.priority[port] = FIFO_PRIORITY_DEFAULT;
		}
		channels.delivery = fifo;
		return 0;
	}

	/** EVTCHNOP_expand_array: one more page of event words. */
	expandArray(mfn: number): number {
		const first = this.pages.length * WORDS_PER_PAGE;
		if (first >= FIFO_PORTS) return -Errno.ENOSPC;
		const linear = holdWritable(this.channels.domain, mfn);
		if (linear < 0) return -Errno.EINVAL;
		this.pages.push(linear);
		const end = Math.min(first + WORDS_PER_PAGE, this.channels.validPorts);
		for (let port = first; port < end; port++) {
			if (this.channels.savedPending[port] !== 0) this.setPending(port);
		}
		return 0;
	}

	bind(port: number): void {
		const word = this.word(port);
		if (word !== 0 && (this.channels.domain.hypervisor.memory.u32(word) & EventWord.linked) !== 0) {
			const { domain } = this.channels;
			domain.hypervisor.log.write(`d${domain.id} port ${port} already on a queue`, { level: "warning", guest: true });
		}
	}

	setPending(port: number): void {
		const { channels } = this;
		const { memory } = channels.domain.hypervisor;
		const word = this.word(port);
		if (word === 0) {
			channels.savedPending[port] = 1;
			return;
		}
		const old = memory.u32(word);
		const vcpuId = channels.vcpu[port] as number;
		const control = this.controlBlocks[vcpuId] as number;
		// Without a control block the guest may not unmask: the event stays pending in its word and is not queued.
		const link = control !== 0 && (old & (EventWord.masked | EventWord.linked)) === 0;
		memory.setU32(word, old | EventWord.pending | (link ? EventWord.linked : 0));
		if (link) this.enqueue(port, vcpuId, control);
		if ((old & EventWord.pending) === 0) channels.checkPollers(port);
	}

	clearPending(port: number): void {
		const word = this.word(port);
		if (word === 0) return;
		const { memory } = this.channels.domain.hypervisor;
		memory.setU32(word, memory.u32(word) & ~EventWord.pending);
	}

	unmask(port: number): void {
		const word = this.word(port);
		if (word === 0) return;
		const { memory } = this.channels.domain.hypervisor;
		const value = memory.u32(word) & ~EventWord.masked;
		memory.setU32(word, value);
		if ((value & EventWord.pending) !== 0) this.setPending(port);
	}

	isPending(port: number): boolean {
		const word = this.word(port);
		return word !== 0 && (this.channels.domain.hypervisor.memory.u32(word) & EventWord.pending) !== 0;
	}

	setPriority(port: number, priority: number): number {
		if (priority > FIFO_PRIORITY_LOWEST) return -Errno.EINVAL;
		this.channels.priority[port] = priority;
		return 0;
	}

	destroy(): void {
		const { domain } = this.channels;
		for (const page of this.pages) releaseWritable(domain, page);
		this.pages.length = 0;
		for (const control of this.controlBlocks) if (control !== 0) releaseWritable(domain, control);
		this.controlBlocks.fill(0);
		this.tails.fill(0);
		this.channels.lastVcpu.fill(0);
		this.channels.lastPriority.fill(0);
		this.channels.savedPending.fill(0);
	}

	private mapControlBlock(vcpuId: number, mfn: number, offset: number): number {
		if (this.controlBlocks[vcpuId] !== 0) return -Errno.EINVAL;
		const linear = holdWritable(this.channels.domain, mfn);
		if (linear < 0) return -Errno.EINVAL;
		this.controlBlocks[vcpuId] = linear + offset;
		return 0;
	}

	/** Linear address of a port's event word, 0 where the guest has given no page for it. */
	private word(port: number): number {
		const page = this.pages[Math.floor(port / WORDS_PER_PAGE)];
		return page === undefined ? 0 : page + (port % WORDS_PER_PAGE) * 4;
	}

	/** Puts a port that has just become LINKED at the end of its queue. */
	private enqueue(port: number, vcpuId: number, control: number): void {
		const { channels, tails } = this;
		const { memory } = channels.domain.hypervisor;
		const priority = channels.priority[port] as number;
		const queue = vcpuId * FIFO_QUEUES + priority;
		const oldQueue = (channels.lastVcpu[port] as number) * FIFO_QUEUES + (channels.lastPriority[port] as number);
		// It was the tail: that queue has been emptied, and must not link through this word into the new one.
		if (tails[oldQueue] === port) tails[oldQueue] = 0;
		channels.lastVcpu[port] = vcpuId;
		channels.lastPriority[port] = priority;
		const tail = tails[queue] as number;
		tails[queue] = port;
		// A tail that the guest has unlinked means that the queue is empty.
		if (tail !== 0 && this.linkBehind(tail, port)) return;
		memory.setU32(control + HEADS + priority * 4, port);
		const ready = memory.u32(control);
		if (((ready >>> priority) & 1) !== 0) return;
		memory.setU32(control, ready | (1 << priority));
		channels.markPending(vcpuId);
	}

	private linkBehind(tail: number, port: number): boolean {
		const { memory } = this.channels.domain.hypervisor;
		const word = this.word(tail);
		if (word === 0) return false;
		const value = memory.u32(word);
		if ((value & EventWord.linked) === 0) return false;
		memory.setU32(word, (value & ~(EventWord.busy | EventWord.linkMask)) | port);
		return true;
	}
}

/** Ports in use, for dumps and tests. */
export function boundPorts(channels: EventChannels): number[] {
	const ports: number[] = [];
	channels.state.forEach((state, port) => {
		if (state !== PortState.free && state !== PortState.reserved) ports.push(port);
	});
	return ports;
}
