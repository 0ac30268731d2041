/**
 * POSIX record locks of guests on files that they share (Tlock, Tgetlock): ranges of bytes, by owner. Guests that have the same file,
 * by whatever share, exclude each other; the host's programs do not take part, as Node.js cannot lock files.
 */
import { LockType } from "./protocol.ts";

/** Whose a lock is: a session of a guest, and a process in it as the guest names it. */
export interface LockOwner {
	readonly session: object;
	readonly process: number;
	readonly client: string;
}

export interface Lock {
	readonly write: boolean;
	readonly start: number;
	/** The byte behind the last; Infinity for all that comes. */
	readonly end: number;
	readonly owner: LockOwner;
}

/** One session's locks at the most: what a guest makes the host remember. */
const MOST_LOCKS = 4096;

function same(a: LockOwner, b: LockOwner): boolean {
	return a.session === b.session && a.process === b.process && a.client === b.client;
}

/** All locks of a machine. */
export class LockTable {
	private readonly files = new Map<string, Lock[]>();
	private readonly counts = new Map<object, number>();

	/** A lock that keeps `wanted` from being had; undefined where there is none. */
	conflict(file: string, wanted: Lock): Lock | undefined {
		return this.files
			.get(file)
			?.find(
				(lock) =>
					!same(lock.owner, wanted.owner) &&
					(lock.write || wanted.write) &&
					lock.start < wanted.end &&
					wanted.start < lock.end,
			);
	}

	/**
	 * Sets or (LockType.unlock) removes a lock, in place of what its owner has in that range.
	 * @returns "blocked" where another's is in the way, "full" where the session has too many
	 */
	set(file: string, type: number, start: number, end: number, owner: LockOwner): "done" | "blocked" | "full" {
		const wanted: Lock = { write: type === LockType.write, start, end, owner };
		const adding = type !== LockType.unlock;
		if (adding && this.conflict(file, wanted) !== undefined) return "blocked";
		if (adding && (this.counts.get(owner.session) ?? 0) + 2 > MOST_LOCKS) return "full";
		const kept: Lock[] = [];
		for (const lock of this.files.get(file) ?? []) {
			if (!same(lock.owner, owner) || lock.end <= start || end <= lock.start) {
				kept.push(lock);
				continue;
			}
			// What lies outside the range stays.
			if (lock.start < start) kept.push({ ...lock, end: start });
			if (end < lock.end) kept.push({ ...lock, start: end });
		}
		if (adding) kept.push(wanted);
		this.put(file, kept, owner.session);
		return "done";
	}

	/** A session has ended: so have its locks. */
	release(session: object): void {
		if (!this.counts.has(session)) return;
		for (const [file, locks] of this.files) {
			const others = locks.filter((lock) => lock.owner.session !== session);
			if (others.length === 0) this.files.delete(file);
			else if (others.length !== locks.length) this.files.set(file, others);
		}
		this.counts.delete(session);
	}

	/** Locks that there are, for tests. */
	get size(): number {
		return [...this.files.values()].reduce((sum, locks) => sum + locks.length, 0);
	}

	private put(file: string, locks: Lock[], session: object): void {
		const own = (all: readonly Lock[]): number => all.filter((lock) => lock.owner.session === session).length;
		const change = own(locks) - own(this.files.get(file) ?? []);
		const count = (this.counts.get(session) ?? 0) + change;
		if (count === 0) this.counts.delete(session);
		else this.counts.set(session, count);
		if (locks.length === 0) this.files.delete(file);
		else this.files.set(file, locks);
	}
}
