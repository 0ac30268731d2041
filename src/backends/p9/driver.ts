/**
 * The 9P back end (public/io/9pfs.h): serves folders of the host to front ends of kind 9pfs. A toolstack hands a share over with
 * {@link P9Driver.provide}, then writes the device's nodes; the share's folder is closed when the device is gone.
 */

import { MalformedMessage } from "../../devices/p9/codec.ts";
import type { HostFolder } from "../../devices/p9/folder.ts";
import { LockTable } from "../../devices/p9/locks.ts";
import { HEADER } from "../../devices/p9/protocol.ts";
import { Session } from "../../devices/p9/session.ts";
import { Errno } from "../../xen/abi/errno.ts";
import { flexRingSize, P9_MAX_RING_ORDER, P9_MAX_RINGS, p9DataInterface } from "../../xen/abi/p9.ts";
import type { Channel, Connection } from "../xenbus/connection.ts";
import type { BackendDevice } from "../xenbus/device.ts";
import { type Backend, type BackendDriver, DeviceError, type Nodes } from "../xenbus/driver.ts";
import { FlexRing } from "./ring.ts";

/** Half of a ring's direction of the largest order, as Linux's client has it: one message is written while another is read. */
const MAXIMUM_MESSAGE = flexRingSize(P9_MAX_RING_ORDER) / 2;
/** What a ring may have done in a turn before others have theirs. */
const REQUESTS_PER_TURN = 64;
const BYTES_PER_TURN = 2 ** 20;

/** A folder that a guest is given. */
export interface Share {
	readonly folder: HostFolder;
	readonly readOnly: boolean;
}

export class P9Driver implements BackendDriver {
	readonly kind = "9pfs";
	/** Guests that share a file exclude each other. */
	readonly locks = new LockTable();
	private readonly shares = new Map<string, Share>();
	private readonly served = new Set<string>();

	/** Gives the share for the device whose directory will be `path`. */
	provide(path: string, share: Share): void {
		this.shares.set(path, share);
	}

	/** Takes a share back for which no device has come. @returns whether it was there */
	withdraw(path: string): boolean {
		return this.shares.delete(path);
	}

	/** Whether the device of a directory is served. */
	serves(path: string): boolean {
		return this.served.has(path);
	}

	open(device: BackendDevice): Backend {
		const { path } = device;
		const share = this.shares.get(path);
		if (share === undefined) throw new DeviceError(Errno.ENODEV, "no folder has been given for this share");
		this.shares.delete(path);
		this.served.add(path);
		return new P9Device(device, share, this.locks, () => this.served.delete(path));
	}
}

/** One share of one guest. */
class P9Device implements Backend {
	readonly features: Nodes = {
		versions: "1",
		"max-rings": P9_MAX_RINGS,
		"max-ring-page-order": P9_MAX_RING_ORDER,
	};
	private session: Session | undefined;

	constructor(
		private readonly device: BackendDevice,
		private readonly share: Share,
		private readonly locks: LockTable,
		private readonly onClose: () => void,
	) {}

	connect(connection: Connection): Nodes {
		const { device, share, locks } = this;
		const version = device.readFrontend("version");
		if (version !== "1") throw new DeviceError(Errno.EINVAL, `version ${JSON.stringify(version)} is not spoken`);
		const count = device.needFrontendNumber("num-rings", P9_MAX_RINGS);
		if (count === 0) throw new DeviceError(Errno.EINVAL, "num-rings is 0");
		const { log } = device.domain.hypervisor;
		const flexRings = Array.from({ length: count }, (_, index) => mapRing(connection, index));
		const session = new Session({
			folder: share.folder,
			readOnly: share.readOnly,
			locks,
			maximumSize: Math.min(MAXIMUM_MESSAGE, ...flexRings.map((ring) => ring.size)),
			log: (text) => log.write(`${device.label}: ${text}`),
		});
		this.session = session;
		const rings = flexRings.map((ring) => new ServedRing(device, ring, session));
		rings.forEach((ring, index) => {
			ring.channel = connection.bindChannel(() => ring.work(), "", `event-channel-${index}`);
		});
		return {};
	}

	disconnect(): void | Promise<void> {
		const { session } = this;
		this.session = undefined;
		return session?.end();
	}

	close(): void {
		this.onClose();
		this.share.folder.close();
	}
}

