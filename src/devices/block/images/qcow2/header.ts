/**
 * The header of qcow2 images, versions 2 and 3 (QEMU's docs/interop/qcow2.txt). All numbers are big-endian. An image is input like any
 * other: what is out of its bounds is refused, and what we cannot do is refused by its name.
 */
import { BlockError, type BlockFile } from "../../image.ts";

export const QCOW2_MAGIC = 0x514649fb;

/** Byte offsets of the header's fields. */
export const Field = {
	magic: 0,
	version: 4,
	backingFileOffset: 8,
	backingFileSize: 16,
	clusterBits: 20,
	size: 24,
	cryptMethod: 32,
	l1Size: 36,
	l1TableOffset: 40,
	refcountTableOffset: 48,
	refcountTableClusters: 56,
	snapshots: 60,
	snapshotsOffset: 64,
	incompatible: 72,
	compatible: 80,
	autoclear: 88,
	refcountOrder: 96,
	headerLength: 100,
	compressionType: 104,
} as const;
export const HEADER_LENGTH_V2 = 72;
export const HEADER_LENGTH_V3 = 112;

/** Header extensions. */
export const Extension = {
	end: 0,
	backingFormat: 0xe2792aca,
	featureNames: 0x6803f857,
	encryption: 0x0537be77,
} as const;

/** Incompatible feature bits. */
const DIRTY = 1;
const CORRUPT = 2;
const DATA_FILE = 4;
const COMPRESSION_TYPE = 8;
const EXTENDED_L2 = 16;

/** QEMU's own limits. */
const MOST_L1_BYTES = 32 * 2 ** 20;
const MOST_REFCOUNT_TABLE_BYTES = 8 * 2 ** 20;
const MOST_BACKING_NAME = 1023;
const CHECK = "Look at it with `qemu-img check`";

export interface Qcow2Header {
	readonly version: 2 | 3;
	readonly clusterBits: number;
	/** Bytes of the disk. */
	readonly size: number;
	/** Entries of the L1 table, and where it is. */
	readonly l1Size: number;
	readonly l1TableOffset: number;
	readonly refcountTableOffset: number;
	readonly refcountTableClusters: number;
	/** Bits of a refcount: 1 to 64. */
	readonly refcountBits: number;
	readonly snapshots: number;
	readonly autoclear: boolean;
	readonly compression: "zlib" | "zstd";
	readonly backingFile: string | undefined;
	readonly backingFormat: string | undefined;
}

/** A 64-bit number; exact below 2^53, beyond every offset. */
export function readWide(view: DataView, offset: number): number {
	return view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);
}

export function writeWide(view: DataView, offset: number, value: number): void {
	view.setUint32(offset, Math.floor(value / 2 ** 32));
	view.setUint32(offset + 4, value % 2 ** 32);
}

interface Extensions {
	readonly backingFormat: string | undefined;
	/** Names of incompatible features by bit. */
	readonly names: ReadonlyMap<number, string>;
}

function parseExtensions(head: Uint8Array, view: DataView, start: number, end: number): Extensions {
	const text = (from: number, length: number): string =>
		new TextDecoder().decode(head.subarray(from, from + length)).replace(/\0.*$/s, "");
	const names = new Map<number, string>();
	let backingFormat: string | undefined;
	for (let at = start; at + 8 <= end; ) {
		const type = view.getUint32(at);
		const length = view.getUint32(at + 4);
		at += 8;
		if (type === Extension.end || at + length > end) break;
		if (type === Extension.backingFormat) backingFormat = text(at, length);
		if (type === Extension.featureNames) {
			for (let entry = at; entry + 48 <= at + length; entry += 48) {
				if (head[entry] === 0) names.set(head[entry + 1] as number, text(entry + 2, 46));
			}
		}
		at += Math.ceil(length / 8) * 8;
	}
	return { backingFormat, names };
}

