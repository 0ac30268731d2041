/** The 9P back end on its rings, and further consoles, with front ends that a test plays. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Message, NO_FID } from "../../../src/devices/p9/protocol.ts";
import { openNodeFolder } from "../../../src/platform/node/folder.ts";
import { Consoles } from "../../../src/toolstack/consoles.ts";
import { Shares } from "../../../src/toolstack/shares.ts";
import { p9DataInterface } from "../../../src/xen/abi/p9.ts";
import { encode, u32 } from "../../devices/p9/client.ts";
import { type BusMachine, createBusMachine, type FrontGuest } from "../xenbus/machine.ts";

const { offset } = p9DataInterface;
let directory: string;
beforeEach(() => {
	directory = mkdtempSync(join(tmpdir(), "paravirt-p9-"));
	writeFileSync(join(directory, "file"), "contents");
});
afterEach(() => rmSync(directory, { recursive: true }));

interface Setup extends BusMachine {
	readonly front: FrontGuest;
	readonly shares: Shares;
	readonly port: number;
	state(): string | undefined;
	/** Puts bytes on the ring as they are. */
	send(bytes: Uint8Array): void;
	/** What has come back. */
	receive(): Uint8Array;
}

/** A guest with a share and one ring of two pages: page 2 has the indices, 3 and 4 the data. */
function setup(): Setup {
	const machine = createBusMachine();
	const shares = new Shares(machine.store, machine.bus, (path) => openNodeFolder(path, true));
	const front = machine.addGuest();
	shares.attach(front.domid, shares.open({ tag: "t", path: directory }));
	const { memory } = front.guest;
	const shared = front.page(2);
	memory.fill(shared, 4096, 0);
	memory.setU32(shared + offset.ringOrder, 1);
	[3, 4].forEach((index, page) => {
		memory.setU32(shared + offset.ref + 4 * page, front.grant(index));
	});
	const port = front.channel();
	front.write("device/9pfs/0", {
		version: 1,
		"num-rings": 1,
		"ring-ref0": front.grant(2),
		"event-channel-0": port,
		state: 3,
	});
	machine.turn();
	return {
		...machine,
		front,
		shares,
		port,
		state: () => machine.store.read(`/local/domain/0/backend/9pfs/${front.domid}/0/state`),
		send: (bytes) => {
			const producer = memory.u32(shared + offset.outProd);
			bytes.forEach((byte, index) => {
				memory.setU8(front.page(4) + ((producer + index) & 4095), byte);
			});
			memory.setU32(shared + offset.outProd, (producer + bytes.length) >>> 0);
			front.guest.event(4, port);
			machine.turn();
		},
		receive: () => {
			const [consumer, producer] = [memory.u32(shared + offset.inCons), memory.u32(shared + offset.inProd)];
			const bytes = Uint8Array.from({ length: (producer - consumer) >>> 0 }, (_, index) =>
				memory.u8(front.page(3) + ((consumer + index) & 4095)),
			);
			memory.setU32(shared + offset.inCons, producer);
			return bytes;
		},
	};
}

const version = encode(Message.version, 1, [u32(4096), "9P2000.L"]);
const attach = encode(Message.attach, 1, [u32(0), u32(NO_FID), "", "", u32(NO_FID)]);

