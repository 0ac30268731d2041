import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { EventWord, EventChannelOp as Op } from "../../../src/xen/abi/event-channel.ts";
import { ARGS, createMachine, type Guest, page } from "../guest-machine.ts";

const CONTROL = page(4);
const WORDS = page(5);

function initControl(guest: Guest, vcpu: number, index: number, offset: number): number {
	guest.put(ARGS, [0, 8, guest.mfns[index] as number], [8, 4, offset], [12, 4, vcpu], [16, 1, 0]);
	return guest.call(32, Op.initControl, ARGS);
}
function expand(guest: Guest, index: number): number {
	guest.put(ARGS, [0, 8, guest.mfns[index] as number]);
	return guest.call(32, Op.expandArray, ARGS);
}
function word(guest: Guest, port: number): number {
	return guest.memory.u32(guest.at(WORDS) + port * 4);
}
function setWord(guest: Guest, port: number, value: number): void {
	guest.memory.setU32(guest.at(WORDS) + port * 4, value);
}
function fifoGuest(vcpus = 1): Guest {
	const guest = createMachine().addGuest(vcpus);
	for (let vcpu = 0; vcpu < vcpus; vcpu++) expect(initControl(guest, vcpu, 4, vcpu * 128)).toBe(0);
	expect(expand(guest, 5)).toBe(0);
	return guest;
}

/** What a guest's upcall does (consume_one_event of the ABI's description): the ports in order, each cleared and unlinked. */
function consume(guest: Guest, vcpu: number): number[] {
	const { memory } = guest;
	const control = guest.at(CONTROL) + vcpu * 128;
	const ports: number[] = [];
	memory.setU8(guest.vcpu(vcpu).vcpuInfo, 0);
	const ready = memory.u32(control);
	memory.setU32(control, 0);
	for (let priority = 0; priority < 16; priority++) {
		if (((ready >> priority) & 1) === 0) continue;
		let port = memory.u32(control + 8 + priority * 4);
		while (port !== 0 && ports.length < 1000) {
			const value = word(guest, port);
			setWord(guest, port, value & ~(EventWord.linked | EventWord.linkMask | EventWord.pending));
			if ((value & EventWord.pending) !== 0 && (value & EventWord.masked) === 0) ports.push(port);
			port = value & EventWord.linkMask;
		}
		memory.setU32(control + 8 + priority * 4, 0);
	}
	return ports;
}

