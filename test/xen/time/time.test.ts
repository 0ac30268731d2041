import { describe, expect, it } from "vitest";
import { DeterministicClock, RealClock } from "../../../src/machine/clock.ts";
import { NEVER } from "../../../src/machine/time-units.ts";
import { TimerQueue } from "../../../src/machine/timers.ts";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { Virq } from "../../../src/xen/abi/event-channel.ts";
import { sharedInfo, vcpuInfo, vcpuTimeInfo } from "../../../src/xen/abi/shared-info.ts";
import { VcpuOp } from "../../../src/xen/abi/vcpu.ts";
import { tscScale } from "../../../src/xen/time/time.ts";
import { ARGS, Call, createMachine, HOLE, page } from "../guest-machine.ts";

/** pvclock: what a guest computes from its vcpu_time_info. */
function systemTime(tsc: bigint, stamp: bigint, system: bigint, multiplier: bigint, shift: number): bigint {
	const delta = tsc - stamp;
	const scaled = shift >= 0 ? delta << BigInt(shift) : delta >> BigInt(-shift);
	return system + ((scaled * multiplier) >> 32n);
}

describe("clocks", () => {
	it("the deterministic one counts instructions and jumps over idle time", () => {
		const processor = { executed: 0 };
		const clock = new DeterministicClock(processor, { wallClockBase: 5, nanosecondsPerInstruction: 2 });
		processor.executed = 100;
		expect([clock.now(), clock.tsc(), clock.wallClockBase]).toEqual([200, 200, 5]);
		clock.skipTo(1000);
		clock.skipTo(10);
		clock.skipTo(NEVER);
		processor.executed++;
		expect(clock.now()).toBe(1002);
	});

	it("the real one never goes back", () => {
		let time = 10;
		const clock = new RealClock(() => time);
		time = 11.5;
		expect(clock.now()).toBe(1_500_000);
		time = 10.2;
		expect(clock.now()).toBe(1_500_000);
	});

	it("scales a TSC to nanoseconds within a part in 2^31", () => {
		for (const frequency of [1e9, 2_596_132_000, 400_000_000, 3_999_999_999, 1_000_000]) {
			const { multiplier, shift } = tscScale(frequency);
			expect(multiplier).toBeGreaterThanOrEqual(2 ** 31);
			expect(multiplier).toBeLessThan(2 ** 32);
			const second = systemTime(BigInt(frequency), 0n, 0n, BigInt(multiplier), shift);
			expect(Math.abs(Number(second) - 1e9)).toBeLessThanOrEqual(2);
		}
	});
});

describe("timer queue", () => {
	it("fires in order of time, then of slot, each once", () => {
		const queue = new TimerQueue();
		const fired: number[] = [];
		const owner = { timerExpired: (slot: number) => fired.push(slot) };
		const slots = Array.from({ length: 20 }, () => queue.claim(owner));
		expect(queue.next()).toBe(NEVER);
		for (const slot of slots) queue.set(slot, 100 - (slot % 5) * 10);
		expect(queue.next()).toBe(60);
		queue.stop(4);
		queue.set(9, 500);
		queue.expire(59);
		expect(fired).toEqual([]);
		queue.expire(70);
		expect(fired).toEqual([14, 19, 3, 8, 13, 18]);
		queue.release(0);
		expect(queue.claim(owner)).toBe(0);
		expect(queue.next()).toBe(80);
		expect(queue.deadline(9)).toBe(500);
	});

	it("does not loop on a timer that is armed for the past again and again", () => {
		const queue = new TimerQueue();
		let count = 0;
		const slot = queue.claim({
			timerExpired: () => {
				count++;
				queue.set(slot, 1);
			},
		});
		queue.set(slot, 1);
		queue.expire(1000);
		expect(count).toBe(1);
	});
});

