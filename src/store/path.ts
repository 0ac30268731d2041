/** Names of nodes: what a path may look like (docs/misc/xenstore.txt), and a caller's relative ones made absolute. */
import { XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX } from "../xen/abi/xenstore.ts";

/** An absolute path: as text, and its parts. "/" has none; a special one ("@releaseDomain") has no parts either. */
export interface Path {
	readonly text: string;
	readonly names: readonly string[];
}

/** Events that xenstored invents: they can be watched, and have permissions. */
export const INTRODUCE_DOMAIN = "@introduceDomain";
export const RELEASE_DOMAIN = "@releaseDomain";

export const ROOT: Path = { text: "/", names: [] };

/** Letters, digits and -/_@; no empty parts, so neither a doubled nor a trailing slash. */
const VALID = /^(?:\/[A-Za-z0-9\-_@]+)+$/;
const HOME = /^\/local\/domain\/\d{1,5}\//;

/** Where a domain's relative paths begin. */
export function homePath(domid: number): string {
	return `/local/domain/${domid}`;
}

/**
 * The path that a caller means.
 * @param home what its relative paths are relative to; undefined where it has no such place (a socket's).
 * @returns undefined where it is none.
 */
export function parsePath(text: string, home: string | undefined): Path | undefined {
	let absolute = text;
	if (!text.startsWith("/")) {
		// What begins so is never relative: names of special events, where those are allowed.
		if (home === undefined || text.startsWith("@")) return undefined;
		absolute = `${home}/${text}`;
	}
	if (absolute === "/") return ROOT;
	if (absolute.length > XENSTORE_ABS_PATH_MAX) return undefined;
	const own = HOME.exec(absolute)?.[0].length ?? 0;
	if (own > 0 && absolute.length - own > XENSTORE_REL_PATH_MAX) return undefined;
	if (!VALID.test(absolute)) return undefined;
	return { text: absolute, names: absolute.slice(1).split("/") };
}

/** The first `count` parts of a path. */
export function ancestor(path: Path, count: number): Path {
	if (count === path.names.length) return path;
	const names = path.names.slice(0, count);
	return count === 0 ? ROOT : { text: `/${names.join("/")}`, names };
}

/** The path one level up; "/" of "/". */
export function parentPath(path: Path): Path {
	return ancestor(path, Math.max(0, path.names.length - 1));
}

/** A child of a path, by its name. */
export function childPath(path: Path, name: string): Path {
	return { text: path.text === "/" ? `/${name}` : `${path.text}/${name}`, names: [...path.names, name] };
}
