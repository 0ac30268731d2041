/** `xl top`: what the domains use, refreshed: xentop's columns. On a terminal q leaves it. */
import type { DomainInfo, HostInfo } from "../../toolstack/info.ts";
import { parseSeconds } from "../options.ts";
import { RawTerminal } from "../terminal.ts";
import { right } from "./format.ts";
import type { Session, Verb } from "./verb.ts";
import { wholeNumber } from "./verb.ts";

const KIB = 1024;
const DEFAULT_DELAY = "3";
/** q, Q and Ctrl-C. */
const LEAVING_KEYS = [0x71, 0x51, 0x03];

/** What was seen at a moment. */
interface Sample {
	/** Milliseconds. */
	readonly time: number;
	readonly info: HostInfo;
	readonly domains: readonly DomainInfo[];
}

const HEADER = "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS WEIGHT  CAP";

/** A screen of xentop: processor shares are those since the sample before. */
export function formatTop(sample: Sample, before: Sample | undefined): string {
	const { info, domains } = sample;
	const percent = (part: number, whole: number): string => ((part / whole) * 100).toFixed(1);
	const rows = domains.map((domain) => {
		const earlier = before?.domains.find(({ id, uuid }) => id === domain.id && uuid === domain.uuid);
		const seconds = before === undefined ? 0 : (sample.time - before.time) / 1000;
		const used = earlier === undefined || seconds <= 0 ? 0 : (domain.cpuSeconds - earlier.cpuSeconds) / seconds;
		const name = domain.name.length > 10 ? domain.name.slice(0, 10) : domain.name;
		return [
			right(name, 10),
			domain.state,
			right(Math.floor(domain.cpuSeconds), 10),
			right((Math.max(0, used) * 100).toFixed(1), 6),
			right(Math.floor(domain.memory / KIB), 10),
			right(percent(domain.memory, info.totalMemory), 6),
			right(Math.floor(domain.maximumMemory / KIB), 10),
			right(percent(domain.maximumMemory, info.totalMemory), 9),
			right(domain.vcpus, 5),
			right(domain.weight, 6),
			right(domain.cap, 4),
		].join(" ");
	});
	const count = (flag: (domain: DomainInfo) => boolean): number => domains.filter(flag).length;
	const summary = [
		`${domains.length} domains: ${count((each) => each.running)} running`,
		`${count((each) => each.blocked)} blocked`,
		`${count((each) => each.paused)} paused`,
		`${count((each) => each.crashed)} crashed`,
		`${count((each) => each.dying)} dying`,
		`${count((each) => each.shutdown)} shutdown`,
	].join(", ");
	const [total, free] = [info.totalMemory / KIB, info.freeMemory / KIB];
	return [
		`xentop - ${new Date().toTimeString().slice(0, 8)}   Xen ${info.xenMajor}.${info.xenMinor}${info.xenExtra}`,
		summary,
		`Mem: ${total}k total, ${total - free}k used, ${free}k free    CPUs: ${info.cpus} @ ${info.cpuKilohertz / 1000}MHz`,
		HEADER,
		...rows,
		"",
	].join("\n");
}

async function sampleNow(session: Session): Promise<Sample> {
	const daemon = await session.daemon();
	const [domains, info] = await Promise.all([daemon.request("list", {}), daemon.request("info", {})]);
	return { time: performance.now(), info, domains };
}

/** The terminal while the view is on it: its alternate screen, keys without Enter. */
class View {
	private readonly left: Promise<void>;
	private readonly terminal: RawTerminal;

	constructor() {
		let leave: () => void = () => {};
		this.left = new Promise((resolve) => {
			leave = resolve;
		});
		const onKeys = (keys: Uint8Array): void => {
			if (LEAVING_KEYS.some((key) => keys.includes(key))) leave();
		};
		process.stdout.write("\x1b[?1049h\x1b[?25l");
		this.terminal = new RawTerminal(process.stdin, { onKeys, onGone: leave }, () => {
			process.stdout.write("\x1b[?25h\x1b[?1049l");
		});
	}

	show(text: string): void {
		// Some terminals do not know their size: it is 0 then.
		const [rows, columns] = [process.stdout.rows || 24, process.stdout.columns || 80];
		const lines = text.split("\n").slice(0, rows - 1);
		process.stdout.write(`\x1b[H${lines.map((line) => `${line.slice(0, columns)}\x1b[K\r\n`).join("")}\x1b[J`);
	}

	/** @returns whether the user has left it meanwhile */
	wait(milliseconds: number): Promise<boolean> {
		let timer: NodeJS.Timeout | undefined;
		const passed = new Promise<boolean>((resolve) => {
			timer = setTimeout(() => resolve(false), milliseconds);
		});
		return Promise.race([passed, this.left.then(() => true)]).finally(() => clearTimeout(timer));
	}

	close(): void {
		this.terminal.release();
	}
}

export const TOP_VERB: Verb = {
	name: "top",
	operands: "",
	count: [0, 0],
	summary: "Monitor the domains in real time (q quits)",
	options: [
		{ short: "b", long: "batch", help: "Print one screen behind the other." },
		{ short: "d", long: "delay", value: "SECONDS", help: "Seconds between screens (default 3)." },
		{ short: "i", long: "iterations", value: "ITERATIONS", help: "Screens before it ends (default: no end)." },
		{ long: "json", help: "Print each screen as a line of JSON." },
	],
	async run(args, session) {
		const delay = parseSeconds("delay", args.value("d") ?? DEFAULT_DELAY) * 1000;
		const limit = args.value("i");
		const most = limit === undefined ? Number.POSITIVE_INFINITY : wholeNumber("top", "number of iterations", limit);
		const json = args.has("json");
		const view = !args.has("b") && !json && process.stdin.isTTY && process.stdout.isTTY ? new View() : undefined;
		try {
			let before: Sample | undefined;
			for (let count = 1; count <= most; count++) {
				const sample = await sampleNow(session);
				if (json) session.print(JSON.stringify({ info: sample.info, domains: sample.domains }));
				else if (view === undefined) session.print(formatTop(sample, before));
				else view.show(formatTop(sample, before));
				before = sample;
				if (count === most) break;
				if (view === undefined) await new Promise((resolve) => setTimeout(resolve, delay));
				else if (await view.wait(delay)) break;
			}
		} finally {
			view?.close();
		}
	},
};
