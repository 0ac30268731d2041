/**
 * The store: the current tree, who owns how much of it, and the permissions of the special events. What changes is told to one
 * listener, with the trees before and after, from which it decides who may hear of it.
 */
import { removeSubtree } from "./operations.ts";
import { childPath, INTRODUCE_DOMAIN, type Path, RELEASE_DOMAIN, ROOT } from "./path.ts";
import { ownerOf, type Permissions, PRIVATE, withoutDomain } from "./permissions.ts";
import { EntryCounts } from "./quota.ts";
import type { Change, Space } from "./space.ts";
import { emptyTree, find, type Node } from "./tree.ts";

/** Hears of changes, in their order. */
export type ChangeListener = (changes: readonly Change[], before: Node, after: Node) => void;

export class Store implements Space {
	root = emptyTree();
	/** Who may watch the special events. */
	readonly special = new Map<string, Permissions>([
		[INTRODUCE_DOMAIN, PRIVATE],
		[RELEASE_DOMAIN, PRIVATE],
	]);
	private readonly entries = new EntryCounts();
	private generation = 0;
	private pending: Change[] = [];
	/** The tree before the first pending change. */
	private settled = this.root;

	constructor(private readonly onChange: ChangeListener) {
		this.entries.add(ownerOf(this.root.permissions), 1);
	}

	/** Nodes that there are. It visits them all. */
	count(): number {
		const below = (node: Node): number => node.nodes.reduce((sum, child) => sum + below(child), 1);
		return below(this.root);
	}

	nextGeneration(): number {
		return ++this.generation;
	}

	entriesOf(domid: number): number {
		return this.entries.get(domid);
	}

	addEntries(domid: number, count: number): void {
		this.entries.add(domid, count);
	}

	/** Nothing comes between the steps of an operation, so nothing need be remembered. */
	depend(): boolean {
		return true;
	}

	writeBytes(): boolean {
		return true;
	}

	changed(path: Path, exact: boolean): void {
		this.pending.push({ path, exact });
	}

	/** An operation is complete: tells the listener what it changed. */
	settle(): void {
		const before = this.settled;
		this.settled = this.root;
		if (this.pending.length === 0) return;
		const changes = this.pending;
		this.pending = [];
		this.onChange(changes, before, this.root);
	}

	/** A transaction's result: its tree, or one merged from it and the store's. */
	adopt(root: Node, entries: EntryCounts, changes: readonly Change[]): void {
		this.root = root;
		this.entries.addAll(entries);
		for (const change of changes) this.pending.push(change);
	}

	/** A domain is gone: so are the nodes that it owned, and its access to others. Its number may come again. */
	forgetDomain(domid: number): void {
		const owned: Path[] = [];
		this.root = this.withoutAccess(this.root, ROOT, domid, owned);
		for (const path of owned) {
			const node = find(this.root, path.names);
			if (node !== undefined) removeSubtree(this, path, node);
		}
		for (const [name, permissions] of this.special) this.special.set(name, withoutDomain(permissions, domid));
		this.settle();
	}

	/** The tree without a domain's access; collects the topmost nodes that it owns. */
	private withoutAccess(node: Node, path: Path, domid: number, owned: Path[]): Node {
		if (ownerOf(node.permissions) === domid) {
			owned.push(path);
			return node;
		}
		const permissions = withoutDomain(node.permissions, domid);
		let nodes: Node[] | undefined;
		for (let index = 0; index < node.nodes.length; index++) {
			const child = node.nodes[index] as Node;
			const without = this.withoutAccess(child, childPath(path, node.names[index] as string), domid, owned);
			if (without === child) continue;
			nodes ??= node.nodes.slice();
			nodes[index] = without;
		}
		return nodes === undefined && permissions === node.permissions
			? node
			: { ...node, permissions, nodes: nodes ?? node.nodes };
	}
}
