/** The machine's files for what looks through folders without following links by itself (toolstack/grub). */
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import type { FileKind, HostFiles } from "../../toolstack/grub/index.ts";

export const nodeFiles: HostFiles = {
	async kindOf(path): Promise<FileKind> {
		const status = await lstat(path).catch(() => undefined);
		if (status === undefined) return undefined;
		if (status.isSymbolicLink()) return { link: await readlink(path) };
		if (status.isDirectory()) return "directory";
		return status.isFile() ? "file" : undefined;
	},
	read: (path) => readFile(path),
	list: (path) => readdir(path),
};
