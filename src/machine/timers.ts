/**
 * Deadlines of system time: each vCPU's singleshot, periodic and poll timers and each domain's watchdogs. A slot is a number
 * in one array; arming and stopping allocate nothing, and the earliest deadline is known without looking.
 */
import { NEVER } from "./time-units.ts";

/** What happens when a deadline has come; the slot is stopped before it is called. */
export interface TimerOwner {
	timerExpired(slot: number, deadline: number): void;
}

export class TimerQueue {
	private deadlines = new Float64Array(16).fill(NEVER);
	private readonly owners: (TimerOwner | undefined)[] = [];
	private readonly released: number[] = [];
	/** The earliest deadline. It may be too early where a timer was stopped, never too late: {@link next} settles it. */
	private earliest = NEVER;
	private stale = false;

	/** Timers that somebody has. */
	get claimed(): number {
		return this.owners.length - this.released.length;
	}

	/** A new, stopped timer. */
	claim(owner: TimerOwner): number {
		const slot = this.released.pop() ?? this.owners.length;
		this.owners[slot] = owner;
		if (slot >= this.deadlines.length) {
			const grown = new Float64Array(this.deadlines.length * 2).fill(NEVER);
			grown.set(this.deadlines);
			this.deadlines = grown;
		}
		return slot;
	}

	/** Gives a timer back: its domain is gone. */
	release(slot: number): void {
		this.stop(slot);
		if (this.owners[slot] === undefined) return;
		this.owners[slot] = undefined;
		this.released.push(slot);
	}

	/** Arms a timer for `deadline`, replacing what it was armed for. */
	set(slot: number, deadline: number): void {
		if (this.deadlines[slot] === this.earliest) this.stale = true;
		this.deadlines[slot] = deadline;
		if (deadline <= this.earliest) {
			this.earliest = deadline;
			this.stale = false;
		}
	}

	stop(slot: number): void {
		if (this.deadlines[slot] === NEVER) return;
		if (this.deadlines[slot] === this.earliest) this.stale = true;
		this.deadlines[slot] = NEVER;
	}

	/** The deadline of one timer, NEVER where it is stopped. */
	deadline(slot: number): number {
		return this.deadlines[slot] as number;
	}

	/** The earliest deadline of all, NEVER where none is armed. */
	next(): number {
		if (this.stale) {
			let earliest = NEVER;
			for (let slot = 0; slot < this.owners.length; slot++) {
				const deadline = this.deadlines[slot] as number;
				if (deadline < earliest) earliest = deadline;
			}
			this.earliest = earliest;
			this.stale = false;
		}
		return this.earliest;
	}

	/**
	 * Runs every timer whose deadline is not after `now`, earliest first and by slot where equal, each once at the most per
	 * round: a periodic timer that its owner arms for the past waits for the next call.
	 */
	expire(now: number): void {
		for (let count = this.owners.length; count > 0; count--) {
			const earliest = this.next();
			if (earliest > now) return;
			const slot = this.deadlines.indexOf(earliest);
			this.stop(slot);
			this.owners[slot]?.timerExpired(slot, earliest);
		}
	}
}
