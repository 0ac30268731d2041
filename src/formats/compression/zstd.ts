/**
 * Zstandard frames (RFC 8878). Written here because the libraries either copy their window for each block, which takes ten seconds for a
 * kernel made with `zstd -22 --ultra`, or are asynchronous; and because none bounds its output or checks the frame's checksum.
 */
import { PayloadError } from "../errors.ts";
import type { Output } from "./output.ts";
import { xxh64 } from "./xxh64.ts";
import {
	buildFseTable,
	corrupt,
	type FseTable,
	type HuffmanTable,
	PADDING,
	readFseTable,
	readHuffmanTable,
	singleSymbolTable,
	streamTop,
} from "./zstd-entropy.ts";

const MAGIC = 0xfd2f_b528;
const SKIPPABLE_MAGIC = 0x184d_2a50;
const BLOCK_SIZE = 128 * 1024;

const truncated = () => new PayloadError("truncated", "the zstd data ends early");

/** Section 3.1.1.3.2.1: what a code of a length stands for: the baseline, and the extra bits to add. */
interface LengthCodes {
	readonly base: Int32Array;
	readonly bits: Uint8Array;
}

/** Codes below `direct` stand for themselves plus `first`; then the extra bits of the rest, each starting where the last ended. */
function lengthCodes(first: number, direct: number, bits: readonly number[]): LengthCodes {
	const all = [...Array.from({ length: direct }, () => 0), ...bits];
	const base = new Int32Array(all.length);
	let at = first;
	all.forEach((count, code) => {
		base[code] = at;
		at += 2 ** count;
	});
	return { base, bits: Uint8Array.from(all) };
}

