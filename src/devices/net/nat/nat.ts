/**
 * A user-mode NAT network: guests reach the host's network, and forwarded ports of the host reach guests, by sockets of an ordinary program. Seen
 * from a guest it is a gateway (which is also the host's loopback), a name server and a DHCP server. IPv4 only: there are no router
 * advertisements, and IPv6 frames are dropped.
 */
import { checksum, verifyChecksum } from "../checksum.ts";
import {
	ETHERNET_HEADER,
	Ethernet,
	EtherType,
	Fragment,
	type Frame,
	get16,
	get32,
	IpProtocol,
	Ipv4,
	type NetworkLink,
	type NetworkPort,
	put16,
	put32,
	Tcp,
	Udp,
} from "../frame.ts";
import { DhcpPort, DhcpServer } from "./dhcp.ts";
import { DNS_PORT, DnsProxy } from "./dns.ts";
import type { Listener, NameServer, NatEnvironment } from "./host-network.ts";
import { IcmpResponder, Unreachable } from "./icmp.ts";
import { broadcastOf, isInside, isUnroutable, LIMITED_BROADCAST, type Subnet } from "./ipv4.ts";
import { Reassembly } from "./reassembly.ts";
import { Station } from "./station.ts";
import type { FlowAddresses } from "./tcp/flow.ts";
import { TCP_LIMITS, type TcpLimits, TcpTable } from "./tcp/table.ts";
import { Deadlines } from "./timers.ts";
import { hostAddress, seenAs, sendDatagram, UDP_LIMITS, type UdpLimits, UdpTable } from "./udp.ts";

export interface NatOptions {
	/** 10.0.2.0/24 by default. */
	readonly subnet?: Subnet;
	/** The gateway's address, which is the host's loopback too: the network's second by default. */
	readonly gateway?: number;
	/** The name server's: the third by default. */
	readonly dns?: number;
	/** The first that a guest gets: the fifteenth by default, the fourth in networks that are too small for that. */
	readonly firstGuest?: number;
	/** Bytes of the largest packet; 1500 by default. */
	readonly mtu?: number;
	/** Whether guests reach services of the host's loopback by the gateway's address; they do by default. */
	readonly hostLoopback?: boolean;
	/** The name of the domain that guests are told. */
	readonly domain?: string;
	/** Whom to ask for names; the host's own name servers by default. */
	readonly nameServers?: readonly NameServer[];
	readonly tcpLimits?: TcpLimits;
	readonly udpLimits?: UdpLimits;
}

/** A port of the host that leads to a guest. */
export interface Forward {
	readonly protocol: "tcp" | "udp";
	/** Where the host listens. Port 0: any that is free. */
	readonly address: string;
	readonly port: number;
	readonly guestPort: number;
}

export const DEFAULT_SUBNET: Subnet = { base: 0x0a000200, mask: 0xffffff00 };
const DEFAULT_MTU = 1500;
/** RFC 791 3.2: what every network carries. */
export const LEAST_MTU = 576;
export const MOST_MTU = 65535;
/** A station's address as slirp's is, locally administered. */
const MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
const LEASE = 86_400;

export class Nat implements NetworkPort {
	readonly station: Station;
	readonly dhcp: DhcpServer;
	readonly gateway: number;
	readonly dnsAddress: number;
	private readonly deadlines: Deadlines;
	private readonly tcp: TcpTable;
	private readonly udp: UdpTable;
	private readonly dns: DnsProxy;
	private readonly icmp: IcmpResponder;
	private readonly reassembly: Reassembly;
	private readonly listeners = new Set<Listener>();
	private closed = false;

	constructor(
		private readonly environment: NatEnvironment,
		private readonly options: NatOptions = {},
	) {
		const subnet = options.subnet ?? DEFAULT_SUBNET;
		this.gateway = options.gateway ?? subnet.base + 2;
		this.dnsAddress = options.dns ?? subnet.base + 3;
		const room = broadcastOf(subnet) - subnet.base;
		const firstGuest = options.firstGuest ?? subnet.base + (room > 16 ? 15 : 4);
		this.station = new Station(MAC, subnet, [this.gateway, this.dnsAddress], options.mtu ?? DEFAULT_MTU);
		const now = (): number => environment.now();
		this.deadlines = new Deadlines(now, (deadline, callback) => environment.setTimer(deadline, callback));
		this.dhcp = new DhcpServer(this.station, {
			gateway: this.gateway,
			dns: this.dnsAddress,
			firstGuest,
			domain: options.domain,
			lease: LEASE,
		});
		this.icmp = new IcmpResponder(this.station, this.gateway, now);
		this.reassembly = new Reassembly(now, this.deadlines);
		const translate = (address: number, port: number): NameServer | undefined => this.translate(address, port);
		this.udp = new UdpTable(this.station, environment, this.deadlines, {
			limits: options.udpLimits ?? UDP_LIMITS,
			translate,
		});
		this.tcp = new TcpTable(this.station, environment, this.deadlines, {
			limits: options.tcpLimits ?? TCP_LIMITS,
			translate: (address, port) =>
				address === this.dnsAddress && port === DNS_PORT ? this.nameServers()[0] : translate(address, port),
			unreachable: (flow, sequence) => this.callUnreachable(flow, sequence),
		});
		this.dns = new DnsProxy(environment, this.deadlines, () => this.nameServers(), this.gateway);
	}

