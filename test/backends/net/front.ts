/** A network front end that a test plays: queues with rings of their own, split event channels, a control ring. */
import { Networks } from "../../../src/backends/net/networks.ts";
import { attachDevice, devicePaths } from "../../../src/backends/xenbus/attach.ts";
import { type BusMachine, createBusMachine, type FrontGuest } from "../xenbus/machine.ts";

export const MAC = "00:16:3e:00:00:01";
/** Rings are on its first pages, a transmit and a receive ring for each queue, then the control ring; data are on the others. */
const CONTROL = 6;
export const DATA = 7;
const LAST_PAGE = 15;
/** Of public/io/ring.h. */
const [REQUEST_PRODUCER, REQUEST_EVENT, RESPONSE_PRODUCER, RESPONSE_EVENT, ENTRIES] = [0, 4, 8, 12, 64] as const;

interface Channels {
	readonly tx: number;
	readonly rx: number;
}

/** What has come out of a receive ring: a frame, what its first response says, and its extra infos as (type, values). */
export interface Received {
	readonly bytes: Uint8Array;
	readonly flags: number;
	readonly extras: readonly (readonly [type: number, bytes: Uint8Array])[];
}

export class NetFront {
	readonly machine: BusMachine = createBusMachine();
	readonly networks = new Networks();
	readonly front: FrontGuest;
	/** What the network has got from the guest: bytes, blank checksum, segment size. */
	readonly sent: (readonly [bytes: Uint8Array, checksumBlank: boolean, segmentSize: number])[] = [];
	readonly channels: Channels[] = [];
	readonly controlChannel: number;
	/** By page of data. */
	readonly refs: number[] = [];
	private readonly link;
	private readonly name;
	private readonly txProducers: number[] = [];
	private readonly rxProducers: number[] = [];
	private readonly rxConsumers: number[] = [];
	private controls = 0;

	constructor(
		readonly queues: number,
		nodes: Readonly<Record<string, string | number>> = {},
	) {
		const { machine, networks } = this;
		const network = networks.open("lan");
		machine.bus.register(networks.driver);
		const front = machine.addGuest();
		this.front = front;
		this.name = { domid: front.domid, kind: "vif", devid: 0 };
		attachDevice(machine.store, { ...this.name, backend: { bridge: "lan", mac: MAC } });
		this.link = network.switch.attach({
			receive: ({ bytes, checksumBlank, segmentSize }) => {
				this.sent.push([bytes.slice(), checksumBlank, segmentSize]);
				return true;
			},
		});
		for (let page = 0; page < DATA; page++) {
			front.guest.memory.fill(front.page(page), 4096, 0);
			front.guest.memory.setU32(front.page(page) + REQUEST_EVENT, 1);
			front.guest.memory.setU32(front.page(page) + RESPONSE_EVENT, 1);
		}
		for (let queue = 0; queue < queues; queue++) {
			const [tx, rx] = [front.channel(), front.channel()];
			this.channels.push({ tx, rx });
			this.txProducers.push(0);
			this.rxProducers.push(0);
			this.rxConsumers.push(0);
			front.write(queues === 1 ? "device/vif/0" : `device/vif/0/queue-${queue}`, {
				"tx-ring-ref": front.grant(queue * 2),
				"rx-ring-ref": front.grant(queue * 2 + 1),
				"event-channel-tx": tx,
				"event-channel-rx": rx,
			});
		}
		this.controlChannel = front.channel();
		for (let page = DATA; page <= LAST_PAGE; page++) this.refs[page] = front.grant(page);
		front.write("device/vif/0", {
			...(queues === 1 ? {} : { "multi-queue-num-queues": queues }),
			"ctrl-ring-ref": front.grant(CONTROL),
			"event-channel-ctrl": this.controlChannel,
			"request-rx-copy": 1,
			"feature-rx-notify": 1,
			"feature-sg": 1,
			...nodes,
			state: 4,
		});
		machine.turn();
	}

	get state(): string | undefined {
		return this.machine.store.read(`${devicePaths(this.name).backend}/state`);
	}

	/** The network sends a frame to the guest. */
	toGuest(bytes: Uint8Array, checksumBlank = false, segmentSize = 0): boolean {
		return this.link.send({ bytes, checksumBlank, segmentSize });
	}

