/** x87 instructions: the emitted part finds and checks the operand, TypeScript computes (fpu/x87.ts). */
import { findX87Operation, waitOperation, x87Operations } from "../fpu/x87.ts";
import { CR0, X87_DATA_POINTER, X87_INSTRUCTION_POINTER, X87_STATUS } from "../layout.ts";
import { Vector } from "../processor.ts";
import { i32 } from "../wasm/expression.ts";
import type { Context } from "./context.ts";
import { instruction, type Operand } from "./table.ts";

const CR0_MP = 0x2;
const CR0_EM = 0x4;
const CR0_TS = 0x8;
/** ES of the status word. */
const EXCEPTION_SUMMARY = 0x80;

function execute(c: Context, number: number, index: number, operand: Operand | undefined): void {
	const { f } = c;
	const operation = x87Operations[number]!;
	f.if(i32.and(c.state32(CR0), i32.const(CR0_TS | CR0_EM)), () => c.raise(Vector.deviceNotAvailable));
	let argument = i32.const(index);
	// A pending exception comes before the operand's own faults.
	if (operand !== undefined && operation.waits) {
		f.if(i32.and(c.state16(X87_STATUS), i32.const(EXCEPTION_SUMMARY)), () => c.raise(Vector.x87));
	}
	if (operand !== undefined)
		argument = f.let(c.memoryBlock(operand, operation.size, operation.access === "w" ? "w" : "r"));
	const vector = c.service("x87", i32.const(number), argument);
	f.if(vector, () => c.raiseVector(vector));
	if (operand !== undefined && operation.access === "w") c.commitBlock(argument);
	if (operation.recordsPointers) {
		c.setState64(X87_INSTRUCTION_POINTER, c.rip());
		if (operand !== undefined) c.setState64(X87_DATA_POINTER, c.virtualAddress(operand));
	}
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
