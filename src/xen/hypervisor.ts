/**
 * The hypervisor: one machine's memory and processor, its frames, domains and clock. It owns what all domains share;
 * everything else hangs on a Domain or a Vcpu.
 */

import type { CpuidResult, DescriptorLookup, Environment, Processor } from "../cpu/processor.ts";
import { type Clock, RealClock } from "../machine/clock.ts";
import { HypervisorLog } from "../machine/log.ts";
import { MainLoop } from "../machine/loop.ts";
import { TimerQueue } from "../machine/timers.ts";
import type { Memory } from "../memory/memory.ts";
import { DOMID_FIRST_RESERVED } from "./abi/domid.ts";
import { type CrashReport, crashReport } from "./crash.ts";
import { Domain } from "./domain.ts";
import { hypercallTable } from "./hypercalls/index.ts";
import { FrameTable } from "./mm/frames.ts";
import { readDescriptor } from "./mm/gdt.ts";
import { GuestMemory } from "./mm/guest-memory.ts";
import { noteLdtFault } from "./mm/ldt.ts";
import { cpuid } from "./pv/cpuid.ts";
import { emitFastPaths } from "./pv/fast/index.ts";
import { runVcpu } from "./pv/run.ts";
import { IDLE_CONTEXT, Scheduler, type SchedulerOptions } from "./scheduler.ts";
import { Trace } from "./trace.ts";

export interface HypervisorOptions {
	readonly memory: Memory;
	/** Makes the processor; it asks `environment` while it runs. */
	readonly createProcessor: (memory: Memory, environment: Environment) => Processor;
	/** The host's time where not given. */
	readonly createClock?: (processor: Processor) => Clock;
	readonly scheduler?: SchedulerOptions;
}

const NO_CPUID: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/** A machine without domains at first. */
export class Hypervisor implements Environment {
	readonly memory: Memory;
	readonly processor: Processor;
	readonly frames: FrameTable;
	readonly clock: Clock;
	readonly log = new HypervisorLog();
	readonly guestMemory: GuestMemory;
	readonly domains = new Map<number, Domain>();
	readonly timers = new TimerQueue();
	readonly scheduler: Scheduler;
	readonly loop: MainLoop;
	/** Counters of all domains, and what is printed as it happens. */
	readonly trace: Trace;
	readonly emitExits = emitFastPaths;
	private readonly freeSlots: number[] = [];
	private nextId = 1;
	private readonly lookup = { low: 0, high: 0 };

	constructor(options: HypervisorOptions) {
		this.memory = options.memory;
		this.trace = new Trace(hypercallTable, this.memory);
		for (let slot = IDLE_CONTEXT - 1; slot >= 0; slot--) this.freeSlots.push(slot);
		this.processor = options.createProcessor(this.memory, this);
		this.clock = options.createClock?.(this.processor) ?? new RealClock();
		this.guestMemory = new GuestMemory(this.memory, this.processor);
		this.frames = new FrameTable(this.memory, this);
		this.scheduler = new Scheduler(this, runVcpu, options.scheduler);
		this.loop = new MainLoop(this.clock, this.timers, this.scheduler, options.scheduler);
	}

	cpuid(leaf: number, subleaf: number): CpuidResult {
		const vcpu = this.scheduler.current;
		return vcpu === undefined ? NO_CPUID : cpuid(vcpu, leaf, subleaf);
	}

	readTsc(): number {
		return this.clock.tsc();
	}

	get tscWindow(): number {
		return this.clock.tscWindow;
	}

	descriptor(selector: number): DescriptorLookup | undefined {
		const vcpu = this.scheduler.current;
		if (vcpu === undefined) return undefined;
		if (readDescriptor(vcpu, selector, this.lookup)) return this.lookup;
		noteLdtFault(vcpu, selector);
		return undefined;
	}

	/** A context number for a new vCPU, or undefined where all are taken. */
	allocateSlot(): number | undefined {
		return this.freeSlots.pop();
	}

	releaseSlot(slot: number): void {
		this.freeSlots.push(slot);
	}

	/** Context numbers that vCPUs have. */
	get slotsInUse(): number {
		return IDLE_CONTEXT - this.freeSlots.length;
	}

	/** A new domain with the next free id (1 to 32751) and no vCPU, entered in {@link domains}; its frames and services follow. */
	createDomain(name: string): Domain {
		// 0 is the services beside the hypervisor.
		let id = this.nextId;
		// Frames of a domain that is gone may still be mapped by others, under its number.
		while (this.domains.has(id) || this.frames.owned(id) > 0) id = id + 1 >= DOMID_FIRST_RESERVED ? 1 : id + 1;
		this.nextId = id + 1 >= DOMID_FIRST_RESERVED ? 1 : id + 1;
		const domain = new Domain(this, id, name);
		domain.created = this.clock.now();
		this.domains.set(id, domain);
		return domain;
	}

	/** What a domain's running vCPU, or else its first, looks like; for Domain.crash. */
	reportCrash(domain: Domain, reason: string): CrashReport | undefined {
		const { current } = this.scheduler;
		const vcpu = current?.domain === domain ? current : domain.vcpus[0];
		if (vcpu === undefined) return undefined;
		const { processor } = this as { readonly processor: Processor & { lastBranches?: () => readonly number[] } };
		return crashReport(vcpu, reason, {
			symbolAt: domain.symbolAt,
			lastBranches: processor.lastBranches?.bind(processor),
		});
	}
}
