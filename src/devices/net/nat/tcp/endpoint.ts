/**
 * One end of a TCP connection (RFC 9293), without SACK and timestamps: what goes in and out as segments, data and ends of data. It knows
 * neither addresses nor sockets. Memory is bounded by the window that it offers, which its owner decides, and by what its owner queues.
 */
import { TcpFlag } from "../../frame.ts";
import { ByteRing } from "./byte-ring.ts";
import { CongestionControl } from "./congestion.ts";
import { OutOfOrder } from "./out-of-order.ts";
import { RetransmissionTimeout } from "./retransmission.ts";
import type { OutgoingSegment, Segment } from "./segment.ts";
import { advance, distance } from "./sequence.ts";

/** Why an endpoint is no more: both ends have closed, the peer reset it or refused it, or it did not answer any more. */
export type CloseReason = "closed" | "reset" | "timeout";

/** Who uses an endpoint. Nothing here may throw. */
export interface EndpointOwner {
	established(): void;
	/** Data of the peer, in order; valid only during the call. */
	data(bytes: Uint8Array): void;
	/** No more data will come. */
	end(): void;
	/** Bytes that may come at the moment. What was offered once stays offered. */
	receiveRoom(): number;
	/** Some of what was queued has been acknowledged. */
	sendRoom(): void;
	closed(reason: CloseReason): void;
}

/** What carries an endpoint's segments. */
export interface EndpointPath {
	/** Milliseconds, never going back. */
	now(): number;
	/** Sends a segment. @returns false where there was no room; {@link TcpEndpoint.roomAvailable} is called when there is. */
	send(segment: OutgoingSegment): boolean;
	/** Calls {@link TcpEndpoint.timerExpired} at `deadline`, and at those of earlier calls. */
	arm(deadline: number): void;
	/** Calls {@link TcpEndpoint.acknowledge} when the segments that came together have been handled. */
	acknowledgeSoon(): void;
	/** Bytes of payload of the largest segment that it takes and has cut by others. */
	readonly largestSegment: number;
}

type State =
	| "synSent"
	| "synReceived"
	| "established"
	| "finWait1"
	| "finWait2"
	| "closeWait"
	| "closing"
	| "lastAck"
	| "timeWait"
	| "closed";

/** States in which data and FIN may be on their way to the peer. */
const SENDING: readonly State[] = ["established", "finWait1", "closeWait", "closing", "lastAck"];
/** States in which the peer may send data. */
const RECEIVING: readonly State[] = ["established", "finWait1", "finWait2"];

/**
 * How long a little data waits for an answer to be acknowledged with (RFC 9293 3.8.6.3), in milliseconds: as long as an answer of the host's own takes.
 * Whoever asks and waits has one segment to deal with, not two; a sender that waits for acknowledgements (Nagle) hardly notices.
 */
const ACKNOWLEDGEMENT_DELAY = 1;
const NEVER = Number.POSITIVE_INFINITY;
/** RFC 9293 3.7.1: what a peer takes that does not say. */
const DEFAULT_MSS = 536;
/** Smaller ones would only make work. */
const LEAST_MSS = 64;
/** Shift of the windows that we offer: up to 8 MiB. */
const WINDOW_SCALE = 7;
/** Tries before a peer counts as gone: some minutes for data, about a minute for a SYN. */
const MOST_TRIES = 12;
const MOST_SYN_TRIES = 6;
const TIME_WAIT = 60_000;
/** RFC 9293 3.8.4: an idle peer is asked whether it is there after two hours, then each 75 seconds. */
const KEEP_ALIVE = 7_200_000;
const KEEP_ALIVE_INTERVAL = 75_000;
const KEEP_ALIVE_TRIES = 9;

export class TcpEndpoint {
	private state: State = "closed";
	private readonly owner: EndpointOwner;
	private readonly path: EndpointPath;

