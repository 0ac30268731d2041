/** RDRAND's sources: the seeded one repeats itself, the host's does not. */
import { describe, expect, it } from "vitest";
import { hostRandom, seededRandom } from "../../src/cpu/interpreter/random.ts";

const take = (source: () => number, count: number): number[] => Array.from({ length: count }, source);

describe("random numbers for RDRAND and RDSEED", () => {
	it("repeat for the same seed and differ for another", () => {
		expect(take(seededRandom(7), 100)).toEqual(take(seededRandom(7), 100));
		expect(take(seededRandom(7), 100)).not.toEqual(take(seededRandom(8), 100));
	});

	it("are unsigned words that do not repeat soon", () => {
		for (const source of [seededRandom(1), hostRandom()]) {
			const words = take(source, 5000);
			expect(words.every((word) => word === word >>> 0)).toBe(true);
			expect(new Set(words).size).toBeGreaterThan(4990);
		}
	});

	it("differ between two hosts", () => {
		expect(take(hostRandom(), 10)).not.toEqual(take(hostRandom(), 10));
	});
});
