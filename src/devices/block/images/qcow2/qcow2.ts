/**
 * qcow2 images (QEMU's docs/interop/qcow2.txt): versions 2 and 3, with backing files, compressed clusters (read) and internal snapshots
 * (kept as they are). The file is consistent at every moment, also after power loss: at the worst it has clusters that nobody uses.
 * Operations that change it come one after the other; reads go beside them.
 */
import { BlockError, type BlockFile, type BlockImage, type Done } from "../../image.ts";
import { run, Serial, type Steps, wait } from "../../steps.ts";
import { compressedPlace, hostClusters, readCompressed } from "./compressed.ts";
import { Field, type Qcow2Header, readHeader, writeWide } from "./header.ts";
import { Refcounts } from "./refcounts.ts";
import { COMPRESSED, COPIED, type L2Table, Tables, ZERO } from "./tables.ts";

/** What a cluster of the disk is stored as. */
type Kind = "none" | "zero" | "compressed" | "data";

function kindOf(table: L2Table | undefined, index: number, version: number): Kind {
	if (table === undefined) return "none";
	const high = table.high(index);
	if ((high & COMPRESSED) !== 0) return "compressed";
	if (version === 3 && (table.low(index) & ZERO) !== 0) return "zero";
	return table.host(index) === 0 ? "none" : "data";
}

export class Qcow2Image implements BlockImage {
	private readonly clusterSize: number;
	private bytes: number;
	private readonly serial = new Serial();
	/** Reads that have found where their data are and not yet got them. */
	private readers = 0;
	/** The last compressed cluster that was read: its L2 entry and contents. */
	private unpacked: { readonly offset: number; readonly contents: Uint8Array } | undefined;

	private constructor(
		private readonly file: BlockFile,
		private readonly header: Qcow2Header,
		private readonly refcounts: Refcounts,
		private readonly tables: Tables,
		private readonly backing: BlockImage | undefined,
		readonly readOnly: boolean,
	) {
		this.clusterSize = 2 ** header.clusterBits;
		this.bytes = header.size;
	}

	/**
	 * @param openBacking opens the backing file that the header names, with its format
	 * @throws BlockError
	 */
	static async open(
		file: BlockFile,
		openBacking: (name: string, format: string | undefined) => Promise<BlockImage>,
	): Promise<Qcow2Image> {
		const header = await readHeader(file, !file.readOnly);
		const refcounts = await Refcounts.open(file, header);
		const tables = await Tables.open(file, refcounts, header);
		if (!file.readOnly && header.autoclear) {
			// What these bits vouch for (bitmaps) we do not keep up to date.
			await file.write(new Uint8Array(8), Field.autoclear);
			await file.sync();
		}
		const { backingFile, backingFormat } = header;
		const backing = backingFile === undefined ? undefined : await openBacking(backingFile, backingFormat);
		return new Qcow2Image(file, header, refcounts, tables, backing, file.readOnly);
	}

	get size(): number {
		return this.bytes;
	}

	get discardGranularity(): number {
		return this.readOnly ? 0 : this.clusterSize;
	}

	read(to: Uint8Array, position: number): Done {
		return run(this.reading(to, position));
	}

	write(from: Uint8Array, position: number): Done {
		return this.serial.run(() => run(this.writing(from, position)));
	}

	flush(): Done {
		return this.readOnly ? undefined : this.serial.run(() => run(this.committing()));
	}

	discard(position: number, length: number): Done {
		return this.serial.run(() => run(this.discarding(position, length)));
	}

	resize(size: number): Done {
		return this.serial.run(() => run(this.resizing(size)));
	}

	async close(): Promise<void> {
		try {
			await this.flush();
		} finally {
			await Promise.allSettled([this.file.close(), this.backing?.close()]);
		}
	}

	// Reading