	// What is sent: SND.UNA, SND.NXT, the end of what was ever sent, SND.WND, SND.WL1 and SND.WL2 (RFC 9293 3.3.1).
	private unacknowledged: number;
	private next: number;
	private sent: number;
	private window = 0;
	private windowSequence = 0;
	private windowAcknowledgement = 0;
	private largestWindow = 0;
	private sendScale = 0;
	private mss: number;
	private congestion: CongestionControl;
	private readonly queue = new ByteRing();
	/** Sequence number of the queue's first byte. */
	private queueStart: number;
	private finQueued = false;
	/** A timed segment's end and when it was sent (Karn: only what was sent once). */
	private timedEnd: number | undefined;
	private timedAt = 0;
	/** The end of what had been sent when the timeout expired: duplicates of before say nothing. */
	private lossEnd: number | undefined;
	/** The path refused a segment. */
	private blocked = false;

	// What is received: RCV.NXT, and the end of the window that was offered.
	private expected = 0;
	private offered = 0;
	private receiveScale = 0;
	private readonly early = new OutOfOrder();
	private finSequence: number | undefined;
	private acknowledgementDue = false;

	// Timers: of retransmission or zero-window probes, of acknowledgements that wait for an answer, and of states and idleness.
	private readonly timeout = new RetransmissionTimeout();
	private retransmitAt = NEVER;
	private probeAt = NEVER;
	private acknowledgeAt = NEVER;
	private stateEndsAt = NEVER;
	private armedFor = NEVER;
	private tries = 0;
	private mostSynTries = MOST_SYN_TRIES;
	private probes = 0;
	private heardAt = 0;

	/**
	 * @param initial the initial sequence number
	 * @param ownMss the largest payload that the path carries without cutting
	 */
	constructor(
		owner: EndpointOwner,
		path: EndpointPath,
		initial: number,
		private readonly ownMss: number,
	) {
		this.owner = owner;
		this.path = path;
		this.unacknowledged = initial;
		this.next = initial;
		this.sent = initial;
		this.queueStart = advance(initial, 1);
		this.mss = ownMss;
		this.congestion = new CongestionControl(ownMss);
	}

	/** Bytes that are queued and not acknowledged. */
	get queued(): number {
		return this.queue.length;
	}

	get isClosed(): boolean {
		return this.state === "closed";
	}

	/** Only kept so that late segments of the peer find an answer. */
	get isTimeWait(): boolean {
		return this.state === "timeWait";
	}

	/** The next sequence number of the peer's that is new: a SYN behind it may reuse a connection in TIME-WAIT (RFC 1122 4.2.2.13). */
	get expectedSequence(): number {
		return this.expected;
	}

	/** Active open: sends a SYN. */
	open(mostTries = MOST_SYN_TRIES): void {
		this.state = "synSent";
		this.mostSynTries = mostTries;
		this.receiveScale = WINDOW_SCALE;
		this.sendSyn();
	}

	/** Passive open: answers a peer's SYN. */
	accept(syn: Segment): void {
		this.state = "synReceived";
		this.takeSyn(syn);
		this.receiveScale = syn.windowScale === undefined ? 0 : WINDOW_SCALE;
		this.sendSyn();
	}

	/** Queues a copy of data. */
	send(bytes: Uint8Array): void {
		if (this.finQueued || this.state === "closed" || this.state === "timeWait") return;
		this.queue.push(bytes);
		this.output();
	}

	/** No more data will be sent: FIN follows what is queued. */
	end(): void {
		if (this.finQueued) return;
		this.finQueued = true;
		if (this.state === "established") this.state = "finWait1";
		else if (this.state === "closeWait") this.state = "lastAck";
		this.output();
	}

	/** Ends the connection at once and tells the peer. The owner is not called any more. */
	reset(): void {
		if (this.state === "closed") return;
		if (this.state !== "synSent" && this.state !== "timeWait") {
			this.emit(TcpFlag.rst | TcpFlag.ack, this.next, 0, 0);
		}
		this.forget();
	}

