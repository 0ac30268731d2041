/**
 * Work of back ends that is left for later, so that one busy front end starves neither other guests nor the host: it goes on between
 * two slices of the vCPUs, a share at a time. By the machine's timers, so that a run with the deterministic clock repeats.
 */
import type { Hypervisor } from "../../xen/hypervisor.ts";
import type { TimerOwner } from "../../xen/timers.ts";

export class Turns implements TimerOwner {
	private readonly timer: number;
	private waiting: (() => void)[] = [];

	constructor(private readonly hypervisor: Hypervisor) {
		this.timer = hypervisor.timers.claim(this);
	}

	/** Calls `work` in a later turn; in the order of the calls. It must not throw. */
	later(work: () => void): void {
		this.waiting.push(work);
		if (this.waiting.length === 1) this.arm();
	}

	timerExpired(): void {
		const { waiting } = this;
		this.waiting = [];
		for (const work of waiting) work();
	}

	private arm(): void {
		const { clock, scheduler, timers } = this.hypervisor;
		const now = clock.now();
		timers.set(this.timer, now);
		scheduler.timerArmed(now);
	}
}
