/** A file in memory, taking space only for what is written: what temporary overlays are kept in. */
import type { BlockFile, Done } from "../image.ts";

const CHUNK = 64 * 2 ** 10;

export class MemoryFile implements BlockFile {
	readonly readOnly = false;
	readonly holeGranularity = CHUNK;
	readonly immediate = true;
	private readonly chunks = new Map<number, Uint8Array>();

	constructor(
		private bytes = 0,
		readonly name = "memory",
	) {}

	get size(): number {
		return this.bytes;
	}

	/** Bytes of memory that it takes. */
	get used(): number {
		return this.chunks.size * CHUNK;
	}

	read(to: Uint8Array, position: number): Done {
		forChunks(position, to.length, (index, start, done, count) => {
			const chunk = this.chunks.get(index);
			if (chunk === undefined) to.fill(0, done, done + count);
			else to.set(chunk.subarray(start, start + count), done);
		});
		return undefined;
	}

	write(from: Uint8Array, position: number): Done {
		forChunks(position, from.length, (index, start, done, count) => {
			let chunk = this.chunks.get(index);
			if (chunk === undefined) {
				chunk = new Uint8Array(CHUNK);
				this.chunks.set(index, chunk);
			}
			chunk.set(from.subarray(done, done + count), start);
		});
		this.bytes = Math.max(this.bytes, position + from.length);
		return undefined;
	}

	sync(): Done {
		return undefined;
	}

	punch(position: number, length: number): Done {
		forChunks(position, length, (index, start, _done, count) => {
			if (count === CHUNK) this.chunks.delete(index);
			else this.chunks.get(index)?.fill(0, start, start + count);
		});
		return undefined;
	}

	truncate(size: number): Done {
		if (size < this.bytes) this.punch(size, this.bytes - size);
		this.bytes = size;
		return undefined;
	}

	async close(): Promise<void> {
		this.chunks.clear();
	}
}

function forChunks(
	position: number,
	length: number,
	visit: (index: number, start: number, done: number, count: number) => void,
): void {
	for (let done = 0; done < length; ) {
		const index = Math.floor((position + done) / CHUNK);
		const start = position + done - index * CHUNK;
		const count = Math.min(length - done, CHUNK - start);
		visit(index, start, done, count);
		done += count;
	}
}
