/** struct start_info of x86-64 (public/xen.h): what a PV kernel finds at the address in RSI when it starts. */
import { bytes, i64, struct, u32, u64 } from "./struct.ts";

export const MAX_GUEST_CMDLINE = 1024;

/** SIF_* of start_info.flags. */
export const StartInfoFlag = {
	privileged: 1 << 0,
	initDomain: 1 << 1,
	multibootModule: 1 << 2,
	/** mod_start is a pfn: the ramdisk is not in the initial mapping. */
	modStartPfn: 1 << 3,
	/** The tools understand a p2m list that the kernel keeps virtually contiguous. */
	virtP2m4Tools: 1 << 4,
} as const;

export const startInfo = struct({
	/** "xen-3.0-x86_64". */
	magic: bytes(32),
	nrPages: u64,
	/** Machine address. */
	sharedInfo: u64,
	flags: u32,
	storeMfn: u64,
	storeEvtchn: u32,
	consoleMfn: u64,
	consoleEvtchn: u32,
	/** Virtual address of the L4 table. */
	ptBase: i64,
	nrPtFrames: u64,
	/** Virtual address of the p2m list. */
	mfnList: i64,
	/** Virtual address, or pfn with StartInfoFlag.modStartPfn. */
	modStart: i64,
	modLen: u64,
	cmdLine: bytes(MAX_GUEST_CMDLINE),
	firstP2mPfn: u64,
	nrP2mFrames: u64,
});
