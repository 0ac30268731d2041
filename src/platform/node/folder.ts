/**
 * Folders of the host for the 9P server, by Node.js on Linux. The guest must never reach anything outside the folder, whatever it names,
 * links or renames, and whoever else changes the folder at the same time.
 *
 * Node.js has no openat(2), nor openat2(2) with RESOLVE_BENEATH. But the kernel takes /proc/self/fd/N for the directory that N is open for,
 * not for its name, so "/proc/self/fd/N/NAME" is openat(N, "NAME"). The folder is opened once, when it is shared. Each operation walks from
 * there, a name at a time: every directory on the way is opened as O_PATH | O_DIRECTORY | O_NOFOLLOW, so that a symbolic link in its
 * place is an error, also one that has come there only just now. What becomes of a directory that is open does not matter: its
 * successor in the walk is looked for in it, and never by a path of more than one name. The last name is given to calls that do not
 * follow links (lstat, unlink, rename, link, symlink, mkdir, lchown, lutimes); for the others (open, chmod, chown, truncate, utimes) it is
 * opened as O_PATH | O_NOFOLLOW first, which has no effect on FIFOs and devices, looked at, and then used as /proc/self/fd/N. There
 * are no handles but those of open files: a directory that the host's user moves out of the folder is out of the guest's reach.
 *
 * All is done at once, in the caller's time (page cache and disk), but fsync. Relies on /proc; so on Linux.
 */
import * as fs from "node:fs";
import {
	type Attributes,
	type Changes,
	type Creator,
	FolderError,
	type FolderSpace,
	type HostDirectory,
	type HostFile,
	type HostFolder,
	type Time,
} from "../../devices/p9/folder.ts";
import { LinuxErrno, type LinuxErrorName, OpenFlag } from "../../devices/p9/protocol.ts";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
/** Linux's own; the same on all its architectures that Node.js runs on. */
const O_PATH = 0o10000000;
const ONLY_NAME = O_PATH | O_NOFOLLOW;
const ONLY_DIRECTORY = ONLY_NAME | O_DIRECTORY;
/** An open that never waits, nor makes a terminal ours. */
const QUIET = O_NONBLOCK | O_NOCTTY;

/** Flags of the guest's (x86 Linux's) that matter, and the host's for them. */
const FLAGS: readonly (readonly [guest: number, host: number])[] = [
	[OpenFlag.truncate, fs.constants.O_TRUNC],
	[OpenFlag.append, fs.constants.O_APPEND],
	[OpenFlag.dataSync, fs.constants.O_DSYNC],
	[OpenFlag.sync, fs.constants.O_SYNC],
];

function hostFlags(flags: number): number {
	const mode = flags & OpenFlag.accessMode;
	if (mode === OpenFlag.accessMode) throw new FolderError("EINVAL");
	return FLAGS.reduce((all, [guest, host]) => ((flags & guest) === guest ? all | host : all), mode | QUIET);
}

/** What an open file is called. */
function handle(fd: number): string {
	return `/proc/self/fd/${fd}`;
}

/** A name in an open directory. The last check of what a path may be: here it would do harm. */
function entry(fd: number, name: string): string | Buffer {
	if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) throw new FolderError("EINVAL");
	const path = `${handle(fd)}/${name}`;
	// Names are bytes; Node.js would write others than ASCII as UTF-8.
	return /^[\0-\x7f]*$/.test(name) ? path : Buffer.from(path, "latin1");
}

/** Makes what Node.js throws a FolderError. */
function hostCall<T>(call: () => T): T {
	try {
		return call();
	} catch (error) {
		throw folderError(error);
	}
}

function folderError(error: unknown): FolderError {
	if (error instanceof FolderError) return error;
	const { code } = error as NodeJS.ErrnoException;
	if (code !== undefined && Object.hasOwn(LinuxErrno, code)) {
		return new FolderError(code as LinuxErrorName, { cause: error });
	}
	if (code === "ENOTSUP") return new FolderError("EOPNOTSUPP", { cause: error });
	return new FolderError(code?.startsWith("ERR_") === true ? "EINVAL" : "EIO", { cause: error });
}

function timeOf(nanoseconds: bigint): Time {
	const seconds = Number(nanoseconds / 1_000_000_000n);
	const rest = Number(nanoseconds % 1_000_000_000n);
	return rest < 0 ? { seconds: seconds - 1, nanoseconds: rest + 1_000_000_000 } : { seconds, nanoseconds: rest };
}

