/**
 * The table of instructions. One entry says how an instruction is encoded, which operands it has and what it does; the decoder, the
 * interpreter, the translator and the tests are made from it. Encodings are written as in the manuals' opcode maps:
 *
 *   "01 Ev,Gv"          opcode 01, operands by the codes of Intel's SDM volume 2, appendix A.2
 *   "0f af Gv,Ev"       two-byte map; "0f 38 .." and "0f 3a .." the three-byte maps
 *   "80 /4 Eb,Ib"       ModRM.reg selects
 *   "66 0f 6f Vx,Wx"    mandatory prefix (66, f3, f2, or np for none of them)
 *   "50+r Zv"           register in the low three bits of the opcode
 *   "0f 01 =d0"         the whole ModRM byte selects
 *
 * Operand codes: E register or memory, G register of ModRM.reg, R register only, M memory only, I immediate, J branch offset, O moffs,
 * V XMM of ModRM.reg, W XMM or memory, U XMM only, P MMX, Q MMX or memory, N MMX only, S segment register, C/D control and debug register, Z
 * register in the opcode; with a size letter: b 8, w 16, d 32, q 64, v operand size, z 16 or 32, y 32 or 64, x 128 bits. `Ibs` is
 * a byte sign-extended to the operand size. Fixed operands: AL CL DX rAX (operand size) 1 3.
 */
import type { Context } from "./context.ts";

export type OperandSize = 8 | 16 | 32 | 64 | 128;

/** How an operand is used; memory operands that are written are checked for it before anything changes. */
export type OperandAccess = "r" | "w" | "rw";

export type OperandKind =
	| "modrmRegister"
	| "modrmRm"
	| "opcodeRegister"
	| "immediate"
	| "relative"
	| "moffs"
	| "segment"
	| "control"
	| "debug"
	| "fixedRegister"
	| "constant";

export interface OperandForm {
	readonly code: string;
	readonly kind: OperandKind;
	/** Which register file; memory operands of `modrmRm` have the same size. */
	readonly file: "gpr" | "xmm" | "mmx" | "none";
	/** In bits; "v", "z", "y" follow the instruction's operand size. */
	readonly size: OperandSize | 80 | "v" | "z" | "y" | "none";
	readonly access: OperandAccess;
	/** `modrmRm` operands: which forms of ModRM.mod are allowed. */
	readonly rm: "any" | "register" | "memory";
	/** Fixed register number, or constant. */
	readonly value: number;
	readonly signed: boolean;
}

export interface FormOptions {
	/** Access of the operands in order, for example "rw r". Default: first "rw", others "r". */
	readonly access?: string;
	/** LOCK may precede the memory form. */
	readonly lock?: boolean;
	/** Takes REP prefixes: "rep" (MOVS, STOS, LODS, INS, OUTS) or "repcc" (CMPS, SCAS). */
	readonly rep?: "rep" | "repcc";
	/** Operand size in 64-bit mode: "near" that of near branches (64, or the maker's choice with prefix 66), "default64" 64 or 16 (PUSH, POP). */
	readonly size64?: "near" | "default64";
	/** Only in this mode; elsewhere #UD. */
	readonly mode?: "64" | "compat";
	/** Ends a basic block: the instruction may not continue at the next one; "interpreter": it always does, but leaves the interpreter's loop. */
	readonly ends?: true | "interpreter";
	/** The variant depends on the operand size although no operand's code says so (CBW, MOVSv, IRET). */
	readonly sized?: boolean;
	/** Depends on address size though it has no memory operand (string instructions, LOOP, XLAT). */
	readonly addressSized?: boolean;
	/** Flags that the manual leaves undefined after it, for the tests: "AF OF" ... */
	readonly undefinedFlags?: string;
	/** A CPUID feature that must be there, else #UD; by its name in cpuid tables. */
	readonly feature?: string;
}

export type Semantics = (c: Context, ...operands: Operand[]) => void;

export interface InstructionForm extends FormOptions {
	readonly id: number;
	readonly name: string;
	/** The encoding as it was written. */
	readonly encoding: string;
	readonly mandatory: "any" | "np" | "66" | "f3" | "f2";
	/** 0 one byte, 1 "0f", 2 "0f 38", 3 "0f 3a". */
	readonly map: 0 | 1 | 2 | 3;
	readonly opcode: number;
	/** The low three bits of the opcode name a register. */
	readonly opcodeRegister: boolean;
	/** ModRM.reg that selects, or -1. */
	readonly digit: number;
	/** Whole ModRM byte that selects, or -1. */
	readonly exactModrm: number;
	readonly hasModrm: boolean;
	readonly operands: readonly OperandForm[];
	readonly semantics: Semantics;
}

/** An operand of one variant of a form: what {@link Context} reads and writes. */
export interface Operand {
	readonly form: OperandForm;
	/** Index among the instruction's operands. */
	readonly index: number;
	readonly bits: number;
	readonly memory: boolean;
}

