/**
 * Integer arithmetic, comparison, logic and shifts on lanes: MMX, SSE2, SSSE3 and SSE4 (Intel SDM volume 2). One table gives the MMX and
 * the SSE form; what computes across lanes, and so depends on the width, is in sse-shuffle.ts and sse4.ts.
 */
import {
	type I32,
	type I64,
	i8x16,
	i16x8,
	i32,
	i32x4,
	i64,
	i64x2,
	select,
	type V128,
	v128,
} from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import {
	binary,
	binaryMmx,
	elements,
	IDENTITY,
	immediate,
	lanes,
	low64,
	mmx,
	sse,
	unary,
	type VectorOperation,
	WRITES,
	ZERO,
} from "./simd.ts";

const LOW_BYTES = lanes(2, [0x00ff]);
const LOW_DWORDS = lanes(4, [-1, 0]);

/** High halves of products of words, from the full products of the low and high four lanes. */
const highWords = (low: V128, high: V128): V128 => i8x16.shuffle(low, high, elements(2, [1, 3, 5, 7, 9, 11, 13, 15]));
/** Dwords 0 and 2 in the low half. */
const evenDwords = (value: V128): V128 => i8x16.shuffle(value, value, elements(4, [0, 2, 0, 2]));

/** PMADDUBSW: unsigned bytes of the first by signed bytes of the second, pairs added with saturation. */
function multiplyAddBytes(left: V128, right: V128): V128 {
	const even = i16x8.mul(v128.and(left, LOW_BYTES), i16x8.shr_s(i16x8.shl(right, i32.const(8)), i32.const(8)));
	const odd = i16x8.mul(i16x8.shr_u(left, i32.const(8)), i16x8.shr_s(right, i32.const(8)));
	return i16x8.add_sat_s(even, odd);
}

/** PMULHRSW. WebAssembly saturates -1 * -1 to 0x7fff; x86 gives 0x8000. */
function multiplyRounded(left: V128, right: V128): V128 {
	const lowest = lanes(2, [0x8000]);
	return v128.xor(i16x8.q15mulr_sat_s(left, right), v128.and(i16x8.eq(left, lowest), i16x8.eq(right, lowest)));
}

/** PSADBW: sums of absolute differences of eight bytes. */
function sumOfDifferences(left: V128, right: V128, f: FunctionBuilder): V128 {
	const differences = i8x16.sub(i8x16.max_u(left, right), i8x16.min_u(left, right));
	const sums = f.let(i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(differences)));
	return i64x2.add(i64x2.shr_u(sums, i32.const(32)), v128.and(sums, LOW_DWORDS));
}

type Lanes = typeof i8x16 | typeof i16x8 | typeof i32x4;

/** PSIGNx: negated, zero or as it is, by the sign of the second. */
function sign(of: Lanes, bits: number): VectorOperation {
	return (left, right, f) => {
		const negative = f.let(of.shr_s(right, i32.const(bits - 1)));
		return v128.and(of.sub(v128.xor(left, negative), negative), of.ne(right, ZERO));
	};
}

