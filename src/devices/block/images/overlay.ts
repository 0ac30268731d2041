/**
 * A copy-on-write overlay that does not outlive its image: what is written goes into memory or a temporary file, the rest is read from
 * the base, which is never changed.
 */
import type { BlockFile, BlockImage, Done } from "../image.ts";
import { run, Serial, type Steps, wait } from "../steps.ts";
import { MemoryFile } from "./memory.ts";

/** A page: what file systems write at the least, so that little has to be copied. */
const BLOCK = 4096;

export class OverlayImage implements BlockImage {
	readonly readOnly = false;
	readonly discardGranularity = BLOCK;
	/** Where in the file each block is that has been written, as a block's number; -1: it reads as zeros. */
	private readonly slots = new Map<number, number>();
	private readonly free: number[] = [];
	private nextSlot = 0;
	private bytes: number;
	private readonly serial = new Serial();

	/** @param file an empty file, which is closed with the image */
	constructor(
		private readonly base: BlockImage,
		private readonly file: BlockFile = new MemoryFile(),
	) {
		this.bytes = base.size;
	}

	get size(): number {
		return this.bytes;
	}

	read(to: Uint8Array, position: number): Done {
		return run(this.reading(to, position));
	}

	write(from: Uint8Array, position: number): Done {
		return this.serial.run(() => run(this.writing(from, position)));
	}

	/** There is nothing to survive. */
	flush(): Done {
		return undefined;
	}

	discard(position: number, length: number): Done {
		return this.serial.run(() => run(this.discarding(position, length)));
	}

	resize(size: number): Done {
		if (size < this.bytes) throw new RangeError("an overlay can only grow");
		this.bytes = size;
		return undefined;
	}

	async close(): Promise<void> {
		await Promise.allSettled([this.file.close(), this.base.close()]);
	}

	private *reading(to: Uint8Array, position: number): Steps {
		for (let done = 0; done < to.length; ) {
			const at = position + done;
			const block = Math.floor(at / BLOCK);
			const within = at - block * BLOCK;
			const slot = this.slots.get(block);
			let count = Math.min(to.length - done, BLOCK - within);
			// As far as it goes on in the same way.
			for (let next = 1; count < to.length - done && this.follows(slot, block, next); next++) {
				count = Math.min(to.length - done, count + BLOCK);
			}
			const part = to.subarray(done, done + count);
			if (slot === undefined) yield* this.readBase(part, at);
			else if (slot < 0) part.fill(0);
			else yield* wait(this.file.read(part, slot * BLOCK + within));
			done += count;
		}
	}

	private follows(slot: number | undefined, block: number, next: number): boolean {
		const other = this.slots.get(block + next);
		return slot === undefined || slot < 0 ? other === slot : other === slot + next;
	}

	private *readBase(to: Uint8Array, position: number): Steps {
		const count = Math.max(0, Math.min(to.length, this.base.size - position));
		if (count < to.length) to.fill(0, count);
		if (count > 0) yield* wait(this.base.read(to.subarray(0, count), position));
	}

	private *writing(from: Uint8Array, position: number): Steps {
		for (let done = 0; done < from.length; ) {
			const at = position + done;
			const block = Math.floor(at / BLOCK);
			const within = at - block * BLOCK;
			const count = Math.min(from.length - done, BLOCK - within);
			const part = from.subarray(done, done + count);
			const slot = this.slots.get(block);
			if (slot !== undefined && slot >= 0) {
				yield* wait(this.file.write(part, slot * BLOCK + within));
			} else {
				let whole = part;
				if (count < BLOCK) {
					whole = new Uint8Array(BLOCK);
					if (slot === undefined) yield* this.readBase(whole, block * BLOCK);
					whole.set(part, within);
				}
				const fresh = this.free.pop() ?? this.nextSlot++;
				yield* wait(this.file.write(whole, fresh * BLOCK));
				this.slots.set(block, fresh);
			}
			done += count;
		}
	}

	private *discarding(position: number, length: number): Steps {
		const end = Math.floor((position + length) / BLOCK);
		for (let block = Math.ceil(position / BLOCK); block < end; block++) {
			const slot = this.slots.get(block);
			// What was never written takes no space, and may go on to read as it does.
			if (slot === undefined || slot < 0) continue;
			this.slots.set(block, -1);
			yield* wait(this.file.punch(slot * BLOCK, BLOCK));
			this.free.push(slot);
		}
	}
}
