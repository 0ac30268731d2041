import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Disk } from "../../../src/backends/block/disk.ts";
import type { Done } from "../../../src/devices/block/image.ts";
import { MemoryFile } from "../../../src/devices/block/images/memory.ts";
import { RawImage } from "../../../src/devices/block/images/raw.ts";
import { type BlockFront, createBlock, type FrontOptions } from "./front.ts";

const [READ, WRITE, BARRIER, FLUSH, DISCARD] = [0, 1, 2, 3, 5];
const [OKAY, ERROR, NOT_SUPPORTED] = [0, -1, -2];
const SECTORS = 2048;

/** An image that keeps a record of what it is asked for, and answers when it is told to where it is slow. */
class Recorder extends RawImage {
	readonly record: string[] = [];
	slow = false;
	broken = false;
	pagesHeld = true;
	private readonly waiting: (() => void)[] = [];

	constructor(readonly memory = new MemoryFile(SECTORS * 512)) {
		super(memory);
	}
	private do(what: string, work: () => Done): Done {
		this.record.push(what);
		if (this.broken) throw new Error("broken");
		if (!this.slow) return work();
		return new Promise((resolve) => {
			this.waiting.push(() => {
				work();
				resolve();
			});
		});
	}
	async release(): Promise<void> {
		for (const end of this.waiting.splice(0)) end();
		await new Promise((resolve) => setImmediate(resolve));
	}
	/** Its pages are held, unless a test says otherwise. */
	override get immediate(): boolean {
		return !this.pagesHeld;
	}
	override read(to: Uint8Array, position: number): Done {
		return this.do(`read ${position / 512} ${to.length / 512}`, () => super.read(to, position));
	}
	override write(from: Uint8Array, position: number): Done {
		return this.do(`write ${position / 512} ${from.length / 512}`, () => super.write(from, position));
	}
	override flush(): Done {
		return this.do("flush", () => super.flush());
	}
	override discard(position: number, length: number): Done {
		return this.do(`discard ${position / 512} ${length / 512}`, () => super.discard(position, length));
	}
	override async close(): Promise<void> {
		this.record.push("close");
	}
}

function setup(disk: Partial<Disk> = {}, options: FrontOptions = {}) {
	const image = new Recorder();
	const block = createBlock({ image, ...disk });
	const rings = block.connect(options);
	return { ...block, image, rings, ring: rings[0] as BlockFront };
}

