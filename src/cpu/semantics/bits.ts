/** Bit tests and scans. */
import { type I64, i32, i64 } from "../../wasm/expression.ts";
import type { Context } from "./context.ts";
import { setCarryFlag, zext } from "./flags.ts";
import { instruction, type Operand } from "./table.ts";

type Change = ((value: I64, mask: I64) => I64) | undefined;

const OPERATIONS: readonly [string, string, number, Change][] = [
	["bt", "a3", 4, undefined],
	["bts", "ab", 5, (value, mask) => i64.or(value, mask)],
	["btr", "b3", 6, (value, mask) => i64.and(value, i64.xor(mask, i64.const(-1)))],
	["btc", "bb", 7, (value, mask) => i64.xor(value, mask)],
];

function testBit(
	c: Context,
	operand: Operand,
	value: I64,
	index: I64,
	change: Change,
	put: (value: I64) => void,
): void {
	const position = c.f.let(i64.and(index, i64.const(operand.bits - 1)));
	if (change !== undefined) put(c.f.let(change(value, i64.shl(i64.const(1), position))));
	setCarryFlag(c, c.f.let(i64.and(i64.shr_u(value, position), i64.const(1))));
}

for (const [name, opcode, digit, change] of OPERATIONS) {
	const options = {
		access: change === undefined ? "r r" : "rw r",
		lock: change !== undefined,
		undefinedFlags: "OF SF AF PF",
	};
	instruction(name, [`0f ba /${digit} Ev,Ib`], options, (c, operand, index) => {
		const value = c.read(operand!);
		testBit(c, operand!, value, c.read(index!), change, (result) => c.write(operand!, result));
	});
	instruction(name, [`0f ${opcode} Ev,Gv`], options, (c, operand, index) => {
		const { bits } = operand!;
		if (!operand!.memory) {
			const value = c.read(operand!);
			testBit(c, operand!, value, c.read(index!), change, (result) => c.write(operand!, result));
			return;
		}
		// A register index reaches beyond the operand: it selects the word, as a signed number.
		const offset = c.f.let(c.readSigned(index!));
		const words = i64.shr_s(offset, i64.const(Math.log2(bits)));
		const bytes = i64.mul(words, i64.const(bits / 8));
		// The sum is an offset like any other: cut to the address size before the segment's base is added.
		const address = c.f.let(
			c.addressSize === 64
				? i64.add(c.virtualAddress(operand!), bytes)
				: c.segmented(zext(i64.add(c.effectiveAddress(operand!), bytes), c.addressSize), "operand"),
		);
		if (change !== undefined) c.checkWrite(bits, address);
		const value = c.load(bits, address);
		testBit(c, operand!, value, offset, change, (result) => c.store(bits, address, result));
	});
}

const SCAN_UNDEFINED = { access: "rw r", undefinedFlags: "CF OF SF AF PF" };
// A source of 0 leaves the destination as it is, on every processor that there is.
function scan(c: Context, destination: Operand, value: I64, position: I64): void {
	c.setFlags(value, i64.const(0));
	c.f.if(i64.ne(value, i64.const(0)), () => c.write(destination, position));
}
instruction("bsf", ["0f bc Gv,Ev"], SCAN_UNDEFINED, (c, destination, from) => {
	const value = c.read(from!);
	scan(c, destination!, value, i64.ctz(value));
});
instruction("bsr", ["0f bd Gv,Ev"], SCAN_UNDEFINED, (c, destination, from) => {
	const value = c.read(from!);
	scan(c, destination!, value, i64.sub(i64.const(63), i64.clz(value)));
});

// OF, SF, AF, CF and PF are cleared: a result word of 0 or 1 has the right ZF; bit 8 of the carry word then clears PF.
instruction("popcnt", ["f3 0f b8 Gv,Ev"], { access: "w r", feature: "popcnt" }, (c, destination, from) => {
	const value = c.read(from!);
	const count = c.f.let(i64.popcnt(value));
	const isZero = c.f.let(i64.eqz(count));
	c.write(destination!, count);
	c.setFlags(i64.extend_i32_u(i32.eqz(isZero)), i64.extend_i32_u(i32.shl(isZero, i32.const(8))));
});
