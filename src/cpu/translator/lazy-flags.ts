/**
 * How a region keeps the arithmetic flags: in locals, as the operation that sets them and its operands. They become the two flag words (semantics/flags.ts)
 * only where something needs those: at a region's end, or for a condition whose setter is not known.
 *
 *   kind 0      first = result word, second = carry word
 *   kind 1..28  1 + operation * 4 + log2(bytes); first and second are the operands, or first the result
 *
 * *Steps* keep some flags: INC and DEC keep CF, rotations set nothing but CF and OF. The state before them (kind, first, second) stays in a second set of
 * locals. Of that, another step of the same sort keeps what it found; one of the other sort needs no more than what this one sets.
 *
 * From one region to the next the flags stay like this too, in FLAG_RESULT, FLAG_CARRY and FLAG_KIND, which is never a step's then.
 */

import { type I32, type I64, i32, i64, type Local } from "../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../wasm/function.ts";
import type { ModuleBuilder } from "../../wasm/module.ts";
import { FLAG_CARRY, FLAG_KIND, FLAG_RESULT, STATE } from "../layout.ts";
import {
	addWords,
	type FlagWords,
	rotationFlags,
	sext,
	stepWords,
	subtractWords,
	withCarryAndOverflow,
	zext,
} from "../semantics/flags.ts";

export const FLAG_OPERATIONS = [
	"add",
	"subtract",
	"logic",
	"increment",
	"decrement",
	"rotateLeft",
	"rotateRight",
] as const;
export type FlagOperation = (typeof FLAG_OPERATIONS)[number];
export const WORDS = 0;
const FIRST_STEP = 13;
const FIRST_ROTATION = 21;

export function flagKind(operation: FlagOperation, bits: number): number {
	return 1 + FLAG_OPERATIONS.indexOf(operation) * 4 + Math.log2(bits / 8);
}
/** Which flags a kind keeps: none, CF (INC, DEC), or all but CF and OF (rotations). */
export const sortOf = (kind: number): 0 | 1 | 2 => (kind >= FIRST_ROTATION ? 2 : kind >= FIRST_STEP ? 1 : 0);
/** Whether a kind that is not known is of the sort of a step. */
export const isOfSort = (kind: I32, sort: 1 | 2): I32 =>
	sort === 2
		? i32.ge_u(kind, i32.const(FIRST_ROTATION))
		: i32.lt_u(i32.sub(kind, i32.const(FIRST_STEP)), i32.const(FIRST_ROTATION - FIRST_STEP));
export const isStep = (kind: number): boolean => sortOf(kind) !== 0;
export const isStepExpression = (kind: I32): I32 => i32.ge_u(kind, i32.const(FIRST_STEP));

/** The parameters of {@link emitMaterialise}'s function. */
export const MATERIALISE_PARAMETERS = ["i32", "i64", "i64", "i32", "i64", "i64"] as const;

export interface FlagFunctions {
	/** (kind, first, second, and the same before a step): writes the flag words to the context block. */
	readonly materialise: FunctionReference;
	/** (): turns what a region has left in the context block and FLAG_KIND into the words. */
	readonly settleFlags: FunctionReference;
}

export function emitMaterialise(module: ModuleBuilder): FlagFunctions {
	const words = module.declare("flagWords", ["i32", "i64", "i64", "i64"], undefined);
	module.define(words, (f) => {
		const first = f.parameter(1, "i64");
		const second = f.parameter(2, "i64");
		const oldCarry = f.parameter(3, "i64");
		const put = ({ result, carry }: FlagWords): void => {
			f.store64(i32.const(STATE), result, FLAG_RESULT);
			f.store64(i32.const(STATE), carry, FLAG_CARRY);
		};
		const cases: (() => void)[] = [() => put({ result: first, carry: second })];
		for (const operation of FLAG_OPERATIONS) {
			for (const bits of [8, 16, 32, 64]) cases.push(() => put(wordsOf(f, operation, bits, first, second, oldCarry)));
		}
		f.switch(f.parameter(0, "i32"), cases, () => {});
	});
	const zero = i64.const(0);
	const materialise = module.function("materialiseFlags", [...MATERIALISE_PARAMETERS], undefined, (f) => {
		const kind = f.parameter(0, "i32");
		f.if(isStepExpression(kind), () =>
			f.call(words, f.parameter(3, "i32"), f.parameter(4, "i64"), f.parameter(5, "i64"), zero),
		);
		f.call(words, kind, f.parameter(1, "i64"), f.parameter(2, "i64"), i64.load(i32.const(STATE), FLAG_CARRY));
		f.store32(i32.const(FLAG_KIND), i32.const(WORDS));
	});
	const settleFlags = module.function("settleFlags", [], undefined, (f) => {
		const [first, second] = [FLAG_RESULT, FLAG_CARRY].map((offset) => i64.load(i32.const(STATE), offset));
		f.call(words, i32.load(i32.const(FLAG_KIND)), first!, second!, zero);
		f.store32(i32.const(FLAG_KIND), i32.const(WORDS));
	});
	return { materialise, settleFlags };
}

