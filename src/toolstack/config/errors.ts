/** What is wrong with a domain's configuration: where, why, and what to do about it. */

export type ConfigErrorCode =
	/** Not the configuration's syntax. */
	| "syntax"
	/** An option that there is not. */
	| "unknown-option"
	/** An option that cannot be honoured. */
	| "unsupported-option"
	/** A value that an option cannot have. */
	| "invalid-value"
	/** What must be given is not. */
	| "missing-option";

export class ConfigError extends Error {
	override readonly name = "ConfigError";

	/**
	 * @param file the name for messages
	 * @param line counted from 1; 0 where it is about the file as a whole
	 * @param reason what is wrong, as a sentence without its full stop
	 * @param remedy what to do about it, likewise
	 */
	constructor(
		readonly code: ConfigErrorCode,
		readonly file: string,
		readonly line: number,
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(`${file}${line === 0 ? "" : `:${line}`}: ${reason}`, options);
	}
}
