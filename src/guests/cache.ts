/**
 * The user's cache directory (XDG Base Directory Specification), and files in it that are either complete or not there: they are
 * written under another name and renamed.
 */
import { randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { explainDirectory, makeDirectories, userDirectory, variableRemedy } from "../platform/node/directories.ts";

const VARIABLE = "XDG_CACHE_HOME";
/** What to do about a cache that cannot be written to. */
export const CACHE_REMEDY = variableRemedy(VARIABLE);

/** $XDG_CACHE_HOME/paravirt, by default ~/.cache/paravirt. */
export function cacheDirectory(environment: NodeJS.ProcessEnv = process.env): string {
	return userDirectory(VARIABLE, ".cache", environment);
}

/**
 * Runs `make` with a path beside `path`, and moves what it made there to `path`, replacing what was there.
 * @throws DirectoryError where the system refuses, and what `make` throws
 */
export async function makeComplete(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
	const directory = dirname(path);
	makeDirectories(directory, CACHE_REMEDY);
	const temporary = `${path}.${randomBytes(6).toString("hex")}.partial`;
	try {
		await make(temporary);
		await rm(path, { recursive: true, force: true });
		await rename(temporary, path);
	} catch (error) {
		throw explainDirectory(directory, CACHE_REMEDY, error);
	} finally {
		await rm(temporary, { recursive: true, force: true });
	}
}

/** @param data the contents, or their parts in order */
export async function writeComplete(path: string, data: Uint8Array | string | readonly Uint8Array[]): Promise<void> {
	await makeComplete(path, (temporary) => writeFile(temporary, data));
}

/** A JSON file's value, or undefined where there is none that can be read. */
export async function readJson(path: string): Promise<unknown> {
	try {
		return JSON.parse(await readFile(path, "utf8"));
	} catch {
		return undefined;
	}
}
