/** Queues, offloads, multicast and the control ring of an interface, with a front end that the test plays. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { completeChecksum, verifyChecksum } from "../../../src/devices/net/checksum.ts";
import { get16, get32, put16, put32, type Transport, transportHeader } from "../../../src/devices/net/frame.ts";
import { CtrlStatus, CtrlType, ExtraType, HashAlgorithm, HashType } from "../../../src/xen/abi/netif.ts";
import { DATA, MAC, NetFront } from "./front.ts";

const GUEST = MAC.split(":").map((part) => Number.parseInt(part, 16));
const OTHER = [2, 2, 2, 2, 2, 2];
const { success, notSupported, invalidParameter, bufferOverflow } = CtrlStatus;

interface Address {
	readonly source: readonly number[];
	readonly destination: readonly number[];
	readonly ports: readonly [source: number, destination: number];
}

/** A TCP segment to the guest; its sequence number is 1000, its payload counts, and its checksum is of the pseudo header alone. */
function tcp({ source, destination, ports }: Address, payload: number, flags = 0x10): Uint8Array {
	const isIpv6 = source.length === 16;
	const at = 14 + (isIpv6 ? 40 : 20);
	const bytes = new Uint8Array(at + 20 + payload).map((_, index) => index);
	bytes.fill(0, 0, at + 20);
	bytes.set([...GUEST, ...OTHER]);
	put16(bytes, 12, isIpv6 ? 0x86dd : 0x0800);
	bytes[14] = isIpv6 ? 0x60 : 0x45;
	put16(bytes, isIpv6 ? 18 : 16, 20 + payload + (isIpv6 ? 0 : 20));
	bytes[isIpv6 ? 20 : 23] = 6;
	bytes.set([...source, ...destination], isIpv6 ? 22 : 26);
	put16(bytes, at, ports[0]);
	put16(bytes, at + 2, ports[1]);
	put32(bytes, at + 4, 1000);
	bytes[at + 12] = 0x50;
	bytes[at + 13] = flags;
	put16(bytes, at + 16, 0x1234);
	return bytes;
}

/** Of the verification suite of receive side scaling (Microsoft's documentation of the Toeplitz hash). */
const KEY = Buffer.from("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa", "hex");
const IPV4: Address = { source: [66, 9, 149, 187], destination: [161, 142, 100, 80], ports: [2794, 1766] };
const word = (value: number): number[] => [value >>> 8, value & 0xff];
const IPV6: Address = {
	source: [0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7].flatMap(word),
	destination: [0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1].flatMap(word),
	ports: [2794, 1766],
};

const headerOf = (bytes: Uint8Array): Transport => transportHeader(bytes) as Transport;