/** Name, opcode, operation; "mmx" (with the SSE form), "sse" (SSE form only). */
const OPERATIONS: readonly [string, string, VectorOperation, "mmx" | "sse"][] = [
	["paddb", "0f fc", i8x16.add, "mmx"],
	["paddw", "0f fd", i16x8.add, "mmx"],
	["paddd", "0f fe", i32x4.add, "mmx"],
	["paddq", "0f d4", i64x2.add, "mmx"],
	["paddsb", "0f ec", i8x16.add_sat_s, "mmx"],
	["paddsw", "0f ed", i16x8.add_sat_s, "mmx"],
	["paddusb", "0f dc", i8x16.add_sat_u, "mmx"],
	["paddusw", "0f dd", i16x8.add_sat_u, "mmx"],
	["psubb", "0f f8", i8x16.sub, "mmx"],
	["psubw", "0f f9", i16x8.sub, "mmx"],
	["psubd", "0f fa", i32x4.sub, "mmx"],
	["psubq", "0f fb", i64x2.sub, "mmx"],
	["psubsb", "0f e8", i8x16.sub_sat_s, "mmx"],
	["psubsw", "0f e9", i16x8.sub_sat_s, "mmx"],
	["psubusb", "0f d8", i8x16.sub_sat_u, "mmx"],
	["psubusw", "0f d9", i16x8.sub_sat_u, "mmx"],
	["pmullw", "0f d5", i16x8.mul, "mmx"],
	[
		"pmulhw",
		"0f e5",
		(left, right) => highWords(i32x4.extmul_low_i16x8_s(left, right), i32x4.extmul_high_i16x8_s(left, right)),
		"mmx",
	],
	[
		"pmulhuw",
		"0f e4",
		(left, right) => highWords(i32x4.extmul_low_i16x8_u(left, right), i32x4.extmul_high_i16x8_u(left, right)),
		"mmx",
	],
	["pmuludq", "0f f4", (left, right) => i64x2.extmul_low_i32x4_u(evenDwords(left), evenDwords(right)), "mmx"],
	["pmaddwd", "0f f5", i32x4.dot_i16x8_s, "mmx"],
	["psadbw", "0f f6", sumOfDifferences, "mmx"],
	["pavgb", "0f e0", i8x16.avgr_u, "mmx"],
	["pavgw", "0f e3", i16x8.avgr_u, "mmx"],
	["pminub", "0f da", i8x16.min_u, "mmx"],
	["pmaxub", "0f de", i8x16.max_u, "mmx"],
	["pminsw", "0f ea", i16x8.min_s, "mmx"],
	["pmaxsw", "0f ee", i16x8.max_s, "mmx"],
	["pand", "0f db", v128.and, "mmx"],
	["pandn", "0f df", (left, right) => v128.andnot(right, left), "mmx"],
	["por", "0f eb", v128.or, "mmx"],
	["pxor", "0f ef", v128.xor, "mmx"],
	["pcmpeqb", "0f 74", i8x16.eq, "mmx"],
	["pcmpeqw", "0f 75", i16x8.eq, "mmx"],
	["pcmpeqd", "0f 76", i32x4.eq, "mmx"],
	["pcmpgtb", "0f 64", i8x16.gt_s, "mmx"],
	["pcmpgtw", "0f 65", i16x8.gt_s, "mmx"],
	["pcmpgtd", "0f 66", i32x4.gt_s, "mmx"],
	// SSSE3
	["pmaddubsw", "0f 38 04", multiplyAddBytes, "mmx"],
	["psignb", "0f 38 08", sign(i8x16, 8), "mmx"],
	["psignw", "0f 38 09", sign(i16x8, 16), "mmx"],
	["psignd", "0f 38 0a", sign(i32x4, 32), "mmx"],
	["pmulhrsw", "0f 38 0b", multiplyRounded, "mmx"],
	// SSE4.1 and SSE4.2
	["pmuldq", "0f 38 28", (left, right) => i64x2.extmul_low_i32x4_s(evenDwords(left), evenDwords(right)), "sse"],
	["pcmpeqq", "0f 38 29", i64x2.eq, "sse"],
	["pcmpgtq", "0f 38 37", i64x2.gt_s, "sse"],
	["pminsb", "0f 38 38", i8x16.min_s, "sse"],
	["pminsd", "0f 38 39", i32x4.min_s, "sse"],
	["pminuw", "0f 38 3a", i16x8.min_u, "sse"],
	["pminud", "0f 38 3b", i32x4.min_u, "sse"],
	["pmaxsb", "0f 38 3c", i8x16.max_s, "sse"],
	["pmaxsd", "0f 38 3d", i32x4.max_s, "sse"],
	["pmaxuw", "0f 38 3e", i16x8.max_u, "sse"],
	["pmaxud", "0f 38 3f", i32x4.max_u, "sse"],
	["pmulld", "0f 38 40", i32x4.mul, "sse"],
];

for (const [name, opcode, operation, forms] of OPERATIONS) {
	sse(name, [`66 ${opcode} Vx,Wx`], {}, binary(operation));
	if (forms === "mmx") mmx(name, [`np ${opcode} Pq,Qq`], {}, binaryMmx(operation));
}

