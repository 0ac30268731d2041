/** Guests that call with whatever they like: nothing may throw, hang, or change what is not theirs. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameType } from "../../src/xen/mm/frame-info.ts";
import { ARGS, Call, createMachine, HOLE, PAGES, page, TABLE } from "./guest-machine.ts";

const ADDRESSES = [
	0,
	1,
	ARGS,
	ARGS + 4090,
	page(3),
	TABLE,
	TABLE - 3,
	HOLE,
	-1,
	-(2 ** 47),
	-(2 ** 47) + 2 ** 43,
	2 ** 47,
	2 ** 62,
];
const NUMBERS = [
	0,
	1,
	2,
	3,
	7,
	63,
	64,
	511,
	512,
	1023,
	1024,
	4095,
	4096,
	0x7ff0,
	0x7ff1,
	0xffff,
	2 ** 31,
	2 ** 32 - 1,
	2 ** 52,
];

describe("hostile hypercalls", () => {
	it("end in a result, and leave other domains alone", () => {
		const machine = createMachine({ frames: 4096 });
		const other = machine.addGuest();
		const mine = machine.addGuest(2);
		const { frames, memory } = machine.hypervisor;
		const frameNumbers = [mine.l1, mine.l4, mine.mfns[0], mine.mfns[4], other.mfns[0], other.l1, 5000] as number[];
		const checksum = (): number => {
			let sum = 0;
			for (const mfn of [...other.mfns, other.l1, other.l4]) {
				for (let at = memory.frame(mfn); at < memory.frame(mfn) + 4096; at += 64) sum = (sum * 31 + memory.u32(at)) | 0;
			}
			return sum;
		};
		for (const mfn of other.mfns) memory.fill(memory.frame(mfn), 4096, 0x3c);
		const before = checksum();
		const value = fc.oneof(
			fc.constantFrom(...NUMBERS),
			fc.constantFrom(...ADDRESSES),
			fc.constantFrom(...frameNumbers),
			fc.integer({ min: 0, max: 40 }),
		);
		const calls = fc.record({
			number: fc.constantFrom(...Object.values(Call)),
			command: fc.integer({ min: 0, max: 34 }),
			second: value,
			third: fc.oneof(fc.integer({ min: 0, max: 3 }), value),
			words: fc.array(
				fc.tuple(fc.constantFrom(0, 2, 4, 6, 8, 10, 12, 16, 18, 20, 24, 32, 36), fc.constantFrom(2, 4, 8), value),
			),
			vcpu: fc.integer({ min: 0, max: 1 }),
		});
		fc.assert(
			fc.property(fc.array(calls, { minLength: 5, maxLength: 40 }), (list) => {
				for (const { number, command, second, third, words, vcpu } of list) {
					memory.setU64(memory.frame(mine.l1), (mine.mfns[0] as number) * 4096 + 0x27);
					for (const [offset, size, word] of words) mine.put(ARGS, [offset, size, word]);
					const first = number === Call.physdevCompat || number === Call.eventCompat ? ARGS : command;
					if (number === Call.consoleIo && second > 2 ** 20) continue;
					const result = mine.callAs(mine.vcpu(vcpu), number, first, second, Number.isFinite(third) ? third : 0);
					expect(Number.isInteger(result)).toBe(true);
					expect(result).toBeGreaterThan(-4096);
				}
				expect(frames.type(mine.l1)).toBe(FrameType.l1);
				expect(frames.type(mine.l4)).toBe(FrameType.l4);
			}),
			{ numRuns: 150 },
		);
		expect(checksum()).toBe(before);
		expect(other.domain.shutdown).toBeUndefined();
		for (let slot = 0; slot < PAGES; slot++) {
			const entry = mine.entry(slot);
			if ((entry & 3) === 3) expect(frames.owner(entry >>> 12)).toBe(mine.domain.id);
		}
	});
});
