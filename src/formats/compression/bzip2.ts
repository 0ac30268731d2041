/**
 * bzip2: Huffman codes over move-to-front ranks of a Burrows-Wheeler transform. Format: the one that Julian Seward's bzip2 1.0 writes
 * (there is no standard); the checks are those of its decoder.
 */
import { PayloadError } from "../errors.ts";
import type { Output } from "./output.ts";

const BLOCK_UNIT = 100_000;
const BLOCK_MAGIC_HIGH = 0x314159;
const BLOCK_MAGIC_LOW = 0x265359;
const END_MAGIC_HIGH = 0x177245;
const END_MAGIC_LOW = 0x385090;
const GROUP_SIZE = 50;
const MAX_SELECTORS = 18_002;
const MAX_CODE_LENGTH = 20;
const RUN_A = 0;
const RUN_B = 1;

const truncated = () => new PayloadError("truncated", "the bzip2 data ends early");
const corrupt = (what: string) => new PayloadError("corrupt", `the bzip2 data is corrupt: ${what}`);

/** CRC-32 with the polynomial the other way round, most significant bit first. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, i) => {
	let c = i << 24;
	for (let bit = 0; bit < 8; bit++) c = c < 0 ? (c << 1) ^ 0x04c1_1db7 : c << 1;
	return c;
});

class BitReader {
	private position = 0;
	private buffer = 0;
	private available = 0;

	constructor(private readonly input: Uint8Array) {}

	/** Up to 24 bits, most significant first. */
	bits(count: number): number {
		while (this.available < count) {
			if (this.position >= this.input.length) throw truncated();
			this.buffer = (this.buffer << 8) | this.input[this.position++]!;
			this.available += 8;
		}
		this.available -= count;
		return (this.buffer >>> this.available) & ((1 << count) - 1);
	}

	u32(): number {
		return this.bits(16) * 65536 + this.bits(16);
	}
}

/** A canonical Huffman code: for each length, the codes below `limit` are of that length or shorter. */
interface Code {
	readonly minimum: number;
	readonly limit: Int32Array;
	readonly base: Int32Array;
	readonly symbols: Uint16Array;
}

function makeCode(lengths: Uint8Array): Code {
	const count = new Int32Array(MAX_CODE_LENGTH + 2);
	for (const length of lengths) count[length]!++;
	const symbols = new Uint16Array(lengths.length);
	let at = 0;
	for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
		for (let symbol = 0; symbol < lengths.length; symbol++) {
			if (lengths[symbol] === length) symbols[at++] = symbol;
		}
	}
	const limit = new Int32Array(MAX_CODE_LENGTH + 1);
	const base = new Int32Array(MAX_CODE_LENGTH + 1);
	let code = 0;
	let index = 0;
	let minimum = MAX_CODE_LENGTH;
	for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
		const here = count[length]!;
		if (here > 0 && length < minimum) minimum = length;
		base[length] = index - code;
		code += here;
		index += here;
		limit[length] = code;
		code <<= 1;
	}
	return { minimum, limit, base, symbols };
}

function decodeSymbol(reader: BitReader, code: Code): number {
	let length = code.minimum;
	let value = reader.bits(length);
	while (value >= code.limit[length]!) {
		if (++length > MAX_CODE_LENGTH) throw corrupt("a Huffman code");
		value = (value << 1) | reader.bits(1);
	}
	const symbol = code.symbols[value + code.base[length]!];
	if (symbol === undefined) throw corrupt("a Huffman code");
	return symbol;
}

/** The bytes that occur in the block, as a list. */
function readAlphabet(reader: BitReader): number[] {
	const alphabet: number[] = [];
	const rows = reader.bits(16);
	for (let row = 0; row < 16; row++) {
		if (!(rows & (0x8000 >> row))) continue;
		const columns = reader.bits(16);
		for (let column = 0; column < 16; column++) {
			if (columns & (0x8000 >> column)) alphabet.push(row * 16 + column);
		}
	}
	if (alphabet.length === 0) throw corrupt("an empty alphabet");
	return alphabet;
}

/** Which code each group of 50 symbols uses: move-to-front ranks in unary. */
function readSelectors(reader: BitReader, codes: number): Uint8Array {
	const count = reader.bits(15);
	if (count === 0) throw corrupt("no selectors");
	const order = Array.from({ length: codes }, (_, i) => i);
	const selectors = new Uint8Array(Math.min(count, MAX_SELECTORS));
	for (let i = 0; i < count; i++) {
		let rank = 0;
		while (reader.bits(1)) if (++rank >= codes) throw corrupt("a selector");
		const selected = order.splice(rank, 1)[0]!;
		order.unshift(selected);
		// Old compressors write more selectors than a block can use; the rest is read and dropped.
		if (i < selectors.length) selectors[i] = selected;
	}
	return selectors;
}

