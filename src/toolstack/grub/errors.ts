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
