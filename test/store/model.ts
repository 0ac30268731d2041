/**
 * A plain model of the store, for comparison: a map from paths to values and permissions, copied where the store shares. Transactions
 * are lists of requests that are made again on commit.
 */
export interface ModelNode {
	readonly value: string;
	/** "n0", "r5", ... */
	readonly permissions: readonly string[];
}
export type ModelState = ReadonlyMap<string, ModelNode>;

export interface ModelRequest {
	readonly type: "read" | "write" | "mkdir" | "rm" | "directory" | "getPerms" | "setPerms";
	readonly path: string;
	/** The value, or permissions each with a NUL. */
	readonly argument: string;
}

export interface ModelResult {
	readonly state: ModelState;
	readonly answer: string;
	/** Paths, with "=" in front where only watches of the very path hear of it. */
	readonly events: readonly string[];
	/** Bytes that a transaction has written by it, or tried to. */
	readonly bytes: number;
}

/** What a domain may still do; domain 0 may all. */
export interface ModelLimits {
	/** Nodes that it may own beside those that it does. */
	readonly entries: number;
	/** Bytes that the transaction may still write. */
	readonly bytes: number;
	/** A node must be smaller, as xenstored counts: 24 bytes, 8 a permission, the value, the children's names with a NUL each. */
	readonly nodeSize: number;
	readonly permissions: number;
}

const parent = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf("/")));
const below = (path: string, other: string): boolean =>
	path !== other && path.startsWith(other === "/" ? "/" : `${other}/`);

function rights(domid: number, permissions: readonly string[]): string {
	const owner = permissions[0] as string;
	if (domid === 0 || owner.slice(1) === String(domid)) return "rwo";
	const entry = permissions.slice(1).find((candidate) => candidate.slice(1) === String(domid)) ?? owner;
	return { n: "", r: "r", w: "w", b: "rw" }[entry.charAt(0)] as string;
}

/** Nodes that a domain owns. */
export function owned(state: ModelState, domid: number): number {
	return [...state.values()].filter(({ permissions }) => permissions[0]?.slice(1) === String(domid)).length;
}

function sizeOf(state: ModelState, path: string, { value, permissions }: ModelNode): number {
	const children = [...state.keys()].filter((other) => other !== "/" && parent(other) === path);
	const names = children.reduce((sum, child) => sum + child.length - child.lastIndexOf("/"), 0);
	return 24 + 8 * permissions.length + value.length + names;
}

/** Whether a domain hears of a change: it may read the node or the one above it, before or after. */
export function mayHear(domid: number, path: string, before: ModelState, after: ModelState): boolean {
	const nodes = [path, parent(path)].flatMap((each) => [before.get(each), after.get(each)]);
	return domid === 0 || nodes.some((node) => node !== undefined && allows(domid, node, "r"));
}

function allows(domid: number, node: ModelNode, need: string): boolean {
	const have = rights(domid, node.permissions);
	return [...need].every((right) => have.includes(right));
}

/** What a request of a domain answers, and does. */
export function answer(
	state: ModelState,
	domid: number,
	{ type, path, argument }: ModelRequest,
	limits?: ModelLimits,
): ModelResult {
	const result = (text: string, next: ModelState = state, events: readonly string[] = [], bytes = 0): ModelResult => ({
		state: next,
		answer: text,
		events,
		bytes,
	});
	const limited = domid === 0 ? undefined : limits;
	const tooLarge = (after: ModelState, ...paths: readonly string[]): boolean =>
		limited !== undefined &&
		paths.some((each) => sizeOf(after, each, after.get(each) as ModelNode) >= limited.nodeSize);
	if (type === "setPerms" && limited !== undefined && argument.split("|").length - 1 > limited.permissions) {
		return result("!ENOSPC");
	}
	const need = { read: "r", directory: "r", getPerms: "r", write: "w", mkdir: "w", rm: "w", setPerms: "wo" }[type];
	const node = state.get(path);
	let nearest = path;
	while (!state.has(nearest)) nearest = parent(nearest);
	const above = state.get(nearest) as ModelNode;
	// Of a missing node everybody is told who has any of the rights above it.
	if (node === undefined && ![...need].some((right) => allows(domid, above, right))) return result("!EACCES");
	if (node !== undefined && !allows(domid, node, need)) return result("!EACCES");
	const next = new Map(state);
	switch (type) {
		case "read":
			return result(node?.value ?? "!ENOENT");
		case "getPerms":
			return result(node === undefined ? "!ENOENT" : node.permissions.map((entry) => `${entry}|`).join(""));
		case "directory": {
			if (node === undefined) return result("!ENOENT");
			const children = [...state.keys()].filter((other) => other !== "/" && parent(other) === path);
			const names = children.map((child) => `${child.slice(child.lastIndexOf("/") + 1)}|`);
			return result(names.sort().join(""));
		}
		case "write":
		case "mkdir": {
			if (node !== undefined) {
				if (type === "mkdir") return result("OK|");
				next.set(path, { ...node, value: argument });
				if (tooLarge(next, path)) return result("!ENOSPC");
				const refused = limited !== undefined && argument.length > limited.bytes;
				return refused ? result("!ENOSPC", state, [], argument.length) : result("OK|", next, [path], argument.length);
			}
			const [owner, ...others] = above.permissions as [string, ...string[]];
			const permissions = domid === 0 ? above.permissions : [`${owner.charAt(0)}${domid}`, ...others];
			const made: string[] = [];
			const value = type === "write" ? argument : "";
			for (let missing = path; missing !== nearest; missing = parent(missing)) {
				next.set(missing, { value: missing === path ? value : "", permissions });
				made.push(missing);
			}
			if (limited !== undefined && made.length > limited.entries) return result("!ENOSPC");
			if (tooLarge(next, nearest, ...made)) return result("!ENOSPC");
			const refused = limited !== undefined && value.length > limited.bytes;
			return refused ? result("!ENOSPC", state, [], value.length) : result("OK|", next, [path], value.length);
		}
		case "rm": {
			if (node === undefined) return result(state.has(parent(path)) ? "OK|" : "!ENOENT");
			if (path === "/") return result("!EINVAL");
			const gone = [...state.keys()].filter((other) => below(other, path));
			for (const other of [...gone, path]) next.delete(other);
			return result("OK|", next, [...gone.map((other) => `=${other}`), path]);
		}
		case "setPerms": {
			if (node === undefined) return result("!ENOENT");
			const permissions = argument.split("|").filter((entry) => entry !== "");
			if (domid !== 0 && permissions[0]?.slice(1) !== node.permissions[0]?.slice(1)) return result("!EPERM");
			next.set(path, { ...node, permissions });
			return tooLarge(next, path) ? result("!ENOSPC") : result("OK|", next, [path]);
		}
	}
}

/** Who of some watched paths hears of events, in no order: "event|watched". */
export function heard(events: readonly string[], watched: readonly string[]): string[] {
	const found: string[] = [];
	for (const event of events) {
		const path = event.replace("=", "");
		for (const watch of watched) {
			if (watch === path || (!event.startsWith("=") && below(path, watch))) found.push(`${path}|${watch}`);
		}
	}
	return found.sort();
}
