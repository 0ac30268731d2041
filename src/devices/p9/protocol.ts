/**
 * The protocol 9P2000.L, Linux's dialect of 9P2000 (its include/net/9p/9p.h, and diod's protocol.md): numbers of messages, flags, limits.
 */

/** Requests; the reply to one has the next number. */
export const Message = {
	statfs: 8,
	lopen: 12,
	lcreate: 14,
	symlink: 16,
	mknod: 18,
	rename: 20,
	readlink: 22,
	getattr: 24,
	setattr: 26,
	xattrwalk: 30,
	xattrcreate: 32,
	readdir: 40,
	fsync: 50,
	lock: 52,
	getlock: 54,
	link: 70,
	mkdir: 72,
	renameat: 74,
	unlinkat: 76,
	version: 100,
	auth: 102,
	attach: 104,
	flush: 108,
	walk: 110,
	read: 116,
	write: 118,
	clunk: 120,
	remove: 122,
} as const;
export type MessageName = keyof typeof Message;

/** Rlerror: the reply to any request that fails. */
export const RLERROR = 7;
export const VERSION = "9P2000.L";
export const UNKNOWN_VERSION = "unknown";
/** size[4] type[1] tag[2] */
export const HEADER = 7;
/** What a read's or a readdir's reply has before its data: the header and count[4]. */
export const DATA_HEADER = HEADER + 4;
/** What Linux takes off msize for the header of a read or a write (P9_IOHDRSZ). */
export const IO_HEADER = 24;
export const NO_FID = 0xffff_ffff;
/** P9_MAXWELEM */
export const MAX_WALK = 16;
/** Linux's client takes no less. */
export const MIN_MSIZE = 4096;

/** Of open flags, those that mean anything to a server (P9_DOTL_*). */
export const OpenFlag = {
	accessMode: 3,
	writeOnly: 1,
	readWrite: 2,
	exclusive: 0o200,
	truncate: 0o1000,
	append: 0o2000,
	dataSync: 0o10000,
	directory: 0o200000,
	sync: 0o4000000,
} as const;

export const AT_REMOVEDIR = 0x200;

export const QidType = { directory: 0x80, symbolicLink: 2, file: 0 } as const;

/** File types in a mode: S_IFMT and what it selects. */
export const FileType = {
	mask: 0o170000,
	socket: 0o140000,
	symbolicLink: 0o120000,
	regular: 0o100000,
	block: 0o060000,
	directory: 0o040000,
	character: 0o020000,
	fifo: 0o010000,
} as const;
export const SET_ID_BITS = 0o6000;

/** P9_GETATTR_BASIC: what a reply to getattr tells. */
export const GETATTR_BASIC = 0x7ff;
/** P9_ATTR_*: which attributes a setattr sets. */
export const SetAttribute = {
	mode: 1,
	uid: 2,
	gid: 4,
	size: 8,
	accessTime: 0x10,
	modificationTime: 0x20,
	changeTime: 0x40,
	accessTimeGiven: 0x80,
	modificationTimeGiven: 0x100,
} as const;

/** Kinds of locks, and what becomes of a request for one. */
export const LockType = { read: 0, write: 1, unlock: 2 } as const;
export const LockStatus = { success: 0, blocked: 1, error: 2, grace: 3 } as const;

/**
 * Error numbers of Linux on x86, by which 9P2000.L tells what went wrong. A host with other numbers is asked for the names.
 */
export const LinuxErrno = {
	EPERM: 1,
	ENOENT: 2,
	EIO: 5,
	ENXIO: 6,
	EBADF: 9,
	EAGAIN: 11,
	ENOMEM: 12,
	EACCES: 13,
	EBUSY: 16,
	EEXIST: 17,
	EXDEV: 18,
	ENODEV: 19,
	ENOTDIR: 20,
	EISDIR: 21,
	EINVAL: 22,
	ENFILE: 23,
	EMFILE: 24,
	ETXTBSY: 26,
	EFBIG: 27,
	ENOSPC: 28,
	ESPIPE: 29,
	EROFS: 30,
	EMLINK: 31,
	ENAMETOOLONG: 36,
	ENOLCK: 37,
	ENOTEMPTY: 39,
	ELOOP: 40,
	EPROTO: 71,
	EOVERFLOW: 75,
	EMSGSIZE: 90,
	EOPNOTSUPP: 95,
	ESTALE: 116,
	EDQUOT: 122,
} as const;
export type LinuxErrorName = keyof typeof LinuxErrno;
