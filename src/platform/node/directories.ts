/**
 * The user's directories that paravirt writes to (XDG Base Directory Specification), and what is wrong with one that it cannot write to: each
 * message names the directory, the reason, and the environment variable that names another.
 */
import { mkdirSync, mkdtempSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, isAbsolute, join } from "node:path";

/** Variables of the environment, as process.env has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

export type DirectoryErrorCode =
	/** Read-only, or not this user's. */
	| "not-writable"
	/** Not there, and cannot be made. */
	| "missing"
	/** No space is left in it. */
	| "full"
	/** Something else is in its place, or in that of a directory above it. */
	| "no-directory";

/** A directory that cannot be used as it has to be. */
export class DirectoryError extends Error {
	override readonly name = "DirectoryError";

	/**
	 * @param reason what is wrong, as a part of a sentence
	 * @param remedy what to do about it, as a sentence without its full stop
	 */
	constructor(
		readonly code: DirectoryErrorCode,
		readonly directory: string,
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(`${directory}: ${reason}`, options);
	}
}

/** What the system says (errno.h), as our code and in words. */
const REASONS: Readonly<Record<string, readonly [code: DirectoryErrorCode, reason: string]>> = {
	EROFS: ["not-writable", "the file system is read-only"],
	EACCES: ["not-writable", "permission denied"],
	EPERM: ["not-writable", "permission denied"],
	ENOENT: ["missing", "it is not there, and cannot be made"],
	ENOSPC: ["full", "no space is left on its file system"],
	EDQUOT: ["full", "the quota of its file system is used up"],
	ENOTDIR: ["no-directory", "a part of the path is no directory"],
	EEXIST: ["no-directory", "a file is in its place"],
	ELOOP: ["no-directory", "its symbolic links lead in a circle"],
	EISDIR: ["not-writable", "it is a directory"],
	ENAMETOOLONG: ["missing", "its name is too long"],
};

/** What is said of a directory that the environment names. */
export function variableRemedy(variable: string): string {
	return `Name a directory that you can write to with the environment variable ${variable}`;
}

/**
 * Says what the system's refusal means for a directory.
 * @returns a {@link DirectoryError}; `error` itself if it comes from elsewhere than the system, or has been explained before
 */
export function explainDirectory(directory: string, remedy: string, error: unknown): unknown {
	if (!(error instanceof Error) || !("syscall" in error)) return error;
	const [code, reason] = refusalOf(error);
	return new DirectoryError(
		code,
		directory,
		reason,
		code === "full" ? `Free some space there, or: ${lower(remedy)}` : remedy,
		{
			cause: error,
		},
	);
}

/** What a refusal of the system's means for writing, in words too. */
export function refusalOf(error: unknown): readonly [code: DirectoryErrorCode, reason: string] {
	const { code = "", message } = error as NodeJS.ErrnoException;
	return REASONS[code] ?? ["not-writable", message];
}

function lower(text: string): string {
	return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** The user's own directory. A HOME that is empty or relative names none; the system's list of users does then. */
function homeDirectory({ HOME }: Environment, variable: string): string {
	if (HOME !== undefined && isAbsolute(HOME)) return HOME;
	let home = "";
	try {
		home = userInfo().homedir;
	} catch {
		// Some containers' users are in no list.
	}
	if (isAbsolute(home)) return home;
	throw new DirectoryError("missing", HOME || "HOME", "it is no user's directory", variableRemedy(variable));
}

/**
 * A directory of the specification, for paravirt.
 * @param variable names it; what is relative is ignored, as the specification has it
 * @param usual where it is otherwise, below the user's directory
 */
export function userDirectory(variable: string, usual: string, environment: Environment = process.env): string {
	const base = environment[variable];
	const parent = base !== undefined && isAbsolute(base) ? base : join(homeDirectory(environment, variable), usual);
	return join(parent, "paravirt");
}

/** For what nobody misses after a restart. */
export function temporaryDirectory(): string {
	const directory = tmpdir();
	return isAbsolute(directory) ? directory : "/tmp";
}

/**
 * Makes a directory and those above it, as far as they are not there. Node.js's own way (`recursive`) tries for ever if the system says that a
 * directory is not there and cannot be made, as in /proc.
 * @param mode of those that are made
 * @throws DirectoryError
 */
export function makeDirectories(directory: string, remedy: string, mode = 0o777): void {
	try {
		make(directory, mode);
	} catch (error) {
		// The one that could not be made may be above it.
		throw explainDirectory((error as NodeJS.ErrnoException).path ?? directory, remedy, error);
	}
}

function make(directory: string, mode: number): void {
	if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return;
	const parent = dirname(directory);
	if (parent !== directory) make(parent, mode);
	try {
		mkdirSync(directory, { mode });
	} catch (error) {
		// Another process may have been quicker.
		const isThere = statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true;
		if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !isThere) throw error;
	}
}

/** A new directory in `parent`. @throws DirectoryError */
export function makeTemporary(parent: string, prefix: string, remedy: string): string {
	try {
		return mkdtempSync(join(parent, prefix));
	} catch (error) {
		throw explainDirectory(parent, remedy, error);
	}
}
