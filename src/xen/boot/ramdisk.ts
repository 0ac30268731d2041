/**
 * The ramdisk as the domain gets it. libxenguest unpacks a gzip-compressed one before it hands it over (xc_dom_build_module), which also
 * spares the guest the work; anything else, and anything that does not unpack cleanly, is handed over as it is.
 */

import { decompressGzip } from "../../formats/compression/gzip.ts";
import { Output } from "../../formats/compression/output.ts";
import { PayloadError } from "../../formats/errors.ts";

/** @param limit the domain's memory in bytes: what does not fit unpacked may still fit packed */
export function openRamdisk(bytes: Uint8Array, limit: number): Uint8Array {
	if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
	try {
		const output = new Output(limit);
		decompressGzip(bytes, output);
		return output.result();
	} catch (error) {
		if (error instanceof PayloadError) return bytes;
		throw error;
	}
}
