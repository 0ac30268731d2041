/** The TCP endpoint against another over a bad link: whatever is lost, repeated and reordered, both streams arrive whole and both ends close. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Clock, type Mishap, Peer } from "./lossy-link.ts";

const mishap: fc.Arbitrary<Mishap> = fc.record({
	lose: fc.integer({ min: 0, max: 9 }).map((value) => value < 2),
	repeat: fc.integer({ min: 0, max: 9 }).map((value) => value < 2),
	delay: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 })),
});
const side = fc.record({
	mishaps: fc.array(mishap, { maxLength: 200 }),
	// Near the wrap of sequence numbers, too.
	initial: fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0xffff0000, max: 0xffffffff })),
	mss: fc.constantFrom(100, 536, 1460),
	largest: fc.constantFrom(100, 1460, 65000),
	buffer: fc.constantFrom(700, 4096, 65535, 300_000),
	pace: fc.constantFrom(0, 0, 3, 50),
	chunks: fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 12 }),
});

function pattern(length: number, seed: number): Uint8Array {
	return Uint8Array.from({ length }, (_, index) => (index * 7 + seed + (index >>> 8)) & 0xff);
}

describe("a TCP connection over a bad link", () => {
	it("carries both streams whole, and closes", () => {
		fc.assert(
			fc.property(side, side, fc.boolean(), (of, as, halfClosed) => {
				const clock = new Clock();
				const a = new Peer(clock, of.mishaps, of);
				const b = new Peer(clock, as.mishaps, as);
				a.other = b;
				b.other = a;
				a.endpoint.open();
				const total = (chunks: readonly number[]): number => chunks.reduce((sum, length) => sum + length, 0);
				const [fromA, fromB] = [pattern(total(of.chunks), 1), pattern(total(as.chunks), 2)];
				let at = 0;
				for (const length of of.chunks) {
					a.endpoint.send(fromA.subarray(at, at + length));
					at += length;
				}
				a.endpoint.end();
				// The other end answers at once, or when the first has said all it had to say.
				let begun = false;
				const answer = (): void => {
					if (begun || !b.established || (halfClosed && !b.ended)) return;
					begun = true;
					b.endpoint.send(fromB);
					b.endpoint.end();
				};
				const done = (): boolean => {
					answer();
					return a.closed !== undefined && b.closed !== undefined;
				};
				clock.run(done, 20_000);
				expect([a.closed, b.closed]).toEqual(["closed", "closed"]);
				expect(b.received.equals(fromA)).toBe(true);
				expect(a.received.equals(fromB)).toBe(true);
				expect([a.ended, b.ended]).toEqual([true, true]);
				expect(a.endpoint.queued + b.endpoint.queued).toBe(0);
			}),
			{ numRuns: Number(process.env["PARAVIRT_TCP_RUNS"] ?? 150) },
		);
	});
});

it("gathers data for large segments where each acknowledgement makes room for a little", () => {
	const clock = new Clock();
	const common = { initial: 1, mss: 1460, largest: 65_000, pace: 0 };
	// Segments arrive in their order, but apart: each is acknowledged by itself.
	const apart = Array.from({ length: 20_000 }, (_, index) => ({ lose: false, repeat: false, delay: index / 100 }));
	const sender = new Peer(clock, apart, { ...common, buffer: 65_535 });
	const receiver = new Peer(clock, [], { ...common, buffer: 262_144 });
	sender.other = receiver;
	receiver.other = sender;
	sender.endpoint.open();
	const data = pattern(2 ** 21, 1);
	sender.endpoint.send(data);
	sender.endpoint.end();
	clock.run(() => receiver.ended, 200_000);
	expect(receiver.received.equals(Buffer.from(data))).toBe(true);
	expect(data.length / sender.made).toBeGreaterThan(16_000);
});

/** Two ends over a good link, connected. */
function connection(): { clock: Clock; caller: Peer; called: Peer } {
	const clock = new Clock();
	const options = { initial: 1, mss: 1460, largest: 65_000, buffer: 65_535, pace: 0 };
	const [caller, called] = [new Peer(clock, [], options), new Peer(clock, [], options)];
	caller.other = called;
	called.other = caller;
	caller.endpoint.open();
	clock.run(() => called.established, 100);
	return { clock, caller, called };
}

it.each([
	["with an answer that comes at once", 0, 1],
	["with one that comes before long", 0.9, 1],
	["before one that takes its time", 3, 2],
])("acknowledges a little data %s", (_, delay, segments) => {
	const { clock, caller, called } = connection();
	const before = called.sent;
	caller.endpoint.send(pattern(1, 1));
	clock.run(() => called.received.length === 1, 100);
	clock.at(clock.now + delay, () => called.endpoint.send(pattern(1, 2)));
	clock.run(() => caller.received.length === 1, 100);
	expect(called.sent - before).toBe(segments);
});

it("acknowledges a little data soon, and a second piece at once", () => {
	const { clock, caller } = connection();
	const acknowledged = (pieces: number): number => {
		const start = clock.now;
		for (let piece = 0; piece < pieces; piece++) caller.endpoint.send(pattern(1, piece));
		clock.run(() => caller.endpoint.queued === 0, 100);
		return clock.now - start;
	};
	expect([acknowledged(1), acknowledged(2)]).toEqual([11, 10]);
});
