/**
 * The xz container as Linux builds it: LZMA2, on x86 behind the branch filter, with CRC-32 or no check. It is decoded here and not by
 * a library because the library is asynchronous, and because the LZMA decoder is needed for lzma-alone in any case.
 * Format: "The .xz File Format" 1.0.4 and 1.1.0.
 */

import { PayloadError } from "../errors.ts";
import { undoBranchFilter } from "./bcj-x86.ts";
import { crc32 } from "./checksum.ts";
import { LzmaDecoder } from "./lzma.ts";
import type { Output } from "./output.ts";

const STREAM_HEADER_SIZE = 12;
const CHECK_NONE = 0;
const CHECK_CRC32 = 1;
/** Bytes of the check by its type; the ones in a row of three share a size. */
const CHECK_SIZE = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;

const truncated = () => new PayloadError("truncated", "the xz data ends early");
const corrupt = (what: string) => new PayloadError("corrupt", `the xz data is corrupt: ${what}`);

function u32(data: Uint8Array, at: number): number {
	return (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)) >>> 0;
}

/** The variable-length integers of block headers. */
class HeaderReader {
	constructor(
		private readonly data: Uint8Array,
		public at: number,
		private readonly end: number,
	) {}

	integer(): number {
		let value = 0;
		for (let shift = 0; shift < 63; shift += 7) {
			if (this.at >= this.end) throw corrupt("block header");
			const byte = this.data[this.at++]!;
			value += (byte & 0x7f) * 2 ** shift;
			if ((byte & 0x80) === 0) return value;
		}
		throw corrupt("block header");
	}
}

interface Block {
	/** Where its compressed data begins. */
	readonly data: number;
	readonly branchFilter: boolean;
}

function readBlockHeader(input: Uint8Array, at: number): Block {
	const size = (input[at]! + 1) * 4;
	if (at + size > input.length) throw truncated();
	const crcAt = at + size - 4;
	if (crc32(input, at, crcAt) !== u32(input, crcAt)) throw corrupt("checksum of a block header");
	const flags = input[at + 1]!;
	if (flags & 0x3c) throw new PayloadError("unsupported", "xz block flags from the future");
	const reader = new HeaderReader(input, at + 2, crcAt);
	if (flags & 0x40) reader.integer();
	if (flags & 0x80) reader.integer();
	const filters: number[] = [];
	for (let count = (flags & 3) + 1; count > 0; count--) {
		const filter = reader.integer();
		const properties = reader.integer();
		if (filter === FILTER_X86 && properties !== 0) {
			throw new PayloadError("unsupported", "an xz branch filter with a start offset");
		}
		reader.at += properties;
		filters.push(filter);
	}
	const branchFilter = filters.length === 2 && filters[0] === FILTER_X86;
	if (filters[filters.length - 1] !== FILTER_LZMA2 || (filters.length > 1 && !branchFilter)) {
		throw new PayloadError("unsupported", `xz filters ${filters.join(", ")}; Linux's decoder knows x86 and LZMA2`);
	}
	return { data: at + size, branchFilter };
}

/** Decodes LZMA2 chunks from `at`; returns where they end. */
function decodeLzma2(input: Uint8Array, at: number, output: Output): number {
	const decoder = new LzmaDecoder(input, output);
	let hasDictionary = false;
	let hasProperties = false;
	let hasState = false;
	for (;;) {
		if (at + 3 > input.length && input[at] !== 0) throw truncated();
		const control = input[at]!;
		if (control === 0) return at + 1;
		if (control === 1 || control >= 0xe0) {
			decoder.resetDictionary();
			hasDictionary = true;
		}
		if (!hasDictionary) throw corrupt("the first chunk does not reset the dictionary");
		if (control < 0x80) {
			if (control > 2) throw corrupt("chunk type");
			const size = ((input[at + 1]! << 8) | input[at + 2]!) + 1;
			if (at + 3 + size > input.length) throw truncated();
			output.append(input.subarray(at + 3, at + 3 + size));
			at += 3 + size;
			continue;
		}
		if (at + 6 > input.length) throw truncated();
		const unpacked = (((control & 0x1f) << 16) | (input[at + 1]! << 8) | input[at + 2]!) + 1;
		const packed = ((input[at + 3]! << 8) | input[at + 4]!) + 1;
		at += 5;
		const reset = (control >> 5) & 3;
		if (reset >= 2) {
			decoder.setProperties(input[at++]!);
			hasProperties = true;
			hasState = true;
		} else if (reset === 1 && hasProperties) {
			decoder.resetState();
			hasState = true;
		}
		if (!hasProperties || !hasState) throw corrupt("a chunk without properties");
		const end = at + packed;
		if (end > input.length) throw truncated();
		decoder.position = at;
		decoder.startRangeCoder();
		if (decoder.run(output.length + unpacked, end)) throw corrupt("an end mark inside LZMA2");
		if (!decoder.rangeCoderFinished() || decoder.position !== end) throw corrupt("a chunk's size");
		at = end;
	}
}

/** Decompresses an xz stream. Throws a PayloadError; bytes after the stream's last block are not looked at. */
export function decompressXz(input: Uint8Array, output: Output): void {
	if (input.length < STREAM_HEADER_SIZE + 4) throw truncated();
	if (crc32(input, 6, 8) !== u32(input, 8)) throw corrupt("checksum of the stream header");
	const check = input[7]! & 0xf;
	if (input[6] !== 0 || input[7]! > 0xf || (check !== CHECK_NONE && check !== CHECK_CRC32)) {
		throw new PayloadError("unsupported", `xz check type ${check}; Linux's decoder knows CRC-32 and none`);
	}
	let at = STREAM_HEADER_SIZE;
	while (input[at] !== 0) {
		if (at >= input.length) throw truncated();
		const block = readBlockHeader(input, at);
		const start = output.length;
		const end = decodeLzma2(input, block.data, output);
		const padded = end + ((4 - ((end - block.data) & 3)) & 3);
		if (block.branchFilter) undoBranchFilter(output.bytes, start, output.length);
		if (check === CHECK_CRC32) {
			if (padded + 4 > input.length) throw truncated();
			if (crc32(output.bytes, start, output.length) !== u32(input, padded)) throw corrupt("checksum of the contents");
		}
		at = padded + CHECK_SIZE[check]!;
	}
}
