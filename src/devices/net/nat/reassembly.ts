/**
 * Puts fragments of IPv4 packets together (RFC 791 3.2, RFC 815). There are only so many unfinished ones, for so long; overlapping fragments end
 * their packet, as nobody honest sends them (RFC 5722).
 */
import { Fragment, get16, get32, Ipv4, MAX_PACKET } from "../frame.ts";
import type { Deadlines } from "./timers.ts";

const MOST_PACKETS = 64;
const MOST_FRAGMENTS = 128;
/** RFC 1122 3.3.2 asks for 60 to 120 seconds; less is enough between neighbours. Milliseconds. */
const TIMEOUT = 30_000;

interface Unfinished {
	readonly parts: { readonly start: number; readonly bytes: Uint8Array }[];
	/** Bytes behind the header, where the last fragment has come. */
	length: number | undefined;
}

export class Reassembly {
	private readonly unfinished = new Map<string, Unfinished>();

	constructor(
		private readonly now: () => number,
		private readonly deadlines: Deadlines,
	) {}

	/** Packets that are not whole yet. */
	get size(): number {
		return this.unfinished.size;
	}

	/**
	 * A fragment: `bytes` is its IPv4 packet, which is valid and `header` bytes long before its data.
	 * @returns the packet where it is whole now, with the last fragment's header
	 */
	add(bytes: Uint8Array, header: number): Uint8Array | undefined {
		const field = get16(bytes, Ipv4.fragment);
		const start = (field & Fragment.offset) * 8;
		const data = bytes.subarray(header);
		const more = (field & Fragment.more) !== 0;
		if ((more && (data.length % 8 !== 0 || data.length === 0)) || header + start + data.length > MAX_PACKET)
			return undefined;
		const protocol = bytes[Ipv4.protocol];
		const key = `${get32(bytes, Ipv4.source)}:${get32(bytes, Ipv4.destination)}:${get16(bytes, Ipv4.identification)}:${protocol}`;
		const packet = this.unfinished.get(key) ?? this.begin(key);
		const end = start + data.length;
		const overlaps = packet.parts.some((part) => start < part.start + part.bytes.length && part.start < end);
		const beyond = packet.length !== undefined && (end > packet.length || !more);
		if (overlaps || beyond || packet.parts.length === MOST_FRAGMENTS) {
			this.unfinished.delete(key);
			return undefined;
		}
		packet.parts.push({ start, bytes: data.slice() });
		if (!more) packet.length = end;
		const received = packet.parts.reduce((sum, part) => sum + part.bytes.length, 0);
		if (received !== packet.length) return undefined;
		this.unfinished.delete(key);
		const whole = new Uint8Array(header + received);
		whole.set(bytes.subarray(0, header));
		for (const part of packet.parts) whole.set(part.bytes, header + part.start);
		return whole;
	}

	clear(): void {
		this.unfinished.clear();
	}

	private begin(key: string): Unfinished {
		if (this.unfinished.size >= MOST_PACKETS) {
			const oldest = this.unfinished.keys().next();
			if (oldest.done !== true) this.unfinished.delete(oldest.value);
		}
		const packet: Unfinished = { parts: [], length: undefined };
		this.unfinished.set(key, packet);
		this.deadlines.add(this.now() + TIMEOUT, () => {
			if (this.unfinished.get(key) === packet) this.unfinished.delete(key);
		});
		return packet;
	}
}
