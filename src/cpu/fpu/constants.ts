/** FLD1 to FLDZ: the constants that the x87 has inside. Relies on extended.ts. */
import { BIAS, type Extended, type FloatEnvironment, RoundingMode } from "./extended.ts";

/** The constants of FLD1 ... FLDZ: significand truncated, and whether rounding to nearest raises it. */
export interface Constant {
	readonly name: string;
	readonly signExponent: number;
	readonly high: number;
	readonly low: number;
	/** Exact, or with the truncated value nearest (`down`), or the one above it (`up`). */
	readonly nearest: "exact" | "down" | "up";
}

/** By the second opcode byte, from D9 E8. */
export const constants: readonly Constant[] = [
	{ name: "FLD1", signExponent: BIAS, high: 0x8000_0000, low: 0, nearest: "exact" },
	{ name: "FLDL2T", signExponent: BIAS + 1, high: 0xd49a_784b, low: 0xcd1b_8afe, nearest: "down" },
	{ name: "FLDL2E", signExponent: BIAS, high: 0xb8aa_3b29, low: 0x5c17_f0bb, nearest: "up" },
	{ name: "FLDPI", signExponent: BIAS + 1, high: 0xc90f_daa2, low: 0x2168_c234, nearest: "up" },
	{ name: "FLDLG2", signExponent: BIAS - 2, high: 0x9a20_9a84, low: 0xfbcf_f798, nearest: "up" },
	{ name: "FLDLN2", signExponent: BIAS - 1, high: 0xb172_17f7, low: 0xd1cf_79ab, nearest: "up" },
	{ name: "FLDZ", signExponent: 0, high: 0, low: 0, nearest: "exact" },
];

/** The constant as rounding control has it. None raises an exception. */
export function loadConstant(environment: FloatEnvironment, constant: Constant, result: Extended): void {
	const { rounding } = environment;
	const up =
		constant.nearest !== "exact" &&
		(rounding === RoundingMode.up || (rounding === RoundingMode.nearest && constant.nearest === "up"));
	result.set(constant.signExponent, constant.high, constant.low + (up ? 1 : 0));
}