describe("offloads", () => {
	it("a guest that takes large segments and blank checksums gets them as they are, one that does not gets what it can take", () => {
		for (const [name, address, kind] of [
			["feature-gso-tcpv4", IPV4, 1],
			["feature-gso-tcpv6", IPV6, 2],
		] as const) {
			const large = tcp(address, 2500, 0x19);
			const able = new NetFront(1, { [name]: 1, "feature-ipv6-csum-offload": 1 });
			able.givePages(0, 7);
			able.toGuest(large, true, 1000);
			const [whole] = able.received(0);
			expect(whole?.bytes).toEqual(Buffer.from(large));
			// Blank checksum, whose packet was on no wire, and an extra info.
			expect([whole?.flags, whole?.extras.map(([type]) => type)]).toEqual([1 | 2 | 8, [ExtraType.gso]]);
			expect([...(whole?.extras[0]?.[1] ?? [])].slice(0, 3)).toEqual([1000 & 0xff, 1000 >>> 8, kind]);

			const plain = new NetFront(1, { "feature-no-csum-offload": 1 });
			plain.givePages(0, 7);
			plain.toGuest(large, true, 1000);
			const pieces = plain.received(0);
			const { at } = headerOf(large);
			expect(pieces.map(({ bytes }) => bytes.length - at - 20)).toEqual([1000, 1000, 500]);
			expect(pieces.map(({ bytes }) => get32(bytes, at + 4))).toEqual([1000, 2000, 3000]);
			// FIN and PSH are the last one's.
			expect(pieces.map(({ bytes }) => bytes[at + 13])).toEqual([0x10, 0x10, 0x19]);
			expect(pieces.map(({ bytes, flags }) => [verifyChecksum(bytes, headerOf(bytes)), flags])).toEqual(
				Array(3).fill([true, 0]),
			);
			expect(Buffer.concat(pieces.map(({ bytes }) => bytes.subarray(at + 20)))).toEqual(
				Buffer.from(large.subarray(at + 20)),
			);
		}
	});

	it("a checksum is completed for whoever wants none that is blank, and for nobody else", () => {
		const frame = tcp(IPV4, 100);
		for (const [nodes, blank] of [
			[{}, true],
			[{ "feature-no-csum-offload": 1 }, false],
		] as const) {
			const front = new NetFront(1, nodes);
			front.givePages(0, 2);
			front.toGuest(frame, true);
			const [got] = front.received(0);
			expect(((got?.flags ?? 0) & 2) !== 0).toBe(blank);
			expect(get16(got?.bytes ?? frame, headerOf(frame).at + 16) === 0x1234).toBe(blank);
			if (!blank) expect(verifyChecksum(got?.bytes ?? frame, headerOf(frame))).toBe(true);
		}
	});

	it("a guest without scatter-gather gets frames of a page at most", () => {
		const front = new NetFront(1, { "feature-sg": 0, "feature-gso-tcpv4": 1 });
		front.givePages(0, 8);
		front.toGuest(tcp(IPV4, 6000), true, 1400);
		expect(front.received(0).map(({ bytes }) => bytes.length)).toEqual([1454, 1454, 1454, 1454, 454]);
		front.toGuest(tcp(IPV4, 5000));
		expect(front.received(0)).toEqual([]);
	});

	it("what a guest sends as a large segment reaches the network as one", () => {
		const front = new NetFront(1);
		const frame = tcp(IPV4, 3000);
		frame.set([...OTHER, ...GUEST]);
		const gso = (size: number, type: number): Uint8Array =>
			Uint8Array.of(ExtraType.gso, 0, size & 0xff, size >>> 8, type);
		expect(front.transmit(0, frame, 1, gso(1448, 1))).toEqual([0, 1]);
		expect(front.sent).toEqual([[frame, true, 1448]]);
		// Smaller than its segments: none to be cut.
		expect(front.transmit(0, frame, 1, gso(3000, 1))).toEqual([0, 1]);
		expect(front.sent[1]?.slice(1)).toEqual([true, 0]);
		// With a checksum that claims to be complete, or of the other version: refused, and no more than that.
		expect(front.transmit(0, frame, 0, gso(1448, 1))).toEqual([-1, 1]);
		expect(front.transmit(0, frame, 1, gso(1448, 2))).toEqual([-1, 1]);
		const whole = frame.slice();
		completeChecksum(whole, headerOf(whole));
		expect(front.transmit(0, whole)).toEqual([0]);
		expect(front.sent[2]).toEqual([whole, false, 0]);
		expect(front.state).toBe("4");
		// What no front end makes ends the device.
		front.transmit(0, frame, 1, gso(0, 1));
		expect(front.state).toBe("5");
	});

	it("a guest gets the groups that it listens to, once it has asked to choose", () => {
		const front = new NetFront(1, { "request-multicast-control": 1 });
		const to = (...address: number[]): Uint8Array => {
			const frame = new Uint8Array(60);
			frame.set([...address, ...OTHER]);
			return frame;
		};
		const group = [1, 0, 0x5e, 0, 0, 1];
		front.givePages(0, 8);
		const heard = (): number => front.received(0).length;
		front.toGuest(to(...group));
		expect(heard()).toBe(0);
		const change = (kind: number): number[] => front.transmit(0, to(...OTHER), 0, Uint8Array.of(kind, 0, ...group));
		expect(change(ExtraType.mcastAdd)).toEqual([0, 1]);
		front.toGuest(to(...group));
		front.toGuest(to(...group.slice(0, 5), 2));
		front.toGuest(to(255, 255, 255, 255, 255, 255));
		expect(heard()).toBe(2);
		expect(change(ExtraType.mcastDel)).toEqual([0, 1]);
		front.toGuest(to(...group));
		expect(heard()).toBe(0);
		// The messages were no packets.
		expect(front.sent).toEqual([]);
	});
});