	/** The owner has more room than it had: the peer is told where that makes a difference (RFC 9293 3.8.6.2.2). */
	receiveRoomChanged(): void {
		if (!RECEIVING.includes(this.state)) return;
		const room = this.owner.receiveRoom();
		const gained = room - distance(this.offered, this.expected);
		if (gained >= Math.min(2 * this.mss, room)) this.sendAcknowledgement();
	}

	/** The path takes segments again. */
	roomAvailable(): void {
		if (!this.blocked) return;
		this.blocked = false;
		this.acknowledge();
		this.output();
	}

	/** Sends the acknowledgement that is due, if it still is and does not wait for an answer. */
	acknowledge(): void {
		if (this.acknowledgementDue && this.acknowledgeAt === NEVER) this.sendAcknowledgement();
	}

	/** A segment of the peer (RFC 9293 3.10.7). */
	receive(segment: Segment): void {
		if (this.state === "closed") return;
		if (this.state === "synSent") {
			this.receiveInSynSent(segment);
			return;
		}
		this.probes = 0;
		this.heardAt = this.path.now();
		const { flags } = segment;
		if (!this.isAcceptable(segment)) {
			if ((flags & TcpFlag.rst) === 0) {
				if (this.state === "synReceived" && (flags & TcpFlag.syn) !== 0) this.sendSyn();
				else this.sendAcknowledgement();
			}
			return;
		}
		// RFC 5961: only the one right sequence number resets; what is only near is asked whether it means it.
		if ((flags & TcpFlag.rst) !== 0) {
			if (segment.sequence === this.expected) this.close("reset");
			else this.sendAcknowledgement();
			return;
		}
		if ((flags & TcpFlag.syn) !== 0) {
			this.sendAcknowledgement();
			return;
		}
		if ((flags & TcpFlag.ack) === 0) return;
		if (this.state === "synReceived" && !this.completeHandshake(segment)) return;
		if (!this.receiveAcknowledgement(segment)) return;
		if (RECEIVING.includes(this.state)) this.receiveData(segment);
		this.output();
	}

	/** The deadline for which the path was armed has come. */
	timerExpired(): void {
		const now = this.path.now();
		this.armedFor = NEVER;
		if (this.state === "closed") return;
		if (now >= this.stateEndsAt) this.stateTimerExpired();
		if (now >= this.retransmitAt) this.retransmitTimerExpired();
		if (now >= this.probeAt) this.probeTimerExpired();
		if (now >= this.acknowledgeAt) this.sendAcknowledgement();
		this.armTimers();
	}

	// Opening.

	private sendSyn(): void {
		const acknowledges = this.state === "synReceived";
		const flags = TcpFlag.syn | (acknowledges ? TcpFlag.ack : 0);
		const initial = this.unacknowledged;
		const window = Math.min(this.owner.receiveRoom(), 0xffff);
		if (acknowledges) this.offered = advance(this.expected, window);
		this.path.send({
			flags,
			sequence: initial,
			acknowledgement: acknowledges ? this.expected : 0,
			window,
			length: 0,
			mss: this.ownMss,
			windowScale: this.receiveScale > 0 ? this.receiveScale : undefined,
		});
		if (this.sent === initial) this.startTiming(advance(initial, 1));
		else this.timedEnd = undefined;
		this.next = advance(initial, 1);
		this.sent = this.next;
		this.retransmitAt = this.path.now() + this.timeout.value;
		this.armTimers();
	}

	/** What a SYN tells of its sender. */
	private takeSyn(syn: Segment): void {
		this.expected = advance(syn.sequence, 1);
		this.offered = this.expected;
		this.mss = Math.max(LEAST_MSS, Math.min(this.ownMss, syn.mss ?? DEFAULT_MSS));
		this.congestion = new CongestionControl(this.mss);
		this.sendScale = syn.windowScale ?? 0;
		// The window of a SYN is never scaled.
		this.window = syn.window;
		this.largestWindow = syn.window;
		this.windowSequence = syn.sequence;
	}

