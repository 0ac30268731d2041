/** `paravirt daemon`: starts, ends and shows the process that owns the domains of `paravirt xl`. */
import { join } from "node:path";
import type { ArgsDef, CommandDef } from "citty";
import { CPU_VENDORS, type CpuVendor } from "../cpu/vendor.ts";
import { startDaemon } from "../daemon/daemon.ts";
import { DaemonError } from "../daemon/errors.ts";
import { daemonPaths } from "../daemon/paths.ts";
import type { DaemonStatus } from "../daemon/protocol.ts";
import { connectOrStart, tryConnect } from "../daemon/start.ts";
import { cacheDirectory } from "../guests/cache.ts";
import { kernelCache } from "../guests/kernel-cache.ts";
import { UsageError } from "./errors.ts";
import { parseChoice, parseSeconds, parseSize } from "./options.ts";
import { packageVersion } from "./version.ts";

const MIB = 2 ** 20;
const DEFAULT_IDLE = "60";
const ACTIONS = ["start", "stop", "status", "run"] as const;

const args: ArgsDef = {
	action: {
		type: "positional",
		required: false,
		description: "start, stop or status; run stays in the foreground",
		valueHint: "start|stop|status|run",
	},
	memory: {
		type: "string",
		description: "Machine memory for all domains together (default: as much as works, up to 3.5G)",
		valueHint: "SIZE",
	},
	idle: {
		type: "string",
		description: "Seconds that it stays when there is no domain, or never (default: 60)",
		valueHint: "S|never",
	},
	"cpu-vendor": {
		type: "string",
		description: "Whose processor its domains find, where makers differ (default: intel)",
		valueHint: CPU_VENDORS.join("|"),
	},
	force: { type: "boolean", description: "stop: end the domains that there are, too" },
	json: { type: "boolean", description: "status: as JSON" },
};

export const daemonCommand: CommandDef = {
	meta: { name: "daemon", description: "Start, stop or show the process that owns the domains of paravirt xl" },
	args,
	async run({ args: values }) {
		const { action, memory, idle, force, json, "cpu-vendor": vendor } = values as Readonly<Record<string, unknown>>;
		if (!ACTIONS.some((each) => each === action)) {
			throw new UsageError(
				`daemon: ${action === undefined ? "nothing to do" : `unknown action "${action}"`}`,
				"Write paravirt daemon start, stop or status.",
			);
		}
		const options = {
			memory: typeof memory === "string" ? memory : undefined,
			idle: typeof idle === "string" ? idle : undefined,
			vendor: typeof vendor === "string" ? parseChoice("cpu-vendor", vendor, CPU_VENDORS) : undefined,
		};
		checkValues(options);
		if (action === "run") await run(options);
		else if (action === "start") await start(options);
		else if (action === "stop") await stop(force === true);
		else await status(json === true);
	},
};

interface RunOptions {
	readonly memory: string | undefined;
	readonly idle: string | undefined;
	readonly vendor: CpuVendor | undefined;
}

function checkValues({ memory, idle }: RunOptions): { memory: number | undefined; idle: number | undefined } {
	const seconds = idle ?? DEFAULT_IDLE;
	return {
		memory: memory === undefined ? undefined : parseSize("memory", memory),
		idle: seconds === "never" ? undefined : parseSeconds("idle", seconds) * 1000,
	};
}

/** Is the daemon, until it ends. Lines for its log go to standard output. */
async function run(options: RunOptions): Promise<void> {
	const { memory, idle } = checkValues(options);
	// A log that cannot be written, on a full file system, is no reason to end the guests.
	const passOver = (): void => {};
	for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners("error").on("error", passOver);
	const log = (text: string): void => {
		try {
			process.stdout.write(`${new Date().toISOString()} ${text}\n`);
		} catch {
			// A file's stream throws.
		}
	};
	try {
		const daemon = await startDaemon({
			paths: daemonPaths(),
			version: packageVersion(),
			memory,
			idle,
			vendor: options.vendor,
			kernelCache: kernelCache(join(cacheDirectory(), "kernels")),
			log,
		});
		// No file system is kept busy by it, wherever it was started.
		process.chdir("/");
		for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => daemon.stop());
		// It belongs to no terminal.
		process.on("SIGHUP", () => {});
		await daemon.ended;
		process.exit(0);
	} catch (error) {
		if (!(error instanceof DaemonError) || error.code !== "running") throw error;
		log(error.message);
	}
}

async function start({ memory, idle, vendor }: RunOptions): Promise<void> {
	const paths = daemonPaths();
	const running = await tryConnect(paths);
	if (running !== undefined) {
		running.close();
		throw new DaemonError(
			"running",
			`a daemon runs already: process ${running.daemon.pid}`,
			"End it first: paravirt daemon stop",
		);
	}
	const words = [
		...(memory === undefined ? [] : [`--memory=${memory}`]),
		...(vendor === undefined ? [] : [`--cpu-vendor=${vendor}`]),
		// Who starts it by hand wants it to stay.
		`--idle=${idle ?? "never"}`,
	];
	const client = await connectOrStart(paths, words);
	process.stdout.write(describe(await client.during(() => client.request("status", {}))));
}

async function stop(force: boolean): Promise<void> {
	const client = await tryConnect(daemonPaths());
	if (client === undefined) {
		process.stdout.write("No daemon runs.\n");
		return;
	}
	await client.during(async () => {
		await client.request("stop", { force });
		// It has gone when its end of the socket has.
		await client.closed;
	});
}

async function status(json: boolean): Promise<void> {
	const client = await tryConnect(daemonPaths());
	const found = await client?.during(() => client.request("status", {}));
	if (json) process.stdout.write(`${JSON.stringify(found ?? null, undefined, "\t")}\n`);
	else process.stdout.write(found === undefined ? "No daemon runs.\n" : describe(found));
	// As systemctl's status of what is not active.
	if (found === undefined) process.exitCode = 3;
}

function describe(status: DaemonStatus): string {
	const rows: readonly (readonly [string, string])[] = [
		["process", String(status.pid)],
		["version", status.version],
		["domains", String(status.domains)],
		[
			"memory",
			`${Math.floor(status.machineMemory / MIB)} MiB for domains, ${Math.floor(status.residentMemory / MIB)} MiB in use`,
		],
		["up", `${Math.floor(status.uptimeSeconds)} seconds`],
		["ends", status.idleSeconds === undefined ? "when told to" : `${status.idleSeconds} seconds after the last domain`],
		["socket", status.socket],
		["xenstore", `XENSTORED_PATH=${status.store}`],
		["log", status.log],
	];
	return rows.map(([name, value]) => `${name.padEnd(9)} ${value}\n`).join("");
}
