/**
 * The mapping of a qcow2 image: L1 table and L2 tables, kept in memory as they are used. Changes stay there until {@link Tables.commit},
 * which brings them to the file in an order that leaves it consistent at every moment: what an entry refers to is durable before the
 * entry is.
 */
import { BlockError, type BlockFile } from "../../image.ts";
import { type Steps, wait } from "../../steps.ts";
import { type Qcow2Header, writeWide } from "./header.ts";
import type { Refcounts } from "./refcounts.ts";

/** Upper halves of entries: QCOW_OFLAG_COPIED, QCOW_OFLAG_COMPRESSED, and the offset's part. */
export const COPIED = 0x8000_0000;
export const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
const OFFSET_LOW = 0xffff_fe00;
/** Lower half of an L2 entry: QCOW_OFLAG_ZERO. */
export const ZERO = 1;

/** Tables that are kept in memory, and that may wait to be written, at the most. */
const MOST_TABLES = 256;
const MOST_DIRTY = 128;
/** Clusters that wait to be freed at the most. */
const MOST_RELEASED = 65_536;
/** Bytes in a row that are given back to the host's file system: less is sooner used again. */
const LEAST_HOLE = 2 ** 18;

function offsetIn(high: number, low: number): number {
	return (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
}

export class L2Table {
	readonly view: DataView;
	/** Entries that the file does not have yet: from, to. */
	dirtyFrom = Number.POSITIVE_INFINITY;
	dirtyTo = 0;

	constructor(
		readonly bytes: Uint8Array,
		/** Where it is in the file. */
		readonly offset: number,
	) {
		this.view = new DataView(bytes.buffer);
	}

	get dirty(): boolean {
		return this.dirtyTo > 0;
	}
	high(index: number): number {
		return this.view.getUint32(index * 8);
	}
	low(index: number): number {
		return this.view.getUint32(index * 8 + 4);
	}
	/** The offset in a standard entry. */
	host(index: number): number {
		return offsetIn(this.high(index), this.low(index));
	}
	set(index: number, high: number, low: number): void {
		this.view.setUint32(index * 8, high);
		this.view.setUint32(index * 8 + 4, low);
		this.markDirty(index, index + 1);
	}
	markDirty(from: number, to: number): void {
		this.dirtyFrom = Math.min(this.dirtyFrom, from);
		this.dirtyTo = Math.max(this.dirtyTo, to);
	}
	clean(): void {
		this.dirtyFrom = Number.POSITIVE_INFINITY;
		this.dirtyTo = 0;
	}
}

export class Tables {
	private l1: Uint8Array;
	private l1View: DataView;
	private l1Offset: number;
	private readonly dirtyL1 = new Set<number>();
	/** By L1 index, the least recently used first. */
	private readonly cache = new Map<number, L2Table>();
	private readonly dirty = new Set<L2Table>();
	/** Clusters that the file's tables still refer to and memory's do not. */
	private released: number[] = [];
	/** The table that is being changed: it stays in memory. */
	private current: L2Table | undefined;
	readonly clusterSize: number;
	/** Entries of an L2 table. */
	readonly entries: number;

	private constructor(
		private readonly file: BlockFile,
		private readonly refcounts: Refcounts,
		header: Qcow2Header,
		l1: Uint8Array,
	) {
		this.clusterSize = 2 ** header.clusterBits;
		this.entries = this.clusterSize / 8;
		this.l1 = l1;
		this.l1View = new DataView(l1.buffer);
		this.l1Offset = header.l1TableOffset;
	}

	static async open(file: BlockFile, refcounts: Refcounts, header: Qcow2Header): Promise<Tables> {
		const l1 = new Uint8Array(header.l1Size * 8);
		await file.read(l1, header.l1TableOffset);
		return new Tables(file, refcounts, header, l1);
	}

	get l1Size(): number {
		return this.l1.length / 8;
	}
	/** So many changes wait that they should be committed now. */
	get full(): boolean {
		return this.dirty.size >= MOST_DIRTY || this.released.length >= MOST_RELEASED;
	}
	/** The file lacks changes. */
	get changed(): boolean {
		return this.dirty.size > 0 || this.dirtyL1.size > 0 || this.released.length > 0;
	}

	/** The L2 table of an L1 entry, to look at; undefined where there is none. */
	*table(index: number): Steps<L2Table | undefined> {
		const known = this.cache.get(index);
		if (known !== undefined) {
			this.cache.delete(index);
			this.cache.set(index, known);
			return known;
		}
		const offset = this.l1Host(index);
		if (offset === 0) return undefined;
		if (offset % this.clusterSize !== 0 || offset >= this.file.size) {
			throw new BlockError(
				"malformed",
				this.file.name,
				`L2 table ${index} is out of bounds`,
				"Repair it: qemu-img check -r all",
			);
		}
		const table = new L2Table(new Uint8Array(this.clusterSize), offset);
		yield* wait(this.file.read(table.bytes, offset));
		// Somebody else may have read it meanwhile, and changed it.
		return this.cache.get(index) ?? this.remember(index, table);
	}

	/** The L2 table of an L1 entry, to change: made where there is none, copied where a snapshot has it too. */
	*writableTable(index: number): Steps<L2Table> {
		const old = yield* this.table(index);
		if (old !== undefined && this.l1View.getUint32(index * 8) >= COPIED) {
			this.current = old;
			return old;
		}
		const offset = yield* this.refcounts.allocate();
		const table = new L2Table(new Uint8Array(this.clusterSize), offset);
		if (old !== undefined) {
			table.bytes.set(old.bytes);
			this.release(old.offset);
			this.dirty.delete(old);
			this.cache.delete(index);
		}
		this.markDirty(table, 0, this.entries);
		writeWide(this.l1View, index * 8, offset);
		this.l1View.setUint32(index * 8, (this.l1View.getUint32(index * 8) | COPIED) >>> 0);
		this.dirtyL1.add(index);
		this.current = table;
		return this.remember(index, table);
	}

	/** Changes an entry of a table of {@link writableTable}. */
	set(table: L2Table, index: number, high: number, low: number): void {
		table.set(index, high >>> 0, low >>> 0);
		this.dirty.add(table);
	}

	/** Nothing in memory refers to the cluster at this offset any more: it is freed when that is true of the file as well. */
	release(offset: number): void {
		this.released.push(offset);
	}

	/**
	 * Brings all changes to the file, durably.
	 * @param mayFree whether clusters that are not in use any more may be given to others yet
	 */
	*commit(mayFree: () => boolean): Steps {
		// The data, and the counts of the clusters that they are in.
		yield* wait(this.file.sync());
		if (!this.changed) return;
		for (const table of this.dirty) {
			const [from, to] = [table.dirtyFrom * 8, Math.min(table.dirtyTo, this.entries) * 8];
			yield* wait(this.file.write(table.bytes.subarray(from, to), table.offset + from));
			table.clean();
			this.dirty.delete(table);
		}
		if (this.dirtyL1.size > 0) {
			yield* wait(this.file.sync());
			for (const index of this.dirtyL1) {
				yield* wait(this.file.write(this.l1.subarray(index * 8, index * 8 + 8), this.l1Offset + index * 8));
			}
			this.dirtyL1.clear();
		}
		yield* wait(this.file.sync());
		if (mayFree()) yield* this.free();
	}

	/** A larger L1 table. To be called when nothing waits to be committed. @returns its offset and the old one's, for the header */
	*growL1(size: number): Steps<{ readonly offset: number; readonly old: readonly number[] }> {
		const { clusterSize } = this;
		const clusters = (count: number): number => Math.ceil((count * 8) / clusterSize);
		const offset = yield* this.refcounts.allocate(clusters(size));
		const bytes = new Uint8Array(clusters(size) * clusterSize);
		bytes.set(this.l1);
		yield* wait(this.file.write(bytes, offset));
		yield* wait(this.file.sync());
		const old = Array.from({ length: clusters(this.l1Size) }, (_, index) => this.l1Offset + index * clusterSize);
		this.l1 = bytes.slice(0, size * 8);
		this.l1View = new DataView(this.l1.buffer);
		this.l1Offset = offset;
		return { offset, old };
	}

	private *free(): Steps {
		const { clusterSize, released } = this;
		this.released = [];
		const free: number[] = [];
		for (const offset of released) if (yield* this.refcounts.release(offset)) free.push(offset);
		free.sort((a, b) => a - b);
		for (let index = 0; index < free.length; ) {
			const start = free[index] as number;
			let length = clusterSize;
			for (index++; free[index] === start + length; index++) length += clusterSize;
			if (length >= LEAST_HOLE) yield* wait(this.file.punch(start, length));
		}
	}

	private markDirty(table: L2Table, from: number, to: number): void {
		table.markDirty(from, to);
		this.dirty.add(table);
	}

	private l1Host(index: number): number {
		return offsetIn(this.l1View.getUint32(index * 8), this.l1View.getUint32(index * 8 + 4));
	}

	private remember(index: number, table: L2Table): L2Table {
		if (this.cache.size >= MOST_TABLES) {
			for (const [oldest, other] of this.cache) {
				if (other.dirty || other === this.current) continue;
				this.cache.delete(oldest);
				break;
			}
		}
		this.cache.set(index, table);
		return table;
	}
}
