/** TCP segments (RFC 9293 3.1) in the hands of an endpoint: read from packets, written into them. */
import { get16, get32, put16, put32, Tcp, TcpFlag } from "../../frame.ts";

/** A received segment. `payload` is only valid while it is handled. */
export interface Segment {
	readonly flags: number;
	readonly sequence: number;
	readonly acknowledgement: number;
	/** As it is in the header, not scaled. */
	readonly window: number;
	readonly payload: Uint8Array;
	/** Of a SYN: the options that it had. */
	readonly mss: number | undefined;
	readonly windowScale: number | undefined;
}

/** A segment to be sent. */
export interface OutgoingSegment {
	readonly flags: number;
	readonly sequence: number;
	readonly acknowledgement: number;
	readonly window: number;
	/** Bytes of payload, which {@link copyPayload} writes. More than `mss`: to be cut by whoever sends it on a wire. */
	readonly length: number;
	readonly mss: number;
	/** For a SYN: the shift to offer. */
	readonly windowScale?: number | undefined;
	copyPayload?(target: Uint8Array, at: number): void;
}

const Option = { end: 0, nothing: 1, mss: 2, windowScale: 3 } as const;
/** RFC 7323 2.3 */
const MOST_SCALE = 14;

/** Reads the segment at `at`, which ends at `end`; undefined where the header is none. */
export function readSegment(bytes: Uint8Array, at: number, end: number): Segment | undefined {
	if (at + Tcp.header > end) return undefined;
	const data = at + ((bytes[at + Tcp.dataOffset] as number) >>> 4) * 4;
	if (data < at + Tcp.header || data > end) return undefined;
	const flags = bytes[at + Tcp.flags] as number;
	const options = (flags & TcpFlag.syn) === 0 ? NO_OPTIONS : readOptions(bytes, at + Tcp.header, data);
	return {
		flags,
		sequence: get32(bytes, at + Tcp.sequence),
		acknowledgement: get32(bytes, at + Tcp.acknowledgement),
		window: get16(bytes, at + Tcp.window),
		payload: bytes.subarray(data, end),
		...options,
	};
}

interface Options {
	readonly mss: number | undefined;
	readonly windowScale: number | undefined;
}
const NO_OPTIONS: Options = { mss: undefined, windowScale: undefined };

function readOptions(bytes: Uint8Array, start: number, end: number): Options {
	let mss: number | undefined;
	let windowScale: number | undefined;
	for (let at = start; at < end; ) {
		const kind = bytes[at];
		if (kind === Option.end) break;
		if (kind === Option.nothing) {
			at++;
			continue;
		}
		const length = at + 1 < end ? (bytes[at + 1] as number) : 0;
		if (length < 2 || at + length > end) break;
		if (kind === Option.mss && length === 4) mss = get16(bytes, at + 2);
		if (kind === Option.windowScale && length === 3) windowScale = Math.min(bytes[at + 2] as number, MOST_SCALE);
		at += length;
	}
	return { mss, windowScale };
}

/** Bytes of a segment's header. */
export function headerLength(segment: OutgoingSegment): number {
	if ((segment.flags & TcpFlag.syn) === 0) return Tcp.header;
	return Tcp.header + 4 + (segment.windowScale === undefined ? 0 : 4);
}

/** Writes a segment with its payload; ports and checksum are the caller's. */
export function writeSegment(bytes: Uint8Array, at: number, segment: OutgoingSegment): void {
	const header = headerLength(segment);
	put32(bytes, at + Tcp.sequence, segment.sequence);
	put32(bytes, at + Tcp.acknowledgement, segment.acknowledgement);
	bytes[at + Tcp.dataOffset] = (header / 4) << 4;
	bytes[at + Tcp.flags] = segment.flags;
	put16(bytes, at + Tcp.window, segment.window);
	put16(bytes, at + Tcp.checksum, 0);
	put16(bytes, at + Tcp.urgent, 0);
	if (header > Tcp.header) {
		bytes.set([Option.mss, 4, segment.mss >>> 8, segment.mss & 0xff], at + Tcp.header);
		if (segment.windowScale !== undefined) {
			bytes.set([Option.nothing, Option.windowScale, 3, segment.windowScale], at + Tcp.header + 4);
		}
	}
	if (segment.length > 0) segment.copyPayload?.(bytes, at + header);
}
