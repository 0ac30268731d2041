/**
 * The requests of 9P2000.L, each with what it answers: the fields are those of Linux's net/9p/client.c, in its order. What Node.js has
 * no way to do is refused: EOPNOTSUPP for extended attributes, EPERM for devices, FIFOs and sockets, as by a file system without them.
 */
import type { MessageReader, MessageWriter } from "./codec.ts";
import { type Fid, joinPath, parentOf } from "./fids.ts";
import { type Attributes, type Changes, type Creator, FolderError, type Time } from "./folder.ts";
import {
	AT_REMOVEDIR,
	FileType,
	GETATTR_BASIC,
	IO_HEADER,
	LockStatus,
	LockType,
	MAX_WALK,
	Message,
	NO_FID,
	OpenFlag,
	QidType,
	SET_ID_BITS,
	SetAttribute,
} from "./protocol.ts";
import type { Session } from "./session.ts";

export interface RequestType {
	/** Refused by a share that is read-only. */
	readonly writes?: true;
	/**
	 * Reads the request's fields and writes the reply's; a promise is for a reply without any, when it is resolved.
	 * @throws FolderError, MalformedMessage
	 */
	handle(session: Session, request: MessageReader, reply: MessageWriter): Promise<void> | undefined;
}

/** Entries that are passed over to come to where a client wants to go on reading a directory. */
const MOST_SKIPPED = 65_536;
/** qid[13] offset[8] type[1] and the length of the name */
const ENTRY_HEADER = 24;

// Helpers

/** A name of a directory's entry. */
function entryName(request: MessageReader): string {
	return checkName(request.string());
}

function checkName(name: string): string {
	if (name === "." || name === "..") throw new FolderError("EINVAL");
	if (name === "" || name.includes("/") || name.includes("\0")) throw new FolderError("ENOENT");
	return name;
}

function entryPath(fid: Fid, name: string): string {
	return joinPath(fid.path, name);
}

function fidOf(session: Session, request: MessageReader): Fid {
	return session.fids.get(request.u32());
}

function typeOf(attributes: Attributes): number {
	return attributes.mode & FileType.mask;
}

function writeQid(session: Session, reply: MessageWriter, attributes: Attributes): void {
	const kinds: Readonly<Record<number, number>> = {
		[FileType.directory]: QidType.directory,
		[FileType.symbolicLink]: QidType.symbolicLink,
	};
	const { modified, size, inodeLow, inodeHigh } = attributes;
	reply.u8(kinds[typeOf(attributes)] ?? QidType.file);
	// Another one whenever the contents have changed, as far as the host's clock tells.
	reply.u32((modified.nanoseconds ^ modified.seconds ^ (size << 8)) >>> 0);
	reply.u32(inodeLow).u32(inodeHigh ^ (session.deviceNumber(attributes.device) << 16));
}

/** What is told of a fid: of the open file where it is one, also when its name is gone. */
function attributesOf(session: Session, fid: Fid): Attributes {
	const open = fid.file ?? fid.listing?.directory;
	return open === undefined ? session.folder.attributes(fid.path) : open.attributes();
}

/**
 * Set-user-ID and set-group-ID would let other users of the host run what a guest has written with the rights of the user who shares the
 * folder. A directory's set-group-ID only says whose what is made in it will be.
 */
function checkMode(mode: number, type: number): number {
	if (type !== FileType.directory && (mode & SET_ID_BITS) !== 0) throw new FolderError("EPERM");
	return mode & 0o7777;
}

function creator(fid: Fid, gid: number): Creator {
	return { uid: fid.uid, gid: gid === NO_FID ? undefined : gid };
}

function writeTime(reply: MessageWriter, { seconds, nanoseconds }: Time): void {
	reply.u64(seconds).u64(nanoseconds);
}

// Names

function attach(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const number = request.u32();
	const authentication = request.u32();
	request.string();
	const names = request.string().split("/");
	const uid = request.u32();
	if (authentication !== NO_FID) throw new FolderError("EBADF");
	// The client's option aname: a directory below the folder.
	let path = "";
	for (const name of names) if (name !== "") path = joinPath(path, checkName(name));
	const attributes = session.folder.attributes(path);
	session.fids.add(number, path, uid === NO_FID ? undefined : uid);
	writeQid(session, reply, attributes);
}

