/** Where RDRAND and RDSEED take their numbers from: the host's generator, or a seeded one for runs that can be repeated. */

/** 32 bits at a time from the host's cryptographic generator. */
export function hostRandom(): () => number {
	const words = new Uint32Array(1024);
	let next = words.length;
	return () => {
		if (next === words.length) {
			crypto.getRandomValues(words);
			next = 0;
		}
		return words[next++]!;
	};
}

/** The same 32-bit numbers for the same seed: splitmix32. Not for secrets. */
export function seededRandom(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x9e37_79b9) >>> 0;
		let word = state;
		word = Math.imul(word ^ (word >>> 16), 0x21f0_aaad);
		word = Math.imul(word ^ (word >>> 15), 0x735a_2d97);
		return (word ^ (word >>> 15)) >>> 0;
	};
}
