/** What a service beside the guests (a back end, the NAT) needs of the machine that it is on. */
import type { Clock } from "./clock.ts";
import type { MainLoop } from "./loop.ts";
import type { TimerQueue } from "./timers.ts";

export interface MachineServices {
	readonly clock: Clock;
	readonly timers: TimerQueue;
	readonly log: { write(line: string): void };
	readonly loop: Pick<MainLoop, "timerArmed" | "beginHostOperation" | "endHostOperation">;
}
