/** A queue of bytes in a buffer that grows up to a limit: what has been sent and not been acknowledged must be there to be sent again. */
const SMALLEST = 4096;

export class ByteRing {
	private buffer = new Uint8Array(0);
	private start = 0;
	private used = 0;

	/** Bytes in it. */
	get length(): number {
		return this.used;
	}

	/** Appends a copy. */
	push(bytes: Uint8Array): void {
		this.reserve(this.used + bytes.length);
		const { buffer } = this;
		const at = (this.start + this.used) & (buffer.length - 1);
		const first = Math.min(bytes.length, buffer.length - at);
		buffer.set(bytes.subarray(0, first), at);
		buffer.set(bytes.subarray(first), 0);
		this.used += bytes.length;
	}

	/** Copies `length` bytes that begin `offset` bytes behind the first. The caller has checked that they are there. */
	copy(offset: number, length: number, target: Uint8Array, at: number): void {
		const { buffer } = this;
		const from = (this.start + offset) & (buffer.length - 1);
		const first = Math.min(length, buffer.length - from);
		target.set(buffer.subarray(from, from + first), at);
		if (first < length) target.set(buffer.subarray(0, length - first), at + first);
	}

	/** Forgets the first `count` bytes. An empty ring holds no memory. */
	drop(count: number): void {
		this.used -= count;
		if (this.used === 0) {
			this.start = 0;
			if (this.buffer.length > SMALLEST) this.buffer = new Uint8Array(0);
			return;
		}
		this.start = (this.start + count) & (this.buffer.length - 1);
	}

	private reserve(size: number): void {
		if (size <= this.buffer.length) return;
		let capacity = Math.max(SMALLEST, this.buffer.length);
		while (capacity < size) capacity *= 2;
		const grown = new Uint8Array(capacity);
		if (this.used > 0) this.copy(0, this.used, grown, 0);
		this.buffer = grown;
		this.start = 0;
	}
}