function walk(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const { fids } = session;
	const [from, to, count] = [request.u32(), request.u32(), request.u16()];
	const fid = fids.get(from);
	if (count > MAX_WALK) throw new FolderError("EINVAL");
	const names = Array.from({ length: count }, () => request.string());
	if (to !== from && fids.has(to)) throw new FolderError("EBADF");
	if (to === from && fid.isOpen) throw new FolderError("EBUSY");
	const { path, found } = follow(session, fid.path, names);
	if (found.length === count) {
		if (to === from) fids.move(fid, path);
		else fids.add(to, path, fid.uid);
	}
	reply.u16(found.length);
	for (const attributes of found) writeQid(session, reply, attributes);
}

/** Goes along names as far as there is something; the error is that of the first name. ".." of the folder is the folder. */
function follow(session: Session, from: string, names: readonly string[]): { path: string; found: Attributes[] } {
	const { folder } = session;
	let path = from;
	const found: Attributes[] = [];
	try {
		for (let index = 0; index < names.length; ) {
			const up = names[index] === "..";
			if (up) {
				// A file has no "..".
				if (typeOf(folder.attributes(path)) !== FileType.directory) throw new FolderError("ENOTDIR");
				path = parentOf(path);
				found.push(folder.attributes(path));
				index++;
				continue;
			}
			const end = names.indexOf("..", index);
			const down = names.slice(index, end < 0 ? names.length : end);
			const valid = down.findIndex((name) => name === "" || name === "." || /[/\0]/.test(name));
			const usable = valid < 0 ? down : down.slice(0, valid);
			if (usable.length === 0) throw new FolderError("ENOENT");
			const next = usable.reduce(joinPath, path);
			const steps = folder.walk(path, usable);
			found.push(...steps);
			if (steps.length < down.length) return { path, found };
			path = next;
			index += down.length;
		}
	} catch (error) {
		if (found.length === 0) throw error;
	}
	return { path, found };
}

function clunk(session: Session, request: MessageReader): undefined {
	session.fids.remove(request.u32());
}

/** The fid is gone in any case. */
function remove(session: Session, request: MessageReader): undefined {
	const { fids, folder } = session;
	const number = request.u32();
	const fid = fids.get(number);
	try {
		if (session.readOnly) throw new FolderError("EROFS");
		const { path } = fid;
		if (path === "") throw new FolderError("EBUSY");
		if (typeOf(folder.attributes(path)) === FileType.directory) folder.removeDirectory(path);
		else folder.remove(path);
	} finally {
		fids.remove(number);
	}
}

function unlinkat(session: Session, request: MessageReader): undefined {
	const path = entryPath(fidOf(session, request), entryName(request));
	if ((request.u32() & AT_REMOVEDIR) !== 0) session.folder.removeDirectory(path);
	else session.folder.remove(path);
}

function rename(session: Session, request: MessageReader): undefined {
	const fid = fidOf(session, request);
	const directory = fidOf(session, request);
	const to = entryPath(directory, entryName(request));
	if (fid.path === "") throw new FolderError("EBUSY");
	move(session, fid.path, to);
}

function renameat(session: Session, request: MessageReader): undefined {
	const from = entryPath(fidOf(session, request), entryName(request));
	move(session, from, entryPath(fidOf(session, request), entryName(request)));
}

function move(session: Session, from: string, to: string): void {
	session.folder.rename(from, to);
	if (from !== to) session.fids.renamed(from, to);
}

function link(session: Session, request: MessageReader): undefined {
	const directory = fidOf(session, request);
	const existing = fidOf(session, request);
	if (existing.path === "") throw new FolderError("EPERM");
	session.folder.link(existing.path, entryPath(directory, entryName(request)));
}

// Making

function symlink(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const fid = fidOf(session, request);
	const path = entryPath(fid, entryName(request));
	const target = request.string();
	if (target.includes("\0")) throw new FolderError("EINVAL");
	session.folder.makeSymbolicLink(path, target, creator(fid, request.u32()));
	writeQid(session, reply, session.folder.attributes(path));
}