	/** Connections, conversations and questions that there are at the moment. */
	get activity(): { readonly tcp: number; readonly udp: number; readonly dns: number; readonly fragments: number } {
		return { tcp: this.tcp.size, udp: this.udp.size, dns: this.dns.size, fragments: this.reassembly.size };
	}

	/** Connects it to its network. */
	attach(link: NetworkLink): void {
		this.station.link = link;
	}

	/**
	 * Opens a port of the host that leads to the interface whose Ethernet address `mac` tells, where there is one at the moment.
	 * @throws the error of the system where the host cannot listen there
	 */
	async forward({ address, guestPort, port, protocol }: Forward, mac: () => string | undefined): Promise<Listener> {
		const target = (): number | undefined => {
			const wanted = mac();
			return this.closed || wanted === undefined ? undefined : this.dhcp.addressOf(wanted);
		};
		const open = protocol === "tcp" ? this.forwardTcp : this.forwardUdp;
		const listener = await open.call(this, address, port, guestPort, target);
		const entry: Listener = {
			address: listener.address,
			port: listener.port,
			close: () => {
				if (this.listeners.delete(entry)) listener.close();
			},
		};
		this.listeners.add(entry);
		if (this.closed) entry.close();
		return entry;
	}

	private forwardTcp(
		address: string,
		port: number,
		guestPort: number,
		target: () => number | undefined,
	): Promise<Listener> {
		return this.environment.network.listenTcp(address, port, (socket, from) => {
			const guest = target();
			if (guest === undefined) return undefined;
			return this.tcp.callIn(socket, guest, guestPort, this.seenAs(from.address), from.port);
		});
	}

	private async forwardUdp(
		address: string,
		port: number,
		guestPort: number,
		target: () => number | undefined,
	): Promise<Listener> {
		const socket = await this.environment.network.listenUdp(address, port, (datagram) => {
			const guest = target();
			if (guest === undefined) return;
			const reply = (answer: Uint8Array): void => socket.send(answer, datagram.address, datagram.port);
			this.udp.callIn(guest, guestPort, this.seenAs(datagram.address), datagram.port, datagram.bytes, reply);
		});
		return socket;
	}

	/** An interface has gone: what it had with the host's network ends. */
	interfaceGone(mac: string): void {
		const address = this.dhcp.addressOf(mac);
		if (address !== undefined) {
			this.tcp.abort(address);
			this.udp.abort(address);
			this.dns.abort(address);
		}
		this.dhcp.unreserve(mac);
	}

	/** Ends everything: no socket of it is left. */
	close(): void {
		this.closed = true;
		for (const listener of [...this.listeners]) listener.close();
		this.tcp.abort();
		this.udp.close();
		this.dns.close();
		this.reassembly.clear();
		this.deadlines.clear();
		this.station.forgetAll();
		this.station.link?.detach();
		this.station.link = undefined;
	}

	// The network's side.

	receive({ bytes, checksumBlank }: Frame): boolean {
		if (bytes.length < ETHERNET_HEADER || this.closed) return true;
		const type = get16(bytes, Ethernet.type);
		if (type === EtherType.arp) this.station.receiveArp(bytes);
		else if (type === EtherType.ipv4) this.receiveIpv4(bytes, checksumBlank);
		return true;
	}

	roomAvailable(): void {
		this.tcp.roomAvailable();
	}

	settle(): void {
		this.tcp.settle();
	}

	private receiveIpv4(frame: Uint8Array, checksumBlank: boolean): void {
		const packet = validPacket(frame);
		if (packet === undefined) return;
		const source = get32(packet, Ipv4.source);
		const destination = get32(packet, Ipv4.destination);
		const { station } = this;
		if (source !== 0) {
			// Who sends from addresses that are not of this network could only want to be taken for somebody else.
			if (!isInside(source, station.subnet) || station.own.includes(source) || source === station.subnet.base) return;
			if (source === broadcastOf(station.subnet)) return;
			station.learn(source, frame, Ethernet.source);
		}
		if ((get16(packet, Ipv4.fragment) & (Fragment.offset | Fragment.more)) === 0) {
			this.receivePacket(packet, frame, source, destination, checksumBlank);
			return;
		}
		const whole = this.reassembly.add(packet, headerOf(packet));
		if (whole !== undefined) this.receivePacket(whole, frame, source, destination, false);
	}