function attributesOf(stats: fs.BigIntStats): Attributes {
	return {
		device: String(stats.dev),
		inodeLow: Number(stats.ino & 0xffff_ffffn),
		inodeHigh: Number((stats.ino >> 32n) & 0xffff_ffffn),
		mode: Number(stats.mode),
		uid: Number(stats.uid),
		gid: Number(stats.gid),
		links: Number(stats.nlink),
		specialDevice: Number(stats.rdev),
		size: Number(stats.size),
		blockSize: Number(stats.blksize),
		blocks: Number(stats.blocks),
		accessed: timeOf(stats.atimeNs),
		modified: timeOf(stats.mtimeNs),
		changed: timeOf(stats.ctimeNs),
	};
}

function attributesOfHandle(fd: number): Attributes {
	return attributesOf(fs.fstatSync(fd, { bigint: true }));
}

function attributesOfEntry(fd: number, name: string): Attributes {
	const stats = fs.lstatSync(entry(fd, name), { bigint: true, throwIfNoEntry: false });
	if (stats === undefined) throw new FolderError("ENOENT");
	return attributesOf(stats);
}

/** Uses an open file, and closes it. */
function using<T>(fd: number, use: (fd: number) => T): T {
	try {
		return use(fd);
	} finally {
		fs.closeSync(fd);
	}
}

function seconds(time: Time | "now" | undefined, otherwise: bigint): number {
	if (time === "now") return Date.now() / 1000;
	return time === undefined ? Number(otherwise) / 1e9 : time.seconds + time.nanoseconds / 1e9;
}

/** Changes what is open. @param link where it has a name, for what a symbolic link can only be told by its name */
function applyChanges(fd: number, changes: Changes, link?: string | Buffer): void {
	const stats = fs.fstatSync(fd, { bigint: true });
	const { mode, uid, gid, size, accessed, modified } = changes;
	const isLink = stats.isSymbolicLink();
	if (isLink && (mode !== undefined || link === undefined)) throw new FolderError("EOPNOTSUPP");
	if (size !== undefined) {
		if (stats.isDirectory()) throw new FolderError("EISDIR");
		if (!stats.isFile()) throw new FolderError("EINVAL");
		using(fs.openSync(handle(fd), O_WRONLY | QUIET), (file) => fs.ftruncateSync(file, size));
	}
	if (uid !== undefined || gid !== undefined) {
		if (isLink) fs.lchownSync(link as string, uid ?? -1, gid ?? -1);
		else fs.chownSync(handle(fd), uid ?? -1, gid ?? -1);
	}
	if (mode !== undefined) fs.chmodSync(handle(fd), mode);
	if (accessed === undefined && modified === undefined) return;
	const [access, modification] = [seconds(accessed, stats.atimeNs), seconds(modified, stats.mtimeNs)];
	if (isLink) fs.lutimesSync(link as string, access, modification);
	else fs.utimesSync(handle(fd), access, modification);
}

/** Gives what was just made the mode that the guest wants (the host's umask has no say), and the owner where the host allows that. */
function finishCreation(fd: number, mode: number, { uid, gid }: Creator): void {
	const stats = fs.fstatSync(fd);
	if ((uid ?? stats.uid) !== stats.uid || (gid ?? stats.gid) !== stats.gid) {
		try {
			fs.chownSync(handle(fd), uid ?? -1, gid ?? -1);
		} catch {
			// A user without privileges keeps what he makes, as with QEMU's security_model=none.
		}
	}
	if ((stats.mode & 0o7777) !== mode) fs.chmodSync(handle(fd), mode);
}

class NodeFile implements HostFile {
	/** Syncs in flight, for whose end the descriptor stays open. */
	private syncing = 0;
	private closed = false;

	constructor(
		private readonly fd: number,
		private readonly synchronous: boolean,
	) {}

	attributes(): Attributes {
		return hostCall(() => attributesOfHandle(this.fd));
	}
	change(changes: Changes): void {
		hostCall(() => applyChanges(this.fd, changes));
	}
	read(into: Uint8Array, position: number): number {
		return hostCall(() => fs.readSync(this.fd, into, 0, into.length, position));
	}
	write(bytes: Uint8Array, position: number): number {
		return hostCall(() => fs.writeSync(this.fd, bytes, 0, bytes.length, position));
	}
	sync(dataOnly: boolean): Promise<void> | undefined {
		const { fd } = this;
		if (this.synchronous) {
			hostCall(() => (dataOnly ? fs.fdatasyncSync(fd) : fs.fsyncSync(fd)));
			return undefined;
		}
		this.syncing++;
		return new Promise((resolve, reject) => {
			(dataOnly ? fs.fdatasync : fs.fsync)(fd, (error) => {
				this.syncing--;
				this.closeIfUnused();
				if (error === null) resolve();
				else reject(folderError(error));
			});
		});
	}
	close(): void {
		this.closed = true;
		this.closeIfUnused();
	}
	private closeIfUnused(): void {
		if (this.closed && this.syncing === 0) fs.closeSync(this.fd);
	}
}

