/**
 * The timers of a vCPU (set_timer_op, VCPUOP_set_*_timer, SCHEDOP_poll's timeout) and the watchdogs of a domain, on the
 * hypervisor's TimerQueue.
 */

import { NANOSECONDS_PER_MILLISECOND, NANOSECONDS_PER_SECOND } from "../../machine/time-units.ts";
import type { TimerOwner, TimerQueue } from "../../machine/timers.ts";
import { Virq } from "../abi/event-channel.ts";
import { WATCHDOG_COUNT } from "../abi/sched.ts";
import { type Domain, ShutdownReason } from "../domain.ts";
import { TickTrain } from "../tick-train.ts";
import type { Vcpu } from "../vcpu.ts";

/** PV guests have a ticker of 100 Hz from the beginning, until they stop it. */
const DEFAULT_PERIOD = 10 * NANOSECONDS_PER_MILLISECOND;

export class VcpuTimers implements TimerOwner {
	private readonly queue: TimerQueue;
	private readonly singleshot: number;
	private readonly periodic: number;
	private readonly poll: number;
	private period = DEFAULT_PERIOD;
	/** The ticker came due while the vCPU waited. */
	private missed = false;
	private readonly ticks = new TickTrain();

	constructor(private readonly vcpu: Vcpu) {
		this.queue = vcpu.domain.hypervisor.timers;
		this.singleshot = this.queue.claim(this);
		this.periodic = this.queue.claim(this);
		this.poll = this.queue.claim(this);
	}

	/** The vCPU is up: its ticker starts, unless it was stopped before. */
	start(): void {
		if (this.period !== 0) this.arm(this.periodic, this.vcpu.domain.hypervisor.clock.now() + this.period);
	}

	/** The vCPU is down: nothing more comes of its timers. */
	stop(): void {
		this.queue.stop(this.singleshot);
		this.queue.stop(this.periodic);
		this.queue.stop(this.poll);
		this.missed = false;
	}

	/** VIRQ_TIMER once at `deadline`. */
	setSingleshot(deadline: number): void {
		this.arm(this.singleshot, deadline);
	}

	/** VCPUOP_set_singleshot_timer: the same, but for ticks that make up for others which came late. */
	setTick(deadline: number): void {
		this.setSingleshot(this.ticks.ask(deadline, this.vcpu.domain.hypervisor.clock.now()));
	}

	stopSingleshot(): void {
		this.queue.stop(this.singleshot);
	}

	/** VIRQ_TIMER every `period` nanoseconds from now on; 0 stops it. */
	setPeriodic(period: number): void {
		this.period = period;
		this.missed = false;
		if (period === 0 || !this.vcpu.online) this.queue.stop(this.periodic);
		else this.arm(this.periodic, this.vcpu.domain.hypervisor.clock.now() + period);
	}

	/** The vCPU is about to run again: gives it the tick that came due meanwhile, and starts the ticker again. */
	catchUp(): void {
		if (!this.missed) return;
		this.missed = false;
		this.arm(this.periodic, this.vcpu.domain.hypervisor.clock.now() + this.period);
		this.vcpu.domain.events.sendVcpuVirq(this.vcpu, Virq.timer);
	}

	/** Ends a SCHEDOP_poll at `deadline`. */
	setPoll(deadline: number): void {
		this.arm(this.poll, deadline);
	}

	stopPoll(): void {
		this.queue.stop(this.poll);
	}

	timerExpired(slot: number, deadline: number): void {
		const { vcpu } = this;
		const { events, hypervisor, shutdown } = vcpu.domain;
		if (shutdown !== undefined) return;
		if (slot === this.poll) {
			if (vcpu.pollPort !== 0) hypervisor.scheduler.unblock(vcpu);
			return;
		}
		if (slot === this.periodic) {
			// The ticker of a vCPU that waits or is down does not wake it: Xen stops it while the vCPU is not scheduled.
			if (!vcpu.online || vcpu.blocked) {
				this.missed = true;
				return;
			}
			// Missed ticks are not made up for: the next is a period after this one was due, or after now.
			this.arm(slot, Math.max(deadline, hypervisor.clock.now() - this.period) + this.period);
		}
		if (slot === this.singleshot) this.ticks.fired(deadline);
		events.sendVcpuVirq(vcpu, Virq.timer);
	}

	release(): void {
		this.queue.release(this.singleshot);
		this.queue.release(this.periodic);
		this.queue.release(this.poll);
	}

	private arm(slot: number, deadline: number): void {
		this.queue.set(slot, deadline);
		this.vcpu.domain.hypervisor.loop.timerArmed(deadline);
	}
}

/** SCHEDOP_watchdog: two timers that shut a domain down unless it sets them again. */
export class Watchdogs implements TimerOwner {
	private readonly queue: TimerQueue;
	private readonly slots: number[] = [];
	/** Which are armed. */
	private readonly active: boolean[] = [];

	constructor(private readonly domain: Domain) {
		this.queue = domain.hypervisor.timers;
		for (let id = 0; id < WATCHDOG_COUNT; id++) {
			this.slots.push(this.queue.claim(this));
			this.active.push(false);
		}
	}

	/** Index of a watchdog that is not in use, or -1. */
	free(): number {
		return this.active.indexOf(false);
	}

	isActive(index: number): boolean {
		return this.active[index] === true;
	}

	stop(index: number): void {
		const slot = this.slots[index];
		if (slot === undefined) return;
		this.active[index] = false;
		this.queue.stop(slot);
	}

	/** Arms watchdog `index` for so many seconds from now. */
	start(index: number, seconds: number): void {
		const slot = this.slots[index];
		if (slot === undefined) return;
		this.active[index] = true;
		const { clock, loop } = this.domain.hypervisor;
		const deadline = clock.now() + seconds * NANOSECONDS_PER_SECOND;
		this.queue.set(slot, deadline);
		loop.timerArmed(deadline);
	}

	timerExpired(): void {
		this.domain.hypervisor.log.write(`Watchdog timer fired for domain ${this.domain.id}`, {
			level: "error",
			guest: true,
		});
		this.domain.shutDown(ShutdownReason.watchdog);
	}

	release(): void {
		for (const slot of this.slots) this.queue.release(slot);
	}
}
