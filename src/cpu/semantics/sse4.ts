/** What SSE4 has that fits no family: sums of absolute differences by position, the smallest word, string comparison, CRC32. */

import { type I32, type I64, i8x16, i16x8, i32, i32x4, i64, type V128, v128 } from "../../wasm/expression.ts";
import * as layout from "../layout.ts";
import { LEFT, RESULT, RIGHT, SimdOperation } from "../simd/operations.ts";
import type { Context } from "./context.ts";
import { unpackArithmetic } from "./flags.ts";
import { bytesFrom, elements, exactResult, immediate, lanes, sse, WRITES, ZERO } from "./simd.ts";
import { instruction } from "./table.ts";

/**
 * MPSADBW: eight sums of |destination[a + i + k] - source[b + k]|, k = 0..3. Bit 2 of the immediate is a / 4, bits 1..0 are b / 4.
 */
sse("mpsadbw", ["66 0f 3a 42 Vx,Wx,Ib"], {}, (c, destination, source, choice) => {
	const right = c.readVector(source, true);
	const left = c.readVector(destination);
	const wanted = immediate(c, choice, 7);
	const window = c.f.let(bytesFrom(left, i32.and(wanted, i32.const(4))));
	const block = c.f.let(bytesFrom(right, i32.shl(i32.and(wanted, i32.const(3)), i32.const(2))));
	let sum: V128 = ZERO;
	for (let k = 0; k < 4; k++) {
		const moved = i8x16.shuffle(
			window,
			ZERO,
			Array.from({ length: 16 }, (_, index) => index + k),
		);
		const byte = i8x16.splat(i8x16.extract_u(block, k));
		const difference = c.f.let(i16x8.sub(i16x8.extend_low_i8x16_u(moved), i16x8.extend_low_i8x16_u(byte)));
		sum = c.f.let(i16x8.add(sum, i16x8.abs(difference)));
	}
	c.writeVector(destination, sum);
});

/** PHMINPOSUW: the smallest word and, of equals, the lowest index: both in one dword, the word above. */
sse("phminposuw", ["66 0f 38 41 Vx,Wx"], WRITES, (c, destination, source) => {
	const words = c.readVector(source, true);
	const keyed = (wide: V128, first: number): V128 =>
		v128.or(i32x4.shl(wide, i32.const(16)), lanes(4, [first, first + 1, first + 2, first + 3]));
	const four = c.f.let(
		i32x4.min_u(keyed(i32x4.extend_low_i16x8_u(words), 0), keyed(i32x4.extend_high_i16x8_u(words), 4)),
	);
	const two = c.f.let(i32x4.min_u(four, i8x16.shuffle(four, four, elements(4, [2, 3, 0, 1]))));
	const one = i32x4.min_u(two, i8x16.shuffle(two, two, elements(4, [1, 0, 3, 2])));
	c.writeVector(destination, i32x4.replace(ZERO, 0, i32.rotl(i32x4.extract(one, 0), i32.const(16))));
});

// ---- SSE4.2 strings ----

/** A length in RAX or RDX: its magnitude, at most 16. */
function explicitLength(c: Context, register: number): I32 {
	const value = c.operandSize === 64 ? c.gpr(register) : i64.extend32_s(c.gpr(register));
	const bound = c.f.let(value);
	const sign = i64.shr_s(bound, i64.const(63));
	const magnitude = c.f.let(i64.sub(i64.xor(bound, sign), sign));
	// The most negative number stays negative; compared unsigned, it is large too.
	const small = i64.lt_u(magnitude, i64.const(16));
	const length = c.f.local("i32");
	c.f.set(length, i32.const(16));
	c.f.if(small, () => c.f.set(length, i32.wrap(magnitude)));
	return length;
}

const EXPLICIT = 0x100;
const MASK = 0x200;
const STRINGS = [
	{ name: "pcmpestrm", opcode: "60", control: EXPLICIT | MASK },
	{ name: "pcmpestri", opcode: "61", control: EXPLICIT },
	{ name: "pcmpistrm", opcode: "62", control: MASK },
	{ name: "pcmpistri", opcode: "63", control: 0 },
] as const;
for (const { name, opcode, control } of STRINGS) {
	const explicit = (control & EXPLICIT) !== 0;
	// REX.W makes the explicit lengths RAX and RDX.
	const options = { access: "r r r", sized: explicit };
	sse(name, [`66 0f 3a ${opcode} Vx,Wx,Ib`], options, (c, first, second, choice) => {
		const { f } = c;
		const right = c.readVector(second);
		f.storeV128(i32.const(0), c.readVector(first), LEFT);
		f.storeV128(i32.const(0), right, RIGHT);
		let request = i32.or(immediate(c, choice), i32.const(control));
		if (explicit) {
			const lengths = i32.or(
				i32.shl(explicitLength(c, 0), i32.const(16)),
				i32.shl(explicitLength(c, 2), i32.const(24)),
			);
			request = i32.or(request, lengths);
		}
		const flags = c.service("simd", i32.const(SimdOperation.compareStrings), request);
		if ((control & MASK) !== 0) c.setXmm(0, exactResult());
		else c.setGpr(1, i64.load32_u(i32.const(0), RESULT), 32);
		unpackArithmetic(c, i64.extend_i32_u(flags));
	});
}

// ---- CRC32: general registers only, so neither CR0.TS nor MXCSR matters ----

/** One byte into a CRC-32C, by the table. */
function crcByte(crc: I32, byte: I32): I32 {
	const index = i32.shl(i32.and(i32.xor(crc, byte), i32.const(0xff)), i32.const(2));
	return i32.xor(i32.shr_u(crc, i32.const(8)), i32.load(index, layout.CRC32C_TABLE));
}

for (const encoding of ["f2 0f 38 f0 Gd,Eb", "f2 0f 38 f1 Gd,Ev"]) {
	instruction("crc32", [encoding], {}, (c, destination, source) => {
		const { f } = c;
		const value: I64 = f.let(c.read(source!));
		// Entry 1 of the table is not zero once the table is there.
		f.if(i32.eqz(i32.load(i32.const(4), layout.CRC32C_TABLE)), () =>
			f.drop(c.service("simd", i32.const(SimdOperation.fillCrcTable), i32.const(0))),
		);
		let crc: I32 = i32.wrap(c.read(destination!));
		for (let byte = 0; byte < source!.bits / 8; byte++) {
			crc = f.let(crcByte(f.let(crc), i32.wrap(i64.shr_u(value, i64.const(byte * 8)))));
		}
		c.write(destination!, i64.extend_i32_u(crc));
	});
}
