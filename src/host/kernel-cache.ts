/**
 * Unpacked kernels, kept from one start to the next: unpacking costs more than a second. A platform that has a place for them
 * implements the interface (guests/kernel-cache.ts); where there is none, every start unpacks.
 */
import { isElf } from "../formats/elf.ts";
import { type KernelImage, openKernel } from "../xen/boot/kernel.ts";

export interface KernelCache {
	/** The ELF file that was stored for these bytes, or undefined. Never rejects: what cannot be read is not there. */
	read(kernel: Uint8Array): Promise<Uint8Array | undefined>;
	/** Stores what `kernel` unpacks to. Never rejects: where it cannot be stored, the next start unpacks again. */
	write(kernel: Uint8Array, unpacked: Uint8Array): Promise<void>;
}

/**
 * Opens a kernel image, from the cache as far as possible. What had to be unpacked is stored while the guest already runs.
 * @param file the name for messages
 * @throws ImageError
 */
export async function openCachedKernel(
	kernel: Uint8Array,
	file: string,
	cache: KernelCache | undefined,
): Promise<KernelImage> {
	if (cache === undefined || isElf(kernel)) return openKernel(kernel, file);
	const unpacked = await cache.read(kernel);
	const image = openKernel(kernel, file, unpacked);
	if (unpacked === undefined && image.compression !== undefined) void cache.write(kernel, image.elf.bytes);
	return image;
}