describe("block back end", () => {
	it("publishes what there is, before and after it is connected", () => {
		const { node, state } = setup();
		expect(state()).toBe("4");
		const features = [
			"max-ring-page-order",
			"multi-queue-max-queues",
			"feature-max-indirect-segments",
			"feature-persistent",
		];
		expect(features.map(node)).toEqual(["4", "1", "256", "0"]);
		expect(["feature-flush-cache", "feature-barrier", "feature-discard", "discard-secure"].map(node)).toEqual([
			"1",
			"1",
			"1",
			"0",
		]);
		expect(["sectors", "sector-size", "physical-sector-size", "info"].map(node)).toEqual(["2048", "512", "512", "0"]);
		const cd = setup({ cdrom: true });
		expect(["info", "feature-discard", "feature-flush-cache"].map(cd.node)).toEqual(["7", "0", "0"]);
	});

	it.each(["x86_64-abi", "x86_32-abi"])("reads and writes parts of pages, %s", (protocol) => {
		const { front, ring, image } = setup({}, { protocol });
		const at = front.page(10);
		front.guest.memory.bytes.set(
			Array.from({ length: 4096 }, (_, index) => (index * 7) & 255),
			at,
		);
		const ref = front.grant(10, true);
		expect(ring.ask(WRITE, 5, [{ ref, first: 2, last: 4 }])).toBe(OKAY);
		expect(front.isFree(ref)).toBe(true);
		const into = front.grant(11);
		expect(ring.ask(READ, 4, [{ ref: into, first: 0, last: 4 }])).toBe(OKAY);
		expect(image.record).toEqual(["write 5 3", "read 4 5"]);
		const expected = new Uint8Array(5 * 512);
		expected.set(front.guest.memory.bytes.subarray(at + 1024, at + 2560), 512);
		expect(front.guest.memory.bytes.slice(front.page(11), front.page(11) + 2560)).toEqual(expected);
	});

	it("moves pages that follow each other in memory at once", () => {
		const { front, ring, image } = setup();
		const refs = [10, 11, 12, 14].map((page) => ({ ref: front.grant(page) }));
		expect(ring.ask(READ, 0, refs)).toBe(OKAY);
		expect(image.record.reduce((sum, line) => sum + Number(line.split(" ")[2]), 0)).toBe(32);
		expect(image.record.length).toBeLessThan(4);
	});

	it("moves pages anywhere in memory by one call of the image, where it has such", () => {
		const calls: number[] = [];
		class Vectored extends MemoryFile {
			readv(to: readonly Uint8Array[], position: number): Done {
				calls.push(to.length);
				let at = position;
				for (const part of to) {
					this.read(part, at);
					at += part.length;
				}
				return undefined;
			}
			writev(from: readonly Uint8Array[], position: number): Done {
				calls.push(-from.length);
				let at = position;
				for (const part of from) {
					this.write(part, at);
					at += part.length;
				}
				return undefined;
			}
		}
		const block = createBlock({ image: new RawImage(new Vectored(SECTORS * 512)) });
		const [ring] = block.connect() as [BlockFront];
		const { front } = block;
		const { bytes } = front.guest.memory;
		for (const page of [10, 12, 14]) bytes.fill(page, front.page(page), front.page(page) + 4096);
		expect(
			ring.ask(
				WRITE,
				8,
				[14, 10, 12].map((page) => ({ ref: front.grant(page, true) })),
			),
		).toBe(OKAY);
		expect(
			ring.ask(
				READ,
				8,
				[15, 11, 13].map((page) => ({ ref: front.grant(page) })),
			),
		).toBe(OKAY);
		expect([15, 11, 13].map((page) => [bytes[front.page(page)], bytes[front.page(page) + 4095]])).toEqual([
			[14, 14],
			[10, 10],
			[12, 12],
		]);
		expect(calls).toEqual([-3, 3]);
	});

	it.each([true, false])("does indirect requests, with pages held: %s", (held) => {
		const { front, ring, image, turn } = setup();
		image.pagesHeld = held;
		const data = front.grant(12);
		const list = front.grant(13, true);
		for (let index = 0; index < 100; index++) {
			front.guest.memory.setU32(front.page(13) + index * 8, data);
			front.guest.memory.setU32(front.page(13) + index * 8 + 4, 0x0700);
		}
		ring.indirect(WRITE, 7, 16, 100, [list]);
		ring.indirect(READ, 8, 16, 257, [list]);
		ring.indirect(FLUSH, 9, 16, 1, [list]);
		ring.indirect(READ, 10, 16, 3, [999]);
		ring.send();
		turn();
		expect(ring.answers()).toEqual([
			{ id: 7, operation: WRITE, status: OKAY },
			{ id: 8, operation: READ, status: ERROR },
			{ id: 9, operation: FLUSH, status: ERROR },
			{ id: 10, operation: READ, status: ERROR },
		]);
		expect(image.record.length).toBe(100);
		expect([front.isFree(data), front.isFree(list)]).toEqual([true, true]);
	});

	it("lets large requests wait for those that follow, until a vCPU waits or half a millisecond has passed", () => {
		const { front, ring, image, turn, hypervisor } = setup();
		const data = front.grant(12);
		const list = front.grant(13, true);
		for (let index = 0; index < 32; index++) {
			front.guest.memory.setU32(front.page(13) + index * 8, data);
			front.guest.memory.setU32(front.page(13) + index * 8 + 4, 0x0700);
		}
		const ask = (id: number, segments: number): void => {
			ring.indirect(WRITE, id, 16, segments, [list]);
			ring.send();
		};
		const answered = (): number[] => ring.answers().map(({ id }) => id);
		ask(1, 32);
		ask(2, 32);
		ask(3, 12);
		expect([answered(), image.record]).toEqual([[], []]);
		turn();
		expect(answered()).toEqual([1, 2, 3]);
		// What is small is done at once.
		ask(4, 31);
		expect(answered()).toEqual([4]);
		ask(5, 32);
		expect(answered()).toEqual([]);
		const { clock, timers } = hypervisor;
		expect(timers.next() - clock.now()).toBeLessThanOrEqual(500_000);
		timers.expire(timers.next());
		expect(answered()).toEqual([5]);
	});

	it("ends with its front end while requests wait for others", () => {
		const { front, ring, image, turn, bus, backend } = setup();
		const list = front.grant(13, true);
		ring.indirect(WRITE, 1, 16, 32, [list]);
		ring.send();
		front.destroy();
		turn();
		expect(image.record.filter((line) => line.startsWith("write"))).toEqual([]);
		expect(bus.device(backend)).toBeUndefined();
	});

	it("flushes, and puts barriers between what came before and after them", async () => {
		const { front, ring, image } = setup();
		const ref = front.grant(10);
		expect(ring.ask(FLUSH, 0, [])).toBe(OKAY);
		expect(image.record.splice(0)).toEqual(["flush"]);
		image.slow = true;
		ring.put_(WRITE, 1, 0, [{ ref }]);
		ring.put_(BARRIER, 2, 8, [{ ref }]);
		ring.put_(WRITE, 3, 16, [{ ref }]);
		ring.send();
		expect(image.record).toEqual(["write 0 8"]);
		await image.release();
		expect(image.record).toEqual(["write 0 8", "flush"]);
		await image.release();
		await image.release();
		expect(image.record).toEqual(["write 0 8", "flush", "write 8 8", "flush"]);
		expect(ring.answers().map(({ id }) => id)).toEqual([1]);
		await image.release();
		expect(ring.answers().map(({ id }) => id)).toEqual([2]);
		expect(image.record.at(-1)).toBe("write 16 8");
		await image.release();
		expect(ring.answers().map(({ id }) => id)).toEqual([3]);
		expect(front.isFree(ref)).toBe(true);
	});

	it("discards, but promises no secrecy", () => {
		const { ring, image } = setup();
		ring.discard(1, 128, 256);
		ring.discard(2, 0, 8, 1);
		ring.discard(3, SECTORS - 1, 2);
		ring.discard(4, 2 ** 52, 2 ** 52);
		ring.discard(5, 0, 0);
		ring.send();
		expect(ring.answers().map(({ status }) => status)).toEqual([OKAY, NOT_SUPPORTED, ERROR, ERROR, ERROR]);
		expect(image.record).toEqual(["discard 128 256"]);
		const without = setup({ discard: false });
		without.ring.discard(1, 128, 256);
		without.ring.send();
		expect(without.ring.answers()).toEqual([{ id: 1, operation: DISCARD, status: NOT_SUPPORTED }]);
	});

	it("refuses what is wrong, and nothing else", () => {
		const { front, ring, image } = setup();
		const ref = front.grant(10);
		const readable = front.grant(11, true);
		const whole = { ref };
		expect(ring.ask(READ, SECTORS - 8, [whole])).toBe(OKAY);
		expect(ring.ask(READ, SECTORS - 7, [whole])).toBe(ERROR);
		expect(ring.ask(READ, 2 ** 53 - 1, [whole])).toBe(ERROR);
		expect(ring.ask(WRITE, SECTORS, [{ ref, last: 0 }])).toBe(ERROR);
		expect(ring.ask(READ, 0, [{ ref, first: 3, last: 2 }])).toBe(ERROR);
		expect(ring.ask(READ, 0, [{ ref, first: 0, last: 8 }])).toBe(ERROR);
		expect(ring.ask(READ, 0, [{ ref: 99_999_999 }])).toBe(ERROR);
		expect(ring.ask(READ, 0, [whole, { ref: 77 }])).toBe(ERROR);
		expect(ring.ask(READ, 0, [{ ref: readable }])).toBe(ERROR);
		expect(ring.ask(WRITE, 0, [{ ref: readable }])).toBe(OKAY);
		expect(ring.ask(READ, 0, [])).toBe(ERROR);
		expect(ring.ask(READ, 0, [whole], 12)).toBe(ERROR);
		for (const operation of [4, 7, 200]) expect(ring.ask(operation, 0, [whole])).toBe(NOT_SUPPORTED);
		expect(image.record).toEqual(["read 2040 8", "write 0 8"]);
		expect([front.isFree(ref), front.isFree(readable)]).toEqual([true, true]);
	});

	it("writes nothing to a disk that is read-only", () => {
		const { front, ring, image } = setup({ readOnly: true });
		const ref = front.grant(10);
		expect([ring.ask(WRITE, 0, [{ ref }]), ring.ask(BARRIER, 0, [{ ref }]), ring.ask(READ, 0, [{ ref }])]).toEqual([
			ERROR,
			ERROR,
			OKAY,
		]);
		expect(image.record).toEqual(["read 0 8"]);
	});

	it("answers an image's failure with an error, and says so in the log a few times", () => {
		const { front, ring, image, log } = setup();
		const ref = front.grant(10);
		image.broken = true;
		for (let tries = 0; tries < 30; tries++) expect(ring.ask(WRITE, 0, [{ ref }])).toBe(ERROR);
		expect(log.filter((line) => line.includes("broken")).length).toBe(10);
		image.broken = false;
		expect(ring.ask(WRITE, 0, [{ ref }])).toBe(OKAY);
	});

	it("serves several rings of several pages", () => {
		const { rings, front, image, state } = setup({ queues: 4 }, { queues: 2, order: 1 });
		// The guest has one vCPU; what the toolstack allows counts.
		expect([state(), rings.map((ring) => ring.size)]).toEqual(["4", [64, 64]]);
		const ref = front.grant(10);
		rings.forEach((ring, queue) => {
			for (let count = 0; count < 200; count++)
				expect(ring.ask(WRITE, queue * 1000 + count, [{ ref, last: 0 }])).toBe(OKAY);
		});
		expect(image.record.length).toBe(400);
	});

	it("keeps grants mapped where both ends want that, and gives them back with the connection", () => {
		const { front, ring, node } = setup({ persistentGrants: true }, { nodes: { "feature-persistent": 1 } });
		expect(node("feature-persistent")).toBe("1");
		const refs = [10, 11].map((page) => front.grant(page));
		for (let tries = 0; tries < 5; tries++)
			for (const ref of refs) expect(ring.ask(WRITE, tries, [{ ref, last: 0 }])).toBe(OKAY);
		expect(refs.map((ref) => front.isFree(ref))).toEqual([false, false]);
		expect(ring.ask(READ, 0, [{ ref: refs[0] as number }])).toBe(OKAY);
		front.write("device/vbd/51712", { state: 6 });
		expect(refs.map((ref) => front.isFree(ref))).toEqual([true, true]);
	});

	it("uses large sectors with front ends that know them, and only with those", () => {
		const small = setup({ sectorSize: 4096 });
		expect(["sectors", "sector-size", "physical-sector-size"].map(small.node)).toEqual(["2048", "512", "4096"]);
		const { node, front, ring, image } = setup({ sectorSize: 4096 }, { nodes: { "feature-large-sector-size": 1 } });
		expect(["sectors", "sector-size", "physical-sector-size"].map(node)).toEqual(["256", "4096", "4096"]);
		expect(ring.ask(WRITE, 3, [{ ref: front.grant(10), first: 0, last: 0 }])).toBe(OKAY);
		expect(image.record).toEqual(["write 24 8"]);
	});

	it("tells of a new size while it is in use", () => {
		const { node, driver, backend, front, ring, image } = setup();
		const states: string[] = [];
		front.wire.ask("watch", `${backend}/state|t|`);
		front.wire.takeEvents();
		driver.device(backend)?.resize(4096 * 512 + 100);
		expect([node("sectors"), image.size, front.wire.takeEvents()]).toEqual([
			"4096",
			4096 * 512,
			[`${backend}/state|t|`],
		]);
		expect(ring.ask(READ, 4088, [{ ref: front.grant(10) }])).toBe(OKAY);
		expect(() => driver.device(backend)?.resize(512)).toThrow("cannot be made smaller");
		expect(states).toEqual([]);
	});
});

