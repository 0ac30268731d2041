/** Compares a guest's verdicts, except where ours differ on purpose: each such line is named here, with its reason. */

/** "GUEST verdict": why. */
const DELIBERATE: Readonly<Record<string, string>> = {};

/** Whether a line is left out of the comparison, which is whether it is in the table. */
function isDeliberate(guest: string, verdict: string): boolean {
	return Object.hasOwn(DELIBERATE, `${guest} ${verdict}`);
}

/** Lines by name, in order; a name that comes again gets a number. */
function lines(guest: string, text: string): Map<string, string> {
	const found = new Map<string, string>();
	for (const line of text.split("\n")) {
		if (line === "") continue;
		const at = line.indexOf("=");
		const name = at < 0 ? line : line.slice(0, at);
		let unique = name;
		for (let count = 2; found.has(unique); count++) unique = `${name}#${count}`;
		if (!isDeliberate(guest, name)) found.set(unique, at < 0 ? "" : line.slice(at + 1));
	}
	return found;
}

/** What differs, a line each; empty where nothing does. */
export function differences(guest: string, real: string, ours: string): string[] {
	const expected = lines(guest, real);
	const actual = lines(guest, ours);
	return [...new Set([...expected.keys(), ...actual.keys()])]
		.filter((name) => expected.get(name) !== actual.get(name))
		.map((name) => `${name}: real Xen ${expected.get(name) ?? "(nothing)"}, ours ${actual.get(name) ?? "(nothing)"}`);
}
