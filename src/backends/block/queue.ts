/**
 * One ring of a disk: takes requests, checks them, moves the data between image and the guest's pages, answers. What a front end
 * asks for wrongly is answered with an error; a ring whose indices are impossible ends the device. Each turn does a bounded share of
 * work and leaves the rest for a later one.
 */

import type { BlockImage, Done } from "../../devices/block/image.ts";
import { type BlockLayout, BlockOp, BlockStatus, DISCARD_SECURE } from "../../xen/abi/blkif.ts";
import { Errno } from "../../xen/abi/errno.ts";
import { BackRing } from "../ring.ts";
import type { Channel, Connection } from "../xenbus/connection.ts";
import { DeviceError } from "../xenbus/driver.ts";
import type { GuestGrants } from "../xenbus/grants.ts";
import { PersistentGrants } from "./persistent.ts";
import { Pending, RawRequest } from "./segments.ts";

/** A turn's share: what takes the host a millisecond or so. */
const TURN_REQUESTS = 64;
const TURN_BYTES = 2 * 2 ** 20;

/** What a queue needs to know of its disk. */
export interface QueueDisk {
	readonly image: BlockImage;
	/** Bytes that the front end may address. */
	readonly size: number;
	readonly readOnly: boolean;
	/** Whether discarding was offered. */
	readonly discard: boolean;
	/** Bytes of the sectors in which this front end counts. */
	readonly sectorSize: number;
	readonly persistent: boolean;
	/** A failure of the image, for the log. */
	onError(error: unknown): void;
}

export class BlockQueue {
	private readonly ring: BackRing;
	private readonly channel: Channel;
	private readonly grants: GuestGrants;
	private readonly kept: PersistentGrants | undefined;
	private readonly raw: RawRequest;
	private readonly response: Uint8Array;
	private readonly responseView: DataView;
	private readonly idle: Pending[] = [];
	/** Requests that wait for the image. */
	private inFlight = 0;
	/** A barrier that waits for those before it, or whose end those behind it wait for. */
	private barrier: Pending | undefined;
	private later = false;
	/** A large request waits for others. */
	private gathering = false;
	private onDrained: (() => void) | undefined;

	/** @param prefix the queue's directory in the front end's, "" or "queue-N/" */
	constructor(
		private readonly connection: Connection,
		private readonly disk: QueueDisk,
		private readonly layout: BlockLayout,
		maximumOrder: number,
		prefix: string,
	) {
		const { device } = connection;
		const { memory } = device.domain.hypervisor;
		this.grants = connection.grants;
		this.kept = disk.persistent ? new PersistentGrants(this.grants) : undefined;
		this.raw = new RawRequest(layout);
		this.response = new Uint8Array(layout.response.size);
		this.responseView = new DataView(this.response.buffer);
		this.ring = new BackRing(memory, connection.mapRing(maximumOrder, prefix), layout.request.size);
		this.channel = connection.bindChannel(() => this.work(), prefix);
	}

	/** To be called when the front end lets go. @returns a promise where requests are in flight: resolved when they are not */
	stop(): Done {
		if (this.inFlight === 0) {
			this.kept?.clear();
			return undefined;
		}
		return new Promise((resolve) => {
			this.onDrained = () => {
				this.kept?.clear();
				resolve();
			};
		});
	}

	/**
	 * A turn: takes requests as far as its share goes.
	 * @param gathered false where requests may have only begun to come: a large one waits for those that are likely to follow
	 */
	private work(gathered = false): void {
		if (this.connection.closed || this.gathering) return;
		const { ring, raw } = this;
		let bytes = 0;
		for (let count = 0; this.barrier === undefined; ) {
			const { waiting } = ring;
			if (waiting < 0) throw new DeviceError(Errno.EINVAL, "the ring's producer index is impossible");
			if (waiting === 0) {
				if (!ring.finalCheck()) break;
				continue;
			}
			if (count++ >= TURN_REQUESTS || bytes >= TURN_BYTES) {
				this.goOnLater();
				break;
			}
			ring.take(raw.bytes);
			if (count === 1 && !gathered && raw.isLarge) {
				ring.putBack();
				this.gather();
				break;
			}
			bytes += this.dispatch();
		}
		this.push();
	}

	private gather(): void {
		this.gathering = true;
		this.connection.device.gather(() => {
			this.gathering = false;
			this.work(true);
		});
	}

	private goOnLater(): void {
		if (this.later) return;
		this.later = true;
		this.connection.device.later(() => {
			this.later = false;
			this.work(true);
		});
	}

