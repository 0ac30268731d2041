/**
 * What moves lanes about: pack, unpack, shuffle, align, blend, insert, extract, widen, horizontal integer sums. An immediate is known when the
 * translator emits, and only at run time in the interpreter: each order of lanes is a constant shuffle or a computed swizzle.
 */
import { type I32, i8x16, i16x8, i32, i32x4, i64, i64x2, select, type V128, v128 } from "../../wasm/expression.ts";
import type { Context } from "./context.ts";
import {
	binary,
	binaryMmx,
	bytesFrom,
	elements,
	IDENTITY,
	immediate,
	joinLow,
	lanes,
	mmx,
	sse,
	unary,
	type VectorOperation,
	vector64,
	WRITES,
	ZERO,
} from "./simd.ts";
import type { Operand } from "./table.ts";

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

// ---- pack and unpack ----

/** Name, opcode, operation on two whole vectors; MMX packs its two halves joined. */
const PACKS: readonly [string, string, VectorOperation, boolean][] = [
	["packsswb", "0f 63", i8x16.narrow_i16x8_s, true],
	["packssdw", "0f 6b", i16x8.narrow_i32x4_s, true],
	["packuswb", "0f 67", i8x16.narrow_i16x8_u, true],
	["packusdw", "0f 38 2b", i16x8.narrow_i32x4_u, false],
];
for (const [name, opcode, operation, inMmx] of PACKS) {
	sse(name, [`66 ${opcode} Vx,Wx`], {}, binary(operation));
	if (!inMmx) continue;
	const joined: VectorOperation = (left, right, f) => operation(f.let(joinLow(left, right)), ZERO, f);
	mmx(name, [`np ${opcode} Pq,Qq`], {}, binaryMmx(joined));
}

/** Interleaves `count` elements of `bytes` bytes from element `start` of both. */
function interleave(bytes: number, start: number, count: number): VectorOperation {
	const total = 16 / bytes;
	const order = range(count).flatMap((index) => [start + index, total + start + index]);
	while (order.length < total) order.push(0);
	const shuffle = elements(bytes, order);
	return (left, right) => i8x16.shuffle(left, right, shuffle);
}

const UNPACKS: readonly [string, string, number][] = [
	["punpcklbw", "60", 1],
	["punpcklwd", "61", 2],
	["punpckldq", "62", 4],
];
for (const [name, opcode, bytes] of UNPACKS) {
	sse(name, [`66 0f ${opcode} Vx,Wx`], {}, binary(interleave(bytes, 0, 8 / bytes)));
	// The low form reads only 32 bits of memory.
	mmx(name, [`np 0f ${opcode} Pq,Qd`], {}, binaryMmx(interleave(bytes, 0, 4 / bytes)));
}
const UNPACKS_HIGH: readonly [string, string, number][] = [
	["punpckhbw", "68", 1],
	["punpckhwd", "69", 2],
	["punpckhdq", "6a", 4],
];
for (const [name, opcode, bytes] of UNPACKS_HIGH) {
	sse(name, [`66 0f ${opcode} Vx,Wx`], {}, binary(interleave(bytes, 8 / bytes, 8 / bytes)));
	mmx(name, [`np 0f ${opcode} Pq,Qq`], {}, binaryMmx(interleave(bytes, 4 / bytes, 4 / bytes)));
}
sse("punpcklqdq", ["66 0f 6c Vx,Wx"], {}, binary(interleave(8, 0, 1)));
sse("punpckhqdq", ["66 0f 6d Vx,Wx"], {}, binary(interleave(8, 1, 1)));
sse("unpcklps", ["np 0f 14 Vx,Wx"], {}, binary(interleave(4, 0, 2)));
sse("unpcklpd", ["66 0f 14 Vx,Wx"], {}, binary(interleave(8, 0, 1)));
sse("unpckhps", ["np 0f 15 Vx,Wx"], {}, binary(interleave(4, 2, 2)));
sse("unpckhpd", ["66 0f 15 Vx,Wx"], {}, binary(interleave(8, 1, 1)));

// ---- shuffles by an immediate ----

/** The four two-bit fields of an immediate. */
const fields = (value: number): number[] => [value & 3, (value >> 2) & 3, (value >> 4) & 3, (value >> 6) & 3];