function readCode(reader: BitReader, symbols: number): Code {
	const lengths = new Uint8Array(symbols);
	let length = reader.bits(5);
	for (let symbol = 0; symbol < symbols; symbol++) {
		for (;;) {
			if (length < 1 || length > MAX_CODE_LENGTH) throw corrupt("a code length");
			if (reader.bits(1) === 0) break;
			length += reader.bits(1) ? -1 : 1;
		}
		lengths[symbol] = length;
	}
	return makeCode(lengths);
}

/** Decodes a block's symbols into `block` (bytes in transformed order); returns how many there are. */
function readRanks(reader: BitReader, block: Uint32Array): number {
	const front = readAlphabet(reader);
	const end = front.length + 1;
	const codeCount = reader.bits(3);
	if (codeCount < 2 || codeCount > 6) throw corrupt("the number of codes");
	const selectors = readSelectors(reader, codeCount);
	const codes = Array.from({ length: codeCount }, () => readCode(reader, end + 1));
	let length = 0;
	let run = 0;
	let runBit = 1;
	for (let group = 0; group < selectors.length; group++) {
		const code = codes[selectors[group]!]!;
		for (let i = 0; i < GROUP_SIZE; i++) {
			const symbol = decodeSymbol(reader, code);
			if (symbol === RUN_A || symbol === RUN_B) {
				run += runBit << symbol;
				runBit <<= 1;
				if (run > block.length) throw corrupt("a run is longer than its block");
				continue;
			}
			if (run > 0) {
				if (length + run > block.length) throw corrupt("a block is too long");
				block.fill(front[0]!, length, length + run);
				length += run;
				run = 0;
				runBit = 1;
			}
			if (symbol === end) return length;
			const byte = front[symbol - 1]!;
			for (let rank = symbol - 1; rank > 0; rank--) front[rank] = front[rank - 1]!;
			front[0] = byte;
			if (length >= block.length) throw corrupt("a block is too long");
			block[length++] = byte;
		}
	}
	throw corrupt("a block has no end");
}

/** Undoes the transform and the run-length coding below it; returns the block's CRC. */
function writeBlock(block: Uint32Array, length: number, origin: number, output: Output): number {
	// The upper 24 bits of entry i become the index that follows the i-th byte in sorted order.
	const next = new Int32Array(256);
	for (let i = 0; i < length; i++) next[block[i]! & 0xff]!++;
	let sum = 0;
	for (let byte = 0; byte < 256; byte++) {
		const count = next[byte]!;
		next[byte] = sum;
		sum += count;
	}
	for (let i = 0; i < length; i++) {
		const slot = next[block[i]! & 0xff]!++;
		block[slot] = (block[slot]! & 0xff) | (i << 8);
	}
	let crc = -1;
	let at = block[origin]! >>> 8;
	let repeats = 0;
	let previous = -1;
	for (let i = 0; i < length; i++) {
		const entry = block[at]!;
		const byte = entry & 0xff;
		at = entry >>> 8;
		let count = 1;
		if (repeats === 4) {
			// After four equal bytes, how often the byte follows once more.
			count = byte;
			repeats = 0;
		} else {
			repeats = byte === previous ? repeats + 1 : 1;
			previous = byte;
		}
		output.reserve(count);
		for (let n = 0; n < count; n++) {
			output.bytes[output.length++] = previous;
			crc = (crc << 8) ^ CRC_TABLE[((crc >>> 24) ^ previous) & 0xff]!;
		}
	}
	return ~crc >>> 0;
}

/** Decompresses a bzip2 stream. Throws a PayloadError. */
export function decompressBzip2(input: Uint8Array, output: Output): void {
	const reader = new BitReader(input);
	const level = (input[3] ?? 0) - 0x30;
	if (reader.bits(16) !== 0x425a || reader.bits(8) !== 0x68 || level < 1 || level > 9) throw corrupt("header");
	reader.bits(8);
	const block = new Uint32Array(level * BLOCK_UNIT);
	let combined = 0;
	for (;;) {
		const high = reader.bits(24);
		const low = reader.bits(24);
		if (high === END_MAGIC_HIGH && low === END_MAGIC_LOW) {
			if (reader.u32() !== combined) throw corrupt("checksum of the contents");
			return;
		}
		if (high !== BLOCK_MAGIC_HIGH || low !== BLOCK_MAGIC_LOW) throw corrupt("a block's signature");
		const checksum = reader.u32();
		if (reader.bits(1)) throw new PayloadError("unsupported", "randomised bzip2 blocks, which nothing writes any more");
		const origin = reader.bits(24);
		const length = readRanks(reader, block);
		if (origin >= length) throw corrupt("a block's origin");
		if (writeBlock(block, length, origin, output) !== checksum) throw corrupt("checksum of a block");
		combined = (((combined << 1) | (combined >>> 31)) ^ checksum) >>> 0;
	}
}
