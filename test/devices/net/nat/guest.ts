/** A NAT, and a guest of it that sends and gets raw frames. The host's network is a real one (Node's) or a test's. */
import { checksum, completeChecksum } from "../../../../src/devices/net/checksum.ts";
import {
	type Frame,
	get16,
	get32,
	IpProtocol,
	Ipv4,
	put16,
	put32,
	transportHeader,
	Udp,
} from "../../../../src/devices/net/frame.ts";
import type { HostNetwork, NatEnvironment } from "../../../../src/devices/net/nat/host-network.ts";
import { Nat, type NatOptions } from "../../../../src/devices/net/nat/nat.ts";
import { VirtualSwitch } from "../../../../src/devices/net/switch.ts";
import { nodeNetwork } from "../../../../src/platform/node/network.ts";

export const GUEST_MAC = Uint8Array.of(0x00, 0x16, 0x3e, 1, 2, 3);
export const GUEST = 0x0a00020f;
export const GATEWAY = 0x0a000202;
export const DNS = 0x0a000203;

export class NatGuest {
	readonly switch = new VirtualSwitch();
	readonly nat: Nat;
	readonly frames: Uint8Array[] = [];
	/** Host operations that have begun and not ended. */
	operations = 0;
	now = 0;
	private timer: { deadline: number; callback: () => void } | undefined;
	private readonly waiting = new Set<() => void>();
	private readonly link;

	constructor(options: NatOptions = {}, network: HostNetwork = nodeNetwork) {
		let random = 1;
		const environment: NatEnvironment = {
			network,
			now: () => this.now,
			setTimer: (deadline, callback) => {
				this.timer = { deadline, callback };
			},
			random32: () => {
				random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
				return random;
			},
			log: () => {},
			beginHostOperation: () => {
				this.operations++;
			},
			endHostOperation: () => {
				this.operations--;
			},
			hostActivity: () => {},
		};
		this.nat = new Nat(environment, options);
		this.nat.attach(this.switch.attach(this.nat));
		this.link = this.switch.attach({
			receive: (frame: Frame) => {
				this.frames.push(frame.bytes.slice());
				for (const look of this.waiting) look();
				return true;
			},
		});
	}

	send(bytes: Uint8Array, checksumBlank = false): void {
		this.link.send({ bytes, checksumBlank, segmentSize: 0 });
		this.link.settle();
	}

	/** Lets time pass. */
	advance(milliseconds: number): void {
		this.now += milliseconds;
		for (let count = 0; this.timer !== undefined && this.timer.deadline <= this.now && count < 1000; count++) {
			const { callback } = this.timer;
			this.timer = undefined;
			callback();
		}
	}

	/** The next frame that answers to a description, of those that have come or will. */
	async receive<T>(match: (bytes: Uint8Array) => T | undefined): Promise<T> {
		for (;;) {
			for (let index = 0; index < this.frames.length; index++) {
				const found = match(this.frames[index] as Uint8Array);
				if (found === undefined) continue;
				this.frames.splice(0, index + 1);
				return found;
			}
			await new Promise<void>((resolve) => {
				const look = (): void => {
					this.waiting.delete(look);
					resolve();
				};
				this.waiting.add(look);
			});
		}
	}

	/** Says who has the guest's address. */
	announce(): void {
		const bytes = new Uint8Array(42);
		bytes.fill(0xff, 0, 6);
		bytes.set(GUEST_MAC, 6);
		bytes.set([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1], 12);
		bytes.set(GUEST_MAC, 22);
		put32(bytes, 28, GUEST);
		put32(bytes, 38, GATEWAY);
		this.send(bytes);
	}
}

/** An IPv4 packet of the guest's in its frame. */
export function ipFrame(
	destination: number,
	protocol: number,
	data: Uint8Array,
	options: { readonly source?: number; readonly fragment?: number; readonly id?: number; readonly ttl?: number } = {},
): Uint8Array {
	const { source = GUEST, fragment = 0, id = 1, ttl = 64 } = options;
	const bytes = new Uint8Array(34 + data.length);
	bytes.set([0x52, 0x55, 10, 0, 2, 2]);
	bytes.set(GUEST_MAC, 6);
	put16(bytes, 12, 0x0800);
	bytes[14] = 0x45;
	put16(bytes, 14 + Ipv4.length, 20 + data.length);
	put16(bytes, 14 + Ipv4.identification, id);
	put16(bytes, 14 + Ipv4.fragment, fragment);
	bytes[14 + Ipv4.ttl] = ttl;
	bytes[14 + Ipv4.protocol] = protocol;
	put32(bytes, 14 + Ipv4.source, source);
	put32(bytes, 14 + Ipv4.destination, destination);
	put16(bytes, 14 + Ipv4.checksum, checksum(bytes, 14, 34));
	bytes.set(data, 34);
	return bytes;
}

/** A UDP datagram with its checksum, as the data of a packet. */
export function udpData(
	destination: number,
	from: number,
	to: number,
	data: Uint8Array,
	source: number = GUEST,
): Uint8Array {
	const packet = new Uint8Array(28 + data.length);
	packet[0] = 0x45;
	put32(packet, Ipv4.source, source);
	put32(packet, Ipv4.destination, destination);
	put16(packet, 20 + Udp.source, from);
	put16(packet, 20 + Udp.destination, to);
	put16(packet, 20 + Udp.length, 8 + data.length);
	packet.set(data, 28);
	completeChecksum(packet, { version: 4, network: 0, at: 20, protocol: IpProtocol.udp, end: packet.length });
	return packet.subarray(20);
}

export interface ReceivedUdp {
	readonly source: number;
	readonly from: number;
	readonly to: number;
	readonly data: Uint8Array;
}

/** A datagram for the guest, where a frame is a whole one. */
export function readUdp(bytes: Uint8Array): ReceivedUdp | undefined {
	const transport = transportHeader(bytes);
	if (transport?.protocol !== IpProtocol.udp) return undefined;
	const { at, end, network } = transport;
	return {
		source: get32(bytes, network + Ipv4.source),
		from: get16(bytes, at),
		to: get16(bytes, at + 2),
		data: bytes.slice(at + Udp.header, end),
	};
}

/** An ICMP message for the guest: type, code and the rest. */
export function readIcmp(bytes: Uint8Array): { type: number; code: number; data: Uint8Array } | undefined {
	const transport = transportHeader(bytes);
	if (transport?.protocol !== IpProtocol.icmp) return undefined;
	const { at, end } = transport;
	return { type: bytes[at] as number, code: bytes[at + 1] as number, data: bytes.slice(at + 8, end) };
}
