/** What is wrong with a boot loader's configuration: the file, the line, the reason, and what the user can do about it. */

/** A place in a configuration file. Lines count from 1. */
export interface Place {
	readonly file: string;
	readonly line: number;
}

export class GrubError extends Error {
	override readonly name = "GrubError";

	/**
	 * @param place the file, and the line where there is one
	 * @param reason a clause, without its full stop
	 * @param remedy a sentence that says what to do
	 */
	constructor(
		readonly place: Place | { readonly file: string },
		readonly reason: string,
		readonly remedy: string,
	) {
		super(`${place.file}${"line" in place ? `:${place.line}` : ""}: ${reason}`);
	}
}

/** GRUB's grub_err_t, as `$?` shows it after a command that failed. One that is not there, or a file to source, leaves 0 (GRUB 2.06). */
export const GrubStatus = { none: 0, invalidCommand: 17, badArgument: 18 } as const;

/** A command that fails in GRUB, which says so and goes on with the next one. */
export class CommandFailure extends GrubError {
	constructor(
		place: Place,
		reason: string,
		readonly status: number = GrubStatus.badArgument,
	) {
		super(place, reason, "GRUB says so, too, and goes on.");
	}
}