	private *reading(to: Uint8Array, position: number): Steps {
		this.readers++;
		try {
			const { clusterSize, tables } = this;
			for (let done = 0; done < to.length; ) {
				const at = position + done;
				const cluster = Math.floor(at / clusterSize);
				const table = yield* tables.table(Math.floor(cluster / tables.entries));
				const index = cluster % tables.entries;
				const within = at - cluster * clusterSize;
				const kind = kindOf(table, index, this.header.version);
				let count = Math.min(to.length - done, clusterSize - within);
				if (table === undefined || kind === "none") {
					yield* this.readBacking(to.subarray(done, done + count), at);
				} else if (kind === "zero") {
					to.fill(0, done, done + count);
				} else if (kind === "compressed") {
					const contents = yield* this.unpack(table, index);
					to.set(contents.subarray(within, within + count), done);
				} else {
					// Clusters that follow each other in the file as well.
					const host = this.hostOf(table, index);
					for (let next = index + 1; count < to.length - done && next < tables.entries; next++) {
						if (kindOf(table, next, this.header.version) !== "data") break;
						if (table.host(next) !== host + (next - index) * clusterSize) break;
						count = Math.min(to.length - done, count + clusterSize);
					}
					yield* wait(this.file.read(to.subarray(done, done + count), host + within));
				}
				done += count;
			}
		} finally {
			this.readers--;
		}
	}

	private *readBacking(to: Uint8Array, position: number): Steps {
		const { backing } = this;
		const count = backing === undefined ? 0 : Math.max(0, Math.min(to.length, backing.size - position));
		if (count < to.length) to.fill(0, count);
		if (count > 0) yield* wait(backing?.read(to.subarray(0, count), position));
	}

	private *unpack(table: L2Table, index: number): Steps<Uint8Array> {
		const place = compressedPlace(table.high(index), table.low(index), this.header.clusterBits);
		if (this.unpacked?.offset === place.offset) return this.unpacked.contents;
		const contents = yield* readCompressed(this.file, place, this.header.compression, this.clusterSize);
		this.unpacked = { offset: place.offset, contents };
		return contents;
	}

	private hostOf(table: L2Table, index: number): number {
		const host = table.host(index);
		if (host % this.clusterSize === 0) return host;
		throw new BlockError("malformed", this.file.name, "a cluster is out of bounds", "Repair it: qemu-img check -r all");
	}

	// Writing

	private *writing(from: Uint8Array, position: number): Steps {
		const { clusterSize, tables } = this;
		for (let done = 0; done < from.length; ) {
			const at = position + done;
			const cluster = Math.floor(at / clusterSize);
			const within = at - cluster * clusterSize;
			const count = Math.min(from.length - done, clusterSize - within);
			if (tables.full) yield* this.committing();
			const table = yield* tables.writableTable(Math.floor(cluster / tables.entries));
			yield* this.writeCluster(table, cluster, from.subarray(done, done + count), within);
			done += count;
		}
	}

	/** Stores bytes of one cluster: in its place where it has one of its own, else in a new one with the rest copied. */
	private *writeCluster(table: L2Table, cluster: number, from: Uint8Array, within: number): Steps {
		const { tables, header } = this;
		const index = cluster % tables.entries;
		const kind = kindOf(table, index, header.version);
		if (kind === "data" && table.high(index) >= COPIED) {
			yield* wait(this.file.write(from, this.hostOf(table, index) + within));
			return;
		}
		const zeros = kind === "zero" || (kind === "none" && this.backing === undefined);
		const host = yield* this.refcounts.allocate();
		try {
			yield* this.fillCluster(host, cluster, from, within, zeros);
		} catch (error) {
			// Nothing refers to it yet.
			yield* this.refcounts.release(host);
			throw error;
		}
		this.releaseOld(table, index, kind);
		tables.set(table, index, COPIED + Math.floor(host / 2 ** 32), host % 2 ** 32);
	}

	/** Writes a new cluster: what is new, and around it what the disk's cluster was. */
	private *fillCluster(host: number, cluster: number, from: Uint8Array, within: number, zeros: boolean): Steps {
		const { clusterSize } = this;
		if (from.length === clusterSize || (zeros && host >= this.file.size)) {
			yield* wait(this.file.write(from, host + within));
		} else {
			const whole = new Uint8Array(clusterSize);
			const start = cluster * clusterSize;
			if (!zeros) yield* this.reading(whole.subarray(0, Math.min(clusterSize, this.bytes - start)), start);
			whole.set(from, within);
			yield* wait(this.file.write(whole, host));
		}
	}

