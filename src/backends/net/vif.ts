/**
 * One network interface of a guest (netback): its queues and what it agreed on with the guest, between its rings and the virtual network that it
 * is connected to.
 */

import {
	Ethernet,
	EtherType,
	type Frame,
	type NetworkLink,
	type NetworkPort,
	networkHeader,
} from "../../devices/net/frame.ts";
import { BROADCAST, formatMac, isGroup, macNumber, parseMac } from "../../devices/net/mac.ts";
import { segments, withChecksum } from "../../devices/net/offload.ts";
import { Credit, parseRateNode } from "../../devices/net/rate.ts";
import { ServiceTimer } from "../../devices/timer.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../../xen/abi/errno.ts";
import { netifCtrlRequest, netifRxRequest, netifTxRequest } from "../../xen/abi/netif.ts";
import { BackRing } from "../ring.ts";
import { type Backend, type BackendDevice, type Connection, DeviceError, type Nodes } from "../xenbus/index.ts";
import { ControlQueue } from "./control.ts";
import { Steering } from "./hash.ts";
import type { VirtualNetwork } from "./networks.ts";
import { ReceiveQueue } from "./receive.ts";
import { type TransmitHost, TransmitQueue } from "./transmit.ts";

/** Queues that a guest may use; Linux takes as many as it has processors. */
export const MOST_QUEUES = 8;
/** XEN_NETBK_MCAST_MAX */
const MOST_MULTICAST = 64;
const BROADCAST_NUMBER = macNumber(parseMac(BROADCAST) as Uint8Array);

/** Counted from the guest's side, as its own interface counts. */
export interface VifStatistics {
	transmittedBytes: number;
	transmittedFrames: number;
	receivedBytes: number;
	receivedFrames: number;
	/** For the guest, for which it had no room. */
	droppedFrames: number;
}

/** What the front end can take. */
interface Abilities {
	readonly scatterGather: boolean;
	readonly gso4: boolean;
	readonly gso6: boolean;
	readonly checksum4: boolean;
	readonly checksum6: boolean;
}

/** What exists while a front end is connected. */
interface Connected {
	readonly link: NetworkLink;
	readonly abilities: Abilities;
	readonly transmit: readonly TransmitQueue[];
	readonly receive: readonly ReceiveQueue[];
	readonly steering: Steering;
	readonly stopWatching: () => void;
}

export class Vif implements Backend, NetworkPort {
	readonly mac: string;
	readonly statistics: VifStatistics = {
		transmittedBytes: 0,
		transmittedFrames: 0,
		receivedBytes: 0,
		receivedFrames: 0,
		droppedFrames: 0,
	};
	readonly features: Nodes = {
		"feature-sg": 1,
		"feature-gso-tcpv4": 1,
		"feature-gso-tcpv6": 1,
		"feature-ipv6-csum-offload": 1,
		"feature-rx-copy": 1,
		"feature-rx-flip": 0,
		"feature-multicast-control": 1,
		"feature-dynamic-multicast-control": 1,
		"feature-split-event-channels": 1,
		"feature-ctrl-ring": 1,
		"multi-queue-max-queues": MOST_QUEUES,
		"hotplug-status": "connected",
	};
	private connected: Connected | undefined;
	private credit: Credit | undefined;
	private readonly creditTimer: ServiceTimer;
	private readonly waitingForCredit = new Set<TransmitQueue>();
	private multicastControl = false;
	private readonly multicast = new Set<number>();

	/** @param scratch for frames while they are put together; used by one interface at a time */
	constructor(
		readonly device: BackendDevice,
		readonly network: VirtualNetwork,
		private readonly scratch: Uint8Array,
	) {
		const mac = parseMac(device.read("mac") ?? "");
		if (mac === undefined) throw new DeviceError(Errno.EINVAL, `${device.path}/mac is no Ethernet address`);
		this.mac = formatMac(mac);
		this.creditTimer = new ServiceTimer(device.domain.hypervisor);
		this.readRate();
	}

