/**
 * What network cards do for their hosts, for ports that cannot take it undone: completes blank checksums and cuts large TCP segments into
 * pieces (as Linux's GSO does).
 */
import { checksum, checksumOffset, completeChecksum } from "./checksum.ts";
import {
	type Frame,
	get16,
	get32,
	IpProtocol,
	Ipv4,
	Ipv6,
	put16,
	put32,
	Tcp,
	TcpFlag,
	type Transport,
	transportHeader,
} from "./frame.ts";

/** The frame with a complete checksum; itself where nothing is blank, undefined where it is no packet that has one. */
export function withChecksum(frame: Frame): Frame | undefined {
	if (!frame.checksumBlank) return frame;
	const bytes = frame.bytes.slice();
	const transport = transportHeader(bytes);
	if (transport === undefined || !completeChecksum(bytes, transport)) return undefined;
	return { bytes, checksumBlank: false, segmentSize: frame.segmentSize };
}

/** Whether a frame is what its `segmentSize` claims: one of TCP, with a whole header. A guest may claim anything. */
export function isSegmentable(bytes: Uint8Array): Transport | undefined {
	const transport = transportHeader(bytes);
	if (transport === undefined || transport.protocol !== IpProtocol.tcp) return undefined;
	const { at, end } = transport;
	if (at + Tcp.header > end) return undefined;
	const header = ((bytes[at + Tcp.dataOffset] as number) >>> 4) * 4;
	return header >= Tcp.header && at + header <= end ? transport : undefined;
}

/** Whether a blank checksum has its place in the frame. */
export function isCompletable(bytes: Uint8Array): boolean {
	const transport = transportHeader(bytes);
	if (transport === undefined) return false;
	const offset = checksumOffset(transport.protocol);
	return offset !== undefined && transport.at + offset + 2 <= transport.end;
}

/**
 * Cuts a large TCP frame into frames with `segmentSize` bytes of payload, with complete checksums. Each is a copy; at most as many come out
 * as the payload has bytes.
 */
export function* segments(frame: Frame): Generator<Frame> {
	const { bytes, segmentSize } = frame;
	const transport = isSegmentable(bytes);
	if (transport === undefined || segmentSize <= 0) return;
	const { at, network, end, version } = transport;
	const headers = at + ((bytes[at + Tcp.dataOffset] as number) >>> 4) * 4;
	const sequence = get32(bytes, at + Tcp.sequence);
	const identification = get16(bytes, network + Ipv4.identification);
	const flags = bytes[at + Tcp.flags] as number;
	for (let from = headers, index = 0; from < end || index === 0; from += segmentSize, index++) {
		const to = Math.min(end, from + segmentSize);
		const piece = new Uint8Array(headers + to - from);
		piece.set(bytes.subarray(0, headers));
		piece.set(bytes.subarray(from, to), headers);
		put32(piece, at + Tcp.sequence, (sequence + from - headers) >>> 0);
		// FIN and PSH belong to the last, CWR to the first (RFC 3168 6.1.2).
		let own = flags;
		if (to < end) own &= ~(TcpFlag.fin | TcpFlag.psh);
		if (index > 0) own &= ~TcpFlag.cwr;
		piece[at + Tcp.flags] = own;
		if (version === 4) {
			put16(piece, network + Ipv4.length, piece.length - network);
			put16(piece, network + Ipv4.identification, (identification + index) & 0xffff);
			put16(piece, network + Ipv4.checksum, 0);
			put16(piece, network + Ipv4.checksum, checksum(piece, network, at));
		} else put16(piece, network + Ipv6.payloadLength, piece.length - network - Ipv6.header);
		completeChecksum(piece, { ...transport, end: piece.length });
		yield { bytes: piece, checksumBlank: false, segmentSize: 0 };
	}
}
