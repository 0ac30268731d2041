/**
 * `npx tsx bench/devices.ts`: disks, networks, shared folders, the way to a prompt and idle guests: paravirt with the kernel's own drivers for Xen
 * beside QEMU TCG with virtio. The same kernel, programs and images, in turns, so that what else the machine does falls on both; medians.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { debianImage } from "../test/boot/debian-image.ts";
import { buildDeviceGuest, type DeviceGuest } from "./device-guest.ts";
import {
	DEVICE_RUNNERS,
	type DeviceRunner,
	GUEST_MIB,
	missingProgram,
	type Setting,
	WHATS,
	type What,
} from "./device-runners.ts";
import { cpuSeconds, residentBytes, type Stamp } from "./measure.ts";
import { formatRows, markdownTable, median, withUnit } from "./report.ts";

const USAGE = `npx tsx bench/devices.ts [OPTION...]    (after npm run build)
  --what LIST     of ${WHATS.join(",")} (default: all)
  --runs N        runs of each; the table has medians (default 3)
  --seconds S     for each item (default 2)
  --ramp S        that each item of disks and folders runs before it is measured (default 0)
  --item TEXT     only items of disks, networks and folders whose name contains it
  --size MIB      of the disk and of the folder's file (default 256)
  --format F      of the disk: raw (default) or qcow2
  --only NAME     ${DEVICE_RUNNERS.map(({ name }) => name).join(" or ")}
  --timeout S     for one guest (default 300)
  --markdown FILE write the tables there, with the machine, the versions and the command
`;
const { values } = parseArgs({
	options: {
		what: { type: "string", default: WHATS.join(",") },
		runs: { type: "string", default: "3" },
		seconds: { type: "string", default: "2" },
		ramp: { type: "string", default: "0" },
		item: { type: "string", default: "" },
		size: { type: "string", default: "256" },
		format: { type: "string", default: "raw" },
		only: { type: "string" },
		timeout: { type: "string", default: "300" },
		markdown: { type: "string" },
		help: { type: "boolean", default: false },
	},
});

/** One figure; several may come of an item. */
interface Figure {
	readonly value: number;
	readonly unit: string;
	/** Whether more is better. */
	readonly rate: boolean;
}
type Figures = ReadonlyMap<string, Figure>;

const MIB = 2 ** 20;
/** Seconds that an idle guest is left to settle, and watched. */
const SETTLE = 4;
const WATCH = 10;
const TITLES: Readonly<Record<What, string>> = {
	disk: "disk",
	host: "TCP, guest to host",
	guests: "TCP, guest to guest",
	folder: "9p folder",
	start: "start",
	idle: "idle guest",
	system: "Debian's system",
};
const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** The programs of a run, and what they have used together. */
class Run {
	console = "";
	private readonly children: ChildProcess[];
	private readonly began = performance.now();
	readonly ended: Promise<void>;

	constructor(commands: readonly string[][], onText: (text: string, run: Run) => void) {
		// The first one last: the others are what it meets. Their input stays open and silent.
		this.children = commands
			.toReversed()
			.map(([program = "", ...args]) => spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] }))
			.toReversed();
		const [first, ...others] = this.children as [ChildProcess, ...ChildProcess[]];
		for (const other of others) other.stdout?.resume();
		first.stdout?.setEncoding("latin1").on("data", (data: string) => {
			this.console += data;
			onText(data, this);
		});
		const timer = setTimeout(() => this.end(), Number(values.timeout) * 1000);
		this.ended = new Promise((resolve, reject) => {
			first.on("error", reject);
			first.on("close", () => {
				clearTimeout(timer);
				this.end();
				resolve();
			});
		});
	}

	stamp(): Stamp {
		const cpu = this.pids().reduce((sum, pid) => sum + cpuSeconds(pid), 0);
		return { wall: (performance.now() - this.began) / 1000, cpu };
	}

	resident(): number {
		return this.pids().reduce((sum, pid) => sum + residentBytes(pid), 0);
	}

	end(): void {
		for (const child of this.children) child.kill("SIGKILL");
	}

	/** The end is ours to bring about; fails where the guest ends before `text` comes. */
	async until(text: string): Promise<Stamp> {
		let ended = false;
		void this.ended.then(() => {
			ended = true;
		});
		while (!this.console.includes(text)) {
			if (ended) throw new Error(`the guest ended before ${text}:\n${this.console.slice(-2000)}`);
			await pause(0.005);
		}
		return this.stamp();
	}

	private pids(): number[] {
		return this.children.map(({ pid }) => pid ?? 0);
	}
}

