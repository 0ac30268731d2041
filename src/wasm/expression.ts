/**
 * Typed WebAssembly expressions: `i64.add(a, i64.const(1))` builds a tree that {@link FunctionBuilder} writes out.
 * An expression is evaluated where it is used, each time that it is used: bind it to a local (`f.let`) to use it twice.
 * Constant operands are folded for the integer operations that address and flag arithmetic produces.
 */
import type { ByteWriter, ValueType } from "./encoding.ts";

/** A value is another one, whatever that is, plus a constant of at most 31 bits. */
export interface Relative {
	/** Stands for the other value: any object. */
	readonly to: object;
	readonly by: number;
}
export type I32 = Expression<"i32">;
export type I64 = Expression<"i64">;
export type F32 = Expression<"f32">;
export type F64 = Expression<"f64">;
export type V128 = Expression<"v128">;

type Constant<T extends ValueType> = T extends "i64" ? bigint : number;

/** What stands behind an opcode in the code. */
const Immediate = { none: 0, s32: 1, s64: 2, index: 3, memory: 4 } as const;
type Immediate = (typeof Immediate)[keyof typeof Immediate];

/**
 * An instruction and its operands. All expressions are of this one class, so that V8 knows their shape wherever it meets one: a region has
 * thousands of them.
 */
export class Expression<T extends ValueType = ValueType> {
	constructor(
		readonly type: T,
		private readonly opcode: number,
		private readonly left?: Expression | undefined,
		private readonly right?: Expression | undefined,
		private readonly follows: Immediate = Immediate.none,
		/** A constant, a number of a local or an offset. A constant is a number where that is exact. */
		readonly immediate: number | bigint = 0,
		/** What is known of the value, where something is. */
		readonly relative?: Relative | undefined,
		/** Writes all of it, where it is more than operands, opcode and immediate. */
		private readonly write?: ((code: ByteWriter) => void) | undefined,
	) {}

	get isConstant(): boolean {
		return this.follows === Immediate.s32 || this.follows === Immediate.s64;
	}

	/** The value, where it is a constant. */
	get constant(): Constant<T> | undefined {
		if (this.follows === Immediate.s32) return this.immediate as Constant<T>;
		if (this.follows === Immediate.s64) return BigInt(this.immediate) as Constant<T>;
		return undefined;
	}

	emit(code: ByteWriter): void {
		if (this.write !== undefined) {
			this.write(code);
			return;
		}
		this.left?.emit(code);
		this.right?.emit(code);
		code.opcode(this.opcode);
		switch (this.follows) {
			case Immediate.none:
				return;
			case Immediate.s32:
				code.s32(this.immediate as number);
				return;
			case Immediate.s64:
				code.s64(this.immediate);
				return;
			case Immediate.memory:
				// No alignment is promised.
				code.byte(0);
				code.u32(this.immediate as number);
				return;
			case Immediate.index:
				code.u32(this.immediate as number);
				return;
		}
	}

	/** The same value, of which something is known. */
	knownAs(relative: Relative): Expression<T> {
		const { type, opcode, left, right, follows, immediate, write } = this;
		return new Expression(type, opcode, left, right, follows, immediate, relative, write);
	}
}

/** An expression that writes itself. */
export function written<T extends ValueType>(type: T, write: (code: ByteWriter) => void): Expression<T> {
	return new Expression(type, 0, undefined, undefined, Immediate.none, 0, undefined, write);
}

/** A local variable's value. */
export class Local<T extends ValueType = ValueType> extends Expression<T> {
	constructor(
		type: T,
		readonly local: number,
	) {
		super(type, 0x20, undefined, undefined, Immediate.index, local);
	}
}

/** A global's value. */
export class GlobalReference<T extends ValueType = ValueType> extends Expression<T> {
	constructor(
		type: T,
		readonly global: number,
	) {
		super(type, 0x23, undefined, undefined, Immediate.index, global);
	}
}

