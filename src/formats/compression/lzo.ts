/**
 * LZO1X in the lzop container, as Linux's build makes it with `lzop -9`.
 * Container: lzop's own header layout; stream: the instruction table of Linux's Documentation/staging/lzo.rst (facts only).
 */

import { PayloadError } from "../errors.ts";
import { adler32, crc32 } from "./checksum.ts";
import type { Output } from "./output.ts";

const SIGNATURE = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
const FLAG_ADLER_UNPACKED = 0x1;
const FLAG_ADLER_PACKED = 0x2;
const FLAG_EXTRA = 0x40;
const FLAG_CRC_UNPACKED = 0x100;
const FLAG_CRC_PACKED = 0x200;
const FLAG_FILTER = 0x800;
const MAX_BLOCK = 64 * 1024 * 1024;

const truncated = () => new PayloadError("truncated", "the LZO data ends early");
const corrupt = (what: string) => new PayloadError("corrupt", `the LZO data is corrupt: ${what}`);

/** One LZO1X stream, input[at..end), onto the output, which must grow by exactly `unpacked` bytes. */
export function decompressLzo1x(input: Uint8Array, at: number, end: number, output: Output, unpacked: number): void {
	output.reserve(unpacked);
	const start = output.length;
	const stop = start + unpacked;

	const next = (): number => {
		if (at >= end) throw truncated();
		return input[at++]!;
	};
	const literals = (count: number): void => {
		if (at + count > end) throw truncated();
		if (output.length + count > stop) throw corrupt("literals run over the block");
		output.append(input.subarray(at, at + count));
		at += count;
	};
	const match = (distance: number, length: number): void => {
		if (distance > output.length - start || output.length + length > stop) throw corrupt("a match leaves its block");
		output.repeat(distance, length);
	};
	/** A count whose low bits are 0 in the instruction goes on in bytes: 255 for each 0. */
	const longCount = (base: number): number => {
		let count = base;
		for (;;) {
			const byte = next();
			if (byte !== 0) return count + byte;
			count += 255;
			if (count > unpacked + 255) throw corrupt("a count");
		}
	};

	/** Literals copied by the previous instruction: 0-3, or 4 for a longer run. It selects the meaning of 0000xxxx. */
	let state = 0;
	if (at < end && input[at]! > 17) {
		const count = next() - 17;
		literals(count);
		state = Math.min(count, 4);
	}
	for (;;) {
		const op = next();
		let trailing: number;
		if (op >= 64) {
			// 1LLDDDSS and 01LDDDSS: 3 to 8 bytes within 2 KiB.
			trailing = op & 3;
			const distance = next() * 8 + ((op >> 2) & 7) + 1;
			match(distance, (op >> 5) + 1);
		} else if (op >= 32) {
			// 001LLLLL: within 16 KiB.
			const length = (op & 31 || longCount(31)) + 2;
			const low = next();
			trailing = low & 3;
			match((next() << 6) + (low >> 2) + 1, length);
		} else if (op >= 16) {
			// 0001HLLL: from 16 to 48 KiB; distance 16 KiB exactly ends the stream.
			const length = (op & 7 || longCount(7)) + 2;
			const low = next();
			trailing = low & 3;
			const distance = ((op & 8) << 11) + (next() << 6) + (low >> 2);
			if (distance === 0) {
				if (output.length !== stop || at !== end) throw corrupt("a block's size");
				return;
			}
			match(distance + 0x4000, length);
		} else if (state === 0) {
			literals((op & 15 || longCount(15)) + 3);
			state = 4;
			continue;
		} else {
			// 0000DDSS: 2 bytes within 1 KiB after a few literals, 3 bytes from 2 to 3 KiB after many.
			trailing = op & 3;
			const distance = next() * 4 + (op >> 2) + 1;
			if (state === 4) match(distance + 0x800, 3);
			else match(distance, 2);
		}
		state = trailing;
		literals(trailing);
	}
}

/** Decompresses an lzop file. Throws a PayloadError. */
export function decompressLzo(input: Uint8Array, output: Output): void {
	const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
	let at = 0;
	const take = (count: number): number => {
		const here = at;
		if (here + count > input.length) throw truncated();
		at += count;
		return here;
	};
	const word = (): number => view.getUint32(take(4));

	if (SIGNATURE.some((byte, i) => input[i] !== byte)) throw corrupt("signature");
	take(SIGNATURE.length);
	const version = view.getUint16(take(2));
	take(2);
	if (version >= 0x940) take(2);
	take(version >= 0x940 ? 2 : 1);
	const flags = word();
	if (flags & FLAG_FILTER) take(4);
	take(8);
	if (version >= 0x940) take(4);
	take(view.getUint8(take(1)));
	take(4);
	if (flags & FLAG_EXTRA) {
		take(word());
		take(4);
	}
	for (;;) {
		const unpacked = word();
		if (unpacked === 0) return;
		const packed = word();
		if (unpacked > MAX_BLOCK || packed > unpacked) throw corrupt("a block's size");
		const adler = flags & FLAG_ADLER_UNPACKED ? word() : undefined;
		const crc = flags & FLAG_CRC_UNPACKED ? word() : undefined;
		if (packed < unpacked) {
			if (flags & FLAG_ADLER_PACKED) take(4);
			if (flags & FLAG_CRC_PACKED) take(4);
		}
		const block = take(packed);
		const start = output.length;
		if (packed === unpacked) output.append(input.subarray(block, block + packed));
		else decompressLzo1x(input, block, block + packed, output, unpacked);
		const matches =
			(adler === undefined || adler === adler32(output.bytes, start, output.length)) &&
			(crc === undefined || crc === crc32(output.bytes, start, output.length));
		if (!matches) throw corrupt("checksum of a block");
	}
}