/** The bitwise operations once more, under the names for floating point. */
const LOGIC: readonly [string, string, VectorOperation][] = [
	["and", "54", v128.and],
	["andn", "55", (left, right) => v128.andnot(right, left)],
	["or", "56", v128.or],
	["xor", "57", v128.xor],
];
for (const [name, opcode, operation] of LOGIC) {
	sse(`${name}ps`, [`np 0f ${opcode} Vx,Wx`], {}, binary(operation));
	sse(`${name}pd`, [`66 0f ${opcode} Vx,Wx`], {}, binary(operation));
}

/** SSSE3: absolute values. */
const ABSOLUTE: readonly [string, string, (value: V128) => V128][] = [
	["pabsb", "1c", i8x16.abs],
	["pabsw", "1d", i16x8.abs],
	["pabsd", "1e", i32x4.abs],
];
for (const [name, opcode, operation] of ABSOLUTE) {
	sse(name, [`66 0f 38 ${opcode} Vx,Wx`], WRITES, unary(operation));
	mmx(name, [`np 0f 38 ${opcode} Pq,Qq`], WRITES, unary(operation));
}

// ---- shifts ----

type Shift = (value: V128, count: I32) => V128;

/** Opcode of the form by register and memory, of the form by immediate with its digit, bits of a lane; "arithmetic" keeps the sign. */
const SHIFTS: readonly [string, string, string, number, Shift, "logical" | "arithmetic"][] = [
	["psrlw", "d1", "71 /2", 16, i16x8.shr_u, "logical"],
	["psrld", "d2", "72 /2", 32, i32x4.shr_u, "logical"],
	["psrlq", "d3", "73 /2", 64, i64x2.shr_u, "logical"],
	["psraw", "e1", "71 /4", 16, i16x8.shr_s, "arithmetic"],
	["psrad", "e2", "72 /4", 32, i32x4.shr_s, "arithmetic"],
	["psllw", "f1", "71 /6", 16, i16x8.shl, "logical"],
	["pslld", "f2", "72 /6", 32, i32x4.shl, "logical"],
	["psllq", "f3", "73 /6", 64, i64x2.shl, "logical"],
];

/** Counts beyond the lane clear it or fill it with its sign; WebAssembly would take them modulo the lane's width. */
function shifted(shift: Shift, kind: "logical" | "arithmetic", bits: number, value: V128, count: I64): V128 {
	const fits = i64.lt_u(count, i64.const(bits));
	if (kind === "arithmetic") return shift(value, i32.wrap(select(fits, count, i64.const(bits - 1))));
	return select(fits, shift(value, i32.wrap(count)), ZERO);
}

for (const [name, byVector, byImmediate, bits, shift, kind] of SHIFTS) {
	sse(name, [`66 0f ${byVector} Vx,Wx`], {}, (c, destination, source) => {
		const count = c.f.let(low64(c.readVector(source, true)));
		c.writeVector(destination, shifted(shift, kind, bits, c.readVector(destination), count));
	});
	mmx(name, [`np 0f ${byVector} Pq,Qq`], {}, (c, destination, source) => {
		const count = c.f.let(low64(c.readVector(source)));
		c.writeVector(destination, shifted(shift, kind, bits, c.readVector(destination), count));
	});
	sse(name, [`66 0f ${byImmediate} Ux,Ib`], {}, (c, destination, count) => {
		c.writeVector(destination, shifted(shift, kind, bits, c.readVector(destination), c.read(count)));
	});
	mmx(name, [`np 0f ${byImmediate} Nq,Ib`], {}, (c, destination, count) => {
		c.writeVector(destination, shifted(shift, kind, bits, c.readVector(destination), c.read(count)));
	});
}

/** Whole-register shifts by bytes; more than 15 clear the register. */

sse("psrldq", ["66 0f 73 /3 Ux,Ib"], {}, (c, destination, count) => {
	const bytes = i8x16.splat(immediate(c, count));
	c.writeVector(destination, i8x16.swizzle(c.readVector(destination), i8x16.add_sat_u(IDENTITY, bytes)));
});
sse("pslldq", ["66 0f 73 /7 Ux,Ib"], {}, (c, destination, count) => {
	const bytes = i8x16.min_u(i8x16.splat(immediate(c, count)), lanes(1, [16]));
	c.writeVector(destination, i8x16.swizzle(c.readVector(destination), i8x16.sub(IDENTITY, bytes)));
});
