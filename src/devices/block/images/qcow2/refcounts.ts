/**
 * Which clusters of a qcow2 image are in use, and how often. A count is written to the file as soon as it rises, before anything
 * refers to the cluster, and falls only after nothing does any more (the image sees to that): an image that is left at any
 * moment has at the worst clusters that nobody uses.
 */
import { BlockError, type BlockFile } from "../../image.ts";
import { type Steps, wait } from "../../steps.ts";
import { Field, type Qcow2Header, readWide, writeWide } from "./header.ts";

const OFFSET_HIGH = 0x00ff_ffff;

export class Refcounts {
	/** File offsets of the refcount blocks; 0 where there is none. */
	private table: Float64Array;
	private tableOffset: number;
	private readonly blocks = new Map<number, Uint8Array>();
	private readonly perBlock: number;
	/** No cluster below it is free. */
	private hint = 0;

	private constructor(
		private readonly file: BlockFile,
		private readonly clusterSize: number,
		private readonly bits: number,
		table: Float64Array,
		tableOffset: number,
	) {
		this.table = table;
		this.tableOffset = tableOffset;
		this.perBlock = (clusterSize * 8) / bits;
	}

	static async open(file: BlockFile, header: Qcow2Header): Promise<Refcounts> {
		const clusterSize = 2 ** header.clusterBits;
		const bytes = new Uint8Array(header.refcountTableClusters * clusterSize);
		await file.read(bytes, header.refcountTableOffset);
		const view = new DataView(bytes.buffer);
		const table = new Float64Array(bytes.length / 8);
		for (let index = 0; index < table.length; index++) table[index] = readWide(view, index * 8);
		return new Refcounts(file, clusterSize, header.refcountBits, table, header.refcountTableOffset);
	}

	/** Takes `count` clusters in a row into use. @returns the file offset of the first */
	*allocate(count = 1): Steps<number> {
		for (;;) {
			let first = this.hint;
			for (let found = 0; found < count; ) {
				if ((yield* this.get(first + found)) === 0) found++;
				else {
					first += found + 1;
					found = 0;
				}
			}
			// Making a refcount block takes clusters of its own, perhaps these: look again then.
			if (yield* this.ensureBlocks(first, count)) continue;
			for (let index = 0; index < count; index++) yield* this.set(first + index, 1);
			if (count === 1 || first === this.hint) this.hint = first + count;
			return first * this.clusterSize;
		}
	}

	/** Drops one use of the cluster at a file offset. @returns whether it is free now */
	*release(offset: number): Steps<boolean> {
		const cluster = Math.floor(offset / this.clusterSize);
		const count = yield* this.get(cluster);
		if (count === 0) throw this.malformed(`cluster ${cluster} is used but counts as free`);
		yield* this.set(cluster, count - 1);
		if (count === 1 && cluster < this.hint) this.hint = cluster;
		return count === 1;
	}

	private malformed(reason: string): BlockError {
		return new BlockError("malformed", this.file.name, reason, "Repair it: qemu-img check -r all");
	}

	private *get(cluster: number): Steps<number> {
		const block = yield* this.block(Math.floor(cluster / this.perBlock));
		return block === undefined ? 0 : this.read(block, cluster % this.perBlock);
	}

	private read(block: Uint8Array, index: number): number {
		const { bits } = this;
		if (bits < 8) {
			const shift = (index * bits) & 7;
			return ((block[(index * bits) >>> 3] as number) >>> shift) & (2 ** bits - 1);
		}
		let value = 0;
		const bytes = bits / 8;
		for (let at = index * bytes; at < (index + 1) * bytes; at++) value = value * 256 + (block[at] as number);
		return value;
	}

	/** Changes a count in its block, which exists, and in the file. */
	private *set(cluster: number, value: number): Steps {
		const number = Math.floor(cluster / this.perBlock);
		const block = (yield* this.block(number)) as Uint8Array;
		const [from, to] = this.put(block, cluster % this.perBlock, value);
		yield* wait(this.file.write(block.subarray(from, to), (this.table[number] as number) + from));
	}

	/** Changes a count in a block's bytes. @returns which bytes have changed */
	private put(block: Uint8Array, index: number, value: number): readonly [from: number, to: number] {
		const { bits } = this;
		if (bits < 8) {
			const at = (index * bits) >>> 3;
			const shift = (index * bits) & 7;
			block[at] = ((block[at] as number) & ~((2 ** bits - 1) << shift)) | (value << shift);
			return [at, at + 1];
		}
		const bytes = bits / 8;
		let rest = value;
		for (let at = (index + 1) * bytes - 1; at >= index * bytes; at--) {
			block[at] = rest % 256;
			rest = Math.floor(rest / 256);
		}
		return [index * bytes, (index + 1) * bytes];
	}

