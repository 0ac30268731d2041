/**
 * Where processors of different makers, or Linux between them and us, answer differently and both are right. Each by name, with its
 * reason; consulted only after a difference.
 */
import type { Subject } from "./undefined.ts";

/** Highest address of user mode: Linux tells user mode that every page above is present, so that nothing is learned of it. */
const USER_END = 0x7fff_ffff_f000;

/** Whether a page fault's "present" bit is Linux's invention. */
export function sanitised(cr2: number): boolean {
	return cr2 < 0 || cr2 >= USER_END;
}

/** Instructions whose results are approximations that the manual only bounds: greatest relative error. */
const APPROXIMATE: readonly { readonly names: RegExp; readonly error: number; readonly source: string }[] = [
	{
		names: /^(rcp|rsqrt)[ps]s$/,
		error: 2 * 1.5 * 2 ** -12,
		source: "RCPPS, RSQRTPS: |relative error| <= 1.5 * 2^-12, each side",
	},
];

/** Bound of the relative difference in single-precision lanes, or 0 where results are exact. */
export function tolerance(subject: Subject): number {
	return APPROXIMATE.find(({ names }) => names.test(subject.form.name))?.error ?? 0;
}

/** x87 instructions whose last bit is the maker's own: significands may differ by this many units of the last place. */
export function x87Tolerance(subject: Subject): number {
	return /^(f2xm1|fyl2x|fyl2xp1|fptan|fpatan|fsin|fcos|fsincos)$/.test(subject.form.name) ? 1 : 0;
}

/**
 * Words that FXSAVE and FSTENV store and that are not compared: last x87 opcode and pointers, which AMD's processors only store while an
 * exception is pending, and what is behind XMM15, which no processor writes.
 */
export function unpredictableStore(name: string): boolean {
	return /^(fxsave|fnsave|fnstenv|fsave|fstenv)/.test(name);
}
