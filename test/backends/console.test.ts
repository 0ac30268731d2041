import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attachConsole, ConsoleBackend } from "../../src/backends/console/console.ts";
import { ConsoleRing } from "../../src/backends/console/ring.ts";
import { Memory } from "../../src/memory/memory.ts";
import { xenconsInterface } from "../../src/xen/abi/console.ts";
import { EventChannelOp } from "../../src/xen/abi/event-channel.ts";
import { ServiceDomain } from "../../src/xen/events/service.ts";
import { createMachine, page } from "../xen/guest-machine.ts";

const { offset } = xenconsInterface;
const memory = new Memory(4);
const PAGE = memory.frame(1);
const text = new TextEncoder();

function fresh(): { backend: ConsoleBackend; output: number[]; notified: () => number; taken: () => number } {
	memory.fill(PAGE, 4096, 0);
	const output: number[] = [];
	let notified = 0;
	let taken = 0;
	const backend = new ConsoleBackend(new ConsoleRing(memory, PAGE), () => notified++, {
		onOutput: (bytes) => output.push(...bytes),
		onInputTaken: () => taken++,
	});
	return { backend, output, notified: () => notified, taken: () => taken };
}

/** The guest's half: writes what it has room for. */
function guestWrites(bytes: readonly number[]): number {
	const consumer = memory.u32(PAGE + offset.outCons);
	let producer = memory.u32(PAGE + offset.outProd);
	let count = 0;
	for (const byte of bytes) {
		if ((producer - consumer) >>> 0 >= 2048) break;
		memory.setU8(PAGE + offset.out + (producer % 2048), byte);
		producer = (producer + 1) >>> 0;
		count++;
	}
	memory.setU32(PAGE + offset.outProd, producer);
	return count;
}
function guestReads(most: number): number[] {
	let consumer = memory.u32(PAGE + offset.inCons);
	const producer = memory.u32(PAGE + offset.inProd);
	const bytes: number[] = [];
	while (consumer !== producer && bytes.length < most) {
		bytes.push(memory.u8(PAGE + offset.in + (consumer % 1024)));
		consumer = (consumer + 1) >>> 0;
	}
	memory.setU32(PAGE + offset.inCons, consumer);
	return bytes;
}

describe("console backend", () => {
	it("hands on output and tells the guest that there is room", () => {
		const { backend, output, notified } = fresh();
		guestWrites([...text.encode("hello\r\n")]);
		backend.handleEvent();
		expect(String.fromCharCode(...output)).toBe("hello\r\n");
		expect([notified(), memory.u32(PAGE + offset.outCons)]).toEqual([1, 7]);
		backend.handleEvent();
		expect(notified()).toBe(1);
	});

	it("gives input as the guest makes room, in order, and says when all is taken", () => {
		const { backend, notified, taken } = fresh();
		const input = Array.from({ length: 3000 }, (_, index) => index & 0xff);
		backend.write(new Uint8Array(input.slice(0, 1000)));
		expect([taken(), notified()]).toEqual([1, 1]);
		backend.write(new Uint8Array(input.slice(1000)));
		expect([taken(), notified(), backend.pendingInput]).toEqual([1, 2, 1976]);
		const got: number[] = [];
		while (got.length < 3000) {
			got.push(...guestReads(700));
			backend.handleEvent();
		}
		expect(got).toEqual(input);
		expect([taken(), backend.pendingInput]).toEqual([2, 0]);
	});

	it("works across the indices' overflow", () => {
		const { backend, output } = fresh();
		for (const field of [offset.inCons, offset.inProd, offset.outCons, offset.outProd]) {
			memory.setU32(PAGE + field, 0xffff_fff0);
		}
		guestWrites(Array.from({ length: 40 }, (_, index) => index));
		backend.write(new Uint8Array(40).fill(9));
		backend.handleEvent();
		expect(output).toEqual(Array.from({ length: 40 }, (_, index) => index));
		expect(guestReads(100)).toEqual(new Array(40).fill(9));
		expect(memory.u32(PAGE + offset.inProd)).toBe(24);
	});

	it("neither believes nor repairs indices that make no sense", () => {
		fc.assert(
			fc.property(
				fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 0xffff_ffff }))),
				(writes) => {
					const { backend, output } = fresh();
					memory.fill(PAGE + 4096, 4096, 0x77);
					memory.fill(PAGE + offset.outProd + 4, 4096 - offset.outProd - 4, 0x66);
					let events = 0;
					for (const [field, value] of writes) {
						memory.setU32(PAGE + offset.inCons + field * 4, value);
						backend.write(new Uint8Array(100));
						backend.handleEvent();
						events++;
						expect(output.length).toBeLessThanOrEqual(events * 2048);
					}
					expect(memory.bytes[PAGE + 4096]).toBe(0x77);
					expect(memory.bytes[PAGE + offset.outProd + 4]).toBe(0x66);
				},
			),
		);
	});

	it("reaches a guest by grant and event channel, and lets go of both", () => {
		const machine = createMachine();
		const service = new ServiceDomain(machine.hypervisor);
		const guest = machine.addGuest();
		const port = guest.domain.events.allocateUnbound(0);
		const chunks: string[] = [];
		const options = { onOutput: (bytes: Uint8Array) => chunks.push(new TextDecoder().decode(bytes)) };
		expect(attachConsole(service, guest.domain, port, options)).toBeUndefined();
		const mfn = guest.mfns[9] as number;
		guest.domain.grants.seed(0, 0, mfn);
		expect(attachConsole(service, guest.domain, port + 1, options)).toBeUndefined();
		const before = machine.hypervisor.frames.references(mfn);
		const backend = attachConsole(service, guest.domain, port, options);
		expect(machine.hypervisor.frames.references(mfn)).toBe(before + 1);
		const at = guest.at(page(9));
		guest.memory.bytes.set(text.encode("on hvc0"), at + offset.out);
		guest.memory.setU32(at + offset.outProd, 7);
		expect(guest.event(EventChannelOp.send, port)).toBe(0);
		expect(chunks).toEqual(["on hvc0"]);
		guest.memory.setU8(guest.vcpu().vcpuInfo, 0);
		guest.memory.fill(guest.domain.sharedInfo + 0x800, 8, 0);
		guest.memory.fill(guest.vcpu().vcpuInfo + 8, 8, 0);
		backend?.write(text.encode("x"));
		expect([guest.memory.u8(at + offset.in), guest.memory.u8(guest.vcpu().vcpuInfo)]).toEqual([0x78, 1]);
		backend?.close();
		backend?.write(text.encode("y"));
		expect(machine.hypervisor.frames.references(mfn)).toBe(before);
		expect(guest.memory.u16(guest.domain.grants.entry(0)) & 0x18).toBe(0);
	});
});
