/**
 * Disks of guests: opens images, writes the nodes that libxl writes for a vbd (libxl_disk.c), and takes disks away again. What
 * `xl block-attach`, `block-detach` and `block-list` do.
 */

import type { Disk } from "../backends/block/disk.ts";
import { BlockDriver } from "../backends/block/driver.ts";
import {
	attachDevice,
	type DetachOptions,
	type DeviceName,
	detachDevice,
	deviceExists,
	devicePaths,
	removeDevice,
} from "../backends/xenbus/attach.ts";
import type { BackendBus } from "../backends/xenbus/bus.ts";
import { BlockError, type BlockFiles, type BlockImage } from "../devices/block/image.ts";
import { MemoryFile } from "../devices/block/images/memory.ts";
import { type ImageOptions, openImage } from "../devices/block/images/open.ts";
import { RawImage } from "../devices/block/images/raw.ts";
import type { StoreClient } from "../store/client.ts";
import { type DiskSpecification, DiskSpecificationError, parseDisk } from "./config/disk.ts";
import { diskName, diskNumber } from "./config/vdev.ts";
import { attachAll, openAll } from "./open-devices.ts";

/** A disk for a guest: xl's specification, as text or parsed, and what that cannot say. */
export interface DiskRequest
	extends Partial<Omit<DiskSpecification, "vdev" | "snapshot">>,
		Omit<Disk, "image" | "readOnly" | "cdrom" | "discard"> {
	readonly vdev: string;
	/** Writes go into a temporary overlay: in a file without a name (true too), or in memory. */
	readonly snapshot?: ImageOptions["snapshot"];
	/** An image that is open already, in place of a target; it is closed when the guest has no use for it any more. */
	readonly image?: BlockImage;
}

/** A disk that is opened and not yet a guest's. */
export interface OpenDisk {
	readonly request: DiskRequest;
	readonly number: number;
	readonly disk: Disk;
}

/** What `xl block-list` shows. */
export interface DiskInformation {
	/** "xvda" */
	readonly vdev: string;
	/** Its number, which names its directory in the store. */
	readonly devid: number;
	/** The image's file or address, where there is one. */
	readonly target: string | undefined;
	readonly format: string;
	readonly readOnly: boolean;
	readonly cdrom: boolean;
	/** Bytes. */
	readonly size: number;
	/** XenbusState of the back end. */
	readonly state: number;
	readonly eventChannel: number | undefined;
	readonly ringReference: number | undefined;
	readonly backend: string;
	readonly frontend: string;
}

/** What a drive without a CD reads: a disk of no sectors. */
const NO_CD: BlockImage = new RawImage(new MemoryFile(0, "no CD"), true);

export class Disks {
	private readonly driver = new BlockDriver();

	constructor(
		private readonly store: StoreClient,
		private readonly bus: BackendBus,
		private readonly files: BlockFiles,
	) {
		bus.register(this.driver);
	}

	/**
	 * Opens what a disk is stored in.
	 * @throws DiskSpecificationError, BlockError
	 */
	async open(wanted: DiskRequest | string): Promise<OpenDisk> {
		const request: DiskRequest = typeof wanted === "string" ? parseDisk(wanted) : wanted;
		const { vdev, target, format = "raw", cdrom = false, readOnly = cdrom } = request;
		const number = diskNumber(vdev);
		if (number === undefined)
			throw refusal(request, `vdev ${vdev} is no disk's name`, "Give one such as xvda, xvdb, ...");
		const empty = target === undefined || format === "empty";
		if (empty && !cdrom && request.image === undefined) throw refusal(request, "it has no target", "Name an image");
		const image =
			request.image ??
			(empty ? NO_CD : await openImage(this.files, target, { format, readOnly, snapshot: request.snapshot }));
		return { request, number, disk: { ...request, readOnly, cdrom, discard: request.discard ?? true, image } };
	}

	/** Opens all of a domain's disks, or none. @throws as {@link open} */
	openAll(wanted: readonly (DiskRequest | string)[]): Promise<OpenDisk[]> {
		return openAll(wanted, (each) => this.open(each), closeDisks);
	}

	/** Gives open disks to a guest; where one cannot be given, those behind it are closed. @throws as {@link attach} */
	attachAll(domid: number, disks: readonly OpenDisk[]): void {
		attachAll(disks, (each) => this.attach(domid, each), closeDisks);
	}

