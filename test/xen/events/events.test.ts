import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { EventChannelOp as Op, PortStatus, Virq } from "../../../src/xen/abi/event-channel.ts";
import { sharedInfo, vcpuInfo } from "../../../src/xen/abi/shared-info.ts";
import { PortState } from "../../../src/xen/events/events.ts";
import { ServiceDomain } from "../../../src/xen/events/service.ts";
import { ARGS, Call, createMachine, type Guest, HOLE, page, TABLE } from "../guest-machine.ts";

const DOMID_SELF = 0x7ff0;

/** Bits of the 2-level ABI. */
function pending(guest: Guest, port: number): boolean {
	return (
		((guest.memory.u8(guest.domain.sharedInfo + sharedInfo.offset.evtchnPending + (port >> 3)) >> (port & 7)) & 1) === 1
	);
}
function setMask(guest: Guest, port: number, masked: boolean): void {
	const at = guest.domain.sharedInfo + sharedInfo.offset.evtchnMask + (port >> 3);
	const bit = 1 << (port & 7);
	guest.memory.setU8(at, masked ? guest.memory.u8(at) | bit : guest.memory.u8(at) & ~bit);
}
function upcall(guest: Guest, vcpu = 0): boolean {
	return guest.memory.u8(guest.vcpu(vcpu).vcpuInfo) !== 0;
}
function clearUpcall(guest: Guest, vcpu = 0): void {
	const info = guest.vcpu(vcpu).vcpuInfo;
	guest.memory.setU8(info, 0);
	guest.memory.fill(info + vcpuInfo.offset.evtchnPendingSel, 8, 0);
}
function clearPending(guest: Guest, port: number): void {
	const at = guest.domain.sharedInfo + sharedInfo.offset.evtchnPending + (port >> 3);
	guest.memory.setU8(at, guest.memory.u8(at) & ~(1 << (port & 7)));
}

