/**
 * The two entropy codes of Zstandard: FSE (finite state entropy) tables and Huffman trees whose weights may be FSE-coded.
 * RFC 8878, sections 4.1 and 4.2.
 */
import { PayloadError } from "../errors.ts";

export const corrupt = (what: string) => new PayloadError("corrupt", `the zstd data is corrupt: ${what}`);

/**
 * Zero bytes around a block's data in its buffer: bit readers look at whole words, and a damaged stream reads a little before its
 * first byte until that is noticed.
 */
export const PADDING = 16;

/** A decoding table: for each state, the symbol, the bits to read and what to add to them for the next state. */
export interface FseTable {
	readonly log: number;
	/** symbol << 24 | bits << 16 | base. */
	readonly states: Int32Array;
}

export const MAX_WEIGHT_LOG = 6;
const MAX_HUFFMAN_BITS = 11;
const FORWARD_BITS_LIMIT = 24;

function floorLog2(value: number): number {
	return 31 - Math.clz32(value);
}

/** A table that always yields one symbol (RLE mode). */
export function singleSymbolTable(symbol: number): FseTable {
	return { log: 0, states: Int32Array.of(symbol << 24) };
}

/** Section 4.1.1: probabilities of symbols; -1 is "less than one". */
export function buildFseTable(log: number, probabilities: readonly number[]): FseTable {
	const size = 1 << log;
	const symbols = new Uint8Array(size);
	const next = new Uint16Array(probabilities.length);
	let high = size;
	probabilities.forEach((probability, symbol) => {
		if (probability === -1) {
			symbols[--high] = symbol;
			next[symbol] = 1;
		} else {
			next[symbol] = probability;
		}
	});
	const step = (size >> 1) + (size >> 3) + 3;
	let position = 0;
	probabilities.forEach((probability, symbol) => {
		for (let i = 0; i < probability; i++) {
			symbols[position] = symbol;
			do position = (position + step) & (size - 1);
			while (position >= high);
		}
	});
	const states = new Int32Array(size);
	for (let state = 0; state < size; state++) {
		const symbol = symbols[state]!;
		const count = next[symbol]!++;
		const bits = log - floorLog2(count);
		states[state] = (symbol << 24) | (bits << 16) | ((count << bits) - size);
	}
	return { log, states };
}

/**
 * Reads a table's description at `at`.
 * @returns the table and where its description ends
 */
export function readFseTable(
	data: Uint8Array,
	at: number,
	end: number,
	maximumLog: number,
	maximumSymbol: number,
): { table: FseTable; end: number } {
	let bit = at * 8;
	const peek = (count: number): number => {
		const byte = bit >> 3;
		const word = data[byte]! | (data[byte + 1]! << 8) | (data[byte + 2]! << 16) | (data[byte + 3]! << 24);
		return (word >>> (bit & 7)) & ((1 << count) - 1);
	};
	const log = peek(4) + 5;
	bit += 4;
	if (log > maximumLog) throw corrupt("an FSE table is too precise");
	let remaining = 1 << log;
	const probabilities: number[] = [];
	while (remaining > 0) {
		if (bit + FORWARD_BITS_LIMIT > (end + PADDING) * 8 || probabilities.length > maximumSymbol) {
			throw corrupt("an FSE table");
		}
		const bits = floorLog2(remaining + 1) + 1;
		const lowMask = (1 << (bits - 1)) - 1;
		const threshold = (1 << bits) - 1 - (remaining + 1);
		let value = peek(bits);
		if ((value & lowMask) < threshold) {
			value &= lowMask;
			bit += bits - 1;
		} else {
			if (value > lowMask) value -= threshold;
			bit += bits;
		}
		const probability = value - 1;
		remaining -= Math.abs(probability);
		probabilities.push(probability);
		if (probability !== 0) continue;
		let repeat: number;
		do {
			repeat = peek(2);
			bit += 2;
			for (let i = 0; i < repeat; i++) probabilities.push(0);
			if (probabilities.length > maximumSymbol + 1) throw corrupt("an FSE table");
		} while (repeat === 3);
	}
	const tableEnd = Math.ceil(bit / 8);
	if (remaining !== 0 || tableEnd > end || probabilities.length > maximumSymbol + 1) throw corrupt("an FSE table");
	return { table: buildFseTable(log, probabilities), end: tableEnd };
}

