/**
 * The hypervisor by itself: for another processor under it (any {@link Processor} of paravirt/cpu), or another host around it. host/machine.ts
 * shows how the pieces make a guest; whoever only wants to run one uses `Host` of `paravirt`.
 */

export { type Clock, DeterministicClock, type DeterministicClockOptions, RealClock } from "../machine/clock.ts";
export type { LogKind, LogLevel } from "../machine/log.ts";
export { Errno } from "./abi/errno.ts";
export { RESERVED_CONSOLE, RESERVED_XENSTORE } from "./abi/grant-table.ts";
export * from "./boot/index.ts";
export { type CrashReport, formatCrashReport } from "./crash.ts";
export { type Domain, ShutdownReason } from "./domain.ts";
export { EventChannels } from "./events/events.ts";
export { ServiceDomain } from "./events/service.ts";
export { GrantTable } from "./grants/grants.ts";
export type { ArgumentDescription, Arguments, Hypercall, HypercallResult } from "./hypercall.ts";
export { hypercallTable } from "./hypercalls/index.ts";
export { initialVcpuInfo } from "./hypercalls/vcpu.ts";
export { Hypervisor, type HypervisorOptions } from "./hypervisor.ts";
export { relinquishDomain } from "./mm/relinquish.ts";
export { adoptInitialTables } from "./mm/roots.ts";
export type { Scheduler, SchedulerOptions, SchedulerStatistics } from "./scheduler.ts";
export { parseTraceCategories, type Trace, TraceCategory } from "./trace.ts";
export type { Vcpu } from "./vcpu.ts";
