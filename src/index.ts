/** The library `paravirt`, on Node.js: a Host runs domains. docs/library.md is its manual. */

export type { DetachOptions } from "./backends/xenbus/attach.ts";
export type { EngineOptions } from "./cpu/engine.ts";
export { BlockError, type BlockErrorCode, type BlockImage } from "./devices/block/image.ts";
export type { NatOptions } from "./devices/net/nat/nat.ts";
export { ImageError, type ImageErrorCode } from "./formats/errors.ts";
export type { FetchOptions, ProgressListener } from "./guests/debian.ts";
export { GuestError, type GuestErrorCode } from "./guests/errors.ts";
export {
	type DebianImages,
	debianImages,
	type Interruption,
	type RunOptions,
	type RunResult,
	run,
	userKernelCache,
} from "./guests/run.ts";
export type { DomainEnd, DomainOptions, EndReason, GuestConsole, GuestDomain, HostOptions } from "./host/host.ts";
export type { KernelCache } from "./host/kernel-cache.ts";
export { machineOverhead } from "./host/machine.ts";
export { Host } from "./host/node.ts";
export type { Size } from "./host/options.ts";
export type { Statistics } from "./host/statistics.ts";
export type { LogKind, LogLevel } from "./machine/log.ts";
export { DirectoryError, type DirectoryErrorCode } from "./platform/node/directories.ts";
export type { StoreSocket } from "./platform/node/store-socket.ts";
export type { StoreClient } from "./store/client.ts";
export { StoreError, type XsError } from "./store/errors.ts";
export type { MachineUse } from "./toolstack/audit.ts";
export { ChannelError, type ChannelSpecification, parseChannel } from "./toolstack/config/channel.ts";
export { type DiskSpecification, DiskSpecificationError, parseDisk } from "./toolstack/config/disk.ts";
export { type P9Specification, parseP9, parseShare, ShareSpecificationError } from "./toolstack/config/p9.ts";
export { parseVif } from "./toolstack/config/vif.ts";
export type { ChannelInformation, FurtherConsole } from "./toolstack/consoles.ts";
export type { RequestOptions } from "./toolstack/control.ts";
export type { CoreWriter } from "./toolstack/core-dump.ts";
export type { DiskInformation, DiskRequest } from "./toolstack/disks.ts";
export type { Domains } from "./toolstack/domains.ts";
export { ToolstackError, type ToolstackErrorCode } from "./toolstack/errors.ts";
export type { ConsolePort, DumpOptions, Trigger } from "./toolstack/guest-domain.ts";
export type { DomainInfo, HostInfo, ShutdownName, VcpuInfo } from "./toolstack/info.ts";
export { NetworkError, type NetworkInformation, type NetworkRequest } from "./toolstack/network-interfaces.ts";
export {
	EndAction,
	type EndActions,
	LIBRARY_END_ACTIONS,
	parseEndAction,
	type SchedulingParameters,
	XL_END_ACTIONS,
} from "./toolstack/options.ts";
export type { ShareInformation, ShareRequest } from "./toolstack/shares.ts";
export { type CrashReport, formatCrashReport } from "./xen/crash.ts";
export { parseTraceCategories, TraceCategory } from "./xen/trace.ts";