describe("hostile block front ends", () => {
	it("end with their device where their indices are impossible", () => {
		for (const producer of [33, 0xffff_ffff, 0x8000_0000]) {
			const { front, ring, state, log } = setup();
			ring.header(0, producer);
			front.guest.event(4, ring.port);
			expect([state(), front.isBound(ring.port), ring.refs.map((ref) => front.isFree(ref))]).toEqual([
				"5",
				false,
				[true],
			]);
			expect(log.join()).toContain("producer index");
			expect(front.guest.domain.shutdown).toBeUndefined();
		}
	});

	it("get no more than their share of a turn", () => {
		const { front, ring, image, turn } = setup({}, { order: 2 });
		const ref = front.grant(10);
		const page = { ref };
		for (let count = 0; count < 128; count++) ring.put_(WRITE, count, 0, Array(11).fill(page));
		ring.send();
		const first = ring.answers().length;
		expect(first).toBeGreaterThan(0);
		expect(first).toBeLessThan(128);
		let answered = first;
		for (let turns = 0; turns < 10; turns++) {
			turn();
			answered += ring.answers().length;
		}
		expect([answered, image.record.length]).toEqual([128, 128 * 11]);
	});

	it("that go while requests are in flight leave no page in use once those have ended", async () => {
		for (const way of ["close", "destroy", "node", "barrier"] as const) {
			const { front, ring, image, bus, backend, hypervisor } = setup();
			const ref = front.grant(10);
			image.slow = true;
			ring.put_(READ, 1, 0, [{ ref }]);
			ring.discard(2, 0, 8);
			if (way === "barrier") ring.put_(BARRIER, 3, 0, [{ ref }]);
			ring.send();
			expect(front.isFree(ref)).toBe(false);
			const free = hypervisor.frames.free;
			const closed = bus.closed(backend);
			if (way === "destroy") front.destroy();
			else if (way === "node") front.wire.ask("rm", "device/vbd/51712|");
			else front.write("device/vbd/51712", { state: 6 });
			// The ring is free at once; the page only when nobody writes to it any more.
			if (way !== "destroy") expect([front.isFree(ring.refs[0] as number), front.isFree(ref)]).toEqual([true, false]);
			await image.release();
			if (way === "destroy") {
				await closed;
				expect(image.record.at(-1)).toBe("close");
				expect([hypervisor.frames.owned(front.domid), hypervisor.frames.free > free]).toEqual([0, true]);
			} else {
				expect(front.isFree(ref)).toBe(true);
				// A guest cannot make its directory again.
				if (way !== "node") front.write("device/vbd/51712", { state: 1 });
				expect(bus.device(backend)?.read("state")).toBe(way === "node" ? "6" : "2");
			}
			expect(image.record.filter((line) => line === "flush")).toEqual([]);
		}
	});

	it.each([true, false])(
		"whatever bytes are in the ring, every request is answered once and no page stays in use; pages held: %s",
		(held) => {
			const byte = fc.integer({ min: 0, max: 255 });
			const small = fc.constantFrom(0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12);
			const request = fc.tuple(
				fc.array(fc.oneof(small, small, byte), { minLength: 112, maxLength: 112 }),
				fc.boolean(),
			);
			fc.assert(
				fc.property(fc.array(request, { minLength: 1, maxLength: 32 }), (requests) => {
					const { front, ring, state, turn, image } = setup();
					image.pagesHeld = held;
					const refs = [10, 11, 12].map((page) => front.grant(page));
					requests.forEach(([bytes, tame], index) => {
						front.guest.memory.bytes.set(bytes, front.page(1) + 64 + index * 112);
						// Wild 64-bit fields are rarely interesting.
						if (tame) for (const at of [12, 20]) front.guest.memory.setU32(front.page(1) + 64 + index * 112 + at, 0);
					});
					ring.header(0, requests.length);
					front.guest.event(4, ring.port);
					for (let turns = 0; turns < 4; turns++) turn();
					expect(ring.answers().length).toBe(requests.length);
					expect(state()).toBe("4");
					expect(refs.every((ref) => front.isFree(ref))).toBe(true);
					const { grants } = front.guest.domain;
					expect(grants.pin.filter((pins) => pins !== 0).length).toBe(1);
				}),
				{ numRuns: 25 },
			);
		},
	);
});