/** Swizzle that picks dwords by the two-bit fields of a run-time immediate. */
function dwordMask(order: I32): V128 {
	const fieldsAtBit6 = i32x4.mul(i32x4.splat(order), lanes(4, [64, 16, 4, 1]));
	const picked = v128.and(i32x4.shr_u(fieldsAtBit6, i32.const(6)), lanes(4, [3]));
	return i32x4.add(i32x4.mul(picked, lanes(4, [0x04040404])), lanes(4, [0x03020100]));
}

/** The same for the words of the low (`first` 0) or high half (`first` 4); the other half stays. */
function wordMask(order: I32, first: 0 | 4): V128 {
	const inHalf = range(8).map((index) => index >= first && index < first + 4);
	const factors = lanes(
		2,
		inHalf.map((moved, index) => (moved ? 64 >> ((index - first) * 2) : 0)),
	);
	const offsets = lanes(
		2,
		inHalf.map((moved, index) => {
			const word = moved ? first : index;
			return word * 0x0202 + 0x0100;
		}),
	);
	const picked = v128.and(i16x8.shr_u(i16x8.mul(i16x8.splat(order), factors), i32.const(6)), lanes(2, [3]));
	return i16x8.add(i16x8.mul(picked, lanes(2, [0x0202])), offsets);
}

function shuffleDwords(source: V128, order: I32): V128 {
	if (order.constant !== undefined) return i8x16.shuffle(source, source, elements(4, fields(order.constant)));
	return i8x16.swizzle(source, dwordMask(order));
}

function shuffleWords(source: V128, order: I32, first: 0 | 4): V128 {
	if (order.constant === undefined) return i8x16.swizzle(source, wordMask(order, first));
	const words = range(8);
	for (const [index, field] of fields(order.constant).entries()) words[first + index] = first + field;
	return i8x16.shuffle(source, source, elements(2, words));
}

sse("pshufd", ["66 0f 70 Vx,Wx,Ib"], WRITES, (c, destination, source, order) => {
	c.writeVector(destination, shuffleDwords(c.readVector(source, true), immediate(c, order)));
});
sse("pshuflw", ["f2 0f 70 Vx,Wx,Ib"], WRITES, (c, destination, source, order) => {
	c.writeVector(destination, shuffleWords(c.readVector(source, true), immediate(c, order), 0));
});
sse("pshufhw", ["f3 0f 70 Vx,Wx,Ib"], WRITES, (c, destination, source, order) => {
	c.writeVector(destination, shuffleWords(c.readVector(source, true), immediate(c, order), 4));
});
mmx("pshufw", ["np 0f 70 Pq,Qq,Ib"], WRITES, (c, destination, source, order) => {
	c.writeVector(destination, shuffleWords(c.readVector(source), immediate(c, order), 0));
});

sse("shufps", ["np 0f c6 Vx,Wx,Ib"], {}, (c, destination, source, order) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const wanted = immediate(c, order);
	if (wanted.constant !== undefined) {
		const [a, b, x, y] = fields(wanted.constant) as [number, number, number, number];
		c.writeVector(destination, i8x16.shuffle(left, right, elements(4, [a, b, x + 4, y + 4])));
		return;
	}
	const mask = c.f.let(dwordMask(wanted));
	c.writeVector(destination, i8x16.shuffle(i8x16.swizzle(left, mask), i8x16.swizzle(right, mask), elements(8, [0, 3])));
});
sse("shufpd", ["66 0f c6 Vx,Wx,Ib"], {}, (c, destination, source, order) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const wanted = immediate(c, order, 3);
	const element = (from: V128, bit: number) =>
		select(i32.and(wanted, i32.const(bit)), i64x2.extract(from, 1), i64x2.extract(from, 0));
	c.writeVector(destination, i64x2.replace(i64x2.splat(element(left, 1)), 1, element(right, 2)));
});

// ---- bytes ----

sse(
	"pshufb",
	["66 0f 38 00 Vx,Wx"],
	{},
	binary((left, right) => i8x16.swizzle(left, v128.and(right, lanes(1, [0x8f])))),
);
mmx(
	"pshufb",
	["np 0f 38 00 Pq,Qq"],
	{},
	binaryMmx((left, right) => i8x16.swizzle(left, v128.and(right, lanes(1, [0x87])))),
);