describe("event channels, 2-level", () => {
	it("hands out ports from 1 and tells their status", () => {
		const guest = createMachine().addGuest();
		guest.put(ARGS, [0, 2, DOMID_SELF], [2, 2, 7]);
		expect(guest.call(Call.event, Op.allocUnbound, ARGS)).toBe(0);
		expect(guest.word(1)).toBe(1);
		expect(guest.event(Op.bindIpi, 0)).toBe(0);
		expect(guest.word(1)).toBe(2);
		expect(guest.event(Op.bindVirq, Virq.timer, 0)).toBe(0);
		expect(guest.word(2)).toBe(3);
		expect(guest.event(Op.status, DOMID_SELF, 1, 0, 0, 0)).toBe(0);
		expect([guest.word(2), guest.word(4) & 0xffff]).toEqual([PortStatus.unbound, 7]);
		expect(guest.event(Op.status, DOMID_SELF, 3, 0, 0, 0)).toBe(0);
		expect([guest.word(2), guest.word(3), guest.word(4)]).toEqual([PortStatus.virq, 0, Virq.timer]);
		expect(guest.event(Op.status, DOMID_SELF, 60)).toBe(0);
		expect(guest.word(2)).toBe(PortStatus.closed);
		expect(guest.event(Op.status, DOMID_SELF, 64)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.status, 1234, 1)).toBe(-Errno.ESRCH);
	});

	it("refuses what Xen refuses", () => {
		const guest = createMachine().addGuest(2);
		expect(guest.event(Op.bindVirq, 24, 0)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.bindVirq, Virq.console, 1)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.bindVirq, Virq.timer, 2)).toBe(-Errno.ENOENT);
		expect(guest.event(Op.bindVirq, Virq.timer, 1)).toBe(0);
		expect(guest.event(Op.bindVirq, Virq.timer, 1)).toBe(-Errno.EEXIST);
		expect(guest.event(Op.bindIpi, 0xffff_ffff)).toBe(-Errno.ENOENT);
		expect(guest.event(Op.bindPirq, 4, 0)).toBe(-Errno.EPERM);
		expect(guest.event(Op.bindVcpu, 1, 0)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.close, 0)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.close, 0xffff_ffff)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.send, 40)).toBe(-Errno.EINVAL);
		expect(guest.event(Op.setPriority, 1, 3)).toBe(-Errno.ENOSYS);
		expect(guest.event(Op.expandArray, 0, 0)).toBe(-Errno.EOPNOTSUPP);
		expect(guest.event(99)).toBe(-Errno.ENOSYS);
		for (const address of [HOLE, HOLE - 1, -(2 ** 47), 2 ** 50, Number.MAX_SAFE_INTEGER]) {
			for (let command = 0; command < 14; command++) {
				expect(guest.call(Call.event, command, address)).toBe(-Errno.EFAULT);
			}
		}
		// A structure that cannot be written back.
		expect(guest.call(Call.event, Op.bindIpi, TABLE)).toBeLessThan(0);
	});

	it("delivers between two domains, and makes up for what an unbound port lost", () => {
		const machine = createMachine();
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		a.put(ARGS, [0, 2, DOMID_SELF], [2, 2, b.domain.id]);
		a.call(Call.event, Op.allocUnbound, ARGS);
		const portA = a.word(1);
		expect(a.event(Op.send, portA)).toBe(0);
		expect(b.event(Op.bindInterdomain, a.domain.id, portA)).toBe(0);
		const portB = b.word(2);
		expect(pending(b, portB)).toBe(true);
		expect(upcall(b)).toBe(true);
		expect(b.event(Op.send, portB)).toBe(0);
		expect([pending(a, portA), upcall(a)]).toEqual([true, true]);
		// One domain only: the port is taken, and was never for c.
		const c = machine.addGuest();
		expect(c.event(Op.bindInterdomain, a.domain.id, portA)).toBe(-Errno.EINVAL);
		expect(c.event(Op.bindInterdomain, 999, 1)).toBe(-Errno.ESRCH);
		expect(b.event(Op.close, portB)).toBe(0);
		expect(a.domain.events.state[portA]).toBe(PortState.unbound);
		clearPending(a, portA);
		expect(a.event(Op.send, portA)).toBe(0);
	});

	it("masks, unmasks and coalesces", () => {
		const guest = createMachine().addGuest();
		guest.event(Op.bindIpi, 0);
		const port = guest.word(1);
		setMask(guest, port, true);
		guest.event(Op.send, port);
		expect([pending(guest, port), upcall(guest)]).toEqual([true, false]);
		expect(guest.event(Op.unmask, port)).toBe(0);
		expect(upcall(guest)).toBe(true);
		clearUpcall(guest);
		guest.event(Op.send, port);
		expect(upcall(guest)).toBe(false);
		expect(guest.event(Op.unmask, 64)).toBe(-Errno.EINVAL);
	});

	it("notifies the vCPU that a port is bound to, and wakes it", () => {
		const guest = createMachine().addGuest(2);
		const { scheduler } = guest.hypervisor;
		scheduler.bringUp(guest.vcpu(1));
		scheduler.block(guest.vcpu(1));
		guest.event(Op.bindIpi, 1);
		expect(guest.event(Op.send, guest.word(1))).toBe(0);
		expect([upcall(guest, 0), upcall(guest, 1)]).toEqual([false, true]);
		expect(guest.vcpu(1).blocked).toBe(false);
	});

	it("closes all on reset, and frees VIRQs", () => {
		const guest = createMachine().addGuest();
		guest.event(Op.bindVirq, Virq.timer, 0);
		guest.put(ARGS, [0, 2, DOMID_SELF]);
		expect(guest.call(Call.event, Op.reset, ARGS)).toBe(0);
		expect(guest.event(Op.bindVirq, Virq.timer, 0)).toBe(0);
		expect(guest.word(2)).toBe(1);
	});

	it("runs out of ports as Xen does", () => {
		const guest = createMachine().addGuest();
		for (let port = 1; port <= 1023; port++) expect(guest.domain.events.bindIpi(0)).toBe(port);
		expect(guest.domain.events.bindIpi(0)).toBe(-Errno.ENOSPC);
		expect(guest.event(Op.close, 500)).toBe(0);
		expect(guest.domain.events.bindIpi(0)).toBe(500);
	});

	it("takes the structure of the oldest ABI", () => {
		const guest = createMachine().addGuest();
		guest.put(ARGS, [0, 4, Op.bindIpi], [4, 4, 0]);
		expect(guest.call(Call.eventCompat, ARGS)).toBe(0);
		expect(guest.word(2)).toBe(1);
		guest.put(ARGS, [0, 4, Op.reset]);
		expect(guest.call(Call.eventCompat, ARGS)).toBe(-Errno.ENOSYS);
	});

	it("keeps a model: what is bound is what was asked for, and nothing else becomes pending", () => {
		const step = fc.oneof(
			fc.record({ kind: fc.constant("bind" as const), vcpu: fc.integer({ min: 0, max: 2 }) }),
			fc.record({ kind: fc.constant("close" as const), port: fc.integer({ min: 0, max: 20 }) }),
			fc.record({ kind: fc.constant("send" as const), port: fc.integer({ min: 0, max: 20 }) }),
			fc.record({ kind: fc.constant("mask" as const), port: fc.integer({ min: 1, max: 20 }) }),
			fc.record({ kind: fc.constant("unmask" as const), port: fc.integer({ min: 0, max: 20 }) }),
			fc.record({ kind: fc.constant("move" as const), port: fc.integer({ min: 0, max: 20 }) }),
		);
		const machine = createMachine({ frames: 2048 });
		fc.assert(
			fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
				const guest = machine.addGuest(2);
				const bound = new Map<number, number>();
				const isPending = new Set<number>();
				const masked = new Set<number>();
				const shown = [false, false];
				const show = (port: number): void => {
					if (isPending.has(port) && !masked.has(port)) shown[bound.get(port) ?? 0] = true;
				};
				for (const { kind, ...args } of steps) {
					const port = "port" in args ? args.port : 0;
					const exists = bound.has(port);
					switch (kind) {
						case "bind": {
							const vcpu = "vcpu" in args ? args.vcpu : 0;
							let free = 1;
							while (bound.has(free)) free++;
							expect(guest.domain.events.bindIpi(vcpu)).toBe(vcpu < 2 ? free : -Errno.ENOENT);
							if (vcpu < 2) bound.set(free, vcpu);
							break;
						}
						case "close":
							expect(guest.event(Op.close, port)).toBe(exists ? 0 : -Errno.EINVAL);
							bound.delete(port);
							if (exists) isPending.delete(port);
							break;
						case "send":
							expect(guest.event(Op.send, port)).toBe(exists ? 0 : -Errno.EINVAL);
							if (exists && !isPending.has(port)) {
								isPending.add(port);
								show(port);
							}
							break;
						case "mask":
							setMask(guest, port, true);
							masked.add(port);
							break;
						case "unmask":
							expect(guest.event(Op.unmask, port)).toBe(0);
							if (masked.delete(port)) show(port);
							break;
						case "move":
							expect(guest.event(Op.bindVcpu, port, 1)).toBe(-Errno.EINVAL);
							break;
					}
					for (let each = 1; each < 22; each++) expect(pending(guest, each)).toBe(isPending.has(each));
					expect([upcall(guest, 0), upcall(guest, 1)]).toEqual(shown);
				}
			}),
			{ numRuns: 50 },
		);
	});
});