	/** The guest sends a packet from the first page of data. @returns statuses of its slots */
	transmit(queue: number, bytes: Uint8Array, flags = 0, extra?: Uint8Array): number[] {
		const { memory } = this.front.guest;
		memory.bytes.set(bytes, this.front.page(DATA));
		const ring = this.front.page(queue * 2);
		const slot = (index: number): number => ring + ENTRIES + (index % 256) * 12;
		const first = this.txProducers[queue] as number;
		let producer = first;
		const at = slot(producer++);
		memory.setU32(at, this.refs[DATA] as number);
		for (const [place, value] of [0, flags | (extra === undefined ? 0 : 8), 7, bytes.length].entries())
			memory.setU16(at + 4 + place * 2, value);
		if (extra !== undefined) {
			memory.fill(slot(producer), 12, 0);
			memory.bytes.set(extra, slot(producer++));
		}
		this.txProducers[queue] = producer;
		memory.setU32(ring + REQUEST_PRODUCER, producer);
		this.front.guest.domain.events.send((this.channels[queue] as Channels).tx);
		this.machine.turn();
		if (memory.u32(ring + RESPONSE_PRODUCER) !== producer) return [];
		memory.setU32(ring + RESPONSE_EVENT, producer + 1);
		return Array.from({ length: producer - first }, (_, index) => (memory.u16(slot(first + index) + 2) << 16) >> 16);
	}

	/** The guest gives pages to a receive ring, one behind another from the second page of data on, and again from there. */
	givePages(queue: number, count: number): void {
		const { memory } = this.front.guest;
		const ring = this.front.page(queue * 2 + 1);
		let producer = this.rxProducers[queue] as number;
		for (let index = 0; index < count; index++, producer++) {
			const at = ring + ENTRIES + (producer % 256) * 8;
			memory.setU32(at, producer);
			memory.setU32(at + 4, this.refs[NetFront.page(producer)] as number);
		}
		this.rxProducers[queue] = producer;
		memory.setU32(ring + REQUEST_PRODUCER, producer);
		this.front.guest.domain.events.send((this.channels[queue] as Channels).rx);
		this.machine.turn();
	}

	private static page(producer: number): number {
		return DATA + 1 + (producer % (LAST_PAGE - DATA));
	}

	/** What has come to the guest by a queue since the last time; at most as many pages as it has. */
	received(queue: number): Received[] {
		const { memory } = this.front.guest;
		const ring = this.front.page(queue * 2 + 1);
		const end = memory.u32(ring + RESPONSE_PRODUCER);
		const found: Received[] = [];
		let at = this.rxConsumers[queue] as number;
		const response = (index: number): number => ring + ENTRIES + (index % 256) * 8;
		while (at < end) {
			const parts: Uint8Array[] = [];
			const extras: [number, Uint8Array][] = [];
			const first = memory.u16(response(at) + 4);
			let more = true;
			for (let index = 0; more; index++) {
				const page = this.front.page(NetFront.page(at));
				const [start, flags, size] = [2, 4, 6].map((place) => memory.u16(response(at) + place)) as [
					number,
					number,
					number,
				];
				parts.push(memory.bytes.slice(page + start, page + start + size));
				more = (flags & 4) !== 0;
				at++;
				for (let extra = index === 0 && (first & 8) !== 0; extra; at++) {
					const bytes = memory.bytes.slice(response(at), response(at) + 8);
					extras.push([bytes[0] as number, bytes.subarray(2)]);
					extra = ((bytes[1] as number) & 1) !== 0;
				}
			}
			found.push({ bytes: Buffer.concat(parts), flags: first, extras });
		}
		this.rxConsumers[queue] = at;
		memory.setU32(ring + RESPONSE_EVENT, at + 1);
		return found;
	}

	/** A message on the control ring. @returns its answer: status and data */
	control(type: number, data0 = 0, data1 = 0, data2 = 0): [status: number, data: number] {
		const { memory } = this.front.guest;
		const ring = this.front.page(CONTROL);
		const index = this.controls++;
		const request = ring + ENTRIES + (index % 128) * 16;
		memory.setU16(request, index & 0xffff);
		memory.setU16(request + 2, type);
		for (const [place, value] of [data0, data1, data2].entries()) memory.setU32(request + 4 + place * 4, value);
		memory.setU32(ring + REQUEST_PRODUCER, this.controls);
		this.front.guest.domain.events.send(this.controlChannel);
		if (memory.u32(ring + RESPONSE_PRODUCER) !== this.controls) throw new Error("no answer on the control ring");
		memory.setU32(ring + RESPONSE_EVENT, this.controls + 1);
		const answered = [memory.u16(request), memory.u16(request + 2)];
		if (answered[0] !== (index & 0xffff) || answered[1] !== type)
			throw new Error(`answer to another message: ${answered}`);
		return [memory.u32(request + 4), memory.u32(request + 8)];
	}
}
