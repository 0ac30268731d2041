/** A scanner as flex makes them: at each place the rule acts that matches most, of several the first. */

export interface Rule<State> {
	/** Sticky: what the rule takes. */
	readonly pattern: RegExp;
	/** Sticky: what follows it and counts for how much the rule matches, but is not taken (flex's trailing context). */
	readonly context?: RegExp;
	readonly act: (state: State, match: RegExpExecArray) => void;
}

interface Match<State> {
	readonly rule: Rule<State>;
	readonly match: RegExpExecArray;
	readonly length: number;
}

/** Matches a sticky expression at a place. */
function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
	pattern.lastIndex = at;
	return pattern.exec(text);
}

/**
 * @param rules of which one must match anywhere, and none nothing
 * @returns what reads a text to its end, giving each match to its rule
 */
export function lexer<State>(rules: readonly Rule<State>[]): (text: string, state: State) => void {
	return (text, state) => {
		let at = 0;
		while (at < text.length) {
			let best: Match<State> | undefined;
			for (const rule of rules) {
				const match = matchAt(rule.pattern, text, at);
				if (match === null || match[0] === "") continue;
				const after = rule.context === undefined ? null : matchAt(rule.context, text, at + match[0].length);
				const length = match[0].length + (after?.[0].length ?? 0);
				if (length > (best?.length ?? 0)) best = { rule, match, length };
			}
			if (best === undefined) throw new Error(`no rule for "${text.slice(at)}"`);
			best.rule.act(state, best.match);
			at += best.match[0].length;
		}
	};
}
