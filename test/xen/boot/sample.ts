/**
 * What the packed payloads of the tests contain: text, runs, noise and something like x86 code, from a fixed generator, so that
 * every branch of a decompressor has something to do. Changing it means making payloads.ts anew.
 */

/** Numbers below 2^16 from a linear congruential generator. */
export function generator(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return state >>> 16;
	};
}

const WORDS = ["event", "channel", "grant", "frame", "the", "of", "page", "table", "machine", "domain", "pin", "trap"];

/** @param scale how many rounds of text, run, noise and code; one is about 3 KiB */
export function sample(scale: number): Uint8Array {
	const next = generator(42);
	const bytes: number[] = [];
	for (let round = 0; round < scale; round++) {
		for (let i = 0; i < 150; i++) {
			for (const character of `${WORDS[next() % WORDS.length]} `) bytes.push(character.charCodeAt(0));
		}
		for (let i = 0; i < 700; i++) bytes.push(round & 0xff);
		for (let i = 0; i < 200; i++) bytes.push(next() & 0xff);
		// Calls to a few functions from ever other places: what the branch filter makes alike.
		for (let i = 0; i < 150; i++) {
			const target = (next() % 5) * 64;
			const displacement = target - (bytes.length + 5);
			bytes.push(
				next() % 9 === 0 ? 0xe9 : 0xe8,
				displacement,
				displacement >> 8,
				displacement >> 16,
				displacement >> 24,
			);
			for (let nop = next() % 4; nop > 0; nop--) bytes.push(0x90);
		}
	}
	return Uint8Array.from(bytes);
}
