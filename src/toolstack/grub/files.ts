/**
 * The files that a configuration speaks of. GRUB has disks and partitions; here all of them are one folder of the host, and a path is
 * looked for below it, symbolic links included, as if the folder were the whole file system.
 */
import { GrubError, type Place } from "./errors.ts";

/** What is at a path of the host, without following a symbolic link. */
export type FileKind = "file" | "directory" | { readonly link: string } | undefined;

/** The host's files. Paths are the host's, with "/" between their parts. */
export interface HostFiles {
	kindOf(path: string): Promise<FileKind>;
	read(path: string): Promise<Uint8Array>;
	/** The names in a directory. */
	list(path: string): Promise<readonly string[]>;
}

const MOST_LINKS = 40;

/** A device in parentheses before a path: "(hd0,msdos1)", "(hd0,0)", "($root)" with its value. */
const DEVICE = /^\(([^()]*)\)/;
/** Devices that are no disks: what they name is not in any folder. */
const NOT_DISKS = /^(?:http|https|tftp|pxe|nfs|net|proc|memdisk|cbfsdisk|nd|ud)\b/;

/** A file that was found. */
export interface Found {
	/** The host's path. */
	readonly path: string;
	readonly kind: "file" | "directory";
}

export class GrubFiles {
	/**
	 * @param roots folders of the host that stand for the disk. The first is the root of its file system; a second one is for a partition
	 * of its own for /boot, whose paths begin there.
	 */
	constructor(
		readonly host: HostFiles,
		readonly roots: readonly string[],
	) {}

	/** What GRUB calls `path`, or undefined if there is nothing, or no such device. @throws GrubError if it is ambiguous */
	async find(path: string, place: Place): Promise<Found | undefined> {
		const device = DEVICE.exec(path);
		if (device !== null && NOT_DISKS.test(device[1] as string)) return undefined;
		const inside = device === null ? path : path.slice(device[0].length);
		const found: Found[] = [];
		for (const root of this.roots) {
			const at = await this.resolve(root, inside);
			if (at !== undefined && !found.some((other) => other.path === at.path)) found.push(at);
		}
		if (found.length > 1) {
			const which = found.map((file) => file.path).join(" and ");
			throw new GrubError(place, `"${path}" may be ${which}`, "Say with --root DIR below which folder paths begin.");
		}
		return found[0];
	}

	/** The path of a file. @throws GrubError where there is none. */
	async need(path: string, place: Place): Promise<string> {
		const found = await this.find(path, place);
		if (found?.kind === "file") return found.path;
		const device = DEVICE.exec(path)?.[1] ?? "";
		if (NOT_DISKS.test(device)) {
			throw new GrubError(place, `"${path}" is on the device ${device}, which is no disk`, "Name a file on a disk.");
		}
		const where = this.roots.join(" or ");
		if (found !== undefined) throw new GrubError(place, `"${path}" is a directory`, "Name a file in it.");
		throw new GrubError(
			place,
			`"${path}" is not there: there is no such file below ${where}`,
			"Name the folder that paths begin in with --root DIR.",
		);
	}

	/** Follows a path below a root. Links lead to where they would if the root were "/", and ".." never above it. */
	private async resolve(root: string, path: string): Promise<Found | undefined> {
		const base = root.replace(/\/+$/, "");
		let done: string[] = [];
		let waiting = path.split("/");
		let kind: FileKind = "directory";
		let links = 0;
		while (waiting.length > 0) {
			const [step = "", ...rest] = waiting;
			waiting = rest;
			if (step === "" || step === ".") continue;
			if (kind !== "directory") return undefined;
			if (step === "..") {
				done.pop();
				continue;
			}
			const next: FileKind = await this.host.kindOf(`${base}/${[...done, step].join("/")}`);
			if (next === undefined) return undefined;
			if (typeof next === "object") {
				if (++links > MOST_LINKS) return undefined;
				if (next.link.startsWith("/")) done = [];
				waiting = [...next.link.split("/"), ...waiting];
				continue;
			}
			done.push(step);
			kind = next;
		}
		return typeof kind === "object" || kind === undefined ? undefined : { path: `${base}/${done.join("/")}`, kind };
	}
}

/**
 * The folders that paths begin in where the user names none: the one that holds the /boot that `file` is in, and /boot itself, which may be
 * a partition of its own. A file that is in no /boot: its own folder.
 * @param file absolute
 */
export function defaultRoots(file: string): readonly string[] {
	const folders = file.split("/").slice(0, -1);
	const boot = folders.lastIndexOf("boot");
	if (boot < 0) return [folders.join("/") || "/"];
	return [folders.slice(0, boot).join("/") || "/", folders.slice(0, boot + 1).join("/")];
}
