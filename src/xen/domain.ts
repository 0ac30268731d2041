/** A domain: a guest with its vCPUs, frames, event channels and grants. */
import type { CrashReport } from "./crash.ts";
import type { EventChannels } from "./events/events.ts";
import type { GrantTable } from "./grants/grants.ts";
import type { Hypervisor } from "./hypervisor.ts";
import type { Watchdogs } from "./time/vcpu-timers.ts";
import { Vcpu } from "./vcpu.ts";

/** Why a domain shut down: SHUTDOWN_* of public/sched.h. */
export const ShutdownReason = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, softReset: 5 } as const;

/** CSCHED_DEFAULT_WEIGHT */
export const DEFAULT_WEIGHT = 256;

export class Domain {
	readonly vcpus: Vcpu[] = [];
	/** Frames that it may own at the most. */
	maximumPages = 0;
	/** Machine frame of shared_info. */
	sharedInfoFrame = 0;
	events!: EventChannels;
	grants!: GrantTable;
	/** xen_domain_handle_t, the toolstack's UUID: sixteen bytes. */
	readonly handle = new Uint8Array(16);
	/** It may write to the hypervisor's log (console_io), as guests of a Xen with verbose debugging may; and its line so far. */
	consoleIo = true;
	consoleLine = "";
	/** Linear address of the frame of PHYSDEVOP_pirq_eoi_gmfn, 0 where there is none. */
	pirqEoiMap = 0;
	private assist = 0;
	/** What it last wrote to the few I/O ports that exist for it (ports.ts). */
	readonly ports = { pciAddress: 0, cmosIndex: 0 };
	/** How often the toolstack has stopped it and not let it go on yet; kept by the scheduler. */
	pauses = 0;
	/** Its share of the processor beside others', and hundredths of one that it may use at the most (0: no limit). */
	weight = DEFAULT_WEIGHT;
	cap = 0;
	/** With a cap (fair-share.ts): nanoseconds that it may still run, as of a system time; and whether it waits because they are used up. */
	budget = 0;
	budgetTime = 0;
	parked = false;
	/** System time at which it was created. */
	created = 0;
	private deferred = 0;
	/** Its memory map as the toolstack (or XENMEM_set_memory_map) gave it: struct e820entry, twenty bytes each. */
	memoryMap: Uint8Array | undefined;
	/** Set once it has shut down: a ShutdownReason. */
	shutdown: number | undefined;
	/** SCHEDOP_shutdown_code: what the guest announced. */
	shutdownCode: number | undefined;
	/** SCHEDOP_watchdog's timers, once it has used them. */
	watchdogs: Watchdogs | undefined;
	/** Called once, when it shuts down. */
	onShutdown: ((reason: number) => void) | undefined;
	/** Why the hypervisor ended it, where it did, and what its vCPU looked like then. */
	crashReason: string | undefined;
	crashReport: CrashReport | undefined;
	/** The name of a kernel address, where the toolstack has symbols: for crash reports. */
	symbolAt: ((address: number) => string | undefined) | undefined;

	constructor(
		readonly hypervisor: Hypervisor,
		readonly id: number,
		public name: string,
	) {}

	get paused(): boolean {
		return this.pauses > 0;
	}

	/** Nothing but their own waiting keeps its vCPUs from running. */
	get canRun(): boolean {
		return this.pauses === 0 && !this.parked && this.shutdown === undefined;
	}

	/** VMASST_TYPE_* bits that are enabled. */
	get vmAssist(): number {
		return this.assist;
	}
	set vmAssist(bits: number) {
		this.assist = bits;
		for (const vcpu of this.vcpus) vcpu.block.vmAssist = bits;
	}

	/** Machine frame of the first table that it no longer uses but that is not yet dropped (mm/page-types.ts), 0 for none. */
	get deferredTable(): number {
		return this.deferred;
	}
	set deferredTable(mfn: number) {
		this.deferred = mfn;
		for (const vcpu of this.vcpus) vcpu.block.deferredTable = mfn;
	}

	/** Frames that it owns now. */
	get pages(): number {
		return this.hypervisor.frames.owned(this.id);
	}

	/** Linear address of shared_info. */
	get sharedInfo(): number {
		return this.hypervisor.memory.frame(this.sharedInfoFrame);
	}

	/** Adds the next vCPU, down and with reset registers, or undefined where the machine has no context left for it. */
	addVcpu(): Vcpu | undefined {
		const slot = this.hypervisor.allocateSlot();
		if (slot === undefined) return undefined;
		const vcpu = new Vcpu(this, this.vcpus.length, slot);
		vcpu.resetRegisters();
		this.vcpus.push(vcpu);
		return vcpu;
	}

	/**
	 * Stops the domain for good (SCHEDOP_shutdown, a watchdog, a toolstack's order). The first reason stays; what SCHEDOP_shutdown_code has
	 * announced is told in place of any, as in Xen.
	 */
	shutDown(reason: number): void {
		if (this.shutdown !== undefined) return;
		this.shutdown = this.shutdownCode ?? reason;
		this.onShutdown?.(this.shutdown);
	}

	/**
	 * Ends the domain for a fault of its own: shutdown reason crash, with a line in the hypervisor's log and, where a vCPU of it
	 * was running, a report of its state.
	 */
	crash(reason: string): void {
		if (this.shutdown !== undefined) return;
		this.crashReason = reason;
		this.hypervisor.log.write(`d${this.id} crashed: ${reason}`, { level: "error", guest: true });
		this.crashReport = this.hypervisor.reportCrash(this, reason);
		this.shutDown(ShutdownReason.crash);
	}
}
