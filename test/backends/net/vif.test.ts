/** The network back end against front ends that a test plays: frames through the rings, and rings, grants and nodes full of nonsense. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Networks } from "../../../src/backends/net/networks.ts";
import { attachDevice, devicePaths, removeDevice } from "../../../src/backends/xenbus/attach.ts";
import { type BusMachine, createBusMachine, type FrontGuest } from "../xenbus/machine.ts";

const MAC = "00:16:3e:00:00:01";
/** To a station that nobody knows, from the guest. */
const HEADER = [2, 2, 2, 2, 2, 2, 0, 0x16, 0x3e, 0, 0, 1];
const TX = 0;
const RX = 1;
const DATA = 2;

interface Fixture {
	readonly machine: BusMachine;
	readonly front: FrontGuest;
	readonly networks: Networks;
	readonly received: Uint8Array[];
	readonly refs: { tx: number; rx: number; data: number };
	readonly send: (bytes: Uint8Array) => boolean;
	readonly state: () => string | undefined;
}

function connect(nodes: Readonly<Record<string, string | number>> = {}): Fixture {
	const machine = createBusMachine();
	const networks = new Networks();
	const network = networks.open("lan");
	machine.bus.register(networks.driver);
	const front = machine.addGuest();
	const name = { domid: front.domid, kind: "vif", devid: 0 };
	attachDevice(machine.store, { ...name, backend: { bridge: "lan", mac: MAC } });
	const received: Uint8Array[] = [];
	const link = network.switch.attach({
		receive: ({ bytes }) => {
			received.push(bytes.slice());
			return true;
		},
	});
	const refs = { tx: front.grant(TX), rx: front.grant(RX), data: front.grant(DATA) };
	const { memory } = front.guest;
	for (const page of [TX, RX]) {
		memory.fill(front.page(page), 4096, 0);
		memory.setU32(front.page(page) + 4, 1);
		memory.setU32(front.page(page) + 12, 1);
	}
	front.write("device/vif/0", {
		"tx-ring-ref": refs.tx,
		"rx-ring-ref": refs.rx,
		"event-channel": front.channel(),
		"request-rx-copy": 1,
		"feature-rx-notify": 1,
		"feature-sg": 1,
		...nodes,
		state: 4,
	});
	machine.turn();
	return {
		machine,
		front,
		networks,
		received,
		refs,
		send: (bytes) => link.send({ bytes, checksumBlank: false, segmentSize: 0 }),
		state: () => machine.store.read(`${devicePaths(name).backend}/state`),
	};
}

/** Writes a transmit request into slot `index`. */
function putTx(
	{ front }: Fixture,
	index: number,
	words: readonly [ref: number, offset: number, flags: number, id: number, size: number],
): void {
	const { memory } = front.guest;
	const at = front.page(TX) + 64 + index * 12;
	const [ref, offset, flags, id, size] = words;
	memory.setU32(at, ref);
	for (const [place, value] of [offset, flags, id, size].entries()) memory.setU16(at + 4 + place * 2, value);
}

/** Makes requests visible and lets the back end look at them. */
function push({ front, machine, networks }: Fixture, page: number, producer: number): void {
	front.guest.memory.setU32(front.page(page), producer);
	const vif = networks.vif(front.domid, 0);
	const port = [...Array(64).keys()].find((each) => front.isBound(each)) ?? 0;
	if (vif?.isConnected === true) front.guest.domain.events.send(port);
	machine.turn();
}

