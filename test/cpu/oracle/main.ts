/**
 * Compares the emulated processor with the host's:
 *
 *   npx tsx test/cpu/oracle/main.ts --cases 1000000 --seed 7 --form adc --verbose
 *
 * --form takes a regular expression of mnemonics, --encoding one of encodings; --length makes sequences, --graphs control-flow graphs; --compat runs compatibility
 * mode; --host compares the host with itself (the oracle's own test); --reproduce N runs case N alone, --first N starts
 * with it; --record FILE asks the host for its maker's answers to the cases of FILE (recorded.ts) and writes them there; --tier runs cases in the interpreter, in regions of the translator, or in both, compared with each other too.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Engine } from "./engine.ts";
import { catalogueForms, comparableForms } from "./forms.ts";
import { hostVendor, Native, unavailable } from "./native.ts";
import { formatRecords, readRecords, record } from "./recorded.ts";
import { SLOTS } from "./records.ts";
import { compareEngines, type RunSummary } from "./run.ts";
import { isTierChoice, loadTier, TIERS } from "./tiers.ts";

const { values } = parseArgs({
	options: {
		cases: { type: "string", default: "100000" },
		seed: { type: "string", default: "1" },
		form: { type: "string", default: "." },
		encoding: { type: "string", default: "." },
		length: { type: "string", default: "1" },
		reports: { type: "string", default: "10" },
		reproduce: { type: "string" },
		first: { type: "string", default: "0" },
		compat: { type: "boolean", default: false },
		host: { type: "boolean", default: false },
		catalogue: { type: "boolean", default: false },
		graphs: { type: "boolean", default: false },
		tier: { type: "string", default: "interpreter" },
		record: { type: "string" },
		verbose: { type: "boolean", default: false },
	},
});

/** Mismatches by mnemonic, with the encodings concerned. */
function table(summary: RunSummary): string {
	const rows: string[] = [];
	const bad = summary.forms.filter(({ mismatches }) => mismatches > 0);
	for (const name of new Set(bad.map(({ form }) => form.name))) {
		const group = bad.filter(({ form }) => form.name === name);
		const what = new Map<string, number>();
		for (const entry of group) for (const [kind, count] of entry.what) what.set(kind, (what.get(kind) ?? 0) + count);
		const kinds = [...what].sort((x, y) => y[1] - x[1]).map(([kind, count]) => `${kind} (${count})`);
		const sum = (key: "mismatches" | "cases"): number => group.reduce((total, entry) => total + entry[key], 0);
		const encodings = group.map(({ form }) => form.encoding);
		const shown =
			encodings.length > 3 ? `${encodings.slice(0, 2).join("; ")}; ${encodings.length - 2} more` : encodings.join("; ");
		rows.push(
			`| ${name} | ${shown} | ${sum("mismatches")}/${sum("cases")} | ${kinds.slice(0, 4).join(", ")} | ${group[0]!.firstIndex} |`,
		);
	}
	if (rows.length === 0) return "";
	return ["| name | encodings | mismatches | what differs | first |", "|---|---|---|---|---|", ...rows].join("\n");
}

const reason = unavailable();
if (reason !== undefined) {
	console.error(`No oracle here: ${reason}.`);
	process.exit(2);
}
if (!isTierChoice(values.tier)) {
	console.error(`--tier: one of ${TIERS.join(", ")}.`);
	process.exit(2);
}
if (values.record !== undefined) {
	const [native, vendor] = [new Native(), hostVendor()!];
	try {
		const cases = await record(readRecords(values.record), vendor, native, await loadTier("interpreter", vendor));
		writeFileSync(values.record, formatRecords(cases));
		console.log(`${cases.length} cases have the answers of this host (${vendor}).`);
	} finally {
		native.close();
	}
	process.exit(0);
}
const useCatalogue = values.host || values.catalogue;
const all = await (useCatalogue ? catalogueForms() : comparableForms());
const forms = all.filter(
	({ name, encoding, mode }) =>
		new RegExp(`^(${values.form})`).test(name) &&
		new RegExp(values.encoding).test(encoding) &&
		mode !== (values.compat ? "64" : "compat"),
);
if (forms.length === 0) {
	console.error("No form of the table matches.");
	process.exit(2);
}
const native = new Native();
const tested: Engine = values.host ? new Native() : await loadTier(values.tier, hostVendor()!);
const seed = Number(values.seed);
const single = values.reproduce !== undefined;
const flags = [
	`--seed ${seed}`,
	values.form === "." ? "" : ` --form '${values.form}'`,
	values.encoding === "." ? "" : ` --encoding '${values.encoding}'`,
	values.length === "1" ? "" : ` --length ${values.length}`,
	values.compat ? " --compat" : "",
	values.graphs ? " --graphs" : "",
	values.tier === "interpreter" ? "" : ` --tier ${values.tier}`,
	values.catalogue ? " --catalogue" : "",
];
const started = performance.now();
try {
	const summary = await compareEngines(native, tested, forms, {
		seed,
		cases: single ? 1 : Number(values.cases),
		first: single ? Number(values.reproduce) : Number(values.first) & -SLOTS,
		length: Number(values.length),
		compatibility: values.compat,
		graphs: values.graphs,
		vendor: hostVendor()!,
		maxReports: Number(values.reports),
		reproduce: `npx tsx test/cpu/oracle/main.ts ${flags.join("")}`,
		...(values.verbose
			? { onProgress: (done: number, bad: number) => process.stderr.write(`\r${done} cases, ${bad} mismatches`) }
			: {}),
	});
	if (values.verbose) process.stderr.write("\n");
	for (const report of summary.reports) console.log(`${report}\n`);
	console.log(table(summary));
	for (const { index, names } of summary.endless) console.log(`never ends on the host: case ${index}, ${names}`);
	if (values.verbose) {
		const never = summary.forms.filter(({ cases, completed }) => cases > 0 && completed === 0);
		console.log(`Never completed: ${never.map(({ form }) => `${form.name} ${form.encoding}`).join("; ") || "none"}`);
	}
	const seconds = (performance.now() - started) / 1000;
	console.log(
		`${summary.cases} cases of ${forms.length} forms in ${seconds.toFixed(1)} s: ${summary.mismatches} mismatches (seed ${seed})`,
	);
	const share = (tested as { translatedShare?: number }).translatedShare;
	if (share !== undefined) console.log(`${(share * 100).toFixed(1)}% of the instructions ran in regions`);
	process.exitCode = summary.mismatches === 0 ? 0 : 1;
} finally {
	native.close();
	if (tested instanceof Native) tested.close();
}
