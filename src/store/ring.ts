/**
 * The host's half of a guest's xenstore ring (struct xenstore_domain_interface). The guest may write anything anywhere in the page:
 * indices are read once, and what they claim is believed only as far as a ring is long.
 */
import type { Memory } from "../memory/memory.ts";
import {
	XENSTORE_RING_SIZE,
	XenstoreConnection,
	XenstoreError,
	XenstoreFeature,
	xenstoreDomainInterface,
} from "../xen/abi/xenstore.ts";
import type { Connection } from "./connection.ts";
import type { PacketAssembler } from "./packet.ts";

const { offset } = xenstoreDomainInterface;

/** What became of reading or writing. */
export const RingResult = { nothing: 0, moved: 1, invalid: -1 } as const;
export type RingResult = (typeof RingResult)[keyof typeof RingResult];

export class StoreRing {
	/** @param page linear address of the shared page. */
	constructor(
		private readonly memory: Memory,
		private readonly page: number,
	) {}

	/** Tells the guest what is on offer, and that it is connected. */
	open(): void {
		const { memory, page } = this;
		memory.setU32(page + offset.serverFeatures, XenstoreFeature.reconnection | XenstoreFeature.error);
		memory.setU32(page + offset.error, XenstoreError.none);
		memory.setU32(page + offset.connection, XenstoreConnection.connected);
	}

	/** Empties both rings. */
	reset(): void {
		const { memory, page } = this;
		for (const index of [offset.reqCons, offset.reqProd, offset.rspCons, offset.rspProd])
			memory.setU32(page + index, 0);
	}

	/** The guest wants to begin anew. */
	get reconnectWanted(): boolean {
		return this.memory.u32(this.page + offset.connection) === XenstoreConnection.reconnect;
	}

	set error(error: XenstoreError) {
		this.memory.setU32(this.page + offset.error, error);
	}

	/** The guest cannot put any more requests into the ring, and may wait to be told that it can. */
	get requestsFull(): boolean {
		const { memory, page } = this;
		return (memory.u32(page + offset.reqProd) - memory.u32(page + offset.reqCons)) >>> 0 === XENSTORE_RING_SIZE;
	}

	/** Takes of the next request what is there. */
	take(assembler: PacketAssembler): RingResult {
		const { memory, page } = this;
		const consumer = memory.u32(page + offset.reqCons);
		const available = (memory.u32(page + offset.reqProd) - consumer) >>> 0;
		if (available > XENSTORE_RING_SIZE) return RingResult.invalid;
		let taken = 0;
		while (taken < available && assembler.wanted > 0) {
			const at = (consumer + taken) % XENSTORE_RING_SIZE;
			const count = Math.min(available - taken, assembler.wanted, XENSTORE_RING_SIZE - at);
			const start = page + offset.req + at;
			assembler.append(memory.bytes.subarray(start, start + count));
			taken += count;
		}
		if (taken === 0) return RingResult.nothing;
		memory.setU32(page + offset.reqCons, (consumer + taken) >>> 0);
		return RingResult.moved;
	}

	/** Puts of what waits for the guest as much into the ring as it has room for. */
	put(connection: Connection): RingResult {
		const { memory, page } = this;
		const producer = memory.u32(page + offset.rspProd);
		const used = (producer - memory.u32(page + offset.rspCons)) >>> 0;
		if (used > XENSTORE_RING_SIZE) return RingResult.invalid;
		let room = XENSTORE_RING_SIZE - used;
		let next = producer;
		for (let bytes = connection.peek(); bytes !== undefined && room > 0; bytes = connection.peek()) {
			const at = next % XENSTORE_RING_SIZE;
			const count = Math.min(bytes.length, room, XENSTORE_RING_SIZE - at);
			memory.bytes.set(bytes.subarray(0, count), page + offset.rsp + at);
			connection.advance(count);
			next = (next + count) >>> 0;
			room -= count;
		}
		if (next === producer) return RingResult.nothing;
		memory.setU32(page + offset.rspProd, next);
		return RingResult.moved;
	}
}
