/**
 * The test oracle's own test: without it, a comparison that sees nothing would look like a processor without faults.
 * In a file (a process) of its own, since it fills the instruction table with forms that have no semantics.
 */
import { describe, expect, test } from "vitest";
import { DEFAULT_VENDOR } from "../../src/cpu/vendor.ts";
import type { Engine } from "./oracle/engine.ts";
import { catalogueForms } from "./oracle/forms.ts";
import { hostVendor, Native, unavailable } from "./oracle/native.ts";
import { Case, Result, resultLength } from "./oracle/records.ts";
import { compareEngines, type RunOptions } from "./oracle/run.ts";

const options: RunOptions = {
	seed: 1,
	cases: 20_000,
	first: 0,
	length: 1,
	compatibility: false,
	maxReports: 5,
	vendor: hostVendor() ?? DEFAULT_VENDOR,
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
	test("a case that never ends is named and counted, and the others go on", async () => {
		const native = new Native();
		const forms = catalogueForms();
		const JMP_TO_ITSELF = Uint8Array.of(0xeb, 0xfe);
		/** The host, with a loop in place of two cases. */
		const looping: Engine = {
			run(batch) {
				const { bytes, view } = batch;
				for (const index of [17, 40]) {
					const at = batch.offset(index);
					bytes.set(JMP_TO_ITSELF, at + Case.code);
					view.setUint8(at + Case.codeLength, JMP_TO_ITSELF.length);
					view.setUint8(at + Case.step, 0);
				}
				return native.run(batch);
			},
		};
		try {
			const summary = await compareEngines(looping, native, forms, { ...options, cases: 64 });
			expect(summary.endless).toEqual(
				[17, 40].map((index) => ({ index, names: `${forms[index]!.name} (${forms[index]!.encoding})` })),
			);
			expect(summary.mismatches).toBe(0);
			expect(summary.cases).toBe(64);
		} finally {
			native.close();
		}
	});
});
