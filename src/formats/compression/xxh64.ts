/**
 * XXH64 with seed 0, as zstd frames carry it. The bulk runs on 32-bit halves, because BigInt would take seconds for a kernel;
 * what is done once uses BigInt. Algorithm: "xxHash fast digest algorithm" 0.1.1, section XXH64.
 */

const PRIME_1 = 0x9e37_79b1_85eb_ca87n;
const PRIME_2 = 0xc2b2_ae3d_27d4_eb4fn;
const PRIME_3 = 0x1656_67b1_9e37_79f9n;
const PRIME_4 = 0x85eb_ca77_c2b2_ae63n;
const PRIME_5 = 0x27d4_eb2f_1656_67c5n;

const PRIME_1_LOW = 0x85eb_ca87 | 0;
const PRIME_1_HIGH = 0x9e37_79b1 | 0;
const PRIME_2_LOW = 0x27d4_eb4f;
const PRIME_2_HIGH = 0xc2b2_ae3d | 0;

const STRIPE = 32;

const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint): bigint => wrap((value << bits) | (value >> (64n - bits)));
const round = (accumulator: bigint, lane: bigint): bigint =>
	wrap(rotate(wrap(accumulator + lane * PRIME_2), 31n) * PRIME_1);

/** The upper 32 bits of the product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
	const a0 = a & 0xffff;
	const a1 = a >>> 16;
	const b0 = b & 0xffff;
	const b1 = b >>> 16;
	const p00 = Math.imul(a0, b0);
	const p01 = Math.imul(a0, b1);
	const p10 = Math.imul(a1, b0);
	const middle = (p00 >>> 16) + (p01 & 0xffff) + (p10 & 0xffff);
	return (Math.imul(a1, b1) + (p01 >>> 16) + (p10 >>> 16) + (middle >>> 16)) | 0;
}

/** One of the four accumulators over all stripes: the eight bytes at `offset` of each. */
function accumulate(view: DataView, offset: number, end: number, start: bigint): bigint {
	let low = Number(BigInt.asIntN(32, start));
	let high = Number(BigInt.asIntN(32, start >> 32n));
	for (let at = offset; at < end; at += STRIPE) {
		const laneLow = view.getInt32(at, true);
		const laneHigh = view.getInt32(at + 4, true);
		// accumulator += lane * PRIME_2
		const productLow = Math.imul(laneLow, PRIME_2_LOW);
		const productHigh =
			multiplyHigh(laneLow, PRIME_2_LOW) + Math.imul(laneLow, PRIME_2_HIGH) + Math.imul(laneHigh, PRIME_2_LOW);
		const sum = (low + productLow) | 0;
		const carry = sum >>> 0 < low >>> 0 ? 1 : 0;
		high = (high + productHigh + carry) | 0;
		// rotate left by 31
		low = (sum << 31) | (high >>> 1);
		high = (high << 31) | (sum >>> 1);
		// *= PRIME_1
		const newHigh = multiplyHigh(low, PRIME_1_LOW) + Math.imul(low, PRIME_1_HIGH) + Math.imul(high, PRIME_1_LOW);
		low = Math.imul(low, PRIME_1_LOW);
		high = newHigh | 0;
	}
	return BigInt.asUintN(32, BigInt(low)) | (BigInt.asUintN(32, BigInt(high)) << 32n);
}

/** XXH64 of all of `data`. */
export function xxh64(data: Uint8Array): bigint {
	const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
	const stripesEnd = data.length - (data.length % STRIPE);
	let hash = PRIME_5;
	if (stripesEnd > 0) {
		const lanes = [PRIME_1 + PRIME_2, PRIME_2, 0n, -PRIME_1].map((start, i) =>
			accumulate(view, i * 8, stripesEnd, wrap(start)),
		);
		const [a, b, c, d] = lanes as [bigint, bigint, bigint, bigint];
		hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
		for (const lane of lanes) hash = wrap((hash ^ round(0n, lane)) * PRIME_1 + PRIME_4);
	}
	hash = wrap(hash + BigInt(data.length));
	let at = stripesEnd;
	for (; at + 8 <= data.length; at += 8) {
		hash = wrap(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * PRIME_1 + PRIME_4);
	}
	if (at + 4 <= data.length) {
		hash = wrap(rotate(hash ^ wrap(BigInt(view.getUint32(at, true)) * PRIME_1), 23n) * PRIME_2 + PRIME_3);
		at += 4;
	}
	for (; at < data.length; at++) hash = wrap(rotate(hash ^ wrap(BigInt(data[at]!) * PRIME_5), 11n) * PRIME_1);
	hash = wrap((hash ^ (hash >> 33n)) * PRIME_2);
	hash = wrap((hash ^ (hash >> 29n)) * PRIME_3);
	return hash ^ (hash >> 32n);
}
