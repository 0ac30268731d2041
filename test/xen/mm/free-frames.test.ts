/** Free frames against a model: sets of numbers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Memory } from "../../../src/memory/memory.ts";
import { FreeFrames, LARGEST_ORDER } from "../../../src/xen/mm/free-frames.ts";

/** Two groups and part of a third. */
const FRAMES = 1100;
const memory = new Memory(FRAMES);

type Step =
	| { readonly kind: "take" }
	| { readonly kind: "run"; readonly order: number; readonly untouched: number }
	/** Of what is taken, from the one with this number on. */
	| { readonly kind: "put"; readonly from: number; readonly count: number }
	| { readonly kind: "clear"; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
	fc.record({ kind: fc.constant("take" as const) }),
	fc.record({
		kind: fc.constant("run" as const),
		order: fc.nat(LARGEST_ORDER),
		untouched: fc.oneof(fc.constant(0), fc.constant(FRAMES), fc.nat(600)),
	}),
	fc.record({ kind: fc.constant("put" as const), from: fc.nat(FRAMES), count: fc.integer({ min: 1, max: 600 }) }),
	fc.record({ kind: fc.constant("clear" as const), which: fc.nat(FRAMES) }),
);

describe("free frames", () => {
	it("are all but number 0, untouched, the lowest first", () => {
		const free = new FreeFrames(memory);
		expect([free.count, free.touched]).toEqual([FRAMES - 1, 0]);
		for (let mfn = 1; mfn < FRAMES; mfn++) {
			expect(free.next()).toBe(mfn);
			free.remove(mfn);
		}
		expect(free.next()).toBeUndefined();
		expect(free.findRun(1, FRAMES)).toBeUndefined();
	});

	it("are what a model says", () => {
		fc.assert(
			fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
				const free = new FreeFrames(memory);
				const untouched = new Set(Array.from({ length: FRAMES - 1 }, (_, index) => index + 1));
				const touched = new Set<number>();
				const taken: number[] = [];
				const take = (mfn: number): void => {
					expect(free.isFree(mfn)).toBe(true);
					expect(free.isTouched(mfn)).toBe(touched.has(mfn));
					free.remove(mfn);
					untouched.delete(mfn);
					touched.delete(mfn);
					taken.push(mfn);
				};
				/** Of the aligned runs of free frames, the numbers of untouched ones; by their first. */
				const runs = (order: number): Map<number, number> => {
					const found = new Map<number, number>();
					for (let first = 0; first + 2 ** order <= FRAMES; first += 2 ** order) {
						const run = Array.from({ length: 2 ** order }, (_, index) => first + index);
						if (!run.every((mfn) => untouched.has(mfn) || touched.has(mfn))) continue;
						found.set(first, run.filter((mfn) => untouched.has(mfn)).length);
					}
					return found;
				};
				for (const each of steps) {
					if (each.kind === "take") {
						const mfn = free.next();
						const from = touched.size > 0 ? touched : untouched;
						expect(mfn).toBe(from.size > 0 ? Math.min(...from) : undefined);
						if (mfn !== undefined) take(mfn);
					} else if (each.kind === "run") {
						const first = free.findRun(each.order, each.untouched);
						const fit = [...runs(each.order)].filter(([, count]) => count <= each.untouched);
						const whole = fit.filter(([, count]) => count === 0);
						expect(first).toBe((whole[0] ?? fit[0])?.[0]);
						if (first !== undefined) for (let page = 0; page < 2 ** each.order; page++) take(first + page);
					} else if (each.kind === "put") {
						for (const mfn of taken.splice(each.from % (taken.length + 1), each.count)) {
							free.put(mfn, true);
							touched.add(mfn);
						}
					} else {
						const mfn = [...touched][each.which % Math.max(touched.size, 1)];
						if (mfn === undefined) continue;
						free.clearTouched(mfn);
						touched.delete(mfn);
						untouched.add(mfn);
					}
					expect([free.count, free.touched]).toEqual([untouched.size + touched.size, touched.size]);
				}
			}),
			{ numRuns: 60 },
		);
	});
});
