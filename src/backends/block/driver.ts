/**
 * The block back end (public/io/blkif.h): serves disks to front ends of kind vbd. A toolstack hands a disk over with
 * {@link BlockDriver.provide}, then writes the device's nodes; the disk's image is closed when the device is gone.
 */

import type { BlockImage, Done } from "../../devices/block/image.ts";
import { type BlockProtocol, blockLayouts, DiskInfo } from "../../xen/abi/blkif.ts";
import { Errno } from "../../xen/abi/errno.ts";
import type { Connection } from "../xenbus/connection.ts";
import type { BackendDevice } from "../xenbus/device.ts";
import { type Backend, type BackendDriver, DeviceError, type Nodes } from "../xenbus/driver.ts";
import { type Disk, isReadOnly } from "./disk.ts";
import { BlockQueue, type QueueDisk } from "./queue.ts";
import { MAX_INDIRECT_SEGMENTS } from "./segments.ts";

const SECTOR = 512;
/** Sixteen pages: as many as Linux's front end can use. */
const MAX_RING_ORDER = 4;
const MAX_QUEUES = 8;
/** Failures of an image that are logged; a broken disk would fill the log. */
const MOST_COMPLAINTS = 10;

export class BlockDriver implements BackendDriver {
	readonly kind = "vbd";
	private readonly disks = new Map<string, Disk>();
	private readonly open_ = new Map<string, BlockDevice>();

	/** Gives the disk for the device whose directory will be `path`. */
	provide(path: string, disk: Disk): void {
		this.disks.set(path, disk);
	}

	/** Takes a disk back for which no device has come. */
	withdraw(path: string): void {
		this.disks.delete(path);
	}

	/** The device of a directory, where it is served. */
	device(path: string): BlockDevice | undefined {
		return this.open_.get(path);
	}

	open(device: BackendDevice): Backend {
		const { path } = device;
		const disk = this.disks.get(path);
		if (disk === undefined) throw new DeviceError(Errno.ENODEV, "no image has been given for this disk");
		this.disks.delete(path);
		const block = new BlockDevice(device, disk, () => this.open_.delete(path));
		this.open_.set(path, block);
		return block;
	}
}

/** One disk of one guest. */
export class BlockDevice implements Backend, QueueDisk {
	readonly image: BlockImage;
	readonly readOnly: boolean;
	readonly discard: boolean;
	sectorSize: number = SECTOR;
	persistent = false;
	private queues: BlockQueue[] = [];
	private complaints = 0;

	constructor(
		private readonly device: BackendDevice,
		readonly disk: Disk,
		private readonly onClose: () => void,
	) {
		this.image = disk.image;
		this.readOnly = isReadOnly(disk);
		this.discard = disk.discard !== false && !this.readOnly && disk.image.discardGranularity > 0;
	}

	get size(): number {
		return Math.floor(this.image.size / this.sectorSize) * this.sectorSize;
	}

	get features(): Nodes {
		const { disk, image } = this;
		const writable = this.readOnly ? 0 : 1;
		return {
			"max-ring-page-order": MAX_RING_ORDER,
			"max-ring-pages": 2 ** MAX_RING_ORDER,
			"multi-queue-max-queues": this.maximumQueues,
			"feature-max-indirect-segments": MAX_INDIRECT_SEGMENTS,
			"feature-persistent": disk.persistentGrants === true ? 1 : 0,
			"feature-flush-cache": writable,
			"feature-barrier": writable,
			"feature-discard": this.discard ? 1 : 0,
			...(this.discard
				? { "discard-granularity": image.discardGranularity, "discard-alignment": 0, "discard-secure": 0 }
				: {}),
		};
	}

	connect(connection: Connection): Nodes {
		const { device, disk } = this;
		const layout = blockLayouts[protocolOf(device)];
		const large = device.readFrontend("feature-large-sector-size") === "1";
		this.sectorSize = large ? (disk.sectorSize ?? SECTOR) : SECTOR;
		this.persistent = disk.persistentGrants === true && device.readFrontend("feature-persistent") === "1";
		const count = device.readFrontendNumber("multi-queue-num-queues", this.maximumQueues);
		if (count === 0) throw new DeviceError(Errno.EINVAL, "multi-queue-num-queues is 0");
		// Also where the next of them cannot be connected, those before it are let go of.
		this.queues = [];
		for (let index = 0; index < (count ?? 1); index++) {
			const prefix = (count ?? 1) === 1 ? "" : `queue-${index}/`;
			this.queues.push(new BlockQueue(connection, this, layout, MAX_RING_ORDER, prefix));
		}
		return this.properties();
	}

	disconnect(): void | Promise<void> {
		const stopping = this.queues.map((queue) => queue.stop()).filter((done) => done !== undefined);
		this.queues = [];
		if (stopping.length > 0) return Promise.all(stopping).then(() => {});
	}

	async close(): Promise<void> {
		this.onClose();
		await this.image.close();
	}

	/** Tells the front end that the image's size has changed. */
	announceSize(): void {
		this.device.announce({ sectors: this.size / this.sectorSize });
	}

	/** Gives the disk another size in bytes, rounded down to whole sectors, and tells the front end. @throws BlockError */
	resize(size: number): Done {
		const done = this.image.resize(Math.floor(size / this.sectorSize) * this.sectorSize);
		if (done === undefined) {
			this.announceSize();
			return undefined;
		}
		return done.then(() => this.announceSize());
	}

	onError(error: unknown): void {
		if (this.complaints++ >= MOST_COMPLAINTS) return;
		const { log } = this.device.domain.hypervisor;
		log.write(`${this.device.label}: ${error instanceof Error ? error.message : String(error)}`);
	}

	private get maximumQueues(): number {
		const { vcpus } = this.device.domain;
		return Math.max(1, Math.min(this.disk.queues ?? vcpus.length, MAX_QUEUES));
	}

	/** What the front end reads once the state is Connected. */
	private properties(): Nodes {
		const { disk, sectorSize } = this;
		const kind = disk.cdrom === true ? DiskInfo.cdrom | DiskInfo.removable : 0;
		return {
			sectors: this.size / sectorSize,
			"sector-size": sectorSize,
			"physical-sector-size": Math.max(sectorSize, disk.physicalSectorSize ?? disk.sectorSize ?? SECTOR),
			info: kind | (this.readOnly ? DiskInfo.readonly : 0),
		};
	}
}

/** Which of the protocol's two layouts the front end speaks. */
function protocolOf(device: BackendDevice): BlockProtocol {
	const name = device.readFrontend("protocol") ?? "x86_64-abi";
	if (Object.hasOwn(blockLayouts, name)) return name as BlockProtocol;
	throw new DeviceError(Errno.EINVAL, `unknown protocol ${JSON.stringify(name.slice(0, 40))}`);
}
