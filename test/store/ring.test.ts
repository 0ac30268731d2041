/** The guest's ring: real messages in real memory, and guests that put there what they like. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Memory } from "../../src/memory/memory.ts";
import { connectGuest, GuestLink } from "../../src/store/guest-link.ts";
import { encodePacket, encodeText } from "../../src/store/packet.ts";
import { StoreRing } from "../../src/store/ring.ts";
import { StoreServer } from "../../src/store/server.ts";
import { EventChannelOp } from "../../src/xen/abi/event-channel.ts";
import { XsType, xenstoreDomainInterface } from "../../src/xen/abi/xenstore.ts";
import { ServiceDomain } from "../../src/xen/events/service.ts";
import { createMachine, page } from "../xen/guest-machine.ts";
import { createStore, type Message, MessageReader, type TestStore } from "./machine.ts";

const { offset } = xenstoreDomainInterface;
const memory = new Memory(4);
const PAGE = memory.frame(1);
const DOMID = 5;

/** The guest's half of a ring. */
class RingGuest {
	private readonly reader = new MessageReader();
	notified = 0;
	readonly link: GuestLink;

	constructor(readonly world: TestStore) {
		memory.fill(PAGE, 4096, 0);
		world.client(DOMID);
		this.link = new GuestLink(world.server, DOMID, new StoreRing(memory, PAGE), () => this.notified++);
		world.server.addLink(this.link);
		this.link.start();
	}

	field(name: keyof typeof offset): number {
		return memory.u32(PAGE + offset[name]);
	}
	set(name: keyof typeof offset, value: number): void {
		memory.setU32(PAGE + offset[name], value);
	}

	/** Puts as many bytes as there is room for. @returns how many. */
	put(bytes: Uint8Array): number {
		const producer = this.field("reqProd");
		const count = Math.min(bytes.length, 1024 - ((producer - this.field("reqCons")) >>> 0));
		for (let index = 0; index < count; index++) {
			memory.setU8(PAGE + offset.req + ((producer + index) % 1024), bytes[index] as number);
		}
		this.set("reqProd", (producer + count) >>> 0);
		return count;
	}

	/** Sends everything, reading nothing, event by event. @returns how many bytes have been taken. */
	send(bytes: Uint8Array, piece = 1024): number {
		let sent = 0;
		while (sent < bytes.length) {
			const count = this.put(bytes.subarray(sent, sent + piece));
			this.link.handleEvent();
			if (count === 0) return sent;
			sent += count;
		}
		return sent;
	}

	/** Reads what is there now. */
	take(): Message[] {
		let consumer = this.field("rspCons");
		const bytes: number[] = [];
		for (; consumer !== this.field("rspProd"); consumer = (consumer + 1) >>> 0) {
			bytes.push(memory.u8(PAGE + offset.rsp + (consumer % 1024)));
		}
		this.set("rspCons", consumer);
		return this.reader.read(new Uint8Array(bytes));
	}

	/** Reads until nothing comes any more. */
	takeAll(): Message[] {
		const all: Message[] = [];
		for (;;) {
			const before = this.field("rspCons");
			all.push(...this.take());
			this.link.handleEvent();
			if (this.field("rspCons") === before && this.field("rspProd") === before) return all;
		}
	}
}

function message(type: keyof typeof XsType, text: string, reqId = 1): Uint8Array {
	return encodePacket({ type: XsType[type], reqId, txId: 0 }, encodeText(text.replaceAll("|", "\0")));
}