const FIXED: Readonly<Record<string, { value: number; size: OperandForm["size"] }>> = {
	AL: { value: 0, size: 8 },
	CL: { value: 1, size: 8 },
	AX: { value: 0, size: 16 },
	DX: { value: 2, size: 16 },
	rAX: { value: 0, size: "v" },
};

const SIZES: Readonly<Record<string, OperandForm["size"]>> = {
	b: 8,
	w: 16,
	d: 32,
	q: 64,
	v: "v",
	z: "z",
	y: "y",
	x: 128,
	"": "none",
};

const LETTERS: Readonly<Record<string, Pick<OperandForm, "kind" | "file" | "rm">>> = {
	E: { kind: "modrmRm", file: "gpr", rm: "any" },
	R: { kind: "modrmRm", file: "gpr", rm: "register" },
	M: { kind: "modrmRm", file: "gpr", rm: "memory" },
	G: { kind: "modrmRegister", file: "gpr", rm: "any" },
	Z: { kind: "opcodeRegister", file: "gpr", rm: "any" },
	I: { kind: "immediate", file: "none", rm: "any" },
	J: { kind: "relative", file: "none", rm: "any" },
	O: { kind: "moffs", file: "gpr", rm: "any" },
	V: { kind: "modrmRegister", file: "xmm", rm: "any" },
	W: { kind: "modrmRm", file: "xmm", rm: "any" },
	U: { kind: "modrmRm", file: "xmm", rm: "register" },
	P: { kind: "modrmRegister", file: "mmx", rm: "any" },
	Q: { kind: "modrmRm", file: "mmx", rm: "any" },
	N: { kind: "modrmRm", file: "mmx", rm: "register" },
	S: { kind: "segment", file: "none", rm: "any" },
	C: { kind: "control", file: "none", rm: "any" },
	D: { kind: "debug", file: "none", rm: "any" },
};

function parseOperand(code: string, access: OperandAccess): OperandForm {
	const fixed = FIXED[code];
	if (fixed !== undefined) {
		return { code, kind: "fixedRegister", file: "gpr", access, rm: "any", signed: false, ...fixed };
	}
	if (/^\d+$/.test(code)) {
		const value = Number(code);
		return { code, kind: "constant", file: "none", size: 8, access: "r", rm: "any", value, signed: false };
	}
	const letter = LETTERS[code[0] ?? ""];
	const signed = code.startsWith("Ibs");
	const size = code === "Mt" ? 80 : SIZES[signed ? "b" : code.slice(1)];
	if (letter === undefined || size === undefined) throw new SyntaxError(`operand code ${code}`);
	return { code, ...letter, size, access, value: 0, signed: signed || letter.kind === "relative" };
}

const table: InstructionForm[] = [];
/** Every form that the processor implements, by id. */
export const forms: readonly InstructionForm[] = table;

function parseEncoding(name: string, encoding: string, options: FormOptions, semantics: Semantics): InstructionForm {
	const words = encoding.split(" ");
	let mandatory: InstructionForm["mandatory"] = "any";
	if (words[0] === "np" || (/^(66|f2|f3)$/.test(words[0]!) && /^[0-9a-f]{2}$/.test(words[1] ?? ""))) {
		mandatory = words.shift() as InstructionForm["mandatory"];
	}
	let map: InstructionForm["map"] = 0;
	if (words[0] === "0f" && words.length > 1 && /^[0-9a-f]{2}/.test(words[1]!)) {
		words.shift();
		map = 1;
		const second: string = words[0] ?? "";
		if ((second === "38" || second === "3a") && /^[0-9a-f]{2}/.test(words[1] ?? "")) {
			words.shift();
			map = second === "38" ? 2 : 3;
		}
	}
	const opcodeWord = words.shift()!;
	const opcodeRegister = opcodeWord.endsWith("+r");
	const opcode = Number.parseInt(opcodeWord, 16);
	let digit = -1;
	let exactModrm = -1;
	if (words[0]?.startsWith("/")) digit = Number(words.shift()!.slice(1));
	else if (words[0]?.startsWith("=")) exactModrm = Number.parseInt(words.shift()!.slice(1), 16);
	const access = options.access?.split(" ") ?? [];
	const codes = words.length > 0 ? words.join("").split(",") : [];
	const operands = codes.map((code, index) =>
		parseOperand(code, (access[index] as OperandAccess | undefined) ?? (index === 0 ? "rw" : "r")),
	);
	const hasModrm =
		digit >= 0 ||
		exactModrm >= 0 ||
		operands.some((operand) => ["modrmRegister", "modrmRm", "segment", "control", "debug"].includes(operand.kind));
	return {
		...options,
		id: table.length,
		name,
		encoding,
		mandatory,
		map,
		opcode,
		opcodeRegister,
		digit,
		exactModrm,
		hasModrm,
		operands,
		semantics,
	};
}

/** Adds an instruction with all its encodings to the table. */
export function instruction(
	name: string,
	encodings: readonly string[],
	options: FormOptions,
	semantics: Semantics,
): void {
	for (const encoding of encodings) table.push(parseEncoding(name, encoding, options, semantics));
}
