/**
 * A 9P2000.L server as a handler of messages: one session of one client with one shared folder. It knows nothing of how messages come.
 * The client is hostile: whatever it sends gets a reply or ends with {@link MalformedMessage}, for which the caller ends the session.
 */
import { MalformedMessage, MessageReader, MessageWriter } from "./codec.ts";
import { DEFAULT_LIMITS, FidTable, type Limits } from "./fids.ts";
import { FolderError, type HostFolder } from "./folder.ts";
import type { LockTable } from "./locks.ts";
import { LinuxErrno, Message, MIN_MSIZE, RLERROR, UNKNOWN_VERSION, VERSION } from "./protocol.ts";
import { requestTypes } from "./requests.ts";

export interface SessionOptions {
	readonly folder: HostFolder;
	readonly readOnly: boolean;
	readonly locks: LockTable;
	/** Bytes of a message at the most. */
	readonly maximumSize: number;
	readonly limits?: Limits;
	/** Hears of failures that are not the client's: bugs. */
	readonly log: (text: string) => void;
}

/** Requests that wait for the host at the most; a client that has so many waits itself. */
const MOST_PENDING = 64;

export class Session {
	readonly folder: HostFolder;
	readonly readOnly: boolean;
	readonly locks: LockTable;
	readonly fids: FidTable;
	/** Bytes of a message at the most, as agreed with the client; 0 before that. */
	messageSize = 0;
	/** Requests that wait for the host, by tag. */
	private readonly pending = new Map<number, Promise<void>>();
	/** Counts sessions, so that replies to requests of an earlier one are dropped. */
	private generation = 0;
	private closed = false;
	private readonly writer: MessageWriter;
	/** Small numbers for the file systems that the folder's files are on, for qids. */
	private readonly devices = new Map<string, number>();

	constructor(private readonly options: SessionOptions) {
		this.folder = options.folder;
		this.readOnly = options.readOnly;
		this.locks = options.locks;
		this.fids = new FidTable(options.limits ?? DEFAULT_LIMITS);
		this.writer = new MessageWriter(new Uint8Array(options.maximumSize));
	}

	/** Bytes that a request may have. */
	get largestRequest(): number {
		return this.messageSize === 0 ? MIN_MSIZE : this.messageSize;
	}

	/** So many requests wait for the host that no further one is to be handled. */
	get busy(): boolean {
		return this.pending.size >= MOST_PENDING;
	}

	/**
	 * Handles a request.
	 * @param message a whole one, of at most {@link largestRequest} bytes; not used after this returns
	 * @param respond is called once with the reply, at once or later, unless the session ends first; the bytes are valid during the call
	 * @throws MalformedMessage
	 */
	handle(message: Uint8Array, respond: (reply: Uint8Array) => void): void {
		const request = new MessageReader(message);
		const { type, tag } = request;
		if (type === Message.version) this.version(request, respond);
		else if (this.messageSize === 0) throw new MalformedMessage("the first message is no Tversion");
		else if (type === Message.flush) this.flush(request, respond);
		else if (this.pending.has(tag)) throw new MalformedMessage(`tag ${tag} is in use`);
		else this.perform(request, type, tag, respond);
	}

	/** It has ended for good. */
	get ended(): boolean {
		return this.closed;
	}

	/** Ends the session: all files are closed, locks released. @returns resolved when nothing is in flight any more; undefined where nothing is */
	end(): Promise<void> | undefined {
		this.closed = true;
		return this.reset();
	}

	private reset(): Promise<void> | undefined {
		this.generation++;
		this.messageSize = 0;
		this.fids.clear();
		this.locks.release(this);
		const waiting = [...this.pending.values()];
		this.pending.clear();
		return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => {});
	}

	/** The bits of a qid's path that tell file systems below the folder apart. */
	deviceNumber(device: string): number {
		let number = this.devices.get(device);
		if (number === undefined) {
			number = this.devices.size;
			this.devices.set(device, number);
		}
		return number;
	}

	private perform(request: MessageReader, type: number, tag: number, respond: (reply: Uint8Array) => void): void {
		const { generation, writer } = this;
		const fail = (error: unknown): void => respond(this.failure(error, tag));
		try {
			const known = requestTypes[type];
			if (known === undefined) throw new FolderError("EOPNOTSUPP");
			if (known.writes === true && this.readOnly) throw new FolderError("EROFS");
			writer.begin();
			const later = known.handle(this, request, writer);
			if (later === undefined) {
				const bytes = writer.finish(type + 1, tag);
				// A long link's target, where the client wants only short messages.
				if (bytes.length > this.messageSize) throw new FolderError("EMSGSIZE");
				respond(bytes);
				return;
			}
			const done = later
				.then(
					() => this.generation === generation && respond(writer.begin().finish(type + 1, tag)),
					(error: unknown) => this.generation === generation && fail(error),
				)
				.then(() => {
					if (this.generation === generation) this.pending.delete(tag);
				});
			this.pending.set(tag, done);
		} catch (error) {
			fail(error);
		}
	}

	private failure(error: unknown, tag: number): Uint8Array {
		if (error instanceof MalformedMessage) throw error;
		if (!(error instanceof FolderError)) {
			this.options.log(error instanceof Error ? (error.stack ?? error.message) : String(error));
		}
		const code = error instanceof FolderError ? error.code : "EIO";
		return this.writer.begin().u32(LinuxErrno[code]).finish(RLERROR, tag);
	}

	/** A client may begin anew at any time. */
	private version(request: MessageReader, respond: (reply: Uint8Array) => void): void {
		const size = Math.min(request.u32(), this.options.maximumSize);
		const version = request.string();
		this.reset();
		const { tag } = request;
		if (size < MIN_MSIZE) {
			respond(this.failure(new FolderError("EMSGSIZE"), tag));
			return;
		}
		// Every extension of ours is called so, with something behind it.
		const spoken = version === VERSION || version.startsWith(`${VERSION}.`);
		if (spoken) this.messageSize = size;
		const reply = this.writer.begin().u32(size);
		respond(reply.string(spoken ? VERSION : UNKNOWN_VERSION).finish(Message.version + 1, tag));
	}

	/** Nothing is taken back: the reply comes behind the one to the request that is meant. */
	private flush(request: MessageReader, respond: (reply: Uint8Array) => void): void {
		const { tag, generation } = { tag: request.tag, generation: this.generation };
		const reply = (): void => {
			if (this.generation === generation) respond(this.writer.begin().finish(Message.flush + 1, tag));
		};
		const waiting = this.pending.get(request.u16());
		if (waiting === undefined) reply();
		else void waiting.then(reply);
	}
}
