/**
 * The x87's instruction set, D8..DF and WAIT, as one table: opcode, operand, access and what to do. The processor finds its operation
 * by {@link findX87Operation}, translates the operand's address and calls {@link executeX87}. Relies on operations.ts.
 */

import type { Memory } from "../../memory/memory.ts";
import { REGISTERS, STORE_BUFFER, X87_CONTROL, X87_STATUS, X87_TAGS, X87_TOP } from "../layout.ts";
import { Vector } from "../processor.ts";
import { Flag } from "../registers.ts";
import { constants } from "./constants.ts";
import { squareRoot } from "./division.ts";
import {
	initialise,
	loadEnvironment,
	type OperandSize,
	restore,
	save,
	setControlWord,
	statusWord,
	storeEnvironment,
} from "./environment.ts";
import { ALL_EXCEPTIONS, Status } from "./extended.ts";
import * as logarithm from "./logarithm.ts";
import type { Execute, Source } from "./operations.ts";
import * as operations from "./operations.ts";
import { roundToInteger } from "./scaling.ts";
import { updateSummary } from "./stack.ts";
import * as transfer from "./transfer.ts";
import * as trigonometry from "./trigonometry.ts";

/** What an operation works on, in Intel's notation; environments by their size in bytes. */
export type X87Operand =
	| "none"
	| "sti"
	| "m16int"
	| "m32int"
	| "m64int"
	| "m32fp"
	| "m64fp"
	| "m80fp"
	| "m80bcd"
	| "m2byte"
	| "m14byte"
	| "m28byte"
	| "m94byte"
	| "m108byte";

const OPERAND_SIZES: Record<X87Operand, number> = {
	none: 0,
	sti: 0,
	m16int: 2,
	m32int: 4,
	m64int: 8,
	m32fp: 4,
	m64fp: 8,
	m80fp: 10,
	m80bcd: 10,
	m2byte: 2,
	m14byte: 14,
	m28byte: 28,
	m94byte: 94,
	m108byte: 108,
};

export interface X87Operation {
	/** Intel's notation, e.g. "FADD ST(0), m32fp". */
	readonly name: string;
	/** E.g. "d8 /0", "d8 c0+i", "d9 d0"; "66" in front where the 16-bit operand size is another operation. */
	readonly encoding: string;
	/** First opcode byte. */
	readonly opcode: number;
	readonly operand: X87Operand;
	/** Bytes of the memory operand; 0 where there is none. */
	readonly size: number;
	/** A written operand stays as it was where an unmasked exception forbids the store, so a private copy needs its old bytes. */
	readonly access: "none" | "r" | "w";
	/** Checks for pending unmasked exceptions first. */
	readonly waits: boolean;
	/** Records last instruction, last operand and opcode (the caller's business): all but control instructions do. */
	readonly recordsPointers: boolean;
	readonly execute: Execute;
}

interface Form {
	readonly operation: X87Operation;
	/** ModRM bytes it answers to: memory forms by digit, register forms by `first` and `count`. */
	readonly digit: number;
	readonly first: number;
	readonly count: number;
	readonly operandSize: OperandSize | 0;
}

const forms: Form[] = [];

function hexadecimal(byte: number): string {
	return byte.toString(16).padStart(2, "0");
}

interface Options {
	readonly waits?: boolean;
	readonly recordsPointers?: boolean;
	readonly operandSize?: OperandSize;
}

function memoryForm(
	opcode: number,
	digit: number,
	name: string,
	operand: X87Operand,
	access: "r" | "w",
	execute: Execute,
	options: Options = {},
): void {
	const { waits = true, recordsPointers = true, operandSize = 0 } = options;
	const encoding = `${operandSize === 16 ? "66 " : ""}${hexadecimal(opcode)} /${digit}`;
	const size = OPERAND_SIZES[operand];
	const operation = { name, encoding, opcode, operand, size, access, waits, recordsPointers, execute };
	forms.push({ operation, digit, first: 0, count: 0, operandSize });
}

/** A form with ST(i): eight ModRM bytes from `first`. */
function stackForm(opcode: number, first: number, name: string, execute: Execute): void {
	const encoding = `${hexadecimal(opcode)} ${hexadecimal(first)}+i`;
	const operation: X87Operation = {
		name,
		encoding,
		opcode,
		operand: "sti",
		size: 0,
		access: "none",
		waits: true,
		recordsPointers: true,
		execute,
	};
	forms.push({ operation, digit: -1, first, count: 8, operandSize: 0 });
}