/** A SIMD opcode: prefix 0xfd and a number; see {@link ByteWriter.opcode}. */
const simd = (number: number): number => 0xfd00 + number;

function unary<R extends ValueType, A extends ValueType>(type: R, opcode: number) {
	return (operand: Expression<A>): Expression<R> => new Expression(type, opcode, operand);
}

function binary<R extends ValueType, A extends ValueType, B extends ValueType = A>(type: R, opcode: number) {
	return (left: Expression<A>, right: Expression<B>): Expression<R> => new Expression(type, opcode, left, right);
}

const i32Constant = (value: number): I32 => new Expression("i32", 0x41, undefined, undefined, Immediate.s32, value | 0);

function i64Constant(value: number | bigint): I64 {
	const wrapped = Number.isSafeInteger(value) ? value : BigInt.asIntN(64, BigInt(value));
	const number = Number(wrapped);
	const immediate = Number.isSafeInteger(number) ? number : wrapped;
	return new Expression("i64", 0x42, undefined, undefined, Immediate.s64, immediate);
}

type Fold32 = (left: number, right: number) => number;
type Fold64 = (left: bigint, right: bigint) => bigint;

/** An i32 operation that folds constants and drops a right operand that is its identity. */
function i32Folding(opcode: number, fold: Fold32, identity?: number) {
	return (left: I32, right: I32): I32 => {
		if (right.isConstant) {
			if (left.isConstant) return i32Constant(fold(left.constant!, right.constant!));
			if (right.immediate === identity) return left;
		}
		return new Expression("i32", opcode, left, right);
	};
}

function i64Folding(opcode: number, fold: Fold64, identity?: number) {
	return (left: I64, right: I64): I64 => {
		if (right.isConstant) {
			if (left.isConstant) return i64Constant(fold(left.constant!, right.constant!));
			if (right.immediate === identity) return left;
		}
		return new Expression("i64", opcode, left, right);
	};
}

/** The same value, which is known to be what `to` stands for, plus `by`. */
export function relativeTo(value: I64, to: object, by: number): I64 {
	return value.knownAs({ to, by });
}

/** The sum or (`sign` -1) the difference of two values, which is relative to what the left one is if the right one is a constant. */
function i64Sum(opcode: number, sign: 1 | -1) {
	const plain = i64Folding(opcode, (a, b) => (sign > 0 ? a + b : a - b), 0);
	return (left: I64, right: I64): I64 => {
		const sum = plain(left, right);
		if (left.relative === undefined || !right.isConstant) return sum;
		const by = left.relative.by + sign * Number(right.immediate);
		return Math.abs(by) < 2 ** 31 ? relativeTo(sum, left.relative.to, by) : sum;
	};
}

/** Is told where a number is in the code that may still change: {@link ByteWriter.patch}. */
export type PatchListener = (code: ByteWriter, position: number) => void;

/** An i64 constant of 32 bits that may still change; to be emitted once. */
export function patchableConstant(value: number, listener: PatchListener): I64 {
	return written("i64", (code) => {
		code.byte(0x42);
		listener(code, code.padded(value));
	});
}

/** i64.load whose offset may still change; to be emitted once. */
export function patchableLoad(address: I32, offset: number, listener: PatchListener): I64 {
	return written("i64", (code) => {
		address.emit(code);
		code.byte(0x29);
		code.byte(0);
		listener(code, code.padded(offset));
	});
}

function load<T extends ValueType>(type: T, opcode: number) {
	return (address: I32, offset = 0): Expression<T> =>
		new Expression(type, opcode, address, undefined, Immediate.memory, offset);
}

const U64 = (value: bigint) => BigInt.asUintN(64, value);

