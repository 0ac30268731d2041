/**
 * What a virtual disk is stored in. Implementations are in images/; they keep bytes, and know nothing of guests. Positions and lengths
 * are bytes. An operation may end at once (files whose pages the host has cached) or later (a server, a disk's flush): it returns
 * undefined or a promise. So a disk costs no turn of the event loop where it needs none, and a deterministic run stays one.
 */

/** The end of an operation: undefined where it has ended already. A failure is thrown, or the promise is rejected. */
export type Done = Promise<void> | undefined;

export interface BlockImage {
	/** Bytes; changes by {@link resize}. */
	readonly size: number;
	readonly readOnly: boolean;
	/** Bytes that a discard is best aligned to; 0 where discarding does nothing. */
	readonly discardGranularity: number;
	/** Reads and writes have always ended when they return. */
	readonly immediate?: boolean;
	/** Fills `to` from `position`; all of it is within the size. */
	read(to: Uint8Array, position: number): Done;
	/** Stores `from` at `position`. The bytes must not change until it is done. */
	write(from: Uint8Array, position: number): Done;
	/** {@link read} into several buffers, one after the other; only of images that do it faster than one by one. */
	readonly readv?: ((to: readonly Uint8Array[], position: number) => Done) | undefined;
	/** {@link write} of several buffers, as {@link readv}. */
	readonly writev?: ((from: readonly Uint8Array[], position: number) => Done) | undefined;
	/** Makes all writes that were done before survive the end of this process and of the machine. */
	flush(): Done;
	/** The range's contents are needed no more: it reads as zeros or as what it was, and takes no space where that can be. */
	discard(position: number, length: number): Done;
	/** Changes the size; only growing is supported. @throws BlockError */
	resize(size: number): Done;
	/** Flushes and lets go of everything. */
	close(): Promise<void>;
}

/** A file of the host, as far as images need one; platform/node/block-files.ts is Node's. */
export interface BlockFile {
	/** What messages call it. */
	readonly name: string;
	readonly size: number;
	readonly readOnly: boolean;
	/** Bytes that {@link punch} is best aligned to; 0 where the host cannot punch holes. */
	readonly holeGranularity: number;
	/** Reads and writes have always ended when they return. */
	readonly immediate?: boolean;
	/** Fills `to` from `position`; what is beyond the end reads as zeros. */
	read(to: Uint8Array, position: number): Done;
	/** Stores `from`; the file grows as needed. */
	write(from: Uint8Array, position: number): Done;
	/** preadv(2) and pwritev(2), where the host has them: what {@link read} and {@link write} do, for several buffers. */
	readonly readv?: ((to: readonly Uint8Array[], position: number) => Done) | undefined;
	readonly writev?: ((from: readonly Uint8Array[], position: number) => Done) | undefined;
	/** fdatasync(2) */
	sync(): Done;
	/** Makes a range read as zeros that takes no space. Nothing happens where the host cannot do it. */
	punch(position: number, length: number): Done;
	/** ftruncate(2); what is added reads as zeros. */
	truncate(size: number): Done;
	close(): Promise<void>;
}

export interface OpenOptions {
	readonly readOnly: boolean;
	/** Make the file, which must not exist. */
	readonly create?: boolean;
	/** Others may have the file open for reading only: the base of an overlay. */
	readonly shared?: boolean;
}

/** Where images find files: their own, and those that they name (backing files). */
export interface BlockFiles {
	/** @throws BlockError where it cannot be opened, or somebody else has it open */
	open(name: string, options: OpenOptions): Promise<BlockFile>;
	/** A file without a name that goes when it is closed. */
	openTemporary(): Promise<BlockFile>;
	/** What `name` means where `file` mentions it: relative to its directory. */
	resolve(file: string, name: string): string;
}

export type BlockErrorCode =
	| "cannot-open"
	| "in-use"
	| "read-only"
	| "malformed"
	| "unsupported"
	| "input-output"
	| "out-of-range";

/** A disk's image that cannot be used, or a failure of what it is stored in: the file, the reason, what to do. */
export class BlockError extends Error {
	override readonly name = "BlockError";

	constructor(
		readonly code: BlockErrorCode,
		readonly file: string,
		readonly reason: string,
		/** A sentence that says what to do. */
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(`${file}: ${reason}`, options);
	}
}