function plainForm(opcode: number, modrm: number, name: string, execute: Execute, options: Options = {}): void {
	const { waits = true, recordsPointers = true } = options;
	const encoding = `${hexadecimal(opcode)} ${hexadecimal(modrm)}`;
	const operation: X87Operation = {
		name,
		encoding,
		opcode,
		operand: "none",
		size: 0,
		access: "none",
		waits,
		recordsPointers,
		execute,
	};
	forms.push({ operation, digit: -1, first: modrm, count: 1, operandSize: 0 });
}

const CONTROL: Options = { recordsPointers: false };
const CONTROL_NO_WAIT: Options = { waits: false, recordsPointers: false };

function nothing(): void {}

/** D8, DA, DC, DE with memory: arithmetic and comparison of ST(0) with an operand of the opcode's type. */
const arithmeticMemory: readonly [opcode: number, prefix: string, operand: X87Operand, source: Source][] = [
	[0xd8, "F", "m32fp", transfer.float32],
	[0xda, "FI", "m32int", transfer.integer32],
	[0xdc, "F", "m64fp", transfer.float64],
	[0xde, "FI", "m16int", transfer.integer16],
];
for (const [opcode, prefix, operand, source] of arithmeticMemory) {
	for (const [digit, binary] of operations.binaryOperations.entries()) {
		if (binary !== undefined) {
			const execute = operations.binaryMemory(binary.operation, binary.reversed, source);
			memoryForm(opcode, digit, `${prefix}${binary.name} ST(0), ${operand}`, operand, "r", execute);
		}
	}
	memoryForm(opcode, 2, `${prefix}COM ST(0), ${operand}`, operand, "r", operations.compareMemory(source, 0));
	memoryForm(opcode, 3, `${prefix}COMP ST(0), ${operand}`, operand, "r", operations.compareMemory(source, 1));
}

/** D8, DC, DE with registers. Where ST(i) is the destination, Intel's names of the two subtractions and divisions change places. */
for (const [digit, binary] of operations.binaryOperations.entries()) {
	if (binary !== undefined) {
		const { operation, reversed } = binary;
		const first = 0xc0 + digit * 8;
		const swapped = digit < 4 ? binary.name : (operations.binaryOperations[digit ^ 1]?.name ?? binary.name);
		stackForm(
			0xd8,
			first,
			`F${binary.name} ST(0), ST(i)`,
			operations.binaryRegister(operation, reversed, false, false),
		);
		stackForm(0xdc, first, `F${swapped} ST(i), ST(0)`, operations.binaryRegister(operation, reversed, true, false));
		stackForm(0xde, first, `F${swapped}P ST(i), ST(0)`, operations.binaryRegister(operation, reversed, true, true));
	}
}

