/**
 * The LZMA decoder, and the lzma-alone container around it (magic 5d 00 00). xz.ts drives the same decoder for LZMA2. Written for
 * kernels: the output is the dictionary, and the range coder's two words live in a Uint32Array because V8 boxes other 32-bit fields.
 * Format: "LZMA specification" by Igor Pavlov (public domain).
 */
import { PayloadError } from "../errors.ts";
import type { Output } from "./output.ts";

/** Where each group of probabilities begins in the one array. */
const POSITION_STATES = 16;
const STATES = 12;
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITION_STATES;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const DISTANCE_SLOT = IS_REP0_LONG + STATES * POSITION_STATES;
const DISTANCE_SPECIAL = DISTANCE_SLOT + 4 * 64;
const DISTANCE_ALIGN = DISTANCE_SPECIAL + 128;
const MATCH_LENGTH = DISTANCE_ALIGN + 16;
/** A length coder: two choices, then trees for short (per position state), middle (per position state) and long lengths. */
const LENGTH_LOW = 2;
const LENGTH_MIDDLE = LENGTH_LOW + POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MIDDLE + POSITION_STATES * 8;
const LENGTH_CODER = LENGTH_HIGH + 256;
const REP_LENGTH = MATCH_LENGTH + LENGTH_CODER;
const LITERAL = REP_LENGTH + LENGTH_CODER;
const LITERAL_CODER = 0x300;

const HALF = 1024;
const TOP = 0x100_0000;
const MINIMUM_MATCH = 2;
/** The distance that marks the end, as the decoder sees it before adding one. */
const END_MARK = -1;

const RANGE = 0;
const CODE = 1;

export class LzmaDecoder {
	private readonly coder = new Uint32Array(2);
	private probabilities = new Uint16Array(0);
	private literalContextBits = 0;
	private literalPositionMask = 0;
	private positionMask = 0;
	private state = 0;
	private rep0 = 0;
	private rep1 = 0;
	private rep2 = 0;
	private rep3 = 0;
	/** Where in the output the dictionary begins. */
	private dictionary = 0;
	/** Next byte of the input. */
	position = 0;

	constructor(
		private readonly input: Uint8Array,
		private readonly output: Output,
	) {}

	/** The properties byte: (pb * 5 + lp) * 9 + lc. Also resets the state. */
	setProperties(properties: number): void {
		if (properties >= 9 * 5 * 5) throw new PayloadError("corrupt", "LZMA properties out of range");
		const lc = properties % 9;
		const lp = Math.floor(properties / 9) % 5;
		const pb = Math.floor(properties / 45);
		this.literalContextBits = lc;
		this.literalPositionMask = (1 << lp) - 1;
		this.positionMask = (1 << pb) - 1;
		this.probabilities = new Uint16Array(LITERAL + (LITERAL_CODER << (lc + lp)));
		this.resetState();
	}

	resetState(): void {
		this.probabilities.fill(HALF);
		this.state = 0;
		this.rep0 = 0;
		this.rep1 = 0;
		this.rep2 = 0;
		this.rep3 = 0;
	}

	/** Matches cannot reach back before this point of the output. */
	resetDictionary(): void {
		this.dictionary = this.output.length;
	}

	/** Reads the five bytes that start the range coder. */
	startRangeCoder(): void {
		const { input, coder } = this;
		if (this.position + 5 > input.length) throw new PayloadError("truncated", "the LZMA data ends early");
		if (input[this.position] !== 0) throw new PayloadError("corrupt", "the LZMA range coder does not start with 0");
		coder[RANGE] = 0xffff_ffff;
		coder[CODE] =
			(input[this.position + 1]! << 24) |
			(input[this.position + 2]! << 16) |
			(input[this.position + 3]! << 8) |
			input[this.position + 4]!;
		this.position += 5;
	}

	/** After the last symbol: whether the coder is where the encoder left it. */
	rangeCoderFinished(): boolean {
		this.normalize();
		return this.coder[CODE] === 0;
	}

