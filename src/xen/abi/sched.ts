/** public/sched.h: scheduling commands and their arguments. */
import { i32, i64, struct, u16, u32, u64 } from "./struct.ts";

/** SCHEDOP_* */
export const SchedOp = {
	yield: 0,
	block: 1,
	shutdown: 2,
	poll: 3,
	remoteShutdown: 4,
	shutdownCode: 5,
	watchdog: 6,
	pinOverride: 7,
} as const;

export const schedOpNames: Readonly<Record<number, string>> = {
	0: "yield",
	1: "block",
	2: "shutdown",
	3: "poll",
	4: "remote_shutdown",
	5: "shutdown_code",
	6: "watchdog",
	7: "pin_override",
};

export const schedShutdown = struct({ reason: u32 });
/** `ports` is the guest's virtual address of u32 port numbers. */
export const schedPoll = struct({ ports: i64, nrPorts: u32, timeout: u64 });
export const schedRemoteShutdown = struct({ domainId: u16, reason: u32 });
/** `timeout` in seconds. */
export const schedWatchdog = struct({ id: u32, timeout: u32 });
export const schedPinOverride = struct({ pcpu: i32 });
/** The most ports that SCHEDOP_poll takes. */
export const POLL_PORTS_MAX = 128;
/** NR_DOMAIN_WATCHDOG_TIMERS of Xen. */
export const WATCHDOG_COUNT = 2;