	private *block(number: number): Steps<Uint8Array | undefined> {
		const known = this.blocks.get(number);
		if (known !== undefined) return known;
		const offset = this.table[number] ?? 0;
		if (offset === 0) return undefined;
		if (offset % this.clusterSize !== 0 || offset >= this.file.size || offset > OFFSET_HIGH * 2 ** 32) {
			throw this.malformed(`refcount block ${number} is out of bounds`);
		}
		const block = new Uint8Array(this.clusterSize);
		yield* wait(this.file.read(block, offset));
		const first = this.blocks.get(number);
		if (first !== undefined) return first;
		this.blocks.set(number, block);
		return block;
	}

	/** Makes the refcount blocks for clusters that are about to be used. @returns whether any was missing */
	private *ensureBlocks(first: number, count: number): Steps<boolean> {
		const from = Math.floor(first / this.perBlock);
		const to = Math.floor((first + count - 1) / this.perBlock);
		for (let number = from; number <= to; number++) {
			if (number >= this.table.length) {
				yield* this.growTable(number + 1);
				return true;
			}
			if (this.table[number] !== 0) continue;
			yield* this.addBlock(number);
			return true;
		}
		return false;
	}

	/** A new block, which is the first to be counted in it: the clusters that it counts are all free. */
	private *addBlock(number: number): Steps {
		const block = new Uint8Array(this.clusterSize);
		const offset = number * this.perBlock * this.clusterSize;
		this.put(block, 0, 1);
		yield* wait(this.file.write(block, offset));
		yield* wait(this.file.sync());
		yield* this.writeTableEntry(number, offset);
		this.blocks.set(number, block);
	}

	private *writeTableEntry(number: number, offset: number): Steps {
		const entry = new Uint8Array(8);
		writeWide(new DataView(entry.buffer), 0, offset);
		yield* wait(this.file.write(entry, this.tableOffset + number * 8));
		this.table[number] = offset;
	}

	/**
	 * A larger table, behind all that is in use: at the first cluster that the old one cannot count, where its own first block is
	 * put as well. The header then changes from the old to the new in one write.
	 */
	private *growTable(atLeast: number): Steps {
		const { clusterSize, perBlock, table } = this;
		const perCluster = clusterSize / 8;
		const oldClusters = table.length / perCluster;
		const clusters = Math.max(oldClusters * 2, Math.ceil((atLeast + perCluster) / perCluster));
		const grown = new Float64Array(clusters * perCluster);
		grown.set(table);
		// The blocks that count themselves and the new table: one, but for the smallest clusters.
		let blocks = 1;
		while (blocks * perBlock < blocks + clusters) blocks++;
		const number = Math.max(table.length, atLeast - 1);
		const start = number * perBlock;
		const counts = Array.from({ length: blocks }, () => new Uint8Array(clusterSize));
		for (let index = 0; index < blocks + clusters; index++) {
			this.put(counts[Math.floor(index / perBlock)] as Uint8Array, index % perBlock, 1);
		}
		for (let index = 0; index < blocks; index++) grown[number + index] = (start + index) * clusterSize;
		const bytes = new Uint8Array(clusters * clusterSize);
		const view = new DataView(bytes.buffer);
		grown.forEach((offset, index) => {
			writeWide(view, index * 8, offset);
		});
		const tableOffset = (start + blocks) * clusterSize;
		for (const [index, block] of counts.entries()) {
			yield* wait(this.file.write(block, (start + index) * clusterSize));
		}
		yield* wait(this.file.write(bytes, tableOffset));
		yield* wait(this.file.sync());
		const head = new Uint8Array(12);
		const headView = new DataView(head.buffer);
		writeWide(headView, 0, tableOffset);
		headView.setUint32(8, clusters);
		yield* wait(this.file.write(head, Field.refcountTableOffset));
		yield* wait(this.file.sync());
		const oldOffset = this.tableOffset;
		this.table = grown;
		this.tableOffset = tableOffset;
		for (const [index, block] of counts.entries()) this.blocks.set(number + index, block);
		for (let index = 0; index < oldClusters; index++) yield* this.release(oldOffset + index * clusterSize);
	}
}
