/**
 * The hypervisor: one machine's memory and processor, its frames, domains and clock. It owns what all domains share;
 * everything else hangs on a Domain or a Vcpu.
 */
import type { Memory } from "../cpu/memory.ts";
import type { Processor } from "../cpu/processor.ts";
import type { Clock } from "./clock.ts";
import type { Domain } from "./domain.ts";
import type { FrameTable } from "./frames.ts";
import type { GuestMemory } from "./guest-memory.ts";
import type { HypervisorLog } from "./log.ts";

export interface Hypervisor {
	readonly memory: Memory;
	readonly processor: Processor;
	readonly frames: FrameTable;
	readonly clock: Clock;
	readonly log: HypervisorLog;
	readonly guestMemory: GuestMemory;
	readonly domains: Map<number, Domain>;
}
