/** A disk as a guest sees it: an image, and what the toolstack says of it. */
import type { BlockImage } from "../../devices/block/image.ts";

export interface DiskOptions {
	/** The guest may not write; so it is too where the image cannot be written. */
	readonly readOnly?: boolean;
	/** A CD: read-only, and the guest's driver knows it for one. */
	readonly cdrom?: boolean;
	/** Offer discarding where the image can do it; true by default. */
	readonly discard?: boolean;
	/** Offer to keep grants mapped. The front end then copies all data, which costs an emulated guest more than mapping costs us. */
	readonly persistentGrants?: boolean;
	/** Bytes of a logical sector for front ends that know other than 512 (feature-large-sector-size), 512 or 4096. */
	readonly sectorSize?: 512 | 4096;
	/** Bytes that the guest should align to; a multiple of the sector size. 4096 by default. */
	readonly physicalSectorSize?: number;
	/** The most rings; one a virtual CPU by default, eight at the most. */
	readonly queues?: number;
}

export interface Disk extends DiskOptions {
	readonly image: BlockImage;
}

/** A disk's own view of whether it may be written. */
export function isReadOnly(disk: Disk): boolean {
	return disk.readOnly === true || disk.cdrom === true || disk.image.readOnly;
}