function mkdir(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const fid = fidOf(session, request);
	const path = entryPath(fid, entryName(request));
	const mode = checkMode(request.u32(), FileType.directory);
	session.folder.makeDirectory(path, mode, creator(fid, request.u32()));
	writeQid(session, reply, session.folder.attributes(path));
}

function mknod(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const fid = fidOf(session, request);
	const path = entryPath(fid, entryName(request));
	const mode = request.u32();
	request.u32();
	request.u32();
	const type = mode & FileType.mask;
	if (type !== FileType.regular && type !== 0) throw new FolderError("EPERM");
	const owner = creator(fid, request.u32());
	session.folder.create(path, OpenFlag.exclusive, checkMode(mode, FileType.regular), owner).close();
	writeQid(session, reply, session.folder.attributes(path));
}

function lcreate(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const fid = fidOf(session, request);
	const path = entryPath(fid, entryName(request));
	const flags = request.u32();
	const mode = checkMode(request.u32(), FileType.regular);
	const owner = creator(fid, request.u32());
	const file = session.fids.open(fid, () => session.folder.create(path, flags, mode, owner));
	// From now on the fid stands for the file.
	fid.file = file;
	session.fids.move(fid, path);
	writeQid(session, reply, file.attributes());
	reply.u32(0);
}

// Open files

function lopen(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const { fids, folder, readOnly } = session;
	const fid = fidOf(session, request);
	const flags = request.u32();
	const writing = (flags & OpenFlag.accessMode) !== 0;
	if (readOnly && (writing || (flags & OpenFlag.truncate) !== 0)) throw new FolderError("EROFS");
	const { path } = fid;
	if (typeOf(folder.attributes(path)) === FileType.directory) {
		if (writing) throw new FolderError("EISDIR");
		const directory = fids.open(fid, () => folder.openDirectory(path));
		fid.listing = { directory, position: 0, ahead: undefined };
		writeQid(session, reply, directory.attributes());
	} else {
		if ((flags & OpenFlag.directory) !== 0) throw new FolderError("ENOTDIR");
		fid.file = fids.open(fid, () => folder.open(path, flags));
		writeQid(session, reply, fid.file.attributes());
	}
	// iounit: as much as a message holds.
	reply.u32(0);
}

function openFile(fid: Fid): NonNullable<Fid["file"]> {
	if (fid.listing !== undefined) throw new FolderError("EISDIR");
	if (fid.file === undefined) throw new FolderError("EBADF");
	return fid.file;
}

function read(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const file = openFile(fidOf(session, request));
	const [offset, count] = [request.u64(), request.u32()];
	const into = reply.data(Math.min(count, session.messageSize - IO_HEADER));
	// Beyond what a number holds no file has anything.
	reply.dataDone(offset > Number.MAX_SAFE_INTEGER - into.length ? 0 : file.read(into, offset));
}

function write(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const file = openFile(fidOf(session, request));
	const [offset, count] = [request.u64(), request.u32()];
	const bytes = request.data(count);
	if (offset > Number.MAX_SAFE_INTEGER - count) throw new FolderError("EFBIG");
	reply.u32(file.write(bytes, offset));
}

function readdir(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const fid = fidOf(session, request);
	const [offset, count] = [request.u64(), request.u32()];
	const { listing } = fid;
	if (listing === undefined) throw new FolderError("EBADF");
	const { directory } = listing;
	if (offset !== listing.position) {
		if (offset < listing.position) {
			directory.rewind();
			listing.position = 0;
			listing.ahead = undefined;
		}
		if (offset - listing.position > MOST_SKIPPED) throw new FolderError("EINVAL");
		while (listing.position < offset && nextEntry(session, fid) !== undefined) listing.position++;
	}
	const most = Math.min(count, session.messageSize - IO_HEADER);
	// The count comes when it is known.
	reply.dataDone(0);
	let used = 0;
	for (;;) {
		const entry = nextEntry(session, fid);
		if (entry === undefined) break;
		const size = ENTRY_HEADER + entry.name.length;
		if (used + size > most) {
			if (used === 0) throw new FolderError("EINVAL");
			listing.ahead = listing.position < 2 ? undefined : entry.name;
			break;
		}
		used += size;
		listing.position++;
		writeQid(session, reply, entry.attributes);
		reply.u64(listing.position).u8(typeOf(entry.attributes) >> 12);
		reply.string(entry.name);
	}
	reply.setCount(used);
}

