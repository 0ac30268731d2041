/**
 * Runs a guest in a child process and notes, at each line of its console, the wall time and the CPU time that the child has used until
 * then: compilation, garbage collection and helper threads included. Relies on /proc, so on Linux.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Seconds since the child began. */
export interface Stamp {
	readonly wall: number;
	readonly cpu: number;
}

/** One benchmark item, as guest/bench.c reports it. */
export interface Item {
	readonly name: string;
	readonly operations: number;
	/** Of the guest's clock, for the operations alone. */
	readonly guestSeconds: number;
	/** Of the host, from the item's announcement to its report: with what the item prepares. */
	readonly wall: number;
	readonly cpu: number;
	/** What was computed, in a form that can be compared. */
	readonly checksum: string;
}

export interface Measurement {
	/** At the line BOOT-OK; undefined where the guest never came there. */
	readonly marker: Stamp | undefined;
	readonly end: Stamp;
	readonly items: readonly Item[];
	/** The guest said that it is through. */
	readonly complete: boolean;
	readonly status: number | null;
	/** Bytes. */
	readonly largestResident: number;
	readonly console: string;
	readonly complaints: string;
}

const POLL_MILLISECONDS = 500;
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const ESCAPE_SEQUENCE = /\x1b\[[\d;?]*[A-Za-z]/g;

/** Seconds of CPU time: nanoseconds of the living threads, or the kernel's ticks where ended threads had more. */
export function cpuSeconds(pid: number): number {
	try {
		let nanoseconds = 0;
		for (const task of readdirSync(`/proc/${pid}/task`)) {
			nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
		}
		return nanoseconds / 1e9;
	} catch {
		return 0;
	}
}

/** Bytes that a process has in memory now. */
export function residentBytes(pid: number): number {
	return statusBytes(pid, "VmRSS");
}

function largestResidentBytes(pid: number): number {
	return statusBytes(pid, "VmHWM");
}

function statusBytes(pid: number, field: string): number {
	try {
		const status = readFileSync(`/proc/${pid}/status`, "utf8");
		return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
	} catch {
		return 0;
	}
}

/** Turns the lines of a console into items. */
export class ItemReader {
	readonly items: Item[] = [];
	private name: string | undefined;
	private started: Stamp = { wall: 0, cpu: 0 };
	private printed: string[] = [];

	line(text: string, stamp: Stamp): void {
		const announced = /^@ (\S+)$/.exec(text)?.[1];
		if (announced !== undefined) {
			this.name = announced;
			this.started = stamp;
			this.printed = [];
			return;
		}
		const report = /^BENCH (\S+) ops=(\d+) sec=(\S+) .* chk=(\S+)$/.exec(text);
		if (report === null) {
			if (/^[0-9a-f]{32,}\s/.test(text)) this.printed.push(text.trim());
			return;
		}
		const [, name = "", operations, seconds, checksum = ""] = report;
		if (name !== this.name) return;
		this.items.push({
			name,
			operations: Number(operations),
			guestSeconds: Number(seconds),
			wall: stamp.wall - this.started.wall,
			cpu: stamp.cpu - this.started.cpu,
			checksum: [checksum, ...this.printed].join(" "),
		});
		this.name = undefined;
	}
}

/** The items in what bench.sh printed on the host; times beside the guest's own are 0. */
export function readItems(output: string): Item[] {
	const reader = new ItemReader();
	for (const line of output.split("\n")) reader.line(line, { wall: 0, cpu: 0 });
	return reader.items;
}

/**
 * @param command program and arguments
 * @param seconds after which the child is ended
 * @param onItem told of each item as soon as it is done, and of "boot"
 */
export function measure(
	command: readonly string[],
	seconds: number,
	onItem: (name: string, stamp: Stamp) => void,
): Promise<Measurement> {
	const began = performance.now();
	const child = spawn(command[0] as string, command.slice(1), { stdio: ["pipe", "pipe", "pipe"] });
	// Its input stays open and silent: an end would be typed on the console.
	child.stdin.on("error", () => {});
	const pid = child.pid ?? 0;
	const reader = new ItemReader();
	let cpu = 0;
	let largestResident = 0;
	let marker: Stamp | undefined;
	let complete = false;
	let console = "";
	let complaints = "";
	let rest = "";
	const stamp = (): Stamp => {
		cpu = Math.max(cpu, cpuSeconds(pid));
		largestResident = Math.max(largestResident, largestResidentBytes(pid));
		return { wall: (performance.now() - began) / 1000, cpu };
	};
	const line = (text: string): void => {
		const now = stamp();
		const before = reader.items.length;
		if (marker === undefined && text.startsWith("BOOT-OK")) {
			marker = now;
			onItem("boot", now);
		}
		if (text.startsWith("ALL-DONE")) complete = true;
		reader.line(text, now);
		const item = reader.items[before];
		if (item !== undefined) onItem(item.name, item);
	};
	child.stdout.setEncoding("latin1").on("data", (data: string) => {
		const lines = (rest + data).split("\n");
		rest = lines.pop() ?? "";
		for (const raw of lines) {
			const text = raw.replaceAll("\r", "").replaceAll(ESCAPE_SEQUENCE, "");
			console += `${text}\n`;
			line(text);
		}
	});
	child.stderr.setEncoding("utf8").on("data", (data: string) => {
		complaints += data;
	});
	const poll = setInterval(stamp, POLL_MILLISECONDS);
	const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
	return new Promise((resolve, reject) => {
		const finish = (): void => {
			clearInterval(poll);
			clearTimeout(timer);
		};
		child.on("error", (error) => {
			finish();
			reject(error);
		});
		child.on("close", (status) => {
			finish();
			const end = stamp();
			resolve({ marker, end, items: reader.items, complete, status, largestResident, console, complaints });
		});
	});
}