	private receiveInSynSent(segment: Segment): void {
		const { acknowledgement, flags } = segment;
		const acknowledges = (flags & TcpFlag.ack) !== 0;
		if (acknowledges && acknowledgement !== this.sent) {
			if ((flags & TcpFlag.rst) === 0) this.emit(TcpFlag.rst, acknowledgement, 0, 0);
			return;
		}
		if ((flags & TcpFlag.rst) !== 0) {
			if (acknowledges) this.close("reset");
			return;
		}
		if ((flags & TcpFlag.syn) === 0) return;
		this.takeSyn(segment);
		if (segment.windowScale === undefined) this.receiveScale = 0;
		if (!acknowledges) {
			// Both have called each other.
			this.state = "synReceived";
			this.sendSyn();
			return;
		}
		this.windowAcknowledgement = acknowledgement;
		this.synAcknowledged();
		this.sendAcknowledgement();
		this.output();
	}

	/** In SYN-RECEIVED: the acknowledgement of our SYN. */
	private completeHandshake(segment: Segment): boolean {
		if (segment.acknowledgement !== this.sent) {
			this.emit(TcpFlag.rst, segment.acknowledgement, 0, 0);
			return false;
		}
		this.window = segment.window << this.sendScale;
		this.largestWindow = Math.max(this.largestWindow, this.window);
		this.windowSequence = segment.sequence;
		this.windowAcknowledgement = segment.acknowledgement;
		this.synAcknowledged();
		return true;
	}

	private synAcknowledged(): void {
		this.measure(this.sent);
		this.unacknowledged = this.sent;
		this.tries = 0;
		this.timeout.progress();
		this.retransmitAt = NEVER;
		this.state = this.finQueued ? "finWait1" : "established";
		this.heardAt = this.path.now();
		this.endStateIn(KEEP_ALIVE);
		this.owner.established();
	}

	// Receiving.

	/** RFC 9293 3.10.7.4, first step; with a closed window, what comes at its edge is still looked at for what it acknowledges. */
	private isAcceptable({ flags, payload, sequence }: Segment): boolean {
		const length = payload.length + ((flags & TcpFlag.fin) !== 0 ? 1 : 0) + ((flags & TcpFlag.syn) !== 0 ? 1 : 0);
		const from = distance(sequence, this.expected);
		const window = distance(this.offered, this.expected);
		if (from === 0) return true;
		if (length === 0) return from > 0 && from < window;
		return from < window && from + length > 0;
	}

	/** @returns whether the rest of the segment is to be looked at. */
	private receiveAcknowledgement(segment: Segment): boolean {
		const { acknowledgement, payload, sequence } = segment;
		if (distance(acknowledgement, this.sent) > 0) {
			this.sendAcknowledgement();
			return false;
		}
		const acknowledged = distance(acknowledgement, this.unacknowledged);
		if (acknowledged < 0) return true;
		const windowBefore = this.window;
		const later = distance(sequence, this.windowSequence);
		if (later > 0 || (later === 0 && distance(acknowledgement, this.windowAcknowledgement) >= 0)) {
			this.window = segment.window << this.sendScale;
			this.largestWindow = Math.max(this.largestWindow, this.window);
			this.windowSequence = sequence;
			this.windowAcknowledgement = acknowledgement;
			if (this.window > 0) this.probeAt = NEVER;
		}
		const inFlight = distance(this.sent, this.unacknowledged);
		if (acknowledged > 0) this.advanceTo(acknowledgement, acknowledged);
		else if (
			inFlight > 0 &&
			payload.length === 0 &&
			(segment.flags & TcpFlag.fin) === 0 &&
			this.window === windowBefore &&
			this.lossEnd === undefined &&
			this.congestion.duplicate(this.sent, inFlight)
		) {
			this.sendAgain();
		}
		return this.state !== "closed";
	}

