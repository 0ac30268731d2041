/**
 * The store for the services and tools of this program: what a privileged client of xenstored can do, without the wire. Watches call
 * back once the change that they are about is complete, in order.
 */
import { StoreError, type XsError } from "./errors.ts";
import * as operations from "./operations.ts";
import { INTRODUCE_DOMAIN, type Path, parsePath, RELEASE_DOMAIN } from "./path.ts";
import { type Caller, formatPermissions, parsePermissions } from "./permissions.ts";
import type { StoreServer } from "./server.ts";
import type { Space } from "./space.ts";
import { Transaction } from "./transaction.ts";
import type { Watch, WatchOwner } from "./watches.ts";

const DOMAIN_0: Caller = { domid: 0, privileged: true, target: undefined };

/** Calls its listener. One watcher each, so that the same path can be watched more than once. */
class Watcher implements WatchOwner {
	readonly caller = DOMAIN_0;

	constructor(
		private readonly server: StoreServer,
		private readonly listener: (path: string) => void,
	) {}

	deliver(watch: Watch, path: string): void {
		this.server.defer(() => {
			if (!this.server.watches.has(watch)) return;
			try {
				this.listener(path);
			} catch (error) {
				this.server.log(`watch of ${watch.path}: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
			}
		});
	}
}

export class StoreClient {
	/** Watches that have been set and not stopped. */
	private readonly watches = new Set<Watch>();

	/** @param home what relative paths are relative to; all must be absolute where it is undefined. */
	constructor(
		private readonly server: StoreServer,
		readonly home: string | undefined = undefined,
		private readonly space: Space = server.store,
	) {}

	/** The bytes of a node, or undefined where it does not exist. @throws StoreError EINVAL for an impossible path. */
	readBytes(path: string): Uint8Array | undefined {
		const value = operations.read(this.space, DOMAIN_0, this.path("read", path));
		return typeof value === "string" ? this.missing("read", path, value) : value.slice();
	}

	/** The text of a node, or undefined where it does not exist. */
	read(path: string): string | undefined {
		const bytes = this.readBytes(path);
		return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
	}

	/** The whole number that a node has; undefined where it has none, or does not exist. */
	readNumber(path: string): number | undefined {
		const text = this.read(path);
		return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
	}

	/** Stores a value and creates what is missing on the way. */
	write(path: string, value: string | Uint8Array): void {
		const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value.slice();
		const error = operations.write(this.space, DOMAIN_0, this.server.quota, this.path("write", path), bytes);
		this.done("write", path, error);
	}

	/** Creates a node, unless it exists. */
	makeDirectory(path: string): void {
		const absolute = this.path("mkdir", path);
		this.done("mkdir", path, operations.makeDirectory(this.space, DOMAIN_0, this.server.quota, absolute));
	}

	/** Removes a node with all below it, where it exists. */
	remove(path: string): void {
		const error = operations.remove(this.space, DOMAIN_0, this.path("rm", path));
		this.done("rm", path, error === "ENOENT" ? undefined : error);
	}

	/** Names of a node's children, or undefined where it does not exist. */
	list(path: string): readonly string[] | undefined {
		const node = operations.directory(this.space, DOMAIN_0, this.path("directory", path));
		return typeof node === "string" ? this.missing("directory", path, node) : node.names;
	}

	/** "n0", "r5", ...: the owner first. Undefined where the node does not exist. */
	permissions(path: string): readonly string[] | undefined {
		const found = operations.getPermissions(this.space, DOMAIN_0, this.path("get permissions of", path));
		return typeof found === "string" ? this.missing("get permissions of", path, found) : formatPermissions(found);
	}

	/** @throws StoreError ENOENT where the node does not exist, EINVAL where the permissions are none. */
	setPermissions(path: string, permissions: readonly string[]): void {
		const parsed = parsePermissions(permissions);
		const absolute = this.path("set permissions of", path);
		const { quota } = this.server;
		const error = parsed && operations.setPermissions(this.space, DOMAIN_0, quota, absolute, parsed);
		this.done("set permissions of", path, parsed === undefined ? "EINVAL" : error);
	}

	/**
	 * Calls `listener` once soon, and after each change at or below a path, with what changed: as the path was given, relative or
	 * absolute. The special paths @introduceDomain and @releaseDomain tell of domains. Returns what stops that.
	 */
	watch(path: string, listener: (path: string) => void): () => void {
		const special = path === INTRODUCE_DOMAIN || path === RELEASE_DOMAIN;
		const absolute = special ? path : this.path("watch", path).text;
		const strip = special ? 0 : absolute.length - path.length;
		const watch = this.server.addWatch(new Watcher(this.server, listener), absolute, "", strip);
		if (watch !== undefined) this.watches.add(watch);
		this.server.settle();
		return () => {
			if (watch !== undefined && this.watches.delete(watch)) this.server.watches.remove(watch);
		};
	}

	/** Stops all watches: what they were about is gone. */
	unwatchAll(): void {
		for (const watch of this.watches) this.server.watches.remove(watch);
		this.watches.clear();
	}

	/** Makes several changes at once: nobody sees some without the others. Where `body` throws, none is made. */
	transaction<T>(body: (store: StoreClient) => T): T {
		if (this.space instanceof Transaction) return body(this);
		const transaction = new Transaction(this.server.store, 0, 0, undefined);
		const result = body(new StoreClient(this.server, this.home, transaction));
		this.done("transaction", "", transaction.commit());
		return result;
	}

	private path(operation: string, text: string): Path {
		const path = parsePath(text, this.home);
		if (path === undefined) throw new StoreError("EINVAL", operation, text);
		return path;
	}

	private missing(operation: string, path: string, error: XsError): undefined {
		if (error !== "ENOENT") throw new StoreError(error, operation, path);
	}

	private done(operation: string, path: string, error: XsError | undefined): void {
		if (error !== undefined) throw new StoreError(error, operation, path);
		if (this.space === this.server.store) this.server.settle();
	}
}
