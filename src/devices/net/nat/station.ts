/**
 * The NAT as a station on its network: its Ethernet address, the IPv4 addresses that are its own, ARP (RFC 826), the guests' addresses as they
 * tell them, and the headers of what it sends.
 */
import { checksum, sumWords } from "../checksum.ts";
import {
	ETHERNET_HEADER,
	Ethernet,
	EtherType,
	Fragment,
	get16,
	get32,
	IpProtocol,
	Ipv4,
	MAX_FRAME,
	MAX_PACKET,
	type NetworkLink,
	put16,
	put32,
} from "../frame.ts";
import { isGroup } from "../mac.ts";
import { isInside, type Subnet } from "./ipv4.ts";

const Arp = {
	hardware: 0,
	protocol: 2,
	lengths: 4,
	operation: 6,
	senderMac: 8,
	senderIp: 14,
	targetMac: 18,
	targetIp: 24,
	size: 28,
} as const;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ARP_ETHERNET = 1;
const ARP_LENGTHS = 0x0604;
const BROADCAST_MAC = new Uint8Array(6).fill(0xff);
/** Guests whose addresses are remembered: who sends from more only makes it forget the oldest. */
const MOST_NEIGHBOURS = 1024;
const TTL = 64;

/** Of a packet to be sent. */
export interface OutgoingPacket {
	readonly source: number;
	readonly destination: number;
	readonly protocol: number;
	/** Bytes behind the IPv4 header. */
	readonly length: number;
	/** Writes them. */
	readonly write: (bytes: Uint8Array, at: number) => void;
	/** Where the transport checksum is in them: it is left to the receiver's side, over the pseudo header's sum. */
	readonly checksumAt?: number;
	/** See Frame.segmentSize. */
	readonly segmentSize?: number;
	/** Bits of Ipv4.fragment, and the identification, of a fragment. */
	readonly fragment?: number;
	readonly identification?: number;
	/** To whom, where it is not in the table. */
	readonly mac?: Uint8Array;
}

export class Station {
	link: NetworkLink | undefined;
	private readonly neighbours = new Map<number, Uint8Array>();
	private readonly scratch = new Uint8Array(MAX_FRAME);
	private identification = 0;

	/** @param own the addresses for which ARP answers */
	constructor(
		readonly mac: Uint8Array,
		readonly subnet: Subnet,
		readonly own: readonly number[],
		/** Bytes of the largest packet that is no large TCP segment. */
		readonly mtu: number,
	) {}

	/** Who has an address, as far as it has been heard of. */
	neighbour(address: number): Uint8Array | undefined {
		return this.neighbours.get(address);
	}

	/** Remembers where an address is. */
	learn(address: number, bytes: Uint8Array, at: number): void {
		if (!isInside(address, this.subnet) || this.own.includes(address) || isGroup(bytes, at)) return;
		const known = this.neighbours.get(address);
		if (known !== undefined) {
			for (let index = 0; index < 6; index++) known[index] = bytes[at + index] as number;
			return;
		}
		if (this.neighbours.size >= MOST_NEIGHBOURS) {
			const oldest = this.neighbours.keys().next();
			if (oldest.done !== true) this.neighbours.delete(oldest.value);
		}
		this.neighbours.set(address, bytes.slice(at, at + 6));
	}

	/** An ARP packet of a guest. */
	receiveArp(bytes: Uint8Array): void {
		const at = ETHERNET_HEADER;
		if (bytes.length < at + Arp.size) return;
		if (get16(bytes, at + Arp.hardware) !== ARP_ETHERNET || get16(bytes, at + Arp.protocol) !== EtherType.ipv4) return;
		if (get16(bytes, at + Arp.lengths) !== ARP_LENGTHS) return;
		const sender = get32(bytes, at + Arp.senderIp);
		if (sender !== 0) this.learn(sender, bytes, at + Arp.senderMac);
		const target = get32(bytes, at + Arp.targetIp);
		if (get16(bytes, at + Arp.operation) !== ARP_REQUEST || !this.own.includes(target)) return;
		// A probe for an address that is ours (sender 0, RFC 5227) is answered like any request: that is how it finds out.
		this.sendArp(ARP_REPLY, target, bytes.slice(at + Arp.senderMac, at + Arp.senderMac + 6), sender);
	}

