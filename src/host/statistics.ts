/** What --stats writes and Host.statistics() returns. Counters are of the whole machine, from its start. */
import type { SchedulerStatistics } from "../xen/scheduler.ts";

export interface Statistics {
	/** Since the first domain was created. */
	readonly wallSeconds: number;
	/** Processor time of the host program in that time, compilation and garbage collection included; null where unknown. */
	readonly cpuSeconds: number | null;
	/** What the guests' clocks show of it. */
	readonly guestSeconds: number;
	readonly clock: "real" | "deterministic";
	/** Guest instructions executed. */
	readonly instructions: number;
	/** Million instructions a second of processor time, or of wall time where that is unknown. */
	readonly mips: number;
	/** By name: hypercalls made, exceptions and software interrupts raised. What never happened is left out. */
	readonly hypercalls: Readonly<Record<string, number>>;
	readonly exceptions: Readonly<Record<string, number>>;
	readonly events: Readonly<Record<string, number>>;
	/** Misses of the translation lookaside buffers; null where the processor does not count them. */
	readonly tlbMisses: number | null;
	readonly scheduler: Readonly<SchedulerStatistics>;
	readonly memory: {
		/** Of the machine, and in use by its domains. */
		readonly machineBytes: number;
		readonly guestBytes: number;
		/** Of the host program; null where unknown. */
		readonly residentBytes: number | null;
	};
}
