/**
 * The daemon's socket: greets, reads requests, answers. Only its user can connect (paths.ts); all the same no line, however wrong, ends more
 * than its own connection.
 */
import { createServer, type Server, type Socket } from "node:net";
import { ImageError } from "../formats/errors.ts";
import { DaemonError } from "./errors.ts";
import { type Caller, type DaemonContext, METHODS } from "./methods.ts";
import {
	encodeLine,
	type Failure,
	type Greeting,
	LineSplitter,
	type MethodName,
	type Methods,
	PROTOCOL_VERSION,
	type Request,
} from "./protocol.ts";

/** Bytes that a connection may have waiting before streams hold back. */
const MOST_QUEUED = 1 << 18;

export interface DaemonServer {
	/** Connections that there are. */
	readonly connections: number;
	/** Ends it, with its connections. */
	close(): Promise<void>;
}

/** An error in the words of the protocol. */
export function failureOf(error: unknown): Failure {
	const { code, message, remedy, reason, file } = error as Error & Partial<Record<string, unknown>>;
	return {
		code: typeof code === "string" ? code : "failed",
		message: error instanceof ImageError ? `${file}: ${reason}` : (message ?? String(error)),
		remedy: typeof remedy === "string" ? remedy : "The daemon's log may tell more (paravirt daemon status)",
	};
}

/** Listens on a path. @throws the error of the system where that cannot be done */
export async function serveDaemon(
	path: string,
	context: DaemonContext,
	version: string,
	onConnections: () => void,
): Promise<DaemonServer> {
	const sockets = new Set<Socket>();
	const greeting: Greeting = { paravirt: version, protocol: PROTOCOL_VERSION, pid: process.pid };
	const server = createServer((socket) => {
		sockets.add(socket);
		onConnections();
		socket.on("close", () => {
			sockets.delete(socket);
			onConnections();
		});
		socket.on("error", () => {});
		socket.write(encodeLine(greeting));
		new ServerConnection(socket, context).start();
	});
	await listen(server, path);
	return {
		get connections() {
			return sockets.size;
		},
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				// What is said already is still heard.
				for (const socket of sockets) socket.destroySoon();
			}),
	};
}

function listen(server: Server, path: string): Promise<void> {
	return new Promise((resolve, reject) => {
		// Nobody else may connect even between the socket's making and a chmod.
		const mask = process.umask(0o177);
		server.once("error", reject);
		server.listen(path, () => {
			server.off("error", reject);
			resolve();
		});
		process.umask(mask);
	});
}

class ServerConnection {
	private readonly inputs = new Map<number, (bytes: Uint8Array) => boolean>();
	private readonly roomListeners = new Set<() => void>();
	private readonly closed: Promise<void>;

	constructor(
		private readonly socket: Socket,
		private readonly context: DaemonContext,
	) {
		this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
	}

	start(): void {
		const { socket } = this;
		const lines = new LineSplitter();
		socket.on("data", (bytes) => {
			try {
				for (const line of lines.push(bytes)) this.handle(JSON.parse(line) as unknown);
			} catch {
				socket.destroy();
			}
		});
		socket.on("drain", () => {
			for (const listener of [...this.roomListeners]) listener();
		});
	}

	/** @throws TypeError for what is no message */
	private handle(message: unknown): void {
		if (typeof message !== "object" || message === null) throw new TypeError("no message");
		const { id, method, params, input } = message as Partial<Record<string, unknown>>;
		if (typeof id !== "number") throw new TypeError("no message");
		if (typeof input === "string") {
			const wantsMore = this.inputs.get(id)?.(Buffer.from(input, "base64")) ?? true;
			if (!wantsMore) this.socket.pause();
			return;
		}
		void this.answer({ id, method, params } as Request);
	}

	private async answer({ id, method, params }: Request): Promise<void> {
		try {
			if (!Object.hasOwn(METHODS, method) || typeof params !== "object" || params === null) {
				throw new DaemonError(
					"bad-request",
					`unknown request ${String(method)}`,
					"Restart the daemon: it may be older",
				);
			}
			this.send({ id, result: await this.run(id, method, params) });
		} catch (error) {
			this.send({ id, error: failureOf(error) });
		} finally {
			this.inputs.delete(id);
			this.socket.resume();
		}
	}

	private run<M extends MethodName>(id: number, method: M, params: Methods[M]["params"]): unknown {
		const caller: Caller<M> = {
			event: (event) => this.send({ id, event }),
			onRoom: (listener) => {
				this.roomListeners.add(listener);
				return () => this.roomListeners.delete(listener);
			},
			onInput: (listener) => this.inputs.set(id, listener),
			takeInput: () => this.socket.resume(),
			closed: this.closed,
		};
		return METHODS[method](params, this.context, caller);
	}

	/** @returns whether there is room for more */
	private send(message: unknown): boolean {
		if (this.socket.destroyed) return true;
		this.socket.write(encodeLine(message));
		return this.socket.writableLength < MOST_QUEUED;
	}
}