	/** Something new was acknowledged. */
	private advanceTo(acknowledgement: number, count: number): void {
		this.measure(acknowledgement);
		this.unacknowledged = acknowledgement;
		if (distance(this.next, acknowledgement) < 0) this.next = acknowledgement;
		const finEnd = advance(this.queueStart, this.queue.length + 1);
		const data = Math.min(Math.max(0, distance(acknowledgement, this.queueStart)), this.queue.length);
		this.queue.drop(data);
		this.queueStart = advance(this.queueStart, data);
		this.tries = 0;
		this.timeout.progress();
		if (this.lossEnd !== undefined && distance(acknowledgement, this.lossEnd) >= 0) this.lossEnd = undefined;
		const inFlight = distance(this.sent, acknowledgement);
		if (this.congestion.acknowledged(count, acknowledgement, inFlight) && inFlight > 0) this.sendAgain();
		this.retransmitAt = inFlight > 0 ? this.path.now() + this.timeout.value : NEVER;
		if (this.finQueued && acknowledgement === finEnd) this.finAcknowledged();
		if (data > 0 && this.state !== "closed") this.owner.sendRoom();
	}

	private finAcknowledged(): void {
		if (this.state === "finWait1") this.state = "finWait2";
		else if (this.state === "closing") this.enterTimeWait();
		else if (this.state === "lastAck") this.close("closed");
	}

	private receiveData(segment: Segment): void {
		const { flags, payload } = segment;
		const window = distance(this.offered, this.expected);
		const from = distance(segment.sequence, this.expected);
		const start = Math.max(0, -from);
		const end = Math.min(payload.length, window - from);
		const whole = end === payload.length;
		if ((flags & TcpFlag.fin) !== 0 && whole) this.finSequence = advance(segment.sequence, payload.length);
		if (payload.length > 0 || (flags & TcpFlag.fin) !== 0) this.acknowledgementSoon(payload.length < this.mss);
		if (start < end) {
			const data = payload.subarray(start, end);
			if (from <= 0 && this.early.empty) this.deliver(data);
			else {
				this.early.insert(advance(segment.sequence, start), data);
				for (let ready = this.early.take(this.expected); ready !== undefined; ready = this.early.take(this.expected)) {
					this.deliver(ready);
				}
				// RFC 5681 4.2: what fills a gap, or comes behind one, is acknowledged at once.
				this.sendAcknowledgement();
			}
		} else if (payload.length > 0) this.sendAcknowledgement();
		if (this.finSequence === this.expected && RECEIVING.includes(this.state)) this.receiveFin();
	}

	private deliver(data: Uint8Array): void {
		if (this.state === "closed") return;
		this.expected = advance(this.expected, data.length);
		if (distance(this.offered, this.expected) < 0) this.offered = this.expected;
		this.owner.data(data);
	}

	private receiveFin(): void {
		this.expected = advance(this.expected, 1);
		if (distance(this.offered, this.expected) < 0) this.offered = this.expected;
		this.early.clear();
		this.sendAcknowledgement();
		if (this.state === "established") this.state = "closeWait";
		else if (this.state === "finWait1") this.state = "closing";
		else if (this.state === "finWait2") this.enterTimeWait();
		this.owner.end();
	}

	// Sending.

	/** Sends what queue, windows and path allow. */
	private output(): void {
		if (this.blocked || !SENDING.includes(this.state)) {
			this.armTimers();
			return;
		}
		while (this.outputSegment()) {
			// One after the other.
		}
		this.armTimers();
	}