class NodeDirectory implements HostDirectory {
	private entries: fs.Dir;

	constructor(
		private readonly fd: number,
		private readonly synchronous: boolean,
	) {
		this.entries = this.list();
	}

	attributes(): Attributes {
		return hostCall(() => attributesOfHandle(this.fd));
	}
	next(): string | undefined {
		return hostCall(() => this.entries.readSync()?.name);
	}
	entry(name: string): Attributes {
		return hostCall(() => attributesOfEntry(this.fd, name));
	}
	rewind(): void {
		hostCall(() => {
			const entries = this.list();
			this.entries.closeSync();
			this.entries = entries;
		});
	}
	sync(): Promise<void> | undefined {
		// What is open as O_PATH cannot be synced.
		const file = new NodeFile(
			hostCall(() => fs.openSync(handle(this.fd), O_RDONLY | O_DIRECTORY)),
			this.synchronous,
		);
		try {
			return file.sync(false);
		} finally {
			file.close();
		}
	}
	close(): void {
		this.entries.closeSync();
		fs.closeSync(this.fd);
	}
	private list(): fs.Dir {
		return fs.opendirSync(handle(this.fd), { encoding: "latin1" });
	}
}

class NodeFolder implements HostFolder {
	constructor(
		readonly path: string,
		private readonly root: number,
		private readonly synchronous: boolean,
	) {}

	attributes(path: string): Attributes {
		return hostCall(() =>
			path === "" ? attributesOfHandle(this.root) : this.inParent(path, (fd, name) => attributesOfEntry(fd, name)),
		);
	}

	walk(path: string, names: readonly string[]): readonly Attributes[] {
		return hostCall(() => {
			const found: Attributes[] = [];
			let fd = this.descend(path);
			try {
				for (let index = 0; index < names.length; index++) {
					const name = names[index] as string;
					if (index > 0) fd = this.step(fd, names[index - 1] as string);
					found.push(attributesOfEntry(fd, name));
				}
			} catch (error) {
				if (found.length === 0) throw error;
			} finally {
				this.release(fd);
			}
			return found;
		});
	}

	space(path: string): FolderSpace {
		return hostCall(() =>
			this.withName(path, (fd) => {
				const { type, bsize, blocks, bfree, bavail, files, ffree } = fs.statfsSync(handle(fd));
				return {
					type,
					blockSize: bsize,
					blocks,
					freeBlocks: bfree,
					availableBlocks: bavail,
					files,
					freeFiles: ffree,
				};
			}),
		);
	}

	open(path: string, flags: number): HostFile {
		return hostCall(() =>
			this.withName(path, (fd) => {
				const stats = fs.fstatSync(fd);
				if (stats.isDirectory()) throw new FolderError("EISDIR");
				if (stats.isSymbolicLink()) throw new FolderError("ELOOP");
				// A FIFO could make the host wait, a device do something: a guest has its own for those.
				if (!stats.isFile()) throw new FolderError("ENXIO");
				return this.file(fs.openSync(handle(fd), hostFlags(flags)));
			}),
		);
	}

	openDirectory(path: string): HostDirectory {
		return hostCall(() => {
			const fd =
				path === ""
					? fs.openSync(handle(this.root), O_PATH | O_DIRECTORY)
					: this.inParent(path, (parent, name) => fs.openSync(entry(parent, name), ONLY_DIRECTORY));
			try {
				return new NodeDirectory(fd, this.synchronous);
			} catch (error) {
				fs.closeSync(fd);
				throw error;
			}
		});
	}

