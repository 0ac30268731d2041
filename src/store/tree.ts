/**
 * The tree of nodes. It is immutable: a change makes new nodes along the path from the root and shares all others, so that whoever
 * holds an old root still sees the store as it was, and two roots are compared by comparing pointers.
 */
import { childPath, type Path } from "./path.ts";
import { type Permissions, PRIVATE } from "./permissions.ts";

export interface Node {
	readonly value: Uint8Array;
	readonly permissions: Permissions;
	/** Children in the order of their creation, and the nodes that go with the names. */
	readonly names: readonly string[];
	readonly nodes: readonly Node[];
	/** Changes whenever the value, the permissions or the list of children do. */
	readonly generation: number;
}

const EMPTY = new Uint8Array(0);
const NO_NAMES: readonly string[] = [];
const NO_NODES: readonly Node[] = [];

export function newNode(value: Uint8Array, permissions: Permissions, generation: number): Node {
	return { value, permissions, names: NO_NAMES, nodes: NO_NODES, generation };
}

/** A store's first root: n0, nothing in it. */
export function emptyTree(): Node {
	return newNode(EMPTY, PRIVATE, 0);
}

/** The node that the first `depth` of `names` lead to. */
export function find(root: Node, names: readonly string[], depth = names.length): Node | undefined {
	let node = root;
	for (let level = 0; level < depth; level++) {
		const child = node.nodes[node.names.indexOf(names[level] as string)];
		if (child === undefined) return undefined;
		node = child;
	}
	return node;
}

/** How many of `names` lead to existing nodes. */
export function existingDepth(root: Node, names: readonly string[]): number {
	let node = root;
	for (let level = 0; level < names.length; level++) {
		const child = node.nodes[node.names.indexOf(names[level] as string)];
		if (child === undefined) return level;
		node = child;
	}
	return names.length;
}

/** A tree in which `names` leads to `node`. Its parent must exist, and gets `generation` where the node is new. */
export function withNode(root: Node, names: readonly string[], node: Node, generation: number, level = 0): Node {
	if (level === names.length) return node;
	const name = names[level] as string;
	const index = root.names.indexOf(name);
	const child = root.nodes[index];
	if (child === undefined) {
		if (level !== names.length - 1) throw new RangeError(`no parent: ${names.join("/")}`);
		return { ...root, names: [...root.names, name], nodes: [...root.nodes, node], generation };
	}
	const nodes = root.nodes.slice();
	nodes[index] = withNode(child, names, node, generation, level + 1);
	return { ...root, nodes };
}

/** A tree without the node of `names` and what is below it; the parent gets `generation`. The node must exist and not be the root. */
export function withoutNode(root: Node, names: readonly string[], generation: number, level = 0): Node {
	const index = root.names.indexOf(names[level] as string);
	const child = root.nodes[index];
	if (child === undefined) throw new RangeError(`no node: ${names.join("/")}`);
	if (level === names.length - 1) {
		const without = <T>(list: readonly T[]): T[] => list.filter((_, position) => position !== index);
		return { ...root, names: without(root.names), nodes: without(root.nodes), generation };
	}
	const nodes = root.nodes.slice();
	nodes[index] = withoutNode(child, names, generation, level + 1);
	return { ...root, nodes };
}

/** Calls `visit` with every node below the one of `path` and last with that itself. */
export function walk(node: Node, path: Path, visit: (node: Node, path: Path) => void): void {
	for (let index = 0; index < node.nodes.length; index++) {
		walk(node.nodes[index] as Node, childPath(path, node.names[index] as string), visit);
	}
	visit(node, path);
}

/** sizeof(struct xs_tdb_record_hdr) and of a permission in it: what xenstored counts against the quota of a node's size. */
const RECORD_HEADER = 24;
const RECORD_PERMISSION = 8;

/** Bytes of a node as the quota counts them. */
export function nodeSize(node: Node): number {
	let size = RECORD_HEADER + node.permissions.length * RECORD_PERMISSION + node.value.length;
	for (const name of node.names) size += name.length + 1;
	return size;
}
