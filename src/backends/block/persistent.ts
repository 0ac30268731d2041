/**
 * Grants that stay mapped from one request to the next (feature-persistent): the front end uses the same pages again and again, so
 * they are found here instead of being mapped each time. All are mapped writable, as the protocol has it.
 */
import type { GuestGrants } from "../xenbus/grants.ts";

interface Kept {
	readonly address: number;
	/** Requests in progress that use the page. */
	uses: number;
}

/** As Linux's blkback: three full rings. */
const MOST_KEPT = 1056;

export class PersistentGrants {
	/** The least recently used first. */
	private readonly kept = new Map<number, Kept>();

	constructor(
		private readonly grants: GuestGrants,
		private readonly most = MOST_KEPT,
	) {}

	/** Grants that are mapped. */
	get size(): number {
		return this.kept.size;
	}

	/**
	 * Takes a page into use.
	 * @returns its linear address; -1 where it cannot be kept, because as many are in use, or because it is not granted writable
	 */
	acquire(ref: number): number {
		let page = this.kept.get(ref);
		if (page !== undefined) {
			this.kept.delete(ref);
		} else {
			if (this.kept.size >= this.most && !this.evict()) return -1;
			const address = this.grants.map(ref, false);
			if (address < 0) return -1;
			page = { address, uses: 0 };
		}
		page.uses++;
		this.kept.set(ref, page);
		return page.address;
	}

	/** Gives a page back that {@link acquire} has taken. */
	release(ref: number): void {
		const page = this.kept.get(ref);
		if (page !== undefined) page.uses--;
	}

	/** Unmaps all. No request is in progress any more. */
	clear(): void {
		for (const ref of this.kept.keys()) this.grants.unmap(ref, false);
		this.kept.clear();
	}

	private evict(): boolean {
		for (const [ref, page] of this.kept) {
			if (page.uses > 0) continue;
			this.grants.unmap(ref, false);
			this.kept.delete(ref);
			return true;
		}
		return false;
	}
}
