/**
 * The back end's half of a transmit ring: what a guest sends (public/io/netif.h, "Guest transmit"). Nothing in a request is believed: a packet
 * that cannot be is answered with an error, a ring that makes no sense ends the device.
 */

import { ETHERNET_HEADER, type Frame } from "../../devices/net/frame.ts";
import { isCompletable, isSegmentable } from "../../devices/net/offload.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../../xen/abi/errno.ts";
import {
	EXTRA_MORE,
	ExtraType,
	GsoType,
	NetifStatus,
	netifExtraInfo,
	netifTxRequest,
	netifTxResponse,
	TxFlag,
} from "../../xen/abi/netif.ts";
import type { BackRing } from "../ring.ts";
import { DeviceError } from "../xenbus/driver.ts";
import type { GuestGrants } from "../xenbus/grants.ts";

/** XEN_NETBK_LEGACY_SLOTS_MAX: what every front end may use for one packet; and fatal_skb_slots, beyond which it is not taken for one any more. */
export const MOST_SLOTS = 18;
const FATAL_SLOTS = 20;
const TX_SIZE = netifTxRequest.size;

/** What a ring's queue needs of its interface. */
export interface TransmitHost {
	readonly grants: GuestGrants;
	/** For a frame that is being put together. */
	readonly scratch: Uint8Array;
	/** Passes a frame on. */
	transmit(frame: Frame): void;
	/** All frames that came together have been passed on. */
	settle(): void;
	/** Spends credit for bytes. False where there is none; {@link TransmitQueue.work} is called when there is. */
	mayTransmit(bytes: number, queue: TransmitQueue): boolean;
	/** The guest listens to a multicast address, or does not any more. @returns whether that was possible */
	changeMulticast(add: boolean, address: Uint8Array): boolean;
}

interface Gso {
	readonly size: number;
	readonly type: number;
}

export class TransmitQueue {
	private readonly request = new Uint8Array(TX_SIZE);
	private readonly view = new DataView(this.request.buffer);
	private readonly response = new Uint8Array(netifTxResponse.size);
	private readonly responseView = new DataView(this.response.buffer);
	// The slots of the packet that is being put together, in their order in the ring; an extra's has no id.
	private readonly ids = new Int32Array(FATAL_SLOTS + ExtraType.max + 1);
	private readonly refs = new Uint32Array(FATAL_SLOTS);
	private readonly offsets = new Uint16Array(FATAL_SLOTS);
	private readonly sizes = new Uint16Array(FATAL_SLOTS);
	/** The first request of the next packet is in `request` already: it waits for credit. */
	private held = false;

	constructor(
		private readonly ring: BackRing,
		private readonly host: TransmitHost,
		private readonly notify: () => void,
	) {}

	/** Takes what the guest has sent since. @throws DeviceError where the ring makes no sense */
	work(): void {
		let answered = false;
		let more = true;
		while (more) {
			const waiting = this.waiting();
			if (waiting > 0 || this.held) {
				if (!this.packet(waiting)) break;
				answered = true;
			} else more = this.ring.finalCheck();
		}
		if (!answered) return;
		if (this.ring.push()) this.notify();
		this.host.settle();
	}

	private waiting(): number {
		const { waiting } = this.ring;
		if (waiting < 0) throw new DeviceError(Errno.EINVAL, "the transmit ring's index of requests is impossible");
		return waiting;
	}