/** PALIGNR: destination:source shifted right by bytes. `width`: bytes of an operand. */
function align(c: Context, destination: Operand, right: V128, count: Operand, width: 8 | 16): void {
	const left = c.readVector(destination);
	const from = i8x16.add_sat_u(IDENTITY, i8x16.splat(immediate(c, count)));
	if (width === 8) {
		c.writeVector(destination, i8x16.swizzle(joinLow(right, left), from));
		return;
	}
	const index = c.f.let(from);
	// Indices beyond 15 give 0, those below 16 wrap round to beyond 15 in the second.
	const upper = i8x16.swizzle(left, i8x16.sub(index, lanes(1, [16])));
	c.writeVector(destination, v128.or(i8x16.swizzle(right, index), upper));
}
sse("palignr", ["66 0f 3a 0f Vx,Wx,Ib"], {}, (c, destination, source, count) =>
	align(c, destination, c.readVector(source, true), count, 16),
);
mmx("palignr", ["np 0f 3a 0f Pq,Qq,Ib"], {}, (c, destination, source, count) =>
	align(c, destination, c.readVector(source), count, 8),
);

// ---- horizontal sums (SSSE3) ----

/** Combines even with odd elements of both operands. */
function horizontal(bytes: 2 | 4, combine: (even: V128, odd: V128) => V128, width: 8 | 16): VectorOperation {
	const perOperand = width / bytes;
	const second = 16 / bytes;
	const order = (odd: number): number[] => {
		const list = range(perOperand).map((index) => (index < perOperand / 2 ? 0 : second - perOperand) + index * 2 + odd);
		while (list.length < second) list.push(0);
		return elements(bytes, list);
	};
	return (left, right) => combine(i8x16.shuffle(left, right, order(0)), i8x16.shuffle(left, right, order(1)));
}

const HORIZONTAL: readonly [string, string, 2 | 4, (even: V128, odd: V128) => V128][] = [
	["phaddw", "01", 2, i16x8.add],
	["phaddd", "02", 4, i32x4.add],
	["phaddsw", "03", 2, i16x8.add_sat_s],
	["phsubw", "05", 2, i16x8.sub],
	["phsubd", "06", 4, i32x4.sub],
	["phsubsw", "07", 2, i16x8.sub_sat_s],
];
for (const [name, opcode, bytes, combine] of HORIZONTAL) {
	sse(name, [`66 0f 38 ${opcode} Vx,Wx`], {}, binary(horizontal(bytes, combine, 16)));
	mmx(name, [`np 0f 38 ${opcode} Pq,Qq`], {}, binaryMmx(horizontal(bytes, combine, 8)));
}

// ---- blend (SSE4.1) ----

/** Lane i is all ones where bit i of the immediate is set. */
function bitsToLanes(bytes: 2 | 4, bits: I32): V128 {
	const each = lanes(
		bytes,
		range(16 / bytes).map((index) => 1 << index),
	);
	return bytes === 2
		? i16x8.eq(v128.and(i16x8.splat(bits), each), each)
		: i32x4.eq(v128.and(i32x4.splat(bits), each), each);
}

/** Bits 0 and 1 to the two halves. */
function bitsToHalves(bits: I32): V128 {
	const each = lanes(4, [1, 1, 2, 2]);
	return i32x4.eq(v128.and(i32x4.splat(bits), each), each);
}

const BLENDS: readonly [string, string, (bits: I32) => V128][] = [
	["blendps", "0c", (bits) => bitsToLanes(4, bits)],
	["blendpd", "0d", bitsToHalves],
	["pblendw", "0e", (bits) => bitsToLanes(2, bits)],
];
for (const [name, opcode, mask] of BLENDS) {
	sse(name, [`66 0f 3a ${opcode} Vx,Wx,Ib`], {}, (c, destination, source, choice) => {
		const right = c.readVector(source, true);
		c.writeVector(destination, v128.bitselect(right, c.readVector(destination), mask(immediate(c, choice))));
	});
}