	/** Gives an open disk to a guest. The image is closed where that fails. @throws DiskSpecificationError */
	attach(domid: number, { request, number, disk }: OpenDisk): DiskInformation {
		const name = nameOf(domid, number);
		if (deviceExists(this.store, name)) {
			closeDisks([{ request, number, disk }]);
			throw refusal(request, `the guest has a disk ${request.vdev} already`, "Give another vdev");
		}
		const { target, format = "raw", cdrom = false, trusted = true } = request;
		this.driver.provide(devicePaths(name).backend, disk);
		attachDevice(this.store, {
			...name,
			frontend: { "virtual-device": number, "device-type": cdrom ? "cdrom" : "disk", trusted: trusted ? 1 : 0 },
			backend: {
				params: `${format}:${target ?? ""}`,
				type: "qdisk",
				dev: request.vdev,
				mode: disk.readOnly === true || disk.image.readOnly ? "r" : "w",
				"device-type": cdrom ? "cdrom" : "disk",
				removable: cdrom ? 1 : 0,
				bootable: 1,
				"direct-io-safe": 0,
				"discard-enable": disk.discard === false ? 0 : 1,
				specification: "xen",
			},
		});
		if (this.driver.device(devicePaths(name).backend) === undefined) {
			removeDevice(this.store, name);
			this.driver.withdraw(devicePaths(name).backend);
			closeDisks([{ request, number, disk }]);
			throw refusal(request, `there is no domain ${domid} that could use it`, "Look at the list of domains");
		}
		return this.information(domid, number);
	}

	/**
	 * Takes a disk away; resolved when its image is closed.
	 * @param disk its name ("xvda") or number
	 * @throws DiskSpecificationError where the guest has no such disk
	 */
	async detach(domid: number, disk: string | number, options?: DetachOptions): Promise<"closed" | "forced"> {
		const name = this.find(domid, disk);
		const result = await detachDevice(this.store, name, options);
		await this.bus.closed(devicePaths(name).backend);
		return result === "absent" ? "closed" : result;
	}

	/**
	 * Tells a guest that its disk has another size: makes the image that large, or, without a size, takes the one that it has.
	 * @param size bytes
	 * @throws DiskSpecificationError, BlockError
	 */
	async resize(domid: number, disk: string | number, size?: number): Promise<void> {
		const name = this.find(domid, disk);
		const device = this.driver.device(devicePaths(name).backend);
		if (device === undefined)
			throw new DiskSpecificationError(String(disk), "the disk is not served", "Attach it again");
		if (size === undefined) device.announceSize();
		else await device.resize(size);
	}

	/** The disks of a guest, by number. */
	list(domid: number): DiskInformation[] {
		const numbers = (this.store.list(`/libxl/${domid}/device/vbd`) ?? []).map(Number).sort((a, b) => a - b);
		return numbers.map((number) => this.information(domid, number));
	}

	private find(domid: number, disk: string | number): DeviceName {
		const number = typeof disk === "number" ? disk : diskNumber(disk);
		const name = nameOf(domid, number ?? -1);
		if (number !== undefined && deviceExists(this.store, name)) return name;
		const all = this.list(domid).map(({ vdev }) => vdev);
		const remedy = all.length === 0 ? "It has none" : `It has ${all.join(", ")}`;
		throw new DiskSpecificationError(String(disk), "the guest has no such disk", remedy);
	}

	private information(domid: number, number: number): DiskInformation {
		const { frontend, backend } = devicePaths(nameOf(domid, number));
		const read = (name: string): string | undefined => this.store.read(`${backend}/${name}`);
		const params = read("params") ?? "";
		const device = this.driver.device(backend);
		return {
			vdev: read("dev") ?? diskName(number),
			devid: number,
			target: params.slice(params.indexOf(":") + 1) || undefined,
			format: params.slice(0, Math.max(0, params.indexOf(":"))),
			readOnly: read("mode") !== "w",
			cdrom: read("device-type") === "cdrom",
			size: device?.size ?? 0,
			state: this.store.readNumber(`${backend}/state`) ?? 0,
			eventChannel: this.store.readNumber(`${frontend}/event-channel`),
			ringReference: this.store.readNumber(`${frontend}/ring-ref`) ?? this.store.readNumber(`${frontend}/ring-ref0`),
			backend,
			frontend,
		};
	}
}

/** Closes disks that no guest has got. A failure to flush what nobody has written does not matter. */
export async function closeDisks(disks: readonly OpenDisk[]): Promise<void> {
	await Promise.allSettled(disks.map(({ disk }) => disk.image.close()));
}

function nameOf(domid: number, devid: number): DeviceName {
	return { domid, kind: "vbd", devid };
}

function refusal(request: DiskRequest, reason: string, remedy: string): DiskSpecificationError {
	return new DiskSpecificationError(`${request.target ?? ""},${request.vdev}`, reason, remedy);
}

export { BlockError, DiskSpecificationError };
