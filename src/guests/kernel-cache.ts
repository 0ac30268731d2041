/**
 * Unpacked kernels as files of the user's cache, named by the SHA-256 of the kernel file. Each begins with the SHA-256 of what it
 * holds: a damaged file is removed and the kernel unpacked again. The files' times of modification tell when they were last used.
 * A cache that cannot be read or written is slower, never an error.
 */
import { createHash } from "node:crypto";
import { open, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { KernelCache } from "../host/kernel-cache.ts";
import { writeComplete } from "./cache.ts";

/** In the names, so that what another version of this program wrote under other rules is not taken for ours. */
const SUFFIX = ".elf-1";
const PARTIAL = ".partial";
const DIGEST_SIZE = 32;
/** Some eight of Debian's kernels. */
const DEFAULT_LIMIT = 512 * 2 ** 20;
/** A file that is still incomplete after this time was left by a process that was killed. */
const ABANDONED_MILLISECONDS = 60 * 60 * 1000;

export interface KernelCacheOptions {
	/** Bytes that all files together may have; those that were not used for the longest time are removed. */
	readonly limit?: number;
}

/** A cache in `directory`, which is made when it is first written to. */
export function kernelCache(directory: string, options: KernelCacheOptions = {}): KernelCache {
	const { limit = DEFAULT_LIMIT } = options;
	const fileOf = (kernel: Uint8Array): string => join(directory, `${sha256(kernel).toString("hex")}${SUFFIX}`);
	return {
		async read(kernel) {
			try {
				const file = fileOf(kernel);
				const unpacked = await readChecked(file, limit);
				if (unpacked === undefined) await rm(file, { force: true });
				else await utimes(file, new Date(), new Date()).catch(() => {});
				return unpacked;
			} catch {
				return undefined;
			}
		},
		async write(kernel, unpacked) {
			try {
				if (DIGEST_SIZE + unpacked.length > limit) return;
				const file = fileOf(kernel);
				await writeComplete(file, [sha256(unpacked), unpacked]);
				await evict(directory, limit, file);
			} catch {
				// As the interface says.
			}
		},
	};
}

function sha256(data: Uint8Array): Buffer {
	return createHash("sha256").update(data).digest();
}

/** The file's contents behind the digest; undefined where they are not what it says. Rejects where there is no such file. */
async function readChecked(file: string, limit: number): Promise<Uint8Array | undefined> {
	const handle = await open(file);
	try {
		const { size } = await handle.stat();
		if (size <= DIGEST_SIZE || size > limit) return undefined;
		const data = await readFile(handle);
		const unpacked = data.subarray(DIGEST_SIZE);
		return sha256(unpacked).equals(data.subarray(0, DIGEST_SIZE)) ? unpacked : undefined;
	} finally {
		await handle.close();
	}
}

/** Removes what was abandoned, and then the files that were not used for the longest time until the rest is within the limit. */
async function evict(directory: string, limit: number, newest: string): Promise<void> {
	const files: { path: string; size: number; used: number }[] = [];
	for (const name of await readdir(directory)) {
		const path = join(directory, name);
		const status = await stat(path).catch(() => undefined);
		if (status === undefined) continue;
		if (!name.endsWith(PARTIAL)) files.push({ path, size: status.size, used: status.mtimeMs });
		else if (Date.now() - status.mtimeMs > ABANDONED_MILLISECONDS) await rm(path, { force: true });
	}
	let total = files.reduce((sum, { size }) => sum + size, 0);
	for (const { path, size } of files.sort((a, b) => a.used - b.used)) {
		if (total <= limit) return;
		if (path === newest) continue;
		await rm(path, { force: true });
		total -= size;
	}
}