/** By the sign bits of XMM0. */
const VARIABLE_BLENDS: readonly [string, string, (mask: V128) => V128][] = [
	["pblendvb", "10", (mask) => i8x16.shr_s(mask, i32.const(7))],
	["blendvps", "14", (mask) => i32x4.shr_s(mask, i32.const(31))],
	["blendvpd", "15", (mask) => i64x2.shr_s(mask, i32.const(63))],
];
for (const [name, opcode, mask] of VARIABLE_BLENDS) {
	sse(name, [`66 0f 38 ${opcode} Vx,Wx`], {}, (c, destination, source) => {
		const right = c.readVector(source, true);
		c.writeVector(destination, v128.bitselect(right, c.readVector(destination), mask(c.xmm(0))));
	});
}

// ---- insert and extract ----

/** All ones in the lane of the given number. */
const laneMask = (bytes: 1 | 2 | 4, lane: I32): V128 => {
	const numbers = lanes(bytes, range(16 / bytes));
	if (bytes === 1) return i8x16.eq(i8x16.splat(lane), numbers);
	return bytes === 2 ? i16x8.eq(i16x8.splat(lane), numbers) : i32x4.eq(i32x4.splat(lane), numbers);
};

const INSERTS: readonly [string, string, 1 | 2][] = [
	["pinsrw", "66 0f c4 Vx,Ew,Ib", 2],
	// As a byte operand, registers 4-7 would be AH to BH.
	["pinsrb", "66 0f 3a 20 Vx,Rd,Ib", 1],
	["pinsrb", "66 0f 3a 20 Vx,Mb,Ib", 1],
];
for (const [name, encoding, bytes] of INSERTS) {
	sse(name, [encoding], {}, (c, destination, source, lane) => {
		const value = i32.wrap(c.read(source));
		const mask = laneMask(bytes, immediate(c, lane, 16 / bytes - 1));
		const splat = bytes === 1 ? i8x16.splat(value) : i16x8.splat(value);
		c.writeVector(destination, v128.bitselect(splat, c.readVector(destination), mask));
	});
}
mmx("pinsrw", ["np 0f c4 Pq,Ew,Ib"], {}, (c, destination, source, lane) => {
	const value = i16x8.splat(i32.wrap(c.read(source)));
	c.writeVector(destination, v128.bitselect(value, c.readVector(destination), laneMask(2, immediate(c, lane, 3))));
});
sse("pinsrd", ["66 0f 3a 22 Vx,Ey,Ib"], {}, (c, destination, source, lane) => {
	const value = c.read(source);
	const left = c.readVector(destination);
	if (c.operandSize === 64) {
		const high = immediate(c, lane, 1);
		const inserted = select(high, i64x2.replace(left, 1, value), i64x2.replace(left, 0, value));
		c.writeVector(destination, inserted);
	} else {
		const mask = laneMask(4, immediate(c, lane, 3));
		c.writeVector(destination, v128.bitselect(i32x4.splat(i32.wrap(value)), left, mask));
	}
});

/** Element `lane` of a vector, moved to lane 0. */
const toFirst = (source: V128, bytes: number, lane: I32): V128 => bytesFrom(source, i32.mul(lane, i32.const(bytes)));

const EXTRACTS: readonly [string, readonly string[], 1 | 2, number][] = [
	["pextrw", ["66 0f c5 Gd,Ux,Ib", "66 0f 3a 15 Rd,Vx,Ib", "66 0f 3a 15 Mw,Vx,Ib"], 2, 7],
	["pextrb", ["66 0f 3a 14 Rd,Vx,Ib", "66 0f 3a 14 Mb,Vx,Ib"], 1, 15],
];
for (const [name, encodings, bytes, last] of EXTRACTS) {
	sse(name, encodings, WRITES, (c, destination, source, lane) => {
		const first = toFirst(c.readVector(source), bytes, immediate(c, lane, last));
		const value = bytes === 1 ? i8x16.extract_u(first, 0) : i16x8.extract_u(first, 0);
		c.write(destination, i64.extend_i32_u(value));
	});
}
mmx("pextrw", ["np 0f c5 Gd,Nq,Ib"], WRITES, (c, destination, source, lane) => {
	const first = toFirst(c.readVector(source), 2, immediate(c, lane, 3));
	c.write(destination, i64.extend_i32_u(i16x8.extract_u(first, 0)));
});
sse("pextrd", ["66 0f 3a 16 Ey,Vx,Ib"], WRITES, (c, destination, source, lane) => {
	const bytes = c.operandSize === 64 ? 8 : 4;
	const first = toFirst(c.readVector(source), bytes, immediate(c, lane, 16 / bytes - 1));
	c.write(destination, i64x2.extract(first, 0));
});
sse("extractps", ["66 0f 3a 17 Ed,Vx,Ib"], WRITES, (c, destination, source, lane) => {
	c.write(destination, i64x2.extract(toFirst(c.readVector(source), 4, immediate(c, lane, 3)), 0));
});