describe("the network back end", () => {
	it("passes on what a guest sends, in one slot and in several", () => {
		const fixture = connect();
		const { front, received, refs } = fixture;
		expect(fixture.state()).toBe("4");
		for (const at of [0, 100]) front.guest.memory.bytes.set(HEADER, front.page(DATA) + at);
		putTx(fixture, 0, [refs.data, 100, 0, 7, 60]);
		putTx(fixture, 1, [refs.data, 0, 4, 8, 300]);
		putTx(fixture, 2, [refs.data, 200, 0, 9, 100]);
		push(fixture, TX, 3);
		expect(received.map(({ length }) => length)).toEqual([60, 300]);
		const responses = [0, 1, 2].map((slot) => front.guest.memory.u32(front.page(TX) + 64 + slot * 12));
		expect(responses).toEqual([7, 8, 9]);
		expect(front.guest.memory.u32(front.page(TX) + 8)).toBe(3);
	});

	it("answers packets that cannot be with an error, and goes on", () => {
		const fixture = connect();
		const { front, received, refs } = fixture;
		front.guest.memory.bytes.set(HEADER, front.page(DATA));
		putTx(fixture, 0, [999, 0, 0, 1, 60]);
		putTx(fixture, 1, [refs.data, 4090, 0, 2, 60]);
		putTx(fixture, 2, [refs.data, 0, 0, 3, 5]);
		putTx(fixture, 3, [refs.data, 0, 1, 4, 60]);
		putTx(fixture, 4, [refs.data, 0, 0, 5, 60]);
		push(fixture, TX, 5);
		const statuses = [0, 1, 2, 3, 4].map(
			(slot) => (front.guest.memory.u16(front.page(TX) + 64 + slot * 12 + 2) << 16) >> 16,
		);
		expect(statuses).toEqual([-1, -1, -1, -1, 0]);
		expect(received.length).toBe(1);
		expect(fixture.state()).toBe("4");
	});

	it("keeps frames until the guest has pages for them, and not too many", () => {
		const fixture = connect();
		const { front, refs } = fixture;
		const frame = new Uint8Array(5000).fill(7);
		frame.set([0, 0x16, 0x3e, 0, 0, 1]);
		// The switch knows the guest's address by what it sends.
		front.guest.memory.bytes.set(HEADER, front.page(DATA));
		putTx(fixture, 0, [refs.data, 0, 0, 1, 60]);
		push(fixture, TX, 1);
		let taken = 0;
		while (taken < 2000 && fixture.send(frame)) taken++;
		expect(taken).toBe(Math.floor((2 * 2 ** 20) / frame.length));
		for (const slot of [0, 1]) front.guest.memory.setU32(front.page(RX) + 64 + slot * 8, slot + 10);
		for (const slot of [0, 1]) front.guest.memory.setU32(front.page(RX) + 64 + slot * 8 + 4, refs.data);
		push(fixture, RX, 2);
		const response = (slot: number) => front.page(RX) + 64 + slot * 8;
		expect([0, 1].map((slot) => front.guest.memory.u16(response(slot)))).toEqual([10, 11]);
		expect([0, 1].map((slot) => front.guest.memory.u16(response(slot) + 4))).toEqual([4, 0]);
		expect([0, 1].map((slot) => front.guest.memory.u16(response(slot) + 6))).toEqual([4096, 904]);
	});

	it("ends a device whose rings make no sense, and nothing else", () => {
		const fixture = connect();
		push(fixture, TX, 5000);
		expect(fixture.state()).toBe("5");
		expect(fixture.machine.store.read(`/local/domain/0/error/backend/vif/${fixture.front.domid}/0/error`)).toMatch(
			/index of requests/,
		);
		expect(fixture.front.isFree(fixture.refs.tx)).toBe(true);
	});

	it("never throws and never keeps a page, whatever is in its rings", () => {
		const slot = fc.tuple(
			fc.constantFrom(8, 9, 10, 11, 999),
			fc.integer({ min: 0, max: 5000 }),
			fc.integer({ min: 0, max: 15 }),
			fc.nat(65535),
			fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.nat(65535)),
		);
		fc.assert(
			fc.property(
				fc.array(slot, { minLength: 1, maxLength: 60 }),
				fc.integer({ min: 0, max: 300 }),
				(slots, producer) => {
					const fixture = connect({ "feature-gso-tcpv4": 1 });
					for (const [index, words] of slots.entries()) putTx(fixture, index, words);
					push(fixture, TX, producer);
					fixture.send(new Uint8Array(100).fill(0xff));
					push(fixture, RX, producer);
					removeDevice(fixture.machine.store, { domid: fixture.front.domid, kind: "vif", devid: 0 });
					const { tx, rx, data } = fixture.refs;
					expect([tx, rx, data].map((ref) => fixture.front.isFree(ref))).toEqual([true, true, true]);
					expect(fixture.front.guest.domain.shutdown).toBe(undefined);
					expect(fixture.networks.find("lan")?.switch.size).toBe(1);
				},
			),
			{ numRuns: 60 },
		);
	});
});