describe("event channels, FIFO", () => {
	it("takes control blocks and event words from the guest's frames alone", () => {
		const machine = createMachine();
		const guest = machine.addGuest(2);
		const other = machine.addGuest();
		expect(initControl(guest, 2, 4, 0)).toBe(-Errno.ENOENT);
		expect(initControl(guest, 0, 4, 4)).toBe(-Errno.EINVAL);
		expect(initControl(guest, 0, 4, 4096 - 64)).toBe(-Errno.EINVAL);
		for (const mfn of [guest.l1, other.mfns[0] as number, 5000, 2 ** 41]) {
			guest.put(ARGS, [0, 8, mfn], [8, 4, 0], [12, 4, 0]);
			expect(guest.call(32, Op.initControl, ARGS)).toBe(-Errno.EINVAL);
		}
		expect(guest.call(32, Op.expandArray, ARGS)).toBe(-Errno.EOPNOTSUPP);
		expect(initControl(guest, 0, 4, 0)).toBe(0);
		expect(guest.memory.u8(guest.at(ARGS) + 16)).toBe(17);
		expect(initControl(guest, 0, 4, 0)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [0, 8, guest.l4]);
		expect(guest.call(32, Op.expandArray, ARGS)).toBe(-Errno.EINVAL);
		// 128 pages are all of the 2^17 words; the guest may give one frame more than once.
		for (let index = 0; index < 128; index++) expect(expand(guest, 5)).toBe(0);
		expect(expand(guest, 5)).toBe(-Errno.ENOSPC);
	});

	it("links events in order, and by priority", () => {
		const guest = fifoGuest();
		const { events } = guest.domain;
		const ports = [0, 1, 2, 3].map(() => events.bindIpi(0));
		expect(guest.event(Op.setPriority, ports[3] as number, 2)).toBe(0);
		expect(guest.event(Op.setPriority, ports[3] as number, 16)).toBe(-Errno.EINVAL);
		for (const port of ports) expect(guest.event(Op.send, port)).toBe(0);
		guest.event(Op.send, ports[0] as number);
		expect(guest.memory.u8(guest.vcpu().vcpuInfo)).toBe(1);
		expect(guest.memory.u32(guest.at(CONTROL))).toBe((1 << 7) | (1 << 2));
		expect(consume(guest, 0)).toEqual([ports[3], ports[0], ports[1], ports[2]]);
		// The tail of an emptied queue must not link to the next event.
		guest.event(Op.send, ports[2] as number);
		expect(consume(guest, 0)).toEqual([ports[2]]);
	});

	it("keeps masked events pending until they are unmasked", () => {
		const guest = fifoGuest();
		const port = guest.domain.events.bindIpi(0);
		setWord(guest, port, EventWord.masked);
		guest.event(Op.send, port);
		expect(word(guest, port) >>> 0).toBe((EventWord.pending + EventWord.masked) >>> 0);
		expect(consume(guest, 0)).toEqual([]);
		expect(guest.event(Op.unmask, port)).toBe(0);
		expect(consume(guest, 0)).toEqual([port]);
	});

	it("brings pending events of the 2-level ABI along, and goes back on reset", () => {
		const guest = createMachine().addGuest();
		const port = guest.domain.events.bindIpi(0);
		guest.event(Op.send, port);
		guest.memory.setU8(guest.vcpu().vcpuInfo, 0);
		expect(initControl(guest, 0, 4, 0)).toBe(0);
		guest.event(Op.send, port);
		expect(guest.memory.u8(guest.vcpu().vcpuInfo)).toBe(0);
		expect(expand(guest, 5)).toBe(0);
		expect(consume(guest, 0)).toEqual([port]);
		const references = guest.hypervisor.frames.references(guest.mfns[5] as number);
		guest.put(ARGS, [0, 2, 0x7ff0]);
		expect(guest.call(32, Op.reset, ARGS)).toBe(0);
		expect(guest.hypervisor.frames.references(guest.mfns[5] as number)).toBe(references - 1);
		const again = guest.domain.events.bindIpi(0);
		expect(guest.event(Op.setPriority, again, 1)).toBe(-Errno.ENOSYS);
	});

	it("moves events between vCPUs without losing any", () => {
		const guest = fifoGuest(2);
		const { events } = guest.domain;
		const port = events.allocateUnbound(guest.domain.id);
		const other = events.bindInterdomain(guest.domain.id, port);
		consume(guest, 0);
		expect(guest.event(Op.send, other)).toBe(0);
		expect(guest.event(Op.bindVcpu, port, 1)).toBe(0);
		expect(consume(guest, 0)).toEqual([port]);
		expect(guest.event(Op.send, other)).toBe(0);
		expect(consume(guest, 0)).toEqual([]);
		expect(consume(guest, 1)).toEqual([port]);
	});

	it("survives whatever a guest writes into its words and its control block", () => {
		const machine = createMachine({ frames: 2048 });
		const step = fc.record({
			port: fc.integer({ min: 1, max: 8 }),
			word: fc.option(fc.integer({ min: 0, max: 0xffff_ffff }), { freq: 2 }),
			control: fc.option(fc.tuple(fc.integer({ min: 0, max: 17 }), fc.integer({ min: 0, max: 0xffff_ffff })), {
				freq: 4,
			}),
			operation: fc.constantFrom(Op.send, Op.unmask, Op.setPriority, Op.bindVcpu, Op.close, Op.bindIpi),
		});
		fc.assert(
			fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
				const guest = machine.addGuest(2);
				for (let vcpu = 0; vcpu < 2; vcpu++) initControl(guest, vcpu, 4, vcpu * 128);
				expand(guest, 5);
				// The pages around must stay as they are.
				guest.memory.fill(guest.at(page(3)), 4096, 0xa5);
				guest.memory.fill(guest.at(page(6)), 4096, 0x5a);
				for (let port = 1; port <= 8; port++) guest.domain.events.bindIpi(port & 1);
				for (const { port, word: value, control, operation } of steps) {
					if (value !== null) setWord(guest, port, value);
					if (control !== null) guest.memory.setU32(guest.at(CONTROL) + control[0] * 4, control[1]);
					const result = guest.event(operation, operation === Op.bindIpi ? port & 1 : port, 3);
					expect(result <= 0 && result > -1000).toBe(true);
				}
				expect(
					guest.memory.bytes.subarray(guest.at(page(3)), guest.at(page(3)) + 4096).every((byte) => byte === 0xa5),
				).toBe(true);
				expect(
					guest.memory.bytes.subarray(guest.at(page(6)), guest.at(page(6)) + 4096).every((byte) => byte === 0x5a),
				).toBe(true);
			}),
			{ numRuns: 50 },
		);
	});

	it("loses nothing of a guest that keeps to the rules", () => {
		const machine = createMachine({ frames: 2048 });
		const step = fc.record({
			kind: fc.constantFrom("send" as const, "send" as const, "mask" as const, "unmask" as const, "consume" as const),
			port: fc.integer({ min: 1, max: 6 }),
			priority: fc.integer({ min: 0, max: 15 }),
		});
		fc.assert(
			fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
				const guest = machine.addGuest(2);
				for (let vcpu = 0; vcpu < 2; vcpu++) initControl(guest, vcpu, 4, vcpu * 128);
				expand(guest, 5);
				for (let port = 1; port <= 6; port++) guest.domain.events.bindIpi(port & 1);
				const waiting = new Set<number>();
				const masked = new Set<number>();
				for (const { kind, port, priority } of steps) {
					if (kind === "send") {
						guest.event(Op.setPriority, port, priority);
						guest.event(Op.send, port);
						waiting.add(port);
					} else if (kind === "mask") {
						setWord(guest, port, word(guest, port) | EventWord.masked);
						masked.add(port);
					} else if (kind === "unmask") {
						guest.event(Op.unmask, port);
						masked.delete(port);
					} else {
						for (const vcpu of [0, 1]) {
							const taken = consumeUnmasked(guest, vcpu);
							const expected = [...waiting].filter((each) => (each & 1) === vcpu && !masked.has(each));
							expect([...taken].sort()).toEqual(expected.sort());
							for (const each of taken) waiting.delete(each);
						}
					}
				}
			}),
			{ numRuns: 50 },
		);
	});
});

/** A guest's upcall that leaves masked events pending, as Linux's does. */
function consumeUnmasked(guest: Guest, vcpu: number): number[] {
	const { memory } = guest;
	const control = guest.at(CONTROL) + vcpu * 128;
	const ports: number[] = [];
	memory.setU8(guest.vcpu(vcpu).vcpuInfo, 0);
	const ready = memory.u32(control);
	memory.setU32(control, 0);
	for (let priority = 0; priority < 16; priority++) {
		if (((ready >> priority) & 1) === 0) continue;
		let port = memory.u32(control + 8 + priority * 4);
		while (port !== 0) {
			const value = word(guest, port);
			const taken = (value & EventWord.pending) !== 0 && (value & EventWord.masked) === 0;
			const cleared = EventWord.linked | EventWord.linkMask | (taken ? EventWord.pending : 0);
			setWord(guest, port, value & ~cleared);
			if (taken) ports.push(port);
			port = value & EventWord.linkMask;
		}
	}
	return ports;
}