export const i32 = {
	const: i32Constant,
	load: load("i32", 0x28),
	load8_s: load("i32", 0x2c),
	load8_u: load("i32", 0x2d),
	load16_s: load("i32", 0x2e),
	load16_u: load("i32", 0x2f),
	eqz: unary<"i32", "i32">("i32", 0x45),
	eq: binary<"i32", "i32">("i32", 0x46),
	ne: binary<"i32", "i32">("i32", 0x47),
	lt_s: binary<"i32", "i32">("i32", 0x48),
	lt_u: binary<"i32", "i32">("i32", 0x49),
	gt_s: binary<"i32", "i32">("i32", 0x4a),
	gt_u: binary<"i32", "i32">("i32", 0x4b),
	le_s: binary<"i32", "i32">("i32", 0x4c),
	le_u: binary<"i32", "i32">("i32", 0x4d),
	ge_s: binary<"i32", "i32">("i32", 0x4e),
	ge_u: binary<"i32", "i32">("i32", 0x4f),
	clz: unary<"i32", "i32">("i32", 0x67),
	ctz: unary<"i32", "i32">("i32", 0x68),
	popcnt: unary<"i32", "i32">("i32", 0x69),
	add: i32Folding(0x6a, (a, b) => a + b, 0),
	sub: i32Folding(0x6b, (a, b) => a - b, 0),
	mul: i32Folding(0x6c, Math.imul, 1),
	div_s: binary<"i32", "i32">("i32", 0x6d),
	div_u: binary<"i32", "i32">("i32", 0x6e),
	rem_s: binary<"i32", "i32">("i32", 0x6f),
	rem_u: binary<"i32", "i32">("i32", 0x70),
	and: i32Folding(0x71, (a, b) => a & b, -1),
	or: i32Folding(0x72, (a, b) => a | b, 0),
	xor: i32Folding(0x73, (a, b) => a ^ b, 0),
	shl: i32Folding(0x74, (a, b) => a << b, 0),
	shr_s: i32Folding(0x75, (a, b) => a >> b, 0),
	shr_u: i32Folding(0x76, (a, b) => a >>> b, 0),
	rotl: binary<"i32", "i32">("i32", 0x77),
	rotr: binary<"i32", "i32">("i32", 0x78),
	wrap: (operand: I64): I32 =>
		operand.isConstant
			? i32Constant(Number(BigInt.asIntN(32, operand.constant!)))
			: new Expression("i32", 0xa7, operand),
	extend8_s: unary<"i32", "i32">("i32", 0xc0),
	extend16_s: unary<"i32", "i32">("i32", 0xc1),
	reinterpret_f32: unary<"i32", "f32">("i32", 0xbc),
	trunc_sat_f32_s: unary<"i32", "f32">("i32", 0xfc00),
	trunc_sat_f32_u: unary<"i32", "f32">("i32", 0xfc01),
	trunc_sat_f64_s: unary<"i32", "f64">("i32", 0xfc02),
	trunc_sat_f64_u: unary<"i32", "f64">("i32", 0xfc03),
} as const;

