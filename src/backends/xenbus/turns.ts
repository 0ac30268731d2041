/**
 * Work of back ends that is left for later, so that one busy front end starves neither other guests nor the host: it goes on between
 * two slices of the vCPUs, a share at a time. By the machine's timers, so that a run with the deterministic clock repeats.
 */
import type { Hypervisor } from "../../xen/hypervisor.ts";
import type { TimerOwner } from "../../xen/timers.ts";
import { ServiceTimer } from "../timer.ts";

/** Nanoseconds of system time for which work may wait for more of its kind. */
const LONGEST_GATHERING = 500_000;

export class Turns implements TimerOwner {
	private readonly timer: number;
	private waiting: (() => void)[] = [];
	private gathering: (() => void)[] = [];
	private readonly limit: ServiceTimer;

	constructor(private readonly hypervisor: Hypervisor) {
		this.timer = hypervisor.timers.claim(this);
		this.limit = new ServiceTimer(hypervisor);
		hypervisor.scheduler.onWait(() => {
			if (this.gathering.length > 0) this.endGathering();
		});
	}

	/**
	 * Calls `work` when the guests have done what they can without it: when a vCPU waits, but no later than half a millisecond from now. What a guest asks
	 * for in one go is then done in one go, and answered by one event.
	 */
	gather(work: () => void): void {
		this.gathering.push(work);
		if (this.gathering.length > 1) return;
		this.limit.set(this.hypervisor.clock.now() + LONGEST_GATHERING, () => this.endGathering());
	}

	private endGathering(): void {
		this.limit.stop();
		const { gathering } = this;
		this.gathering = [];
		for (const work of gathering) work();
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
