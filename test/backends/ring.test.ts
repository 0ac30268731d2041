import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BackRing, ringSize, sharedRing } from "../../src/backends/ring.ts";
import { Memory } from "../../src/memory/memory.ts";

const { offset } = sharedRing;
const memory = new Memory(8);
/** Not in a row, as granted pages are not. */
const PAGES = [memory.frame(5), memory.frame(2), memory.frame(7), memory.frame(1)];

/** The front end's half, written from the header's macros; free to be told to lie. */
class FrontRing {
	requestProducer = 0;
	responseConsumer = 0;
	constructor(
		readonly pages: readonly number[],
		readonly entrySize: number,
		readonly size: number,
		start = 0,
	) {
		for (const page of pages) memory.fill(page, 4096, 0);
		this.requestProducer = start;
		this.responseConsumer = start;
		memory.setU32(this.head + offset.reqProd, start);
		memory.setU32(this.head + offset.rspProd, start);
		memory.setU32(this.head + offset.reqEvent, start + 1);
		memory.setU32(this.head + offset.rspEvent, start + 1);
	}
	get head(): number {
		return this.pages[0] as number;
	}
	at(index: number, byte: number): number {
		const at = 64 + ((index >>> 0) % this.size) * this.entrySize + byte;
		return (this.pages[at >> 12] as number) + (at & 4095);
	}
	put(fill: number): void {
		for (let byte = 0; byte < this.entrySize; byte++)
			memory.setU8(this.at(this.requestProducer, byte), (fill + byte) & 255);
		this.requestProducer = (this.requestProducer + 1) >>> 0;
	}
	/** RING_PUSH_REQUESTS_AND_CHECK_NOTIFY */
	push(): boolean {
		const old = memory.u32(this.head + offset.reqProd);
		memory.setU32(this.head + offset.reqProd, this.requestProducer);
		return (this.requestProducer - memory.u32(this.head + offset.reqEvent)) >>> 0 < (this.requestProducer - old) >>> 0;
	}
	get(): number[] {
		const found: number[] = [];
		while (this.responseConsumer !== memory.u32(this.head + offset.rspProd)) {
			found.push(memory.u8(this.at(this.responseConsumer, 0)));
			this.responseConsumer = (this.responseConsumer + 1) >>> 0;
		}
		memory.setU32(this.head + offset.rspEvent, this.responseConsumer + 1);
		return found;
	}
}

describe("shared ring", () => {
	it("has the sizes of the header's macros", () => {
		// blkif_sring of one, two and sixteen pages; netif's two rings.
		expect([4096, 8192, 65536].map((bytes) => ringSize(bytes, 112))).toEqual([32, 64, 512]);
		expect([ringSize(4096, 12), ringSize(4096, 8)]).toEqual([256, 256]);
	});

	it("carries every request and response once and in order, and never loses a notification", () => {
		const step = fc.oneof(
			fc.record({ kind: fc.constant("request" as const), count: fc.integer({ min: 1, max: 80 }) }),
			fc.record({ kind: fc.constant("back" as const), count: fc.integer({ min: 1, max: 80 }) }),
			fc.record({ kind: fc.constant("front" as const), count: fc.constant(0) }),
		);
		const geometry = fc.constantFrom([1, 112], [2, 112], [4, 112], [1, 12], [4, 40]);
		fc.assert(
			fc.property(
				geometry,
				fc.constantFrom(0, 0xffff_ffe0),
				fc.array(step, { maxLength: 60 }),
				([order, entry], start, steps) => {
					const [pages, entrySize] = [PAGES.slice(0, order as number), entry as number];
					const size = ringSize(pages.length * 4096, entrySize);
					const front = new FrontRing(pages, entrySize, size, start);
					const ring = new BackRing(memory, pages, entrySize);
					expect(ring.size).toBe(size);
					const request = new Uint8Array(entrySize);
					let [sent, taken, answered, received] = [0, 0, 0, 0];
					// What each side would know from the notifications that it got.
					let [backKnows, frontKnows] = [false, false];
					for (const { kind, count } of steps) {
						if (kind === "request") {
							const room = Math.min(count, size - (sent - received));
							for (let made = 0; made < room; made++) front.put(sent++ & 255);
							if (room > 0 && front.push()) backKnows = true;
						} else if (kind === "back" && backKnows) {
							for (let done = 0; done < count; done++) {
								if (ring.waiting === 0) break;
								ring.take(request);
								expect([request[0], request[entrySize - 1]]).toEqual([taken & 255, (taken + entrySize - 1) & 255]);
								taken++;
							}
							expect(ring.unanswered).toBe(taken - answered);
							while (answered < taken) ring.respond(new Uint8Array(entrySize).fill(answered++ & 255));
							if (ring.push()) frontKnows = true;
							backKnows = ring.finalCheck();
							expect(backKnows).toBe(sent !== taken);
						} else if (kind === "front" && frontKnows) {
							for (const value of front.get()) expect(value).toBe(received++ & 255);
							frontKnows = false;
							expect(received).toBe(answered);
						}
						// Whoever has something to do has been told of it.
						expect(backKnows || sent === taken).toBe(true);
						expect(frontKnows || answered === received).toBe(true);
					}
				},
			),
		);
	});

	it("tells an impossible producer index from any possible one, whenever it comes", () => {
		fc.assert(
			fc.property(fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { maxLength: 20 }), (claims) => {
				const pages = PAGES.slice(0, 2);
				const front = new FrontRing(pages, 112, 64);
				const ring = new BackRing(memory, pages, 112);
				let [taken, answered] = [0, 0];
				for (const claim of claims) {
					memory.setU32(front.head + offset.reqProd, claim);
					const { waiting } = ring;
					if (claim - answered > 64 || claim < answered) expect(waiting).toBe(-1);
					if (waiting < 0) continue;
					expect(waiting).toBeLessThanOrEqual(64);
					if (waiting === 0) continue;
					ring.take(new Uint8Array(112));
					taken++;
					if (taken % 3 === 0) {
						for (; answered < taken; answered++) ring.respond(new Uint8Array(112));
						ring.push();
					}
				}
			}),
		);
	});
});