	/** Asks who has an address. */
	ask(address: number): void {
		this.sendArp(ARP_REQUEST, this.own[0] as number, undefined, address);
	}

	/** Sends a packet. @returns false where it was refused, or nobody is known to have the address. */
	send(packet: OutgoingPacket): boolean {
		const { destination, length, protocol, source } = packet;
		const mac = packet.mac ?? this.neighbours.get(destination);
		if (mac === undefined || this.link === undefined || Ipv4.header + length > MAX_PACKET) return false;
		const bytes = this.scratch.subarray(0, ETHERNET_HEADER + Ipv4.header + length);
		this.writeEthernet(bytes, mac, EtherType.ipv4);
		const at = ETHERNET_HEADER;
		bytes[at] = 0x45;
		bytes[at + 1] = 0;
		put16(bytes, at + Ipv4.length, Ipv4.header + length);
		put16(bytes, at + Ipv4.identification, packet.identification ?? this.nextIdentification());
		put16(bytes, at + Ipv4.fragment, packet.fragment ?? (protocol === IpProtocol.tcp ? Fragment.dont : 0));
		bytes[at + Ipv4.ttl] = TTL;
		bytes[at + Ipv4.protocol] = protocol;
		put16(bytes, at + Ipv4.checksum, 0);
		put32(bytes, at + Ipv4.source, source);
		put32(bytes, at + Ipv4.destination, destination);
		put16(bytes, at + Ipv4.checksum, checksum(bytes, at, at + Ipv4.header));
		const data = at + Ipv4.header;
		packet.write(bytes, data);
		const { checksumAt } = packet;
		if (checksumAt !== undefined) {
			// What the pseudo header adds up to, not complemented: that is what completes it (Linux's CHECKSUM_PARTIAL).
			const sum = checksum(bytes, data, data, sumWords(bytes, at + Ipv4.source, data, protocol + length)) ^ 0xffff;
			put16(bytes, data + checksumAt, sum);
		}
		return this.link.send({ bytes, checksumBlank: checksumAt !== undefined, segmentSize: packet.segmentSize ?? 0 });
	}

	/** Sends a packet with a complete checksum, in fragments where it is larger than one may be. @returns false where one was refused */
	sendInFragments(packet: OutgoingPacket): boolean {
		if (Ipv4.header + packet.length <= this.mtu) return this.send(packet);
		if (Ipv4.header + packet.length > MAX_PACKET) return false;
		const whole = new Uint8Array(packet.length);
		packet.write(whole, 0);
		const identification = this.nextIdentification();
		const most = (this.mtu - Ipv4.header) & ~7;
		for (let at = 0; at < whole.length; at += most) {
			const part = whole.subarray(at, at + most);
			const fragment = (at + most < whole.length ? Fragment.more : 0) | (at >>> 3);
			const write = (to: Uint8Array, start: number): void => to.set(part, start);
			if (!this.send({ ...packet, length: part.length, fragment, identification, write })) return false;
		}
		return true;
	}

	private nextIdentification(): number {
		this.identification = (this.identification + 1) & 0xffff;
		return this.identification;
	}

	forgetAll(): void {
		this.neighbours.clear();
	}

	private sendArp(operation: number, sender: number, targetMac: Uint8Array | undefined, target: number): void {
		const bytes = new Uint8Array(ETHERNET_HEADER + Arp.size);
		this.writeEthernet(bytes, targetMac ?? BROADCAST_MAC, EtherType.arp);
		const at = ETHERNET_HEADER;
		put16(bytes, at + Arp.hardware, ARP_ETHERNET);
		put16(bytes, at + Arp.protocol, EtherType.ipv4);
		put16(bytes, at + Arp.lengths, ARP_LENGTHS);
		put16(bytes, at + Arp.operation, operation);
		bytes.set(this.mac, at + Arp.senderMac);
		put32(bytes, at + Arp.senderIp, sender);
		if (targetMac !== undefined) bytes.set(targetMac, at + Arp.targetMac);
		put32(bytes, at + Arp.targetIp, target);
		this.link?.send({ bytes, checksumBlank: false, segmentSize: 0 });
	}

	private writeEthernet(bytes: Uint8Array, destination: Uint8Array, type: number): void {
		bytes.set(destination, Ethernet.destination);
		bytes.set(this.mac, Ethernet.source);
		put16(bytes, Ethernet.type, type);
	}
}
