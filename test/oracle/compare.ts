/** Compares a guest's verdicts, except where ours differ on purpose (deliberate.ts). */
import { isDeliberate, needlessNames } from "./deliberate.ts";

/** Lines by name, in order; a name that comes again gets a number. */
function lines(text: string): Map<string, string> {
	const found = new Map<string, string>();
	for (const line of text.split("\n")) {
		if (line === "") continue;
		const at = line.indexOf("=");
		const name = at < 0 ? line : line.slice(0, at);
		let unique = name;
		for (let count = 2; found.has(unique); count++) unique = `${name}#${count}`;
		found.set(unique, at < 0 ? "" : line.slice(at + 1));
	}
	return found;
}

/** What differs, a line each, and what the table of deliberate differences names in vain; empty where all is well. */
export function differences(guest: string, real: string, ours: string): string[] {
	const expected = lines(real);
	const actual = lines(ours);
	const differing = [...new Set([...expected.keys(), ...actual.keys()])].filter(
		(name) => expected.get(name) !== actual.get(name),
	);
	return [
		...differing
			.filter((name) => !isDeliberate(guest, name))
			.map((name) => `${name}: real Xen ${expected.get(name) ?? "(nothing)"}, ours ${actual.get(name) ?? "(nothing)"}`),
		...needlessNames(guest, differing).map((name) => `${name}: the same, though deliberate.ts names it`),
	];
}
