/**
 * How the command ends. A message names the file or option, says what is wrong, and what to do about it; an error that is none of
 * these is a bug in paravirt and is printed with its stack.
 */

import { ImageError } from "../formats/errors.ts";

/** Exit statuses, as docs/command.md lists them. Signals end the command with 128 + their number. */
export const ExitStatus = { poweredOff: 0, hostError: 1, usage: 2, crashed: 3, timeout: 4, noStatus: 125 } as const;

/** A command line that cannot be carried out. */
export class UsageError extends Error {
	override readonly name = "UsageError";

	constructor(
		message: string,
		/** A sentence that says what to do. */
		readonly remedy: string,
	) {
		super(message);
	}
}

/** A file that is not there, or cannot be read or written. */
export class FileError extends Error {
	override readonly name = "FileError";

	constructor(
		readonly file: string,
		reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(`${file === "" ? '""' : file}: ${reason}`, options);
	}
}

const REASONS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
	ENOENT: ["no such file", "Check the path."],
	EACCES: ["not readable: permission denied", "Check the file's permissions, or copy it to where you can read it."],
	EISDIR: ["is a directory", "Name a file in it."],
	ENOTDIR: ["a part of the path is no directory", "Check the path."],
	ENOSPC: ["no space left on the device", "Free some space, or name another place."],
	EROFS: ["the file system is read-only", "Name another place."],
};

/** An operating-system error for `file` in words. */
export function fileError(file: string, error: unknown): FileError {
	const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
	const [reason, remedy] = REASONS[code] ?? [error instanceof Error ? error.message : String(error), "Check the file."];
	return new FileError(file, reason, remedy, { cause: error });
}

/** Errors made for people have a remedy: these classes, and those of the guests' and the image's layer. */
interface Explained extends Error {
	readonly remedy: string;
}

function isExplained(error: unknown): error is Explained {
	return error instanceof Error && "remedy" in error && typeof error.remedy === "string";
}

/** The message for standard error, and the exit status. */
export function describeError(error: unknown): { readonly text: string; readonly status: number } {
	if (error instanceof AggregateError && error.errors.every(isExplained)) {
		const described = error.errors.map(describeError);
		return {
			text: described.map(({ text }) => text).join(""),
			status: Math.max(...described.map(({ status }) => status)),
		};
	}
	if (isExplained(error)) {
		// An image's message has the remedy in it.
		const message = error instanceof ImageError ? `${error.file}: ${error.reason}` : error.message;
		const status = error instanceof UsageError ? ExitStatus.usage : ExitStatus.hostError;
		return { text: `paravirt: ${message}\n${sentence(error.remedy)}\n`, status };
	}
	const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
	return {
		text: `paravirt: a bug in paravirt ended it; please report this:\n${stack}\n`,
		status: ExitStatus.hostError,
	};
}

function sentence(text: string): string {
	return /[.!?:]$/.test(text) ? text : `${text}.`;
}
