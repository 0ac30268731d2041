/**
 * Reading and changing nodes on a caller's behalf: existence, permissions and quotas, as Xen 4.17's xenstored judges them. A failure
 * is returned as its name.
 */
import type { XsError } from "./errors.ts";
import { ancestor, type Path, parentPath } from "./path.ts";
import { Access, accessOf, type Caller, inheritedPermissions, ownerOf, type Permissions } from "./permissions.ts";
import type { Quota } from "./quota.ts";
import { Dependence, type Space } from "./space.ts";
import { existingDepth, find, type Node, newNode, nodeSize, walk, withNode, withoutNode } from "./tree.ts";

const NOTHING = new Uint8Array(0);

/** A node that the caller may use as `access` says. A missing one is only told of to those who may look where it would be. */
function lookUp(space: Space, caller: Caller, path: Path, access: number, on: number): Node | XsError {
	if (!space.depend(path, on)) return "ENOSPC";
	const node = find(space.root, path.names);
	if (node !== undefined) return (accessOf(caller, node.permissions) & access) === access ? node : "EACCES";
	const depth = existingDepth(space.root, path.names);
	const nearest = ancestor(path, depth);
	// The answer depends on that node's permissions, and on there being no nearer one.
	if (!space.depend(nearest, Dependence.permissions)) return "ENOSPC";
	if (!space.depend(ancestor(path, depth + 1), Dependence.permissions)) return "ENOSPC";
	const { permissions } = find(space.root, nearest.names) as Node;
	return (accessOf(caller, permissions) & access) !== 0 ? "ENOENT" : "EACCES";
}

/** READ */
export function read(space: Space, caller: Caller, path: Path): Uint8Array | XsError {
	const node = lookUp(space, caller, path, Access.read, Dependence.node);
	return typeof node === "string" ? node : node.value;
}

/** DIRECTORY: the node with its children, and the generation of its list. */
export function directory(space: Space, caller: Caller, path: Path): Node | XsError {
	return lookUp(space, caller, path, Access.read, Dependence.children | Dependence.permissions);
}

/** GET_PERMS */
export function getPermissions(space: Space, caller: Caller, path: Path): Permissions | XsError {
	const node = lookUp(space, caller, path, Access.read, Dependence.permissions);
	return typeof node === "string" ? node : node.permissions;
}

/** WRITE: stores a value, which becomes the store's own, and creates what is missing on the way. */
export function write(space: Space, caller: Caller, quota: Quota, path: Path, value: Uint8Array): XsError | undefined {
	const node = lookUp(space, caller, path, Access.write, Dependence.node);
	if (node === "ENOENT") return create(space, caller, quota, path, value);
	if (typeof node === "string") return node;
	const generation = space.nextGeneration();
	const changed: Node = { ...node, value, generation };
	if (!caller.privileged && nodeSize(changed) >= quota.nodeSize) return "ENOSPC";
	if (!space.writeBytes(value.length) || !space.depend(path, Dependence.changed)) return "ENOSPC";
	space.root = withNode(space.root, path.names, changed, generation);
	space.changed(path, false);
	return undefined;
}

/** MKDIR: nothing happens where the node exists. */
export function makeDirectory(space: Space, caller: Caller, quota: Quota, path: Path): XsError | undefined {
	const node = lookUp(space, caller, path, Access.write, Dependence.node);
	if (node === "ENOENT") return create(space, caller, quota, path, NOTHING);
	return typeof node === "string" ? node : undefined;
}

/** Creates a node and its missing parents; the caller has been found to have the right. */
function create(space: Space, caller: Caller, quota: Quota, path: Path, value: Uint8Array): XsError | undefined {
	const { names } = path;
	const depth = existingDepth(space.root, names);
	const parent = find(space.root, names, depth) as Node;
	const permissions = inheritedPermissions(parent.permissions, caller);
	const owner = ownerOf(permissions);
	const count = names.length - depth;
	if (!caller.privileged) {
		if (space.entriesOf(owner) + count > quota.entries) return "ENOSPC";
		if (nodeSize(parent) + (names[depth] as string).length + 1 >= quota.nodeSize) return "ENOSPC";
	}
	// Made from the leaf upwards, so that a refusal leaves nothing behind.
	let generation = space.nextGeneration();
	let node = newNode(value, permissions, generation);
	for (let level = names.length; ; level--) {
		if (!caller.privileged && nodeSize(node) >= quota.nodeSize) return "ENOSPC";
		if (!space.depend(ancestor(path, level), Dependence.changed | Dependence.node)) return "ENOSPC";
		if (level === depth + 1) break;
		generation = space.nextGeneration();
		node = { ...newNode(NOTHING, permissions, generation), names: [names[level - 1] as string], nodes: [node] };
	}
	if (!space.writeBytes(value.length)) return "ENOSPC";
	space.root = withNode(space.root, names.slice(0, depth + 1), node, space.nextGeneration());
	space.addEntries(owner, count);
	space.changed(path, false);
	return undefined;
}

/** RM: removes a node with all below it. One that does not exist is no error where its parent does. */
export function remove(space: Space, caller: Caller, path: Path): XsError | undefined {
	const node = lookUp(space, caller, path, Access.write, Dependence.node);
	if (node === "ENOENT") return find(space.root, parentPath(path).names) === undefined ? "ENOENT" : undefined;
	if (typeof node === "string") return node;
	if (path.names.length === 0) return "EINVAL";
	if (!space.depend(path, Dependence.removed)) return "ENOSPC";
	removeSubtree(space, path, node);
	return undefined;
}

/** Takes a node out of the tree, whoever asks. */
export function removeSubtree(space: Space, path: Path, node: Node): void {
	space.root = withoutNode(space.root, path.names, space.nextGeneration());
	walk(node, path, (gone, below) => {
		space.addEntries(ownerOf(gone.permissions), -1);
		space.changed(below, below !== path);
	});
}

/** SET_PERMS: the owner's right; the owner itself is changed by domain 0 only. */
export function setPermissions(
	space: Space,
	caller: Caller,
	quota: Quota,
	path: Path,
	permissions: Permissions,
): XsError | undefined {
	if (!caller.privileged && permissions.length > quota.permissions) return "ENOSPC";
	const node = lookUp(space, caller, path, Access.write | Access.owner, Dependence.node);
	if (typeof node === "string") return node;
	const [before, after] = [ownerOf(node.permissions), ownerOf(permissions)];
	if (!caller.privileged && before !== after) return "EPERM";
	const generation = space.nextGeneration();
	const changed: Node = { ...node, permissions, generation };
	if (!caller.privileged && nodeSize(changed) >= quota.nodeSize) return "ENOSPC";
	if (!space.depend(path, Dependence.changed)) return "ENOSPC";
	space.root = withNode(space.root, path.names, changed, generation);
	space.addEntries(before, -1);
	space.addEntries(after, 1);
	space.changed(path, false);
	return undefined;
}
