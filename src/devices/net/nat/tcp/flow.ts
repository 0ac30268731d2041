/**
 * A guest's TCP connection with a socket of the host behind it: what comes in at one end goes out at the other, as fast as that takes it, and
 * each half ends by itself.
 */
import type { TcpSocket, TcpSocketEvents } from "../host-network.ts";
import { type EndpointPath, TcpEndpoint } from "./endpoint.ts";
import type { OutgoingSegment, Segment } from "./segment.ts";

/** Who is connected: IPv4 addresses as numbers, as the guest sees them. */
export interface FlowAddresses {
	readonly guest: number;
	readonly guestPort: number;
	readonly remote: number;
	readonly remotePort: number;
}

/** What flows have in common (table.ts). */
export interface FlowHost {
	now(): number;
	/** Bytes that each flow may hold for the guest, and for the socket. */
	readonly bufferLimit: number;
	readonly ownMss: number;
	readonly largestSegment: number;
	initialSequence(): number;
	sendSegment(flow: TcpFlow, segment: OutgoingSegment): boolean;
	acknowledgeSoon(flow: TcpFlow): void;
	arm(flow: TcpFlow, deadline: number): void;
	/** The socket of a guest's call has been connected, or could not be. */
	callEnded(flow: TcpFlow, syn: Segment, error: string | undefined): void;
	/** Something goes to the host's network, or came from there. */
	hostActivity(): void;
	remove(flow: TcpFlow): void;
}

/**
 * SYNs to a guest after the first, three seconds with the first: the way is short, and who calls through a forwarded port has been accepted
 * already, so that the end is all that tells of a guest without an answer.
 */
const MOST_CALL_TRIES = 1;

export class TcpFlow {
	readonly endpoint: TcpEndpoint;
	/** Of a guest's call whose socket is being connected. */
	private syn: Segment | undefined;
	private socket: TcpSocket | undefined;
	private paused = false;

	constructor(
		private readonly host: FlowHost,
		readonly addresses: FlowAddresses,
	) {
		const path: EndpointPath = {
			now: () => host.now(),
			send: (segment) => host.sendSegment(this, segment),
			arm: (deadline) => host.arm(this, deadline),
			acknowledgeSoon: () => host.acknowledgeSoon(this),
			largestSegment: host.largestSegment,
		};
		this.endpoint = new TcpEndpoint(
			{
				established: () => this.resume(),
				data: (bytes) => {
					this.socket?.write(bytes);
					host.hostActivity();
				},
				end: () => {
					this.socket?.end();
					host.hostActivity();
				},
				receiveRoom: () => Math.max(0, host.bufferLimit - (this.socket?.pending ?? 0)),
				sendRoom: () => {
					if (this.paused && this.endpoint.queued < host.bufferLimit / 2) this.resume();
				},
				closed: (reason) => this.release(reason !== "closed"),
			},
			path,
			host.initialSequence(),
			host.ownMss,
		);
	}

	/** Waits for its socket to be connected. */
	get isPending(): boolean {
		return this.syn !== undefined;
	}

	/** The guest calls, and `connect` makes the socket. */
	callOut(syn: Segment, connect: (events: TcpSocketEvents) => TcpSocket): void {
		this.syn = syn;
		this.socket = connect(this.socketEvents);
	}

	/** Somebody calls the guest through `socket`. @returns what to do about the socket's events */
	callIn(socket: TcpSocket): TcpSocketEvents {
		this.socket = socket;
		this.pause();
		this.endpoint.open(MOST_CALL_TRIES);
		return this.socketEvents;
	}

	/** A segment of the guest's. */
	receive(segment: Segment): void {
		if (!this.isPending) this.endpoint.receive(segment);
	}

	/** Ends both ends at once. */
	abort(): void {
		this.endpoint.reset();
		this.release(true);
	}

	private readonly socketEvents: TcpSocketEvents = {
		connected: () => {
			const { syn } = this;
			if (syn === undefined) return;
			this.syn = undefined;
			this.host.callEnded(this, syn, undefined);
			this.pause();
			this.endpoint.accept(syn);
		},
		data: (bytes) => {
			this.host.hostActivity();
			this.endpoint.send(bytes);
			if (this.endpoint.queued >= this.host.bufferLimit) this.pause();
		},
		end: () => {
			this.host.hostActivity();
			this.endpoint.end();
		},
		drained: () => this.endpoint.receiveRoomChanged(),
		closed: (error) => {
			const { syn } = this;
			this.socket = undefined;
			if (syn !== undefined) {
				this.syn = undefined;
				this.host.callEnded(this, syn, error ?? "ECONNRESET");
				this.release(false);
			} else if (error !== undefined) this.abort();
		},
	};

	private pause(): void {
		this.paused = true;
		this.socket?.pause();
	}

	private resume(): void {
		this.paused = false;
		this.socket?.resume();
	}

	private release(reset: boolean): void {
		const { syn, socket } = this;
		this.syn = undefined;
		this.socket = undefined;
		if (syn !== undefined) this.host.callEnded(this, syn, "ECONNABORTED");
		socket?.destroy(reset);
		this.host.remove(this);
	}
}
