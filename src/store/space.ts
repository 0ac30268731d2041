/**
 * Where requests read and write: the store itself, or a transaction's view of it. Both are a root and counts of entries; a
 * transaction also remembers what was looked at and changed.
 */
import type { Path } from "./path.ts";
import type { Node } from "./tree.ts";

/** What an operation depends on, for finding conflicts. */
export const Dependence = {
	/** A node's existence, value and permissions. */
	node: 1,
	/** Its existence and permissions. */
	permissions: 2,
	/** Its existence and the names of its children. */
	children: 4,
	/** Its value or permissions are changed, or it is created. */
	changed: 8,
	/** It is removed with all that is below it. */
	removed: 16,
} as const;

/** Something that watches may fire for. */
export interface Change {
	readonly path: Path;
	/** Only for watches of this very path: it went away with its parent. */
	readonly exact: boolean;
}

export interface Space {
	root: Node;
	nextGeneration(): number;
	/** Nodes that a domain owns. */
	entriesOf(domid: number): number;
	addEntries(domid: number, count: number): void;
	/**
	 * Notes what an operation depends on, before it does anything (Dependence bits).
	 * @returns false where that is more than the space may remember: ENOSPC.
	 */
	depend(path: Path, on: number): boolean;
	/** `bytes` more are about to be written. @returns false where that is too much: ENOSPC. */
	writeBytes(bytes: number): boolean;
	/** A change has been made to `root`. */
	changed(path: Path, exact: boolean): void;
}
