/** The library `paravirt`, on Node.js: a Host runs domains. */
export type { DomainEnd, DomainOptions, EndReason, GuestConsole, GuestDomain, HostOptions } from "./host/host.ts";
export { Host } from "./host/node/host.ts";
export type { Statistics } from "./host/statistics.ts";
export { ImageError, type ImageErrorCode } from "./xen/boot/errors.ts";
export { type CrashReport, formatCrashReport } from "./xen/crash.ts";
export { parseTraceCategories, TraceCategory } from "./xen/trace.ts";
