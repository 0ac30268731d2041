/** A domain: a guest with its vCPUs, frames, event channels and grants. */
import type { EventChannels } from "./events.ts";
import type { GrantTable } from "./grants.ts";
import type { Hypervisor } from "./hypervisor.ts";
import type { Vcpu } from "./vcpu.ts";

/** Why a domain shut down: SHUTDOWN_* of public/sched.h. */
export const ShutdownReason = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4, softReset: 5 } as const;

export class Domain {
	readonly vcpus: Vcpu[] = [];
	/** Frames that it may own at the most, and owns now. */
	maximumPages = 0;
	pages = 0;
	/** Machine frame of shared_info. */
	sharedInfoFrame = 0;
	events!: EventChannels;
	grants!: GrantTable;
	/** VMASST_TYPE_* bits that are enabled. */
	vmAssist = 0;
	/** Set once it has shut down: a ShutdownReason. */
	shutdown: number | undefined;
	/** Why the hypervisor ended it, where it did. */
	crashReason: string | undefined;

	constructor(
		readonly hypervisor: Hypervisor,
		readonly id: number,
		readonly name: string,
	) {}

	/** Linear address of shared_info. */
	get sharedInfo(): number {
		return this.hypervisor.memory.frame(this.sharedInfoFrame);
	}

	/** Ends the domain for a fault of its own: shutdown reason crash, with a line in the hypervisor's log. */
	crash(reason: string): void {
		if (this.shutdown !== undefined) return;
		this.crashReason = reason;
		this.shutdown = ShutdownReason.crash;
		this.hypervisor.log.write(`d${this.id} crashed: ${reason}`);
	}
}
