/** Ticks that come late are made up for, for a guest that counts them as Linux does; others get their timers when they ask for them. */
import { describe, expect, it } from "vitest";
import { VcpuOp } from "../../src/xen/abi/vcpu.ts";
import { ARGS, Call, createMachine, type Guest } from "./guest-machine.ts";

const MILLISECOND = 1e6;

function start(): { guest: Guest; ask(deadline: number): number; now(): number; pass(nanoseconds: number): void } {
	const guest = createMachine().addGuest();
	const { clock, timers } = guest.hypervisor;
	guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0);
	return {
		guest,
		/** @returns when the timer fires */
		ask(deadline) {
			guest.put(ARGS, [0, 8, deadline], [8, 4, 1]);
			expect(guest.call(Call.vcpu, VcpuOp.setSingleshotTimer, 0, ARGS)).toBe(0);
			return timers.next();
		},
		now: () => clock.now(),
		/** The timer may have been due for long when it fires. */
		pass(nanoseconds) {
			clock.skipTo(clock.now() + nanoseconds);
			timers.expire(clock.now());
		},
	};
}

describe("ticks", () => {
	it.each([1e6, 3_333_333, 4e6, 1e7])("of %i ns are as many as there are periods in the time that passes", (period) => {
		const { ask, now, pass } = start();
		const handler = 20_000;
		const first = ask(now() + period);
		let ticks = 0;
		for (let due = first; ticks < 1000; ticks++) {
			// Some are late by many periods, others a little; and then none.
			const late = ticks > 100 ? 0 : ticks % 50 === 49 ? 40 : ticks % 7;
			pass(Math.max(due - now(), 0) + late * MILLISECOND);
			pass(handler);
			due = ask(now() + period);
			expect(due).toBe(first + (ticks + 1) * period);
		}
		expect(ticks).toBe(Math.floor((now() - first) / period) + 1);
	});

	it("are nothing that a tickless kernel asks for: its timers are never early again", () => {
		const { ask, now, pass } = start();
		const due = ask(now() + 4 * MILLISECOND);
		pass(due - now() + 2 * MILLISECOND);
		expect(ask(now() + 4 * MILLISECOND)).toBe(due + 4 * MILLISECOND);
		ask(now() + 50 * MILLISECOND);
		pass(60 * MILLISECOND);
		const wanted = now() + 4 * MILLISECOND;
		expect(ask(wanted)).toBe(wanted);
	});

	it("leave other waits alone, and those after a pause", () => {
		const { ask, now, pass } = start();
		// No tick's period has been seen yet.
		pass(ask(now() + 2_500_000) - now() + MILLISECOND);
		let wanted = now() + 2_500_000;
		expect(ask(wanted)).toBe(wanted);
		const due = ask(now() + 4 * MILLISECOND);
		pass(due - now() + 11e9);
		wanted = now() + 4 * MILLISECOND;
		expect(ask(wanted)).toBe(wanted);
	});
});