function wordsOf(
	f: FunctionBuilder,
	operation: FlagOperation,
	bits: number,
	first: I64,
	second: I64,
	oldCarry: I64,
): FlagWords {
	switch (operation) {
		case "add":
			return addWords(f, bits, first, second, f.let(i64.add(first, second)));
		case "subtract":
			return subtractWords(f, bits, first, second, f.let(i64.sub(first, second)));
		case "logic":
			return { result: sext(first, bits), carry: i64.const(0) };
		case "rotateLeft":
		case "rotateRight": {
			const { carry, overflow } = rotationFlags(operation, bits, first);
			const result = i64.load(i32.const(STATE), FLAG_RESULT);
			return { result, carry: f.let(withCarryAndOverflow(f, oldCarry, carry, overflow)) };
		}
		default: {
			const down = operation === "decrement";
			const one = i64.const(1);
			const value = f.let(down ? i64.add(first, one) : i64.sub(first, one));
			return stepWords(f, bits, value, first, down, oldCarry);
		}
	}
}

/** Narrow operands compare as i32 where that is one instruction. */
function compare(
	bits: number,
	left: I64,
	right: I64,
	signed: boolean,
	narrow: (l: I32, r: I32) => I32,
	wide: (l: I64, r: I64) => I32,
): I32 {
	if (bits === 32) return narrow(i32.wrap(left), i32.wrap(right));
	const cut = signed ? sext : zext;
	return wide(cut(left, bits), cut(right, bits));
}

/**
 * A condition (O B Z BE S P L LE, by number/2) straight from the operands of its setter; undefined where that needs more than they tell.
 */
export function directCondition(
	kind: number,
	code: number,
	first: Local<"i64">,
	second: Local<"i64">,
): I32 | undefined {
	if (kind === WORDS) return undefined;
	const operation = FLAG_OPERATIONS[(kind - 1) >> 2]!;
	const bits = 8 << ((kind - 1) & 3);
	if (operation === "rotateLeft" || operation === "rotateRight") {
		// CF and OF alone are its own.
		const { carry, overflow } = rotationFlags(operation, bits, first);
		return code === 0 ? i32.wrap(overflow) : code === 1 ? i32.wrap(carry) : undefined;
	}
	const sum = operation === "add" ? i64.add(first, second) : operation === "subtract" ? i64.sub(first, second) : first;
	const sign = (value: I64): I32 =>
		bits === 32 ? i32.lt_s(i32.wrap(value), i32.const(0)) : i64.lt_s(sext(value, bits), i64.const(0));
	const zero = (): I32 =>
		operation === "subtract"
			? compare(bits, first, second, false, i32.eq, i64.eq)
			: bits === 32
				? i32.eqz(i32.wrap(sum))
				: i64.eqz(zext(sum, bits));
	const overflow = (): I32 => {
		switch (operation) {
			case "add":
				return sign(i64.and(i64.xor(first, sum), i64.xor(second, sum)));
			case "subtract":
				return sign(i64.and(i64.xor(first, second), i64.xor(first, sum)));
			case "logic":
				return i32.const(0);
			default: {
				const edge = 2n ** BigInt(bits - 1) - (operation === "increment" ? 0n : 1n);
				return i64.eq(zext(first, bits), zext(i64.const(edge), bits));
			}
		}
	};
	const below = (): I32 | undefined => {
		switch (operation) {
			case "add":
				return compare(bits, sum, first, false, i32.lt_u, i64.lt_u);
			case "subtract":
				return compare(bits, first, second, false, i32.lt_u, i64.lt_u);
			case "logic":
				return i32.const(0);
			default:
				return undefined;
		}
	};
	switch (code) {
		case 0:
			return overflow();
		case 1:
			return below();
		case 2:
			return zero();
		case 3: {
			if (operation === "subtract") return compare(bits, first, second, false, i32.le_u, i64.le_u);
			if (operation === "logic") return zero();
			const carry = below();
			return carry === undefined ? undefined : i32.or(carry, zero());
		}
		case 4:
			return sign(sum);
		case 5:
			return i32.eqz(i32.and(i32.popcnt(i32.and(i32.wrap(sum), i32.const(0xff))), i32.const(1)));
		case 6:
			if (operation === "subtract") return compare(bits, first, second, true, i32.lt_s, i64.lt_s);
			return operation === "logic" ? sign(first) : i32.ne(sign(sum), overflow());
		default:
			if (operation === "subtract") return compare(bits, first, second, true, i32.le_s, i64.le_s);
			if (operation === "logic") return compare(bits, first, i64.const(0), true, i32.le_s, i64.le_s);
			return i32.or(i32.ne(sign(sum), overflow()), zero());
	}
}
