/**
 * Work of back ends that is left for later, so that one busy front end starves neither other guests nor the host: it goes on between
 * two slices of the vCPUs, a share at a time. By the machine's timers, so that a run with the deterministic clock repeats.
 */

import { ServiceTimer } from "../../devices/timer.ts";
import type { Hypervisor } from "../../xen/hypervisor.ts";

/** Nanoseconds of system time for which work may wait for more of its kind. */
const LONGEST_GATHERING = 500_000;

/** Work that is done together, in the order in which it came: at the deadline of the first, or before. */
class Batch {
	private works: (() => void)[] = [];
	private readonly timer: ServiceTimer;

	constructor(private readonly hypervisor: Hypervisor) {
		this.timer = new ServiceTimer(hypervisor);
	}

	/** @param delay nanoseconds from now, after which it is due */
	add(work: () => void, delay: number): void {
		this.works.push(work);
		if (this.works.length === 1) this.timer.set(this.hypervisor.clock.now() + delay, () => this.run());
	}

	run(): void {
		const { works } = this;
		if (works.length === 0) return;
		this.timer.stop();
		this.works = [];
		for (const work of works) work();
	}
}

export class Turns {
	private readonly next: Batch;
	private readonly gathered: Batch;

	constructor(hypervisor: Hypervisor) {
		this.next = new Batch(hypervisor);
		this.gathered = new Batch(hypervisor);
		hypervisor.loop.onWait(() => this.gathered.run());
	}

	/** Calls `work` in a later turn; in the order of the calls. It must not throw. */
	later(work: () => void): void {
		this.next.add(work, 0);
	}

	/**
	 * Calls `work` when the guests have done what they can without it: when a vCPU waits, but no later than half a millisecond from now. What a guest asks
	 * for in one go is then done in one go, and answered by one event. It must not throw.
	 */
	gather(work: () => void): void {
		this.gathered.add(work, LONGEST_GATHERING);
	}
}