const LITERAL_LENGTHS = lengthCodes(0, 16, [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const MATCH_LENGTHS = lengthCodes(3, 32, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

/** Section 3.1.1.3.2.2: the tables of "predefined mode", in the order literal lengths, offsets, match lengths. */
const DEFAULT_TABLES: readonly FseTable[] = [
	buildFseTable(
		6,
		[4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1],
	),
	buildFseTable(5, [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1]),
	buildFseTable(
		6,
		[
			1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
			1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
		],
	),
];
const MAXIMUM_LOGS = [9, 8, 9];
const MAXIMUM_SYMBOLS = [35, 31, 52];

/** `count` bits (at most 25) of a little-endian bit string, from bit `position` up. */
function bitsAt(data: Uint8Array, position: number, count: number): number {
	const byte = position >> 3;
	const word = data[byte]! | (data[byte + 1]! << 8) | (data[byte + 2]! << 16) | (data[byte + 3]! << 24);
	return (word >>> (position & 7)) & ((1 << count) - 1);
}

/** What lives from block to block of a frame. */
class FrameDecoder {
	/** The current block's bytes between zero padding. */
	private readonly data = new Uint8Array(PADDING + BLOCK_SIZE + PADDING);
	private readonly literals = new Uint8Array(BLOCK_SIZE);
	private literalCount = 0;
	private huffman: HuffmanTable | undefined;
	private readonly tables: (FseTable | undefined)[] = [undefined, undefined, undefined];
	private readonly offsets = Int32Array.of(1, 4, 8);
	private readonly frameStart: number;

	constructor(private readonly output: Output) {
		this.frameStart = output.length;
	}

	/** A compressed block. */
	block(block: Uint8Array): void {
		const { data } = this;
		data.set(block, PADDING);
		data.fill(0, PADDING + block.length, PADDING + block.length + PADDING);
		const end = PADDING + block.length;
		const sequencesAt = this.readLiterals(PADDING, end);
		this.readSequences(sequencesAt, end);
	}

	/** Section 3.1.1.3.1; returns where the section ends. */
	private readLiterals(at: number, end: number): number {
		const { data } = this;
		if (at >= end) throw corrupt("an empty block");
		const type = data[at]! & 3;
		const format = (data[at]! >> 2) & 3;
		if (type < 2) {
			const headerSize = format === 1 ? 2 : format === 3 ? 3 : 1;
			const header = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16);
			const size = headerSize === 1 ? (header & 0xff) >> 3 : (headerSize === 2 ? header & 0xffff : header) >> 4;
			const stored = type === 0 ? size : 1;
			if (size > BLOCK_SIZE || at + headerSize + stored > end) throw corrupt("literals");
			if (type === 0) this.literals.set(data.subarray(at + headerSize, at + headerSize + size));
			else this.literals.fill(data[at + headerSize]!, 0, size);
			this.literalCount = size;
			return at + headerSize + stored;
		}
		const sizeBits = format < 2 ? 10 : format === 2 ? 14 : 18;
		const headerSize = format < 2 ? 3 : format + 2;
		const low = (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)) >>> 0;
		const header = low + data[at + 4]! * 2 ** 32;
		const size = Math.floor(header / 16) % 2 ** sizeBits;
		const stored = Math.floor(header / 2 ** (4 + sizeBits)) % 2 ** sizeBits;
		let start = at + headerSize;
		const literalsEnd = start + stored;
		if (size > BLOCK_SIZE || literalsEnd > end) throw corrupt("literals");
		if (type === 2) {
			const { table, end: tableEnd } = readHuffmanTable(data, start, literalsEnd);
			this.huffman = table;
			start = tableEnd;
		}
		if (format === 0) {
			this.readHuffman(start, literalsEnd, 0, size);
		} else {
			const first = start + 6;
			if (first > literalsEnd) throw corrupt("literals");
			const quarter = (size + 3) >> 2;
			const ends = [0, 2, 4].map((i) => data[start + i]! | (data[start + i + 1]! << 8));
			let from = first;
			for (let stream = 0; stream < 4; stream++) {
				const to = stream < 3 ? from + ends[stream]! : literalsEnd;
				const begin = Math.min(stream * quarter, size);
				if (to > literalsEnd) throw corrupt("literals");
				this.readHuffman(from, to, begin, stream < 3 ? Math.min(begin + quarter, size) : size);
				from = to;
			}
		}
		this.literalCount = size;
		return literalsEnd;
	}

	/** One Huffman stream, data[start..end), into literals[to..toEnd). */
	private readHuffman(start: number, end: number, to: number, toEnd: number): void {
		const { data, literals, huffman } = this;
		if (huffman === undefined) throw corrupt("literals without a Huffman tree");
		const { bits, entries } = huffman;
		const mask = (1 << bits) - 1;
		let position = streamTop(data, start, end) - bits;
		const bottom = start * 8 - bits;
		while (to < toEnd && position >= bottom) {
			const byte = position >> 3;
			const window = data[byte]! | (data[byte + 1]! << 8) | (data[byte + 2]! << 16);
			const entry = entries[(window >> (position & 7)) & mask]!;
			literals[to++] = entry >> 8;
			position -= entry & 0xff;
		}
		if (to !== toEnd || position !== bottom) throw corrupt("a Huffman stream");
	}

	/** Section 3.1.1.3.2: the sequences, each a run of literals and a match. */
	private readSequences(at: number, end: number): void {
		const { data } = this;
		if (at >= end) throw corrupt("sequences");
		let count = data[at++]!;
		if (count === 255) {
			count = data[at]! + (data[at + 1]! << 8) + 0x7f00;
			at += 2;
		} else if (count >= 128) {
			count = ((count - 128) << 8) + data[at++]!;
		}
		if (count === 0) {
			if (at !== end) throw corrupt("sequences");
			this.output.append(this.literals.subarray(0, this.literalCount));
			return;
		}
		const modes = data[at++]!;
		for (let i = 0; i < 3; i++) at = this.readTable(i, (modes >> (6 - i * 2)) & 3, at, end);
		if (at >= end) throw corrupt("sequences");
		this.execute(count, at, end);
	}

	private readTable(which: number, mode: number, at: number, end: number): number {
		switch (mode) {
			case 0:
				this.tables[which] = DEFAULT_TABLES[which];
				return at;
			case 1:
				if (at >= end || this.data[at]! > MAXIMUM_SYMBOLS[which]!) throw corrupt("sequences");
				this.tables[which] = singleSymbolTable(this.data[at]!);
				return at + 1;
			case 2: {
				const read = readFseTable(this.data, at, end, MAXIMUM_LOGS[which]!, MAXIMUM_SYMBOLS[which]!);
				this.tables[which] = read.table;
				return read.end;
			}
			default:
				if (this.tables[which] === undefined) throw corrupt("a table is repeated that was not there");
				return at;
		}
	}

	/** The hot loop. Every read is of at most 25 bits, of a word that is put together from four bytes. */
	private execute(count: number, start: number, end: number): void {
		const { data, literals, output, offsets, literalCount } = this;
		const [literalTable, offsetTable, matchTable] = this.tables as [FseTable, FseTable, FseTable];
		const literalStates = literalTable.states;
		const offsetStates = offsetTable.states;
		const matchStates = matchTable.states;
		const literalBase = LITERAL_LENGTHS.base;
		const literalBits = LITERAL_LENGTHS.bits;
		const matchBase = MATCH_LENGTHS.base;
		const matchBits = MATCH_LENGTHS.bits;
		let position = streamTop(data, start, end);
		const bottom = start * 8;

		position -= literalTable.log;
		let literalState = bitsAt(data, position, literalTable.log);
		position -= offsetTable.log;
		let offsetState = bitsAt(data, position, offsetTable.log);
		position -= matchTable.log;
		let matchState = bitsAt(data, position, matchTable.log);
		let literalAt = 0;
		let bytes = output.bytes;
		let to = output.length;
		const blockEnd = to + BLOCK_SIZE;
		for (let remaining = count; remaining > 0; remaining--) {
			const literalEntry = literalStates[literalState]!;
			const offsetEntry = offsetStates[offsetState]!;
			const matchEntry = matchStates[matchState]!;
			const literalCode = literalEntry >>> 24;
			const offsetCode = offsetEntry >>> 24;
			const matchCode = matchEntry >>> 24;
			// Offsets come first and may need 31 bits.
			let value: number;
			if (offsetCode > 24) {
				position -= offsetCode;
				value = bitsAt(data, position + 16, offsetCode - 16) * 65536 + bitsAt(data, position, 16) + 2 ** offsetCode;
			} else {
				position -= offsetCode;
				value = bitsAt(data, position, offsetCode) + (1 << offsetCode);
			}
			let length = matchBase[matchCode]!;
			if (matchCode >= 32) {
				position -= matchBits[matchCode]!;
				length += bitsAt(data, position, matchBits[matchCode]!);
			}
			let run = literalBase[literalCode]!;
			if (literalCode >= 16) {
				position -= literalBits[literalCode]!;
				run += bitsAt(data, position, literalBits[literalCode]!);
			}
			if (remaining > 1) {
				let bits = (literalEntry >> 16) & 0xff;
				position -= bits;
				literalState = (literalEntry & 0xffff) + bitsAt(data, position, bits);
				bits = (matchEntry >> 16) & 0xff;
				position -= bits;
				matchState = (matchEntry & 0xffff) + bitsAt(data, position, bits);
				bits = (offsetEntry >> 16) & 0xff;
				position -= bits;
				offsetState = (offsetEntry & 0xffff) + bitsAt(data, position, bits);
			}
			if (position < bottom) throw corrupt("the sequences' bit stream");

			// Section 3.1.1.5: values 1 to 3 repeat one of the three latest offsets.
			let offset: number;
			if (value > 3) {
				offset = value - 3;
				offsets[2] = offsets[1]!;
				offsets[1] = offsets[0]!;
				offsets[0] = offset;
			} else {
				const index = run === 0 ? value : value - 1;
				offset = index === 3 ? offsets[0]! - 1 : offsets[index]!;
				if (index > 1) offsets[2] = offsets[1]!;
				if (index > 0) {
					offsets[1] = offsets[0]!;
					offsets[0] = offset;
				}
			}

			if (literalAt + run > literalCount || to + run + length > blockEnd) throw corrupt("a sequence is too long");
			if (to + run + length > bytes.length) {
				output.length = to;
				output.reserve(run + length);
				bytes = output.bytes;
			}
			for (const runEnd = to + run; to < runEnd; ) bytes[to++] = literals[literalAt++]!;
			if (offset <= 0 || offset > to - this.frameStart) throw corrupt("a match reaches back before its frame");
			if (length > 64 && offset >= length) {
				bytes.copyWithin(to, to - offset, to - offset + length);
				to += length;
			} else {
				let from = to - offset;
				for (const matchEnd = to + length; to < matchEnd; ) bytes[to++] = bytes[from++]!;
			}
		}
		if (position !== bottom) throw corrupt("the sequences' bit stream");
		output.length = to;
		if (to + literalCount - literalAt > blockEnd) throw corrupt("a block is too long");
		output.append(literals.subarray(literalAt, literalCount));
	}
}

/** One frame after its magic; returns where it ends. */
function decompressFrame(input: Uint8Array, at: number, output: Output): number {
	const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
	if (at >= input.length) throw truncated();
	const descriptor = input[at++]!;
	const singleSegment = (descriptor & 0x20) !== 0;
	if (descriptor & 0x08) throw corrupt("the frame header");
	const hasChecksum = (descriptor & 4) !== 0;
	const sizeFlag = descriptor >> 6;
	const sizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag;
	const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
	if (at + (singleSegment ? 0 : 1) + dictionaryBytes + sizeBytes > input.length) throw truncated();
	if (!singleSegment) at++;
	for (let i = 0; i < dictionaryBytes; i++) {
		if (input[at + i] !== 0) throw new PayloadError("unsupported", "the zstd data needs a dictionary");
	}
	at += dictionaryBytes;
	let size: number | undefined;
	if (sizeBytes === 1) size = view.getUint8(at);
	else if (sizeBytes === 2) size = view.getUint16(at, true) + 256;
	else if (sizeBytes === 4) size = view.getUint32(at, true);
	else if (sizeBytes === 8) size = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
	at += sizeBytes;

	const start = output.length;
	const decoder = new FrameDecoder(output);
	let last = false;
	while (!last) {
		if (at + 3 > input.length) throw truncated();
		const header = input[at]! | (input[at + 1]! << 8) | (input[at + 2]! << 16);
		at += 3;
		last = (header & 1) !== 0;
		const type = (header >> 1) & 3;
		const blockSize = header >> 3;
		if (blockSize > BLOCK_SIZE || type === 3) throw corrupt("a block header");
		const stored = type === 1 ? 1 : blockSize;
		if (at + stored > input.length) throw truncated();
		if (type === 0) {
			output.append(input.subarray(at, at + stored));
		} else if (type === 1) {
			output.reserve(blockSize);
			output.bytes.fill(input[at]!, output.length, output.length + blockSize);
			output.length += blockSize;
		} else {
			decoder.block(input.subarray(at, at + stored));
		}
		at += stored;
	}
	if (size !== undefined && output.length - start !== size) throw corrupt("the frame's size");
	if (hasChecksum) {
		if (at + 4 > input.length) throw truncated();
		const hash = Number(BigInt.asUintN(32, xxh64(output.bytes.subarray(start, output.length))));
		if (hash !== view.getUint32(at, true)) throw corrupt("checksum of the contents");
		at += 4;
	}
	return at;
}

/** Decompresses zstd frames. Throws a PayloadError. */
export function decompressZstd(input: Uint8Array, output: Output): void {
	const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
	let at = 0;
	do {
		if (at + 8 > input.length) throw truncated();
		const magic = view.getUint32(at, true);
		if (magic === MAGIC) {
			at = decompressFrame(input, at + 4, output);
		} else if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
			at += 8 + view.getUint32(at + 4, true);
			if (at > input.length) throw truncated();
		} else {
			throw corrupt("a frame's signature");
		}
	} while (at < input.length);
}

/** Decompresses the one frame that the input begins with; what follows it does not matter. Throws a PayloadError. */
export function decompressZstdFrame(input: Uint8Array, output: Output): void {
	if (input.length < 8) throw truncated();
	const magic = new DataView(input.buffer, input.byteOffset, input.byteLength).getUint32(0, true);
	if (magic !== MAGIC) throw corrupt("a frame's signature");
	decompressFrame(input, 4, output);
}
