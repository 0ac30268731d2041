/**
 * One client of the store, a guest's ring or a socket: its transactions, and the messages that wait for it. Its reader decides how
 * many may wait: a guest that does not fetch its replies gets no further request answered, and loses watch events beyond its quota.
 */
import { XENSTORE_PAYLOAD_MAX, XsType } from "../xen/abi/xenstore.ts";
import { encodePacket, encodeText, joinStrings, type PacketHeader } from "./packet.ts";
import type { Caller } from "./permissions.ts";
import type { Quota } from "./quota.ts";
import type { Transaction } from "./transaction.ts";
import type { Watch, WatchOwner } from "./watches.ts";

interface Message {
	readonly bytes: Uint8Array;
	/** Of a watch event: what would make another one the same. */
	readonly event: string | undefined;
}

/** What a message costs beside its bytes. */
const OVERHEAD = 128;
const EVENT: PacketHeader = { type: XsType.watchEvent, reqId: 0, txId: 0 };

export class Connection implements WatchOwner {
	readonly transactions = new Map<number, Transaction>();
	/** The first transaction id to try next. */
	nextTransaction = 1;
	/** Replies that have not been fetched. */
	outstanding = 0;
	private queue: Message[] = [];
	private first = 0;
	/** Bytes of the first message that have been fetched. */
	private sent = 0;
	private cost = 0;
	private readonly events = new Set<string>();

	/**
	 * @param home what relative paths are relative to; undefined where there is no such place.
	 * @param onOutput called when there is something to fetch.
	 */
	constructor(
		public caller: Caller,
		readonly quota: Quota,
		readonly home: string | undefined,
		private readonly onOutput: (connection: Connection) => void,
	) {}

	get hasOutput(): boolean {
		return this.first < this.queue.length;
	}

	/** No request is looked at before some replies have been fetched. */
	get blocked(): boolean {
		return this.outstanding >= this.quota.outstanding;
	}

	reply(header: PacketHeader, payload: Uint8Array): void {
		this.outstanding++;
		this.push({ bytes: encodePacket(header, payload), event: undefined });
	}

	fail({ reqId, txId }: PacketHeader, error: string): void {
		this.reply({ type: XsType.error, reqId, txId }, encodeText(`${error}\0`));
	}

	/** One that waits already stands for a second one too. */
	deliver({ token }: Watch, path: string): void {
		const key = `${path}\0${token}`;
		// One that would be longer than a message may be cannot be told.
		if (key.length + 1 > XENSTORE_PAYLOAD_MAX || this.events.has(key)) return;
		const bytes = encodePacket(EVENT, joinStrings([path, token]));
		if (!this.caller.privileged && this.cost + bytes.length + OVERHEAD > this.quota.pendingBytes) return;
		this.events.add(key);
		this.push({ bytes, event: key });
	}

	/** The next bytes for the client, to be followed by {@link advance}; undefined where there are none. */
	peek(): Uint8Array | undefined {
		const message = this.queue[this.first];
		return message === undefined ? undefined : message.bytes.subarray(this.sent);
	}

	/** `count` of the bytes of {@link peek} have been fetched. */
	advance(count: number): void {
		const message = this.queue[this.first];
		if (message === undefined || count === 0) return;
		// From here on it is on its way: another event of the same kind is news.
		if (message.event !== undefined) this.events.delete(message.event);
		this.sent += count;
		if (this.sent < message.bytes.length) return;
		this.sent = 0;
		this.cost -= message.bytes.length + OVERHEAD;
		if (message.event === undefined) this.outstanding--;
		this.first++;
		if (this.first === this.queue.length || this.first >= 1024) {
			this.queue = this.queue.slice(this.first);
			this.first = 0;
		}
	}

	/** Forgets what waits. */
	discardOutput(): void {
		this.queue = [];
		this.first = 0;
		this.sent = 0;
		this.cost = 0;
		this.outstanding = 0;
		this.events.clear();
	}

	private push(message: Message): void {
		this.queue.push(message);
		this.cost += message.bytes.length + OVERHEAD;
		this.onOutput(this);
	}
}