/** Comparisons, exchanges and stores of registers; the opcodes that the manuals leave out are old aliases. */
const stackForms: readonly [opcode: number, first: number, name: string, execute: Execute][] = [
	[0xd8, 0xd0, "FCOM ST(0), ST(i)", operations.compareRegister(false, 0)],
	[0xd8, 0xd8, "FCOMP ST(0), ST(i)", operations.compareRegister(false, 1)],
	[0xdc, 0xd0, "FCOM ST(0), ST(i)", operations.compareRegister(false, 0)],
	[0xdc, 0xd8, "FCOMP ST(0), ST(i)", operations.compareRegister(false, 1)],
	[0xde, 0xd0, "FCOMP ST(0), ST(i)", operations.compareRegister(false, 1)],
	[0xdd, 0xe0, "FUCOM ST(0), ST(i)", operations.compareRegister(true, 0)],
	[0xdd, 0xe8, "FUCOMP ST(0), ST(i)", operations.compareRegister(true, 1)],
	[0xdb, 0xe8, "FUCOMI ST(0), ST(i)", operations.compareFlags(true, 0)],
	[0xdb, 0xf0, "FCOMI ST(0), ST(i)", operations.compareFlags(false, 0)],
	[0xdf, 0xe8, "FUCOMIP ST(0), ST(i)", operations.compareFlags(true, 1)],
	[0xdf, 0xf0, "FCOMIP ST(0), ST(i)", operations.compareFlags(false, 1)],
	[0xda, 0xc0, "FCMOVB ST(0), ST(i)", operations.conditionalMove(Flag.CF, true)],
	[0xda, 0xc8, "FCMOVE ST(0), ST(i)", operations.conditionalMove(Flag.ZF, true)],
	[0xda, 0xd0, "FCMOVBE ST(0), ST(i)", operations.conditionalMove(Flag.CF | Flag.ZF, true)],
	[0xda, 0xd8, "FCMOVU ST(0), ST(i)", operations.conditionalMove(Flag.PF, true)],
	[0xdb, 0xc0, "FCMOVNB ST(0), ST(i)", operations.conditionalMove(Flag.CF, false)],
	[0xdb, 0xc8, "FCMOVNE ST(0), ST(i)", operations.conditionalMove(Flag.ZF, false)],
	[0xdb, 0xd0, "FCMOVNBE ST(0), ST(i)", operations.conditionalMove(Flag.CF | Flag.ZF, false)],
	[0xdb, 0xd8, "FCMOVNU ST(0), ST(i)", operations.conditionalMove(Flag.PF, false)],
	[0xd9, 0xc0, "FLD ST(i)", transfer.loadRegister],
	[0xd9, 0xc8, "FXCH ST(i)", transfer.exchange],
	[0xdd, 0xc8, "FXCH ST(i)", transfer.exchange],
	[0xdf, 0xc8, "FXCH ST(i)", transfer.exchange],
	[0xdd, 0xd0, "FST ST(i)", transfer.storeRegister(false)],
	[0xdd, 0xd8, "FSTP ST(i)", transfer.storeRegister(true)],
	[0xd9, 0xd8, "FSTPNCE ST(i)", transfer.storeRegisterUnchecked],
	[0xdf, 0xd0, "FSTP ST(i)", transfer.storeRegister(true)],
	[0xdf, 0xd8, "FSTP ST(i)", transfer.storeRegister(true)],
	[0xdd, 0xc0, "FFREE ST(i)", operations.freeRegister(false)],
	[0xdf, 0xc0, "FFREEP ST(i)", operations.freeRegister(true)],
];
for (const [opcode, first, name, execute] of stackForms) {
	stackForm(opcode, first, name, execute);
}

const comparePopTwice = operations.compareRegister(false, 2);
const compareQuietPopTwice = operations.compareRegister(true, 2);
const plainForms: readonly [opcode: number, modrm: number, name: string, execute: Execute][] = [
	[0xd9, 0xd0, "FNOP", nothing],
	[0xd9, 0xe0, "FCHS", operations.unary(operations.negate)],
	[0xd9, 0xe1, "FABS", operations.unary(operations.absolute)],
	[0xd9, 0xe4, "FTST", operations.test],
	[0xd9, 0xe5, "FXAM", operations.examine],
	[0xd9, 0xf0, "F2XM1", operations.unary(logarithm.powerOfTwoMinusOne)],
	[0xd9, 0xf1, "FYL2X", operations.binaryPop(logarithm.yLog2X)],
	[0xd9, 0xf2, "FPTAN", operations.tangent],
	[0xd9, 0xf3, "FPATAN", operations.binaryPop(trigonometry.arctangent2)],
	[0xd9, 0xf4, "FXTRACT", operations.extractTop],
	[0xd9, 0xf5, "FPREM1", operations.remainder(true)],
	[0xd9, 0xf6, "FDECSTP", operations.rotateStack(-1)],
	[0xd9, 0xf7, "FINCSTP", operations.rotateStack(1)],
	[0xd9, 0xf8, "FPREM", operations.remainder(false)],
	[0xd9, 0xf9, "FYL2XP1", operations.binaryPop(logarithm.yLog2XPlus1)],
	[0xd9, 0xfa, "FSQRT", operations.unary(squareRoot)],
	[0xd9, 0xfb, "FSINCOS", operations.sineAndCosine],
	[0xd9, 0xfc, "FRNDINT", operations.unary(roundToInteger)],
	[0xd9, 0xfd, "FSCALE", operations.scaleTop],
	[0xd9, 0xfe, "FSIN", operations.trigonometric(trigonometry.sin)],
	[0xd9, 0xff, "FCOS", operations.trigonometric(trigonometry.cos)],
	[0xda, 0xe9, "FUCOMPP", (memory, base) => compareQuietPopTwice(memory, base, 1)],
	[0xde, 0xd9, "FCOMPP", (memory, base) => comparePopTwice(memory, base, 1)],
];
for (const [opcode, modrm, name, execute] of plainForms) {
	plainForm(opcode, modrm, name, execute);
}
for (const [index, constant] of constants.entries()) {
	plainForm(0xd9, 0xe8 + index, constant.name, transfer.loadConstantOperation(constant));
}