	private push(): void {
		if (this.ring.push()) this.channel.notify();
	}

	/** Does the request in {@link raw}. @returns bytes that it has moved */
	private dispatch(): number {
		switch (this.raw.operation) {
			case BlockOp.read:
			case BlockOp.write:
			case BlockOp.writeBarrier:
			case BlockOp.flushDiskcache:
			case BlockOp.indirect:
				return this.transfer();
			case BlockOp.discard:
				this.discard();
				return 0;
			default:
				this.respond(this.rawId(), this.raw.operation, BlockStatus.notSupported);
				return 0;
		}
	}

	private rawId(): Uint8Array {
		const { id } = this.layout.request.offset;
		return this.raw.bytes.subarray(id, id + 8);
	}

	private transfer(): number {
		const { disk } = this;
		const pending = this.idle.pop() ?? new Pending();
		const possible = pending.parse(this.raw, disk.sectorSize, this.grants);
		const reads = pending.operation === BlockOp.read;
		const flushes = pending.operation === BlockOp.flushDiskcache || pending.operation === BlockOp.writeBarrier;
		const fits = pending.length === 0 ? flushes : pending.position + pending.length <= disk.size;
		const forbidden = disk.readOnly && !reads && pending.length > 0;
		if (!possible || !fits || forbidden || !this.map(pending)) {
			this.respond(pending.id, pending.operation, BlockStatus.error);
			this.idle.push(pending);
			return 0;
		}
		this.inFlight++;
		if (pending.operation === BlockOp.writeBarrier) {
			this.barrier = pending;
			if (this.inFlight > 1) return pending.length;
		}
		this.start(pending);
		return pending.length;
	}

	/** Begins a request whose pages are mapped. */
	private start(pending: Pending): void {
		this.finishAfter(pending, () => this.perform(pending));
	}

	/** Finishes a request when what `begin` does for it is done: at once, later, or by an error. */
	private finishAfter(pending: Pending, begin: () => Done): void {
		let done: Done;
		try {
			done = begin();
		} catch (error) {
			this.finish(pending, error);
			return;
		}
		if (done === undefined) {
			this.finish(pending);
			return;
		}
		this.connection.device.hostOperation(done).then(
			() => this.finishLater(pending),
			(error: unknown) => this.finishLater(pending, error),
		);
	}

	private perform(pending: Pending): Done {
		const { image } = this.disk;
		switch (pending.operation) {
			case BlockOp.flushDiskcache:
				return then(image.flush(), () => (pending.length === 0 ? undefined : this.move(pending, pending.position)));
			case BlockOp.writeBarrier:
				return then(
					then(image.flush(), () => this.move(pending, pending.position)),
					() => image.flush(),
				);
			default:
				return this.move(pending, pending.position);
		}
	}

	/** Moves the data: between the image and all of the request's pages at once where the image can do that, else one piece after the other. */
	private move(pending: Pending, position: number): Done {
		const { image } = this.disk;
		const pieces = this.pieces(pending);
		const [first] = pieces;
		if (first === undefined) return undefined;
		const reads = pending.operation === BlockOp.read;
		if (pieces.length === 1) return reads ? image.read(first, position) : image.write(first, position);
		if (reads && image.readv !== undefined) return image.readv(pieces, position);
		if (!reads && image.writev !== undefined) return image.writev(pieces, position);
		return this.moveEach(pieces, 0, position, reads);
	}

	private moveEach(pieces: readonly Uint8Array[], from: number, position: number, reads: boolean): Done {
		const { image } = this.disk;
		let at = position;
		for (let index = from; index < pieces.length; index++) {
			const piece = pieces[index] as Uint8Array;
			const done = reads ? image.read(piece, at) : image.write(piece, at);
			at += piece.length;
			if (done !== undefined) {
				const next = at;
				return done.then(() => this.moveEach(pieces, index + 1, next, reads));
			}
		}
		return undefined;
	}

	/** The request's bytes in memory; pages that follow each other are one piece. */
	private pieces(pending: Pending): Uint8Array[] {
		const { addresses, lengths, offsets, segments } = pending;
		const { bytes } = this.connection.device.domain.hypervisor.memory;
		if (pending.operation === BlockOp.read) this.noteContents(pending);
		const pieces: Uint8Array[] = [];
		for (let slot = 0; slot < segments; ) {
			const start = (addresses[slot] as number) + (offsets[slot] as number);
			let end = start + (lengths[slot] as number);
			for (slot++; slot < segments && (addresses[slot] as number) + (offsets[slot] as number) === end; slot++) {
				end += lengths[slot] as number;
			}
			pieces.push(bytes.subarray(start, end));
		}
		return pieces;
	}