/** @throws BlockError where it is no qcow2 image, is damaged, or needs what we cannot do */
export async function readHeader(file: BlockFile, writable: boolean): Promise<Qcow2Header> {
	const { name } = file;
	const malformed = (reason: string): never => {
		throw new BlockError("malformed", name, reason, CHECK);
	};
	const unsupported = (reason: string, remedy: string): never => {
		throw new BlockError("unsupported", name, reason, remedy);
	};
	// Header, extensions and the backing file's name are in the first cluster; the smallest is shorter than this.
	const head = new Uint8Array(Math.min(Math.max(file.size, 512), 64 * 1024));
	await file.read(head, 0);
	const view = new DataView(head.buffer);
	if (file.size < HEADER_LENGTH_V2 || view.getUint32(Field.magic) !== QCOW2_MAGIC) {
		throw new BlockError("malformed", name, "is not a qcow2 image", "Say format=raw where it is a raw one");
	}
	const version = view.getUint32(Field.version);
	if (version !== 2 && version !== 3)
		return unsupported(`is of qcow version ${version}`, "Convert it: qemu-img convert -O qcow2");
	const clusterBits = view.getUint32(Field.clusterBits);
	if (clusterBits < 9 || clusterBits > 21) malformed(`has clusters of 2^${clusterBits} bytes`);
	const cluster = 2 ** clusterBits;
	const v3 = version === 3;
	const headerLength = v3 ? view.getUint32(Field.headerLength) : HEADER_LENGTH_V2;
	if (v3 && (headerLength < 104 || headerLength > Math.min(cluster, head.length)))
		malformed("has a header of impossible length");
	const backingOffset = readWide(view, Field.backingFileOffset);
	const backingLength = view.getUint32(Field.backingFileSize);
	const end = Math.min(cluster, head.length, backingOffset === 0 ? cluster : backingOffset);
	const { backingFormat, names } = parseExtensions(head, view, headerLength, end);

	const incompatible = v3 ? readWide(view, Field.incompatible) : 0;
	checkFeatures(incompatible, names, writable, unsupported);
	const crypt = view.getUint32(Field.cryptMethod);
	if (crypt !== 0)
		unsupported(
			`is encrypted (${crypt === 1 ? "AES" : crypt === 2 ? "LUKS" : `method ${crypt}`})`,
			"Convert it: qemu-img convert",
		);
	const compressed = v3 && headerLength > Field.compressionType ? view.getUint8(Field.compressionType) : 0;
	if (compressed > 1) unsupported(`is compressed by method ${compressed}`, "Convert it: qemu-img convert");

	const refcountOrder = v3 ? view.getUint32(Field.refcountOrder) : 4;
	if (refcountOrder > 6) malformed("has refcounts of more than 64 bits");
	const size = readWide(view, Field.size);
	const l1Size = view.getUint32(Field.l1Size);
	const l1TableOffset = readWide(view, Field.l1TableOffset);
	const refcountTableOffset = readWide(view, Field.refcountTableOffset);
	const refcountTableClusters = view.getUint32(Field.refcountTableClusters);
	const perL1 = cluster * (cluster / 8);
	if (size > Number.MAX_SAFE_INTEGER - perL1 || l1Size * 8 > MOST_L1_BYTES) malformed("claims an impossible size");
	if (l1Size < Math.ceil(size / perL1)) malformed("has an L1 table that is too small for its size");
	if (l1TableOffset % cluster !== 0 || (l1Size > 0 && l1TableOffset + l1Size * 8 > file.size))
		malformed("has its L1 table out of bounds");
	const tableBytes = refcountTableClusters * cluster;
	const tableFits = tableBytes <= MOST_REFCOUNT_TABLE_BYTES && refcountTableOffset + tableBytes <= file.size;
	if (refcountTableOffset % cluster !== 0 || !tableFits || tableBytes === 0)
		malformed("has its refcount table out of bounds");

	let backingFile: string | undefined;
	if (backingOffset !== 0) {
		if (backingLength > MOST_BACKING_NAME || backingOffset + backingLength > Math.min(cluster, head.length)) {
			malformed("has the name of its backing file out of bounds");
		}
		backingFile = new TextDecoder().decode(head.subarray(backingOffset, backingOffset + backingLength));
	}
	return {
		version,
		clusterBits,
		size,
		l1Size,
		l1TableOffset,
		refcountTableOffset,
		refcountTableClusters,
		refcountBits: 2 ** refcountOrder,
		snapshots: view.getUint32(Field.snapshots),
		autoclear: v3 && readWide(view, Field.autoclear) !== 0,
		compression: compressed === 1 ? "zstd" : "zlib",
		backingFile: backingFile === "" ? undefined : backingFile,
		backingFormat,
	};
}

function checkFeatures(
	bits: number,
	names: ReadonlyMap<number, string>,
	writable: boolean,
	unsupported: (reason: string, remedy: string) => never,
): void {
	const repair = "Repair it first: qemu-img check -r all";
	if (writable && (bits & DIRTY) !== 0)
		unsupported("was not closed by its last user, who kept its refcounts lazily", repair);
	if (writable && (bits & CORRUPT) !== 0) unsupported("is marked as corrupt", repair);
	if ((bits & DATA_FILE) !== 0)
		unsupported("keeps its data in another file (external data file)", "Convert it: qemu-img convert");
	if ((bits & EXTENDED_L2) !== 0)
		unsupported("has subclusters (extended L2 entries)", "Convert it: qemu-img convert -o extended_l2=off");
	const known = DIRTY | CORRUPT | COMPRESSION_TYPE;
	for (let bit = 0; bit < 53; bit++) {
		if (Math.floor(bits / 2 ** bit) % 2 === 0 || (bit < 31 && (known & (1 << bit)) !== 0)) continue;
		unsupported(`needs feature "${names.get(bit) ?? `bit ${bit}`}"`, "Convert it: qemu-img convert");
	}
	if (bits >= 2 ** 53) unsupported("needs features that are unknown", "Convert it: qemu-img convert");
}