const EXCEPTION_STATE = ALL_EXCEPTIONS | Status.SF | Status.ES | Status.B;

plainForm(
	0xdb,
	0xe2,
	"FNCLEX",
	(memory, base) => memory.setU16(base + X87_STATUS, memory.u16(base + X87_STATUS) & ~EXCEPTION_STATE),
	CONTROL_NO_WAIT,
);
plainForm(0xdb, 0xe3, "FNINIT", initialise, CONTROL_NO_WAIT);
// What the 8087 and the 287 did with these, nothing since does.
plainForm(0xdb, 0xe0, "FNENI", nothing, CONTROL_NO_WAIT);
plainForm(0xdb, 0xe1, "FNDISI", nothing, CONTROL_NO_WAIT);
plainForm(0xdb, 0xe4, "FNSETPM", nothing, CONTROL_NO_WAIT);
plainForm(
	0xdf,
	0xe0,
	"FNSTSW AX",
	(memory, base) => memory.setU16(base + REGISTERS, statusWord(memory, base)),
	CONTROL_NO_WAIT,
);

const memoryForms: readonly [number, number, string, X87Operand, "r" | "w", Execute][] = [
	[0xd9, 0, "FLD m32fp", "m32fp", "r", transfer.loadMemory(transfer.float32)],
	[0xd9, 2, "FST m32fp", "m32fp", "w", transfer.storeFloat(24, false)],
	[0xd9, 3, "FSTP m32fp", "m32fp", "w", transfer.storeFloat(24, true)],
	[0xdb, 0, "FILD m32int", "m32int", "r", transfer.loadMemory(transfer.integer32)],
	[0xdb, 1, "FISTTP m32int", "m32int", "w", transfer.storeInteger(32, true, true)],
	[0xdb, 2, "FIST m32int", "m32int", "w", transfer.storeInteger(32, false, false)],
	[0xdb, 3, "FISTP m32int", "m32int", "w", transfer.storeInteger(32, true, false)],
	[0xdb, 5, "FLD m80fp", "m80fp", "r", transfer.loadFloat80],
	[0xdb, 7, "FSTP m80fp", "m80fp", "w", transfer.storeFloat80],
	[0xdd, 0, "FLD m64fp", "m64fp", "r", transfer.loadMemory(transfer.float64)],
	[0xdd, 1, "FISTTP m64int", "m64int", "w", transfer.storeInteger(64, true, true)],
	[0xdd, 2, "FST m64fp", "m64fp", "w", transfer.storeFloat(53, false)],
	[0xdd, 3, "FSTP m64fp", "m64fp", "w", transfer.storeFloat(53, true)],
	[0xdf, 0, "FILD m16int", "m16int", "r", transfer.loadMemory(transfer.integer16)],
	[0xdf, 1, "FISTTP m16int", "m16int", "w", transfer.storeInteger(16, true, true)],
	[0xdf, 2, "FIST m16int", "m16int", "w", transfer.storeInteger(16, false, false)],
	[0xdf, 3, "FISTP m16int", "m16int", "w", transfer.storeInteger(16, true, false)],
	[0xdf, 4, "FBLD m80bcd", "m80bcd", "r", transfer.loadDecimal],
	[0xdf, 5, "FILD m64int", "m64int", "r", transfer.loadMemory(transfer.integer64)],
	[0xdf, 6, "FBSTP m80bcd", "m80bcd", "w", transfer.storeDecimal],
	[0xdf, 7, "FISTP m64int", "m64int", "w", transfer.storeInteger(64, true, false)],
];
for (const [opcode, digit, name, operand, access, execute] of memoryForms) {
	memoryForm(opcode, digit, name, operand, access, execute);
}

memoryForm(
	0xd9,
	5,
	"FLDCW m2byte",
	"m2byte",
	"r",
	(memory, base, operand) => {
		setControlWord(memory, base, memory.u16(operand));
		updateSummary(memory, base);
	},
	CONTROL,
);
memoryForm(
	0xd9,
	7,
	"FNSTCW m2byte",
	"m2byte",
	"w",
	(memory, base, operand) => memory.setU16(operand, memory.u16(base + X87_CONTROL)),
	CONTROL_NO_WAIT,
);
memoryForm(
	0xdd,
	7,
	"FNSTSW m2byte",
	"m2byte",
	"w",
	(memory, base, operand) => memory.setU16(operand, statusWord(memory, base)),
	CONTROL_NO_WAIT,
);
for (const size of [32, 16] as const) {
	const environment = size === 32 ? "m28byte" : "m14byte";
	const image = size === 32 ? "m108byte" : "m94byte";
	const wait = { ...CONTROL, operandSize: size };
	const noWait = { ...CONTROL_NO_WAIT, operandSize: size };
	memoryForm(0xd9, 4, `FLDENV ${environment}`, environment, "r", (m, b, o) => loadEnvironment(m, b, o, size), wait);
	memoryForm(0xd9, 6, `FNSTENV ${environment}`, environment, "w", (m, b, o) => storeEnvironment(m, b, o, size), noWait);
	memoryForm(0xdd, 4, `FRSTOR ${image}`, image, "r", (m, b, o) => restore(m, b, o, size), wait);
	memoryForm(0xdd, 6, `FNSAVE ${image}`, image, "w", (m, b, o) => save(m, b, o, size), noWait);
}

