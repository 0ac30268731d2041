/**
 * What the x87's instructions do to the register stack (Intel SDM volume 2): operand fetch, stack faults, masked responses, pops.
 * Loads and stores are in transfer.ts. Relies on stack.ts for the stack, on arithmetic.ts and its neighbours for values.
 */

import type { Memory } from "../../memory/memory.ts";
import { X87_STATUS } from "../layout.ts";
import { packFlags, unpackFlags } from "../semantics/flag-words.ts";
import { add, multiply, subtract } from "./arithmetic.ts";
import { compare, Relation } from "./comparison.ts";
import { divide, partialRemainder, remainderOutcome } from "./division.ts";
import {
	ALL_EXCEPTIONS,
	BIAS,
	classify,
	Extended,
	type FloatEnvironment,
	Kind,
	Status,
	setIndefinite,
} from "./extended.ts";
import { extract, scale } from "./scaling.ts";
import {
	begin,
	environment,
	finish,
	free,
	isEmpty,
	pop,
	push,
	read,
	rotate,
	stackFault,
	underflow,
	write,
} from "./stack.ts";
import { cos, outOfRange, sin, tan } from "./trigonometry.ts";

/** Executes on the context block at `base`; `operand` is i of ST(i), or the linear address of the memory operand. */
export type Execute = (memory: Memory, base: number, operand: number) => void;
/** Reads a memory operand into an extended value, exactly. */
export type Source = (memory: Memory, address: number, into: Extended) => void;
type Binary = (environment: FloatEnvironment, a: Extended, b: Extended, result: Extended) => boolean;
type Unary = (environment: FloatEnvironment, a: Extended, result: Extended) => boolean;

const CODES = Status.C0 | Status.C2 | Status.C3;

const a = new Extended();
const b = new Extended();
const result = new Extended();
const second = new Extended();
const ONE = new Extended();
ONE.set(BIAS, 0x8000_0000, 0);
const ZERO = new Extended();

/** FADD ... FDIVR compute ST(0) op source, or source op ST(0). By the opcode's digit. */
export const binaryOperations: readonly (
	| { readonly name: string; readonly operation: Binary; readonly reversed: boolean }
	| undefined
)[] = [
	{ name: "ADD", operation: add, reversed: false },
	{ name: "MUL", operation: multiply, reversed: false },
	undefined,
	undefined,
	{ name: "SUB", operation: subtract, reversed: false },
	{ name: "SUBR", operation: subtract, reversed: true },
	{ name: "DIV", operation: divide, reversed: false },
	{ name: "DIVR", operation: divide, reversed: true },
];

/** op ST(0), memory */
export function binaryMemory(operation: Binary, reversed: boolean, source: Source): Execute {
	return (memory, base, operand) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0)) {
			underflow(memory, base, 0, false);
			return;
		}
		read(memory, base, 0, a);
		source(memory, operand, b);
		if (reversed ? operation(environment, b, a, result) : operation(environment, a, b, result)) {
			write(memory, base, 0, result);
		}
		finish(memory, base);
	};
}

/** op ST(0), ST(i), or with `toSti` op ST(i), ST(0). */
export function binaryRegister(operation: Binary, reversed: boolean, toSti: boolean, pops: boolean): Execute {
	return (memory, base, i) => {
		begin(memory, base);
		const destination = toSti ? i : 0;
		if (isEmpty(memory, base, 0) || isEmpty(memory, base, i)) {
			underflow(memory, base, destination, pops);
			return;
		}
		read(memory, base, 0, a);
		read(memory, base, i, b);
		if (reversed ? operation(environment, b, a, result) : operation(environment, a, b, result)) {
			write(memory, base, destination, result);
			if (pops) {
				pop(memory, base);
			}
		}
		finish(memory, base);
	};
}

function popTimes(memory: Memory, base: number, pops: number): void {
	for (let i = 0; i < pops; i++) {
		pop(memory, base);
	}
}

/** Sets the condition codes of a comparison, even after an unmasked exception, which only prevents the pops. */
function finishCompare(memory: Memory, base: number, relation: Relation, pops: number): void {
	finish(memory, base, CODES, relation);
	if (!stopped()) {
		popTimes(memory, base, pops);
	}
}

/** Whether an exception of this instruction is unmasked. */
function stopped(): boolean {
	return (environment.exceptions & ~environment.control & ALL_EXCEPTIONS) !== 0;
}