describe("queues", () => {
	it("each sends and receives, and a connection stays in one", () => {
		const front = new NetFront(3);
		const frame = tcp(IPV4, 10);
		for (const queue of [0, 1, 2]) {
			expect(front.transmit(queue, frame)).toEqual([0]);
			front.givePages(queue, 100);
		}
		expect(front.sent.length).toBe(3);
		const used = new Map<number, Set<number>>();
		for (let round = 0; round < 3; round++) {
			for (let port = 1; port <= 30; port++) {
				front.toGuest(tcp({ ...IPV4, ports: [port, 80] }, 10));
				for (const queue of [0, 1, 2]) {
					for (const { bytes } of front.received(queue)) {
						expect(get16(bytes, 34)).toBe(port);
						used.set(port, (used.get(port) ?? new Set()).add(queue));
					}
				}
			}
		}
		expect(used.size).toBe(30);
		expect([...used.values()].every(({ size }) => size === 1)).toBe(true);
		expect(new Set([...used.values()].flatMap((queues) => [...queues])).size).toBe(3);
	});

	it("a broken one ends the device, and its rings with all others", () => {
		const front = new NetFront(2);
		const { memory, domain } = front.front.guest;
		memory.setU32(front.front.page(2), 5000);
		domain.events.send(front.channels[1]?.tx ?? 0);
		front.machine.turn();
		expect(front.state).toBe("5");
		expect(front.channels.flatMap(({ tx, rx }) => [tx, rx]).some((port) => front.front.isBound(port))).toBe(false);
		expect(Array.from({ length: 20 }, (_, index) => front.front.isFree(8 + index)).every(Boolean)).toBe(true);
	});

	it.each([0, 9, 1000])("are not %d", (queues) => {
		const front = new NetFront(1, { "multi-queue-num-queues": queues });
		expect(front.state).not.toBe("4");
	});
});

