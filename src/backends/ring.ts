/**
 * The back end's half of the shared ring of split drivers (public/io/ring.h), over one or several granted pages. The front end may
 * write anything at any time: its producer index is judged each time it is read, and a request is copied before it is looked at.
 * Indices are free-running 32-bit numbers. Responses become visible to the front end only with {@link BackRing.push}.
 */
import { PAGE_SIZE } from "../memory/map.ts";
import type { Memory } from "../memory/memory.ts";
import { struct, u32 } from "../xen/abi/struct.ts";

/** struct *_sring up to its first entry. */
export const sharedRing = struct({ reqProd: u32, reqEvent: u32, rspProd: u32, rspEvent: u32 }, { size: 64 });
const { offset, size: HEADER } = sharedRing;
const PAGE_MASK = PAGE_SIZE - 1;

/** Entries of a ring of that many bytes: __RING_SIZE, a power of two. */
export function ringSize(bytes: number, entrySize: number): number {
	return 2 ** Math.floor(Math.log2((bytes - HEADER) / entrySize));
}

export class BackRing {
	/** Entries. */
	readonly size: number;
	private requestConsumer: number;
	private responseProducer: number;
	private readonly first: number;

	/**
	 * Attaches to a ring where its last back end left off: nothing in a new one, what is unanswered in one that is taken over.
	 * @param pages linear addresses of the ring's pages in their order; each a whole page
	 * @param entrySize bytes of an entry: the larger of request and response
	 */
	constructor(
		private readonly memory: Memory,
		private readonly pages: readonly number[],
		readonly entrySize: number,
	) {
		this.first = pages[0] as number;
		this.size = ringSize(pages.length * PAGE_SIZE, entrySize);
		this.responseProducer = memory.u32(this.first + offset.rspProd);
		this.requestConsumer = this.responseProducer;
	}

	/**
	 * Requests that the front end has made and that have not been taken.
	 * @returns -1 where its index claims more than the ring holds (RING_REQUEST_PROD_OVERFLOW), or takes a request back: such a
	 * front end is broken
	 */
	get waiting(): number {
		const produced = this.memory.u32(this.first + offset.reqProd);
		if ((produced - this.responseProducer) >>> 0 > this.size) return -1;
		const waiting = (produced - this.requestConsumer) >>> 0;
		return waiting > this.size ? -1 : waiting;
	}

	/** Requests that have been taken and not been answered. */
	get unanswered(): number {
		return (this.requestConsumer - this.responseProducer) >>> 0;
	}

	/** Copies the next request into `to`, at most an entry. The caller has seen that one is {@link waiting}. */
	take(to: Uint8Array): void {
		const slot = this.requestConsumer & (this.size - 1);
		this.requestConsumer = (this.requestConsumer + 1) >>> 0;
		this.copy(slot, to, false);
	}

	/** Leaves the request that was taken last in the ring; it is copied anew when it is taken again. */
	putBack(): void {
		this.requestConsumer = (this.requestConsumer - 1) >>> 0;
	}

	/** Puts the next response, at most an entry; there is room for one for each request that has been taken. */
	respond(from: Uint8Array): void {
		const slot = this.responseProducer & (this.size - 1);
		this.responseProducer = (this.responseProducer + 1) >>> 0;
		this.copy(slot, from, true);
	}

	/** Publishes the responses. @returns whether the front end asks to be notified of them (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY) */
	push(): boolean {
		const { memory, first, responseProducer } = this;
		const before = memory.u32(first + offset.rspProd);
		memory.setU32(first + offset.rspProd, responseProducer);
		const event = memory.u32(first + offset.rspEvent);
		return (responseProducer - event) >>> 0 < (responseProducer - before) >>> 0;
	}

	/**
	 * Asks to be notified of the next request (RING_FINAL_CHECK_FOR_REQUESTS).
	 * @returns whether there is one already, of which no notification will come
	 */
	finalCheck(): boolean {
		if (this.waiting !== 0) return true;
		this.memory.setU32(this.first + offset.reqEvent, (this.requestConsumer + 1) >>> 0);
		return this.waiting !== 0;
	}

	/**
	 * Asks to be notified of the next request behind those that are there, for who needs several and has too few.
	 * @returns whether more have come meanwhile, of which no notification will come
	 */
	awaitMore(): boolean {
		const { first, memory } = this;
		const produced = memory.u32(first + offset.reqProd);
		memory.setU32(first + offset.reqEvent, (produced + 1) >>> 0);
		return memory.u32(first + offset.reqProd) !== produced;
	}

	/** Copies between a slot and private bytes; entries of rings of several pages may lie across two of them. */
	private copy(slot: number, bytes: Uint8Array, out: boolean): void {
		const at = HEADER + slot * this.entrySize;
		const length = Math.min(bytes.length, this.entrySize);
		const memory = this.memory.bytes;
		for (let done = 0; done < length; ) {
			const linear = (this.pages[Math.floor((at + done) / PAGE_SIZE)] as number) + ((at + done) & PAGE_MASK);
			const count = Math.min(length - done, PAGE_SIZE - ((at + done) & PAGE_MASK));
			if (out) memory.set(bytes.subarray(done, done + count), linear);
			else bytes.set(memory.subarray(linear, linear + count), done);
			done += count;
		}
	}
}
