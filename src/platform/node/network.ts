/** The host's network for the NAT: Node's sockets and resolver (see devices/net/nat/host-network.ts). */
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { getServers } from "node:dns";
import { lookup } from "node:dns/promises";
import { createServer, isIPv4, Socket } from "node:net";
import type {
	Datagram,
	HostNetwork,
	Listener,
	NameServer,
	TcpSocket,
	TcpSocketEvents,
	UdpSocket,
} from "../../devices/net/nat/host-network.ts";

const DNS_PORT = 53;

class NodeTcpSocket implements TcpSocket {
	private error: string | undefined;
	private gone = false;

	constructor(private readonly socket: Socket) {}

	listen(events: TcpSocketEvents): void {
		const { socket } = this;
		const unlessGone =
			<T extends unknown[]>(listener: (...values: T) => void) =>
			(...values: T): void => {
				if (!this.gone) listener(...values);
			};
		socket.setNoDelay(true);
		socket.on("connect", unlessGone(events.connected));
		socket.on("data", unlessGone(events.data));
		socket.on("end", unlessGone(events.end));
		socket.on("drain", unlessGone(events.drained));
		socket.on("error", (error: NodeJS.ErrnoException) => {
			this.error = error.code ?? error.message;
		});
		socket.on(
			"close",
			unlessGone(() => {
				this.gone = true;
				events.closed(this.error);
			}),
		);
	}

	get pending(): number {
		return this.socket.writableLength;
	}

	write(bytes: Uint8Array): void {
		const copy = Buffer.allocUnsafe(bytes.length);
		copy.set(bytes);
		this.socket.write(copy);
	}

	end(): void {
		this.socket.end();
	}

	pause(): void {
		this.socket.pause();
	}

	resume(): void {
		this.socket.resume();
	}

	destroy(reset: boolean): void {
		const { socket } = this;
		this.gone = true;
		// While a shutdown is on its way libuv refuses to reset (EINVAL), and Node.js then leaves the socket open, and reading, for ever. A closed one
		// answers whatever still comes with a reset.
		const shutting = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
		if (reset && !socket.connecting && !shutting) socket.resetAndDestroy();
		else socket.destroy();
	}
}

function connectTcp(address: string, port: number, events: TcpSocketEvents): TcpSocket {
	const socket = new Socket({ allowHalfOpen: true });
	const wrapped = new NodeTcpSocket(socket);
	wrapped.listen(events);
	socket.connect({ host: address, port, family: 4 });
	return wrapped;
}

async function listenTcp(
	address: string,
	port: number,
	accept: (socket: TcpSocket, from: NameServer) => TcpSocketEvents | undefined,
): Promise<Listener> {
	const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
		const wrapped = new NodeTcpSocket(socket);
		const events = accept(wrapped, { address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 });
		if (events === undefined) {
			socket.on("error", () => {});
			socket.resetAndDestroy();
		} else wrapped.listen(events);
	});
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen({ host: address, port }, () => {
			server.off("error", reject);
			// EMFILE and the like: that call is lost, later ones may succeed.
			server.on("error", () => {});
			resolve();
		});
	});
	const bound = server.address();
	const actual = typeof bound === "object" && bound !== null ? bound.port : port;
	return { address, port: actual, close: () => server.close() };
}

function sendThrough(socket: DatagramSocket, bytes: Uint8Array, address: string, port: number): void {
	// What cannot be sent is lost, as datagrams may be.
	socket.send(Uint8Array.from(bytes), port, address, () => {});
}

function openUdp(received: (datagram: Datagram) => void): UdpSocket {
	const socket = createSocket("udp4", (bytes, { address, port }) => received({ bytes, address, port }));
	socket.on("error", () => {});
	let closed = false;
	return {
		send: (bytes, address, port) => {
			if (!closed) sendThrough(socket, bytes, address, port);
		},
		close: () => {
			if (!closed) socket.close();
			closed = true;
		},
	};
}

async function listenUdp(
	address: string,
	port: number,
	received: (datagram: Datagram) => void,
): Promise<UdpSocket & Listener> {
	const socket = createSocket("udp4", (bytes, from) => received({ bytes, address: from.address, port: from.port }));
	await new Promise<void>((resolve, reject) => {
		socket.once("error", reject);
		socket.bind({ address, port }, () => {
			socket.off("error", reject);
			socket.on("error", () => {});
			resolve();
		});
	});
	let closed = false;
	return {
		address,
		port: socket.address().port,
		send: (bytes, to, toPort) => {
			if (!closed) sendThrough(socket, bytes, to, toPort);
		},
		close: () => {
			if (!closed) socket.close();
			closed = true;
		},
	};
}

/** "10.0.0.1" or "10.0.0.1:5353", as Node tells them. Those with IPv6 addresses are left out. */
function nameServers(): readonly NameServer[] {
	return getServers().flatMap((text) => {
		const [address = "", port] = text.split(":");
		return isIPv4(address) ? [{ address, port: port === undefined ? DNS_PORT : Number(port) }] : [];
	});
}

export const nodeNetwork: HostNetwork = {
	connectTcp,
	listenTcp,
	openUdp,
	listenUdp,
	nameServers,
	lookup: async (name, family) => {
		const found = await lookup(name, { all: true, family }).catch(() => []);
		return found.map(({ address }) => address);
	},
};
