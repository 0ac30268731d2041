/** From measurements to a table: medians of runs, rates, and ratios to the first column. */
import type { Item, Measurement } from "./measure.ts";
import { type Counters, MEMORY_MIB } from "./runners.ts";

/** What one runner did: guests that only boot, and guests that work. */
export interface Column {
	readonly name: string;
	readonly boots: { readonly measurement: Measurement; readonly counters: Counters | undefined }[];
	readonly works: Measurement[];
}

/** Measured by the guest's clock: such an item waits, and CPU time says nothing about it. */
const BY_GUEST_CLOCK: ReadonlySet<string> = new Set(["sleep1ms"]);
const MIB = 2 ** 20;
/** DESIGN: the host's resident memory is at most the guest's and this. */
const MEMORY_ALLOWANCE_MIB = 300;

export function median(values: readonly number[]): number | undefined {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = sorted.length >> 1;
	if (sorted.length === 0) return undefined;
	return sorted.length % 2 === 1 ? sorted[middle] : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/**
 * Operations a second of CPU time. What the guest timed is only a part of the item's span (it prepares, and repeats until it takes long
 * enough), so its time is taken, at the share of a processor that the child had in the span.
 */
export function rate(item: Item): number {
	if (BY_GUEST_CLOCK.has(item.name)) return item.operations / item.guestSeconds;
	const share = item.wall > 0 ? item.cpu / item.wall : 1;
	return item.operations / Math.max(item.guestSeconds * share, 1e-9);
}

function ratesOf(column: Column, name: string): number[] {
	return column.works.flatMap((work) => work.items.filter((item) => item.name === name).map(rate));
}

/** "12.3M", three digits. */
export function withUnit(value: number): string {
	const units = ["", "k", "M", "G", "T"];
	let unit = 0;
	let scaled = value;
	while (scaled >= 999.5 && unit < units.length - 1) {
		scaled /= 1000;
		unit++;
	}
	const digits = scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
	return `${scaled.toFixed(digits)}${units[unit]}`;
}

function bootRows(columns: readonly Column[]): string[][] {
	const row = (title: string, value: (column: Column) => string | undefined): string[] => [
		title,
		...columns.map((column) => value(column) ?? "-"),
	];
	const middle = (values: readonly (number | undefined)[]): number | undefined =>
		median(values.filter((value) => value !== undefined));
	const seconds = (values: readonly (number | undefined)[]): string | undefined => middle(values)?.toFixed(2);
	return [
		row("boot to marker, CPU s", ({ boots }) => seconds(boots.map(({ measurement }) => measurement.marker?.cpu))),
		row("boot to marker, wall s", ({ boots }) => seconds(boots.map(({ measurement }) => measurement.marker?.wall))),
		row("boot, instructions", ({ boots }) => {
			const instructions = middle(boots.map(({ counters }) => counters?.instructions));
			return instructions === undefined ? undefined : withUnit(instructions);
		}),
		row("boot, MIPS", ({ boots }) => middle(boots.map(({ counters }) => counters?.mips))?.toFixed(0)),
		row("largest resident, MiB", ({ boots, works }) => {
			const all = [...boots.map(({ measurement }) => measurement), ...works];
			return largestResidentMib(all)?.toFixed(0);
		}),
	];
}

function largestResidentMib(measurements: readonly Measurement[]): number | undefined {
	if (measurements.length === 0) return undefined;
	return Math.max(...measurements.map(({ largestResident }) => largestResident)) / MIB;
}

/** Items in the order in which they were first seen. */
function itemNames(columns: readonly Column[]): string[] {
	return [...new Set(columns.flatMap(({ works }) => works.flatMap(({ items }) => items.map(({ name }) => name))))];
}

/** Items that belong together, and how many times a peer's time they may take on average: issue 3's figures. */
interface Group {
	readonly name: string;
	readonly items: readonly string[];
	readonly limits: Readonly<Record<string, number>>;
}

const GROUPS: readonly Group[] = [
	{
		name: "computing",
		items:
			"sha256 gzip1 gunzip shloop int crc32 sieve qsort libcqsort nbody mandel memcpy repmovs stream ptrchase".split(
				" ",
			),
		limits: { qemu: 1, v86: 0.4 },
	},
	{
		name: "the kernel's work",
		items: "getppid clock read0 pipe fork forkexec exectrue fault mapunmap mprotect signal segv tmpfile shfork".split(
			" ",
		),
		limits: { qemu: 1, v86: 0.4 },
	},
];
/** The same for the boot, and for the worst single item. */
const BOOT_LIMITS: Readonly<Record<string, number>> = { qemu: 1, v86: 0.3 };
const WORST_LIMITS: Readonly<Record<string, number>> = { qemu: 2.5 };

/** How many times the peer's CPU time the first column takes for the same work. */
function timeRatio(own: Column, peer: Column, item: string): number | undefined {
	const ours = median(ratesOf(own, item));
	const theirs = median(ratesOf(peer, item));
	return ours === undefined || theirs === undefined ? undefined : theirs / ours;
}

/** Geometric means over the groups and the worst item, against each peer, with the figures to reach: rows of cells. */
export function groupRows(columns: readonly Column[]): string[][] {
	const [own, ...peers] = columns;
	if (own === undefined || peers.length === 0) return [];
	const rows = [["time, ours / theirs", "against", "ratio", "to reach", "worst item"]];
	const row = (name: string, peer: Column, ratio: number | undefined, limit: number | undefined, worst = ""): void => {
		const verdict = limit === undefined || ratio === undefined ? "" : ratio <= limit ? " (reached)" : " (missed)";
		const wanted = limit === undefined ? "-" : `${limit.toFixed(2)}${verdict}`;
		rows.push([name, peer.name, ratio?.toFixed(2) ?? "-", wanted, worst]);
	};
	for (const peer of peers) {
		const boots = [own, peer].map(({ boots }) =>
			median(boots.map(({ measurement }) => measurement.marker?.cpu).filter((cpu) => cpu !== undefined)),
		);
		const [ours, theirs] = boots;
		if (ours !== undefined && theirs !== undefined) row("boot to marker", peer, ours / theirs, BOOT_LIMITS[peer.name]);
		const all: { readonly item: string; readonly ratio: number }[] = [];
		const worstOf = (ratios: typeof all) => ratios.reduce((a, b) => (b.ratio > a.ratio ? b : a));
		for (const { name, items, limits } of GROUPS) {
			const ratios = items.flatMap((item) => {
				const ratio = timeRatio(own, peer, item);
				return ratio === undefined ? [] : [{ item, ratio }];
			});
			if (ratios.length === 0) continue;
			all.push(...ratios);
			const mean = Math.exp(ratios.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / ratios.length);
			const worst = worstOf(ratios);
			const count = ratios.length === items.length ? "" : `, ${ratios.length} of ${items.length} items`;
			row(`${name}, geometric mean${count}`, peer, mean, limits[peer.name], `${worst.item} ${worst.ratio.toFixed(2)}`);
		}
		if (all.length > 0) {
			const worst = worstOf(all);
			row("worst item", peer, worst.ratio, WORST_LIMITS[peer.name], worst.item);
		}
	}
	return rows;
}

/** All measurements: medians by column, and the first column's rates as multiples of the others'. */
export function tableRows(columns: readonly Column[]): string[][] {
	const [first, ...others] = columns;
	if (first === undefined) return [];
	const ratios = others.map(({ name }) => `${first.name}/${name}`);
	const rows: string[][] = [
		["", ...columns.map(({ name }) => name), ...ratios],
		...bootRows(columns).map((cells) => [...cells, ...ratios.map(() => "")]),
	];
	const names = itemNames(columns);
	if (names.length > 0) rows.push(["operations a CPU second", ...columns.map(() => ""), ...ratios.map(() => "")]);
	for (const name of names) {
		const rates = columns.map((column) => median(ratesOf(column, name)));
		const own = rates[0];
		const cells = rates.map((value) => (value === undefined ? "-" : withUnit(value)));
		const compared = rates
			.slice(1)
			.map((value) => (own === undefined || value === undefined ? "-" : `${(own / value).toFixed(2)}x`));
		rows.push([`  ${name}`, ...cells, ...compared]);
	}
	return rows;
}

/** Cells in columns of equal width. */
export function formatRows(rows: readonly (readonly string[])[]): string {
	const widths = rows[0]?.map((_, column) => Math.max(...rows.map((cells) => (cells[column] ?? "").length))) ?? [];
	return rows
		.map((cells) =>
			cells
				.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
				.join("  ")
				.trimEnd(),
		)
		.join("\n");
}

/** Cells as a table of Markdown's; the first column is text, the others are numbers. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
	const lines = rows.map((cells) => `| ${cells.map((cell) => cell.trim()).join(" | ")} |`);
	const rule = `|${rows[0]?.map((_, column) => (column === 0 ? "---" : "---:")).join("|")}|`;
	return [lines[0], rule, ...lines.slice(1)].join("\n");
}

/** For --markdown: both tables, under what one must know of how they came about. */
export function toMarkdown(columns: readonly Column[], facts: Readonly<Record<string, string>>): string {
	const groups = groupRows(columns);
	return [
		"# Results",
		Object.entries(facts)
			.map(([name, value]) => `- ${name}: ${value}`)
			.join("\n"),
		"Seconds are of CPU time of the whole process, rates are operations (or bytes) a second of it; medians of all runs.",
		...(groups.length === 0 ? [] : ["## Against the others", markdownTable(groups)]),
		"## All items",
		`${markdownTable(tableRows(columns))}\n`,
	].join("\n\n");
}

/** What is wrong with a column's runs, a sentence each. */
export function findFaults(column: Column, expected: readonly Item[] | undefined): string[] {
	const faults: string[] = [];
	const all = [...column.boots.map(({ measurement }) => measurement), ...column.works];
	for (const measurement of all) {
		if (measurement.complete && measurement.status === 0) continue;
		const last = measurement.console.trimEnd().split("\n").slice(-5).join("\n    ");
		const what = measurement.complete ? `ended with status ${measurement.status}` : "did not come to its end";
		faults.push(`${column.name}: a guest ${what}; its last lines:\n    ${last}\n${measurement.complaints}`);
	}
	const resident = largestResidentMib(all);
	if (column.name === "paravirt" && resident !== undefined && resident > MEMORY_MIB + MEMORY_ALLOWANCE_MIB) {
		const most = MEMORY_MIB + MEMORY_ALLOWANCE_MIB;
		faults.push(`${column.name}: ${resident.toFixed(0)} MiB resident, more than the ${most} MiB allowed`);
	}
	for (const { name, operations, checksum } of expected ?? []) {
		for (const work of column.works) {
			const item = work.items.find((candidate) => candidate.name === name);
			if (item === undefined) faults.push(`${column.name}: ${name} did not complete`);
			else if (item.checksum !== checksum || item.operations !== operations) {
				faults.push(`${column.name}: ${name} computed ${item.checksum}, the hardware ${checksum}`);
			}
		}
	}
	return faults;
}

/** For --json: everything but the consoles' text. */
export function toJson(columns: readonly Column[], work: Readonly<Record<string, string>>, release: string): string {
	const plain = ({ console: _, complaints: __, ...rest }: Measurement): object => rest;
	const value = {
		work,
		kernel: release,
		date: new Date().toISOString(),
		columns: columns.map(({ name, boots, works }) => ({
			name,
			boots: boots.map(({ measurement, counters }) => ({ ...plain(measurement), ...counters })),
			works: works.map(plain),
			rates: Object.fromEntries(
				itemNames(columns).map((item) => [item, median(ratesOf({ name, boots, works }, item))]),
			),
		})),
	};
	return `${JSON.stringify(value, undefined, "\t")}\n`;
}