describe("the control ring", () => {
	/** Puts bytes on the guest's second page of data and says its reference. */
	function put(front: NetFront, bytes: Uint8Array): number {
		front.front.guest.memory.bytes.set(bytes, front.front.page(DATA + 1));
		return front.refs[DATA + 1] as number;
	}
	/** A bit for each of HashType. */
	const all = 0b1111;

	function configured(queues: number, mapping: readonly number[]): NetFront {
		const front = new NetFront(queues);
		expect(front.control(CtrlType.setHashAlgorithm, HashAlgorithm.toeplitz)).toEqual([success, 0]);
		expect(front.control(CtrlType.setHashKey, put(front, KEY), KEY.length)).toEqual([success, 0]);
		expect(front.control(CtrlType.setHashMappingSize, mapping.length)).toEqual([success, 0]);
		const entries = new Uint8Array(Uint32Array.from(mapping).buffer);
		expect(front.control(CtrlType.setHashMapping, put(front, entries), mapping.length, 0)).toEqual([success, 0]);
		expect(front.control(CtrlType.setHashFlags, all)).toEqual([success, 0]);
		return front;
	}

	it("sets the hash that frames are steered by, and that comes with them", () => {
		for (const [address, withPorts, alone, types] of [
			[IPV4, 0x51ccc178, 0x323e8fc2, [HashType.ipv4Tcp, HashType.ipv4]],
			[IPV6, 0x40207d3d, 0x2cc18cd5, [HashType.ipv6Tcp, HashType.ipv6]],
		] as const) {
			const mapping = Array.from({ length: 100 }, (_, index) =>
				index === withPorts % 100 ? 2 : index === alone % 100 ? 1 : 0,
			);
			const front = configured(3, mapping);
			for (const queue of [0, 1, 2]) front.givePages(queue, 6);
			const hash = (queue: number): number[] => {
				const [type, bytes] = front.received(queue)[0]?.extras[0] ?? [0, new Uint8Array(6)];
				const value = new DataView(bytes.slice().buffer).getUint32(2, true);
				return [type, bytes[0] as number, bytes[1] as number, value];
			};
			front.toGuest(tcp(address, 10));
			expect(hash(2)).toEqual([ExtraType.hash, types[0], HashAlgorithm.toeplitz, withPorts]);
			expect(front.control(CtrlType.setHashFlags, 1 << types[1])).toEqual([success, 0]);
			front.toGuest(tcp(address, 10));
			expect(hash(1)).toEqual([ExtraType.hash, types[1], HashAlgorithm.toeplitz, alone]);
			// Neither of its kinds, and none at all: the frame comes without.
			front.control(CtrlType.setHashFlags, all & ~(1 << types[0]) & ~(1 << types[1]));
			front.toGuest(tcp(address, 10));
			expect([0, 1, 2].flatMap((queue) => front.received(queue)).map(({ extras }) => extras)).toEqual([[]]);
		}
	});

	it("refuses what cannot be", () => {
		const front = new NetFront(2);
		const key = put(front, KEY);
		expect(front.control(CtrlType.getHashFlags)).toEqual([notSupported, 0]);
		expect(front.control(CtrlType.setHashFlags, 1)).toEqual([notSupported, 0]);
		expect(front.control(CtrlType.setHashAlgorithm, 2)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.setHashAlgorithm, HashAlgorithm.toeplitz)).toEqual([success, 0]);
		expect(front.control(CtrlType.getHashFlags)).toEqual([success, all]);
		expect(front.control(CtrlType.setHashFlags, 0x10)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.setHashKey, key, 41)).toEqual([bufferOverflow, 0]);
		expect(front.control(CtrlType.setHashKey, 999, 40)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.getHashMappingSize)).toEqual([success, 128]);
		expect(front.control(CtrlType.setHashMappingSize, 129)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.setHashMappingSize, 4)).toEqual([success, 0]);
		const queues = put(front, new Uint8Array(Uint32Array.of(1, 2).buffer));
		// Queue 2 of two.
		expect(front.control(CtrlType.setHashMapping, queues, 2, 0)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.setHashMapping, queues, 1, 3)).toEqual([success, 0]);
		expect(front.control(CtrlType.setHashMapping, queues, 1, 4)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.setHashMapping, queues, 1, 0xffff_ffff)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.getGrefMappingSize, 1)).toEqual([success, 0]);
		expect(front.control(CtrlType.getGrefMappingSize, 2)).toEqual([invalidParameter, 0]);
		expect(front.control(CtrlType.addGrefMapping, 0, 8, 1)).toEqual([notSupported, 0]);
		expect(front.control(77)).toEqual([notSupported, 0]);
		expect(front.state).toBe("4");
	});

	it("answers everything, and delivers frames whatever was set", () => {
		const number = fc.oneof(
			fc.nat(130),
			fc.constantFrom(0xffff_ffff, 0x8000_0000, 4097),
			fc.constantFrom(14, 15, 16, 999),
		);
		fc.assert(
			fc.property(fc.array(fc.tuple(fc.nat(12), number, number, number), { maxLength: 40 }), (messages) => {
				const front = configured(2, [0, 1]);
				for (const [type, ...data] of messages) {
					expect(front.control(type, ...data)[0]).toBeLessThanOrEqual(3);
				}
				front.givePages(0, 4);
				front.givePages(1, 4);
				front.toGuest(tcp(IPV4, 10));
				front.toGuest(tcp(IPV6, 10));
				expect(front.received(0).length + front.received(1).length).toBe(2);
				expect([front.state, front.front.guest.domain.shutdown]).toEqual(["4", undefined]);
			}),
			{ numRuns: 40 },
		);
	});
});
