/**
 * Ticks of a guest that counts them. Until Linux has chosen the Xen clock, its time is the number of ticks (the clocksource "jiffies"): it has a
 * timer that fires once, and from each tick's handler asks for the next one a period from *then* (tick_handle_periodic, xen_vcpuop_set_next_event).
 * So what a tick comes too late is lost for good, and CLOCK_REALTIME, which it has read from shared_info before, stays behind by the sum. A timer on a
 * processor of one's own is late by microseconds; ours is late by what a slice runs on (guest code is slowest in a kernel's first second, which
 * is when its code is compiled).
 *
 * While a vCPU asks for nothing but such ticks, each is therefore due a period after the one before *was due*, if that is earlier than what was asked
 * for: as many ticks come as there are periods in the time that passes. It ends for good with the first longer wait, which only a tickless kernel
 * asks for; that one reads a clock, and a tick too early would mean nothing to it.
 */
import { NANOSECONDS_PER_MILLISECOND, NANOSECONDS_PER_SECOND, NEVER } from "../machine/time-units.ts";

/** Linux's TICK_NSEC for CONFIG_HZ = 1000, 300, 250 and 100. */
const PERIODS: readonly number[] = [1_000, 300, 250, 100].map((hertz) => Math.round(NANOSECONDS_PER_SECOND / hertz));
const LONGEST_PERIOD = Math.max(...PERIODS);
/** Nanoseconds that may pass between a guest's look at the clock and its hypercall, so that a period can be told from others. */
const HYPERCALL_TIME = NANOSECONDS_PER_MILLISECOND / 10;
/** Nanoseconds of lost ticks that are made up for; a domain that was paused for longer has no use for them. */
const LONGEST_LOSS = 10 * NANOSECONDS_PER_SECOND;

export class TickTrain {
	private counting = true;
	/** Nanoseconds, 0 until one has been recognised. */
	private period = 0;
	/** When the last tick was due, if no other has been asked for since; else NEVER. */
	private due = NEVER;

	/** The guest asks for `deadline`, in nanoseconds of system time. @returns when its timer is to fire */
	ask(deadline: number, now: number): number {
		if (!this.counting) return deadline;
		const { due } = this;
		this.due = NEVER;
		const wait = deadline - now;
		if (wait > LONGEST_PERIOD) {
			this.counting = false;
			return deadline;
		}
		const recognised = PERIODS.find((period) => wait <= period && wait > period - HYPERCALL_TIME) ?? 0;
		this.period = Math.max(this.period, recognised);
		if (due === NEVER || this.period === 0 || wait > this.period || now - due > LONGEST_LOSS) return deadline;
		return Math.min(deadline, due + this.period);
	}

	/** The timer that was to fire at `deadline` has done so. */
	fired(deadline: number): void {
		this.due = deadline;
	}
}
