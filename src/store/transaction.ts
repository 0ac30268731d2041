/**
 * A transaction: the store as it was when it began, with changes of its own, which all become visible at once or not at all. Beginning
 * one is taking the root; nothing is copied.
 *
 * At its end the trees of then and now are compared where it looked or wrote. Where they agree, its changes go into the tree of now:
 * the outcome is the same as if it had begun only then. Where they differ it has failed (EAGAIN), and may be tried again.
 */
import type { XsError } from "./errors.ts";
import type { Path } from "./path.ts";
import { EntryCounts, type Quota } from "./quota.ts";
import { type Change, Dependence, type Space } from "./space.ts";
import type { Store } from "./store.ts";
import { find, type Node, withNode, withoutNode } from "./tree.ts";

interface Dependency {
	readonly path: Path;
	/** Dependence bits. */
	on: number;
}

function sameNames(a: Node, b: Node): boolean {
	return a.names === b.names || (a.names.length === b.names.length && a.names.every((name, i) => name === b.names[i]));
}

export class Transaction implements Space {
	root: Node;
	private readonly base: Node;
	private readonly dependencies = new Map<string, Dependency>();
	private readonly entries = new EntryCounts();
	private readonly changes = new Map<string, Change>();
	private bytes = 0;

	/** @param quota undefined where there are no limits. */
	constructor(
		private readonly store: Store,
		readonly id: number,
		/** The domain that began it. */
		private readonly domid: number,
		private readonly quota: Quota | undefined,
	) {
		this.root = store.root;
		this.base = store.root;
	}

	nextGeneration(): number {
		return this.store.nextGeneration();
	}

	entriesOf(domid: number): number {
		return this.store.entriesOf(domid) + this.entries.get(domid);
	}

	addEntries(domid: number, count: number): void {
		this.entries.add(domid, count);
	}

	depend(path: Path, on: number): boolean {
		const dependency = this.dependencies.get(path.text);
		if (dependency !== undefined) {
			dependency.on |= on;
			return true;
		}
		if (this.quota !== undefined && this.dependencies.size >= this.quota.transactionNodes) return false;
		this.dependencies.set(path.text, { path, on });
		return true;
	}

	writeBytes(bytes: number): boolean {
		this.bytes += bytes;
		return this.quota === undefined || this.bytes <= this.quota.transactionBytes;
	}

	changed(path: Path, exact: boolean): void {
		const before = this.changes.get(path.text);
		if (before === undefined || (before.exact && !exact)) this.changes.set(path.text, { path, exact });
	}

	/** Makes the changes visible. @returns an error where that cannot be done; nothing has changed then. */
	commit(): XsError | undefined {
		const { base, changes, domid, entries, quota, root, store } = this;
		const alone = store.root === base;
		if (!alone && this.conflicts()) return "EAGAIN";
		if (quota !== undefined && entries.get(domid) > 0 && this.entriesOf(domid) > quota.entries) return "ENOSPC";
		store.adopt(alone ? root : this.merged(), entries, [...changes.values()]);
		return undefined;
	}

	/** Something that it depends on is not as it was. */
	private conflicts(): boolean {
		for (const { path, on } of this.dependencies.values()) {
			const then = find(this.base, path.names);
			const now = find(this.store.root, path.names);
			if (then === now) continue;
			if (then === undefined || now === undefined) return true;
			if ((on & Dependence.removed) !== 0) return true;
			if (then.permissions !== now.permissions) return true;
			if ((on & (Dependence.node | Dependence.changed)) !== 0 && then.value !== now.value) return true;
			if ((on & Dependence.children) !== 0 && !sameNames(then, now)) return true;
		}
		return false;
	}

	/** The store's tree with this one's changes. Nodes above come before those below them. */
	private merged(): Node {
		let { root } = this.store;
		const touched = [...this.dependencies.values()]
			.filter(({ on }) => (on & (Dependence.changed | Dependence.removed)) !== 0)
			.sort((a, b) => a.path.names.length - b.path.names.length);
		for (const { path, on } of touched) {
			const { names } = path;
			const ours = find(this.root, names);
			const theirs = find(root, names);
			// It came with a new tree above it, for example.
			if (ours === theirs) continue;
			if (ours === undefined) {
				if ((on & Dependence.removed) !== 0) root = withoutNode(root, names, this.nextGeneration());
			} else if (theirs === undefined || (on & Dependence.removed) !== 0) {
				root = withNode(root, names, ours, this.nextGeneration());
			} else {
				const { value, permissions, generation } = ours;
				root = withNode(root, names, { ...theirs, value, permissions, generation }, generation);
			}
		}
		return root;
	}
}