describe("services", () => {
	it("get a guest's events by callback, and notify it", () => {
		const machine = createMachine();
		const service = new ServiceDomain(machine.hypervisor);
		const guest = machine.addGuest();
		const port = guest.domain.events.allocateUnbound(0);
		let calls = 0;
		const local = service.bindInterdomain(guest.domain.id, port, () => calls++);
		expect(local).toBeGreaterThan(0);
		expect(calls).toBe(1);
		guest.event(Op.send, port);
		guest.event(Op.send, port);
		expect(calls).toBe(3);
		service.notify(local);
		expect(pending(guest, port)).toBe(true);
		service.unbind(local);
		guest.event(Op.send, port);
		expect(calls).toBe(3);
		expect(guest.event(Op.status, 0, port)).toBe(-Errno.EPERM);
	});

	it("take down the guest that they fail on, not the host", () => {
		const machine = createMachine();
		const service = new ServiceDomain(machine.hypervisor);
		const guest = machine.addGuest();
		const port = guest.domain.events.allocateUnbound(0);
		let fail = false;
		service.bindInterdomain(guest.domain.id, port, () => {
			if (fail) throw new Error("broken service");
		});
		fail = true;
		expect(guest.event(Op.send, port)).toBe(0);
		expect(guest.domain.shutdown).toBe(3);
		expect(guest.domain.crashReason).toContain("broken service");
	});
});

describe("physical addresses of the guest", () => {
	it("takes a vcpu_info of the guest's own, once", () => {
		const guest = createMachine().addGuest();
		const info = guest.at(page(3)) + 64;
		guest.put(ARGS, [0, 8, guest.mfns[3] as number], [8, 4, 4096 - 63], [12, 4, 0]);
		expect(guest.call(Call.vcpu, 10, 0, ARGS)).toBe(-Errno.ENXIO);
		guest.put(ARGS, [8, 4, 64]);
		expect(guest.call(Call.vcpu, 10, 0, ARGS)).toBe(0);
		expect(guest.vcpu().vcpuInfo).toBe(info);
		expect(guest.memory.u8(info)).toBe(1);
		expect(guest.memory.u32(info + 8)).toBe(0xffff_ffff);
		expect(guest.call(Call.vcpu, 10, 0, ARGS)).toBe(-Errno.EINVAL);
	});

	it("refuses one in a page table, in nobody's or in another's frame", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const other = machine.addGuest();
		for (const mfn of [guest.l1, guest.l4, other.mfns[0] as number, 511, 0, 2 ** 40, 2 ** 52]) {
			guest.put(ARGS, [0, 8, mfn], [8, 4, 0], [12, 4, 0]);
			expect(guest.call(Call.vcpu, 10, 0, ARGS)).toBe(-Errno.EINVAL);
		}
	});
});
