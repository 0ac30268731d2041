import { describe, expect, it } from "vitest";
import { Exit } from "../../src/cpu/processor.ts";
import { Errno } from "../../src/xen/abi/errno.ts";
import { Virq } from "../../src/xen/abi/event-channel.ts";
import { SchedOp } from "../../src/xen/abi/sched.ts";
import { VcpuOp } from "../../src/xen/abi/vcpu.ts";
import { ARGS, Call, createMachine, type Guest, HOLE, page, type TestMachine } from "./guest-machine.ts";

/** Executes up to `fuel`, and then what the test says about it. */
function script(machine: TestMachine, guest: Guest, act: (vcpu: number, fuel: number, now: number) => number): void {
	const bySlot = new Map(guest.domain.vcpus.map((vcpu) => [vcpu.slot, vcpu.id]));
	machine.processor.onRun = (fuel, slot) => {
		const executed = Math.min(fuel, act(bySlot.get(slot) ?? -1, fuel, guest.hypervisor.clock.now()));
		machine.processor.executed += executed;
		return Exit.fuel;
	};
}

function sched(guest: Guest, vcpu: number, command: number, ...words: number[]): number {
	words.forEach((word, index) => {
		guest.put(ARGS, [index * 4, 4, word]);
	});
	return guest.callAs(guest.vcpu(vcpu), Call.sched, command, ARGS);
}

function poll(guest: Guest, vcpu: number, ports: number[], timeout: number): number {
	ports.forEach((port, index) => {
		guest.put(page(1), [index * 4, 4, port]);
	});
	guest.put(ARGS, [0, 8, page(1)], [8, 4, ports.length], [16, 8, timeout]);
	return guest.callAs(guest.vcpu(vcpu), Call.sched, SchedOp.poll, ARGS);
}

describe("sched_op", () => {
	it("blocks unless an event waits, and unmasks", () => {
		const guest = createMachine().addGuest();
		const info = guest.vcpu().vcpuInfo;
		guest.memory.setU8(info + 1, 1);
		guest.memory.setU8(info, 1);
		expect(sched(guest, 0, SchedOp.block)).toBe(0);
		expect([guest.vcpu().blocked, guest.memory.u8(info + 1)]).toEqual([false, 0]);
		guest.memory.setU8(info, 0);
		expect(sched(guest, 0, SchedOp.block)).toBe(0);
		expect([guest.vcpu().blocked, guest.vcpu().reschedule]).toEqual([true, true]);
		guest.domain.events.send(guest.domain.events.bindIpi(0));
		expect(guest.vcpu().blocked).toBe(false);
	});

	it("shuts down for a byte of reason, and what was announced wins", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		expect(guest.call(Call.sched, SchedOp.shutdown, HOLE)).toBe(-Errno.EFAULT);
		const announcing = machine.addGuest();
		expect(sched(announcing, 0, SchedOp.shutdownCode, 0x109)).toBe(0);
		expect(sched(announcing, 0, SchedOp.shutdown, 0)).toBe(0);
		expect(announcing.domain.shutdown).toBe(9);
		expect(guest.domain.shutdown).toBeUndefined();
		let told = -1;
		guest.domain.onShutdown = (reason) => {
			told = reason;
		};
		expect(sched(guest, 0, SchedOp.shutdown, 1)).toBe(0);
		expect([guest.domain.shutdown, told]).toEqual([1, 1]);
		const other = machine.addGuest();
		expect(other.call(Call.schedCompat, 2, 0)).toBe(0);
		expect(other.domain.shutdown).toBe(0);
	});

	it("refuses what is not a domU's", () => {
		const guest = createMachine().addGuest();
		expect(sched(guest, 0, SchedOp.remoteShutdown, 77, 0)).toBe(-Errno.ESRCH);
		expect(sched(guest, 0, SchedOp.remoteShutdown, guest.domain.id, 0)).toBe(-Errno.EPERM);
		expect(sched(guest, 0, SchedOp.pinOverride, 0)).toBe(-Errno.EPERM);
		expect(sched(guest, 0, 17)).toBe(-Errno.ENOSYS);
		expect(guest.call(Call.schedCompat, 3, 0)).toBe(-Errno.ENOSYS);
	});

	it("polls: for pending ports not at all, for others until an event or the timeout", () => {
		const guest = createMachine().addGuest(2);
		const { events, hypervisor } = guest.domain;
		const { clock, timers, scheduler } = hypervisor;
		guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0);
		scheduler.bringUp(guest.vcpu(1));
		guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 1, 0);
		const [first, second] = [events.bindIpi(0), events.bindIpi(1)];
		const mask = (port: number): void =>
			guest.memory.setU8(
				guest.domain.sharedInfo + 0xa00,
				guest.memory.u8(guest.domain.sharedInfo + 0xa00) | (1 << port),
			);
		mask(first);
		mask(second);
		expect(poll(guest, 0, new Array(129).fill(first), 0)).toBe(-Errno.EINVAL);
		expect(poll(guest, 0, [first, 2000], 0)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [0, 8, HOLE], [8, 4, 1], [16, 8, 0]);
		expect(guest.call(Call.sched, SchedOp.poll, ARGS)).toBe(-Errno.EFAULT);
		expect(guest.vcpu().blocked).toBe(false);
		// Masked events end a poll all the same.
		expect(poll(guest, 0, [first], 0)).toBe(0);
		expect([guest.vcpu().blocked, events.pollers]).toEqual([true, 1]);
		events.send(second);
		expect(guest.vcpu().blocked).toBe(true);
		events.send(first);
		expect([guest.vcpu().blocked, events.pollers]).toEqual([false, 0]);
		expect(poll(guest, 0, [first], 0)).toBe(0);
		expect(guest.vcpu().blocked).toBe(false);
		// The timeout is a time of system time.
		const third = events.bindIpi(0);
		mask(third);
		expect(poll(guest, 0, [third], 7000)).toBe(0);
		expect([guest.vcpu().blocked, timers.next()]).toEqual([true, 7000]);
		clock.skipTo(7000);
		timers.expire(clock.now());
		expect([guest.vcpu().blocked, events.pollers]).toEqual([false, 0]);
	});

	it("has two watchdogs", () => {
		const guest = createMachine().addGuest();
		const { clock, timers } = guest.hypervisor;
		expect(sched(guest, 0, SchedOp.watchdog, 1, 5)).toBe(-Errno.EINVAL);
		expect(sched(guest, 0, SchedOp.watchdog, 0, 5)).toBe(1);
		expect(sched(guest, 0, SchedOp.watchdog, 0, 9)).toBe(2);
		expect(sched(guest, 0, SchedOp.watchdog, 0, 5)).toBe(2 ** 32 - Errno.ENOSPC);
		expect(sched(guest, 0, SchedOp.watchdog, 3, 5)).toBe(-Errno.EINVAL);
		expect(sched(guest, 0, SchedOp.watchdog, 1, 20)).toBe(0);
		expect(sched(guest, 0, SchedOp.watchdog, 2, 0)).toBe(0);
		clock.skipTo(19e9);
		timers.expire(clock.now());
		expect(guest.domain.shutdown).toBeUndefined();
		clock.skipTo(20e9);
		timers.expire(clock.now());
		expect(guest.domain.shutdown).toBe(4);
	});

	it("has watchdogs that bark at once", () => {
		const guest = createMachine().addGuest();
		const { clock, timers } = guest.hypervisor;
		expect(sched(guest, 0, SchedOp.watchdog, 0, 0)).toBe(1);
		timers.expire(clock.now());
		expect(guest.domain.shutdown).toBe(4);
	});
});

