/**
 * All TCP connections between guests and the host's network: finds the flow of a segment, makes new ones, and bounds how many there are and how
 * much they hold together.
 */
import { IpProtocol, put16, Tcp, TcpFlag } from "../../frame.ts";
import type { NameServer, NatEnvironment, TcpSocket, TcpSocketEvents } from "../host-network.ts";
import type { Station } from "../station.ts";
import type { Deadlines } from "../timers.ts";
import { type FlowAddresses, type FlowHost, TcpFlow } from "./flow.ts";
import { headerLength, type OutgoingSegment, readSegment, type Segment, writeSegment } from "./segment.ts";
import { advance, distance } from "./sequence.ts";

export interface TcpLimits {
	/** Connections at the same time, those in TIME-WAIT included. */
	readonly connections: number;
	/** Of them: calls of guests whose sockets are being connected. */
	readonly pending: number;
	/** Bytes that all together may hold in each direction; a single one has at most `bufferOfOne`. */
	readonly buffers: number;
	readonly bufferOfOne: number;
}

export const TCP_LIMITS: TcpLimits = {
	connections: 4096,
	pending: 256,
	buffers: 64 * 2 ** 20,
	bufferOfOne: 2 ** 20,
};
const LEAST_BUFFER = 16 * 2 ** 10;
/** Headers of IPv4 and TCP without options. */
const HEADERS = 40;
const LARGEST_SEGMENT = 65535 - HEADERS;
const FIRST_DYNAMIC_PORT = 49152;

export interface TcpOptions {
	readonly limits: TcpLimits;
	/** Where a guest's call to an address goes; undefined where it goes nowhere. */
	readonly translate: (address: number, port: number) => NameServer | undefined;
	/** Tells the guest that its call, a SYN with that sequence number, does not arrive. */
	readonly unreachable: (flow: FlowAddresses, sequence: number) => void;
}

/** Errors of connecting that are told by ICMP; all others reset. */
export const UNREACHABLE: readonly string[] = ["ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT", "EHOSTDOWN", "ENETDOWN"];

const PORTS = 0x1_0000;

export class TcpTable implements FlowHost {
	readonly ownMss: number;
	readonly largestSegment = LARGEST_SEGMENT;
	bufferLimit: number;
	/** By the guest's address and port, then by the other's. */
	private readonly flows = new Map<number, Map<number, TcpFlow>>();
	private count = 0;
	private pending = 0;
	private readonly blocked = new Set<TcpFlow>();
	private readonly toAcknowledge = new Set<TcpFlow>();

	constructor(
		private readonly station: Station,
		private readonly environment: NatEnvironment,
		private readonly deadlines: Deadlines,
		private readonly options: TcpOptions,
	) {
		this.ownMss = station.mtu - HEADERS;
		this.bufferLimit = options.limits.bufferOfOne;
	}

	/** Connections that there are. */
	get size(): number {
		return this.count;
	}

