/** Consoles of the domains, as xenconsoled keeps them: what nobody reads is kept, up to a limit, for who reads next. */
import type { ConsolePort, GuestDomain } from "../toolstack/guest-domain.ts";
import { DaemonError } from "./errors.ts";

/** Bytes of output that are kept; of more, the oldest go. */
const MOST_UNREAD = 1 << 20;

export interface ConsoleReader {
	/** Output. @returns false where it has no room: the next piece is kept until {@link ConsoleBuffer.resume}. */
	output(bytes: Uint8Array): boolean;
}

export class ConsoleBuffer {
	private unread: Uint8Array[] = [];
	private size = 0;
	private readonly readers = new Set<ConsoleReader>();
	/** Of them, those that have no room: the others wait for them. */
	private readonly full = new Set<ConsoleReader>();

	constructor(readonly console: ConsolePort) {
		console.onOutput((bytes) => this.add(bytes));
	}

	/** Bytes that wait for a reader. */
	get pending(): number {
		return this.size;
	}

	/** Output goes to the reader from now on. Returns what stops that. */
	attach(reader: ConsoleReader): () => void {
		this.readers.add(reader);
		this.flush();
		return () => {
			this.readers.delete(reader);
			this.full.delete(reader);
			this.flush();
		};
	}

	/** A reader has room again. */
	resume(reader: ConsoleReader): void {
		this.full.delete(reader);
		this.flush();
	}

	private add(bytes: Uint8Array): void {
		this.unread.push(bytes.slice());
		this.size += bytes.length;
		this.flush();
		while (this.size > MOST_UNREAD) this.size -= (this.unread.shift() as Uint8Array).length;
	}

	private flush(): void {
		while (this.readers.size > 0 && this.full.size === 0) {
			const bytes = this.unread.shift();
			if (bytes === undefined) return;
			this.size -= bytes.length;
			for (const reader of this.readers) if (!reader.output(bytes)) this.full.add(reader);
		}
	}
}

/** What is kept of the consoles of one domain, from its beginning on. */
export class DomainConsoles {
	private readonly first: ConsoleBuffer;
	private readonly further = new Map<number, ConsoleBuffer>();

	constructor(private readonly domain: GuestDomain) {
		this.first = new ConsoleBuffer(domain.console);
		for (const console of domain.consoles()) {
			// A socket has its own reader.
			if (console.channel?.connection !== "socket") this.further.set(console.number, new ConsoleBuffer(console));
		}
	}

	/** @throws DaemonError no-such-console */
	find(number: number): ConsoleBuffer {
		const found = number === 0 ? this.first : this.further.get(number);
		if (found !== undefined) return found;
		const { id, name } = this.domain;
		const channel = this.domain.consoles().find((each) => each.number === number)?.channel;
		if (channel !== undefined) {
			const reason = `console ${number} of domain ${id} (${name}) is the channel "${channel.name}", which is a socket`;
			throw new DaemonError("no-such-console", reason, `Connect to ${channel.path}`);
		}
		const numbers = [0, ...this.further.keys()].join(", ");
		throw new DaemonError("no-such-console", `domain ${id} (${name}) has no console ${number}`, `It has ${numbers}`);
	}
}
