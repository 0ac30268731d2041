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

function allows(domid: number, node: ModelNode, need: string): boolean {
	const have = rights(domid, node.permissions);
	return [...need].every((right) => have.includes(right));
}

/** What a request of a domain answers, and does. */
export function answer(state: ModelState, domid: number, { type, path, argument }: ModelRequest): ModelResult {
	const result = (text: string, next: ModelState = state, events: readonly string[] = []): ModelResult => ({
		state: next,
		answer: text,
		events,
	});
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
				return result("OK|", next, [path]);
			}
			const [owner, ...others] = above.permissions as [string, ...string[]];
			const permissions = domid === 0 ? above.permissions : [`${owner.charAt(0)}${domid}`, ...others];
			for (let missing = path; missing !== nearest; missing = parent(missing)) {
				next.set(missing, { value: missing === path && type === "write" ? argument : "", permissions });
			}
			return result("OK|", next, [path]);
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
			return result("OK|", next, [path]);
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
