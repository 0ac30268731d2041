/**
 * Menu entries that are files of their own (Boot Loader Specification, type 1): `blscfg` of Fedora's and its relatives' GRUB reads them
 * from /loader/entries of the partition with /boot.
 */
import { GrubError, type Place } from "./errors.ts";
import type { GrubFiles } from "./files.ts";
import { parseScript, type Script } from "./syntax.ts";

/** Where the files are, as GRUB names it: with /boot on the root file system, or a partition of its own. */
const DIRECTORIES = ["/boot/loader/entries", "/loader/entries"];
const SUFFIX = ".conf";

export interface BlsEntry extends Place {
	readonly title: string;
	/** The file's name without its suffix. */
	readonly id: string;
	/** The commands that it stands for: variables in its options are GRUB's. */
	readonly body: Script;
}

/** Compares versions as rpm does: by runs of digits and of letters, a number above letters, more above less. */
export function compareVersions(a: string, b: string): number {
	const runs = (text: string): readonly string[] => text.match(/\d+|[a-z]+|~/gi) ?? [];
	const [left, right] = [runs(a), runs(b)];
	for (const [index, part] of left.entries()) {
		const other = right[index];
		if (other === undefined) return part === "~" ? -1 : 1;
		if (part === other) continue;
		if (part === "~" || other === "~") return part === "~" ? -1 : 1;
		const [isNumber, otherIsNumber] = [/\d/.test(part), /\d/.test(other)];
		if (isNumber !== otherIsNumber) return isNumber ? 1 : -1;
		if (!isNumber) return part < other ? -1 : 1;
		if (Number(part) !== Number(other)) return Number(part) - Number(other);
	}
	return right.length === left.length ? 0 : right[left.length] === "~" ? 1 : -1;
}

/** The entries, the newest version first. @throws GrubError where there are none, or one has no kernel */
export async function readBlsEntries(files: GrubFiles, place: Place): Promise<BlsEntry[]> {
	for (const path of DIRECTORIES) {
		const directory = await files.find(path, place);
		if (directory?.kind !== "directory") continue;
		const names = (await files.host.list(directory.path)).filter((name) => name.endsWith(SUFFIX));
		const ids = names.map((name) => name.slice(0, -SUFFIX.length)).sort((a, b) => compareVersions(b, a));
		return Promise.all(
			ids.map(async (id) => {
				const file = `${directory.path}/${id}${SUFFIX}`;
				return parseEntry(new TextDecoder().decode(await files.host.read(file)), file, id);
			}),
		);
	}
	const where = files.roots
		.map((root) => DIRECTORIES.map((directory) => `${root}${directory}`).join(" or "))
		.join(" or ");
	throw new GrubError(
		place,
		`blscfg finds no directory ${where}`,
		"Name the folder that paths begin in with --root DIR.",
	);
}

function parseEntry(text: string, file: string, id: string): BlsEntry {
	const fields = new Map<string, string[]>();
	for (const line of text.split(/\r?\n/)) {
		const [, key, value] = /^[ \t]*([^# \t]\S*)[ \t]+(.*?)[ \t]*$/.exec(line) ?? [];
		if (key !== undefined && value !== undefined) fields.set(key, [...(fields.get(key) ?? []), value]);
	}
	const kernel = fields.get("linux")?.at(-1);
	if (kernel === undefined) throw new GrubError({ file }, "the entry names no kernel (linux)", "Correct the file.");
	const options = (fields.get("options") ?? []).join(" ");
	const ramdisks = fields.get("initrd") ?? [];
	const commands = [`linux ${kernel} ${options}`, ...(ramdisks.length > 0 ? [`initrd ${ramdisks.join(" ")}`] : [])];
	const title = fields.get("title")?.at(-1) ?? id;
	return { file, line: 1, title, id, body: parseScript(commands.join("\n"), file) };
}
