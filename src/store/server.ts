/**
 * xenstored: answers requests, and tells watchers what has changed. Everything happens at once, in the order in which it is asked for: a
 * request is answered, then its changes go to the watchers, then what waits is handed to the rings and sockets.
 */
import { XENSTORE_PAYLOAD_MAX } from "../xen/abi/xenstore.ts";
import { Connection } from "./connection.ts";
import type { XsError } from "./errors.ts";
import type { Packet } from "./packet.ts";
import { homePath, INTRODUCE_DOMAIN, type Path, RELEASE_DOMAIN } from "./path.ts";
import { Access, accessOf, type Caller, PRIVATE } from "./permissions.ts";
import { DEFAULT_QUOTA, type Quota } from "./quota.ts";
import { requestTypes } from "./requests.ts";
import type { Change } from "./space.ts";
import { Store } from "./store.ts";
import { find, type Node } from "./tree.ts";
import { type Watch, Watches, type WatchOwner } from "./watches.ts";

/** A connection's way to its client. */
export interface Link {
	readonly connection: Connection;
	/** Begins to listen to the client. */
	start(): void;
	/** Hands on what waits for the client, as far as it takes it. */
	flush(): void;
	/** Lets go of the client. */
	close(): void;
}

/** What the store needs to know of domains. */
export interface StoreHost {
	domainExists(domid: number): boolean;
	/** Connects to a domain's ring, by its reserved grant and this port. Undefined where the domain offers no such. */
	connect(server: StoreServer, domid: number, port: number): Link | undefined;
	log(text: string): void;
}

interface Introduced {
	readonly link: Link;
	/** @releaseDomain has been told of its shutdown. */
	shutDown: boolean;
}

/** What watchers have to be told. */
type News =
	| { readonly changes: readonly Change[]; readonly before: Node; readonly after: Node }
	| { readonly watch: Watch };

const DOMAIN_0: Caller = { domid: 0, privileged: true, target: undefined };

export class StoreServer {
	readonly store = new Store((changes, before, after) => this.news.push({ changes, before, after }));
	readonly watches = new Watches();
	private readonly introduced = new Map<number, Introduced>();
	private readonly links = new Map<Connection, Link>();
	private readonly dirty = new Set<Connection>();
	private news: News[] = [];
	/** Of watchers in this program: events that have not been told. */
	private calls: (() => void)[] = [];
	private settling = false;

	constructor(
		private readonly host: StoreHost,
		readonly quota: Quota = DEFAULT_QUOTA,
	) {}

	/** A connection for a guest (relative paths are below its home), or with domain 0 for a socket that may do everything. */
	openConnection(domid: number): Connection {
		const caller: Caller = domid === 0 ? DOMAIN_0 : { domid, privileged: false, target: undefined };
		const home = domid === 0 ? undefined : homePath(domid);
		return new Connection(caller, this.quota, home, (connection) => this.dirty.add(connection));
	}

	/** Makes a connection's output go somewhere. */
	addLink(link: Link): void {
		this.links.set(link.connection, link);
	}

	/** Forgets a client: its watches, transactions, and what waits for it. */
	removeLink(link: Link): void {
		this.links.delete(link.connection);
		this.resetConnection(link.connection);
		link.close();
	}

	/** As if the client had only just connected. */
	resetConnection(connection: Connection): void {
		this.watches.removeAll(connection);
		connection.transactions.clear();
		connection.discardOutput();
		this.dirty.delete(connection);
	}

	/** Clients that are connected, but for those in this program. */
	get connectionCount(): number {
		return this.links.size;
	}

	/** Answers one request. Never throws, whatever is in it. */
	handle(connection: Connection, packet: Packet): void {
		const type = requestTypes[packet.type];
		if (type === undefined) {
			connection.fail(packet, "ENOSYS");
		} else if (type.privileged === true && !connection.caller.privileged) {
			connection.fail(packet, "EACCES");
		} else {
			const inside = packet.txId !== 0 && type.outsideTransactions !== true;
			const space = inside ? connection.transactions.get(packet.txId) : this.store;
			const reply = space === undefined ? "ENOENT" : type.handle({ server: this, connection, space, packet });
			if (typeof reply === "string") connection.fail(packet, reply);
			else if (reply.length > XENSTORE_PAYLOAD_MAX) connection.fail(packet, "E2BIG");
			else connection.reply(packet, reply);
		}
		this.settle();
	}

