import { describe, expect, it } from "vitest";
import { Exit } from "../../src/cpu/processor.ts";
import { Virq } from "../../src/xen/abi/event-channel.ts";
import { SchedOp } from "../../src/xen/abi/sched.ts";
import { sharedInfo, vcpuInfo } from "../../src/xen/abi/shared-info.ts";
import { RunstateName, VcpuOp } from "../../src/xen/abi/vcpu.ts";
import { ARGS, Call, createMachine, type Guest, type TestMachine } from "./guest-machine.ts";

const MILLISECOND = 1_000_000;

interface Load {
	readonly machine: TestMachine;
	readonly guests: readonly Guest[];
	/** Instructions that each has executed. */
	readonly had: number[];
}

/** Guests that compute for ever, until the machine's time is `end`; `act` may do something else in a guest's place. */
async function spin(
	count: number,
	end: number,
	prepare: (guests: readonly Guest[]) => void,
	act: (index: number, fuel: number, guests: readonly Guest[]) => number = (_index, fuel) => fuel,
): Promise<Load> {
	const machine = createMachine({ frames: 2048 });
	const guests = Array.from({ length: count }, () => machine.addGuest());
	for (const guest of guests) guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0);
	prepare(guests);
	const had = guests.map(() => 0);
	const { clock, loop } = machine.hypervisor;
	machine.processor.onRun = (fuel, slot) => {
		const index = guests.findIndex((guest) => guest.vcpu().slot === slot);
		const executed = act(index, fuel, guests);
		machine.processor.executed += executed;
		had[index] = (had[index] as number) + executed;
		if (clock.now() >= end) loop.stop();
		return Exit.fuel;
	};
	await loop.run();
	return { machine, guests, had };
}

describe("shares of the processor", () => {
	it("are by weight", async () => {
		const { had } = await spin(3, 300 * MILLISECOND, (guests) => {
			const { scheduler } = (guests[0] as Guest).hypervisor;
			[128, 256, 512].forEach((weight, index) => {
				scheduler.setParameters((guests[index] as Guest).domain, weight, 0);
			});
		});
		const [low, middle, high] = had as [number, number, number];
		expect(middle / low).toBeCloseTo(2, 1);
		expect(high / middle).toBeCloseTo(2, 1);
	});

	it("end at a cap, though nobody else wants the processor", async () => {
		const { had, machine } = await spin(1, 600 * MILLISECOND, ([guest]) => {
			(guest as Guest).hypervisor.scheduler.setParameters((guest as Guest).domain, 256, 25);
		});
		expect((had[0] as number) / machine.hypervisor.clock.now()).toBeCloseTo(0.25, 1);
		expect(machine.hypervisor.loop.statistics.idleNanoseconds).toBeGreaterThan(400 * MILLISECOND);
	});

	it("leave to others what a capped domain may not use", async () => {
		const { had } = await spin(2, 600 * MILLISECOND, ([capped]) => {
			(capped as Guest).hypervisor.scheduler.setParameters((capped as Guest).domain, 65535, 10);
		});
		const [capped, free] = had as [number, number];
		expect(capped / (capped + free)).toBeCloseTo(0.1, 1);
		expect(capped).toBeGreaterThan(30 * MILLISECOND);
	});

	it("are not saved up by waiting", async () => {
		const { had } = await spin(
			2,
			200 * MILLISECOND,
			([sleeper]) => sleeper?.hypervisor.scheduler.pause(sleeper.domain),
			(index, fuel, [sleeper, other]) => {
				const { scheduler, clock } = (other as Guest).hypervisor;
				if (sleeper?.domain.paused === true && clock.now() >= 100 * MILLISECOND) scheduler.unpause(sleeper.domain);
				return index < 0 ? 0 : fuel;
			},
		);
		// Alone for the first half, and beside the other, with half of the processor, for the second.
		expect((had[0] as number) / (100 * MILLISECOND)).toBeCloseTo(0.5, 1);
	});

	it("end with a pause between two slices, too: a paused domain runs no longer, and uses no time", async () => {
		const { guests } = await spin(1, 10 * MILLISECOND, () => {});
		const guest = guests[0] as Guest;
		const { scheduler } = guest.hypervisor;
		const { runstate } = guest.vcpu();
		expect(runstate.state).toBe(RunstateName.running);
		scheduler.pause(guest.domain);
		expect(runstate.state).toBe(RunstateName.offline);
		scheduler.unpause(guest.domain);
		expect(runstate.state).toBe(RunstateName.runnable);
	});

	it("come in time to one that wakes, whatever the others do", async () => {
		const waits: number[] = [];
		let due = -1;
		await spin(
			4,
			50 * MILLISECOND,
			([sleeper]) => {
				sleeper?.domain.events.bindVirq(Virq.timer, 0);
			},
			(index, fuel, [sleeper]) => {
				if (index !== 0) return fuel;
				const guest = sleeper as Guest;
				const info = guest.vcpu().vcpuInfo;
				const now = guest.hypervisor.clock.now();
				if (due >= 0) waits.push(now - due);
				guest.memory.setU8(info, 0);
				guest.memory.fill(guest.domain.sharedInfo + sharedInfo.offset.evtchnPending, 64, 0);
				guest.memory.fill(info + vcpuInfo.offset.evtchnPendingSel, 8, 0);
				due = now + 2 * MILLISECOND;
				guest.call(Call.setTimer, due);
				guest.callAs(guest.vcpu(), Call.sched, SchedOp.block, ARGS);
				guest.memory.setU8(info + vcpuInfo.offset.evtchnUpcallMask, 1);
				return 10;
			},
		);
		expect(waits.length).toBeGreaterThan(15);
		// A turn is 100 000 instructions: it waits for no more than the one that runs.
		expect(Math.max(...waits)).toBeLessThan(101_000);
	});
});
