/** x87 instructions: the emitted part finds and checks the operand, TypeScript computes (fpu/x87.ts). */

import { type I32, i32, i64 } from "../../wasm/expression.ts";
import { findX87Operation, waitOperation, X87_TRIAL, X87_TRIAL_OPERAND, x87Operations } from "../fpu/x87.ts";
import {
	CR0,
	PAGE_SIZE,
	X87_CONTROL,
	X87_DATA_POINTER,
	X87_INSTRUCTION_POINTER,
	X87_STATUS,
	X87_TAGS,
	X87_TOP,
} from "../layout.ts";
import { Vector } from "../processor.ts";
import type { Context } from "./context.ts";
import { instruction, type Operand } from "./table.ts";

const CR0_MP = 0x2;
const CR0_EM = 0x4;
const CR0_TS = 0x8;
/** ES of the status word. */
const EXCEPTION_SUMMARY = 0x80;
/** Of the extended format and of decimals. */
const TEN_BYTES = 10;

/** C1 of the status word, and the control word's masks of exceptions. */
const C1 = 0x200;
const ALL_MASKED = 0x3f;

function execute(c: Context, number: number, index: number, operand: Operand | undefined): void {
	const operation = x87Operations[number]!;
	const recordPointers = (): void => {
		if (!operation.recordsPointers) return;
		c.setState64(X87_INSTRUCTION_POINTER, c.rip());
		if (operand !== undefined) c.setState64(X87_DATA_POINTER, c.virtualAddress(operand));
	};
	if (operand !== undefined && operation.access === "w" && c.vendor.x87ExceptionBeforeStore) {
		c.f.block((done) => {
			executeOn(c, number, index, operand, () => {
				recordPointers();
				c.f.br(done);
			});
			recordPointers();
		});
		return;
	}
	executeOn(c, number, index, operand);
	recordPointers();
}

/** Whether neither ST(0) nor ST(i) is empty: a stack fault clears C1 on every processor. */
function inUse(c: Context, i: number): I32 {
	const tag = (register: number): I32 =>
		i32.shr_u(c.state8(X87_TAGS), i32.and(i32.add(c.state8(X87_TOP), i32.const(register)), i32.const(7)));
	return i32.and(i32.and(tag(0), tag(i)), i32.const(1));
}

/** `stopped` emits how an instruction ends whose store does not happen; without it, the operand is checked first. */
function executeOn(
	c: Context,
	number: number,
	index: number,
	operand: Operand | undefined,
	stopped?: () => void,
): void {
	const { f, vendor } = c;
	const operation = x87Operations[number]!;
	f.if(i32.and(c.state32(CR0), i32.const(CR0_TS | CR0_EM)), () => c.raise(Vector.deviceNotAvailable));
	let argument = i32.const(index);
	// A pending exception comes before the operand's own faults.
	if (operand !== undefined && operation.waits) {
		f.if(i32.and(c.state16(X87_STATUS), i32.const(EXCEPTION_SUMMARY)), () => c.raise(Vector.x87));
	}
	const stores = operand !== undefined && operation.access === "w" && operation.recordsPointers;
	if (stores && stopped !== undefined) {
		const masks = i32.and(c.state16(X87_CONTROL), i32.const(ALL_MASKED));
		f.if(i32.ne(masks, i32.const(ALL_MASKED)), () =>
			f.if(c.service("x87", i32.const(X87_TRIAL + number), i32.const(0)), stopped),
		);
	}
	if (stores && operation.size === TEN_BYTES && vendor.x87StoresTenBytesInParts) {
		const address = f.let(c.virtualAddress(operand));
		const inPage = i32.and(i32.wrap(address), i32.const(PAGE_SIZE - 1));
		f.if(i32.gt_u(inPage, i32.const(PAGE_SIZE - TEN_BYTES)), () => {
			f.drop(c.service("x87", i32.const(X87_TRIAL + number), i32.const(0)));
			c.store(64, address, i64.load(i32.const(X87_TRIAL_OPERAND)));
		});
	}
	if (operand !== undefined)
		argument = f.let(c.memoryBlock(operand, operation.size, operation.access === "w" ? "w" : "r"));
	const keepsC1 = !vendor.compareToFlagsClearsC1 && /^FU?COMI/.test(operation.name);
	const c1 = keepsC1 ? f.let(i32.and(c.state16(X87_STATUS), i32.mul(inUse(c, index), i32.const(C1)))) : undefined;
	const vector = c.service("x87", i32.const(number), argument);
	f.if(vector, () => c.raiseVector(vector));
	if (operand !== undefined && operation.access === "w") c.commitBlock(argument);
	if (c1 !== undefined) c.setState16(X87_STATUS, i32.or(i32.and(c.state16(X87_STATUS), i32.const(~C1)), c1));
}

const hex = (value: number): string => value.toString(16).padStart(2, "0");
for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
	for (let digit = 0; digit < 8; digit++) {
		const [wide, narrow] = [false, true].map((half) => findX87Operation(opcode, digit << 3, half)) as [number, number];
		if (wide < 0) continue;
		instruction(
			x87Operations[wide]!.name,
			[`${hex(opcode)} /${digit} M`],
			{ access: "r", sized: wide !== narrow },
			(c, operand) => execute(c, c.operandSize === 16 ? narrow : wide, 0, operand),
		);
	}
	for (let modrm = 0xc0; modrm < 0x100; modrm++) {
		const number = findX87Operation(opcode, modrm, false);
		if (number < 0) continue;
		instruction(x87Operations[number]!.name, [`${hex(opcode)} =${hex(modrm)}`], {}, (c) =>
			execute(c, number, modrm & 7, undefined),
		);
	}
}

instruction("wait", ["9b"], {}, (c) => {
	const both = CR0_MP | CR0_TS;
	c.f.if(i32.eq(i32.and(c.state32(CR0), i32.const(both)), i32.const(both)), () => c.raise(Vector.deviceNotAvailable));
	const vector = c.service("x87", i32.const(x87Operations.indexOf(waitOperation)), i32.const(0));
	c.f.if(vector, () => c.raiseVector(vector));
});
