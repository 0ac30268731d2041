/** A one-shot timer of system time for a service, so that what it does in time repeats with the deterministic clock. */

import type { MachineServices } from "../machine/services.ts";
import type { TimerOwner } from "../machine/timers.ts";

export class ServiceTimer implements TimerOwner {
	private slot: number | undefined;
	private callback: (() => void) | undefined;

	constructor(private readonly machine: MachineServices) {
		this.slot = machine.timers.claim(this);
	}

	/** Calls `callback`, which must not throw, once at `deadline` (nanoseconds of system time); replaces what was set before. */
	set(deadline: number, callback: () => void): void {
		if (this.slot === undefined) return;
		const { loop, timers } = this.machine;
		this.callback = callback;
		timers.set(this.slot, deadline);
		loop.timerArmed(deadline);
	}

	stop(): void {
		this.callback = undefined;
		if (this.slot !== undefined) this.machine.timers.stop(this.slot);
	}

	/** Gives it back; it is never called again. */
	release(): void {
		if (this.slot !== undefined) this.machine.timers.release(this.slot);
		this.slot = undefined;
		this.callback = undefined;
	}

	timerExpired(): void {
		const { callback } = this;
		this.callback = undefined;
		callback?.();
	}
}
