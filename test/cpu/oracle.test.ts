/**
 * The processor against the host's own: see oracle/main.ts, which runs as many cases as asked for. PARAVIRT_ORACLE_CASES and
 * PARAVIRT_ORACLE_SEED change how many and which.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { DEFAULT_VENDOR } from "../../src/cpu/vendor.ts";
import { injectFault } from "./lockstep/inject.ts";
import { EmulatedEngine } from "./oracle/engine.ts";
import { comparableForms } from "./oracle/forms.ts";
import { hostVendor, Native, unavailable } from "./oracle/native.ts";
import { compareEngines, type RunOptions } from "./oracle/run.ts";
import { loadTier } from "./oracle/tiers.ts";

const CASES = Number(process.env["PARAVIRT_ORACLE_CASES"] ?? 100_000);
/**
 * What the other kinds of cases are shares of. More of them find what is still open: FRSTOR of a 94-byte image in compatibility mode, and REP STOS
 * over its own code in a region (main.ts --compat, --graphs --tier both).
 */
const OTHERS = Number(process.env["PARAVIRT_ORACLE_OTHERS"] ?? Math.min(CASES, 100_000));
const SEED = Number(process.env["PARAVIRT_ORACLE_SEED"] ?? 1);
const reason = unavailable();
/** The personality that is compared with this host; the other one is with recorded answers (oracle-recorded.test.ts). */
const vendor = hostVendor() ?? DEFAULT_VENDOR;
if (reason !== undefined) console.warn(`Processor tests skipped: ${reason}.`);
const processorExists = existsSync(fileURLToPath(new URL("../../src/cpu/index.ts", import.meta.url)));

const options: RunOptions = {
	seed: SEED,
	cases: CASES,
	first: 0,
	length: 1,
	compatibility: false,
	maxReports: 5,
	vendor,
	reproduce: `npx tsx test/cpu/oracle/main.ts --seed ${SEED}`,
};

describe.skipIf(reason !== undefined)("the host's processor as oracle", () => {
	const native = reason === undefined ? new Native() : undefined;
	afterAll(() => native?.close());

	describe.skipIf(!processorExists)("agrees with the emulated processor", () => {
		const run = async (change: Partial<RunOptions>, flags = ""): Promise<void> => {
			const compatibility = change.compatibility ?? false;
			const forms = (await comparableForms()).filter(({ mode }) => mode !== (compatibility ? "64" : "compat"));
			const merged = { ...options, ...change, reproduce: options.reproduce + flags };
			const summary = await compareEngines(native!, await EmulatedEngine.load("interpreter", vendor), forms, merged);
			expect(summary.mismatches, summary.reports.join("\n\n")).toBe(0);
			expect(summary.cases).toBe(merged.cases);
		};

		test("single instructions in 64-bit mode", () => run({}));
		test("sequences in 64-bit mode", () => run({ length: 6, cases: Math.ceil(OTHERS / 5) }, " --length 6"));
		test("single instructions in compatibility mode", () =>
			run({ compatibility: true, cases: Math.ceil(OTHERS / 5) }, " --compat"));
	});

	describe.skipIf(!processorExists)("agrees with regions of the translator, and those with the interpreter", () => {
		const run = async (change: Partial<RunOptions>, flags = ""): Promise<void> => {
			const compatibility = change.compatibility ?? false;
			const forms = (await comparableForms()).filter(({ mode }) => mode !== (compatibility ? "64" : "compat"));
			const merged = { ...options, ...change, reproduce: `${options.reproduce}${flags} --tier both` };
			const tiers = await loadTier("both", vendor);
			const summary = await compareEngines(native!, tiers, forms, merged);
			expect(summary.mismatches, summary.reports.join("\n\n")).toBe(0);
			// What is not translated would agree as well.
			expect(tiers.translatedShare).toBeGreaterThan(0.3);
		};

		test("single instructions in 64-bit mode", () => run({ cases: Math.ceil(OTHERS / 10) }));
		test("sequences in 64-bit mode", () => run({ length: 6, cases: Math.ceil(OTHERS / 20) }, " --length 6"));
		test("control-flow graphs in 64-bit mode", () => run({ graphs: true, cases: Math.ceil(OTHERS / 20) }, " --graphs"));
		test("single instructions in compatibility mode", () =>
			run({ compatibility: true, cases: Math.ceil(OTHERS / 25) }, " --compat"));
		test("a wrong instruction in regions is found", async () => {
			const forms = (await comparableForms()).filter(({ mode }) => mode !== "compat");
			const undo = injectFault("adc", 0);
			try {
				const few = { ...options, graphs: true, cases: 256, maxReports: 0 };
				expect((await compareEngines(native!, await loadTier("interpreter", vendor), forms, few)).mismatches).toBe(0);
				expect(
					(await compareEngines(native!, await loadTier("translator", vendor), forms, few)).mismatches,
				).toBeGreaterThan(3);
			} finally {
				undo();
			}
		});
		test("sequences in compatibility mode", () =>
			run({ compatibility: true, length: 6, cases: Math.ceil(OTHERS / 40) }, " --length 6 --compat"));
		test("control-flow graphs in compatibility mode", () =>
			run({ compatibility: true, graphs: true, cases: Math.ceil(OTHERS / 50) }, " --graphs --compat"));
	});
});
