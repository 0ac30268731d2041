/**
 * What differs between Node.js and a browser, as far as a machine needs it. One implementation a platform: node/platform.ts.
 */

import type { BlockFiles } from "../devices/block/image.ts";
import type { OpenHostChannel } from "../devices/console/host-channel.ts";
import type { HostNetwork } from "../devices/net/nat/host-network.ts";
import type { OpenHostTap } from "../devices/net/tap.ts";
import type { HostFolder } from "../devices/p9/folder.ts";

export interface Platform {
	/** Monotonic time in milliseconds, with fractions. */
	milliseconds(): number;
	/** Processor time that this program has used, in seconds; undefined where the platform does not tell. */
	cpuSeconds(): number | undefined;
	/** Bytes of the host's memory in use by this program; undefined where the platform does not tell. */
	residentBytes(): number | undefined;
	/** The contents of a kernel's or ramdisk's file. A browser takes the name for a URL. @throws ImageError not-readable */
	readFile(name: string): Promise<Uint8Array>;
	/** The host's network, for the NAT; undefined where the platform has none. */
	readonly network?: HostNetwork;
	/**
	 * Unpacks a gzip file, where the platform has a faster way than we; undefined where it is no single whole one or unpacks to more than `limit` bytes.
	 */
	gunzip?(data: Uint8Array, limit: number): Uint8Array | undefined;
	/**
	 * Files that disks are stored in.
	 * @param synchronous whether every operation must end at once, so that a run can be repeated
	 */
	blockFiles(synchronous: boolean): BlockFiles;
	/**
	 * A folder that guests are to share. Missing where the platform has none.
	 * @param synchronous as in {@link blockFiles}
	 * @throws FolderError
	 */
	openFolder?(path: string, synchronous: boolean): HostFolder;
	/**
	 * A new file in the place of any that there is; one that cannot be written to its end is removed. Missing where the platform has no files.
	 * @throws ToolstackError not-writable, as do its methods
	 */
	createFile?(name: string): Promise<WritableFile>;
	/** A tap device. Missing where the platform has none. */
	readonly openTap?: OpenHostTap;
	/** The host's side of a channel. Missing where the platform has none. */
	readonly openChannel?: OpenHostChannel;
}

export interface WritableFile {
	/** Appends a piece; runs of zeros may become holes. */
	write(piece: Uint8Array): Promise<void>;
	close(): Promise<void>;
}
