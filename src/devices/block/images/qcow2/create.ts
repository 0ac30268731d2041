/** New qcow2 images, empty or over a backing file: version 3, refcounts of 16 bits. */
import type { BlockFile } from "../../image.ts";
import { Extension, Field, HEADER_LENGTH_V3, QCOW2_MAGIC, writeWide } from "./header.ts";

export interface CreateOptions {
	/** Bytes of the disk. */
	readonly size: number;
	/** Clusters of 2^this bytes: 9 to 21, 16 by default. */
	readonly clusterBits?: number;
	readonly backing?: { readonly file: string; readonly format: "raw" | "qcow2" };
}

/** Bytes of a refcount. */
const REFCOUNT = 2;

/** Writes an image into an empty file. */
export async function createQcow2(file: BlockFile, { size, clusterBits = 16, backing }: CreateOptions): Promise<void> {
	const cluster = 2 ** clusterBits;
	const l1Size = Math.ceil(size / (cluster * (cluster / 8)));
	const l1Clusters = Math.ceil((l1Size * 8) / cluster);
	// Header, refcount table, refcount blocks, L1 table; the blocks count themselves too.
	let blocks = 1;
	const clusters = (): number => 2 + blocks + l1Clusters;
	while (blocks * (cluster / REFCOUNT) < clusters()) blocks++;
	const bytes = new Uint8Array((2 + blocks) * cluster);
	const view = new DataView(bytes.buffer);
	view.setUint32(Field.magic, QCOW2_MAGIC);
	view.setUint32(Field.version, 3);
	view.setUint32(Field.clusterBits, clusterBits);
	writeWide(view, Field.size, size);
	view.setUint32(Field.l1Size, l1Size);
	writeWide(view, Field.l1TableOffset, (2 + blocks) * cluster);
	writeWide(view, Field.refcountTableOffset, cluster);
	view.setUint32(Field.refcountTableClusters, 1);
	view.setUint32(Field.refcountOrder, 4);
	view.setUint32(Field.headerLength, HEADER_LENGTH_V3);
	if (backing !== undefined) {
		const format = new TextEncoder().encode(backing.format);
		const name = new TextEncoder().encode(backing.file);
		view.setUint32(HEADER_LENGTH_V3, Extension.backingFormat);
		view.setUint32(HEADER_LENGTH_V3 + 4, format.length);
		bytes.set(format, HEADER_LENGTH_V3 + 8);
		// The end of the extensions is eight zero bytes.
		const nameOffset = HEADER_LENGTH_V3 + 8 + Math.ceil(format.length / 8) * 8 + 8;
		if (nameOffset + name.length > cluster || name.length > 1023)
			throw new RangeError("the backing file's name is too long");
		writeWide(view, Field.backingFileOffset, nameOffset);
		view.setUint32(Field.backingFileSize, name.length);
		bytes.set(name, nameOffset);
	}
	for (let block = 0; block < blocks; block++) writeWide(view, cluster + block * 8, (2 + block) * cluster);
	for (let index = 0; index < clusters(); index++) view.setUint16(2 * cluster + index * REFCOUNT, 1);
	await file.write(bytes, 0);
	await file.truncate(clusters() * cluster);
	await file.sync();
}
