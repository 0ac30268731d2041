/**
 * Where a decompressor writes: one buffer that grows with what is really there and never beyond a limit, so that a hostile
 * image costs no more memory than a large kernel. The buffer is also the decompressors' window (dictionary).
 */
import { PayloadError } from "../errors.ts";

const FIRST_CAPACITY = 1 << 16;

export class Output {
	bytes: Uint8Array;
	length = 0;

	/**
	 * @param limit the most bytes that may be written
	 * @param hint how many will probably come; believed only below the limit
	 */
	constructor(
		readonly limit: number,
		hint = 0,
	) {
		this.bytes = new Uint8Array(Math.min(limit, Math.max(hint, FIRST_CAPACITY)));
	}

	/** Makes room for `count` bytes more. Throws a PayloadError where the limit forbids it. `bytes` may be another array then. */
	reserve(count: number): void {
		const needed = this.length + count;
		if (needed <= this.bytes.length) return;
		if (needed > this.limit) {
			throw new PayloadError("too-large", `it unpacks to more than ${this.limit} bytes`);
		}
		const grown = new Uint8Array(Math.min(this.limit, Math.max(needed, this.bytes.length * 2)));
		grown.set(this.bytes.subarray(0, this.length));
		this.bytes = grown;
	}

	append(data: Uint8Array): void {
		this.reserve(data.length);
		this.bytes.set(data, this.length);
		this.length += data.length;
	}

	/**
	 * Repeats `count` bytes from `distance` bytes back, as every LZ77 format means it: source and target may overlap.
	 * The caller has reserved the room.
	 */
	repeat(distance: number, count: number): void {
		const { bytes } = this;
		let to = this.length;
		if (distance > to || distance <= 0) {
			throw new PayloadError("corrupt", "a match reaches back before the beginning of the data");
		}
		if (distance >= count && count > 32) {
			bytes.copyWithin(to, to - distance, to - distance + count);
			this.length = to + count;
			return;
		}
		let from = to - distance;
		const end = to + count;
		while (to < end) bytes[to++] = bytes[from++] as number;
		this.length = end;
	}

	/** What has been written; shares the buffer. */
	result(): Uint8Array {
		return this.bytes.subarray(0, this.length);
	}
}