/** A comparison with an empty register is unordered. */
function compareUnderflow(memory: Memory, base: number, pops: number): void {
	stackFault(memory, base, false);
	memory.setU16(base + X87_STATUS, memory.u16(base + X87_STATUS) | Relation.unordered);
	if (!stopped()) {
		popTimes(memory, base, pops);
	}
}

export function compareMemory(source: Source, pops: number): Execute {
	return (memory, base, operand) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0)) {
			compareUnderflow(memory, base, pops);
			return;
		}
		read(memory, base, 0, a);
		source(memory, operand, b);
		finishCompare(memory, base, compare(environment, a, b, false), pops);
	};
}

export function compareRegister(quiet: boolean, pops: number): Execute {
	return (memory, base, i) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0) || isEmpty(memory, base, i)) {
			compareUnderflow(memory, base, pops);
			return;
		}
		read(memory, base, 0, a);
		read(memory, base, i, b);
		finishCompare(memory, base, compare(environment, a, b, quiet), pops);
	};
}

export const test: Execute = (memory, base) => {
	begin(memory, base);
	if (isEmpty(memory, base, 0)) {
		compareUnderflow(memory, base, 0);
		return;
	}
	read(memory, base, 0, a);
	finishCompare(memory, base, compare(environment, a, ZERO, false), 0);
};

/** Puts a relation in ZF, PF and CF: C3, C2 and C0 lie so that a shift by 8 does it. OF, SF and AF are cleared. */
function setFlags(memory: Memory, base: number, relation: Relation): void {
	unpackFlags(memory, base, relation >>> 8);
}

/** FCOMI, FCOMIP, FUCOMI, FUCOMIP. */
export function compareFlags(quiet: boolean, pops: number): Execute {
	return (memory, base, i) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0) || isEmpty(memory, base, i)) {
			stackFault(memory, base, false);
			setFlags(memory, base, Relation.unordered);
		} else {
			read(memory, base, 0, a);
			read(memory, base, i, b);
			setFlags(memory, base, compare(environment, a, b, quiet));
			finish(memory, base);
		}
		if (!stopped()) {
			popTimes(memory, base, pops);
		}
	};
}

/** FCMOVcc: moves where one of the RFLAGS bits of `mask` is set, or with `when` false where none is. */
export function conditionalMove(mask: number, when: boolean): Execute {
	return (memory, base, i) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0) || isEmpty(memory, base, i)) {
			underflow(memory, base, 0, false);
			return;
		}
		if (((packFlags(memory, base) & mask) !== 0) === when) {
			read(memory, base, i, a);
			write(memory, base, 0, a);
		}
	};
}

/** FCHS, FABS, FSQRT, FRNDINT, F2XM1. */
export function unary(operation: Unary): Execute {
	return (memory, base) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0)) {
			underflow(memory, base, 0, false);
			return;
		}
		read(memory, base, 0, a);
		if (operation(environment, a, result)) {
			write(memory, base, 0, result);
		}
		finish(memory, base);
	};
}

export const negate: Unary = (_environment, from, into) => {
	into.set(from.signExponent ^ 0x8000, from.high, from.low);
	return true;
};
export const absolute: Unary = (_environment, from, into) => {
	into.set(from.signExponent & 0x7fff, from.high, from.low);
	return true;
};

/** FYL2X, FYL2XP1, FPATAN: ST(1) becomes a function of both, then ST(0) is popped. */
export function binaryPop(operation: Binary): Execute {
	return binaryRegisterOne(operation, true);
}

/** FSCALE: ST(0) becomes a function of ST(0) and ST(1). */
export const scaleTop: Execute = binaryRegisterOne(scale, false);

function binaryRegisterOne(operation: Binary, pops: boolean): Execute {
	const execute = binaryRegister(operation, false, pops, pops);
	return (memory, base) => execute(memory, base, 1);
}

/** C2 says "not finished" or "out of range" of some instructions; their stack faults clear it. */
function clearC2(memory: Memory, base: number): void {
	memory.setU16(base + X87_STATUS, memory.u16(base + X87_STATUS) & ~Status.C2);
}

