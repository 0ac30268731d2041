/**
 * What the NAT needs of the host's network, as far as an unprivileged program has it: TCP and UDP sockets, and its names. Node.js implements it
 * in platform/node/network.ts. Addresses are IPv4 text. Callbacks come between turns of the event loop, never from inside a call.
 */

/** What happens to a TCP socket. */
export interface TcpSocketEvents {
	connected(): void;
	/** `bytes` is only valid during the call. */
	data(bytes: Uint8Array): void;
	/** The other end sends no more. */
	end(): void;
	/** What was written has been handed to the system. */
	drained(): void;
	/** It is gone, by both ends or with an error: a code such as ECONNREFUSED. */
	closed(error: string | undefined): void;
}

/** A TCP socket whose halves end separately. */
export interface TcpSocket {
	/** Bytes that were written and wait in this program. */
	readonly pending: number;
	/** Sends a copy of `bytes`. */
	write(bytes: Uint8Array): void;
	/** Sends no more. */
	end(): void;
	/** Takes no data for a while. */
	pause(): void;
	resume(): void;
	/** Lets go at once; with `reset`, the other end is told that something went wrong. No events come any more. */
	destroy(reset: boolean): void;
}

export interface UdpSocket {
	send(bytes: Uint8Array, address: string, port: number): void;
	close(): void;
}

/** Something that waits for the host's network to come to the guest. */
export interface Listener {
	readonly address: string;
	readonly port: number;
	close(): void;
}

export interface Datagram {
	readonly bytes: Uint8Array;
	readonly address: string;
	readonly port: number;
}

export interface NameServer {
	readonly address: string;
	readonly port: number;
}

export interface HostNetwork {
	/** @returns the socket at once; `events` tell what becomes of it. */
	connectTcp(address: string, port: number, events: TcpSocketEvents): TcpSocket;
	/**
	 * Listens; `accept` gets each connection with the address it comes from, and answers with what it does about its events, or undefined to refuse it.
	 * @throws the error of the system where that is not possible: EADDRINUSE, EACCES.
	 */
	listenTcp(
		address: string,
		port: number,
		accept: (socket: TcpSocket, from: NameServer) => TcpSocketEvents | undefined,
	): Promise<Listener>;
	/** A socket for sending datagrams and receiving answers. */
	openUdp(received: (datagram: Datagram) => void): UdpSocket;
	/** A socket on a known port. @throws the error of the system where that is not possible. */
	listenUdp(address: string, port: number, received: (datagram: Datagram) => void): Promise<UdpSocket & Listener>;
	/** The host's name servers that have IPv4 addresses. */
	nameServers(): readonly NameServer[];
	/** Addresses of a name as the host finds them, its hosts file included. Never rejects: none is an empty list. */
	lookup(name: string, family: 4 | 6): Promise<readonly string[]>;
}

/** What the NAT needs beside: time, chance, and a place for what went wrong. */
export interface NatEnvironment {
	readonly network: HostNetwork;
	/** Milliseconds of the guests' time, never going back. */
	now(): number;
	/** Calls `callback` once at `deadline`; a later call replaces it, also with Infinity for never. */
	setTimer(deadline: number, callback: () => void): void;
	random32(): number;
	log(text: string): void;
	/** An operation of the host begins, or ends, that guests wait for: idle time is not skipped meanwhile. */
	beginHostOperation(): void;
	endHostOperation(): void;
	/** Something was sent to the host's network or came from there; guests may be waiting for what comes next. */
	hostActivity(): void;
}
