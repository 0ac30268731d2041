/** Sequence numbers (RFC 9293 3.4): 32 bits that wrap around. */

/** `a - b`, from -2^31 to 2^31 - 1: positive where `a` is later. */
export function distance(a: number, b: number): number {
	return (a - b) | 0;
}

export function advance(sequence: number, count: number): number {
	return (sequence + count) >>> 0;
}