	/** Whether a front end uses it. */
	get isConnected(): boolean {
		return this.connected !== undefined;
	}

	connect(connection: Connection): Nodes {
		const { device } = this;
		if (!this.flag("request-rx-copy")) {
			throw new DeviceError(Errno.EOPNOTSUPP, "the front end does not ask for packets to be copied (request-rx-copy)");
		}
		if (!this.flag("feature-rx-notify")) {
			throw new DeviceError(Errno.EOPNOTSUPP, "the front end does not tell of new pages (feature-rx-notify)");
		}
		const queues = device.readFrontendNumber("multi-queue-num-queues", MOST_QUEUES) ?? 1;
		if (queues === 0) throw new DeviceError(Errno.EINVAL, "the front end asks for no queues");
		const steering = new Steering(queues);
		const transmit: TransmitQueue[] = [];
		const receive: ReceiveQueue[] = [];
		for (let index = 0; index < queues; index++) {
			this.connectQueue(connection, queues === 1 ? "" : `queue-${index}/`, transmit, receive);
		}
		this.connectControl(connection, steering);
		this.multicast.clear();
		const readMulticast = (): void => {
			this.multicastControl = this.flag("request-multicast-control");
		};
		this.connected = {
			link: this.network.switch.attach(this),
			abilities: {
				scatterGather: this.flag("feature-sg"),
				gso4: this.flag("feature-gso-tcpv4"),
				gso6: this.flag("feature-gso-tcpv6"),
				checksum4: !this.flag("feature-no-csum-offload"),
				checksum6: this.flag("feature-ipv6-csum-offload"),
			},
			transmit,
			receive,
			steering,
			stopWatching: device.store.watch(`${device.frontendPath}/request-multicast-control`, readMulticast),
		};
		readMulticast();
		return {};
	}

	disconnect(): void {
		const { connected } = this;
		this.connected = undefined;
		this.creditTimer.stop();
		this.waitingForCredit.clear();
		connected?.stopWatching();
		connected?.link.detach();
	}

	close(): void {
		this.creditTimer.release();
		this.network.interfaceGone(this.mac);
	}

	nodeChanged(name: string): void {
		if (name === "rate") this.readRate();
	}

	// What the network passes to the guest.

	receive(frame: Frame): boolean {
		const { connected } = this;
		if (connected === undefined || this.isFiltered(frame.bytes)) return true;
		let taken = true;
		// It runs in the time of whoever sent the frame: what this guest's rings do wrong ends this guest's device.
		this.device.guard(() => {
			taken = this.deliver(connected, frame);
		});
		return taken;
	}

	private deliver(connected: Connected, frame: Frame): boolean {
		const { abilities, receive, steering } = connected;
		const isIpv6 = networkHeader(frame.bytes).type === EtherType.ipv6;
		if (frame.segmentSize > 0 && !(abilities.scatterGather && (isIpv6 ? abilities.gso6 : abilities.gso4))) {
			let taken = true;
			for (const segment of segments(frame)) taken = this.deliver(connected, segment) && taken;
			return taken;
		}
		const complete = isIpv6 ? abilities.checksum6 : abilities.checksum4;
		const ready = complete ? frame : withChecksum(frame);
		if (ready === undefined || (!abilities.scatterGather && ready.bytes.length > PAGE_SIZE)) {
			this.statistics.droppedFrames++;
			return true;
		}
		const hash = steering.hash(ready.bytes);
		const taken = receive[steering.queueFor(ready.bytes, hash)]?.receive(ready, hash) ?? true;
		if (taken) {
			this.statistics.receivedBytes += ready.bytes.length;
			this.statistics.receivedFrames++;
		} else this.statistics.droppedFrames++;
		return taken;
	}

	/** A group's frame that the guest does not listen to, where it has asked for that. */
	private isFiltered(bytes: Uint8Array): boolean {
		if (!this.multicastControl || !isGroup(bytes, Ethernet.destination)) return false;
		const address = macNumber(bytes, Ethernet.destination);
		return address !== BROADCAST_NUMBER && !this.multicast.has(address);
	}

