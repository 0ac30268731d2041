/**
 * What decoding and recording need to know of a form, as numbers in an object of one shape: forms of the table have many shapes and
 * describe themselves in words, and decoding is done for every instruction that is executed for the first time.
 */
import type { InstructionForm, OperandForm } from "../semantics/table.ts";

/** Bits: the modes that a form is defined in. */
export const Modes = { long: 1, compatibility: 2 } as const;
/** Bits: what may stand where the mandatory prefix is. */
export const Mandatory = { np: 1, operandSize: 2, f3: 4, f2: 8 } as const;
/** Operand size in 64-bit mode: of near branches, whether prefix 66 changes it is the maker's choice. */
export const OperandWidth = { normal: 0, default64: 1, nearBranch: 2 } as const;
/** Sizes of immediates that depend on prefixes; others are in bytes. */
export const Immediate = { operand: -1, operandTo32: -2, address: -3 } as const;
/** How a record's field names a register (record.ts). */
export const Field = { number: 0, general: 1, byte: 2, xmm: 3, mmx: 4 } as const;

export interface DecodePlan {
	readonly form: InstructionForm;
	readonly id: number;
	readonly modes: number;
	readonly mandatory: number;
	/** Prefix 66 selects the form and is no operand size. */
	readonly mandatoryOperandSize: boolean;
	readonly hasModrm: boolean;
	readonly opcodeRegister: boolean;
	readonly exactModrm: number;
	readonly digit: number;
	readonly takesRegister: boolean;
	readonly takesMemory: boolean;
	readonly width: number;
	readonly immediates: readonly { readonly size: number; readonly signed: boolean }[];
	readonly lockable: boolean;
	/** It may not go on at the next instruction; it may go on elsewhere (a conditional branch). */
	readonly ends: boolean;
	readonly branches: boolean;
	/** Fields A and B of its record. */
	readonly fieldA: number;
	readonly fieldB: number;
	/** What its code depends on beside the form. */
	readonly dependsOnOperandSize: boolean;
	readonly dependsOnAddressSize: boolean;
	readonly dependsOnRep: boolean;
}

const MANDATORY: Readonly<Record<InstructionForm["mandatory"], number>> = {
	any: Mandatory.np | Mandatory.operandSize | Mandatory.f3 | Mandatory.f2,
	np: Mandatory.np,
	"66": Mandatory.operandSize,
	f3: Mandatory.f3,
	f2: Mandatory.f2,
};

function immediateOf(operand: OperandForm): { size: number; signed: boolean } | undefined {
	if (operand.kind === "moffs") return { size: Immediate.address, signed: operand.signed };
	if (operand.kind !== "immediate" && operand.kind !== "relative") return undefined;
	const { size, signed } = operand;
	if (size === "z") return { size: Immediate.operandTo32, signed };
	if (size === "v") return { size: Immediate.operand, signed };
	return { size: (size as number) / 8, signed };
}

function fieldOf(operand: OperandForm | undefined): number {
	if (operand?.file === "xmm") return Field.xmm;
	if (operand?.file === "mmx") return Field.mmx;
	return operand?.size === 8 ? Field.byte : Field.general;
}

function makePlan(form: InstructionForm): DecodePlan {
	const { operands } = form;
	const has = (test: (operand: OperandForm) => boolean): boolean => operands.some(test);
	const rm = operands.find(({ kind, rm }) => kind === "modrmRm" && rm !== "any")?.rm ?? "any";
	const operandA = operands.findLast(({ kind }) => ["modrmRegister", "segment", "control", "debug"].includes(kind));
	const operandB = operands.findLast(({ kind }) => kind === "modrmRm" || kind === "opcodeRegister");
	return {
		form,
		id: form.id,
		modes:
			form.mode === undefined
				? Modes.long | Modes.compatibility
				: form.mode === "64"
					? Modes.long
					: Modes.compatibility,
		mandatory: MANDATORY[form.mandatory],
		mandatoryOperandSize: form.mandatory === "66",
		hasModrm: form.hasModrm,
		opcodeRegister: form.opcodeRegister,
		exactModrm: form.exactModrm,
		digit: form.digit,
		takesRegister: rm !== "memory",
		takesMemory: rm !== "register",
		width:
			form.size64 === "near"
				? OperandWidth.nearBranch
				: form.size64 === "default64"
					? OperandWidth.default64
					: OperandWidth.normal,
		immediates: operands.map(immediateOf).filter((immediate) => immediate !== undefined),
		// LOCK is defined where the instruction says so and its destination, the first operand, is in memory.
		lockable: form.lock === true && operands[0]?.kind === "modrmRm",
		ends: form.ends !== undefined,
		branches: has(({ kind }) => kind === "relative"),
		fieldA: operandA?.file === "none" ? Field.number : fieldOf(operandA),
		fieldB: fieldOf(operandB),
		dependsOnOperandSize:
			form.sized === true ||
			has(({ size, kind }) => size === "v" || size === "z" || size === "y" || kind === "relative"),
		dependsOnAddressSize: form.addressSized === true || has(({ kind }) => kind === "moffs"),
		dependsOnRep: form.rep !== undefined,
	};
}

const plans: DecodePlan[] = [];

/** The plan of a form of the table. */
export function planOf(form: InstructionForm): DecodePlan {
	let plan = plans[form.id];
	if (plan === undefined) {
		plan = makePlan(form);
		plans[form.id] = plan;
	}
	return plan;
}