/** The entry at a listing's position. One that is removed meanwhile is left out. */
function nextEntry(session: Session, fid: Fid): { readonly name: string; readonly attributes: Attributes } | undefined {
	const { listing } = fid as { listing: NonNullable<Fid["listing"]> };
	const { directory, position } = listing;
	if (position === 0) return { name: ".", attributes: directory.attributes() };
	if (position === 1) {
		// What is above the folder is not told.
		const { location = "" } = fid;
		const above = location === "" ? undefined : attributesIfThere(() => session.folder.attributes(parentOf(location)));
		return { name: "..", attributes: above ?? directory.attributes() };
	}
	for (;;) {
		const name = listing.ahead ?? directory.next();
		listing.ahead = undefined;
		if (name === undefined) return undefined;
		const attributes = attributesIfThere(() => directory.entry(name));
		if (attributes !== undefined) return { name, attributes };
	}
}

function attributesIfThere(look: () => Attributes): Attributes | undefined {
	try {
		return look();
	} catch (error) {
		if (error instanceof FolderError) return undefined;
		throw error;
	}
}

function fsync(session: Session, request: MessageReader): Promise<void> | undefined {
	const { file, listing } = fidOf(session, request);
	const dataOnly = request.u32() !== 0;
	if (file !== undefined) return file.sync(dataOnly);
	if (listing === undefined) throw new FolderError("EBADF");
	return listing.directory.sync();
}

// Attributes

function getattr(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const attributes = attributesOf(session, fidOf(session, request));
	const { mode, uid, gid, links, specialDevice, size, blockSize, blocks } = attributes;
	reply.u64(GETATTR_BASIC);
	writeQid(session, reply, attributes);
	reply.u32(mode).u32(uid).u32(gid);
	for (const value of [links, specialDevice, size, blockSize, blocks]) reply.u64(value);
	for (const time of [attributes.accessed, attributes.modified, attributes.changed]) writeTime(reply, time);
	// The time of birth, generation and data version, which the mask above does not promise.
	for (let word = 0; word < 4; word++) reply.u64(0);
}

function setattr(session: Session, request: MessageReader): undefined {
	const fid = fidOf(session, request);
	const valid = request.u32();
	const [mode, uid, gid] = [request.u32(), request.u32(), request.u32()];
	const size = request.u64();
	const accessed: Time = { seconds: request.u64(), nanoseconds: request.u64() };
	const modified: Time = { seconds: request.u64(), nanoseconds: request.u64() };
	const has = (attribute: number): boolean => (valid & attribute) !== 0;
	const time = (set: number, given: number, value: Time): Time | "now" | undefined => {
		if (!has(set)) return undefined;
		return has(given) ? checkTime(value) : "now";
	};
	if (has(SetAttribute.size) && size > Number.MAX_SAFE_INTEGER) throw new FolderError("EFBIG");
	const { accessTime, accessTimeGiven, modificationTime, modificationTimeGiven } = SetAttribute;
	const changes: { -readonly [K in keyof Changes]: Changes[K] } = {};
	if (has(SetAttribute.mode)) changes.mode = checkMode(mode, typeOf(attributesOf(session, fid)));
	if (has(SetAttribute.uid)) changes.uid = uid;
	if (has(SetAttribute.gid)) changes.gid = gid;
	if (has(SetAttribute.size)) changes.size = size;
	const access = time(accessTime, accessTimeGiven, accessed);
	const modification = time(modificationTime, modificationTimeGiven, modified);
	if (access !== undefined) changes.accessed = access;
	if (modification !== undefined) changes.modified = modification;
	if (fid.file === undefined) session.folder.change(fid.path, changes);
	else fid.file.change(changes);
}

