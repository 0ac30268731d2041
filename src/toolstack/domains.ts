/** The domains of a host, by id and by name. */
import { ToolstackError } from "./errors.ts";
import type { GuestDomain } from "./guest-domain.ts";
import { Listeners } from "./listeners.ts";
import { formatUuid } from "./uuid.ts";

export class Domains implements Iterable<GuestDomain> {
	private readonly byId = new Map<number, GuestDomain>();
	/** Names of domains that are being built. */
	private readonly reserved = new Set<string>();
	private readonly added = new Listeners<GuestDomain>();
	private readonly removed = new Listeners<GuestDomain>();

	get size(): number {
		return this.byId.size;
	}

	/** In the order in which they were created. */
	[Symbol.iterator](): IterableIterator<GuestDomain> {
		return this.byId.values();
	}

	get(id: number): GuestDomain | undefined {
		return this.byId.get(id);
	}

	byName(name: string): GuestDomain | undefined {
		return [...this].find((domain) => domain.name === name);
	}

	/** A domain by its id (a number, or digits) or its name. @throws ToolstackError no-such-domain */
	find(idOrName: number | string): GuestDomain {
		const isId = typeof idOrName === "number" || /^\d+$/.test(idOrName);
		const found = isId ? this.get(Number(idOrName)) : this.byName(idOrName);
		if (found !== undefined) return found;
		const what = isId ? `with the id ${idOrName}` : `called "${idOrName}"`;
		throw new ToolstackError("no-such-domain", `there is no domain ${what}`, "Look at the list of domains");
	}

	/** Calls `listener` with each new domain, before its first instruction. Returns what stops that. */
	onAdded(listener: (domain: GuestDomain) => void): () => void {
		return this.added.add(listener);
	}

	/** Calls `listener` with each domain that has been destroyed. Returns what stops that. */
	onRemoved(listener: (domain: GuestDomain) => void): () => void {
		return this.removed.add(listener);
	}

	// For the host

	/** @throws ToolstackError name-in-use where another domain than `except` has it */
	checkNameFree(name: string, except?: GuestDomain): void {
		const other = this.byName(name);
		if ((other === undefined || other === except) && !this.reserved.has(name)) return;
		const id = other === undefined ? "one that is being built" : `number ${other.id}`;
		throw new ToolstackError("name-in-use", `there is a domain "${name}" already: ${id}`, "Choose another name");
	}

	/** @throws ToolstackError uuid-in-use */
	checkUuidFree(uuid: Uint8Array): void {
		const text = formatUuid(uuid);
		const other = [...this].find((domain) => domain.uuid === text);
		if (other === undefined) return;
		throw new ToolstackError("uuid-in-use", `domain ${other.id} (${other.name}) has the UUID ${text}`, "Give another");
	}

	/** `base`, or the first of base-2, base-3, ... that is free. */
	unusedName(base: string): string {
		const taken = (name: string): boolean => this.byName(name) !== undefined || this.reserved.has(name);
		let name = base;
		for (let number = 2; taken(name); number++) name = `${base}-${number}`;
		return name;
	}

	/** Keeps a name for a domain that is being built. Returns what gives it free. */
	reserve(name: string): () => void {
		this.reserved.add(name);
		return () => this.reserved.delete(name);
	}

	add(domain: GuestDomain): void {
		this.byId.set(domain.id, domain);
		this.added.emit(domain);
	}

	delete(domain: GuestDomain): void {
		if (this.byId.get(domain.id) !== domain) return;
		this.byId.delete(domain.id);
		this.removed.emit(domain);
	}
}
