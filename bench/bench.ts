/**
 * `npm run bench`: boots the benchmark's guest on paravirt and its peers, in turns so that what else the machine does falls on all of
 * them, and prints a table. Status 1 where a guest fails or, with --fixed, computes something else than the host's hardware.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type BenchGuest, buildGuest, buildGuest32, runNatively, type Work } from "./guest.ts";
import { type Item, measure, readItems } from "./measure.ts";
import { type Column, findFaults, formatRows, groupRows, tableRows, toJson, toMarkdown } from "./report.ts";
import { RUNNERS, type Runner } from "./runners.ts";

const USAGE = `npm run bench -- [OPTION...]
  --items LIST    items of bench/guest/bench.sh, separated by commas; "all" (default), "sh", "c", or "none" for the boot alone
  --runs N        runs of each; the table has medians (default 1)
  --seconds S     of each item, by the guest's clock (default 1)
  --fixed         the same small work everywhere, and its checksums compared with the host's hardware
  --no-qemu       without QEMU
  --no-v86        without v86
  --only NAME     only this runner: ${RUNNERS.map(({ name }) => name).join(", ")}
  --kernel FILE   a vmlinuz, in place of Debian's
  --timeout S     for one guest (default 1800)
  --json FILE     write all measurements there
  --markdown FILE write the tables there, with the machine, the versions and the command
`;

const FIXED: Work = { BENCH_T: "0", BENCH_S: "0.05", BENCH_SHA: "8", BENCH_GZ: "4" };

const { values } = parseArgs({
	options: {
		items: { type: "string", default: "all" },
		runs: { type: "string", default: "1" },
		seconds: { type: "string", default: "1" },
		fixed: { type: "boolean", default: false },
		"no-qemu": { type: "boolean", default: false },
		"no-v86": { type: "boolean", default: false },
		only: { type: "string" },
		kernel: { type: "string" },
		timeout: { type: "string", default: "1800" },
		json: { type: "string" },
		markdown: { type: "string" },
		help: { type: "boolean", default: false },
	},
});

const say = (text: string): void => {
	process.stderr.write(`${text}\n`);
};

function availableRunners(): Runner[] {
	return RUNNERS.filter((runner) => {
		if (values.only !== undefined && runner.name !== values.only) return false;
		if (values["no-qemu"] && runner.name === "qemu") return false;
		if (values["no-v86"] && runner.name === "v86") return false;
		const missing = runner.missing();
		if (missing !== undefined) say(`without ${runner.name}: ${missing}`);
		return missing === undefined;
	});
}

async function main(directory: string): Promise<number> {
	const runners = availableRunners();
	if (runners.length === 0) throw new Error("no runner is left");
	const runs = Number(values.runs);
	const timeout = Number(values.timeout);
	if (!(Number.isInteger(runs) && runs > 0 && timeout > 0)) throw new Error("--runs and --timeout need a number");
	say("building the guest");
	const guest = await buildGuest(directory, values.kernel);
	const guest32 = runners.some(({ bits }) => bits === 32) ? await buildGuest32(join(directory, "i386")) : guest;
	const guestOf = ({ bits }: Runner): BenchGuest => (bits === 32 ? guest32 : guest);
	const works = values.items !== "none";
	const work: Work = { BENCH: values.items, ...(values.fixed ? FIXED : { BENCH_T: values.seconds }) };
	let expected: Item[] | undefined;
	if (values.fixed && works) {
		say("running natively");
		expected = readItems(runNatively(guest, directory, work));
	}
	const columns = runners.map((runner): Column => ({ name: runner.name, boots: [], works: [] }));
	const run = async (runner: Runner, what: string, workOfRun: Work) => {
		say(`${runner.name}, ${what}`);
		return measure(runner.command(guestOf(runner), workOfRun, directory), timeout, (name, { wall, cpu }) => {
			say(`  ${runner.name.padEnd(9)} ${name.padEnd(10)} ${cpu.toFixed(2)} s CPU, ${wall.toFixed(2)} s wall`);
		});
	};
	for (let round = 1; round <= runs; round++) {
		for (const [index, runner] of runners.entries()) {
			const measurement = await run(runner, `boot ${round} of ${runs}`, { BENCH: "none" });
			columns[index]?.boots.push({ measurement, counters: runner.counters?.(directory) });
		}
		if (!works) continue;
		for (const [index, runner] of runners.entries()) {
			columns[index]?.works.push(await run(runner, `work ${round} of ${runs}`, work));
		}
	}
	if (values.json !== undefined) writeFileSync(values.json, toJson(columns, work, guest.release));
	if (values.markdown !== undefined) {
		writeFileSync(values.markdown, toMarkdown(columns, factsOf(runners, guest, guest32)));
	}
	process.stdout.write(`${formatRows(tableRows(columns))}\n`);
	const groups = groupRows(columns);
	if (groups.length > 0) process.stdout.write(`\n${formatRows(groups)}\n`);
	const faults = columns.flatMap((column) => findFaults(column, expected));
	for (const fault of faults) say(fault);
	if (expected !== undefined && faults.length === 0)
		say(`all ${expected.length} items computed what the hardware does`);
	return faults.length === 0 ? 0 : 1;
}

/** What one must know to measure the same again. */
function factsOf(runners: readonly Runner[], guest: BenchGuest, guest32: BenchGuest): Record<string, string> {
	const processors = cpus();
	const kernels = new Set(
		runners.map(({ bits }) => (bits === 32 ? guest32 : guest).release).filter((name) => name !== ""),
	);
	return {
		Date: new Date().toISOString().slice(0, 10),
		Machine: `${processors.length} x ${processors[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
		Kernels: [...kernels].join(", "),
		Command: `\`npm run bench -- ${process.argv.slice(2).join(" ")}\``,
		...Object.fromEntries(runners.map((runner) => [runner.name, `${runner.description}; ${runner.version()}`])),
	};
}

if (values.help) process.stdout.write(USAGE);
else {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
	try {
		process.exitCode = await main(directory);
	} catch (error) {
		say(error instanceof Error ? error.message : String(error));
		process.exitCode = 2;
	} finally {
		rmSync(directory, { recursive: true, force: true });
	}
}