/** Maps ring `index`: its page of indices, and the pages that this names. */
function mapRing(connection: Connection, index: number): FlexRing {
	const { device } = connection;
	const { memory } = device.domain.hypervisor;
	const shared = connection.mapPage(device.needFrontendNumber(`ring-ref${index}`));
	const { offset } = p9DataInterface;
	const order = memory.u32(shared + offset.ringOrder);
	if (order > P9_MAX_RING_ORDER) throw new DeviceError(Errno.EINVAL, `ring ${index} has the order ${order}`);
	const refs = Array.from({ length: 2 ** order }, (_, page) => memory.u32(shared + offset.ref + 4 * page));
	const pages = refs.map((ref) => connection.mapPage(ref));
	return new FlexRing(memory, shared, pages, (address) => connection.grants.contentsChange(address));
}

/** A ring with its event channel. Replies leave in their order; while one has no room, no further request is taken. */
class ServedRing {
	channel: Channel | undefined;
	/** Replies that wait for room. */
	private readonly replies: Uint8Array[] = [];
	private readonly header = new Uint8Array(HEADER);
	private readonly headerView = new DataView(this.header.buffer);
	private message = new Uint8Array(0);
	private scheduled = false;

	constructor(
		private readonly device: BackendDevice,
		private readonly ring: FlexRing,
		private readonly session: Session,
	) {}

	/** Takes requests, as long as their replies have room. @throws DeviceError where the guest's indices or messages make no sense */
	work(): void {
		const { ring, session } = this;
		let taken = 0;
		let moved = this.flush();
		for (let requests = 0; this.replies.length === 0 && !session.busy; requests++) {
			const size = this.nextSize();
			if (size === 0) break;
			if (requests >= REQUESTS_PER_TURN || taken >= BYTES_PER_TURN) {
				this.goOnLater();
				break;
			}
			if (this.message.length < size) this.message = new Uint8Array(Math.max(size, session.largestRequest));
			const message = this.message.subarray(0, size);
			ring.peek(message);
			ring.consume(size);
			taken += size;
			moved = true;
			this.handle(message);
		}
		if (moved) this.channel?.notify();
	}

	private handle(message: Uint8Array): void {
		const { session } = this;
		// A reply that comes later, when this returned, is sent by itself.
		let inside = true;
		try {
			session.handle(message, (reply) => {
				if (inside) this.respond(reply);
				else
					this.device.guard(() => {
						if (this.respond(reply)) this.channel?.notify();
						// There may be requests that waited for one to be done.
						this.goOnLater();
					});
			});
		} catch (error) {
			if (error instanceof MalformedMessage) throw new DeviceError(Errno.EINVAL, error.message);
			throw error;
		} finally {
			inside = false;
		}
	}

	/** Bytes of the next message; 0 where it is not there yet. */
	private nextSize(): number {
		const { ring, session } = this;
		const { waiting } = ring;
		if (waiting < 0) throw new DeviceError(Errno.EINVAL, "a ring's producer index claims more than the ring holds");
		if (waiting < HEADER) return 0;
		ring.peek(this.header);
		const size = this.headerView.getUint32(0, true);
		if (size < HEADER || size > session.largestRequest || size > ring.size) {
			throw new DeviceError(Errno.EINVAL, `a message of ${size} bytes`);
		}
		return size > waiting ? 0 : size;
	}

	/** @returns whether it was put into the ring */
	private respond(reply: Uint8Array): boolean {
		if (this.replies.length === 0 && this.fits(reply)) {
			this.ring.put(reply);
			return true;
		}
		this.replies.push(reply.slice());
		return false;
	}

	/** Sends replies that waited. @returns whether there was one for which there was room */
	private flush(): boolean {
		let sent = false;
		for (let reply = this.replies[0]; reply !== undefined && this.fits(reply); reply = this.replies[0]) {
			this.ring.put(reply);
			this.replies.shift();
			sent = true;
		}
		return sent;
	}

	private fits(reply: Uint8Array): boolean {
		const { room } = this.ring;
		if (room < 0) throw new DeviceError(Errno.EINVAL, "a ring's consumer index claims more than was sent");
		return reply.length <= room;
	}

	private goOnLater(): void {
		if (this.scheduled) return;
		this.scheduled = true;
		this.device.later(() => {
			this.scheduled = false;
			if (!this.session.ended) this.work();
		});
	}
}
