/**
 * UDP between guests and the host's network. A guest's port has one socket of the host, whoever it sends to (RFC 4787 4.1), and only those to
 * whom it has sent may answer. Datagrams to a forwarded port of the host are answered from there.
 */
import { completeChecksum } from "../checksum.ts";
import { IpProtocol, Ipv4, MAX_PACKET, put16, put32, Udp } from "../frame.ts";
import type { Datagram, NameServer, NatEnvironment, UdpSocket } from "./host-network.ts";
import { formatIpv4, parseIpv4 } from "./ipv4.ts";
import type { Station } from "./station.ts";
import type { Deadlines } from "./timers.ts";

export interface UdpLimits {
	/** Ports of guests with a socket, and conversations through forwarded ports, at the same time. */
	readonly flows: number;
	/** Others to whom each may have sent. */
	readonly peers: number;
}

export const UDP_LIMITS: UdpLimits = { flows: 1024, peers: 128 };
/** RFC 4787 4.3: no less than two minutes. Milliseconds. */
const IDLE = 120_000;
const SWEEP = 30_000;
const PORTS = 0x1_0000;

interface Flow {
	readonly guest: number;
	readonly guestPort: number;
	readonly socket: UdpSocket;
	/** Those who may answer, and whom the guest knows them as. */
	readonly peers: Map<string, { readonly remote: number; readonly remotePort: number }>;
	usedAt: number;
}

/** A conversation through a forwarded port. */
interface Session {
	readonly reply: (bytes: Uint8Array) => void;
	usedAt: number;
}

export interface UdpOptions {
	readonly limits: UdpLimits;
	/** Where a datagram to an address goes; undefined where it goes nowhere. */
	readonly translate: (address: number, port: number) => NameServer | undefined;
}

/** A datagram for a guest. */
export interface OutgoingDatagram {
	readonly source: number;
	readonly sourcePort: number;
	readonly destination: number;
	readonly destinationPort: number;
	readonly bytes: Uint8Array;
	readonly mac?: Uint8Array;
}

/** Sends a datagram, in fragments where it is larger than a packet may be. @returns false where it was refused */
export function sendDatagram(station: Station, datagram: OutgoingDatagram): boolean {
	const { bytes, destination, destinationPort, source, sourcePort } = datagram;
	const length = Udp.header + bytes.length;
	if (Ipv4.header + length > MAX_PACKET) return false;
	const target = datagram.mac === undefined ? {} : { mac: datagram.mac };
	// The checksum is complete: it is over the whole datagram, which no fragment is, and DHCP clients that read raw packets look at it.
	const whole = new Uint8Array(Ipv4.header + length);
	put32(whole, Ipv4.source, source);
	put32(whole, Ipv4.destination, destination);
	const at = Ipv4.header;
	put16(whole, at + Udp.source, sourcePort);
	put16(whole, at + Udp.destination, destinationPort);
	put16(whole, at + Udp.length, length);
	whole.set(bytes, at + Udp.header);
	completeChecksum(whole, { version: 4, network: 0, at, protocol: IpProtocol.udp, end: whole.length });
	return station.sendInFragments({
		source,
		destination,
		protocol: IpProtocol.udp,
		length,
		write: (to, start) => to.set(whole.subarray(at), start),
		...target,
	});
}

export class UdpTable {
	/** By the guest's address and port. */
	private readonly flows = new Map<number, Flow>();
	/** By all four of guest and other. */
	private readonly sessions = new Map<string, Session>();
	private sweeping = false;

	constructor(
		private readonly station: Station,
		private readonly environment: NatEnvironment,
		private readonly deadlines: Deadlines,
		private readonly options: UdpOptions,
	) {}

	get size(): number {
		return this.flows.size + this.sessions.size;
	}

	/** A datagram of a guest's. @returns whether it goes anywhere */
	receive(guest: number, guestPort: number, remote: number, remotePort: number, bytes: Uint8Array): boolean {
		const now = this.environment.now();
		const session = this.sessions.get(sessionKey(guest, guestPort, remote, remotePort));
		this.environment.hostActivity();
		if (session !== undefined) {
			session.usedAt = now;
			session.reply(bytes);
			return true;
		}
		const target = this.options.translate(remote, remotePort);
		if (target === undefined) return false;
		const flow = this.flowOf(guest, guestPort);
		flow.usedAt = now;
		const peer = `${target.address}:${target.port}`;
		flow.peers.delete(peer);
		if (flow.peers.size >= this.options.limits.peers) removeOldest(flow.peers);
		flow.peers.set(peer, { remote, remotePort });
		flow.socket.send(bytes, target.address, target.port);
		return true;
	}

