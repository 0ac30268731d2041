/**
 * An Ethernet frame on its way between what a virtual network connects, and where its headers' fields are (IEEE 802.3, RFC 791, RFC 8200,
 * RFC 9293, RFC 768). Nothing in a frame is believed: whoever reads one looks at its length first.
 */

/** A frame in the hands of whoever is called with it: `bytes` is only valid during that call, and must not be changed. */
export interface Frame {
	/** From the destination's address to the end of the payload, without the frame check sequence. */
	readonly bytes: Uint8Array;
	/**
	 * The TCP or UDP checksum covers only the pseudo header: it never left a machine, and who sends it on a wire completes it (Linux's
	 * CHECKSUM_PARTIAL, Xen's csum_blank).
	 */
	readonly checksumBlank: boolean;
	/** Where it stands for several TCP segments: payload bytes of each of them. 0: it is what it is. */
	readonly segmentSize: number;
}

/** What a port of a network does with frames: a guest's interface, the NAT, a tap device. */
export interface NetworkPort {
	/** Takes a frame. @returns false where it was dropped for want of room; {@link NetworkLink.roomAvailable} tells of room then. */
	receive(frame: Frame): boolean;
	/** A port that had refused a frame of ours has room again. */
	roomAvailable?(): void;
	/** The frames that another port passed in one go have ended: answers may be sent together. */
	settle?(): void;
}

/** What a port does with its network. */
export interface NetworkLink {
	/** Passes a frame on. @returns false where the port that it is for had no room. */
	send(frame: Frame): boolean;
	/** To be called after the last of several frames. */
	settle(): void;
	/** This port takes frames again, after it refused some. */
	roomAvailable(): void;
	detach(): void;
}

export const ETHERNET_HEADER = 14;
export const EtherType = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
export const IpProtocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** Offsets in an Ethernet header. */
export const Ethernet = { destination: 0, source: 6, type: 12 } as const;
/** Offsets in an IPv4 header. */
export const Ipv4 = {
	length: 2,
	identification: 4,
	fragment: 6,
	ttl: 8,
	protocol: 9,
	checksum: 10,
	source: 12,
	destination: 16,
	header: 20,
} as const;
/** Offsets in an IPv6 header. */
export const Ipv6 = { payloadLength: 4, next: 6, source: 8, destination: 24, header: 40 } as const;
/** Offsets in a TCP header. */
export const Tcp = {
	source: 0,
	destination: 2,
	sequence: 4,
	acknowledgement: 8,
	dataOffset: 12,
	flags: 13,
	window: 14,
	checksum: 16,
	urgent: 18,
	header: 20,
} as const;
/** Offsets in a UDP header. */
export const Udp = { source: 0, destination: 2, length: 4, checksum: 6, header: 8 } as const;
export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;
/** Bits of Ipv4.fragment. */
export const Fragment = { more: 0x2000, dont: 0x4000, offset: 0x1fff } as const;

/** The largest IPv4 packet, and the largest frame with it and a VLAN's tag. */
export const MAX_PACKET = 65535;
export const MAX_FRAME = ETHERNET_HEADER + 4 + MAX_PACKET;

export function get16(bytes: Uint8Array, at: number): number {
	return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function get32(bytes: Uint8Array, at: number): number {
	return ((get16(bytes, at) << 16) | get16(bytes, at + 2)) >>> 0;
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
	bytes[at] = value >>> 8;
	bytes[at + 1] = value;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
	bytes[at] = value >>> 24;
	bytes[at + 1] = value >>> 16;
	bytes[at + 2] = value >>> 8;
	bytes[at + 3] = value;
}

/** Where a frame's network header begins, and its type; a VLAN's tag is looked through. */
export function networkHeader(bytes: Uint8Array): { readonly at: number; readonly type: number } {
	const type = get16(bytes, Ethernet.type);
	if (type !== EtherType.vlan || bytes.length < ETHERNET_HEADER + 4) return { at: ETHERNET_HEADER, type };
	return { at: ETHERNET_HEADER + 4, type: get16(bytes, ETHERNET_HEADER + 2) };
}

/** A frame's transport header: where it is, and of which protocol. */
export interface Transport {
	readonly version: 4 | 6;
	/** Of the network header. */
	readonly network: number;
	/** Of the transport header. */
	readonly at: number;
	readonly protocol: number;
	/** Of the packet's end, by the network header's length. */
	readonly end: number;
}

/** IPv6 extension headers that are looked through: hop-by-hop options, routing, destination options. */
const EXTENSIONS: readonly number[] = [0, 43, 60];
const MOST_EXTENSIONS = 8;

/** Finds the transport header; undefined where there is none, as in a later fragment, or the headers contradict the frame's length. */
export function transportHeader(bytes: Uint8Array): Transport | undefined {
	if (bytes.length < ETHERNET_HEADER) return undefined;
	const { at: network, type } = networkHeader(bytes);
	if (type === EtherType.ipv4) {
		if (bytes.length < network + Ipv4.header) return undefined;
		const first = bytes[network] as number;
		const headerLength = (first & 15) * 4;
		const end = network + get16(bytes, network + Ipv4.length);
		if (first >>> 4 !== 4 || headerLength < Ipv4.header || network + headerLength > end || end > bytes.length)
			return undefined;
		if ((get16(bytes, network + Ipv4.fragment) & (Fragment.offset | Fragment.more)) !== 0) return undefined;
		return { version: 4, network, at: network + headerLength, protocol: bytes[network + Ipv4.protocol] as number, end };
	}
	if (type !== EtherType.ipv6 || bytes.length < network + Ipv6.header || (bytes[network] as number) >>> 4 !== 6)
		return undefined;
	const end = network + Ipv6.header + get16(bytes, network + Ipv6.payloadLength);
	if (end > bytes.length) return undefined;
	let protocol = bytes[network + Ipv6.next] as number;
	let at = network + Ipv6.header;
	for (let count = 0; EXTENSIONS.includes(protocol); count++) {
		if (count === MOST_EXTENSIONS || at + 8 > end) return undefined;
		protocol = bytes[at] as number;
		at += 8 * ((bytes[at + 1] as number) + 1);
	}
	return at > end ? undefined : { version: 6, network, at, protocol, end };
}