/** Items that the guest announces and reports, by the guest's clock and by the host's processor time. */
async function measureItems(commands: readonly string[][], prefix: string): Promise<Figures> {
	const figures = new Map<string, Figure>();
	let line = "";
	let start: Stamp = { wall: 0, cpu: 0 };
	const run = new Run(commands, (text, self) => {
		const lines = (line + text).split("\n");
		line = lines.pop() ?? "";
		for (const each of lines) {
			if (each.startsWith("@ ")) start = self.stamp();
			const found = /^= (.*)\|(.*)\|(.*?)\r?$/.exec(each);
			if (found === null) continue;
			const [, name = "", number, unit = ""] = found;
			const end = self.stamp();
			const value = Number(number);
			const share = (end.cpu - start.cpu) / (end.wall - start.wall);
			figures.set(`${prefix}: ${name}`, { value, unit, rate: true });
			figures.set(`${prefix}: ${name}, a CPU second`, { value: value / share, unit, rate: true });
		}
	});
	await run.ended;
	if (!run.console.includes("ALL-DONE"))
		throw new Error(`the guest did not come to its end:\n${run.console.slice(-2000)}`);
	return figures;
}

/** @param text what the guest is ready with. */
async function measureStart(commands: readonly string[][], prefix: string, text: string): Promise<Figures> {
	const run = new Run(commands, () => {});
	const { wall, cpu } = await run.until(text);
	run.end();
	await run.ended;
	return new Map([
		[prefix, { value: wall, unit: "s", rate: false }],
		[`${prefix}, CPU`, { value: cpu, unit: "s", rate: false }],
	]);
}

async function measureIdle(commands: readonly string[][], prefix: string): Promise<Figures> {
	const run = new Run(commands, () => {});
	await run.until("IDLE");
	await pause(SETTLE);
	const before = run.stamp();
	await pause(WATCH);
	const after = run.stamp();
	const beyond = run.resident() / MIB - GUEST_MIB;
	run.end();
	await run.ended;
	const percent = (100 * (after.cpu - before.cpu)) / (after.wall - before.wall);
	return new Map([
		[`${prefix}: CPU`, { value: percent, unit: "%", rate: false }],
		[`${prefix}: resident beyond its ${GUEST_MIB} MiB`, { value: beyond, unit: "MiB", rate: false }],
	]);
}

function measure(what: What, runner: DeviceRunner, setting: Setting): Promise<Figures> {
	const commands = runner.commands(what, setting);
	switch (what) {
		case "start":
			return measureStart(commands, `${TITLES[what]}: from the command to the prompt`, "SHELL-PROMPT");
		case "system":
			return measureStart(commands, `${TITLES[what]}: from the command to the login`, "login: ");
		case "idle":
			return measureIdle(commands, TITLES[what]);
		default:
			return measureItems(commands, TITLES[what]);
	}
}

/** The disk's image and the folder's file are filled, so that reads are not of holes. */
function prepare(directory: string): { image: string; folder: string } {
	const fill = (file: string): void => {
		execFileSync("dd", ["if=/dev/urandom", `of=${file}`, "bs=1M", `count=${values.size}`, "status=none"]);
	};
	const folder = join(directory, "folder");
	mkdirSync(folder);
	fill(join(folder, "file"));
	const image = join(directory, `disk.${values.format}`);
	const raw = join(directory, "disk.raw");
	fill(raw);
	if (image !== raw) execFileSync("qemu-img", ["convert", "-f", "raw", "-O", values.format, raw, image]);
	return { image, folder };
}

/** The host's end of connections. */
async function serve(guest: DeviceGuest): Promise<{ readonly port: number; readonly stop: () => void }> {
	const child = spawn(guest.net, ["serve", "127.0.0.1", "0"], { stdio: ["ignore", "pipe", "inherit"] });
	const [line] = await new Promise<string[]>((resolve, reject) => {
		child.stdout.once("data", (data) => resolve([String(data)]));
		child.on("error", reject);
	});
	return { port: Number(/^port (\d+)/.exec(line ?? "")?.[1]), stop: () => child.kill() };
}

