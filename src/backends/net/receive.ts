/**
 * The back end's half of a receive ring: what a guest gets (public/io/netif.h, "Guest receive"). The guest gives pages, a frame fills as many as it
 * needs; frames for which there are none wait, up to a limit.
 */

import { EtherType, type Frame, networkHeader } from "../../devices/net/frame.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../../xen/abi/errno.ts";
import {
	ExtraType,
	GsoType,
	NetifStatus,
	netifExtraInfo,
	netifRxRequest,
	netifRxResponse,
	RxFlag,
} from "../../xen/abi/netif.ts";
import type { BackRing } from "../ring.ts";
import { DeviceError } from "../xenbus/driver.ts";
import type { GuestGrants } from "../xenbus/grants.ts";

/** A frame's hash, where the guest wants it. */
export interface FrameHash {
	readonly type: number;
	readonly algorithm: number;
	readonly value: number;
}

interface Waiting extends Frame {
	readonly hash: FrameHash | undefined;
}

/** What may wait in a queue: as many as Linux's interfaces keep, and no more bytes than a moment's. */
const MOST_FRAMES = 1000;
const MOST_BYTES = 2 * 2 ** 20;

export class ReceiveQueue {
	private readonly request = new Uint8Array(netifRxRequest.size);
	private readonly requestView = new DataView(this.request.buffer);
	private readonly response = new Uint8Array(netifRxResponse.size);
	private readonly view = new DataView(this.response.buffer);
	private backlog: Waiting[] = [];
	private backlogBytes = 0;
	private refused = false;

	constructor(
		private readonly ring: BackRing,
		private readonly grants: GuestGrants,
		private readonly notify: () => void,
		/** There is room again, after a frame was refused. */
		private readonly roomAvailable: () => void,
	) {}

	/** A frame for the guest. @returns false where it was dropped because too many wait */
	receive(frame: Frame, hash: FrameHash | undefined): boolean {
		if (this.backlog.length === 0 && this.hasSlots(frame, hash)) {
			this.put(frame, hash);
			this.push();
			return true;
		}
		if (this.backlog.length >= MOST_FRAMES || this.backlogBytes + frame.bytes.length > MOST_BYTES) {
			this.refused = true;
			return false;
		}
		const { checksumBlank, segmentSize } = frame;
		this.backlog.push({ bytes: frame.bytes.slice(), checksumBlank, segmentSize, hash });
		this.backlogBytes += frame.bytes.length;
		return true;
	}

	/** The guest has given more pages. @throws DeviceError where the ring makes no sense */
	work(): void {
		let count = 0;
		for (const waiting of this.backlog) {
			if (!this.hasSlots(waiting, waiting.hash)) break;
			this.put(waiting, waiting.hash);
			this.backlogBytes -= waiting.bytes.length;
			count++;
		}
		if (count > 0) {
			this.backlog = this.backlog.slice(count);
			this.push();
		} else if (this.backlog.length === 0) {
			// Nothing waits for pages; that the ring makes sense is looked at all the same.
			this.available();
		}
		if (!this.refused || this.backlogBytes > MOST_BYTES / 2 || this.backlog.length > MOST_FRAMES / 2) return;
		this.refused = false;
		this.roomAvailable();
	}

	private available(): number {
		const { waiting } = this.ring;
		if (waiting < 0) throw new DeviceError(Errno.EINVAL, "the receive ring's index of requests is impossible");
		return waiting;
	}

	/** Whether the guest has given enough pages; where not, it is asked to tell of more. */
	private hasSlots(frame: Frame, hash: FrameHash | undefined): boolean {
		const extras = (frame.segmentSize > 0 ? 1 : 0) + (hash === undefined ? 0 : 1);
		const needed = Math.ceil(frame.bytes.length / PAGE_SIZE) + extras;
		if (this.available() >= needed) return true;
		return this.ring.awaitMore() && this.available() >= needed;
	}

	private put({ bytes, checksumBlank, segmentSize }: Frame, hash: FrameHash | undefined): void {
		const gso = segmentSize > 0;
		for (let at = 0; at < bytes.length; at += PAGE_SIZE) {
			const part = bytes.subarray(at, at + PAGE_SIZE);
			this.ring.take(this.request);
			const ref = this.requestView.getUint32(netifRxRequest.offset.gref, true);
			const written = this.grants.write(ref, 0, part);
			let flags = at + PAGE_SIZE < bytes.length ? RxFlag.moreData : 0;
			if (at === 0) {
				// What never was on a wire cannot have been damaged there.
				if (checksumBlank) flags |= RxFlag.csumBlank | RxFlag.dataValidated;
				if (gso || hash !== undefined) flags |= RxFlag.extraInfo;
			}
			const { offset } = netifRxResponse;
			this.view.setUint16(offset.id, this.requestView.getUint16(netifRxRequest.offset.id, true), true);
			this.view.setUint16(offset.offset, 0, true);
			this.view.setUint16(offset.flags, flags, true);
			this.view.setInt16(offset.status, written ? part.length : NetifStatus.error, true);
			this.ring.respond(this.response);
			if (at > 0) continue;
			if (gso) this.putGso(bytes, segmentSize, hash !== undefined);
			if (hash !== undefined) this.putHash(hash);
		}
	}

	/** An extra info takes a slot of the ring, and the page that the guest gave with it stays unused. */
	private putGso(bytes: Uint8Array, size: number, more: boolean): void {
		const { offset } = netifExtraInfo;
		this.ring.take(this.request);
		const version = networkHeader(bytes).type === EtherType.ipv6 ? GsoType.tcpv6 : GsoType.tcpv4;
		this.response[offset.type] = ExtraType.gso;
		this.response[offset.flags] = more ? 1 : 0;
		this.view.setUint16(offset.value0, size, true);
		this.view.setUint16(offset.value1, version, true);
		this.view.setUint16(offset.value2, 0, true);
		this.ring.respond(this.response);
	}

	private putHash({ algorithm, type, value }: FrameHash): void {
		const { offset } = netifExtraInfo;
		this.ring.take(this.request);
		this.response[offset.type] = ExtraType.hash;
		this.response[offset.flags] = 0;
		this.response[offset.value0] = type;
		this.response[offset.value0 + 1] = algorithm;
		this.view.setUint32(offset.value1, value, true);
		this.ring.respond(this.response);
	}

	private push(): void {
		if (this.ring.push()) this.notify();
	}
}