function checkTime(time: Time): Time {
	// Before 1970 it is negative, as two's complement.
	const seconds = time.seconds >= 2 ** 63 ? time.seconds - 2 ** 64 : time.seconds;
	if (time.nanoseconds >= 1e9 || Math.abs(seconds) > 2 ** 40) throw new FolderError("EINVAL");
	return { seconds, nanoseconds: time.nanoseconds };
}

function readlink(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	reply.string(session.folder.readLink(fidOf(session, request).path));
}

function statfs(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const space = session.folder.space(fidOf(session, request).path);
	reply.u32(space.type).u32(space.blockSize);
	for (const value of [space.blocks, space.freeBlocks, space.availableBlocks, space.files, space.freeFiles]) {
		reply.u64(value);
	}
	reply.u64(0).u32(255);
}

// Locks

interface LockRequest {
	readonly file: string;
	readonly type: number;
	readonly start: number;
	readonly end: number;
	readonly process: number;
	readonly client: string;
}

function lockRequest(session: Session, request: MessageReader, withFlags: boolean): LockRequest {
	const { device, inodeLow, inodeHigh } = attributesOf(session, fidOf(session, request));
	const type = request.u8();
	if (withFlags) request.u32();
	const [start, length, process, client] = [request.u64(), request.u64(), request.u32(), request.string()];
	if (type > LockType.unlock || client.length > 255) throw new FolderError("EINVAL");
	const end = length === 0 ? Number.POSITIVE_INFINITY : start + length;
	return { file: `${device}:${inodeHigh}:${inodeLow}`, type, start, end, process, client };
}

/** The client asks again and again for a lock that it is to wait for. */
function lock(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const { file, type, start, end, process, client } = lockRequest(session, request, true);
	const result = session.locks.set(file, type, start, end, { session, process, client });
	if (result === "full") throw new FolderError("ENOLCK");
	reply.u8(result === "blocked" ? LockStatus.blocked : LockStatus.success);
}

function getlock(session: Session, request: MessageReader, reply: MessageWriter): undefined {
	const { file, type, start, end, process, client } = lockRequest(session, request, false);
	const owner = { session, process, client };
	const other = session.locks.conflict(file, { write: type === LockType.write, start, end, owner });
	if (other === undefined) {
		const length = end === Number.POSITIVE_INFINITY ? 0 : end - start;
		reply.u8(LockType.unlock).u64(start).u64(length).u32(process).string(client);
	} else {
		const length = other.end === Number.POSITIVE_INFINITY ? 0 : other.end - other.start;
		reply
			.u8(other.write ? LockType.write : LockType.read)
			.u64(other.start)
			.u64(length);
		reply.u32(other.owner.process).string(other.owner.client);
	}
}

function unsupported(): never {
	throw new FolderError("EOPNOTSUPP");
}

/** By number. Tversion and Tflush are the session's own. */
export const requestTypes: Readonly<Record<number, RequestType>> = {
	[Message.attach]: { handle: attach },
	[Message.walk]: { handle: walk },
	[Message.clunk]: { handle: clunk },
	[Message.remove]: { handle: remove },
	[Message.unlinkat]: { handle: unlinkat, writes: true },
	[Message.rename]: { handle: rename, writes: true },
	[Message.renameat]: { handle: renameat, writes: true },
	[Message.link]: { handle: link, writes: true },
	[Message.symlink]: { handle: symlink, writes: true },
	[Message.mkdir]: { handle: mkdir, writes: true },
	[Message.mknod]: { handle: mknod, writes: true },
	[Message.lcreate]: { handle: lcreate, writes: true },
	[Message.lopen]: { handle: lopen },
	[Message.read]: { handle: read },
	[Message.write]: { handle: write, writes: true },
	[Message.readdir]: { handle: readdir },
	[Message.fsync]: { handle: fsync },
	[Message.getattr]: { handle: getattr },
	[Message.setattr]: { handle: setattr, writes: true },
	[Message.readlink]: { handle: readlink },
	[Message.statfs]: { handle: statfs },
	[Message.lock]: { handle: lock },
	[Message.getlock]: { handle: getlock },
	[Message.auth]: { handle: unsupported },
	[Message.xattrwalk]: { handle: unsupported },
	[Message.xattrcreate]: { handle: unsupported },
};
