/** A command's end of the daemon's socket. */
import { createConnection, type Socket } from "node:net";
import { DaemonError, RemoteError } from "./errors.ts";
import { checkDirectory, type DaemonPaths } from "./paths.ts";
import {
	encodeLine,
	type Greeting,
	LineSplitter,
	type MethodName,
	type Methods,
	PROTOCOL_VERSION,
	type Reply,
} from "./protocol.ts";

/** Milliseconds in which a daemon greets; one that is stopped or hangs never does. */
const GREETING_PATIENCE = 30_000;

interface Pending {
	resolve(result: unknown): void;
	reject(error: Error): void;
	event(event: unknown): void;
}

/** A request that has streams: its reply comes when it ends. */
export interface Stream<M extends MethodName> {
	readonly result: Promise<Methods[M]["result"]>;
	/** Gives it input. @returns false where more should wait for {@link onDrain} */
	write(bytes: Uint8Array): boolean;
	onDrain(listener: () => void): void;
}

export class DaemonClient {
	private readonly pending = new Map<number, Pending>();
	private next = 1;
	private gone: Error | undefined;

	/** Resolved when the connection has ended. */
	readonly closed: Promise<void>;

	private constructor(
		private readonly socket: Socket,
		readonly daemon: Greeting,
	) {
		this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
	}

	/**
	 * Connects to the daemon that runs.
	 * @param patience milliseconds
	 * @throws DaemonError not-running, unsafe-directory, other-version, no-answer
	 */
	static async connect(paths: DaemonPaths, patience = GREETING_PATIENCE): Promise<DaemonClient> {
		if (!checkDirectory(paths, false)) throw notRunning();
		const socket = createConnection(paths.socket);
		const lines = new LineSplitter();
		let client: DaemonClient | undefined;
		return await new Promise((resolve, reject) => {
			const timer = setTimeout(() => {
				reject(noAnswer(paths));
				socket.destroy();
			}, patience);
			const lost = (): void => {
				clearTimeout(timer);
				const error = new DaemonError("gone", "the daemon has ended", `Its log may tell why: ${paths.log}`);
				if (client === undefined) reject(error);
				else client.lose(error);
			};
			socket.on("error", (error: NodeJS.ErrnoException) => {
				const nobody = error.code === "ENOENT" || error.code === "ECONNREFUSED";
				if (client === undefined && nobody) reject(notRunning(error));
				else if (error.code === "ECONNRESET" || error.code === "EPIPE") lost();
				else if (client === undefined) reject(error);
			});
			socket.on("close", lost);
			socket.on("data", (bytes) => {
				try {
					for (const line of lines.push(bytes)) {
						const message = JSON.parse(line) as Greeting & Reply;
						if (client !== undefined) client.receive(message);
						else {
							clearTimeout(timer);
							checkGreeting(message);
							client = new DaemonClient(socket, message);
							resolve(client);
						}
					}
				} catch (error) {
					clearTimeout(timer);
					reject(error instanceof DaemonError ? error : noDaemon(paths, error));
					socket.destroy();
				}
			});
		});
	}

	/** @throws RemoteError where the daemon refuses it; DaemonError gone */
	request<M extends MethodName>(
		method: M,
		params: Methods[M]["params"],
		onEvent: (event: Methods[M]["event"]) => void = () => {},
	): Promise<Methods[M]["result"]> {
		return this.stream(method, params, onEvent).result;
	}

	stream<M extends MethodName>(
		method: M,
		params: Methods[M]["params"],
		onEvent: (event: Methods[M]["event"]) => void,
	): Stream<M> {
		const id = this.next++;
		const result = new Promise<Methods[M]["result"]>((resolve, reject) => {
			if (this.gone !== undefined) {
				reject(this.gone);
				return;
			}
			this.pending.set(id, {
				resolve: resolve as (result: unknown) => void,
				reject,
				event: onEvent as (event: unknown) => void,
			});
			this.socket.write(encodeLine({ id, method, params }));
		});
		return {
			result,
			write: (bytes) => this.socket.write(encodeLine({ id, input: Buffer.from(bytes).toString("base64") })),
			onDrain: (listener) => this.socket.on("drain", listener),
		};
	}

	close(): void {
		this.socket.destroy();
	}

	/** Closes it after `use`, however that ends: an open connection keeps a command from ending. */
	async during<T>(use: (client: this) => Promise<T>): Promise<T> {
		try {
			return await use(this);
		} finally {
			this.close();
		}
	}

	private receive(message: Reply): void {
		const waiting = this.pending.get(message.id);
		if (waiting === undefined) return;
		if ("event" in message) {
			waiting.event(message.event);
			return;
		}
		this.pending.delete(message.id);
		if ("error" in message) {
			const { code, message: text, remedy } = message.error;
			waiting.reject(new RemoteError(code, text, remedy));
		} else waiting.resolve(message.result);
	}

	private lose(error: Error): void {
		this.gone = error;
		for (const { reject } of this.pending.values()) reject(error);
		this.pending.clear();
	}
}

function notRunning(cause?: unknown): DaemonError {
	const remedy = "Create a domain, which starts one, or start it: paravirt daemon start";
	return new DaemonError("not-running", "no daemon runs", remedy, { cause });
}

function noAnswer({ lock, log }: DaemonPaths): DaemonError {
	const remedy = `If it stays so, end its process and remove ${lock}; its log may tell why: ${log}`;
	return new DaemonError("no-answer", "the daemon does not answer", remedy);
}

/** @param cause what was wrong with what it said */
function noDaemon(paths: DaemonPaths, cause: unknown): DaemonError {
	const remedy = `Find out what listens on ${paths.socket}, and end it`;
	return new DaemonError("other-version", "what answers on the daemon's socket is no daemon", remedy, { cause });
}

function checkGreeting({ paravirt, protocol }: Partial<Greeting>): void {
	if (protocol === PROTOCOL_VERSION) return;
	const remedy = "End it with the command that started it: paravirt daemon stop";
	throw new DaemonError("other-version", `the daemon is of version ${paravirt}, which talks differently`, remedy);
}
