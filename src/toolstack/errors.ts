/** Why the toolstack refuses or cannot do something. Errors are made for people: what is wrong, and what to do about it. */

export type ToolstackErrorCode =
	/** No domain has that id or name. */
	| "no-such-domain"
	/** Another domain has that name or UUID. */
	| "name-in-use"
	| "uuid-in-use"
	/** No domain can be called that, or have that UUID. */
	| "invalid-name"
	| "invalid-uuid"
	/** The domain has been destroyed. */
	| "destroyed"
	/** The domain has shut down: nobody is there to do what is asked for. */
	| "not-running"
	/** The guest has not acknowledged a request in time. */
	| "no-reaction"
	/** An option that there is not, that is missing, or that has no such value. */
	| "invalid-option"
	/** A number that cannot be. */
	| "out-of-range"
	/** The machine has not as much memory. */
	| "not-enough-memory"
	/** What this hypervisor, or a PV guest, does not have. */
	| "unsupported"
	/** A core dump's file could not be written. */
	| "not-writable";

export class ToolstackError extends Error {
	override readonly name = "ToolstackError";

	/**
	 * @param reason what is wrong, as a sentence without its full stop
	 * @param remedy what to do about it, as a sentence without its full stop
	 */
	constructor(
		readonly code: ToolstackErrorCode,
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(reason, options);
	}
}
