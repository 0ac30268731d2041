/**
 * Which compression a payload has, by the two bytes that Linux's decompressor looks at, and how it is undone. One row a format; a
 * format is one file beside this one.
 */

import { ImageError, PayloadError } from "../errors.ts";
import { decompressBzip2 } from "./bzip2.ts";
import { decompressGzip } from "./gzip.ts";
import { decompressLz4 } from "./lz4.ts";
import { decompressLzma } from "./lzma.ts";
import { decompressLzo } from "./lzo.ts";
import { Output } from "./output.ts";
import { decompressXz } from "./xz.ts";
import { decompressZstd } from "./zstd.ts";

export type Compression = "gzip" | "bzip2" | "lzma" | "xz" | "lzo" | "lz4" | "zstd";

interface Format {
	readonly name: Compression;
	readonly magic: readonly [number, number];
	readonly decompress: (input: Uint8Array, output: Output) => void;
	/** Linux's build appends the unpacked size (u32) to it; gzip has it of its own. */
	readonly sizeAppended: boolean;
}

const FORMATS: readonly Format[] = [
	{ name: "gzip", magic: [0x1f, 0x8b], decompress: decompressGzip, sizeAppended: false },
	{ name: "gzip", magic: [0x1f, 0x9e], decompress: decompressGzip, sizeAppended: false },
	{ name: "bzip2", magic: [0x42, 0x5a], decompress: decompressBzip2, sizeAppended: true },
	{ name: "lzma", magic: [0x5d, 0x00], decompress: decompressLzma, sizeAppended: true },
	{ name: "xz", magic: [0xfd, 0x37], decompress: decompressXz, sizeAppended: true },
	{ name: "lzo", magic: [0x89, 0x4c], decompress: decompressLzo, sizeAppended: true },
	{ name: "lz4", magic: [0x02, 0x21], decompress: decompressLz4, sizeAppended: true },
	{ name: "zstd", magic: [0x28, 0xb5], decompress: decompressZstd, sizeAppended: true },
];

/** The most that a kernel may unpack to. Debian's are 60 to 80 MiB; one with everything built in stays below 200. */
export const MAX_UNPACKED_SIZE = 512 * 1024 * 1024;

function formatOf(data: Uint8Array): Format | undefined {
	return FORMATS.find(({ magic }) => data[0] === magic[0] && data[1] === magic[1]);
}

/** The compression of some bytes by their magic, or undefined. */
export function compressionOf(data: Uint8Array): Compression | undefined {
	return formatOf(data)?.name;
}

const REMEDIES = {
	truncated: ["truncated", "The file is incomplete: fetch or copy it again"],
	corrupt: ["corrupt-payload", "The file is damaged: fetch or copy it again, and compare its checksum"],
	unsupported: [
		"unsupported-payload",
		"Fetch or copy the file again, or build it with one of the compressions that Linux's Kconfig offers",
	],
	"too-large": ["too-large", "This is no kernel that can boot here: use a distribution's vmlinuz"],
} as const;

/**
 * Undoes a compression that {@link compressionOf} knows.
 * @param options.sizeAppended the bytes are a bzImage's payload, not a file as a compressor writes it
 * Throws an ImageError that names `file`.
 */
export function decompress(
	data: Uint8Array,
	file: string,
	options: { sizeAppended?: boolean; limit?: number } = {},
): Uint8Array {
	const { sizeAppended = false, limit = MAX_UNPACKED_SIZE } = options;
	const format = formatOf(data);
	if (format === undefined) {
		throw new ImageError(
			"unsupported-payload",
			file,
			"its payload has no compression that Linux knows",
			REMEDIES.unsupported[1],
		);
	}
	let input = data;
	let hint = 0;
	let promised: number | undefined;
	if (sizeAppended && format.sizeAppended && data.length > 4) {
		const at = data.length - 4;
		promised = new DataView(data.buffer, data.byteOffset + at, 4).getUint32(0, true);
		// Believed as a first allocation only as far as kernels really compress.
		hint = Math.min(promised, data.length * 16);
		input = data.subarray(0, at);
	}
	try {
		const output = new Output(limit, hint);
		format.decompress(input, output);
		if (promised !== undefined && promised !== output.length) {
			throw new PayloadError("corrupt", `it unpacks to ${output.length} bytes where ${promised} were announced`);
		}
		return output.result();
	} catch (error) {
		if (!(error instanceof PayloadError)) throw error;
		const [code, remedy] = REMEDIES[error.kind];
		throw new ImageError(code, file, `its ${format.name} payload cannot be unpacked: ${error.message}`, remedy);
	}
}
