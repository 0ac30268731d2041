/** Two TCP endpoints and a link between them that loses, repeats and reorders segments, with a clock of its own. */

import { TcpFlag } from "../../../../src/devices/net/frame.ts";
import { type CloseReason, TcpEndpoint } from "../../../../src/devices/net/nat/tcp/endpoint.ts";
import type { OutgoingSegment, Segment } from "../../../../src/devices/net/nat/tcp/segment.ts";

/** What the link does with a segment; 0 is nothing special. */
export interface Mishap {
	readonly lose: boolean;
	readonly repeat: boolean;
	/** Milliseconds beyond the link's own. */
	readonly delay: number;
}

const NO_MISHAP: Mishap = { lose: false, repeat: false, delay: 0 };
const LATENCY = 5;

interface Event {
	readonly at: number;
	readonly order: number;
	readonly run: () => void;
}

export class Clock {
	now = 0;
	private order = 0;
	/** In reverse order: the next is the last. */
	private readonly events: Event[] = [];

	at(time: number, run: () => void): void {
		const event = { at: Math.max(time, this.now), order: this.order++, run };
		let [low, high] = [0, this.events.length];
		while (low < high) {
			const middle = (low + high) >>> 1;
			const other = this.events[middle] as Event;
			if (other.at > event.at) low = middle + 1;
			else high = middle;
		}
		this.events.splice(low, 0, event);
	}

	/** Runs what is due, until nothing is or `until` says that it is enough. @returns how many events there were */
	run(until: () => boolean, most: number): number {
		let count = 0;
		for (; !until() && count < most; count++) {
			const next = this.events.pop();
			if (next === undefined) break;
			this.now = next.at;
			next.run();
		}
		return count;
	}
}

/** One end, with a program that reads at its own pace. */
export class Peer {
	readonly endpoint: TcpEndpoint;
	private readonly pieces: Uint8Array[] = [];
	ended = false;
	established = false;
	closed: CloseReason | undefined;
	other: Peer | undefined;
	/** Bytes that its program has not read. */
	unread = 0;
	sent = 0;
	/** Segments with data that the endpoint made; large ones count once. */
	made = 0;
	private sequence = 0;
	private acknowledging = false;

	constructor(
		private readonly clock: Clock,
		private readonly mishaps: readonly Mishap[],
		private readonly options: {
			readonly initial: number;
			readonly mss: number;
			readonly largest: number;
			readonly buffer: number;
			/** Milliseconds between two reads of the program; 0 reads at once. */
			readonly pace: number;
		},
	) {
		this.endpoint = new TcpEndpoint(
			{
				established: () => {
					this.established = true;
				},
				data: (bytes) => {
					this.pieces.push(bytes.slice());
					this.unread += bytes.length;
					if (this.unread > options.buffer) throw new Error("more than there was room for");
					if (options.pace === 0) this.unread = 0;
					else if (this.unread === bytes.length) this.readLater();
				},
				end: () => {
					this.ended = true;
				},
				receiveRoom: () => options.buffer - this.unread,
				sendRoom: () => {},
				closed: (reason) => {
					this.closed = reason;
				},
			},
			{
				now: () => clock.now,
				send: (segment) => this.transmit(segment),
				arm: (deadline) => clock.at(deadline, () => this.endpoint.timerExpired()),
				acknowledgeSoon: () => {
					if (this.acknowledging) return;
					this.acknowledging = true;
					clock.at(clock.now, () => {
						this.acknowledging = false;
						this.endpoint.acknowledge();
					});
				},
				largestSegment: options.largest,
			},
			options.initial,
			options.mss,
		);
	}

	get received(): Buffer {
		return Buffer.concat(this.pieces);
	}

	private readLater(): void {
		this.clock.at(this.clock.now + this.options.pace, () => {
			this.unread = 0;
			this.endpoint.receiveRoomChanged();
		});
	}

	private transmit(segment: OutgoingSegment): boolean {
		if (segment.length > 0) this.made++;
		const payload = new Uint8Array(segment.length);
		if (segment.length > 0) segment.copyPayload?.(payload, 0);
		// What is larger than a segment may be is cut, as a network card does.
		const size = Math.max(1, segment.mss);
		for (let from = 0; from < payload.length || from === 0; from += size) {
			const last = from + size >= payload.length;
			const flags = last ? segment.flags : segment.flags & ~(TcpFlag.fin | TcpFlag.psh);
			const syn = (flags & TcpFlag.syn) !== 0;
			this.carry({
				flags,
				sequence: (segment.sequence + from) >>> 0,
				acknowledgement: segment.acknowledgement,
				window: segment.window,
				payload: payload.slice(from, from + size),
				mss: syn ? segment.mss : undefined,
				windowScale: syn ? segment.windowScale : undefined,
			});
		}
		return true;
	}

	private carry(segment: Segment): void {
		this.sent++;
		const { lose, repeat, delay } = this.mishaps[this.sequence++] ?? NO_MISHAP;
		const deliver = (): void => {
			const { other } = this;
			if (other === undefined) return;
			const calls = (segment.flags & (TcpFlag.syn | TcpFlag.ack)) === TcpFlag.syn;
			if (calls && other.endpoint.isClosed && !other.established) other.endpoint.accept(segment);
			else other.endpoint.receive(segment);
		};
		if (!lose) this.clock.at(this.clock.now + LATENCY + delay, deliver);
		if (repeat) this.clock.at(this.clock.now + LATENCY + 2 * delay + 1, deliver);
	}
}
