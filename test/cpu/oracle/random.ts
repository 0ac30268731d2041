/**
 * The generator of random numbers of the processor's tests: small, seedable, the same on every host, so that a seed reproduces a case.
 */

/** Marsaglia's xorshift128, seeded through a mixing step so that neighbouring seeds share nothing. */
export class Random {
	private x = 0;
	private y = 0;
	private z = 0;
	private w = 0;

	constructor(seed: number) {
		this.seed(seed);
	}

	/** Starts the sequence that belongs to a seed (32 bits of it count). */
	seed(seed: number): void {
		let state = seed | 0;
		const mix = (): number => {
			state = (state + 0x9e3779b9) | 0;
			let value = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
			value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
			return value ^ (value >>> 16);
		};
		this.x = mix();
		this.y = mix();
		this.z = mix();
		this.w = mix() | 1;
	}

	/** A signed 32-bit number. */
	word(): number {
		const t = this.x ^ (this.x << 11);
		this.x = this.y;
		this.y = this.z;
		this.z = this.w;
		this.w = this.w ^ (this.w >>> 19) ^ t ^ (t >>> 8);
		return this.w;
	}

	/** An integer in [0, limit). */
	below(limit: number): number {
		return Math.floor(((this.word() >>> 0) / 2 ** 32) * limit);
	}

	/** An integer in [from, to]. */
	between(from: number, to: number): number {
		return from + this.below(to - from + 1);
	}

	/** True once in `n` times. */
	once(n: number): boolean {
		return this.below(n) === 0;
	}

	pick<T>(from: readonly T[]): T {
		return from[this.below(from.length)]!;
	}
}
