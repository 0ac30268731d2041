export type GuestErrorCode =
	/** The machine has no apt, no Debian sources, or another tool is missing. */
	| "no-tool"
	/** A tool has failed: the network, the mirror, the space. */
	| "tool-failed"
	/** What was fetched has not what is looked for. */
	| "unavailable";

/** What can go wrong while a guest is fetched: a message for people, with what they can do about it. */
export class GuestError extends Error {
	override readonly name = "GuestError";
	readonly code: GuestErrorCode;

	constructor(
		readonly reason: string,
		/** A sentence that says what to do. */
		readonly remedy: string,
		{ code = "unavailable", ...options }: ErrorOptions & { readonly code?: GuestErrorCode } = {},
	) {
		super(reason, options);
		this.code = code;
	}
}
