/** What somebody who mistyped a name may have meant. */

/** The name that a typing error of at most a third of its letters may have been meant for. */
export function nearestName(given: string, names: readonly string[]): string | undefined {
	let best: string | undefined;
	let least = Number.POSITIVE_INFINITY;
	for (const name of names) {
		const distance = name.startsWith(given) && given.length > 1 ? 0.5 : editDistance(given, name);
		if (distance < least && distance <= Math.max(1, Math.ceil(name.length / 3))) {
			least = distance;
			best = name;
		}
	}
	return best;
}

/** Levenshtein's distance: letters to insert, remove or replace. */
function editDistance(a: string, b: string): number {
	let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
	for (let i = 1; i <= a.length; i++) {
		const current = [i];
		for (let j = 1; j <= b.length; j++) {
			const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
			current.push(Math.min(replaced, (previous[j] as number) + 1, (current[j - 1] as number) + 1));
		}
		previous = current;
	}
	return previous[b.length] as number;
}