	create(path: string, flags: number, mode: number, creator: Creator): HostFile {
		return hostCall(() => {
			const fd = this.inParent(path, (parent, name) => {
				try {
					return fs.openSync(entry(parent, name), hostFlags(flags) | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
				} catch (error) {
					if ((flags & OpenFlag.exclusive) === 0 && (error as NodeJS.ErrnoException).code === "EEXIST") return -1;
					throw error;
				}
			});
			// What is there already is opened like any other file, which is careful with what is none.
			if (fd < 0) return this.open(path, flags);
			try {
				finishCreation(fd, mode, creator);
			} catch (error) {
				fs.closeSync(fd);
				throw error;
			}
			return this.file(fd);
		});
	}

	makeDirectory(path: string, mode: number, creator: Creator): void {
		hostCall(() =>
			this.inParent(path, (parent, name) => {
				fs.mkdirSync(entry(parent, name), { mode: mode & 0o777 });
				using(fs.openSync(entry(parent, name), ONLY_DIRECTORY), (fd) => finishCreation(fd, mode, creator));
			}),
		);
	}

	makeSymbolicLink(path: string, target: string, { uid, gid }: Creator): void {
		hostCall(() =>
			this.inParent(path, (parent, name) => {
				fs.symlinkSync(Buffer.from(target, "latin1"), entry(parent, name));
				try {
					fs.lchownSync(entry(parent, name), uid ?? -1, gid ?? -1);
				} catch {
					// As in finishCreation.
				}
			}),
		);
	}

	readLink(path: string): string {
		if (path === "") throw new FolderError("EINVAL");
		return hostCall(() => this.inParent(path, (fd, name) => fs.readlinkSync(entry(fd, name), "latin1")));
	}

	link(existing: string, path: string): void {
		hostCall(() =>
			this.inParent(existing, (from, name) =>
				this.inParent(path, (to, newName) => fs.linkSync(entry(from, name), entry(to, newName))),
			),
		);
	}

	rename(from: string, to: string): void {
		hostCall(() =>
			this.inParent(from, (directory, name) =>
				this.inParent(to, (newDirectory, newName) =>
					fs.renameSync(entry(directory, name), entry(newDirectory, newName)),
				),
			),
		);
	}

	remove(path: string): void {
		hostCall(() => this.inParent(path, (fd, name) => fs.unlinkSync(entry(fd, name))));
	}

	removeDirectory(path: string): void {
		hostCall(() => this.inParent(path, (fd, name) => fs.rmdirSync(entry(fd, name))));
	}

	change(path: string, changes: Changes): void {
		hostCall(() => {
			if (path === "") applyChanges(this.root, changes);
			else {
				this.inParent(path, (parent, name) => {
					const link = entry(parent, name);
					using(fs.openSync(link, ONLY_NAME), (fd) => applyChanges(fd, changes, link));
				});
			}
		});
	}

	close(): void {
		fs.closeSync(this.root);
	}

	// The walk

	/** Opens the directory at a path; the caller {@link release}s it. */
	private descend(path: string): number {
		let fd = this.root;
		if (path === "") return fd;
		try {
			for (const name of path.split("/")) fd = this.step(fd, name);
		} catch (error) {
			this.release(fd);
			throw error;
		}
		return fd;
	}

	/** From a directory, which is released, to one in it. Where there is none the caller still has the first. */
	private step(fd: number, name: string): number {
		const next = fs.openSync(entry(fd, name), ONLY_DIRECTORY);
		this.release(fd);
		return next;
	}

	private release(fd: number): void {
		if (fd !== this.root) fs.closeSync(fd);
	}

	/** Does something with a name in its directory. */
	private inParent<T>(path: string, use: (directory: number, name: string) => T): T {
		const slash = path.lastIndexOf("/");
		const fd = this.descend(path.slice(0, Math.max(0, slash)));
		try {
			return use(fd, path.slice(slash + 1));
		} finally {
			this.release(fd);
		}
	}

	/** Does something with what is at a path, opened as a mere name. */
	private withName<T>(path: string, use: (fd: number) => T): T {
		if (path === "") return use(this.root);
		return this.inParent(path, (parent, name) => using(fs.openSync(entry(parent, name), ONLY_NAME), use));
	}

	private file(fd: number): HostFile {
		return new NodeFile(fd, this.synchronous);
	}
}

/**
 * Opens a folder to share it.
 * @param synchronous whether every operation must end at once, so that a run can be repeated
 * @throws FolderError ENOENT, ENOTDIR, EACCES; EOPNOTSUPP where the system has no /proc
 */
export function openNodeFolder(path: string, synchronous: boolean): HostFolder {
	return hostCall(() => {
		const root = fs.openSync(path, O_PATH | O_DIRECTORY);
		try {
			const [here, there] = [fs.fstatSync(root), fs.statSync(handle(root), { throwIfNoEntry: false })];
			if (there === undefined || there.ino !== here.ino || there.dev !== here.dev) throw new FolderError("EOPNOTSUPP");
			return new NodeFolder(path, root, synchronous);
		} catch (error) {
			fs.closeSync(root);
			throw error;
		}
	});
}