export const i64 = {
	const: i64Constant,
	load: load("i64", 0x29),
	load8_s: load("i64", 0x30),
	load8_u: load("i64", 0x31),
	load16_s: load("i64", 0x32),
	load16_u: load("i64", 0x33),
	load32_s: load("i64", 0x34),
	load32_u: load("i64", 0x35),
	eqz: unary<"i32", "i64">("i32", 0x50),
	eq: binary<"i32", "i64">("i32", 0x51),
	ne: binary<"i32", "i64">("i32", 0x52),
	lt_s: binary<"i32", "i64">("i32", 0x53),
	lt_u: binary<"i32", "i64">("i32", 0x54),
	gt_s: binary<"i32", "i64">("i32", 0x55),
	gt_u: binary<"i32", "i64">("i32", 0x56),
	le_s: binary<"i32", "i64">("i32", 0x57),
	le_u: binary<"i32", "i64">("i32", 0x58),
	ge_s: binary<"i32", "i64">("i32", 0x59),
	ge_u: binary<"i32", "i64">("i32", 0x5a),
	clz: unary<"i64", "i64">("i64", 0x79),
	ctz: unary<"i64", "i64">("i64", 0x7a),
	popcnt: unary<"i64", "i64">("i64", 0x7b),
	add: i64Sum(0x7c, 1),
	sub: i64Sum(0x7d, -1),
	mul: i64Folding(0x7e, (a, b) => a * b, 1),
	div_s: binary<"i64", "i64">("i64", 0x7f),
	div_u: binary<"i64", "i64">("i64", 0x80),
	rem_s: binary<"i64", "i64">("i64", 0x81),
	rem_u: binary<"i64", "i64">("i64", 0x82),
	and: i64Folding(0x83, (a, b) => a & b, -1),
	or: i64Folding(0x84, (a, b) => a | b, 0),
	xor: i64Folding(0x85, (a, b) => a ^ b, 0),
	shl: i64Folding(0x86, (a, b) => a << (b & 63n), 0),
	shr_s: i64Folding(0x87, (a, b) => a >> (b & 63n), 0),
	shr_u: i64Folding(0x88, (a, b) => U64(a) >> (b & 63n), 0),
	rotl: binary<"i64", "i64">("i64", 0x89),
	rotr: binary<"i64", "i64">("i64", 0x8a),
	extend_i32_s: (operand: I32): I64 =>
		operand.isConstant ? i64Constant(operand.constant!) : new Expression("i64", 0xac, operand),
	extend_i32_u: (operand: I32): I64 =>
		operand.isConstant ? i64Constant(operand.constant! >>> 0) : new Expression("i64", 0xad, operand),
	extend8_s: unary<"i64", "i64">("i64", 0xc2),
	extend16_s: unary<"i64", "i64">("i64", 0xc3),
	extend32_s: unary<"i64", "i64">("i64", 0xc4),
	reinterpret_f64: unary<"i64", "f64">("i64", 0xbd),
	trunc_sat_f32_s: unary<"i64", "f32">("i64", 0xfc04),
	trunc_sat_f32_u: unary<"i64", "f32">("i64", 0xfc05),
	trunc_sat_f64_s: unary<"i64", "f64">("i64", 0xfc06),
	trunc_sat_f64_u: unary<"i64", "f64">("i64", 0xfc07),
} as const;

function floats<T extends "f32" | "f64">(type: T, codes: { compare: number; arithmetic: number; load: number }) {
	const compare = (index: number) => binary<"i32", T>("i32", codes.compare + index);
	const one = (index: number) => unary<T, T>(type, codes.arithmetic + index);
	const two = (index: number) => binary<T, T>(type, codes.arithmetic + index);
	return {
		load: load(type, codes.load),
		eq: compare(0),
		ne: compare(1),
		lt: compare(2),
		gt: compare(3),
		le: compare(4),
		ge: compare(5),
		abs: one(0),
		neg: one(1),
		ceil: one(2),
		floor: one(3),
		trunc: one(4),
		nearest: one(5),
		sqrt: one(6),
		add: two(7),
		sub: two(8),
		mul: two(9),
		div: two(10),
		min: two(11),
		max: two(12),
		copysign: two(13),
	} as const;
}

export const f32 = {
	...floats("f32", { compare: 0x5b, arithmetic: 0x8b, load: 0x2a }),
	const: (value: number): F32 =>
		written("f32", (code) => {
			code.byte(0x43);
			code.f32(value);
		}),
	convert_i32_s: unary<"f32", "i32">("f32", 0xb2),
	convert_i32_u: unary<"f32", "i32">("f32", 0xb3),
	convert_i64_s: unary<"f32", "i64">("f32", 0xb4),
	convert_i64_u: unary<"f32", "i64">("f32", 0xb5),
	demote: unary<"f32", "f64">("f32", 0xb6),
	reinterpret_i32: unary<"f32", "i32">("f32", 0xbe),
} as const;