describe("a guest's ring", () => {
	it("says what is on offer and answers requests", () => {
		const guest = new RingGuest(createStore());
		expect([guest.field("serverFeatures"), guest.field("connection"), guest.field("error")]).toEqual([3, 0, 0]);
		guest.send(message("write", "data/a|1", 7));
		expect(guest.notified).toBe(1);
		expect(guest.take()).toEqual([{ type: "write", text: "OK|", reqId: 7, txId: 0 }]);
		guest.send(message("read", "data/a|", 8));
		expect(guest.take()).toEqual([{ type: "read", text: "1", reqId: 8, txId: 0 }]);
	});

	it("puts requests together from pieces of any size, across the end of the ring and of its indices", () => {
		for (const piece of [1, 3, 16, 17, 500]) {
			const guest = new RingGuest(createStore());
			for (const index of ["reqCons", "reqProd", "rspCons", "rspProd"] as const) guest.set(index, 0xffff_ff00);
			for (let round = 0; round < 4; round++) {
				const value = "x".repeat(1500 + round);
				guest.send(message("write", `data/a|${value}`), piece);
				expect(guest.takeAll().map(({ text }) => text)).toEqual(["OK|"]);
				guest.send(message("read", "data/a|"), piece);
				expect(guest.takeAll().map(({ text }) => text)).toEqual([value]);
			}
		}
	});

	it("answers a guest that does not read only so far, and goes on when it does", () => {
		const guest = new RingGuest(createStore());
		guest.send(message("write", `data/a|${"x".repeat(1900)}`));
		guest.takeAll();
		const request = message("read", "data/a|");
		const requests = new Uint8Array(request.length * 400);
		for (let index = 0; index < 400; index++) requests.set(request, index * request.length);
		const sent = guest.send(requests);
		// What is in the ring, and twenty that have been taken.
		expect(sent).toBeLessThanOrEqual(1024 + 21 * request.length);
		let answers = 0;
		for (let rest = requests.subarray(sent); ; ) {
			answers += guest.takeAll().length;
			if (rest.length === 0) break;
			rest = rest.subarray(guest.send(rest));
		}
		expect(answers).toBe(400);
	});

	it("tells a guest that waits for room that there is some", () => {
		const guest = new RingGuest(createStore());
		const long = message("write", `data/a|${"x".repeat(1500)}`);
		expect(guest.put(long)).toBe(1024);
		guest.link.handleEvent();
		expect([guest.notified, guest.field("reqCons")]).toEqual([1, 1024]);
	});

	it("brings watch events by itself", () => {
		const world = createStore();
		const guest = new RingGuest(world);
		guest.send(message("watch", "device|token|"));
		guest.takeAll();
		const before = guest.notified;
		world.store.write(`/local/domain/${DOMID}/device/x`, "1");
		expect(guest.notified).toBe(before + 1);
		expect(guest.take()).toEqual([{ type: "watchEvent", text: "device/x|token|", reqId: 0, txId: 0 }]);
	});

	it("ends with an error for impossible indices and messages, and begins anew when asked to", () => {
		for (const [spoil, error] of [
			[(guest: RingGuest) => guest.set("reqProd", guest.field("reqCons") + 1025), 2],
			[(guest: RingGuest) => guest.set("reqCons", guest.field("reqProd") + 1), 2],
			[(guest: RingGuest) => guest.put(new Uint8Array([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0])), 3],
			[(guest: RingGuest) => guest.put(new Uint8Array(16).fill(0xff)), 3],
			[
				(guest: RingGuest) => {
					guest.set("rspCons", 5000);
					guest.put(message("read", "data|"));
				},
				2,
			],
		] as const) {
			const world = createStore();
			const guest = new RingGuest(world);
			guest.send(message("watch", "data|token|"));
			guest.send(message("transactionStart", "|"));
			guest.takeAll();
			spoil(guest);
			guest.link.handleEvent();
			expect(guest.field("error")).toBe(error);
			expect(world.log.length).toBe(1);
			expect(world.server.watches.countOf(guest.link.connection)).toBe(0);
			expect(guest.link.connection.transactions.size).toBe(0);
			world.store.write(`/local/domain/${DOMID}/data`, "1");
			guest.link.handleEvent();
			expect(world.log.length).toBe(1);

			guest.set("connection", 1);
			guest.link.handleEvent();
			for (const name of ["connection", "error", "reqCons", "reqProd", "rspCons", "rspProd"] as const) {
				expect([name, guest.field(name)]).toEqual([name, 0]);
			}
			guest.send(message("read", "data|"));
			expect(guest.take().map(({ text }) => text)).toEqual(["1"]);
		}
	});

	it("survives whatever is written to its page, and touches nothing else", () => {
		const world = createStore({ pendingBytes: 50_000 });
		const guest = new RingGuest(world);
		memory.fill(PAGE + 4096, 4096, 0x77);
		const word = fc.oneof(
			fc.integer({ min: 0, max: 30 }),
			fc.integer({ min: 0, max: 5000 }),
			fc.integer({ min: 0, max: 0xffff_ffff }),
		);
		const write = fc.oneof(
			fc.tuple(fc.integer({ min: 0, max: 255 }), word),
			fc.tuple(fc.constantFrom(...[512, 513, 514, 515, 517, 518]), word),
		);
		fc.assert(
			fc.property(fc.array(write, { maxLength: 20 }), fc.boolean(), (writes, reconnect) => {
				for (const [index, value] of writes) {
					memory.setU32(PAGE + index * 4, value);
					guest.link.handleEvent();
				}
				if (reconnect) guest.set("connection", 1);
				guest.link.handleEvent();
				world.store.write(`/local/domain/${DOMID}/data/x`, "1");
			}),
			{ numRuns: 500 },
		);
		expect(memory.bytes.subarray(PAGE + 4096, PAGE + 8192).every((byte) => byte === 0x77)).toBe(true);
		expect(memory.bytes.subarray(PAGE + xenstoreDomainInterface.size, PAGE + 4096).every((byte) => byte === 0)).toBe(
			true,
		);
		guest.set("connection", 1);
		guest.link.handleEvent();
		guest.send(message("read", "data/x|"));
		expect(guest.take().at(-1)?.text).toBe("1");
	});

	it("answers every well-formed message, whatever it asks, with one reply", () => {
		const world = createStore();
		const guest = new RingGuest(world);
		const other = world.client(6);
		const text = fc.oneof(
			fc.constantFrom(
				"/",
				"/local",
				"data",
				"@releaseDomain",
				"5",
				"T",
				"F",
				"n5",
				"r0",
				"",
				"help",
				"-1",
				"4294967295",
			),
			fc.string({ maxLength: 40 }),
		);
		const payload = fc.oneof(
			fc.array(text, { maxLength: 5 }).map((parts) => encodeText(parts.map((part) => `${part}\0`).join(""))),
			fc.uint8Array({ maxLength: 600 }),
		);
		const types = fc.oneof(fc.integer({ min: 0, max: 24 }), fc.integer({ min: 0, max: 0xffff_ffff }));
		fc.assert(
			fc.property(types, fc.integer({ min: 0, max: 12 }), payload, (type, txId, bytes) => {
				const answers = guest.takeAll().length;
				guest.send(encodePacket({ type, reqId: 99, txId }, bytes));
				const replies = guest.takeAll().filter(({ reqId }) => reqId === 99);
				expect([answers, replies.length, replies[0]?.txId]).toEqual([0, 1, txId]);
			}),
			{ numRuns: 1000 },
		);
		expect(other.ask("read", "/local/domain/6|")).toBe("");
		expect(world.log).toEqual([]);
	});
});

