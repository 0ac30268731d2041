/** Compressed clusters of qcow2: deflate without a header, or zstd frames, in whole sectors whose end means nothing. */
import { inflateSync } from "fflate";
import { Output } from "../../../../formats/compression/output.ts";
import { decompressZstdFrame } from "../../../../formats/compression/zstd.ts";
import { BlockError, type BlockFile } from "../../image.ts";
import { type Steps, wait } from "../../steps.ts";

const SECTOR = 512;

/** Where a compressed cluster is in the file. */
export interface CompressedPlace {
	readonly offset: number;
	/** Bytes that it may take; it ends somewhere in the last sector. */
	readonly length: number;
}

/** The place in an L2 entry with the compressed flag: offset below bit 62 - (clusterBits - 8), above it further sectors. */
export function compressedPlace(high: number, low: number, clusterBits: number): CompressedPlace {
	const offsetBits = 62 - (clusterBits - 8);
	const offset = (high & (2 ** (offsetBits - 32) - 1)) * 2 ** 32 + low;
	const further = Math.floor((high & 0x3fff_ffff) / 2 ** (offsetBits - 32));
	return { offset, length: (further + 1) * SECTOR - (offset % SECTOR) };
}

/** The file's clusters that a compressed one lies in. */
export function hostClusters({ offset, length }: CompressedPlace, clusterSize: number): number[] {
	const first = Math.floor(offset / clusterSize);
	const last = Math.floor((offset + length - 1) / clusterSize);
	return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * clusterSize);
}

/** The contents of a compressed cluster. */
export function* readCompressed(
	file: BlockFile,
	place: CompressedPlace,
	compression: "zlib" | "zstd",
	clusterSize: number,
): Steps<Uint8Array> {
	const packed = new Uint8Array(place.length);
	yield* wait(file.read(packed, place.offset));
	try {
		const unpacked = compression === "zlib" ? inflate(packed, clusterSize) : zstd(packed, clusterSize);
		if (unpacked.length !== clusterSize) throw new Error(`${unpacked.length} bytes`);
		return unpacked;
	} catch (error) {
		const reason = `the compressed cluster at ${place.offset} is damaged`;
		throw new BlockError("malformed", file.name, reason, "Look at it with `qemu-img check`", { cause: error });
	}
}

function inflate(packed: Uint8Array, size: number): Uint8Array {
	return inflateSync(packed, { out: new Uint8Array(size) });
}

function zstd(packed: Uint8Array, size: number): Uint8Array {
	const output = new Output(size, size);
	decompressZstdFrame(packed, output);
	return output.result();
}
