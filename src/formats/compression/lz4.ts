/**
 * LZ4 in the legacy frame that Linux uses (magic 184C2102): independent blocks of at most 8 MiB, each after its packed size.
 * Format: "LZ4 Frame Format Description", legacy frame, and "LZ4 Block Format Description".
 */
import { PayloadError } from "../errors.ts";
import type { Output } from "./output.ts";

const MAGIC = 0x184c_2102;
const BLOCK_SIZE = 8 * 1024 * 1024;
const MINIMUM_MATCH = 4;

const truncated = () => new PayloadError("truncated", "the LZ4 data ends early");

/** One block, input[at..end), onto the output. */
function decompressBlock(input: Uint8Array, at: number, end: number, output: Output): void {
	const start = output.length;
	const blockEnd = start + BLOCK_SIZE;
	while (at < end) {
		const token = input[at++]!;
		let literals = token >> 4;
		if (literals === 15) {
			let more: number;
			do {
				if (at >= end) throw truncated();
				more = input[at++]!;
				literals += more;
			} while (more === 255);
		}
		if (at + literals > end) throw truncated();
		if (output.length + literals > blockEnd) throw new PayloadError("corrupt", "an LZ4 block is too long");
		output.append(input.subarray(at, at + literals));
		at += literals;
		// The last sequence of a block is literals alone.
		if (at === end) return;
		if (at + 2 > end) throw truncated();
		const distance = input[at]! | (input[at + 1]! << 8);
		at += 2;
		let length = token & 15;
		if (length === 15) {
			let more: number;
			do {
				if (at >= end) throw truncated();
				more = input[at++]!;
				length += more;
			} while (more === 255);
		}
		length += MINIMUM_MATCH;
		if (distance > output.length - start || output.length + length > blockEnd) {
			throw new PayloadError("corrupt", "an LZ4 match leaves its block");
		}
		output.reserve(length);
		output.repeat(distance, length);
	}
}

/** Decompresses legacy LZ4 frames. Throws a PayloadError. */
export function decompressLz4(input: Uint8Array, output: Output): void {
	const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
	if (input.length < 4 || view.getUint32(0, true) !== MAGIC)
		throw new PayloadError("corrupt", "not a legacy LZ4 frame");
	let at = 4;
	while (at < input.length) {
		if (at + 4 > input.length) throw truncated();
		const size = view.getUint32(at, true);
		at += 4;
		// Another frame may follow: frames can be concatenated.
		if (size === MAGIC) continue;
		if (size === 0 || size > BLOCK_SIZE + BLOCK_SIZE / 255 + 16) throw new PayloadError("corrupt", "LZ4 block size");
		if (at + size > input.length) throw truncated();
		decompressBlock(input, at, at + size, output);
		at += size;
	}
}