export const f64 = {
	...floats("f64", { compare: 0x61, arithmetic: 0x99, load: 0x2b }),
	const: (value: number): F64 =>
		written("f64", (code) => {
			code.byte(0x44);
			code.f64(value);
		}),
	convert_i32_s: unary<"f64", "i32">("f64", 0xb7),
	convert_i32_u: unary<"f64", "i32">("f64", 0xb8),
	convert_i64_s: unary<"f64", "i64">("f64", 0xb9),
	convert_i64_u: unary<"f64", "i64">("f64", 0xba),
	promote: unary<"f64", "f32">("f64", 0xbb),
	reinterpret_i64: unary<"f64", "i64">("f64", 0xbf),
} as const;

/** Chooses `whenTrue` where `condition` is not zero; both are evaluated. */
export function select<T extends ValueType>(
	condition: I32,
	whenTrue: Expression<T>,
	whenFalse: Expression<T>,
): Expression<T> {
	return written(whenTrue.type, (code) => {
		whenTrue.emit(code);
		whenFalse.emit(code);
		condition.emit(code);
		if (whenTrue.type === "v128") {
			code.bytes([0x1c, 1, 0x7b]);
		} else code.byte(0x1b);
	});
}

// ---- SIMD ----

const vv = (number: number) => unary<"v128", "v128">("v128", simd(number));
const vvv = (number: number) => binary<"v128", "v128">("v128", simd(number));
const test = (number: number) => unary<"i32", "v128">("i32", simd(number));
const shift = (number: number) => binary<"v128", "v128", "i32">("v128", simd(number));
const splat = <A extends ValueType>(number: number) => unary<"v128", A>("v128", simd(number));

function extract<R extends ValueType>(type: R, number: number) {
	return (vector: V128, lane: number): Expression<R> =>
		written(type, (code) => {
			vector.emit(code);
			code.opcode(simd(number));
			code.byte(lane);
		});
}

function replace<A extends ValueType>(number: number) {
	return (vector: V128, lane: number, value: Expression<A>): V128 =>
		written("v128", (code) => {
			vector.emit(code);
			value.emit(code);
			code.opcode(simd(number));
			code.byte(lane);
		});
}

/** Integer comparisons in the order of the specification's opcodes, signed and unsigned. */
function comparisons(base: number) {
	return {
		eq: vvv(base),
		ne: vvv(base + 1),
		lt_s: vvv(base + 2),
		lt_u: vvv(base + 3),
		gt_s: vvv(base + 4),
		gt_u: vvv(base + 5),
		le_s: vvv(base + 6),
		le_u: vvv(base + 7),
		ge_s: vvv(base + 8),
		ge_u: vvv(base + 9),
	} as const;
}

export const v128 = {
	load: load("v128", simd(0x00)),
	load32_zero: load("v128", simd(0x5c)),
	load64_zero: load("v128", simd(0x5d)),
	/** A constant of 16 bytes, lowest first. */
	const: (bytes: readonly number[]): V128 =>
		written("v128", (code) => {
			if (bytes.length !== 16) throw new RangeError("v128.const takes 16 bytes");
			code.opcode(simd(0x0c));
			code.bytes(bytes);
		}),
	not: vv(0x4d),
	and: vvv(0x4e),
	/** left AND NOT right (x86's PANDN has its operands the other way round). */
	andnot: vvv(0x4f),
	or: vvv(0x50),
	xor: vvv(0x51),
	any_true: test(0x53),
	/** Bits of `whenSet` where `mask` is 1, of `whenClear` where it is 0. */
	bitselect: (whenSet: V128, whenClear: V128, mask: V128): V128 =>
		written("v128", (code) => {
			whenSet.emit(code);
			whenClear.emit(code);
			mask.emit(code);
			code.opcode(simd(0x52));
		}),
} as const;