	// Connecting.

	private connectQueue(
		connection: Connection,
		prefix: string,
		transmit: TransmitQueue[],
		receive: ReceiveQueue[],
	): void {
		const { device } = this;
		const { memory } = device.domain.hypervisor;
		const ring = (name: string, entry: number): BackRing =>
			new BackRing(memory, [connection.mapPage(device.needFrontendNumber(prefix + name))], entry);
		const tx = ring("tx-ring-ref", netifTxRequest.size);
		const rx = ring("rx-ring-ref", netifRxRequest.size);
		const split = device.readFrontend(`${prefix}event-channel-tx`) !== undefined;
		const work = { tx: () => transmitQueue.work(), rx: () => receiveQueue.work() };
		const both = (): void => {
			work.tx();
			work.rx();
		};
		const txChannel = split
			? connection.bindChannel(work.tx, prefix, "event-channel-tx")
			: connection.bindChannel(both, prefix);
		const rxChannel = split ? connection.bindChannel(work.rx, prefix, "event-channel-rx") : txChannel;
		const transmitQueue = new TransmitQueue(tx, this.transmitHost, () => txChannel.notify());
		const receiveQueue = new ReceiveQueue(
			rx,
			connection.grants,
			() => rxChannel.notify(),
			() => this.connected?.link.roomAvailable(),
		);
		transmit.push(transmitQueue);
		receive.push(receiveQueue);
	}

	private connectControl(connection: Connection, steering: Steering): void {
		const { device } = this;
		const ref = device.readFrontendNumber("ctrl-ring-ref");
		if (ref === undefined) return;
		const { memory } = device.domain.hypervisor;
		const ring = new BackRing(memory, [connection.mapPage(ref)], netifCtrlRequest.size);
		const channel = connection.bindChannel(() => queue.work(), "", "event-channel-ctrl");
		const queue = new ControlQueue(ring, connection.grants, steering, () => channel.notify());
	}

	private flag(name: string): boolean {
		return (this.device.readFrontendNumber(name) ?? 0) !== 0;
	}

	// What the guest sends.

	private readonly transmitHost: TransmitHost = (() => {
		const vif = this;
		return {
			get grants() {
				return vif.device.grants;
			},
			get scratch() {
				return vif.scratch;
			},
			transmit: (frame: Frame) => {
				this.statistics.transmittedBytes += frame.bytes.length;
				this.statistics.transmittedFrames++;
				this.connected?.link.send(frame);
			},
			settle: () => this.connected?.link.settle(),
			mayTransmit: (bytes: number, queue: TransmitQueue) => this.mayTransmit(bytes, queue),
			changeMulticast: (add: boolean, address: Uint8Array) => this.changeMulticast(add, address),
		};
	})();

	private mayTransmit(bytes: number, queue: TransmitQueue): boolean {
		const { credit } = this;
		if (credit === undefined || credit.take(bytes)) return true;
		this.waitingForCredit.add(queue);
		this.creditTimer.set(credit.refillAt, () => {
			const queues = [...this.waitingForCredit];
			this.waitingForCredit.clear();
			this.device.guard(() => {
				for (const each of queues) each.work();
			});
		});
		return false;
	}

	private readRate(): void {
		const text = this.device.read("rate");
		const rate = text === undefined ? undefined : parseRateNode(text);
		if (text !== undefined && rate === undefined) {
			this.device.domain.hypervisor.log.write(
				`${this.device.label}: rate is ${JSON.stringify(text)}, not BYTES,MICROSECONDS`,
			);
		}
		const { clock } = this.device.domain.hypervisor;
		this.credit = rate === undefined ? undefined : new Credit(rate, () => clock.now());
	}

	private changeMulticast(add: boolean, address: Uint8Array): boolean {
		const number = macNumber(address);
		if (!add) {
			this.multicast.delete(number);
			return true;
		}
		if (this.multicast.size >= MOST_MULTICAST) return false;
		this.multicast.add(number);
		return true;
	}
}