describe("connecting to a guest", () => {
	it("needs its grant and its port, and gives both back", () => {
		const machine = createMachine();
		const service = new ServiceDomain(machine.hypervisor);
		const guest = machine.addGuest();
		const { id, grants, events } = guest.domain;
		const server = new StoreServer({
			domainExists: (domid) => machine.hypervisor.domains.has(domid),
			connect: (own, domid, port) => {
				const domain = machine.hypervisor.domains.get(domid);
				return domain && connectGuest(own, service, domain, port);
			},
			log: () => {},
		});
		const port = events.allocateUnbound(0);
		expect(server.introduce(id, port)).toBe("EINVAL");
		const mfn = guest.mfns[9] as number;
		grants.seed(1, 0, mfn);
		expect(server.introduce(id, port + 1)).toBe("EINVAL");
		const before = machine.hypervisor.frames.references(mfn);
		expect(server.introduce(id, port)).toBeUndefined();
		expect(machine.hypervisor.frames.references(mfn)).toBe(before + 1);
		const at = guest.at(page(9));
		const request = message("getDomainPath", "1|");
		guest.memory.bytes.set(request, at);
		guest.memory.setU32(at + offset.reqProd, request.length);
		expect(guest.event(EventChannelOp.send, port)).toBe(0);
		expect(guest.memory.u32(at + offset.reqCons)).toBe(request.length);
		expect(guest.memory.u8(guest.vcpu().vcpuInfo)).toBe(1);
		expect(guest.memory.u32(at + offset.rspProd)).toBeGreaterThan(16);
		server.release(id);
		expect(machine.hypervisor.frames.references(mfn)).toBe(before);
		expect(guest.event(EventChannelOp.send, port)).toBe(0);
		expect(server.introduce(id, port)).toBeUndefined();
	});
});
