/** UUIDs of domains (xen_domain_handle_t): their text, and new ones. */

const TEXT = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

/** The sixteen bytes of a UUID's text, or undefined where it is none. */
export function parseUuid(text: string): Uint8Array | undefined {
	if (!TEXT.test(text)) return undefined;
	const digits = text.replaceAll("-", "");
	return Uint8Array.from({ length: 16 }, (_, index) => Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16));
}

export function formatUuid(handle: Uint8Array): string {
	const digits = [...handle].map((byte) => byte.toString(16).padStart(2, "0")).join("");
	return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * A new domain's UUID: random, but as repeatable as all else where time is.
 * @param seed what makes it unlike others of a repeatable run: a domain id
 */
export function newUuid(deterministic: boolean, seed: number): Uint8Array {
	const handle = new Uint8Array(16);
	if (deterministic) handle.set([seed >>> 8, seed & 0xff], 14);
	else crypto.getRandomValues(handle);
	// Version 4, the variant of RFC 4122.
	handle[6] = ((handle[6] as number) & 0x0f) | 0x40;
	handle[8] = ((handle[8] as number) & 0x3f) | 0x80;
	return handle;
}