describe("vcpu_op", () => {
	it("brings up only what is initialised, and powers off with the last", () => {
		const guest = createMachine().addGuest(2);
		const vcpu = guest.vcpu(1);
		expect(guest.call(Call.vcpu, VcpuOp.isUp, 1, 0)).toBe(0);
		vcpu.initialised = false;
		expect(guest.call(Call.vcpu, VcpuOp.up, 1, 0)).toBe(-Errno.EINVAL);
		vcpu.initialised = true;
		expect(guest.call(Call.vcpu, VcpuOp.up, 1, 0)).toBe(0);
		expect(guest.call(Call.vcpu, VcpuOp.isUp, 1, 0)).toBe(1);
		expect(guest.call(Call.vcpu, VcpuOp.down, 1, 0)).toBe(0);
		expect(guest.call(Call.vcpu, VcpuOp.isUp, 1, 0)).toBe(0);
		expect(guest.call(Call.vcpu, VcpuOp.getPhysid, 0, ARGS)).toBe(-Errno.EINVAL);
		expect(guest.call(Call.vcpu, 77, 0, ARGS)).toBe(-Errno.ENOSYS);
		expect(guest.call(Call.vcpu, VcpuOp.isUp, 2, 0)).toBe(-Errno.ENOENT);
		expect(guest.call(Call.vcpu, VcpuOp.sendNmi, 0, 1)).toBe(-Errno.EINVAL);
		expect(guest.call(Call.vcpu, VcpuOp.sendNmi, 0, 0)).toBe(0);
		expect(guest.vcpu().nmiPending).toBe(true);
		expect(guest.call(Call.vcpu, VcpuOp.down, 0, 0)).toBe(0);
		expect(guest.domain.shutdown).toBe(0);
	});

	it("initialises a vCPU from a context, with the checks that matter", () => {
		const guest = createMachine().addGuest(2);
		const vcpu = guest.vcpu(1);
		const { frames } = guest.hypervisor;
		vcpu.initialised = false;
		vcpu.kernelRoot = 0;
		const context = page(6);
		const offsets = { flags: 512, regs: 520, ldtBase: 4816, gdtEnts: 4960, kernelSp: 4976, cr3: 5008, eventEip: 5112 };
		const rip = offsets.regs + 15 * 8 + 8;
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, HOLE)).toBe(-Errno.EFAULT);
		const trap14 = 720 + 14 * 16;
		guest.put(context, [trap14, 1, 14], [trap14 + 1, 1, 4], [trap14 + 2, 2, 0x10], [trap14 + 8, 8, -(2 ** 31) + 64]);
		guest.put(context, [offsets.flags, 8, 4], [rip, 8, 0x1234_5678], [offsets.regs + 5 * 8, 8, 77]);
		// The context is 5168 bytes: what is beyond the first page is in the next.
		const far = (offset: number, value: number): void => guest.put(page(7), [offset - 4096, 8, value]);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(-Errno.EINVAL);
		far(offsets.cr3, (guest.mfns[2] as number) * 4096);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(-Errno.EINVAL);
		far(offsets.cr3, guest.l4 * 4096);
		far(offsets.eventEip, 2 ** 47);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(-Errno.EINVAL);
		far(offsets.eventEip, -4096);
		far(offsets.gdtEnts, 7169);
		const references = frames.references(guest.l4);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(-Errno.EINVAL);
		expect(frames.references(guest.l4)).toBe(references);
		far(offsets.gdtEnts, 0);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(0);
		expect([vcpu.kernelRoot, vcpu.registers.rip, vcpu.registers.get(3), vcpu.online]).toEqual([
			guest.l4,
			0x1234_5678,
			77,
			false,
		]);
		expect(vcpu.eventCallback?.address).toBe(-4096);
		expect(vcpu.traps[14]).toMatchObject({ flags: 4, selector: 0xe033, address: -(2 ** 31) + 64 });
		expect(vcpu.registers.selector(1)).toBe(0xe033);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(-Errno.EEXIST);
		expect(guest.call(Call.vcpu, VcpuOp.up, 1, 0)).toBe(0);
	});

	it("initialises a vCPU in compatibility mode with EIP and ESP", () => {
		const guest = createMachine().addGuest(2);
		const { registers } = guest.vcpu(1);
		guest.vcpu(1).initialised = false;
		guest.vcpu(1).kernelRoot = 0;
		const context = page(6);
		const userRegs = 520;
		guest.put(context, [512, 8, 4], [userRegs + 16 * 8, 8, 0x7f00_1234_5678], [userRegs + 17 * 8, 8, 0xe023]);
		guest.put(context, [userRegs + 19 * 8, 8, 2 ** 45 + 64], [userRegs + 20 * 8, 8, 0xe02b]);
		guest.put(page(7), [5008 - 4096, 8, guest.l4 * 4096]);
		expect(guest.call(Call.vcpu, VcpuOp.initialise, 1, context)).toBe(0);
		expect([registers.longMode, registers.rip, registers.get(4)]).toEqual([false, 0x1234_5678, 64]);
	});
});