/** INSERTPS: bits 7..6 element of a register source, 5..4 element of the destination, 3..0 elements to clear. */
sse("insertps", ["66 0f 3a 21 Vx,Wd,Ib"], {}, (c, destination, source, choice) => {
	const right = c.readVector(source);
	const wanted = immediate(c, choice);
	const element = source.memory ? right : toFirst(right, 4, i32.shr_u(wanted, i32.const(6)));
	const mask = laneMask(4, i32.and(i32.shr_u(wanted, i32.const(4)), i32.const(3)));
	const inserted = v128.bitselect(i32x4.splat(i32x4.extract(element, 0)), c.readVector(destination), mask);
	c.writeVector(destination, v128.andnot(inserted, bitsToLanes(4, wanted)));
});

// ---- sign and zero extension (SSE4.1) ----

type Widen = (value: V128) => V128;
const then =
	(...steps: readonly Widen[]): Widen =>
	(value) =>
		steps.reduce((sum, step) => step(sum), value);

/** Name after PMOVSX and PMOVZX, low digit of the opcode, size of the source; signed and unsigned. */
const EXTENSIONS: readonly [string, string, "q" | "d" | "w", Widen, Widen][] = [
	["bw", "0", "q", i16x8.extend_low_i8x16_s, i16x8.extend_low_i8x16_u],
	[
		"bd",
		"1",
		"d",
		then(i16x8.extend_low_i8x16_s, i32x4.extend_low_i16x8_s),
		then(i16x8.extend_low_i8x16_u, i32x4.extend_low_i16x8_u),
	],
	[
		"bq",
		"2",
		"w",
		then(i16x8.extend_low_i8x16_s, i32x4.extend_low_i16x8_s, i64x2.extend_low_i32x4_s),
		then(i16x8.extend_low_i8x16_u, i32x4.extend_low_i16x8_u, i64x2.extend_low_i32x4_u),
	],
	["wd", "3", "q", i32x4.extend_low_i16x8_s, i32x4.extend_low_i16x8_u],
	[
		"wq",
		"4",
		"d",
		then(i32x4.extend_low_i16x8_s, i64x2.extend_low_i32x4_s),
		then(i32x4.extend_low_i16x8_u, i64x2.extend_low_i32x4_u),
	],
	["dq", "5", "q", i64x2.extend_low_i32x4_s, i64x2.extend_low_i32x4_u],
];
/** Two bytes of memory are read as an integer: vectors are read from 32 bits up. */
const readSmall = (c: Context, source: Operand): V128 =>
	source.memory && source.bits === 16 ? vector64(c.read(source)) : c.readVector(source);
for (const [name, digit, size, signed, unsigned] of EXTENSIONS) {
	sse(`pmovsx${name}`, [`66 0f 38 2${digit} Vx,W${size}`], WRITES, (c, destination, source) =>
		c.writeVector(destination, signed(readSmall(c, source))),
	);
	sse(`pmovzx${name}`, [`66 0f 38 3${digit} Vx,W${size}`], WRITES, (c, destination, source) =>
		c.writeVector(destination, unsigned(readSmall(c, source))),
	);
}

// ---- duplication (SSE3) ----

sse(
	"movshdup",
	["f3 0f 16 Vx,Wx"],
	WRITES,
	unary((value) => i8x16.shuffle(value, value, elements(4, [1, 1, 3, 3]))),
);
sse(
	"movsldup",
	["f3 0f 12 Vx,Wx"],
	WRITES,
	unary((value) => i8x16.shuffle(value, value, elements(4, [0, 0, 2, 2]))),
);
sse(
	"movddup",
	["f2 0f 12 Vx,Wq"],
	WRITES,
	unary((value) => i8x16.shuffle(value, value, elements(8, [0, 0]))),
);
