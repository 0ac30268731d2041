/** What goes wrong between commands and the daemon. */

export type DaemonErrorCode =
	/** No daemon runs. */
	| "not-running"
	/** One could not be started, or has ended meanwhile. */
	| "not-started"
	| "gone"
	/** The directory of its socket is not the user's alone. */
	| "unsafe-directory"
	/** It is of another version, or what answers is no daemon. */
	| "other-version"
	/** Something listens on its socket, and does not greet. */
	| "no-answer"
	/** It runs already. */
	| "running"
	/** It has domains. */
	| "busy"
	/** The domain has no such console, or it is a channel that has its own end. */
	| "no-such-console"
	/** A request that it does not understand. */
	| "bad-request";

export class DaemonError extends Error {
	override readonly name = "DaemonError";

	/** @param remedy what to do about it, as a sentence without its full stop */
	constructor(
		readonly code: DaemonErrorCode,
		message: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

/** What the daemon refused, with its words; the code is that of the error there. */
export class RemoteError extends Error {
	override readonly name = "RemoteError";

	constructor(
		readonly code: string,
		message: string,
		readonly remedy: string,
	) {
		super(message);
	}
}