	/** Tells watchers what has changed, until nothing is left to tell. To be called after every change that is made from outside. */
	settle(): void {
		this.store.settle();
		if (this.settling) return;
		this.settling = true;
		try {
			while (this.news.length > 0 || this.calls.length > 0) {
				const { news, calls } = this;
				this.news = [];
				for (const item of news) this.tell(item);
				if (news.length > 0) continue;
				this.calls = [];
				for (const call of calls) call();
			}
		} finally {
			this.settling = false;
		}
		for (const connection of this.dirty) this.links.get(connection)?.flush();
		this.dirty.clear();
	}

	/** Sets a watch; its first event comes at once. */
	addWatch(owner: WatchOwner, path: string, token: string, strip: number): Watch | undefined {
		const watch = this.watches.add(owner, path, token, strip);
		if (watch !== undefined) this.news.push({ watch });
		return watch;
	}

	/** For a watcher in this program: calls `call` when the change that it is about is complete. */
	defer(call: () => void): void {
		this.calls.push(call);
	}

	// Domains

	domainExists(domid: number): boolean {
		return domid === 0 || this.host.domainExists(domid);
	}

	isIntroduced(domid: number): boolean {
		return domid === 0 || this.introduced.has(domid);
	}

	/** INTRODUCE: serves a domain; one that is served already gets a new connection by another event channel. */
	introduce(domid: number, port: number): XsError | undefined {
		if (!this.domainExists(domid)) return "EINVAL";
		const before = this.introduced.get(domid);
		if (before !== undefined) this.removeLink(before.link);
		const link = this.host.connect(this, domid, port);
		if (link === undefined) {
			this.introduced.delete(domid);
			return "EINVAL";
		}
		this.introduced.set(domid, { link, shutDown: false });
		this.addLink(link);
		if (before === undefined) this.fireSpecial(INTRODUCE_DOMAIN);
		this.settle();
		link.start();
		return undefined;
	}

	/** RELEASE, and the domain's end: it is not served any more, and what it owned is gone. */
	release(domid: number): undefined {
		const domain = this.introduced.get(domid);
		if (domain === undefined) return;
		this.introduced.delete(domid);
		this.removeLink(domain.link);
		for (const { link } of this.introduced.values()) {
			const { caller } = link.connection;
			if (caller.target === domid) link.connection.caller = { ...caller, target: undefined };
		}
		this.store.forgetDomain(domid);
		this.fireSpecial(RELEASE_DOMAIN);
		this.settle();
	}

	/** A domain has shut down, or crashed: those who watch for that look at it. */
	domainShutDown(domid: number): void {
		const domain = this.introduced.get(domid);
		if (domain === undefined || domain.shutDown) return;
		domain.shutDown = true;
		this.fireSpecial(RELEASE_DOMAIN);
		this.settle();
	}

	/** RESUME: it runs again, and its next shutdown will be told. */
	resume(domid: number): undefined {
		const domain = this.introduced.get(domid);
		if (domain !== undefined) domain.shutDown = false;
	}

	/** SET_TARGET: a domain gets the rights of another. */
	setTarget(domid: number, target: number): XsError | undefined {
		const connection = this.introduced.get(domid)?.link.connection;
		if (connection === undefined || !this.introduced.has(target)) return "ENOENT";
		connection.caller = { ...connection.caller, target };
		return undefined;
	}

	log(text: string): void {
		this.host.log(text);
	}

	private fireSpecial(name: string): void {
		const permissions = this.store.special.get(name) ?? PRIVATE;
		for (const watch of this.watches.special(name)) {
			if ((accessOf(watch.owner.caller, permissions) & Access.read) !== 0) this.news.push({ watch });
		}
	}

	private tell(news: News): void {
		if ("watch" in news) {
			const { watch } = news;
			if (this.watches.has(watch)) watch.owner.deliver(watch, watch.path.slice(watch.strip));
			return;
		}
		for (const { path, exact } of news.changes) {
			const matching = this.watches.matching(path, exact);
			if (matching.length === 0) continue;
			const evidence = nodesAround(path, news.before, news.after);
			for (const watch of matching) {
				if (isVisible(watch.owner.caller, evidence)) watch.owner.deliver(watch, path.text.slice(watch.strip));
			}
		}
	}
}

/** A changed node and the one above it, before and after. */
function nodesAround(path: Path, before: Node, after: Node): readonly (Node | undefined)[] {
	const { names } = path;
	const above = Math.max(0, names.length - 1);
	return [find(after, names), find(before, names), find(after, names, above), find(before, names, above)];
}

/** A caller may hear of a change where it may read one of these. */
function isVisible(caller: Caller, nodes: readonly (Node | undefined)[]): boolean {
	if (caller.privileged) return true;
	return nodes.some((node) => node !== undefined && (accessOf(caller, node.permissions) & Access.read) !== 0);
}
