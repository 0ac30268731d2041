/** A store with clients for tests: wire clients of any domain without a ring, whose messages are read as text. */

import { StoreClient } from "../../src/store/client.ts";
import type { Connection } from "../../src/store/connection.ts";
import { decodeText, encodeText, PacketAssembler } from "../../src/store/packet.ts";
import { DEFAULT_QUOTA, type Quota } from "../../src/store/quota.ts";
import { type Link, StoreServer } from "../../src/store/server.ts";
import { XsType } from "../../src/xen/abi/xenstore.ts";

/** A message, its type by name, NULs written as "|". */
export interface Message {
	readonly type: string;
	readonly text: string;
	readonly reqId: number;
	readonly txId: number;
}

const names = Object.fromEntries(Object.entries(XsType).map(([name, value]) => [value, name]));

/** Takes messages out of bytes. */
export class MessageReader {
	private readonly assembler = new PacketAssembler();

	read(bytes: Uint8Array): Message[] {
		const messages: Message[] = [];
		for (let rest = bytes; rest.length > 0; ) {
			const piece = rest.subarray(0, this.assembler.wanted);
			rest = rest.subarray(piece.length);
			this.assembler.append(piece);
			if (this.assembler.wanted < 0) throw new Error("a message that is too long");
			if (this.assembler.wanted !== 0) continue;
			const { type, payload, reqId, txId } = this.assembler.take();
			const text = decodeText(payload).replaceAll("\0", "|");
			messages.push({ type: names[type] ?? String(type), text, reqId, txId });
		}
		return messages;
	}
}

/** A domain that talks to the store without a ring. */
export class WireClient implements Link {
	readonly connection: Connection;
	/** Watch events that have come, "path|token|". */
	events: string[] = [];
	/** Everything, in order. */
	readonly log: string[] = [];
	private readonly reader = new MessageReader();
	private replies: Message[] = [];
	private nextId = 1;

	constructor(
		private readonly server: StoreServer,
		domid: number,
	) {
		this.connection = server.openConnection(domid);
		server.addLink(this);
	}

	start(): void {}
	close(): void {}

	flush(): void {
		for (let bytes = this.connection.peek(); bytes !== undefined; bytes = this.connection.peek()) {
			const taken = bytes.slice();
			this.connection.advance(bytes.length);
			for (const message of this.reader.read(taken)) {
				this.log.push(`${message.type} ${message.text}`);
				if (message.type === "watchEvent") this.events.push(message.text);
				else this.replies.push(message);
			}
		}
	}

	/** Sends a request; "|" in the text stands for NUL. @returns the reply's text, or "!" with the error's name. */
	ask(type: keyof typeof XsType | number, text: string, txId = 0): string {
		const reqId = this.nextId++;
		const payload = encodeText(text.replaceAll("|", "\0"));
		const number = typeof type === "number" ? type : XsType[type];
		this.server.handle(this.connection, { type: number, reqId, txId, payload });
		const reply = this.replies.shift();
		if (reply === undefined || this.replies.length > 0) throw new Error("not one reply");
		if (reply.reqId !== reqId || reply.txId !== txId) throw new Error("the reply to another request");
		if (reply.type === "error") return `!${reply.text.slice(0, -1)}`;
		if (reply.type !== (names[number] ?? "")) throw new Error(`a reply of type ${reply.type}`);
		return reply.text;
	}

	begin(): number {
		return Number(this.ask("transactionStart", "|").slice(0, -1));
	}

	takeEvents(): string[] {
		const { events } = this;
		this.events = [];
		return events;
	}
}

export interface TestStore {
	readonly server: StoreServer;
	readonly store: StoreClient;
	readonly log: string[];
	/** A client of a domain, whose home exists and is its own. 0 is privileged. */
	client(domid: number): WireClient;
}

export function createStore(quota: Partial<Quota> = {}): TestStore {
	const log: string[] = [];
	const clients = new Map<number, WireClient>();
	const server: StoreServer = new StoreServer(
		{
			domainExists: (domid) => clients.has(domid),
			connect: (_server, domid) => clients.get(domid),
			log: (text) => log.push(text),
		},
		{ ...DEFAULT_QUOTA, ...quota },
	);
	const store = new StoreClient(server);
	return {
		server,
		store,
		log,
		client: (domid) => {
			const client = new WireClient(server, domid);
			if (domid === 0) return client;
			clients.set(domid, client);
			store.makeDirectory(`/local/domain/${domid}`);
			store.setPermissions(`/local/domain/${domid}`, [`n${domid}`]);
			server.introduce(domid, 1);
			return client;
		},
	};
}
