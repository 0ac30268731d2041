/**
 * The "newc" cpio archive, the format of Linux's initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
 * Written deterministically: the same entries give the same bytes (times are 0, inodes are numbered in order).
 */

/** File types of st_mode. */
export const FileType = {
	directory: 0o040000,
	characterDevice: 0o020000,
	regular: 0o100000,
	symbolicLink: 0o120000,
} as const;
export type FileType = (typeof FileType)[keyof typeof FileType];

const TYPE_MASK = 0o170000;
const HEADER_SIZE = 110;
const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
/** Linux unpacks nothing behind the trailer but zeros; cpio(1) pads to a block of this size. */
const BLOCK = 512;

/** One file of an archive. */
export interface ArchiveEntry {
	/** Path without a leading slash. */
	readonly path: string;
	readonly type: FileType;
	/** The lower twelve bits of st_mode. */
	readonly permissions: number;
	/** Contents of a regular file, or the target of a symbolic link (UTF-8); empty for the others. */
	readonly data: Uint8Array;
	/** Device number of a character device. */
	readonly device?: { readonly major: number; readonly minor: number };
}

/** Rounds up to a multiple of four: names and data are padded so. */
function align(size: number): number {
	return (size + 3) & ~3;
}

function hex(value: number): string {
	return value.toString(16).toUpperCase().padStart(8, "0");
}

function header(entry: ArchiveEntry, inode: number, nameSize: number): string {
	const links = entry.type === FileType.directory ? 2 : 1;
	const fields = [
		inode,
		entry.type | entry.permissions,
		0, // uid
		0, // gid
		links,
		0, // mtime
		entry.data.length,
		0, // major and minor of the file system
		0,
		entry.device?.major ?? 0,
		entry.device?.minor ?? 0,
		nameSize,
		0, // checksum: only in the "crc" variant
	];
	return MAGIC + fields.map(hex).join("");
}

/** Makes an archive of `entries`, in their order. A directory must come before what is in it. */
export function writeArchive(entries: readonly ArchiveEntry[]): Uint8Array {
	const encoder = new TextEncoder();
	const all: ArchiveEntry[] = [
		...entries,
		{ path: TRAILER, type: 0 as FileType, permissions: 0, data: new Uint8Array(0) },
	];
	const names = all.map((entry) => encoder.encode(`${entry.path}\0`));
	let size = 0;
	for (const [index, entry] of all.entries()) {
		size += align(HEADER_SIZE + (names[index] as Uint8Array).length) + align(entry.data.length);
	}
	const archive = new Uint8Array(Math.ceil(size / BLOCK) * BLOCK);
	let offset = 0;
	for (const [index, entry] of all.entries()) {
		const name = names[index] as Uint8Array;
		const inode = entry.path === TRAILER ? 0 : index + 1;
		encoder.encodeInto(header(entry, inode, name.length), archive.subarray(offset));
		archive.set(name, offset + HEADER_SIZE);
		offset += align(HEADER_SIZE + name.length);
		archive.set(entry.data, offset);
		offset += align(entry.data.length);
	}
	return archive;
}

/**
 * Reads an uncompressed archive.
 * @throws RangeError where the bytes are no complete newc archive.
 */
export function readArchive(archive: Uint8Array): ArchiveEntry[] {
	return readFirstArchive(archive).entries;
}

/**
 * Reads the archive that bytes begin with.
 * @returns what is in it, and where it ends
 * @throws RangeError as {@link readArchive}
 */
export function readFirstArchive(archive: Uint8Array): { readonly entries: ArchiveEntry[]; readonly end: number } {
	const decoder = new TextDecoder();
	const entries: ArchiveEntry[] = [];
	let offset = 0;
	for (;;) {
		const text = decoder.decode(archive.subarray(offset, offset + HEADER_SIZE));
		if (!text.startsWith(MAGIC)) throw new RangeError(`no cpio header at offset ${offset}`);
		const field = (index: number): number => Number.parseInt(text.slice(6 + index * 8, 14 + index * 8), 16);
		const mode = field(1);
		const size = field(6);
		const nameSize = field(11);
		const nameStart = offset + HEADER_SIZE;
		const start = offset + align(HEADER_SIZE + nameSize);
		if (!(start + size <= archive.length)) throw new RangeError(`the cpio archive is cut off at offset ${offset}`);
		const path = decoder.decode(archive.subarray(nameStart, nameStart + nameSize - 1));
		if (path === TRAILER) return { entries, end: start };
		const type = (mode & TYPE_MASK) as FileType;
		const entry = { path, type, permissions: mode & ~TYPE_MASK, data: archive.slice(start, start + size) };
		const isDevice = type === FileType.characterDevice;
		entries.push(isDevice ? { ...entry, device: { major: field(9), minor: field(10) } } : entry);
		offset = start + align(size);
	}
}