	/** @returns false where the packet has to wait */
	private packet(waiting: number): boolean {
		let left = waiting;
		if (!this.held) {
			this.ring.take(this.request);
			left--;
		}
		const { offset } = netifTxRequest;
		const { view } = this;
		const total = view.getUint16(offset.size, true);
		this.held = !this.host.mayTransmit(total, this);
		if (this.held) return false;
		const flags = view.getUint16(offset.flags, true);
		this.readSlot(0);
		let slots = 1;
		let entries = 1;
		this.ids[0] = view.getUint16(offset.id, true);
		let gso: Gso | undefined;
		let filter = false;
		let broken = false;
		for (let extra = (flags & TxFlag.extraInfo) !== 0; extra; ) {
			left = this.takeNext(left, entries);
			const kind = this.request[netifExtraInfo.offset.type] as number;
			extra = ((this.request[netifExtraInfo.offset.flags] as number) & EXTRA_MORE) !== 0;
			if (entries >= this.ids.length - FATAL_SLOTS)
				throw new DeviceError(Errno.EINVAL, "a packet with too many extra infos");
			this.ids[entries++] = -1;
			if (kind === ExtraType.gso) gso = this.readGso();
			else if (kind === ExtraType.mcastAdd || kind === ExtraType.mcastDel) {
				const address = this.request.slice(netifExtraInfo.offset.value0, netifExtraInfo.offset.value0 + 6);
				broken = !this.host.changeMulticast(kind === ExtraType.mcastAdd, address) || broken;
				filter = true;
			} else if (kind !== ExtraType.hash)
				throw new DeviceError(Errno.EINVAL, `a packet with an extra info of type ${kind}`);
		}
		let first = total;
		for (let more = (flags & TxFlag.moreData) !== 0; more; slots++) {
			left = this.takeNext(left, entries);
			if (slots === FATAL_SLOTS) throw new DeviceError(Errno.E2BIG, `a packet with more than ${FATAL_SLOTS} slots`);
			this.readSlot(slots);
			this.ids[entries++] = view.getUint16(offset.id, true);
			first -= this.sizes[slots] as number;
			more = (view.getUint16(offset.flags, true) & TxFlag.moreData) !== 0;
		}
		// The first slot's own size is what the others leave of the total.
		this.sizes[0] = Math.max(0, first);
		const possible = !broken && (filter || (first > 0 && slots <= MOST_SLOTS));
		const okay = possible && (filter || this.forward(slots, total, flags, gso));
		this.answer(entries, okay ? NetifStatus.okay : NetifStatus.error);
		return true;
	}

	private takeNext(left: number, entries: number): number {
		if (left <= 0) throw new DeviceError(Errno.ENODATA, `a packet that ends after ${entries} of its slots`);
		this.ring.take(this.request);
		return left - 1;
	}

	private readSlot(slot: number): void {
		const { offset } = netifTxRequest;
		this.refs[slot] = this.view.getUint32(offset.gref, true);
		this.offsets[slot] = this.view.getUint16(offset.offset, true);
		this.sizes[slot] = this.view.getUint16(offset.size, true);
	}

	private readGso(): Gso {
		const { offset } = netifExtraInfo;
		const size = this.view.getUint16(offset.value0, true);
		const type = this.request[offset.value1] as number;
		if (size === 0 || (type !== GsoType.tcpv4 && type !== GsoType.tcpv6)) {
			throw new DeviceError(Errno.EINVAL, `a large packet of type ${type} with segments of ${size} bytes`);
		}
		return { size, type };
	}

	/** Copies a packet from its pages and passes it on. @returns whether it is one */
	private forward(slots: number, total: number, flags: number, gso: Gso | undefined): boolean {
		const { grants, scratch } = this.host;
		if (total < ETHERNET_HEADER) return false;
		let at = 0;
		for (let slot = 0; slot < slots; slot++) {
			const size = this.sizes[slot] as number;
			const offset = this.offsets[slot] as number;
			if (offset + size > PAGE_SIZE) return false;
			if (size > 0 && !grants.read(this.refs[slot] as number, offset, scratch.subarray(at, at + size))) return false;
			at += size;
		}
		const bytes = scratch.subarray(0, total);
		const checksumBlank = (flags & TxFlag.csumBlank) !== 0;
		let segmentSize = 0;
		if (gso !== undefined) {
			const transport = isSegmentable(bytes);
			if (transport === undefined || !checksumBlank) return false;
			if (transport.version !== (gso.type === GsoType.tcpv4 ? 4 : 6)) return false;
			const header = ((bytes[transport.at + 12] as number) >>> 4) * 4;
			if (transport.end - transport.at - header > gso.size) segmentSize = gso.size;
		} else if (checksumBlank && !isCompletable(bytes)) return false;
		this.host.transmit({ bytes, checksumBlank, segmentSize });
		return true;
	}

	private answer(entries: number, status: number): void {
		const { offset } = netifTxResponse;
		for (let index = 0; index < entries; index++) {
			const id = this.ids[index] as number;
			this.responseView.setUint16(offset.id, Math.max(0, id), true);
			this.responseView.setInt16(offset.status, id < 0 ? NetifStatus.none : status, true);
			this.ring.respond(this.response);
		}
	}
}