	/** A TCP packet of a guest's: its segment lies from `at` to `end`. */
	receive(guest: number, remote: number, bytes: Uint8Array, at: number, end: number): void {
		const segment = readSegment(bytes, at, end);
		if (segment === undefined) return;
		const guestPort = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
		const remotePort = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
		const flow = this.flows.get(guest * PORTS + guestPort)?.get(remote * PORTS + remotePort);
		const calls = (segment.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst | TcpFlag.fin)) === TcpFlag.syn;
		if (flow !== undefined) {
			if (flow.isPending) {
				if ((segment.flags & TcpFlag.rst) !== 0) flow.abort();
				return;
			}
			const reuses =
				calls && flow.endpoint.isTimeWait && distance(segment.sequence, flow.endpoint.expectedSequence) > 0;
			if (!reuses) {
				flow.receive(segment);
				return;
			}
			flow.abort();
		}
		const addresses = { guest, guestPort, remote, remotePort };
		if (calls) this.callOut(addresses, segment);
		else if ((segment.flags & TcpFlag.rst) === 0) this.sendReset(addresses, segment);
	}

	/** Somebody calls port `guestPort` of a guest through `socket`. @returns undefined where there is no room for it */
	callIn(
		socket: TcpSocket,
		guest: number,
		guestPort: number,
		remote: number,
		port: number,
	): TcpSocketEvents | undefined {
		if (!this.makeRoom()) return undefined;
		const others = this.flows.get(guest * PORTS + guestPort);
		let remotePort = port;
		for (let tries = 0; others?.has(remote * PORTS + remotePort) === true; tries++) {
			if (tries === PORTS - FIRST_DYNAMIC_PORT) return undefined;
			remotePort = remotePort >= PORTS - 1 ? FIRST_DYNAMIC_PORT : remotePort + 1;
		}
		const flow = this.add({ guest, guestPort, remote, remotePort });
		return flow.callIn(socket);
	}

	/** The network takes frames again. */
	roomAvailable(): void {
		const waiting = [...this.blocked];
		this.blocked.clear();
		for (const flow of waiting) flow.endpoint.roomAvailable();
	}

	/** Sends the acknowledgements of what came together. */
	settle(): void {
		if (this.toAcknowledge.size === 0) return;
		const flows = [...this.toAcknowledge];
		this.toAcknowledge.clear();
		for (const flow of flows) flow.endpoint.acknowledge();
	}

	/** Ends all connections of a guest's address, or all. */
	abort(guest?: number): void {
		for (const inner of [...this.flows.values()]) {
			for (const flow of [...inner.values()]) {
				if (guest === undefined || flow.addresses.guest === guest) flow.abort();
			}
		}
	}

	// What flows ask for.

	now(): number {
		return this.environment.now();
	}

	initialSequence(): number {
		return this.environment.random32();
	}

	sendSegment(flow: TcpFlow, segment: OutgoingSegment): boolean {
		const sent = this.send(flow.addresses, segment);
		if (!sent) this.blocked.add(flow);
		return sent;
	}

	acknowledgeSoon(flow: TcpFlow): void {
		this.toAcknowledge.add(flow);
	}

	arm(flow: TcpFlow, deadline: number): void {
		this.deadlines.add(deadline, () => flow.endpoint.timerExpired());
	}

	hostActivity(): void {
		this.environment.hostActivity();
	}

	callEnded(flow: TcpFlow, syn: Segment, error: string | undefined): void {
		this.pending--;
		this.environment.endHostOperation();
		if (error === undefined || error === "ECONNABORTED") return;
		if (UNREACHABLE.includes(error)) this.options.unreachable(flow.addresses, syn.sequence);
		else this.sendReset(flow.addresses, syn);
	}

	remove(flow: TcpFlow): void {
		const { guest, guestPort, remote, remotePort } = flow.addresses;
		const inner = this.flows.get(guest * PORTS + guestPort);
		if (inner?.get(remote * PORTS + remotePort) !== flow) return;
		inner.delete(remote * PORTS + remotePort);
		if (inner.size === 0) this.flows.delete(guest * PORTS + guestPort);
		this.count--;
		this.blocked.delete(flow);
		this.toAcknowledge.delete(flow);
		this.shareBuffers();
	}

	// Making flows.

	/** A guest's call. Where there are too many, it is not answered: the guest tries again. */
	private callOut(addresses: FlowAddresses, syn: Segment): void {
		const { limits, translate } = this.options;
		const target = translate(addresses.remote, addresses.remotePort);
		if (target === undefined) {
			this.options.unreachable(addresses, syn.sequence);
			return;
		}
		if (this.pending >= limits.pending || !this.makeRoom()) return;
		this.pending++;
		this.environment.beginHostOperation();
		const { network } = this.environment;
		// The payload of a SYN (RFC 7413) is not kept: the guest sends it again.
		const kept = { ...syn, payload: syn.payload.subarray(0, 0) };
		this.add(addresses).callOut(kept, (events) => network.connectTcp(target.address, target.port, events));
	}

	private add(addresses: FlowAddresses): TcpFlow {
		const { guest, guestPort, remote, remotePort } = addresses;
		const flow = new TcpFlow(this, addresses);
		const key = guest * PORTS + guestPort;
		let inner = this.flows.get(key);
		if (inner === undefined) {
			inner = new Map();
			this.flows.set(key, inner);
		}
		inner.set(remote * PORTS + remotePort, flow);
		this.count++;
		this.shareBuffers();
		return flow;
	}

	/** Room for one more; a connection that is over and only waits makes some. */
	private makeRoom(): boolean {
		if (this.count < this.options.limits.connections) return true;
		for (const inner of this.flows.values()) {
			for (const flow of inner.values()) {
				if (!flow.endpoint.isTimeWait) continue;
				flow.abort();
				return true;
			}
		}
		return false;
	}

	private shareBuffers(): void {
		const { bufferOfOne, buffers } = this.options.limits;
		const share = Math.floor(buffers / Math.max(1, this.count));
		this.bufferLimit = Math.max(LEAST_BUFFER, Math.min(bufferOfOne, share));
	}

	// Sending.

	/** RFC 9293 3.10.7.1: the answer to a segment that belongs to no connection. */
	private sendReset(addresses: FlowAddresses, segment: Segment): void {
		const acknowledges = (segment.flags & TcpFlag.ack) !== 0;
		const flags = segment.flags & (TcpFlag.syn | TcpFlag.fin);
		const length = segment.payload.length + (flags === 0 ? 0 : flags === (TcpFlag.syn | TcpFlag.fin) ? 2 : 1);
		this.send(addresses, {
			flags: acknowledges ? TcpFlag.rst : TcpFlag.rst | TcpFlag.ack,
			sequence: acknowledges ? segment.acknowledgement : 0,
			acknowledgement: acknowledges ? 0 : advance(segment.sequence, length),
			window: 0,
			length: 0,
			mss: this.ownMss,
		});
	}

	private send({ guest, guestPort, remote, remotePort }: FlowAddresses, segment: OutgoingSegment): boolean {
		if (this.station.neighbour(guest) === undefined) {
			// As good as lost on the way: it is sent again when somebody has answered.
			this.station.ask(guest);
			return true;
		}
		return this.station.send({
			source: remote,
			destination: guest,
			protocol: IpProtocol.tcp,
			length: headerLength(segment) + segment.length,
			checksumAt: Tcp.checksum,
			segmentSize: segment.length > segment.mss ? segment.mss : 0,
			write: (bytes, at) => {
				put16(bytes, at + Tcp.source, remotePort);
				put16(bytes, at + Tcp.destination, guestPort);
				writeSegment(bytes, at, segment);
			},
		});
	}
}
