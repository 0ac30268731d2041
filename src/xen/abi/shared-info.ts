/**
 * shared_info and vcpu_info: the page that a PV guest and the hypervisor share (public/xen.h, public/arch-x86/xen.h).
 * Hot paths use the offsets with Memory's accessors; everything else may use the views.
 */
import { array, bytes, i64, struct, u8, u32, u64 } from "./struct.ts";

/** struct vcpu_time_info; `tscShift` is a signed byte. */
export const vcpuTimeInfo = struct({
	version: u32,
	pad0: u32,
	tscTimestamp: u64,
	systemTime: u64,
	tscToSystemMul: u32,
	tscShift: u8,
	flags: u8,
	pad1: bytes(2),
});

/** XEN_PVCLOCK_*: bits of vcpu_time_info.flags. */
export const PvclockFlag = { tscStable: 1, guestStopped: 2 } as const;

export const archVcpuInfo = struct({ cr2: i64, pad: u64 });

/** struct vcpu_info, one cache line. */
export const vcpuInfo = struct({
	evtchnUpcallPending: u8,
	evtchnUpcallMask: u8,
	evtchnPendingSel: u64,
	arch: archVcpuInfo,
	time: vcpuTimeInfo,
});

export const archSharedInfo = struct({
	maxPfn: u64,
	pfnToMfnFrameListList: u64,
	nmiReason: u64,
	p2mCr3: u64,
	p2mVaddr: i64,
	p2mGeneration: u64,
});

/** XEN_LEGACY_MAX_VCPUS: vCPUs that have their vcpu_info in shared_info. */
export const LEGACY_MAX_VCPUS = 32;

export const sharedInfo = struct({
	vcpuInfo: array(vcpuInfo, LEGACY_MAX_VCPUS),
	evtchnPending: array(u64, 64),
	evtchnMask: array(u64, 64),
	wcVersion: u32,
	wcSec: u32,
	wcNsec: u32,
	wcSecHi: u32,
	arch: archSharedInfo,
});
