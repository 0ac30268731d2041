/**
 * Runs cases on two engines and collects what differs. While one batch runs natively, in its own process, the batch before it runs on the
 * emulated processor in this one.
 */
import type { InstructionForm } from "../../../src/cpu/semantics/table.ts";
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import { CaseWriter } from "./case.ts";
import { agree, type Difference, differences, type ResultAt } from "./compare.ts";
import type { Engine } from "./engine.ts";
import { commonBackground, fill, Generator, type GeneratorOptions } from "./generator.ts";
import { CaseBatch, NEVER_ENDS, Result, resultLength } from "./records.ts";
import { describe } from "./report.ts";
import { everUndefinedFlags, mnemonic, subjectOf } from "./undefined.ts";

const BATCH = 8192;
const BREAKPOINT = 3;
const STEPPED = 1;

export interface RunOptions extends GeneratorOptions {
	readonly cases: number;
	/** Index of the first case: a multiple of sixteen (see SLOTS) unless it is the only one. */
	readonly first: number;
	/** Mismatches described in full; the others are only counted. */
	readonly maxReports: number;
	/** Command line that runs one case again, without its index. */
	readonly reproduce: string;
	/** Maker of the reference. */
	readonly vendor: CpuVendor;
	readonly onProgress?: (done: number, mismatches: number) => void;
}

/** Mismatches of one form. */
export interface FormSummary {
	readonly form: InstructionForm;
	cases: number;
	/** Cases that did not end in a fault on the host. */
	completed: number;
	mismatches: number;
	/** What differed in how many cases. */
	readonly what: Map<string, number>;
	/** The first mismatch, by its index. */
	firstIndex: number;
}

export interface EndlessCase {
	readonly index: number;
	/** Its instructions. */
	readonly names: string;
}

export interface RunSummary {
	readonly cases: number;
	readonly mismatches: number;
	/** Cases that never end on the reference: counted and named, and compared with nothing. */
	readonly endless: readonly EndlessCase[];
	readonly reports: readonly string[];
	readonly forms: readonly FormSummary[];
}

function kindOf(difference: Difference): string {
	if (difference.what === "outcome")
		return `${difference.expected} -> ${difference.got}`.replace(/ at 0x[0-9a-f]+/g, "");
	if (/^(r[a-ds][xpi]|rbp|r[0-9]+)$/.test(difference.what)) return "gpr";
	return difference.what.replace(/^(xmm|st)[0-9]+$/, "$1").replace(/^data\+.*/, "memory");
}

/** Runs `options.cases` cases on `reference` (the host) and `tested`. */
export async function compareEngines(
	reference: Engine,
	tested: Engine,
	forms: readonly InstructionForm[],
	options: RunOptions,
): Promise<RunSummary> {
	const generator = new Generator(forms, options);
	const background = commonBackground();
	const batches = [new CaseBatch(BATCH, background), new CaseBatch(BATCH, background)];
	const summaries = forms.map(
		(form): FormSummary => ({ form, cases: 0, completed: 0, mismatches: 0, what: new Map(), firstIndex: -1 }),
	);
	const reports: string[] = [];
	const endless: EndlessCase[] = [];
	const namesOf = (drawn: readonly number[]): string =>
		drawn.map((form) => `${forms[form]!.name} (${forms[form]!.encoding})`).join(", ");
	let mismatches = 0;
	const end = options.first + options.cases;

	const start = (from: number, slot: number): { batch: CaseBatch; from: number; expected: Promise<Uint8Array> } => {
		const batch = batches[slot]!;
		fill(batch, generator, from, Math.min(BATCH, end - from));
		const expected = reference.run(batch);
		// Awaited later; a failure before that is not an unhandled one.
		expected.catch(() => undefined);
		return { batch, from, expected };
	};

	let slot = 0;
	let next = options.cases > 0 ? start(options.first, slot) : undefined;
	while (next !== undefined) {
		const { batch, from, expected } = next;
		slot ^= 1;
		next = from + BATCH < end ? start(from + BATCH, slot) : undefined;
		const got = await tested.run(batch);
		const want = await expected;
		const a: { view: DataView; offset: number } = { view: viewOf(want), offset: 0 };
		const b: { view: DataView; offset: number } = { view: viewOf(got), offset: 0 };
		for (let i = 0; i < batch.count; i++) {
			const index = from + i;
			const vector = a.view.getUint32(a.offset + Result.vector, true);
			if (options.length === 1 && options.graphs !== true) {
				const summary = summaries[index % forms.length]!;
				summary.cases++;
				if (vector === BREAKPOINT || vector === STEPPED) summary.completed++;
			}
			if (vector === NEVER_ENDS) endless.push({ index, names: namesOf(generator.formIndices(index)) });
			else if (!agree(a, b)) {
				const drawn = generator.formIndices(index);
				const found = explain(generator, options.vendor, index, batch, i, a, b, drawn);
				if (found.length > 0) {
					mismatches++;
					for (const form of drawn) {
						const summary = summaries[form]!;
						summary.mismatches++;
						if (summary.firstIndex < 0) summary.firstIndex = index;
						for (const kind of new Set(found.map(kindOf))) summary.what.set(kind, (summary.what.get(kind) ?? 0) + 1);
					}
					if (reports.length < options.maxReports) {
						reports.push(describe(batch, i, namesOf(drawn), found, `${options.reproduce} --reproduce ${index}`));
					}
				}
			}
			a.offset += resultLength(a.view, a.offset);
			b.offset += resultLength(b.view, b.offset);
		}
		options.onProgress?.(from + batch.count - options.first, mismatches);
	}
	return { cases: options.cases, mismatches, endless, reports, forms: summaries };
}

function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The differences of a case that are not explained by what is undefined. */
function explain(
	generator: Generator,
	vendor: CpuVendor,
	index: number,
	batch: CaseBatch,
	at: number,
	expected: ResultAt,
	got: ResultAt,
	drawn: readonly number[],
): Difference[] {
	const test = new CaseWriter(batch);
	// A fault may have ended a sequence anywhere: flags that any instruction of it leaves undefined do not count.
	let undefinedFlags = 0;
	for (const form of drawn) undefinedFlags |= everUndefinedFlags(mnemonic(generator.forms[form]!));
	// Making it again leaves the details of the last instruction behind.
	generator.generate(index, test, at);
	const single = drawn.length === 1 && generator.options.graphs !== true;
	const subject = single ? subjectOf(generator.forms[drawn[0]!]!, generator.encoded, test) : undefined;
	const memory = (offset: number): bigint => {
		const within = test.windowAt(offset, 8);
		return batch.view.getBigUint64(within >= 0 ? within : batch.background.byteOffset + offset, true);
	};
	return differences(expected, got, { rip: test.rip, subject, vendor, undefinedFlags, memory });
}
