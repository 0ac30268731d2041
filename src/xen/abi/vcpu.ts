/** public/vcpu.h: VCPUOP_* and their arguments; struct vcpu_guest_context is in vcpu-context.ts. */
import { array, i32, i64, struct, u32, u64 } from "./struct.ts";

/** VCPUOP_* */
export const VcpuOp = {
	initialise: 0,
	up: 1,
	down: 2,
	isUp: 3,
	getRunstateInfo: 4,
	registerRunstateMemoryArea: 5,
	setPeriodicTimer: 6,
	stopPeriodicTimer: 7,
	setSingleshotTimer: 8,
	stopSingleshotTimer: 9,
	registerVcpuInfo: 10,
	sendNmi: 11,
	getPhysid: 12,
	registerVcpuTimeMemoryArea: 13,
} as const;

export const vcpuOpNames: Readonly<Record<number, string>> = {
	0: "initialise",
	1: "up",
	2: "down",
	3: "is_up",
	4: "get_runstate_info",
	5: "register_runstate_memory_area",
	6: "set_periodic_timer",
	7: "stop_periodic_timer",
	8: "set_singleshot_timer",
	9: "stop_singleshot_timer",
	10: "register_vcpu_info",
	11: "send_nmi",
	12: "get_physid",
	13: "register_vcpu_time_memory_area",
};

/** RUNSTATE_* */
export const RunstateName = { running: 0, runnable: 1, blocked: 2, offline: 3 } as const;

export const runstateInfo = struct({ state: i32, stateEntryTime: u64, time: array(u64, 4) });
/** register_runstate_memory_area and register_vcpu_time_memory_area: the guest's virtual address of the area. */
export const memoryArea = struct({ area: i64 });
export const setPeriodicTimer = struct({ periodNs: u64 });
export const setSingleshotTimer = struct({ timeoutAbsNs: u64, flags: u32 });
export const registerVcpuInfo = struct({ mfn: u64, offset: u32, rsvd: u32 });
export const physid = struct({ physId: u64 });