	/** @returns whether there may be more to send. */
	private outputSegment(): boolean {
		const offset = distance(this.next, this.queueStart);
		const unsent = this.queue.length - offset;
		if (unsent < 0 || (unsent === 0 && !this.finQueued)) return false;
		const inFlight = distance(this.next, this.unacknowledged);
		const limit = Math.min(this.window, this.congestion.window);
		const room = limit - inFlight;
		let length = 0;
		if (unsent > 0) {
			const most = Math.floor(this.path.largestSegment / this.mss) * this.mss;
			length = Math.min(unsent, room, Math.max(this.mss, most));
			if (length < unsent && length >= this.mss) length -= length % this.mss;
			// Silly windows (RFC 9293 3.8.6.2.1): a part of a segment is only sent where it is all, or half of what the peer ever took.
			const silly = length < unsent && length < this.mss && length < this.largestWindow / 2;
			// A little that each acknowledgement makes room for costs the guest as much as a large segment: while most of what may be in
			// flight is, and so acknowledgements are on their way, it gathers.
			const little = inFlight > 0 && length < unsent && length < Math.min(most, limit / 4);
			if (length <= 0 || silly || little) {
				if (inFlight === 0 && this.probeAt === NEVER) this.probeAt = this.path.now() + this.timeout.value;
				return false;
			}
		}
		const last = length === unsent;
		const fin = last && this.finQueued;
		const flags = TcpFlag.ack | (last && length > 0 ? TcpFlag.psh : 0) | (fin ? TcpFlag.fin : 0);
		if (!this.emit(flags, this.next, offset, length)) return false;
		const end = advance(this.next, length + (fin ? 1 : 0));
		if (distance(end, this.sent) > 0) {
			if (this.next === this.sent) this.startTiming(end);
			this.sent = end;
		}
		this.next = end;
		this.probeAt = NEVER;
		if (this.retransmitAt === NEVER) this.retransmitAt = this.path.now() + this.timeout.value;
		return !fin;
	}

	/** Sends the first segment that is not acknowledged again. */
	private sendAgain(): void {
		this.timedEnd = undefined;
		const offset = distance(this.unacknowledged, this.queueStart);
		const length = Math.min(this.queue.length - offset, this.mss, distance(this.sent, this.unacknowledged));
		if (length < 0) return;
		const fin =
			this.finQueued && offset + length === this.queue.length && distance(this.sent, this.unacknowledged) > length;
		this.emit(TcpFlag.ack | (fin ? TcpFlag.fin : 0), this.unacknowledged, offset, length);
		this.retransmitAt = this.path.now() + this.timeout.value;
	}

	private sendAcknowledgement(): void {
		if (this.state === "closed") return;
		this.acknowledgementDue = true;
		this.acknowledgeAt = NEVER;
		this.emit(TcpFlag.ack, this.next, 0, 0);
	}

	/** @param little what is to be acknowledged may wait for an answer, if nothing else does */
	private acknowledgementSoon(little: boolean): void {
		if (little && !this.acknowledgementDue) this.acknowledgeAt = this.path.now() + ACKNOWLEDGEMENT_DELAY;
		else if (!this.acknowledgementDue || this.acknowledgeAt !== NEVER) {
			this.acknowledgeAt = NEVER;
			this.path.acknowledgeSoon();
		}
		this.acknowledgementDue = true;
	}

	/** Hands a segment to the path. @returns whether it took it. */
	private emit(flags: number, sequence: number, offset: number, length: number): boolean {
		const acknowledges = (flags & TcpFlag.ack) !== 0;
		const segment: OutgoingSegment = {
			flags,
			sequence,
			acknowledgement: acknowledges ? this.expected : 0,
			window: acknowledges ? this.offerWindow() : 0,
			length,
			mss: this.mss,
			copyPayload: (target, at) => this.queue.copy(offset, length, target, at),
		};
		const taken = this.path.send(segment);
		if (!taken) this.blocked = true;
		else if (acknowledges) {
			this.acknowledgementDue = false;
			this.acknowledgeAt = NEVER;
		}
		return taken;
	}

	/** The window field: what the owner has room for, and never less than was offered before. */
	private offerWindow(): number {
		const before = distance(this.offered, this.expected);
		const unit = 2 ** this.receiveScale;
		const field = Math.min(0xffff, Math.floor(this.owner.receiveRoom() / unit));
		if (field * unit > before) {
			this.offered = advance(this.expected, field * unit);
			return field;
		}
		return Math.min(0xffff, Math.floor(before / unit));
	}