export const i8x16 = {
	...comparisons(0x23),
	/** Byte i of the result is byte lanes[i] of the 32 bytes left then right. */
	shuffle: (left: V128, right: V128, lanes: readonly number[]): V128 =>
		written("v128", (code) => {
			if (lanes.length !== 16) throw new RangeError("i8x16.shuffle takes 16 lanes");
			left.emit(code);
			right.emit(code);
			code.opcode(simd(0x0d));
			code.bytes(lanes);
		}),
	swizzle: vvv(0x0e),
	splat: splat<"i32">(0x0f),
	extract_s: extract("i32", 0x15),
	extract_u: extract("i32", 0x16),
	replace: replace<"i32">(0x17),
	abs: vv(0x60),
	neg: vv(0x61),
	popcnt: vv(0x62),
	all_true: test(0x63),
	bitmask: test(0x64),
	narrow_i16x8_s: vvv(0x65),
	narrow_i16x8_u: vvv(0x66),
	shl: shift(0x6b),
	shr_s: shift(0x6c),
	shr_u: shift(0x6d),
	add: vvv(0x6e),
	add_sat_s: vvv(0x6f),
	add_sat_u: vvv(0x70),
	sub: vvv(0x71),
	sub_sat_s: vvv(0x72),
	sub_sat_u: vvv(0x73),
	min_s: vvv(0x76),
	min_u: vvv(0x77),
	max_s: vvv(0x78),
	max_u: vvv(0x79),
	avgr_u: vvv(0x7b),
} as const;

export const i16x8 = {
	...comparisons(0x2d),
	splat: splat<"i32">(0x10),
	extract_s: extract("i32", 0x18),
	extract_u: extract("i32", 0x19),
	replace: replace<"i32">(0x1a),
	extadd_pairwise_i8x16_s: vv(0x7c),
	extadd_pairwise_i8x16_u: vv(0x7d),
	abs: vv(0x80),
	neg: vv(0x81),
	q15mulr_sat_s: vvv(0x82),
	all_true: test(0x83),
	bitmask: test(0x84),
	narrow_i32x4_s: vvv(0x85),
	narrow_i32x4_u: vvv(0x86),
	extend_low_i8x16_s: vv(0x87),
	extend_high_i8x16_s: vv(0x88),
	extend_low_i8x16_u: vv(0x89),
	extend_high_i8x16_u: vv(0x8a),
	shl: shift(0x8b),
	shr_s: shift(0x8c),
	shr_u: shift(0x8d),
	add: vvv(0x8e),
	add_sat_s: vvv(0x8f),
	add_sat_u: vvv(0x90),
	sub: vvv(0x91),
	sub_sat_s: vvv(0x92),
	sub_sat_u: vvv(0x93),
	mul: vvv(0x95),
	min_s: vvv(0x96),
	min_u: vvv(0x97),
	max_s: vvv(0x98),
	max_u: vvv(0x99),
	avgr_u: vvv(0x9b),
	extmul_low_i8x16_s: vvv(0x9c),
	extmul_high_i8x16_s: vvv(0x9d),
	extmul_low_i8x16_u: vvv(0x9e),
	extmul_high_i8x16_u: vvv(0x9f),
} as const;