/** A Huffman code: symbol << 8 | bits, by the next `bits` bits of the stream. */
export interface HuffmanTable {
	readonly bits: number;
	readonly entries: Uint16Array;
}

/**
 * The index of the bit after the last one of a stream that is read from its end: the highest bit set in its last byte marks it.
 */
export function streamTop(data: Uint8Array, start: number, end: number): number {
	const last = end > start ? data[end - 1]! : 0;
	if (last === 0) throw corrupt("a bit stream without an end mark");
	return (end - 1) * 8 + floorLog2(last);
}

/** Section 4.2.1.2: weights coded by two interleaved FSE states. */
function readFseWeights(data: Uint8Array, start: number, end: number): number[] {
	const { table, end: streamStart } = readFseTable(data, start, end, MAX_WEIGHT_LOG, 255);
	let position = streamTop(data, streamStart, end);
	const bottom = streamStart * 8;
	const read = (count: number): number => {
		position -= count;
		const byte = position >> 3;
		return ((data[byte]! | (data[byte + 1]! << 8)) >> (position & 7)) & ((1 << count) - 1);
	};
	const weights: number[] = [];
	let current = read(table.log);
	let other = read(table.log);
	if (position < bottom) throw corrupt("Huffman weights");
	for (;;) {
		const entry = table.states[current]!;
		weights.push(entry >>> 24);
		if (weights.length > 254) throw corrupt("Huffman weights");
		const bits = (entry >> 16) & 0xff;
		if (position - bits < bottom) {
			// The stream is used up: the other state has the last symbol.
			weights.push(table.states[other]! >>> 24);
			return weights;
		}
		current = (entry & 0xffff) + read(bits);
		[current, other] = [other, current];
	}
}

/**
 * Reads a Huffman tree's description at `at`.
 * @returns the code and where its description ends
 */
export function readHuffmanTable(data: Uint8Array, at: number, end: number): { table: HuffmanTable; end: number } {
	if (at >= end) throw corrupt("a Huffman tree");
	const header = data[at]!;
	const direct = header >= 128;
	const size = direct ? (header - 127 + 1) >> 1 : header;
	const tableEnd = at + 1 + size;
	if (tableEnd > end) throw corrupt("a Huffman tree");
	const weights: number[] = direct ? [] : readFseWeights(data, at + 1, tableEnd);
	if (direct) {
		for (let i = 0; i < header - 127; i++) {
			const byte = data[at + 1 + (i >> 1)]!;
			weights.push(i & 1 ? byte & 15 : byte >> 4);
		}
	}
	return { table: buildHuffmanTable(weights), end: tableEnd };
}

function buildHuffmanTable(weights: number[]): HuffmanTable {
	let sum = 0;
	for (const weight of weights) {
		if (weight > MAX_HUFFMAN_BITS) throw corrupt("a Huffman weight");
		if (weight > 0) sum += 1 << (weight - 1);
	}
	if (sum === 0) throw corrupt("an empty Huffman tree");
	const bits = floorLog2(sum) + 1;
	const rest = (1 << bits) - sum;
	if (bits > MAX_HUFFMAN_BITS || (rest & (rest - 1)) !== 0) throw corrupt("a Huffman tree");
	// The last symbol's weight is what is missing to a power of two.
	weights.push(floorLog2(rest) + 1);
	const entries = new Uint16Array(1 << bits);
	let at = 0;
	for (let weight = 1; weight <= bits; weight++) {
		for (let symbol = 0; symbol < weights.length; symbol++) {
			if (weights[symbol] !== weight) continue;
			const count = 1 << (weight - 1);
			entries.fill((symbol << 8) | (bits + 1 - weight), at, at + count);
			at += count;
		}
	}
	return { bits, entries };
}