/** FPREM, FPREM1. */
export function remainder(nearest: boolean): Execute {
	return (memory, base) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0) || isEmpty(memory, base, 1)) {
			underflow(memory, base, 0, false);
			clearC2(memory, base);
			return;
		}
		read(memory, base, 0, a);
		read(memory, base, 1, b);
		if (partialRemainder(environment, a, b, nearest, result)) {
			write(memory, base, 0, result);
		}
		const { quotient, partial, valid } = remainderOutcome;
		if (!valid) {
			finish(memory, base, Status.C2, 0);
			return;
		}
		const codes =
			(partial ? Status.C2 : 0) | ((quotient & 4) !== 0 ? Status.C0 : 0) | ((quotient & 2) !== 0 ? Status.C3 : 0);
		environment.roundedUp = (quotient & 1) !== 0;
		finish(memory, base, CODES, codes);
	};
}

/** What FXAM says of each class, as C3, C2 and C0. */
const EXAMINED: Record<Kind, number> = {
	[Kind.unsupported]: 0,
	[Kind.quietNan]: Status.C0,
	[Kind.signallingNan]: Status.C0,
	[Kind.normal]: Status.C2,
	[Kind.infinity]: Status.C2 | Status.C0,
	[Kind.zero]: Status.C3,
	[Kind.denormal]: Status.C3 | Status.C2,
};

export const examine: Execute = (memory, base) => {
	begin(memory, base);
	read(memory, base, 0, a);
	environment.roundedUp = a.signExponent >>> 15 !== 0;
	finish(memory, base, CODES, isEmpty(memory, base, 0) ? Status.C3 | Status.C0 : EXAMINED[classify(a)]);
};

/** The stack faults of instructions that replace ST(0) and push. @returns whether there was one. */
function replaceAndPushFaults(memory: Memory, base: number): boolean {
	const empty = isEmpty(memory, base, 0);
	if (!empty && isEmpty(memory, base, -1)) {
		return false;
	}
	if (stackFault(memory, base, !empty)) {
		setIndefinite(result);
		write(memory, base, 0, result);
		push(memory, base, result);
	}
	return true;
}

export const extractTop: Execute = (memory, base) => {
	begin(memory, base);
	if (replaceAndPushFaults(memory, base)) {
		return;
	}
	read(memory, base, 0, a);
	if (extract(environment, a, result, second)) {
		write(memory, base, 0, result);
		push(memory, base, second);
	}
	finish(memory, base);
};

/** Ends FSIN ... FPTAN: C2 tells whether the operand was out of range. */
function finishTrigonometric(memory: Memory, base: number): void {
	finish(memory, base, Status.C2, outOfRange.value ? Status.C2 : 0);
}

export function trigonometric(operation: Unary): Execute {
	return (memory, base) => {
		begin(memory, base);
		if (isEmpty(memory, base, 0)) {
			underflow(memory, base, 0, false);
			clearC2(memory, base);
			return;
		}
		read(memory, base, 0, a);
		if (operation(environment, a, result)) {
			write(memory, base, 0, result);
		}
		finishTrigonometric(memory, base);
	};
}

export const tangent: Execute = (memory, base) => {
	begin(memory, base);
	if (replaceAndPushFaults(memory, base)) {
		clearC2(memory, base);
		return;
	}
	read(memory, base, 0, a);
	if (tan(environment, a, result)) {
		write(memory, base, 0, result);
		// A NaN is pushed in the place of the 1.
		push(memory, base, classify(result) >= Kind.quietNan ? result : ONE);
	}
	finishTrigonometric(memory, base);
};

export const sineAndCosine: Execute = (memory, base) => {
	begin(memory, base);
	if (replaceAndPushFaults(memory, base)) {
		clearC2(memory, base);
		return;
	}
	read(memory, base, 0, a);
	if (sin(environment, a, result)) {
		cos(environment, a, second);
		write(memory, base, 0, result);
		push(memory, base, second);
	}
	finishTrigonometric(memory, base);
};

/** FINCSTP and FDECSTP: contents and tags stay. */
export function rotateStack(by: number): Execute {
	return (memory, base) => {
		begin(memory, base);
		rotate(memory, base, by);
		finish(memory, base);
	};
}

/** FFREE and, undocumented, FFREEP. */
export function freeRegister(pops: boolean): Execute {
	return (memory, base, i) => {
		begin(memory, base);
		free(memory, base, i);
		if (pops) {
			pop(memory, base);
		}
		finish(memory, base);
	};
}