describe("time of a guest", () => {
	it("is in vcpu_time_info and the wall clock before it runs", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const info = vcpuTimeInfo.at(guest.memory, guest.vcpu().vcpuInfo + vcpuInfo.offset.time);
		expect(info.version % 2).toBe(0);
		expect(info.version).toBeGreaterThan(0);
		expect(info.flags).toBe(1);
		const { clock } = guest.hypervisor;
		machine.processor.executed = 12_345_678;
		const time = systemTime(
			BigInt(clock.tsc()),
			BigInt(info.tscTimestamp),
			BigInt(info.systemTime),
			BigInt(info.tscToSystemMul),
			(info.tscShift << 24) >> 24,
		);
		expect(Number(time)).toBe(clock.now());
		const shared = sharedInfo.at(guest.memory, guest.domain.sharedInfo);
		expect(shared.wcVersion % 2).toBe(0);
		expect(shared.wcSec).toBe(1_704_067_200);
	});

	it("is copied to an area that the guest registers", () => {
		const guest = createMachine().addGuest();
		guest.put(ARGS, [0, 8, page(2) + 32]);
		expect(guest.call(Call.vcpu, VcpuOp.registerVcpuTimeMemoryArea, 0, ARGS)).toBe(0);
		const own = guest.vcpu().vcpuInfo + vcpuInfo.offset.time;
		for (let offset = 0; offset < 32; offset += 4) {
			expect(guest.memory.u32(guest.at(page(2)) + 32 + offset)).toBe(guest.memory.u32(own + offset));
		}
		guest.put(ARGS, [0, 8, -(2 ** 47)]);
		expect(guest.call(Call.vcpu, VcpuOp.registerVcpuTimeMemoryArea, 0, ARGS)).toBe(-Errno.EFAULT);
	});

	it("raises VIRQ_TIMER at the singleshot deadline", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const { timers, clock } = guest.hypervisor;
		guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0);
		guest.domain.events.bindVirq(Virq.timer, 0);
		const upcall = (): number => guest.memory.u8(guest.vcpu().vcpuInfo);
		expect(guest.call(Call.setTimer, 5000)).toBe(0);
		expect(timers.next()).toBe(5000);
		clock.skipTo(4999);
		timers.expire(clock.now());
		expect(upcall()).toBe(0);
		clock.skipTo(5000);
		timers.expire(clock.now());
		expect([upcall(), timers.next()]).toEqual([1, NEVER]);
		guest.call(Call.setTimer, 9000);
		guest.call(Call.setTimer, 0);
		expect(timers.next()).toBe(NEVER);
		// Wrapped times come in 100 ms, as in Xen.
		guest.call(Call.setTimer, -5);
		expect(timers.next()).toBe(5000 + 100_000_000);
		guest.call(Call.setTimer, 2 ** 51);
		expect(timers.next()).toBe(5000 + 100_000_000);
		guest.call(Call.setTimer, 1);
		expect(timers.next()).toBe(1);
	});

	it("has singleshot and periodic timers by vcpu_op with Xen's checks", () => {
		const machine = createMachine();
		const guest = machine.addGuest(2);
		const { timers, clock } = guest.hypervisor;
		expect(timers.next()).toBe(10_000_000);
		clock.skipTo(1_000_000);
		guest.put(ARGS, [0, 8, 999_999], [8, 4, 1]);
		expect(guest.call(Call.vcpu, VcpuOp.setSingleshotTimer, 1, ARGS)).toBe(-Errno.EINVAL);
		expect(guest.call(Call.vcpu, VcpuOp.setSingleshotTimer, 0, ARGS)).toBe(0);
		expect(timers.next()).toBe(999_999);
		expect(guest.call(Call.vcpu, VcpuOp.stopSingleshotTimer, 0, 0)).toBe(0);
		guest.put(ARGS, [0, 8, 999_999]);
		expect(guest.call(Call.vcpu, VcpuOp.setPeriodicTimer, 0, ARGS)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [0, 8, 2 ** 63]);
		expect(guest.call(Call.vcpu, VcpuOp.setPeriodicTimer, 0, ARGS)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [0, 8, 2_000_000]);
		expect(guest.call(Call.vcpu, VcpuOp.setPeriodicTimer, 0, ARGS)).toBe(0);
		expect(timers.next()).toBe(3_000_000);
		guest.domain.events.bindVirq(Virq.timer, 0);
		clock.skipTo(3_000_000);
		timers.expire(clock.now());
		expect(guest.memory.u8(guest.vcpu().vcpuInfo)).toBe(1);
		expect(timers.next()).toBe(5_000_000);
		expect(guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0)).toBe(0);
		expect(timers.next()).toBe(NEVER);
		expect(guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 2, 0)).toBe(-Errno.ENOENT);
		expect(guest.call(Call.vcpu, VcpuOp.setPeriodicTimer, 0, HOLE)).toBe(-Errno.EFAULT);
	});
});

describe("runstates", () => {
	it("account every nanosecond to one state", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const { clock } = guest.hypervisor;
		const { runstate } = guest.vcpu();
		runstate.change(0, 100);
		runstate.change(2, 250);
		clock.skipTo(1000);
		expect(guest.call(Call.vcpu, VcpuOp.getRunstateInfo, 0, page(1))).toBe(0);
		const at = guest.at(page(1));
		const { memory } = guest;
		expect(memory.u32(at)).toBe(2);
		expect(memory.u64(at + 8)).toBe(250);
		expect([0, 1, 2, 3].map((state) => memory.u64(at + 16 + state * 8))).toEqual([150, 100, 750, 0]);
	});

	it("are written to the area that the guest registers, with the update flag clear in the end", () => {
		const guest = createMachine().addGuest();
		const { memory } = guest;
		guest.domain.vmAssist |= 1 << 5;
		guest.put(page(1), [8, 8, 0]);
		guest.put(ARGS, [0, 8, page(1)]);
		expect(guest.call(Call.vcpu, VcpuOp.registerRunstateMemoryArea, 0, ARGS)).toBe(0);
		expect(memory.u32(guest.at(page(1)))).toBe(guest.vcpu().runstate.state);
		expect(memory.u8(guest.at(page(1)) + 15)).toBe(0);
		guest.put(ARGS, [0, 8, -(2 ** 47) + 4096]);
		expect(guest.call(Call.vcpu, VcpuOp.registerRunstateMemoryArea, 0, ARGS)).toBe(-Errno.EFAULT);
		// An address that is not mapped is taken, and nothing is written.
		guest.put(ARGS, [0, 8, HOLE]);
		expect(guest.call(Call.vcpu, VcpuOp.registerRunstateMemoryArea, 0, ARGS)).toBe(0);
	});
});
