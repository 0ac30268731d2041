/** The Internet checksum (RFC 1071). */
import { IpProtocol, Ipv4, Ipv6, put16, Tcp, type Transport, Udp } from "./frame.ts";

/** Adds the 16-bit words of `bytes` from `start` up to `end` to a sum that has not been folded. An odd byte is the upper half of a word. */
export function sumWords(bytes: Uint8Array, start: number, end: number, sum = 0): number {
	const even = end - ((end - start) & 1);
	let total = sum;
	for (let at = start; at < even; at += 2) total += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
	if (even !== end) total += (bytes[even] as number) << 8;
	return total;
}

/** A sum in 16 bits, by adding carries to the lower end. */
export function fold(sum: number): number {
	let folded = sum;
	while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
	return folded;
}

/** The checksum of a range: the complement of its folded sum. */
export function checksum(bytes: Uint8Array, start: number, end: number, sum = 0): number {
	return fold(sumWords(bytes, start, end, sum)) ^ 0xffff;
}

/** The unfolded sum of the pseudo header of a packet (RFC 9293 3.1, RFC 8200 8.1) with `length` bytes of transport header and data. */
export function pseudoSum(bytes: Uint8Array, transport: Transport, length: number): number {
	const { network, protocol, version } = transport;
	const [start, end] =
		version === 4 ? [network + Ipv4.source, network + Ipv4.header] : [network + Ipv6.source, network + Ipv6.header];
	return sumWords(bytes, start, end, protocol + length);
}

/** Where the checksum of a transport header is; undefined for protocols whose checksum nobody leaves blank. */
export function checksumOffset(protocol: number): number | undefined {
	if (protocol === IpProtocol.tcp) return Tcp.checksum;
	return protocol === IpProtocol.udp ? Udp.checksum : undefined;
}

/** Computes the transport checksum of a packet and stores it. @returns false where the packet has none or no room for it. */
export function completeChecksum(bytes: Uint8Array, transport: Transport): boolean {
	const { at, end, protocol } = transport;
	const offset = checksumOffset(protocol);
	if (offset === undefined || at + offset + 2 > end) return false;
	put16(bytes, at + offset, 0);
	const sum = checksum(bytes, at, end, pseudoSum(bytes, transport, end - at));
	// UDP says with 0 that there is no checksum.
	put16(bytes, at + offset, sum === 0 && protocol === IpProtocol.udp ? 0xffff : sum);
	return true;
}

/** Whether the transport checksum of a packet is right. A UDP packet over IPv4 may have none. */
export function verifyChecksum(bytes: Uint8Array, transport: Transport): boolean {
	const { at, end, protocol, version } = transport;
	const offset = checksumOffset(protocol);
	if (offset === undefined || at + offset + 2 > end) return false;
	const none = protocol === IpProtocol.udp && version === 4 && bytes[at + offset] === 0 && bytes[at + offset + 1] === 0;
	return none || checksum(bytes, at, end, pseudoSum(bytes, transport, end - at)) === 0;
}
