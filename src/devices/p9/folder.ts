/**
 * What the 9P server needs of the host: a folder, and files in it. One implementation a platform: platform/node/folder.ts.
 *
 * A path is relative to the folder: names joined with "/", "" for the folder itself. Names are bytes, one character each; the server
 * gives none that is empty, ".", "..", or has a "/" or a zero byte in it. An implementation never follows a symbolic link, whatever
 * became of a path since the server last looked at it, and reaches nothing outside the folder.
 */
import type { LinuxErrorName } from "./protocol.ts";

/** What the host says to an operation. All operations throw this, and nothing else. */
export class FolderError extends Error {
	override readonly name = "FolderError";

	constructor(
		readonly code: LinuxErrorName,
		options?: ErrorOptions,
	) {
		super(code, options);
	}
}

/** Seconds since 1970, and nanoseconds. */
export interface Time {
	readonly seconds: number;
	readonly nanoseconds: number;
}

export interface Attributes {
	/** What makes a file itself: numbers of its file system and in it, the latter in two halves. */
	readonly device: string;
	readonly inodeLow: number;
	readonly inodeHigh: number;
	/** With the file's type (S_IFMT). */
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
	readonly links: number;
	/** Device's number of a device file, in Linux's encoding. */
	readonly specialDevice: number;
	/** Bytes. */
	readonly size: number;
	readonly blockSize: number;
	/** Of 512 bytes. */
	readonly blocks: number;
	readonly accessed: Time;
	readonly modified: Time;
	readonly changed: Time;
}

/** Attributes to set; those that are missing stay. */
export interface Changes {
	readonly mode?: number;
	readonly uid?: number;
	readonly gid?: number;
	readonly size?: number;
	/** "now" is the host's. */
	readonly accessed?: Time | "now";
	readonly modified?: Time | "now";
}

export interface FolderSpace {
	readonly type: number;
	readonly blockSize: number;
	readonly blocks: number;
	readonly freeBlocks: number;
	readonly availableBlocks: number;
	readonly files: number;
	readonly freeFiles: number;
}

/** An open file. */
export interface HostFile {
	attributes(): Attributes;
	change(changes: Changes): void;
	/** @returns how many bytes were read; 0 at the end */
	read(into: Uint8Array, position: number): number;
	/** @returns how many bytes were written */
	write(bytes: Uint8Array, position: number): number;
	/** Makes what was written durable. Undefined where that is done already. */
	sync(dataOnly: boolean): Promise<void> | undefined;
	/** Not to be used any more; a {@link sync} that has begun is still done. */
	close(): void;
}

/** An open directory, which is read once from its beginning to its end. */
export interface HostDirectory {
	attributes(): Attributes;
	/** The next name, without "." and ".."; undefined at the end. */
	next(): string | undefined;
	/** Of what has a name in it. */
	entry(name: string): Attributes;
	/** Begins anew. */
	rewind(): void;
	/** Makes names durable. */
	sync(): Promise<void> | undefined;
	close(): void;
}

/** Who makes a file, where the host lets it belong to whom the guest says; a host's user without privileges cannot. */
export interface Creator {
	readonly uid: number | undefined;
	readonly gid: number | undefined;
}

export interface HostFolder {
	/** As its user named it. */
	readonly path: string;
	attributes(path: string): Attributes;
	/** Attributes of what lies below `path` by each of the names in turn, as far as there is something. @throws where not even the first is */
	walk(path: string, names: readonly string[]): readonly Attributes[];
	space(path: string): FolderSpace;
	/** Opens a regular file: EISDIR, ELOOP, ENXIO for others. @param flags bits of OpenFlag */
	open(path: string, flags: number): HostFile;
	openDirectory(path: string): HostDirectory;
	/** Creates a regular file, or, unless `flags` has `exclusive`, opens the one that is there. */
	create(path: string, flags: number, mode: number, creator: Creator): HostFile;
	makeDirectory(path: string, mode: number, creator: Creator): void;
	makeSymbolicLink(path: string, target: string, creator: Creator): void;
	readLink(path: string): string;
	/** A further name for the file at `existing`, which may be a symbolic link itself. */
	link(existing: string, path: string): void;
	rename(from: string, to: string): void;
	remove(path: string): void;
	removeDirectory(path: string): void;
	change(path: string, changes: Changes): void;
	close(): void;
}