	/** Gives up what a cluster is stored in. */
	private releaseOld(table: L2Table, index: number, kind: Kind): void {
		const { tables } = this;
		if (kind === "compressed") {
			const place = compressedPlace(table.high(index), table.low(index), this.header.clusterBits);
			for (const host of hostClusters(place, this.clusterSize)) tables.release(host);
			// Its place may be another's soon.
			this.unpacked = undefined;
		} else if (table.host(index) !== 0) {
			tables.release(this.hostOf(table, index));
		}
	}

	private *committing(): Steps {
		const over = this.file.size % this.clusterSize;
		if (over !== 0) yield* wait(this.file.truncate(this.file.size + this.clusterSize - over));
		yield* this.tables.commit(() => this.readers === 0);
	}

	private *discarding(position: number, length: number): Steps {
		const { clusterSize, tables, header } = this;
		// The disk's end may be within a cluster, which is whole then too.
		const end =
			position + length === this.bytes
				? Math.ceil(this.bytes / clusterSize)
				: Math.floor((position + length) / clusterSize);
		for (let cluster = Math.ceil(position / clusterSize); cluster < end; ) {
			const l1 = Math.floor(cluster / tables.entries);
			const stop = Math.min(end, (l1 + 1) * tables.entries);
			const existing = yield* tables.table(l1);
			// What was never written takes no space; what shines through from a backing file may do so.
			if (existing !== undefined && (this.backing === undefined || header.version === 3)) {
				if (tables.full) yield* this.committing();
				const table = yield* tables.writableTable(l1);
				for (; cluster < stop; cluster++) {
					const index = cluster % tables.entries;
					const kind = kindOf(table, index, header.version);
					if (kind === "none" || (kind === "zero" && table.host(index) === 0)) continue;
					this.releaseOld(table, index, kind);
					tables.set(table, index, 0, this.backing === undefined ? 0 : ZERO);
				}
			}
			cluster = stop;
		}
	}

	// Size

	private *resizing(size: number): Steps {
		const { file, header, tables } = this;
		const refuse = (reason: string, remedy: string): never => {
			throw new BlockError("unsupported", file.name, reason, remedy);
		};
		if (this.readOnly) throw new BlockError("read-only", file.name, "opened for reading only", "Attach it writable");
		if (size < this.bytes) refuse("cannot be made smaller", "A disk that a guest uses can only grow");
		if (header.snapshots > 0) refuse("has snapshots, which have its size", "Delete them: qemu-img snapshot -d");
		if (this.backing !== undefined && this.backing.size > this.bytes) {
			// What is beyond the old end is the backing file's, and must not come to light.
			yield* this.writeZeros(this.bytes, Math.min(size, this.backing.size));
		}
		yield* this.committing();
		const entries = Math.ceil(size / (this.clusterSize * tables.entries));
		if (entries * 8 > 32 * 2 ** 20)
			refuse(`cannot have ${size} bytes`, "Convert it to one of larger clusters: qemu-img convert -o cluster_size=2M");
		if (entries > tables.l1Size) {
			const { offset, old } = yield* tables.growL1(entries);
			const head = new Uint8Array(12);
			const view = new DataView(head.buffer);
			view.setUint32(0, entries);
			writeWide(view, 4, offset);
			yield* wait(file.write(head, Field.l1Size));
			yield* wait(file.sync());
			for (const cluster of old) yield* this.refcounts.release(cluster);
		}
		const field = new Uint8Array(8);
		writeWide(new DataView(field.buffer), 0, size);
		yield* wait(file.write(field, Field.size));
		yield* wait(file.sync());
		this.bytes = size;
	}

	private *writeZeros(from: number, to: number): Steps {
		const zeros = new Uint8Array(this.clusterSize);
		for (let at = from; at < to; ) {
			const count = Math.min(to - at, this.clusterSize - (at % this.clusterSize));
			yield* this.writing(zeros.subarray(0, count), at);
			at += count;
		}
	}
}
