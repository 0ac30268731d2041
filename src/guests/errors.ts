/** What can go wrong while a guest is fetched: a message for people, with what they can do about it. */
export class GuestError extends Error {
	override readonly name = "GuestError";

	constructor(
		message: string,
		/** A sentence that says what to do. */
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}
