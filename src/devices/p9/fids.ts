/**
 * Fids: the numbers by which a guest's client names files. A fid has a path below the shared folder, never a handle of the host's until
 * it is opened: each operation resolves it anew, so that nothing outside the folder is reached by what has been moved there since.
 */
import { FolderError, type HostDirectory, type HostFile } from "./folder.ts";

/** PATH_MAX */
export const MOST_PATH = 4096;

export interface Limits {
	/** Numbers in use. */
	readonly fids: number;
	/** Open files and directories. */
	readonly open: number;
	/** Bytes of all fids' paths. */
	readonly paths: number;
}

export const DEFAULT_LIMITS: Limits = { fids: 262_144, open: 1024, paths: 64 * 2 ** 20 };

/** A directory that is read: offsets in it are positions in the order in which it is read. */
export interface Listing {
	readonly directory: HostDirectory;
	/** The entry that comes next: 0 is ".", 1 is "..". */
	position: number;
	/** What was read already, and did not fit into the last reply. */
	ahead: string | undefined;
}

export class Fid {
	file: HostFile | undefined;
	listing: Listing | undefined;

	constructor(
		/** Undefined where a rename has made it longer than can be. */
		public location: string | undefined,
		/** Who attached, where the client says so: the owner of what is made by this fid. */
		readonly uid: number | undefined,
	) {}

	get path(): string {
		if (this.location === undefined) throw new FolderError("ENAMETOOLONG");
		return this.location;
	}

	get isOpen(): boolean {
		return this.file !== undefined || this.listing !== undefined;
	}
}

/** "" is the folder itself. */
export function joinPath(directory: string, name: string): string {
	const path = directory === "" ? name : `${directory}/${name}`;
	if (path.length > MOST_PATH) throw new FolderError("ENAMETOOLONG");
	return path;
}

export function parentOf(path: string): string {
	return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** One session's fids. */
export class FidTable {
	private readonly fids = new Map<number, Fid>();
	private pathBytes = 0;
	private openCount = 0;

	constructor(private readonly limits: Limits) {}

	get size(): number {
		return this.fids.size;
	}

	/** @throws FolderError EBADF where there is none */
	get(number: number): Fid {
		const fid = this.fids.get(number);
		if (fid === undefined) throw new FolderError("EBADF");
		return fid;
	}

	has(number: number): boolean {
		return this.fids.has(number);
	}

	/** @throws FolderError EBADF where the number is in use, ENFILE, ENOMEM where there are too many */
	add(number: number, path: string, uid: number | undefined): void {
		if (this.fids.has(number)) throw new FolderError("EBADF");
		if (this.fids.size >= this.limits.fids) throw new FolderError("ENFILE");
		if (this.pathBytes + path.length > this.limits.paths) throw new FolderError("ENOMEM");
		this.pathBytes += path.length;
		this.fids.set(number, new Fid(path, uid));
	}

	/** Makes a fid that is not open stand for something else. */
	move(fid: Fid, path: string | undefined): void {
		const growth = (path?.length ?? 0) - (fid.location?.length ?? 0);
		if (this.pathBytes + growth > this.limits.paths) throw new FolderError("ENOMEM");
		this.pathBytes += growth;
		fid.location = path;
	}

	/** Makes a fid an open file or directory. */
	open<T>(fid: Fid, open: () => T): T {
		if (fid.isOpen) throw new FolderError("EBADF");
		if (this.openCount >= this.limits.open) throw new FolderError("EMFILE");
		const opened = open();
		this.openCount++;
		return opened;
	}

	/** Forgets a fid, and closes what it has open. */
	remove(number: number): void {
		const fid = this.get(number);
		this.fids.delete(number);
		this.pathBytes -= fid.location?.length ?? 0;
		if (fid.isOpen) this.openCount--;
		fid.file?.close();
		fid.listing?.directory.close();
	}

	clear(): void {
		for (const number of this.fids.keys()) this.remove(number);
	}

	/** What was at a path is at another: so are the fids at it and below it. */
	renamed(from: string, to: string): void {
		for (const fid of this.fids.values()) {
			const { location } = fid;
			if (location === undefined || !(location === from || location.startsWith(`${from}/`))) continue;
			const path = to + location.slice(from.length);
			const growth = path.length - location.length;
			this.move(fid, path.length > MOST_PATH || this.pathBytes + growth > this.limits.paths ? undefined : path);
		}
	}
}
