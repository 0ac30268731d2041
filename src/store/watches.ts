/** Watches: who wants to hear of changes below a path. Kept by path, so that a change only asks the paths above it. */
import type { Path } from "./path.ts";
import type { Caller } from "./permissions.ts";

/** Whoever sets watches. */
export interface WatchOwner {
	readonly caller: Caller;
	/** An event for one of its watches; the path is as it asked for it. */
	deliver(watch: Watch, path: string): void;
}

export interface Watch {
	readonly owner: WatchOwner;
	/** The absolute path, or a special one. */
	readonly path: string;
	readonly token: string;
	/** Letters of an event's path that its owner is not told: it watches a relative path. */
	readonly strip: number;
	readonly order: number;
}

export class Watches {
	private readonly byPath = new Map<string, Watch[]>();
	private readonly byOwner = new Map<WatchOwner, Set<Watch>>();
	private order = 0;

	/** Watches that there are. */
	get count(): number {
		return [...this.byOwner.values()].reduce((sum, own) => sum + own.size, 0);
	}

	/** @returns undefined where its owner has the same watch already. */
	add(owner: WatchOwner, path: string, token: string, strip: number): Watch | undefined {
		if (this.find(owner, path, token) !== undefined) return undefined;
		const watch: Watch = { owner, path, token, strip, order: this.order++ };
		const there = this.byPath.get(path);
		if (there === undefined) this.byPath.set(path, [watch]);
		else there.push(watch);
		const own = this.byOwner.get(owner);
		if (own === undefined) this.byOwner.set(owner, new Set([watch]));
		else own.add(watch);
		return watch;
	}

	find(owner: WatchOwner, path: string, token: string): Watch | undefined {
		return this.byPath.get(path)?.find((watch) => watch.owner === owner && watch.token === token);
	}

	remove(watch: Watch): void {
		const left = this.byPath.get(watch.path)?.filter((other) => other !== watch) ?? [];
		if (left.length === 0) this.byPath.delete(watch.path);
		else this.byPath.set(watch.path, left);
		const own = this.byOwner.get(watch.owner);
		own?.delete(watch);
		if (own?.size === 0) this.byOwner.delete(watch.owner);
	}

	removeAll(owner: WatchOwner): void {
		for (const watch of this.byOwner.get(owner) ?? []) this.remove(watch);
	}

	/** An owner has this watch still. */
	has(watch: Watch): boolean {
		return this.byOwner.get(watch.owner)?.has(watch) === true;
	}

	countOf(owner: WatchOwner): number {
		return this.byOwner.get(owner)?.size ?? 0;
	}

	/** All of an owner, oldest first. */
	of(owner: WatchOwner): readonly Watch[] {
		return [...(this.byOwner.get(owner) ?? [])];
	}

	/** Those that a change of `path` fires, oldest first; with `exact` only watches of the very path. */
	matching(path: Path, exact: boolean): readonly Watch[] {
		const own = this.byPath.get(path.text) ?? [];
		if (exact || path.names.length === 0) return own;
		const found = [...own];
		// Few watches are looked through; where there are many, the paths above are looked up.
		if (this.byPath.size <= path.names.length) {
			for (const [above, watches] of this.byPath) {
				if (path.text.startsWith(above) && path.text.charAt(above.length) === "/") found.push(...watches);
			}
		} else {
			for (let end = path.text.lastIndexOf("/"); end > 0; end = path.text.lastIndexOf("/", end - 1)) {
				const above = this.byPath.get(path.text.slice(0, end));
				if (above !== undefined) found.push(...above);
			}
		}
		const top = this.byPath.get("/");
		if (top !== undefined) found.push(...top);
		return found.sort((a, b) => a.order - b.order);
	}

	/** Those of a special event. */
	special(name: string): readonly Watch[] {
		return this.byPath.get(name) ?? [];
	}
}