/** WAIT (9B), which only waits. */
export const waitOperation: X87Operation = {
	name: "WAIT",
	encoding: "9b",
	opcode: 0x9b,
	operand: "none",
	size: 0,
	access: "none",
	waits: true,
	recordsPointers: false,
	execute: nothing,
};

/** Every operation; the index of one is its number for emitted code. */
export const x87Operations: readonly X87Operation[] = [...forms.map((form) => form.operation), waitOperation];

/** By operand size, opcode and ModRM byte: index in x87Operations, or -1. */
const lookup = new Int16Array(2 * 8 * 256).fill(-1);
for (const [index, form] of forms.entries()) {
	for (let modrm = 0; modrm < 256; modrm++) {
		const memoryMatches = modrm < 0xc0 && ((modrm >>> 3) & 7) === form.digit;
		if (memoryMatches || (modrm >= form.first && modrm < form.first + form.count)) {
			for (const size of [32, 16]) {
				if (form.operandSize === 0 || form.operandSize === size) {
					lookup[(size === 16 ? 0x800 : 0) + (form.operation.opcode - 0xd8) * 256 + modrm] = index;
				}
			}
		}
	}
}

/**
 * The operation of an opcode D8..DF with its ModRM byte, as an index of {@link x87Operations}.
 * @param operand16 the operand size is 16 bits (prefix 66 in 32- and 64-bit code)
 * @returns -1 where there is none: #UD
 */
export function findX87Operation(opcode: number, modrm: number, operand16: boolean): number {
	return lookup[(operand16 ? 0x800 : 0) + (opcode - 0xd8) * 256 + modrm] ?? -1;
}

/** Added to the number of a store: {@link executeX87} only tries it. */
export const X87_TRIAL = 0x1000;
/** Where a trial stores to (a linear address). */
export const X87_TRIAL_OPERAND = STORE_BUFFER;
/** Where one of these is not masked, nothing is stored (SDM volume 1, 8.5). */
const KEEPS_FROM_STORING = Status.IE | Status.OE | Status.UE;

/**
 * Executes a store on {@link X87_TRIAL_OPERAND} in place of its operand. @returns 1 where an unmasked exception keeps it from storing, with that
 * recorded, or 0 with the x87 as it was.
 */
function tryStore(memory: Memory, base: number, { execute }: X87Operation): number {
	const status = memory.u16(base + X87_STATUS);
	const top = memory.u8(base + X87_TOP);
	const tags = memory.u8(base + X87_TAGS);
	execute(memory, base, X87_TRIAL_OPERAND);
	if ((memory.u16(base + X87_STATUS) & ~memory.u16(base + X87_CONTROL) & KEEPS_FROM_STORING) !== 0) return 1;
	memory.setU16(base + X87_STATUS, status);
	memory.setU8(base + X87_TOP, top);
	memory.setU8(base + X87_TAGS, tags);
	return 0;
}

/**
 * Executes operation number `index` on the context block at `base`. CR0.TS and CR0.EM are the caller's to check (#NM).
 * @param operand i of ST(i), or the linear address of `size` readable or writable bytes
 * @returns 0, or the vector of a pending exception (#MF) that a waiting instruction found, with nothing done
 */
export function executeX87(memory: Memory, base: number, index: number, operand: number): number {
	if (index >= X87_TRIAL) return tryStore(memory, base, x87Operations[index - X87_TRIAL]!);
	const operation = x87Operations[index];
	if (operation === undefined) {
		return Vector.invalidOpcode;
	}
	if (operation.waits && (memory.u16(base + X87_STATUS) & Status.ES) !== 0) {
		return Vector.x87;
	}
	operation.execute(memory, base, operand);
	return 0;
}