describe("a share's rings", () => {
	it("carry messages, in pieces and around their end, and wait for room", () => {
		const { state, send, receive, front } = setup();
		expect(state()).toBe("4");
		send(version);
		expect(receive()[4]).toBe(Message.version + 1);
		send(attach.subarray(0, 9));
		expect(receive().length).toBe(0);
		send(attach.subarray(9));
		expect(receive()[4]).toBe(Message.attach + 1);
		for (let round = 0; round < 300; round++) {
			send(encode(Message.getattr, round, [u32(0), u32(0), u32(0)]));
			const reply = receive();
			expect([reply.length, reply[4]]).toEqual([160, Message.getattr + 1]);
		}
		// More replies than the ring holds: the rest comes when there is room.
		for (let round = 0; round < 40; round++) send(encode(Message.getattr, round, [u32(0), u32(0), u32(0)]));
		let bytes = 0;
		for (let piece = receive(); piece.length > 0; piece = receive()) {
			bytes += piece.length;
			send(new Uint8Array(0));
		}
		expect(bytes).toBe(40 * 160);
		expect(front.guest.domain.shutdown).toBeUndefined();
	});

	it("end for indices and sizes that make no sense", () => {
		const wrong: ((setup: Setup) => void)[] = [
			({ front, send }) => {
				front.guest.memory.setU32(front.page(2) + offset.outProd, 5000);
				send(new Uint8Array(0));
			},
			({ front, send }) => {
				front.guest.memory.setU32(front.page(2) + offset.inCons, 1);
				send(version);
			},
			({ send }) => send(new Uint8Array([3, 0, 0, 0, 100, 0, 0])),
			({ send }) => send(new Uint8Array([0xff, 0xff, 0xff, 0xff, 100, 0, 0])),
			({ send }) => send(attach),
			({ send }) => send(encode(Message.version, 0, [u32(4096)])),
		];
		for (const [index, misbehave] of wrong.entries()) {
			const one = setup();
			misbehave(one);
			expect([index, one.state()]).toEqual([index, "5"]);
			expect(one.store.read(`/local/domain/0/error/backend/9pfs/${one.front.domid}/0/error`)).toMatch(/^22 /);
			expect(one.front.guest.domain.shutdown).toBeUndefined();
			expect([8, 9, 10].map((ref) => one.front.isFree(ref))).toEqual([true, true, true]);
		}
	});

	it("survive anything, and leave nothing open", async () => {
		const handles = readdirSync("/proc/self/fd").length;
		await fc.assert(
			fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 10 }), async (pieces) => {
				const one = setup();
				one.send(version);
				one.send(attach);
				for (const piece of pieces) {
					one.send(piece);
					one.receive();
				}
				one.front.destroy();
				await one.bus.domainClosed(one.front.domid);
				expect(one.hypervisor.frames.owned(one.front.domid)).toBe(0);
			}),
			{ numRuns: 30 },
		);
		expect(readdirSync("/proc/self/fd").length).toBe(handles);
	});
});

describe("shares", () => {
	it("are listed and detached; a tag is one share's", async () => {
		const { front, shares, state } = setup();
		const { domid } = front;
		expect(() => shares.attach(domid, shares.open(`tag=t,path=${directory}`))).toThrow("has a share t already");
		expect(() => shares.open(`tag=u,path=${directory}/none`)).toThrow("there is no such folder");
		expect(() => shares.attach(99, shares.open(`tag=u,path=${directory}`))).toThrow("no domain 99");
		shares.attach(domid, shares.open(`tag=u,path=${directory},readonly=1`));
		expect(shares.list(domid).map(({ tag, devid, readOnly }) => [tag, devid, readOnly])).toEqual([
			["t", 0, false],
			["u", 1, true],
		]);
		expect(await shares.detach(domid, "u")).toBe("closed");
		await expect(shares.detach(domid, "u")).rejects.toThrow("no such share");
		const detached = shares.detach(domid, 0);
		expect(state()).toBe("5");
		front.write("device/9pfs/0", { state: 6 });
		expect(await detached).toBe("closed");
		expect(shares.list(domid)).toEqual([]);
	});
});

describe("further consoles", () => {
	it("carry output and input, also what is typed before the guest connects", async () => {
		const machine = createBusMachine();
		const consoles = new Consoles(machine.store, machine.bus, undefined);
		const front = machine.addGuest();
		const console = consoles.attach(front.domid);
		let output = "";
		console.onOutput((data) => {
			output += new TextDecoder().decode(data);
		});
		console.write("early");
		expect([console.number, console.pendingInput]).toEqual([1, 5]);
		const { memory } = front.guest;
		const page = front.page(5);
		memory.fill(page, 4096, 0);
		const ref = front.grant(5);
		const port = front.channel();
		front.write("device/console/1", { "ring-ref": ref, port, state: 3 });
		machine.turn();
		// struct xencons_interface: in[1024], out[2048], then in_cons, in_prod, out_cons, out_prod.
		expect([memory.u32(page + 3076), memory.u8(page)]).toEqual([5, 0x65]);
		memory.setU8(page + 1024, 0x68);
		memory.setU8(page + 1025, 0x69);
		memory.setU32(page + 3084, 2);
		front.guest.event(4, port);
		expect(output).toBe("hi");
		expect(consoles.list(front.domid).map(({ number }) => number)).toEqual([1]);
		expect(consoles.attach(front.domid).number).toBe(2);
		expect(await consoles.detach(front.domid, 2)).toBe("closed");
		const detached = consoles.detach(front.domid, 1);
		front.write("device/console/1", { state: 6 });
		expect([await detached, front.isFree(ref), consoles.list(front.domid)]).toEqual(["closed", true, []]);
		await expect(consoles.detach(front.domid, 0)).rejects.toThrow("no further console 0");
	});
});
