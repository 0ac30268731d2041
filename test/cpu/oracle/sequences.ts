/**
 * Which instructions may stand behind which in a sequence: none may read a flag that one before it left undefined, and none whose
 * result is itself undefined or approximate for some operands takes part. Flags as in undefined.ts.
 */
import { everUndefinedFlags, flagMask } from "./undefined.ts";

const ARITHMETIC = "CF PF AF ZF SF OF";

const READERS: readonly (readonly [RegExp, string])[] = [
	[/^(j|set|cmov)n?o$/, "OF"],
	[/^(j|set|cmov)(n?[bc]|n?ae)$/, "CF"],
	[/^(j|set|cmov)n?[ez]$/, "ZF"],
	[/^(j|set|cmov)(be|nbe|a|na)$/, "CF ZF"],
	[/^(j|set|cmov)n?s$/, "SF"],
	[/^(j|set|cmov)(n?p|p[eo])$/, "PF"],
	[/^(j|set|cmov)n?(l|ge)$/, "SF OF"],
	[/^(j|set|cmov)n?(le|g)$/, "SF OF ZF"],
	[/^(setcc|cmovcc|jcc)/, ARITHMETIC],
	[/^(adc|sbb|rcl|rcr|cmc|salc|fcmovn?b)$/, "CF"],
	[/^fcmov/, "CF ZF PF"],
	[/^loopn?[ez]$/, "ZF"],
	[/^lahf$/, "CF PF AF ZF SF"],
	[/^(aaa|aas|daa|das)$/, "AF CF"],
	[/^(pushf|into|iret)/, ARITHMETIC],
];

/** These define all arithmetic flags, whatever they were. */
const WRITERS = /^(add|adc|sub|sbb|cmp|neg|xadd|cmpxchg|popcnt|ptest|u?comis[sd]|pcmp[ei]str[im])$/;

const EXCLUDED =
	/^(sh[lr]d|bswap|bs[fr]|rcp[ps]s|rsqrt[ps]s|f.*|lar|pusha|popa|cmps|cmpxchg|ud0|popf.*|iret.*|retf.*)$/;

/** Whether an instruction takes part in sequences. */
export function inSequences(name: string): boolean {
	return !EXCLUDED.test(name);
}

function readFlags(name: string): number {
	const entry = READERS.find(([pattern]) => pattern.test(name));
	return entry === undefined ? 0 : flagMask(entry[1]);
}

/** Whether an instruction leaves every arithmetic flag defined. */
export function definesFlags(name: string): boolean {
	return WRITERS.test(name) && everUndefinedFlags(name) === 0;
}

const CONDITIONS = ["OF", "CF", "ZF", "CF ZF", "SF", "PF", "SF OF", "SF OF ZF"].map(flagMask);

/** Bits of RFLAGS that a condition code (0-15) looks at. */
export function conditionFlags(code: number): number {
	return CONDITIONS[code >> 1]!;
}

/** Follows which flags are undefined along a sequence. */
export class UndefinedAlong {
	/** Bits of RFLAGS. */
	mask = 0;

	/** Whether an instruction may come next. */
	allows(name: string): boolean {
		return inSequences(name) && (readFlags(name) & this.mask) === 0;
	}

	add(name: string): void {
		if (WRITERS.test(name)) this.mask = 0;
		this.mask |= everUndefinedFlags(name);
	}
}
