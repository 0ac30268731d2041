/**
 * xenstored's Unix-domain socket: Debian's xenstore-utils, and whatever else uses libxenstore, reach the store by it with the rights of
 * domain 0. They find it by the environment variable XENSTORED_PATH.
 */
import { createServer, type Socket } from "node:net";
import type { Connection } from "../../store/connection.ts";
import { PacketAssembler } from "../../store/packet.ts";
import type { Link, StoreServer } from "../../store/server.ts";
import { listenAt } from "./unix-socket.ts";

/** A socket that serves the store. */
export interface StoreSocket {
	readonly path: string;
	/** Ends all connections, and removes the socket. */
	close(): Promise<void>;
}

const NOTHING: Uint8Array = new Uint8Array(0);

class SocketLink implements Link {
	readonly connection: Connection;
	private readonly assembler = new PacketAssembler();
	/** What has been received and not yet been looked at; nothing more is received meanwhile. */
	private rest = NOTHING;
	/** The socket takes no more at the moment. */
	private full = false;

	constructor(
		private readonly server: StoreServer,
		private readonly socket: Socket,
	) {
		this.connection = server.openConnection(0);
	}

	start(): void {
		const { server, socket } = this;
		socket.on("data", (data: Uint8Array) => {
			this.rest = data;
			this.work();
		});
		socket.on("drain", () => {
			this.full = false;
			this.flush();
			this.work();
		});
		// What went wrong does not matter: the client is gone.
		socket.on("error", () => {});
		socket.on("close", () => server.removeLink(this));
	}

	flush(): void {
		for (let bytes = this.connection.peek(); bytes !== undefined && !this.full; bytes = this.connection.peek()) {
			this.full = !this.socket.write(bytes);
			this.connection.advance(bytes.length);
		}
	}

	close(): void {
		this.socket.destroy();
	}

	/** Answers requests as long as their replies are taken. */
	private work(): void {
		while (this.rest.length > 0 && !this.full && !this.connection.blocked) {
			const piece = this.rest.subarray(0, this.assembler.wanted);
			this.rest = this.rest.subarray(piece.length);
			this.assembler.append(piece);
			const { wanted } = this.assembler;
			if (wanted < 0) {
				this.close();
				return;
			}
			if (wanted === 0) this.server.handle(this.connection, this.assembler.take());
		}
		if (this.rest.length > 0) this.socket.pause();
		else this.socket.resume();
	}
}

/**
 * Serves the store on a Unix-domain socket. One that nobody listens to any more is replaced.
 * @throws the error of the system where there can be none: EADDRINUSE where another program listens there.
 */
export async function serveStore(server: StoreServer, path: string): Promise<StoreSocket> {
	const links = new Set<SocketLink>();
	const sockets = createServer((socket) => {
		const link = new SocketLink(server, socket);
		links.add(link);
		socket.on("close", () => links.delete(link));
		server.addLink(link);
		link.start();
	});
	await listenAt(sockets, path);
	return {
		path,
		close: () =>
			new Promise((resolve) => {
				sockets.close(() => resolve());
				for (const link of links) server.removeLink(link);
			}),
	};
}