	private receivePacket(
		packet: Uint8Array,
		frame: Uint8Array,
		source: number,
		destination: number,
		checksumBlank: boolean,
	): void {
		const header = headerOf(packet);
		const protocol = packet[Ipv4.protocol] as number;
		const transport = { version: 4, network: 0, at: header, protocol, end: packet.length } as const;
		const ours = this.station.own.includes(destination);
		if (protocol === IpProtocol.udp) {
			if (!checksumBlank && !verifyChecksum(packet, transport)) return;
			this.receiveUdp(packet, header, frame, source, destination);
			return;
		}
		if (source === 0 || destination === LIMITED_BROADCAST) return;
		if (!ours && (packet[Ipv4.ttl] as number) <= 1) {
			this.icmp.timeExceeded(packet, header, source);
		} else if (protocol === IpProtocol.icmp) {
			this.icmp.receive(packet, header, source, destination);
		} else if (protocol === IpProtocol.tcp) {
			if (!checksumBlank && !verifyChecksum(packet, transport)) return;
			this.tcp.receive(source, destination, packet, header, packet.length);
		} else if (!isUnroutable(destination)) {
			this.icmp.unreachable(packet, header, source, Unreachable.protocol);
		}
	}

	private receiveUdp(packet: Uint8Array, header: number, frame: Uint8Array, source: number, destination: number): void {
		if (header + Udp.header > packet.length) return;
		const length = get16(packet, header + Udp.length);
		if (length < Udp.header || header + length > packet.length) return;
		const data = packet.subarray(header + Udp.header, header + length);
		const sourcePort = get16(packet, header + Udp.source);
		const port = get16(packet, header + Udp.destination);
		const isBroadcast = destination === LIMITED_BROADCAST || destination === broadcastOf(this.station.subnet);
		if (port === DhcpPort.server && (isBroadcast || destination === this.gateway)) {
			this.dhcp.receive(data, frame.slice(Ethernet.source, Ethernet.source + 6));
			return;
		}
		if (source === 0 || isBroadcast) return;
		if (destination === this.dnsAddress) {
			if (port !== DNS_PORT) this.icmp.unreachable(packet, header, source, Unreachable.port);
			else this.answerDns(data, source, sourcePort);
			return;
		}
		if (destination !== this.gateway && (packet[Ipv4.ttl] as number) <= 1) {
			this.icmp.timeExceeded(packet, header, source);
			return;
		}
		const sent = this.udp.receive(source, sourcePort, destination, port, data);
		if (!sent && !isUnroutable(destination)) this.icmp.unreachable(packet, header, source, Unreachable.port);
	}

	private answerDns(question: Uint8Array, guest: number, guestPort: number): void {
		this.dns.ask(question, guest, (bytes) => {
			sendDatagram(this.station, {
				source: this.dnsAddress,
				sourcePort: DNS_PORT,
				destination: guest,
				destinationPort: guestPort,
				bytes,
			});
		});
	}

	// The host's side.

	private nameServers(): readonly NameServer[] {
		return this.options.nameServers ?? this.environment.network.nameServers();
	}

	/** Where on the host's network an address of the guest's view is. */
	private translate(address: number, port: number): NameServer | undefined {
		if (port === 0) return undefined;
		if (address === this.gateway) {
			return this.options.hostLoopback === false ? undefined : { address: hostAddress(address, this.gateway), port };
		}
		if (isInside(address, this.station.subnet) || isUnroutable(address)) return undefined;
		return { address: hostAddress(address, this.gateway), port };
	}

	/** Who calls a guest: an address of its own network would be looked for there. */
	private seenAs(address: string): number {
		const seen = seenAs(address, this.gateway);
		return isInside(seen, this.station.subnet) ? this.gateway : seen;
	}

	/** A call that cannot reach its host: as the host's kernel would tell a program of its own. */
	private callUnreachable({ guest, guestPort, remote, remotePort }: FlowAddresses, sequence: number): void {
		const packet = new Uint8Array(Ipv4.header + 8);
		packet[0] = 0x45;
		packet[Ipv4.protocol] = IpProtocol.tcp;
		put32(packet, Ipv4.source, guest);
		put32(packet, Ipv4.destination, remote);
		put16(packet, Ipv4.header + Tcp.source, guestPort);
		put16(packet, Ipv4.header + Tcp.destination, remotePort);
		put32(packet, Ipv4.header + Tcp.sequence, sequence);
		this.icmp.unreachable(packet, Ipv4.header, guest, Unreachable.host);
	}
}

function headerOf(packet: Uint8Array): number {
	return ((packet[0] as number) & 15) * 4;
}

/** The IPv4 packet of a frame, cut to its own length; undefined where its header is wrong. */
function validPacket(frame: Uint8Array): Uint8Array | undefined {
	const at = ETHERNET_HEADER;
	if (frame.length < at + Ipv4.header) return undefined;
	const length = get16(frame, at + Ipv4.length);
	const header = headerOf(frame.subarray(at));
	if ((frame[at] as number) >>> 4 !== 4 || header < Ipv4.header || length < header) return undefined;
	if (at + length > frame.length || checksum(frame, at, at + header) !== 0) return undefined;
	return frame.subarray(at, at + length);
}