describe("scheduler", () => {
	it("gives the host its turn at once where the only guest yields until an operation of the host's has ended", async () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const { loop, scheduler } = guest.hypervisor;
		let yields = 0;
		let ended = false;
		script(machine, guest, () => {
			if (ended) guest.domain.shutDown(0);
			else sched(guest, 0, SchedOp.yield, 0);
			yields++;
			return 100;
		});
		scheduler.bringUp(guest.vcpu());
		loop.beginHostOperation();
		setImmediate(() => {
			ended = true;
			loop.endHostOperation();
		});
		await loop.run();
		// One before the host's turn, a second where the turn ends as it comes, and the last.
		expect(yields).toBeLessThanOrEqual(3);
	});

	it("stops slices exactly at deadlines and skips idle time, the same every time", async () => {
		const boot = async (): Promise<string[]> => {
			const machine = createMachine();
			const guest = machine.addGuest();
			const log: string[] = [];
			guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0);
			guest.domain.events.bindVirq(Virq.timer, 0);
			const info = guest.vcpu().vcpuInfo;
			guest.memory.setU8(info + 1, 1);
			guest.call(Call.setTimer, 1_000);
			let wakes = 0;
			script(machine, guest, (_vcpu, fuel, now) => {
				log.push(`${now} fuel ${fuel} pending ${guest.memory.u8(info)}`);
				if (guest.memory.u8(info) === 0) return fuel;
				guest.memory.setU8(info, 0);
				guest.memory.fill(guest.domain.sharedInfo + 0x800, 64, 0);
				guest.memory.fill(info + 8, 8, 0);
				if (++wakes === 3) {
					sched(guest, 0, SchedOp.shutdown, 0);
					return 1;
				}
				guest.call(Call.setTimer, now + 5_000_000);
				sched(guest, 0, SchedOp.block);
				guest.memory.setU8(info + 1, 1);
				return 250;
			});
			await guest.hypervisor.loop.run();
			log.push(`${machine.processor.executed} ${guest.hypervisor.clock.now()}`);
			return log;
		};
		const first = await boot();
		expect(first[0]).toBe("0 fuel 1000 pending 0");
		expect(first[1]).toMatch(/^1000 fuel \d+ pending 1$/);
		expect(first[2]).toMatch(/^5001000 fuel \d+ pending 1$/);
		expect(first.at(-1)).toBe("1501 10001001");
		expect(await boot()).toEqual(first);
	});

	it("gives every vCPU its turn though each spins", async () => {
		const machine = createMachine({ scheduler: { quantum: 1000, slice: 50_000 } });
		const guest = machine.addGuest(3);
		for (const vcpu of guest.domain.vcpus.slice(1)) guest.hypervisor.scheduler.bringUp(vcpu);
		for (let vcpu = 0; vcpu < 3; vcpu++) guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, vcpu, 0);
		const had = [0, 0, 0];
		script(machine, guest, (vcpu, fuel) => {
			had[vcpu] = (had[vcpu] as number) + fuel;
			if (machine.processor.executed > 90_000) guest.hypervisor.loop.stop();
			return fuel;
		});
		await guest.hypervisor.loop.run();
		expect(Math.max(...had) - Math.min(...had)).toBeLessThanOrEqual(1000);
		const runnable = guest.domain.vcpus.map((vcpu) => vcpu.runstate.times[1] as number);
		for (const time of runnable) expect(time).toBeGreaterThan(50_000);
	});

	it("lets a spinning vCPU give its turn away", async () => {
		const machine = createMachine({ scheduler: { quantum: 10_000 } });
		const guest = machine.addGuest(2);
		guest.hypervisor.scheduler.bringUp(guest.vcpu(1));
		const order: number[] = [];
		script(machine, guest, (vcpu) => {
			order.push(vcpu);
			if (order.length === 6) guest.hypervisor.loop.stop();
			sched(guest, vcpu, SchedOp.yield);
			return 5;
		});
		await guest.hypervisor.loop.run();
		expect(order).toEqual([0, 1, 0, 1, 0, 1]);
	});

	it("waits for the host where nothing else can happen, and for its operations", async () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		guest.call(Call.vcpu, VcpuOp.stopPeriodicTimer, 0, 0);
		const port = guest.domain.events.allocateUnbound(guest.domain.id);
		const other = guest.domain.events.bindInterdomain(guest.domain.id, port);
		const info = guest.vcpu().vcpuInfo;
		guest.memory.setU8(info, 0);
		guest.memory.setU8(info + 1, 1);
		guest.memory.fill(info + 8, 8, 0);
		let runs = 0;
		const { loop, clock } = guest.hypervisor;
		guest.call(Call.setTimer, 1e12);
		loop.beginHostOperation();
		script(machine, guest, () => {
			runs++;
			if (runs === 1) {
				sched(guest, 0, SchedOp.block);
				guest.memory.setU8(info + 1, 1);
				setTimeout(() => {
					guest.domain.events.send(other);
					loop.endHostOperation();
				}, 5);
			} else {
				sched(guest, 0, SchedOp.shutdown, 0);
			}
			return 1;
		});
		await loop.run();
		expect(runs).toBe(2);
		expect(clock.now()).toBeLessThan(1e12);
	});

	it("ends a domain for an error of its own, not the host", async () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const other = machine.addGuest();
		const slot = guest.vcpu().slot;
		machine.processor.onRun = (_fuel, running) => {
			if (running === slot) throw new Error("impossible");
			other.domain.shutDown(0);
			machine.processor.executed++;
			return Exit.fuel;
		};
		await guest.hypervisor.loop.run();
		expect([guest.domain.shutdown, other.domain.shutdown]).toEqual([3, 0]);
		expect(guest.domain.crashReason).toContain("impossible");
	});

	it("forgets a domain that is taken away, timers and context with it", async () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const { loop, scheduler, timers, domains } = guest.hypervisor;
		script(machine, guest, () => {
			loop.stop();
			return 10;
		});
		await loop.run();
		expect(scheduler.current).toBe(guest.vcpu());
		expect(timers.next()).toBeLessThan(Number.POSITIVE_INFINITY);
		scheduler.remove(guest.domain);
		domains.delete(guest.domain.id);
		expect([scheduler.current, timers.next()]).toEqual([undefined, Number.POSITIVE_INFINITY]);
		expect(machine.processor.slot).not.toBe(guest.vcpu().slot);
	});
});
