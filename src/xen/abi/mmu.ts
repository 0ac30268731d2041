/** Requests of mmu_update, update_va_mapping and mmuext_op: public/xen.h. */
import { struct, u32, u64 } from "./struct.ts";

/** Low bits of mmu_update.ptr. */
export const MmuCommand = { normal: 0, machphys: 1, preserveAd: 2, noTranslate: 3 } as const;
export const MMU_COMMAND_MASK = 7;
/** struct mmu_update: u64 ptr, u64 val. */
export const MMU_UPDATE_SIZE = 16;
/** Bit of `count` with which a preempted call comes back. */
export const MMU_UPDATE_PREEMPTED = 0x8000_0000;

export const MmuextCommand = {
	pinL1Table: 0,
	pinL2Table: 1,
	pinL3Table: 2,
	pinL4Table: 3,
	unpinTable: 4,
	newBaseptr: 5,
	tlbFlushLocal: 6,
	invlpgLocal: 7,
	tlbFlushMulti: 8,
	invlpgMulti: 9,
	tlbFlushAll: 10,
	invlpgAll: 11,
	flushCache: 12,
	setLdt: 13,
	newUserBaseptr: 15,
	clearPage: 16,
	copyPage: 17,
	flushCacheGlobal: 18,
	markSuper: 19,
	unmarkSuper: 20,
} as const;

/** struct mmuext_op; arg1 is a frame or an address, arg2 a count, a frame or an address. */
export const mmuextOp = struct({ cmd: u32, arg1: u64, arg2: u64 });

/** UVMF_*: the flush that update_va_mapping does, in its low bits, and on which vCPUs, in the rest (or a pointer to their mask). */
export const Uvmf = { tlbFlush: 1, invlpg: 2, flushTypeMask: 3, local: 0, all: 4 } as const;