	/** A datagram to a forwarded port goes to a guest; `reply` sends what it answers. */
	callIn(
		guest: number,
		guestPort: number,
		remote: number,
		remotePort: number,
		bytes: Uint8Array,
		reply: (bytes: Uint8Array) => void,
	): void {
		const key = sessionKey(guest, guestPort, remote, remotePort);
		this.sessions.delete(key);
		if (this.sessions.size >= this.options.limits.flows) removeOldest(this.sessions);
		this.sessions.set(key, { reply, usedAt: this.environment.now() });
		this.sweepLater();
		this.deliver(guest, guestPort, remote, remotePort, bytes);
	}

	/** Ends what a guest's address has. */
	abort(guest: number): void {
		for (const [key, flow] of this.flows) if (flow.guest === guest) this.removeFlow(key, flow);
		for (const key of this.sessions.keys()) if (key.startsWith(`${guest}:`)) this.sessions.delete(key);
	}

	close(): void {
		for (const flow of this.flows.values()) flow.socket.close();
		this.flows.clear();
		this.sessions.clear();
	}

	private flowOf(guest: number, guestPort: number): Flow {
		const key = guest * PORTS + guestPort;
		const known = this.flows.get(key);
		// In the map's order, the one that was used least recently is the first.
		if (known !== undefined) {
			this.flows.delete(key);
			this.flows.set(key, known);
			return known;
		}
		if (this.flows.size >= this.options.limits.flows) {
			const [oldest] = this.flows;
			if (oldest !== undefined) this.removeFlow(...oldest);
		}
		const flow: Flow = {
			guest,
			guestPort,
			socket: this.environment.network.openUdp((datagram) => this.receiveAnswer(flow, datagram)),
			peers: new Map(),
			usedAt: this.environment.now(),
		};
		this.flows.set(key, flow);
		this.sweepLater();
		return flow;
	}

	private receiveAnswer(flow: Flow, { address, bytes, port }: Datagram): void {
		const peer = flow.peers.get(`${address}:${port}`);
		if (peer === undefined) return;
		flow.usedAt = this.environment.now();
		this.deliver(flow.guest, flow.guestPort, peer.remote, peer.remotePort, bytes);
	}

	private deliver(guest: number, guestPort: number, remote: number, remotePort: number, bytes: Uint8Array): void {
		this.environment.hostActivity();
		if (this.station.neighbour(guest) === undefined) this.station.ask(guest);
		sendDatagram(this.station, {
			source: remote,
			sourcePort: remotePort,
			destination: guest,
			destinationPort: guestPort,
			bytes,
		});
	}

	private sweepLater(): void {
		if (this.sweeping) return;
		this.sweeping = true;
		this.deadlines.add(this.environment.now() + SWEEP, () => this.sweep());
	}

	private sweep(): void {
		this.sweeping = false;
		const before = this.environment.now() - IDLE;
		for (const [key, flow] of this.flows) if (flow.usedAt < before) this.removeFlow(key, flow);
		for (const [key, session] of this.sessions) if (session.usedAt < before) this.sessions.delete(key);
		if (this.size > 0) this.sweepLater();
	}

	private removeFlow(key: number, flow: Flow): void {
		this.flows.delete(key);
		flow.socket.close();
	}
}

function sessionKey(guest: number, guestPort: number, remote: number, remotePort: number): string {
	return `${guest}:${guestPort}:${remote}:${remotePort}`;
}

function removeOldest<K>(map: Map<K, unknown>): void {
	const oldest = map.keys().next();
	if (oldest.done !== true) map.delete(oldest.value);
}

/** How a guest sees the sender of a datagram or call from the host's network: the host itself is the gateway. */
export function seenAs(address: string, gateway: number): number {
	const number = parseIpv4(address) ?? parseIpv4(address.replace(/^::ffff:/i, ""));
	return number === undefined || number >>> 24 === 127 || number === 0 ? gateway : number;
}

/** Where an address that a guest sends to is on the host's network. */
export function hostAddress(address: number, gateway: number): string {
	return address === gateway ? "127.0.0.1" : formatIpv4(address);
}