	// Times.

	private startTiming(end: number): void {
		if (this.timedEnd !== undefined) return;
		this.timedEnd = end;
		this.timedAt = this.path.now();
	}

	private measure(acknowledgement: number): void {
		if (this.timedEnd === undefined || distance(acknowledgement, this.timedEnd) < 0) return;
		this.timeout.measured(this.path.now() - this.timedAt);
		this.timedEnd = undefined;
	}

	private retransmitTimerExpired(): void {
		this.retransmitAt = NEVER;
		const opening = this.state === "synSent" || this.state === "synReceived";
		this.tries++;
		if (this.tries > (opening ? this.mostSynTries : MOST_TRIES)) {
			this.emit(TcpFlag.rst | TcpFlag.ack, this.next, 0, 0);
			this.close("timeout");
			return;
		}
		this.timeout.expired();
		this.timedEnd = undefined;
		if (opening) {
			this.sendSyn();
			return;
		}
		this.congestion.timedOut(distance(this.sent, this.unacknowledged));
		this.lossEnd = this.sent;
		this.next = this.unacknowledged;
		this.blocked = false;
		this.output();
		// Refused, or the window is closed: the next try comes all the same.
		if (this.retransmitAt === NEVER && this.probeAt === NEVER) this.retransmitAt = this.path.now() + this.timeout.value;
	}

	/** The peer's window has been closed for long: an old sequence number makes it say whether it still is. */
	private probeTimerExpired(): void {
		this.probeAt = NEVER;
		if (this.isGone(MOST_TRIES)) return;
		this.timeout.expired();
		this.emit(TcpFlag.ack, advance(this.unacknowledged, -1), 0, 0);
		this.probeAt = this.path.now() + this.timeout.value;
	}

	private stateTimerExpired(): void {
		this.stateEndsAt = NEVER;
		if (this.state === "timeWait") {
			this.close("closed");
			return;
		}
		const idle = this.path.now() - this.heardAt;
		if (idle < KEEP_ALIVE) {
			this.endStateIn(KEEP_ALIVE - idle);
			return;
		}
		if (this.isGone(KEEP_ALIVE_TRIES)) return;
		this.emit(TcpFlag.ack, advance(this.unacknowledged, -1), 0, 0);
		this.endStateIn(KEEP_ALIVE_INTERVAL);
	}

	/** Counts a question that nothing has been heard of since. @returns whether there were too many. */
	private isGone(most: number): boolean {
		if (this.probes++ < most) return false;
		this.emit(TcpFlag.rst | TcpFlag.ack, this.next, 0, 0);
		this.close("timeout");
		return true;
	}

	private endStateIn(milliseconds: number): void {
		this.stateEndsAt = this.path.now() + milliseconds;
		this.armTimers();
	}

	private armTimers(): void {
		const earliest = Math.min(this.retransmitAt, this.probeAt, this.acknowledgeAt, this.stateEndsAt);
		if (earliest >= this.armedFor) return;
		this.armedFor = earliest;
		this.path.arm(earliest);
	}

	// Ending.

	private enterTimeWait(): void {
		this.state = "timeWait";
		this.retransmitAt = NEVER;
		this.probeAt = NEVER;
		this.stateEndsAt = NEVER;
		this.endStateIn(TIME_WAIT);
	}

	private close(reason: CloseReason): void {
		if (this.state === "closed") return;
		this.forget();
		this.owner.closed(reason);
	}

	private forget(): void {
		this.state = "closed";
		this.retransmitAt = NEVER;
		this.probeAt = NEVER;
		this.acknowledgeAt = NEVER;
		this.stateEndsAt = NEVER;
		this.acknowledgementDue = false;
		this.early.clear();
		this.queue.drop(this.queue.length);
	}
}