	/**
	 * Decodes until the output is `target` bytes long, or to the end mark where `target` is undefined or it comes first.
	 * @param inputEnd the input must not be read beyond this offset
	 * @returns whether an end mark was met
	 */
	run(target: number | undefined, inputEnd: number): boolean {
		const { output } = this;
		const stop = target ?? Number.POSITIVE_INFINITY;
		if (target !== undefined) output.reserve(target - output.length);
		while (output.length < stop) {
			if (this.position > inputEnd) throw new PayloadError("truncated", "the LZMA data ends early");
			const positionState = (output.length - this.dictionary) & this.positionMask;
			const context = this.state * POSITION_STATES + positionState;
			if (this.bit(IS_MATCH + context) === 0) {
				if (output.length === output.bytes.length) output.reserve(1);
				this.literal();
				continue;
			}
			let length: number;
			if (this.bit(IS_REP + this.state) === 0) {
				this.rep3 = this.rep2;
				this.rep2 = this.rep1;
				this.rep1 = this.rep0;
				length = this.length(MATCH_LENGTH, positionState);
				this.state = this.state < 7 ? 7 : 10;
				this.rep0 = this.distance(length);
				if (this.rep0 === END_MARK) return true;
			} else {
				length = this.repeatedMatch(context, positionState);
			}
			length += MINIMUM_MATCH;
			const distance = this.rep0 + 1;
			// From 2^31 on a distance is negative here.
			if (distance <= 0 || distance > output.length - this.dictionary) {
				throw new PayloadError("corrupt", "an LZMA match reaches back before its dictionary");
			}
			if (output.length + length > stop) throw new PayloadError("corrupt", "an LZMA match runs over the end");
			output.reserve(length);
			output.repeat(distance, length);
		}
		return false;
	}

	/** A match at one of the four latest distances: moves it to the front, returns its length (less MINIMUM_MATCH). */
	private repeatedMatch(context: number, positionState: number): number {
		if (this.bit(IS_REP0 + this.state) === 0) {
			if (this.bit(IS_REP0_LONG + context) === 0) {
				this.state = this.state < 7 ? 9 : 11;
				return 1 - MINIMUM_MATCH;
			}
		} else {
			let distance: number;
			if (this.bit(IS_REP1 + this.state) === 0) {
				distance = this.rep1;
			} else {
				if (this.bit(IS_REP2 + this.state) === 0) {
					distance = this.rep2;
				} else {
					distance = this.rep3;
					this.rep3 = this.rep2;
				}
				this.rep2 = this.rep1;
			}
			this.rep1 = this.rep0;
			this.rep0 = distance;
		}
		const length = this.length(REP_LENGTH, positionState);
		this.state = this.state < 7 ? 8 : 11;
		return length;
	}

	private length(coder: number, positionState: number): number {
		if (this.bit(coder) === 0) return this.tree(coder + LENGTH_LOW + positionState * 8, 3);
		if (this.bit(coder + 1) === 0) return 8 + this.tree(coder + LENGTH_MIDDLE + positionState * 8, 3);
		return 16 + this.tree(coder + LENGTH_HIGH, 8);
	}

	/** A distance less one, or END_MARK. */
	private distance(length: number): number {
		const slot = this.tree(DISTANCE_SLOT + Math.min(length, 3) * 64, 6);
		if (slot < 4) return slot;
		const directBits = (slot >> 1) - 1;
		const high = (2 | (slot & 1)) << directBits;
		if (slot < 14) return high + this.reverseTree(DISTANCE_SPECIAL + high - slot, directBits);
		const middle = this.directBits(directBits - 4);
		return (high + middle * 16 + this.reverseTree(DISTANCE_ALIGN, 4)) | 0;
	}

	/** One byte; the hottest path, so the bit decoder is written out in its loops. */
	private literal(): void {
		const { coder, input, probabilities, output } = this;
		const bytes = output.bytes;
		const at = output.length;
		const previous = at > this.dictionary ? bytes[at - 1]! : 0;
		const base =
			LITERAL +
			LITERAL_CODER *
				((((at - this.dictionary) & this.literalPositionMask) << this.literalContextBits) +
					(previous >> (8 - this.literalContextBits)));
		let range = coder[RANGE]!;
		let code = coder[CODE]!;
		let position = this.position;
		let symbol = 1;
		if (this.state >= 7) {
			// After a match, the byte that would have continued it predicts this one.
			let match = bytes[at - this.rep0 - 1]!;
			let offset = 0x100;
			do {
				match <<= 1;
				const matchBit = match & offset;
				const index = base + offset + matchBit + symbol;
				const probability = probabilities[index]!;
				if (range < TOP) {
					range = (range << 8) >>> 0;
					code = ((code << 8) | input[position++]!) >>> 0;
				}
				const bound = Math.imul(range >>> 11, probability) >>> 0;
				if (code < bound) {
					range = bound;
					probabilities[index] = probability + ((2048 - probability) >> 5);
					symbol <<= 1;
					offset &= ~matchBit;
				} else {
					range = (range - bound) >>> 0;
					code = (code - bound) >>> 0;
					probabilities[index] = probability - (probability >> 5);
					symbol = (symbol << 1) | 1;
					offset &= matchBit;
				}
			} while (symbol < 0x100);
		} else {
			do {
				const index = base + symbol;
				const probability = probabilities[index]!;
				if (range < TOP) {
					range = (range << 8) >>> 0;
					code = ((code << 8) | input[position++]!) >>> 0;
				}
				const bound = Math.imul(range >>> 11, probability) >>> 0;
				if (code < bound) {
					range = bound;
					probabilities[index] = probability + ((2048 - probability) >> 5);
					symbol <<= 1;
				} else {
					range = (range - bound) >>> 0;
					code = (code - bound) >>> 0;
					probabilities[index] = probability - (probability >> 5);
					symbol = (symbol << 1) | 1;
				}
			} while (symbol < 0x100);
		}
		coder[RANGE] = range;
		coder[CODE] = code;
		this.position = position;
		bytes[at] = symbol;
		output.length = at + 1;
		this.state = this.state < 4 ? 0 : this.state < 10 ? this.state - 3 : this.state - 6;
	}