	/** The end of a request that had to wait: outside of any turn. */
	private finishLater(pending: Pending, error?: unknown): void {
		this.connection.device.guard(() => {
			this.finish(pending, error);
			if (this.connection.closed) return;
			this.push();
			// Those behind a barrier were left in the ring.
			if (this.barrier === undefined) this.work();
		});
	}

	private finish(pending: Pending, error?: unknown): void {
		this.inFlight--;
		if (!pending.momentary) {
			// What came from a file that answers later has changed the pages since they were looked at.
			if (pending.operation === BlockOp.read) this.noteContents(pending);
			this.unmap(pending, pending.segments);
		}
		if (error !== undefined) this.disk.onError(error);
		if (this.barrier === pending) this.barrier = undefined;
		if (!this.connection.closed) {
			this.respond(pending.id, pending.operation, error === undefined ? BlockStatus.okay : BlockStatus.error);
		}
		this.idle.push(pending);
		if (this.inFlight === 0) this.onDrained?.();
		// A barrier that waited for this one; where the front end has gone meanwhile, it is not carried out.
		if (this.barrier === undefined || this.inFlight !== 1) return;
		if (this.connection.closed) this.finish(this.barrier);
		else this.start(this.barrier);
	}

	private discard(): void {
		const { disk, layout, raw } = this;
		const { offset } = layout.discard;
		const pending = this.idle.pop() ?? new Pending();
		pending.operation = BlockOp.discard;
		pending.id.set(raw.bytes.subarray(offset.id, offset.id + 8));
		pending.segments = 0;
		const position = raw.wide(offset.sectorNumber) * disk.sectorSize;
		const length = raw.wide(offset.nrSectors) * disk.sectorSize;
		const secure = (raw.view.getUint8(offset.flag) & DISCARD_SECURE) !== 0;
		let status: number = BlockStatus.okay;
		if (!disk.discard || secure) status = BlockStatus.notSupported;
		else if (disk.readOnly || length === 0 || position + length > disk.size) status = BlockStatus.error;
		if (status !== BlockStatus.okay) {
			this.respond(pending.id, pending.operation, status);
			this.idle.push(pending);
			return;
		}
		this.inFlight++;
		this.finishAfter(pending, () => disk.image.discard(position, length));
	}

	// Pages

	/** Maps all pages of a request, or none. */
	private map(pending: Pending): boolean {
		const { operation } = pending;
		const readOnly = operation !== BlockOp.read;
		const moves = operation === BlockOp.read || operation === BlockOp.write;
		pending.momentary = moves && this.disk.image.immediate === true && this.kept === undefined;
		if (pending.momentary) return this.lookUp(pending, readOnly);
		for (let slot = 0; slot < pending.segments; slot++) {
			const ref = pending.grefs[slot] as number;
			let address = this.kept?.acquire(ref) ?? -1;
			pending.kept[slot] = address < 0 ? 0 : 1;
			if (address < 0) address = this.grants.map(ref, readOnly);
			if (address < 0) {
				this.unmap(pending, slot);
				return false;
			}
			pending.addresses[slot] = address;
		}
		return true;
	}

	private lookUp({ addresses, grefs, segments }: Pending, readOnly: boolean): boolean {
		const { grants } = this;
		for (let slot = 0; slot < segments; slot++) {
			const address = grants.momentary(grefs[slot] as number, readOnly);
			if (address < 0) return false;
			addresses[slot] = address;
		}
		return true;
	}

	private unmap(pending: Pending, count: number): void {
		const readOnly = pending.operation !== BlockOp.read;
		for (let slot = 0; slot < count; slot++) {
			const ref = pending.grefs[slot] as number;
			if (pending.kept[slot] === 1) this.kept?.release(ref);
			else this.grants.unmap(ref, readOnly);
		}
	}

	private noteContents(pending: Pending): void {
		for (let slot = 0; slot < pending.segments; slot++) this.grants.contentsChange(pending.addresses[slot] as number);
	}

	private respond(id: Uint8Array, operation: number, status: number): void {
		const { offset } = this.layout.response;
		this.response.set(id, offset.id);
		this.responseView.setUint8(offset.operation, operation);
		this.responseView.setInt16(offset.status, status, true);
		this.ring.respond(this.response);
	}
}

/** Goes on after an operation, at once where that has ended. */
function then(done: Done, next: () => Done): Done {
	return done === undefined ? next() : done.then(next);
}
