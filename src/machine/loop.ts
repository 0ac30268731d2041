/**
 * The machine's main loop: it gives turns to who runs on it, fires timers, lets time pass when all wait, and gives the host's event loop its turn every few
 * milliseconds, so that terminal input, files and signals reach the guests.
 *
 * The deterministic clock jumps over idle time, so that only executed instructions decide what happens when. What comes from the host (console input, disk
 * completions) comes between slices; for a repeatable run it must be there before, or be announced by {@link MainLoop.beginHostOperation}, which makes
 * an idle machine wait for it.
 */

import type { Clock } from "./clock.ts";
import { NANOSECONDS_PER_MILLISECOND, NEVER } from "./time-units.ts";
import type { TimerQueue } from "./timers.ts";

/** What became of a turn. */
export const Turn = {
	/** Nothing can run now. */
	none: 0,
	/** A slice has been executed. */
	done: 1,
	/** The same, by who asks again and again for what only the host can bring. */
	polled: 2,
} as const;
export type Turn = (typeof Turn)[keyof typeof Turn];

/** Who runs on a machine: a hypervisor's scheduler. */
export interface Runner {
	/** Whether anything may run now or later: the loop ends when nothing may. */
	readonly alive: boolean;
	/** Executes a slice of whose turn it is. */
	turn(): Turn;
	/** Ends the slice that is being executed, if one is, as soon as it can; with a deadline, only where it would run past that. */
	interrupt(deadline?: number): void;
}

export interface LoopOptions {
	/** Milliseconds of host time between two turns of the host's event loop. */
	readonly hostInterval?: number;
	/** Monotonic host time in milliseconds. */
	readonly hostMilliseconds?: () => number;
}

/** Counters for --stats. */
export interface LoopStatistics {
	/** Times that all waited, and nanoseconds of system time that passed meanwhile. */
	idles: number;
	idleNanoseconds: number;
}

const HOST_INTERVAL = 12;
/** setTimeout's limit, and long enough: who waits looks again. */
const LONGEST_WAIT = 3_600_000;

export class MainLoop {
	readonly statistics: LoopStatistics = { idles: 0, idleNanoseconds: 0 };
	readonly hostInterval: number;
	private readonly hostMilliseconds: () => number;
	private hostOperations = 0;
	private stopping = false;
	private running = false;
	private wakeUp: (() => void) | undefined;
	private readonly waitListeners: (() => void)[] = [];
	/** Something happened while the loop was about to wait. */
	private woken = false;

	constructor(
		private readonly clock: Clock,
		private readonly timers: TimerQueue,
		private readonly runner: Runner,
		options: LoopOptions = {},
	) {
		this.hostInterval = options.hostInterval ?? HOST_INTERVAL;
		this.hostMilliseconds = options.hostMilliseconds ?? (() => performance.now());
	}

	/**
	 * Runs until nothing is left that could, or {@link stop}.
	 * Between turns it waits on the host; it returns a promise but never runs twice at once.
	 */
	async run(): Promise<void> {
		if (this.running) throw new Error("the machine's loop is running already");
		this.running = true;
		this.stopping = false;
		try {
			while (!this.stopping && this.runner.alive) {
				const wait = this.turns();
				if (this.stopping) break;
				if (wait <= 0) await yieldToHost();
				else await this.wait(wait);
			}
		} finally {
			this.running = false;
		}
	}

	/** Makes {@link run} return after the current slice. */
	stop(): void {
		this.stopping = true;
		this.runner.interrupt();
		this.wake();
	}

	/** Ends the wait of an idle machine: to be called when the host has changed something that somebody may wait for. */
	wake(): void {
		this.woken = true;
		this.wakeUp?.();
	}

	/** Calls `listener` between slices whenever somebody has begun to wait: what services have gathered for it is due. */
	onWait(listener: () => void): void {
		this.waitListeners.push(listener);
	}

	/** Somebody has begun to wait: the runner says so after a turn. */
	waitBegun(): void {
		for (const listener of this.waitListeners) listener();
	}

	/** An operation of the host (a disk read) has begun whose end somebody may wait for: time must not jump over it. */
	beginHostOperation(): void {
		this.hostOperations++;
	}

	endHostOperation(): void {
		this.hostOperations--;
		this.wake();
	}

	/** A timer was armed: a slice that would run past it ends sooner, and a shorter one follows. */
	timerArmed(deadline: number): void {
		this.runner.interrupt(deadline);
		if (this.wakeUp !== undefined) this.wake();
	}

	/**
	 * Executes slices until the host wants its turn or nothing can run.
	 * @returns milliseconds for which the host may wait: 0 only its turn, NEVER until something wakes us.
	 */
	turns(): number {
		const { clock, runner, timers } = this;
		const hostDeadline = this.hostMilliseconds() + this.hostInterval;
		do {
			this.woken = false;
			const now = clock.now();
			if (timers.next() <= now) timers.expire(now);
			const turn = runner.turn();
			if (turn === Turn.none) {
				if (!runner.alive) return 0;
				const wait = this.idle(now);
				if (wait > 0) return wait;
			} else if (turn === Turn.polled && this.hostOperations > 0) {
				// The end of a host's operation cannot come before the host's turn.
				return 0;
			}
		} while (!this.stopping && this.hostMilliseconds() < hostDeadline);
		return 0;
	}

	/** Nothing can run: lets deterministic time jump. @returns milliseconds to wait, 0 to go on at once. */
	private idle(now: number): number {
		const { clock, timers } = this;
		if (this.stopping || this.woken) return 0;
		const deadline = timers.next();
		this.statistics.idles++;
		if (clock.deterministic) {
			if (deadline === NEVER || this.hostOperations > 0) return NEVER;
			clock.skipTo(deadline);
			this.statistics.idleNanoseconds += Math.max(0, deadline - now);
			return 0;
		}
		return deadline === NEVER ? NEVER : (deadline - now) / NANOSECONDS_PER_MILLISECOND;
	}

	/** Waits until {@link wake}, at most `milliseconds`. */
	private wait(milliseconds: number): Promise<void> {
		const { clock } = this;
		const start = clock.now();
		return new Promise((resolve) => {
			const done = () => {
				clearTimeout(timeout);
				this.wakeUp = undefined;
				this.statistics.idleNanoseconds += clock.now() - start;
				resolve();
			};
			const timeout = setTimeout(done, Math.min(milliseconds, LONGEST_WAIT));
			this.wakeUp = done;
			if (this.woken || this.stopping) done();
		});
	}
}

/** One turn of the host's event loop: setImmediate in Node, a message where there is none. */
function yieldToHost(): Promise<void> {
	return new Promise((resolve) => {
		if (typeof setImmediate === "function") {
			setImmediate(resolve);
			return;
		}
		const { port1, port2 } = new MessageChannel();
		port1.onmessage = () => {
			port1.close();
			resolve();
		};
		port2.postMessage(undefined);
	});
}
