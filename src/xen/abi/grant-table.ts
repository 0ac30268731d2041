/** public/grant_table.h: commands, statuses, flags, entries and argument structures. */
import { i64, struct, u16, u32, u64 } from "./struct.ts";

/** GNTTABOP_* */
export const GrantOp = {
	mapGrantRef: 0,
	unmapGrantRef: 1,
	setupTable: 2,
	dumpTable: 3,
	transfer: 4,
	copy: 5,
	querySize: 6,
	unmapAndReplace: 7,
	setVersion: 8,
	getStatusFrames: 9,
	getVersion: 10,
	swapGrantRef: 11,
	cacheFlush: 12,
} as const;

export const grantOpNames: Readonly<Record<number, string>> = {
	0: "map_grant_ref",
	1: "unmap_grant_ref",
	2: "setup_table",
	3: "dump_table",
	4: "transfer",
	5: "copy",
	6: "query_size",
	7: "unmap_and_replace",
	8: "set_version",
	9: "get_status_frames",
	10: "get_version",
	11: "swap_grant_ref",
	12: "cache_flush",
};

/** GNTST_* */
export const GrantStatus = {
	okay: 0,
	generalError: -1,
	badDomain: -2,
	badGntref: -3,
	badHandle: -4,
	badVirtAddr: -5,
	badDevAddr: -6,
	noDeviceSpace: -7,
	permissionDenied: -8,
	badPage: -9,
	badCopyArg: -10,
	addressTooBig: -11,
	eagain: -12,
	noSpace: -13,
} as const;

/** GTF_*: flags of a grant entry. */
export const GrantFlag = {
	invalid: 0,
	permitAccess: 1,
	acceptTransfer: 2,
	transitive: 3,
	typeMask: 3,
	readonly: 4,
	reading: 8,
	writing: 16,
	pwt: 32,
	pcd: 64,
	pat: 128,
	subPage: 256,
	transferCommitted: 4,
	transferCompleted: 8,
} as const;

/** GNTMAP_*: flags of a mapping. */
export const MapFlag = {
	deviceMap: 1,
	hostMap: 2,
	readonly: 4,
	applicationMap: 8,
	containsPte: 16,
} as const;
/** _GNTMAP_guest_avail0: the first of the bits that go to the PTE's available ones. */
export const MAP_GUEST_AVAIL_SHIFT = 16;

/** GNTCOPY_* */
export const CopyFlag = { sourceGref: 1, destGref: 2 } as const;

/** GNTTAB_NR_RESERVED_ENTRIES, and those that a builder fills for domain 0. */
export const RESERVED_ENTRIES = 8;
export const RESERVED_CONSOLE = 0;
export const RESERVED_XENSTORE = 1;

export const grantEntryV1 = struct({ flags: u16, domid: u16, frame: u32 });
/** The full-page form; `pageOff` and `length` are the sub-page form's, `transDomid` and `gref` the transitive's. */
export const grantEntryV2 = struct({ flags: u16, domid: u16, pageOff: u16, length: u16, frame: u64 });
export const TRANS_DOMID = 4;
export const TRANS_GREF = 8;

/** `status` is signed in the header; it is only ever written here. */
export const mapGrantRef = struct({
	hostAddr: i64,
	flags: u32,
	ref: u32,
	dom: u16,
	status: u16,
	handle: u32,
	devBusAddr: u64,
});
export const unmapGrantRef = struct({ hostAddr: i64, devBusAddr: u64, handle: u32, status: u16 });
export const unmapAndReplace = struct({ hostAddr: i64, newAddr: i64, handle: u32, status: u16 });
export const setupTable = struct({ dom: u16, nrFrames: u32, status: u16, frameList: i64 });
export const transfer = struct({ mfn: u64, domid: u16, ref: u32, status: u16 });
export const copyPointer = struct({ refOrGmfn: u64, domid: u16, offset: u16 });
export const copy = struct({ source: copyPointer, dest: copyPointer, len: u16, flags: u16, status: u16 });
export const querySize = struct({ dom: u16, nrFrames: u32, maxNrFrames: u32, status: u16 });
export const setVersion = struct({ version: u32 });
export const getStatusFrames = struct({ nrFrames: u32, dom: u16, status: u16, frameList: i64 });
export const getVersion = struct({ dom: u16, pad: u16, version: u32 });
export const swapGrantRef = struct({ refA: u32, refB: u32, status: u16 });
export const cacheFlush = struct({ refOrAddress: u64, offset: u16, length: u16, op: u32 });