	private normalize(): void {
		const { coder } = this;
		if (coder[RANGE]! < TOP) {
			coder[RANGE] = coder[RANGE]! << 8;
			coder[CODE] = (coder[CODE]! << 8) | (this.input[this.position++] ?? 0);
		}
	}

	private bit(index: number): number {
		const { coder, probabilities } = this;
		let range = coder[RANGE]!;
		let code = coder[CODE]!;
		if (range < TOP) {
			range = (range << 8) >>> 0;
			code = ((code << 8) | this.input[this.position++]!) >>> 0;
		}
		const probability = probabilities[index]!;
		const bound = Math.imul(range >>> 11, probability) >>> 0;
		if (code < bound) {
			coder[RANGE] = bound;
			coder[CODE] = code;
			probabilities[index] = probability + ((2048 - probability) >> 5);
			return 0;
		}
		coder[RANGE] = range - bound;
		coder[CODE] = code - bound;
		probabilities[index] = probability - (probability >> 5);
		return 1;
	}

	/**
	 * `bits` bits, most significant first, each with the probability that its predecessors select. Written out like literal().
	 */
	private tree(base: number, bits: number): number {
		const { coder, input, probabilities } = this;
		let range = coder[RANGE]!;
		let code = coder[CODE]!;
		let position = this.position;
		const stop = 1 << bits;
		let symbol = 1;
		do {
			const index = base + symbol;
			const probability = probabilities[index]!;
			if (range < TOP) {
				range = (range << 8) >>> 0;
				code = ((code << 8) | input[position++]!) >>> 0;
			}
			const bound = Math.imul(range >>> 11, probability) >>> 0;
			if (code < bound) {
				range = bound;
				probabilities[index] = probability + ((2048 - probability) >> 5);
				symbol <<= 1;
			} else {
				range = (range - bound) >>> 0;
				code = (code - bound) >>> 0;
				probabilities[index] = probability - (probability >> 5);
				symbol = (symbol << 1) | 1;
			}
		} while (symbol < stop);
		coder[RANGE] = range;
		coder[CODE] = code;
		this.position = position;
		return symbol - stop;
	}

	/** The same, least significant bit first. */
	private reverseTree(base: number, bits: number): number {
		let symbol = 1;
		let value = 0;
		for (let i = 0; i < bits; i++) {
			const bit = this.bit(base + symbol);
			symbol = (symbol << 1) | bit;
			value |= bit << i;
		}
		return value;
	}

	/** Bits without a model. */
	private directBits(count: number): number {
		const { coder, input } = this;
		let range = coder[RANGE]!;
		let code = coder[CODE]!;
		let position = this.position;
		let value = 0;
		for (let i = 0; i < count; i++) {
			if (range < TOP) {
				range = (range << 8) >>> 0;
				code = ((code << 8) | input[position++]!) >>> 0;
			}
			range >>>= 1;
			if (code >= range) {
				code = (code - range) >>> 0;
				value = (value << 1) | 1;
			} else {
				value <<= 1;
			}
		}
		coder[RANGE] = range;
		coder[CODE] = code;
		this.position = position;
		return value;
	}
}

/** Properties, dictionary size, unpacked size. */
const ALONE_HEADER = 13;

/** Decompresses a .lzma file: `input` from its header on. Throws a PayloadError. */
export function decompressLzma(input: Uint8Array, output: Output): void {
	if (input.length < ALONE_HEADER + 5) throw new PayloadError("truncated", "the LZMA data ends early");
	const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
	const sizeHigh = view.getUint32(9, true);
	const sizeLow = view.getUint32(5, true);
	const unknown = sizeHigh === 0xffff_ffff && sizeLow === 0xffff_ffff;
	const size = sizeHigh * 2 ** 32 + sizeLow;
	if (!unknown && size > output.limit) {
		throw new PayloadError("too-large", `it unpacks to more than ${output.limit} bytes`);
	}
	const decoder = new LzmaDecoder(input, output);
	decoder.setProperties(view.getUint8(0));
	decoder.position = ALONE_HEADER;
	decoder.startRangeCoder();
	decoder.run(unknown ? undefined : size, input.length);
	if (!unknown && output.length !== size) throw new PayloadError("corrupt", "the LZMA data is shorter than it says");
	if (decoder.position > input.length) throw new PayloadError("truncated", "the LZMA data ends early");
}
