/** Commands and structures of memory_op: public/memory.h. */
import { i64, struct, u16, u32, u64 } from "./struct.ts";

export const MemoryCommand = {
	increaseReservation: 0,
	decreaseReservation: 1,
	maximumRamPage: 2,
	currentReservation: 3,
	maximumReservation: 4,
	machphysMfnList: 5,
	populatePhysmap: 6,
	addToPhysmap: 7,
	memoryMap: 9,
	machineMemoryMap: 10,
	exchange: 11,
	machphysMapping: 12,
	setMemoryMap: 13,
	maximumGpfn: 14,
	removeFromPhysmap: 15,
	setPodTarget: 16,
	getPodTarget: 17,
	addToPhysmapBatch: 23,
	claimPages: 24,
	getVnumainfo: 26,
	acquireResource: 28,
	machphysCompatMfnList: 25,
	getSharingFreedPages: 18,
	getSharingSharedPages: 19,
	accessOp: 21,
	reservedDeviceMemoryMap: 27,
} as const;

/** The command is in the low bits; above is the extent at which a preempted call goes on. */
export const MEMORY_EXTENT_SHIFT = 6;
export const MEMORY_COMMAND_MASK = (1 << MEMORY_EXTENT_SHIFT) - 1;

/** struct xen_memory_reservation. */
export const memoryReservation = struct({
	extentStart: i64,
	nrExtents: u64,
	extentOrder: u32,
	memFlags: u32,
	domid: u16,
});
/** XENMEMF_*: bits of memFlags. */
export const MemoryFlag = {
	addressBits: 0xff,
	exactNodeRequest: 1 << 17,
	vnode: 1 << 18,
	populateOnDemand: 1 << 16,
} as const;

export const memoryExchange = struct({ in: memoryReservation, out: memoryReservation, nrExchanged: u64 });
/** struct xen_memory_map. */
export const memoryMap = struct({ nrEntries: u32, buffer: i64 });
/** struct xen_foreign_memory_map. */
export const foreignMemoryMap = struct({ domid: u16, map: memoryMap });
/** struct e820entry, packed. */
export const E820_ENTRY_SIZE = 20;
export const e820Entry = struct({ addr: u64, size: u64, type: u32 }, { packed: true });
export const E820_RAM = 1;
export const E820_MAX = 1024;

export const machphysMfnList = struct({ maxExtents: u32, extentStart: i64, nrExtents: u32 });
export const machphysMapping = struct({ vStart: i64, vEnd: i64, maxMfn: u64 });
export const addToPhysmap = struct({ domid: u16, size: u16, space: u32, idx: u64, gpfn: u64 });
export const addToPhysmapBatch = struct({
	domid: u16,
	space: u16,
	size: u16,
	extra: u16,
	idxs: i64,
	gpfns: i64,
	errs: i64,
});
export const removeFromPhysmap = struct({ domid: u16, gpfn: u64 });
export const mapSpaceForeign = 4;

/** struct xen_pod_target, struct xen_vnuma_topology_info, struct xen_mem_access_op, struct xen_mem_acquire_resource, struct xen_reserved_device_memory_map. */
export const POD_TARGET_SIZE = 40;
export const VNUMA_TOPOLOGY_SIZE = 40;
export const ACCESS_OPERATION_SIZE = 32;
export const ACQUIRE_RESOURCE_SIZE = 32;
export const reservedDeviceMemoryMap = struct({ flags: u32, nrEntries: u32, buffer: i64, device: u64 });
