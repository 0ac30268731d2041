/**
 * In what the makers of processors differ, by name: an emulated processor is one maker's throughout, the one that CPUID names. Emitted code takes
 * its maker's behaviour when it is emitted, so that none of this is asked at run time.
 *
 * Sources: "SDM" is Intel's manual, "APM" AMD's. "Seen" is what the test oracle saw on hosts of both makers (Sapphire Rapids, Zen 3) where the
 * manuals leave it open or say less; recorded answers are in test/cpu/oracle/recorded.jsonl.
 */

export const CPU_VENDORS = ["intel", "amd"] as const;
export type CpuVendor = (typeof CPU_VENDORS)[number];

export function isCpuVendor(text: string): text is CpuVendor {
	return (CPU_VENDORS as readonly string[]).includes(text);
}

export interface VendorBehaviour {
	readonly vendor: CpuVendor;
	/** Near branches in 64-bit mode ignore prefix 66 (SDM volume 2, CALL, JMP, Jcc, RET); else it makes them 16 bits wide (APM volume 3, 1.2.3). */
	readonly nearBranchIgnoresOperandSize: boolean;
	/** F3 90 is PAUSE whatever REX.B is; else REX.B makes it XCHG with R8. Seen. */
	readonly pauseIgnoresRexB: boolean;
	/** MOVSXD with a 16-bit destination reads 16 bits (SDM volume 2, MOVSXD), else 32. Seen. */
	readonly movsxdReadsOperandSize: boolean;
	/**
	 * PUSH of a segment register with a 32-bit operand writes 16 bits and leaves those above in memory (SDM volume 2, PUSH: "a 16-bit move"), else
	 * it writes zeros there.
	 */
	readonly pushSegmentWritesWord: boolean;
	/** POP of a segment register reads the selector's 16 bits, else the whole operand. Seen beside the end of a page. */
	readonly popSegmentReadsWord: boolean;
	/** An indirect CALL to an address that is not canonical has written the return address when it faults; RSP has not moved. Seen. */
	readonly callPushesBeforeFault: boolean;
	/** A fault of repeated CMPS or SCAS finds the flags as they were before the instruction (SDM volume 2, REP), else those of the last comparison. */
	readonly repeatedCompareKeepsFlags: boolean;
	/**
	 * Repeated string instructions with 32-bit addresses in 64-bit mode have cleared the upper half of RCX, MOVS and STOS also those of RSI and RDI, when
	 * their first access faults. Seen.
	 */
	readonly repeatClearsUpperHalvesFirst: boolean;
	/** BOUND compares with the lower bound before it reads the upper one, else it reads both. Seen. */
	readonly boundComparesInOrder: boolean;
	/** MOVD, MOVQ and MOVNTQ from an MMX register have set TOP to 0, and left the tags, when their store faults. Seen. */
	readonly mmxStoreChangesTopFirst: boolean;
	/** MASKMOVDQU asks for the upper eight bytes' page before the lower ones', whatever is selected, else in the order of addresses. Seen. */
	readonly maskedStoreUpperHalfFirst: boolean;
	/**
	 * An unmasked x87 exception that keeps a store from happening comes before the store's page fault: there is no access. Else the operand is checked
	 * for writing first. Seen.
	 */
	readonly x87ExceptionBeforeStore: boolean;
	/** Ten bytes of the x87 are stored as eight and two: where the second part faults, the first has been written. Else all or nothing. Seen. */
	readonly x87StoresTenBytesInParts: boolean;
	/** DPPS and DPPD add lane by lane, so that NaNs may differ by lane, else one sum goes to all of them. Seen. */
	readonly dotProductByLanes: boolean;
	/** FCOMI and its kin clear C1 (SDM volume 2, FCOMI), else only a stack fault does. Seen. */
	readonly compareToFlagsClearsC1: boolean;
	/**
	 * In compatibility mode an access over the end of a 4 GiB segment goes on at 0, else it is #GP or #SS (SDM volume 3, 5.3: "implementation-specific").
	 * Seen.
	 */
	readonly accessWrapsAt4GiB: boolean;
	/** CALL and JMP far with REX.W read offsets of 64 bits (SDM volume 2), else REX.W means nothing to them (APM volume 3, JMP far). */
	readonly farPointerOf64Bits: boolean;
	/** A far return or IRET to compatibility mode takes the lower half of an address above 4 GiB, else it is #GP(0), beyond the segment's limit. Seen. */
	readonly farReturnTakesLowerHalf: boolean;
	/** System calls in compatibility mode: SYSENTER (SDM volume 2), SYSCALL (APM volume 3); the other is #UD. SYSENTER in 64-bit mode is Intel's. */
	readonly compatibilitySystemCall: "sysenter" | "syscall";
}

const INTEL: VendorBehaviour = {
	vendor: "intel",
	nearBranchIgnoresOperandSize: true,
	pauseIgnoresRexB: true,
	movsxdReadsOperandSize: true,
	pushSegmentWritesWord: true,
	popSegmentReadsWord: true,
	callPushesBeforeFault: true,
	repeatedCompareKeepsFlags: true,
	repeatClearsUpperHalvesFirst: true,
	boundComparesInOrder: true,
	mmxStoreChangesTopFirst: true,
	maskedStoreUpperHalfFirst: true,
	x87ExceptionBeforeStore: true,
	x87StoresTenBytesInParts: true,
	dotProductByLanes: true,
	compareToFlagsClearsC1: true,
	accessWrapsAt4GiB: true,
	farPointerOf64Bits: true,
	farReturnTakesLowerHalf: true,
	compatibilitySystemCall: "sysenter",
};

const AMD: VendorBehaviour = {
	vendor: "amd",
	nearBranchIgnoresOperandSize: false,
	pauseIgnoresRexB: false,
	movsxdReadsOperandSize: false,
	pushSegmentWritesWord: false,
	popSegmentReadsWord: false,
	callPushesBeforeFault: false,
	repeatedCompareKeepsFlags: false,
	repeatClearsUpperHalvesFirst: false,
	boundComparesInOrder: false,
	mmxStoreChangesTopFirst: false,
	maskedStoreUpperHalfFirst: false,
	x87ExceptionBeforeStore: false,
	x87StoresTenBytesInParts: false,
	dotProductByLanes: false,
	compareToFlagsClearsC1: false,
	accessWrapsAt4GiB: false,
	farPointerOf64Bits: false,
	farReturnTakesLowerHalf: false,
	compatibilitySystemCall: "syscall",
};

export const VENDOR_BEHAVIOUR: Readonly<Record<CpuVendor, VendorBehaviour>> = { intel: INTEL, amd: AMD };

export const DEFAULT_VENDOR: CpuVendor = "intel";
