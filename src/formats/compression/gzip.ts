/**
 * The gzip container (RFC 1952) around fflate's inflate: fflate neither checks the CRC nor bounds what it allocates.
 */
import { inflateSync } from "fflate";
import { PayloadError } from "../errors.ts";
import { crc32 } from "./checksum.ts";
import type { Output } from "./output.ts";

const FLAG_HEADER_CRC = 2;
const FLAG_EXTRA = 4;
const FLAG_NAME = 8;
const FLAG_COMMENT = 16;
const TRAILER_SIZE = 8;

const truncated = () => new PayloadError("truncated", "the gzip data ends early");

/** Offset of the deflate data. */
function headerSize(input: Uint8Array): number {
	if (input.length < 10 + TRAILER_SIZE) throw truncated();
	const flags = input[3]!;
	if (input[2] !== 8 || flags > 31) throw new PayloadError("corrupt", "the gzip header is not one of RFC 1952");
	let at = 10;
	if (flags & FLAG_EXTRA) at += 2 + (input[at]! | (input[at + 1]! << 8));
	for (const flag of [FLAG_NAME, FLAG_COMMENT]) {
		if (!(flags & flag)) continue;
		const end = input.indexOf(0, at);
		if (end < 0) throw truncated();
		at = end + 1;
	}
	if (flags & FLAG_HEADER_CRC) at += 2;
	if (at > input.length - TRAILER_SIZE) throw truncated();
	return at;
}

/** Decompresses one gzip member that fills `input`. Throws a PayloadError. */
export function decompressGzip(input: Uint8Array, output: Output): void {
	const start = headerSize(input);
	const trailer = new DataView(input.buffer, input.byteOffset + input.length - TRAILER_SIZE, TRAILER_SIZE);
	const checksum = trailer.getUint32(0, true);
	const size = trailer.getUint32(4, true);
	// Deflate packs at most 1032:1, so a trailer that promises more is wrong and nothing need be allocated for it.
	if (size > (input.length + 1) * 1032) throw new PayloadError("corrupt", "the gzip trailer's size is impossible");
	output.reserve(size);
	const room = output.bytes.subarray(output.length, output.length + size);
	let unpacked: Uint8Array;
	try {
		unpacked = inflateSync(input.subarray(start, input.length - TRAILER_SIZE), { out: room });
	} catch (cause) {
		throw new PayloadError("corrupt", `the gzip data is corrupt: ${cause instanceof Error ? cause.message : cause}`);
	}
	if (unpacked.length !== size || crc32(unpacked) !== checksum) {
		throw new PayloadError("corrupt", "the gzip data does not match its checksum");
	}
	output.length += size;
}
