/**
 * The back end's half of a flexible ring (public/io/ring.h): two directions of bytes over granted pages, the first half towards the guest.
 * The guest may write anything at any time: indices are judged each time they are read, and bytes are copied before they are looked at.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";
import { p9DataInterface } from "../../xen/abi/p9.ts";

const { offset } = p9DataInterface;

export class FlexRing {
	/** Bytes of each direction. */
	readonly size: number;

	/**
	 * @param shared linear address of the page with the indices
	 * @param pages linear addresses of the pages of data, a power of two of them
	 * @param touch is called before bytes of a page change
	 */
	constructor(
		private readonly memory: Memory,
		private readonly shared: number,
		private readonly pages: readonly number[],
		private readonly touch: (address: number) => void,
	) {
		this.size = (pages.length * PAGE_SIZE) / 2;
	}

	/** Bytes that the guest has sent and that have not been taken; -1 where its index makes no sense. */
	get waiting(): number {
		const { memory, shared } = this;
		const queued = (memory.u32(shared + offset.outProd) - memory.u32(shared + offset.outCons)) >>> 0;
		return queued > this.size ? -1 : queued;
	}

	/** Bytes that the guest has room for; -1 where its index makes no sense. */
	get room(): number {
		const { memory, shared } = this;
		const queued = (memory.u32(shared + offset.inProd) - memory.u32(shared + offset.inCons)) >>> 0;
		return queued > this.size ? -1 : this.size - queued;
	}

	/** Copies the next bytes, which stay. As many are {@link waiting}. */
	peek(into: Uint8Array): void {
		this.copy(this.size, this.memory.u32(this.shared + offset.outCons), into, false);
	}

	/** Gives the guest back the room of the next bytes. */
	consume(count: number): void {
		const at = this.shared + offset.outCons;
		this.memory.setU32(at, (this.memory.u32(at) + count) >>> 0);
	}

	/** Sends bytes, for which there is {@link room}. */
	put(bytes: Uint8Array): void {
		const at = this.shared + offset.inProd;
		const producer = this.memory.u32(at);
		this.copy(0, producer, bytes, true);
		this.memory.setU32(at, (producer + bytes.length) >>> 0);
	}

	private copy(start: number, index: number, bytes: Uint8Array, out: boolean): void {
		const memory = this.memory.bytes;
		for (let done = 0; done < bytes.length; ) {
			const at = start + (((index + done) >>> 0) & (this.size - 1));
			const within = at & (PAGE_SIZE - 1);
			const linear = (this.pages[Math.floor(at / PAGE_SIZE)] as number) + within;
			// A direction ends where a page does, or (two pages in all) where its half of one does.
			const count = Math.min(bytes.length - done, PAGE_SIZE - within, start + this.size - at);
			if (out) {
				this.touch(linear);
				memory.set(bytes.subarray(done, done + count), linear);
			} else {
				bytes.set(memory.subarray(linear, linear + count), done);
			}
			done += count;
		}
	}
}
