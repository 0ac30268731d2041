/**
 * Both personalities of the processor against answers of hosts of their makers, on any host: see oracle/recorded.ts. The host's own maker's is compared
 * live as well (oracle.test.ts).
 */
import { describe, expect, test } from "vitest";
import { CPU_VENDORS } from "../../src/cpu/vendor.ts";
import { EmulatedEngine } from "./oracle/engine.ts";
import { disagreements, RecordRunner, readRecords } from "./oracle/recorded.ts";

const cases = readRecords();
/** What cannot be known, by where the case comes from. */
const UNKNOWN: Readonly<Record<string, string>> = {
	"single-64, seed 1, number 8998":
		"FSIN of the least normal number: whether the last bit, the processor's own, makes it tiny (UE)",
};

describe.each(CPU_VENDORS)("recorded answers of %s's processors", (vendor) => {
	const known = cases.filter(({ answers, from }) => answers[vendor] !== undefined && UNKNOWN[from] === undefined);

	test.each(["interpreter", "translator"] as const)(
		"are the emulated one's: %s",
		{ timeout: 120_000 },
		async (tier) => {
			expect(known.length).toBeGreaterThan(70);
			const runner = new RecordRunner(await EmulatedEngine.load(tier, vendor));
			const found: string[] = [];
			for (const entry of known) found.push(...disagreements(await runner.run(entry), entry, vendor));
			expect(found).toEqual([]);
		},
	);
});

test("the makers' processors differ in the recorded cases", async () => {
	const both = cases.filter(({ answers }) => answers.intel !== undefined && answers.amd !== undefined);
	const runner = new RecordRunner(await EmulatedEngine.load("interpreter", "amd"));
	const alike: string[] = [];
	for (const entry of both) {
		if (disagreements(await runner.run(entry), entry, "intel").length === 0) alike.push(entry.names);
	}
	expect(alike).toEqual([]);
	expect(both.length).toBeGreaterThan(60);
});