function rowsOf(runners: readonly DeviceRunner[], all: ReadonlyMap<string, Figures[]>): string[][] {
	const [own, peer] = runners;
	const rows = [["", ...runners.map(({ name }) => name), ...(peer === undefined ? [] : ["ours is better by"])]];
	const names = new Set([...all.values()].flatMap((runs) => runs.flatMap((figures) => [...figures.keys()])));
	for (const name of names) {
		const figuresOf = ({ name: runner }: DeviceRunner): Figure[] =>
			(all.get(runner) ?? []).flatMap((figures) => figures.get(name) ?? []);
		const [sample] = runners.flatMap(figuresOf);
		const medians = runners.map((runner) => median(figuresOf(runner).map(({ value }) => value)));
		const unit = sample?.unit ?? "";
		const cells = medians.map((value) => (value === undefined ? "-" : `${withUnit(value)} ${unit}`));
		if (own !== undefined && peer !== undefined) {
			const [ours, theirs] = medians;
			const ratio = ours === undefined || theirs === undefined ? undefined : ours / theirs;
			cells.push(ratio === undefined ? "-" : `${(sample?.rate ? ratio : 1 / ratio).toFixed(2)}x`);
		}
		rows.push([name, ...cells]);
	}
	return rows;
}

function toMarkdown(runners: readonly DeviceRunner[], rows: readonly (readonly string[])[], release: string): string {
	const processors = cpus();
	const facts = {
		Date: new Date().toISOString().slice(0, 10),
		Machine: `${processors.length} x ${processors[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
		Kernel: release,
		Command: `\`npm run build && npx tsx bench/devices.ts ${process.argv.slice(2).join(" ")}\``,
		...Object.fromEntries(runners.map(({ name, description }) => [name, description])),
	};
	return [
		"# Devices: results",
		Object.entries(facts)
			.map(([name, value]) => `- ${name}: ${value}`)
			.join("\n"),
		"Rates are by the wall clock, and by the processor time of the emulators' processes, all threads (and both guests) included; medians of all runs.",
		`${markdownTable(rows)}\n`,
	].join("\n\n");
}

async function main(directory: string): Promise<void> {
	const whats = values.what.split(",").map((word) => {
		const what = WHATS.find((each) => each === word);
		if (what === undefined) throw new Error(`--what ${word}: there are ${WHATS.join(", ")}`);
		return what;
	});
	const runners = DEVICE_RUNNERS.filter((runner) => {
		if (values.only !== undefined && runner.name !== values.only) return false;
		const missing = missingProgram(runner);
		if (missing !== undefined) process.stderr.write(`without ${runner.name}: ${missing}\n`);
		return missing === undefined;
	});
	if (runners.length === 0) throw new Error("no runner is left");
	const guest = await buildDeviceGuest(directory);
	const server = await serve(guest);
	try {
		const { image, folder } = prepare(directory);
		const system = whats.includes("system") ? await debianImage() : "";
		const { port } = server;
		const { format, item } = values;
		const [seconds, ramp] = [Number(values.seconds), Number(values.ramp)];
		const setting = { guest, directory, image, system, folder, port, format, item, seconds, ramp };
		const all = new Map<string, Figures[]>(runners.map(({ name }) => [name, []]));
		for (let round = 1; round <= Number(values.runs); round++) {
			for (const what of whats) {
				for (const runner of runners) {
					process.stderr.write(`run ${round}: ${what}, ${runner.name}\n`);
					const figures = await measure(what, runner, setting);
					for (const [name, { value, unit }] of figures) {
						process.stderr.write(`  ${runner.name.padEnd(9)} ${name.padEnd(60)} ${withUnit(value)} ${unit}\n`);
					}
					all.get(runner.name)?.push(figures);
				}
			}
		}
		const rows = rowsOf(runners, all);
		process.stdout.write(`${formatRows(rows)}\n`);
		if (values.markdown !== undefined) writeFileSync(values.markdown, toMarkdown(runners, rows, guest.release));
	} finally {
		server.stop();
	}
}

if (values.help) process.stdout.write(USAGE);
else {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-devices-"));
	try {
		await main(directory);
	} finally {
		rmSync(directory, { recursive: true, force: true });
	}
}