export const i32x4 = {
	...comparisons(0x37),
	splat: splat<"i32">(0x11),
	extract: extract("i32", 0x1b),
	replace: replace<"i32">(0x1c),
	extadd_pairwise_i16x8_s: vv(0x7e),
	extadd_pairwise_i16x8_u: vv(0x7f),
	abs: vv(0xa0),
	neg: vv(0xa1),
	all_true: test(0xa3),
	bitmask: test(0xa4),
	extend_low_i16x8_s: vv(0xa7),
	extend_high_i16x8_s: vv(0xa8),
	extend_low_i16x8_u: vv(0xa9),
	extend_high_i16x8_u: vv(0xaa),
	shl: shift(0xab),
	shr_s: shift(0xac),
	shr_u: shift(0xad),
	add: vvv(0xae),
	sub: vvv(0xb1),
	mul: vvv(0xb5),
	min_s: vvv(0xb6),
	min_u: vvv(0xb7),
	max_s: vvv(0xb8),
	max_u: vvv(0xb9),
	dot_i16x8_s: vvv(0xba),
	extmul_low_i16x8_s: vvv(0xbc),
	extmul_high_i16x8_s: vvv(0xbd),
	extmul_low_i16x8_u: vvv(0xbe),
	extmul_high_i16x8_u: vvv(0xbf),
	trunc_sat_f32x4_s: vv(0xf8),
	trunc_sat_f64x2_s_zero: vv(0xfc),
} as const;

export const i64x2 = {
	splat: splat<"i64">(0x12),
	extract: extract("i64", 0x1d),
	replace: replace<"i64">(0x1e),
	abs: vv(0xc0),
	neg: vv(0xc1),
	all_true: test(0xc3),
	bitmask: test(0xc4),
	extend_low_i32x4_s: vv(0xc7),
	extend_high_i32x4_s: vv(0xc8),
	extend_low_i32x4_u: vv(0xc9),
	extend_high_i32x4_u: vv(0xca),
	shl: shift(0xcb),
	shr_s: shift(0xcc),
	shr_u: shift(0xcd),
	add: vvv(0xce),
	sub: vvv(0xd1),
	mul: vvv(0xd5),
	eq: vvv(0xd6),
	ne: vvv(0xd7),
	lt_s: vvv(0xd8),
	gt_s: vvv(0xd9),
	le_s: vvv(0xda),
	ge_s: vvv(0xdb),
	extmul_low_i32x4_s: vvv(0xdc),
	extmul_high_i32x4_s: vvv(0xdd),
	extmul_low_i32x4_u: vvv(0xde),
	extmul_high_i32x4_u: vvv(0xdf),
} as const;

export const f32x4 = {
	eq: vvv(0x41),
	ne: vvv(0x42),
	lt: vvv(0x43),
	gt: vvv(0x44),
	le: vvv(0x45),
	ge: vvv(0x46),
	splat: splat<"f32">(0x13),
	extract: extract("f32", 0x1f),
	replace: replace<"f32">(0x20),
	demote_f64x2_zero: vv(0x5e),
	ceil: vv(0x67),
	floor: vv(0x68),
	trunc: vv(0x69),
	nearest: vv(0x6a),
	abs: vv(0xe0),
	neg: vv(0xe1),
	sqrt: vv(0xe3),
	add: vvv(0xe4),
	sub: vvv(0xe5),
	mul: vvv(0xe6),
	div: vvv(0xe7),
	pmin: vvv(0xea),
	pmax: vvv(0xeb),
	convert_i32x4_s: vv(0xfa),
	convert_i32x4_u: vv(0xfb),
} as const;

export const f64x2 = {
	eq: vvv(0x47),
	ne: vvv(0x48),
	lt: vvv(0x49),
	gt: vvv(0x4a),
	le: vvv(0x4b),
	ge: vvv(0x4c),
	splat: splat<"f64">(0x14),
	extract: extract("f64", 0x21),
	replace: replace<"f64">(0x22),
	promote_low_f32x4: vv(0x5f),
	ceil: vv(0x74),
	floor: vv(0x75),
	trunc: vv(0x7a),
	nearest: vv(0x94),
	abs: vv(0xec),
	neg: vv(0xed),
	sqrt: vv(0xef),
	add: vvv(0xf0),
	sub: vvv(0xf1),
	mul: vvv(0xf2),
	div: vvv(0xf3),
	pmin: vvv(0xf6),
	pmax: vvv(0xf7),
	convert_low_i32x4_s: vv(0xfe),
	convert_low_i32x4_u: vv(0xff),
} as const;
