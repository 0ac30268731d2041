/**
 * The test oracle's own test: without it, a comparison that sees nothing would look like a processor without faults.
 * In a file (a process) of its own, since it fills the instruction table with forms that have no semantics.
 */
import { describe, expect, test } from "vitest";
import type { Engine } from "./oracle/engine.ts";
import { catalogueForms } from "./oracle/forms.ts";
import { Native, unavailable } from "./oracle/native.ts";
import { Result, resultLength } from "./oracle/records.ts";
import { compareEngines, type RunOptions } from "./oracle/run.ts";

const options: RunOptions = {
	seed: 1,
	cases: 20_000,
	first: 0,
	length: 1,
	compatibility: false,
	maxReports: 5,
	reproduce: "npx tsx test/cpu/oracle/main.ts --host --seed 1",
};

describe.skipIf(unavailable() !== undefined)("the host's processor, compared with itself", () => {
	test("gives the same results twice, and every wrong bit is found", async () => {
		const native = new Native();
		const forms = catalogueForms();
		// Turns one bit of one register in one case of a thousand.
		let spoilt = 0;
		const spoiling: Engine = {
			async run(batch) {
				const results = await native.run(batch);
				const view = new DataView(results.buffer, results.byteOffset, results.byteLength);
				let at = 0;
				for (let i = 0; i < batch.count; i++) {
					if (i % 1000 === 999) {
						results[at + Result.gpr + (i % 128)]! ^= 1 << (i & 7);
						spoilt++;
					}
					at += resultLength(view, at);
				}
				return results;
			},
		};
		try {
			expect((await compareEngines(native, native, forms, options)).mismatches).toBe(0);
			expect((await compareEngines(native, spoiling, forms, options)).mismatches).toBe(spoilt);
			expect(spoilt).toBeGreaterThan(15);
		} finally {
			native.close();
		}
	});
});
