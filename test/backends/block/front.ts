/**
 * A block front end played by a test: it makes requests as bytes in its ring and pages, well or badly formed, and reads the answers.
 * It knows public/io/blkif.h and ring.h by itself, not by the back end's code.
 */

import type { Disk } from "../../../src/backends/block/disk.ts";
import type { BlockDriver } from "../../../src/backends/block/driver.ts";
import { BlockDriver as Driver } from "../../../src/backends/block/driver.ts";
import { attachDevice } from "../../../src/backends/xenbus/attach.ts";
import { type BusMachine, createBusMachine, type FrontGuest } from "../xenbus/machine.ts";

export interface Segment {
	readonly ref: number;
	readonly first?: number;
	readonly last?: number;
}

export interface Answer {
	readonly id: number;
	readonly operation: number;
	readonly status: number;
}

export const DEVID = 51712;
const SEND = 4;

export interface FrontOptions {
	readonly order?: number;
	readonly queues?: number;
	readonly protocol?: string;
	readonly nodes?: Readonly<Record<string, string | number>>;
}

export class BlockFront {
	private produced = 0;
	private consumed = 0;
	readonly refs: number[];
	readonly port: number;
	private readonly entry: number;
	private readonly wide: boolean;
	readonly size: number;

	/** Uses the guest's pages `pages` for its ring. */
	constructor(
		readonly front: FrontGuest,
		private readonly pages: readonly number[],
		protocol: string,
	) {
		this.refs = pages.map((page) => front.grant(page));
		this.port = front.channel();
		this.wide = protocol !== "x86_32-abi";
		this.entry = this.wide ? 112 : 108;
		this.size = 2 ** Math.floor(Math.log2((pages.length * 4096 - 64) / this.entry));
		for (const page of pages) front.guest.memory.fill(front.page(page), 4096, 0);
		this.header(1, 1);
		this.header(3, 1);
	}

	get nodes(): Record<string, number> {
		const refs = Object.fromEntries(
			this.refs.map((ref, index) => [this.refs.length > 1 ? `ring-ref${index}` : "ring-ref", ref]),
		);
		return { ...refs, "event-channel": this.port };
	}

	/** Writes a field of the ring's header: req_prod, req_event, rsp_prod, rsp_event. */
	header(field: number, value: number): void {
		this.front.guest.memory.setU32(this.front.page(this.pages[0] as number) + field * 4, value);
	}
	field(field: number): number {
		return this.front.guest.memory.u32(this.front.page(this.pages[0] as number) + field * 4);
	}

	private address(index: number, byte: number): number {
		const at = 64 + (index % this.size) * this.entry + byte;
		return this.front.page(this.pages[at >> 12] as number) + (at & 4095);
	}
	private put(byte: number, size: number, value: number): void {
		let rest = value;
		for (let done = 0; done < size; done++) {
			this.front.guest.memory.setU8(this.address(this.produced, byte + done), rest % 256);
			rest = Math.floor(rest / 256);
		}
	}

	/** Puts a read, write, barrier or flush. */
	put_(operation: number, id: number, sector: number, segments: readonly Segment[], count = segments.length): void {
		const [idAt, sectorAt, segmentsAt] = this.wide ? [8, 16, 24] : [4, 12, 20];
		this.put(0, 1, operation);
		this.put(1, 1, count);
		this.put(2, 2, 0);
		this.put(idAt as number, 8, id);
		this.put(sectorAt as number, 8, sector);
		segments.forEach(({ ref, first = 0, last = 7 }, index) => {
			this.put((segmentsAt as number) + index * 8, 4, ref);
			this.put((segmentsAt as number) + index * 8 + 4, 1, first);
			this.put((segmentsAt as number) + index * 8 + 5, 1, last);
		});
		this.produced++;
	}

	/** Puts an indirect request whose segments are on pages of `lists`. */
	indirect(operation: number, id: number, sector: number, count: number, lists: readonly number[]): void {
		const [idAt, sectorAt, listsAt] = this.wide ? [8, 16, 28] : [4, 12, 24];
		this.put(0, 1, 6);
		this.put(1, 1, operation);
		this.put(2, 2, count);
		this.put(idAt as number, 8, id);
		this.put(sectorAt as number, 8, sector);
		lists.forEach((ref, index) => {
			this.put((listsAt as number) + index * 4, 4, ref);
		});
		this.produced++;
	}

	discard(id: number, sector: number, sectors: number, flag = 0): void {
		const [idAt, sectorAt, countAt] = this.wide ? [8, 16, 24] : [4, 12, 20];
		this.put(0, 1, 5);
		this.put(1, 1, flag);
		this.put(idAt as number, 8, id);
		this.put(sectorAt as number, 8, sector);
		this.put(countAt as number, 8, sectors);
		this.produced++;
	}

	/** Tells the back end of the requests. */
	send(): void {
		this.header(0, this.produced);
		this.front.guest.event(SEND, this.port);
	}

	/** Answers that have come. */
	answers(): Answer[] {
		const found: Answer[] = [];
		const { memory } = this.front.guest;
		while (this.consumed !== this.field(2)) {
			const byte = (at: number): number => memory.u8(this.address(this.consumed, at));
			const status = byte(10) | (byte(11) << 8);
			found.push({ id: byte(0) | (byte(1) << 8), operation: byte(8), status: (status << 16) >> 16 });
			this.consumed++;
		}
		this.header(3, this.consumed + 1);
		return found;
	}

	/** Makes one request and returns its status. */
	ask(operation: number, sector: number, segments: readonly Segment[], count?: number): number {
		this.put_(operation, this.produced & 0xffff, sector, segments, count);
		this.send();
		const answers = this.answers();
		if (answers.length !== 1) throw new Error(`${answers.length} answers`);
		return (answers[0] as Answer).status;
	}
}

export interface BlockSetup extends BusMachine {
	readonly front: FrontGuest;
	readonly driver: BlockDriver;
	readonly backend: string;
	/** Connects with as many rings as the options say. */
	connect(options?: FrontOptions): BlockFront[];
	state(): string | undefined;
	node(name: string): string | undefined;
}

/** A guest with one disk, whose front end has not connected. */
export function createBlock(disk: Disk): BlockSetup {
	const machine = createBusMachine();
	const driver = new Driver();
	machine.bus.register(driver);
	const front = machine.addGuest();
	const backend = `/local/domain/0/backend/vbd/${front.domid}/${DEVID}`;
	const home = `device/vbd/${DEVID}`;
	driver.provide(backend, disk);
	attachDevice(machine.store, { domid: front.domid, kind: "vbd", devid: DEVID });
	return {
		...machine,
		front,
		driver,
		backend,
		state: () => machine.store.read(`${backend}/state`),
		node: (name) => machine.store.read(`${backend}/${name}`),
		connect: ({ order = 0, queues = 1, protocol = "x86_64-abi", nodes = {} } = {}) => {
			const rings = Array.from({ length: queues }, (_, queue) => {
				const pages = Array.from({ length: 2 ** order }, (_, index) => 1 + queue * 2 ** order + index);
				return new BlockFront(front, pages, protocol);
			});
			front.write(home, { protocol, ...nodes });
			if (order > 0) front.write(home, { "ring-page-order": order });
			if (queues > 1) front.write(home, { "multi-queue-num-queues": queues });
			rings.forEach((ring, index) => {
				front.write(queues > 1 ? `${home}/queue-${index}` : home, ring.nodes);
			});
			front.write(home, { state: 3 });
			return rings;
		},
	};
}
