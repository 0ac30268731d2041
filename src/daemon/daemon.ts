/**
 * The host daemon: a process with one machine, which owns the domains, and a socket that commands talk to. It ends when it is told to, or a
 * while after the last domain has ended.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { createConnection } from "node:net";
import type { CpuVendor } from "../cpu/vendor.ts";
import type { KernelCache } from "../host/kernel-cache.ts";
import { Host } from "../host/node.ts";
import { MAX_FRAMES, PAGE_SIZE } from "../memory/map.ts";
import { explainDirectory } from "../platform/node/directories.ts";
import { nodePlatform } from "../platform/node/platform.ts";
import type { StoreSocket } from "../platform/node/store-socket.ts";
import type { DomainConfig } from "../toolstack/config/domain-config.ts";
import { ToolstackError } from "../toolstack/errors.ts";
import type { GuestDomain } from "../toolstack/guest-domain.ts";
import { DomainConsoles } from "./consoles.ts";
import { DaemonError } from "./errors.ts";
import { describeLost, lostDomains, recordDomains } from "./lost-domains.ts";
import { checkDirectory, type DaemonPaths, makeStateDirectories, RUNTIME_REMEDY } from "./paths.ts";
import { type DaemonServer, serveDaemon } from "./server.ts";

/** Machine memory is made at once, but only what guests touch is taken: as much as there may be, or less where that does not go. */
const LEAST_MEMORY = 256 * 2 ** 20;
/** Milliseconds after which a lock's owner is taken to have died. */
const LOCK_PATIENCE = 10_000;

export interface DaemonOptions {
	readonly paths: DaemonPaths;
	readonly version: string;
	/** Bytes of machine memory; undefined: as much as works. */
	readonly memory?: number | undefined;
	/** Whose processor its domains have, where makers differ; undefined: the usual one. */
	readonly vendor?: CpuVendor | undefined;
	/** Milliseconds that it stays without domains and connections; undefined: until it is told to end. */
	readonly idle: number | undefined;
	readonly kernelCache?: KernelCache;
	/** A line for its log. */
	readonly log: (text: string) => void;
}

export interface Daemon {
	/** Resolved when it has ended, rejected where the machine itself has failed. */
	readonly ended: Promise<void>;
	/** Ends it, and its domains. */
	stop(): void;
}

/**
 * Starts serving.
 * @throws DaemonError running where another daemon does
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
	const { paths, version, idle, log } = options;
	checkDirectory(paths, true);
	makeStateDirectories(paths);
	const host = largestHost(options);
	const consoles = new WeakMap<GuestDomain, DomainConsoles>();
	const configs = new WeakMap<GuestDomain, DomainConfig>();
	const started = performance.now();
	let end: () => void = () => {};
	const ended = new Promise<void>((resolve) => {
		end = resolve;
	});
	let server: DaemonServer | undefined;
	let timer: NodeJS.Timeout | undefined;
	const watchIdle = (): void => {
		clearTimeout(timer);
		if (idle === undefined || host.domains.size > 0 || (server?.connections ?? 0) > 0) return;
		timer = setTimeout(end, idle);
	};
	const lost = lostDomains(paths);
	if (lost !== undefined) log(describeLost(lost));
	const record = (): void => recordDomains(paths, [...host.domains]);
	// All of this is there before the first request can come.
	host.onLog((line) => log(`(XEN) ${line}`));
	host.domains.onAdded((domain) => {
		consoles.set(domain, new DomainConsoles(domain));
		record();
		log(`domain ${domain.id} (${domain.name}) is created`);
		void domain.ended.then(({ reason, crashReason }) => {
			log(
				`domain ${domain.id} (${domain.name}) has ended: ${reason}${crashReason === undefined ? "" : `, ${crashReason}`}`,
			);
		});
		watchIdle();
	});
	host.domains.onRemoved(() => {
		record();
		watchIdle();
	});
	let unlock: () => void = () => {};
	let store: StoreSocket;
	try {
		unlock = await lock(paths.lock);
		await removeStale(paths.socket);
		store = await host.serveStore(paths.store);
		const context = {
			host,
			consoles,
			configs,
			createFile: nodePlatform.createFile as NonNullable<typeof nodePlatform.createFile>,
			status: () => ({
				version,
				pid: process.pid,
				uptimeSeconds: (performance.now() - started) / 1000,
				socket: paths.socket,
				store: paths.store,
				log: paths.log,
				machineMemory: host.info().totalMemory,
				residentMemory: process.memoryUsage.rss(),
				domains: host.domains.size,
				idleSeconds: idle === undefined ? undefined : idle / 1000,
			}),
			stop: () => setImmediate(end),
		};
		server = await serveDaemon(paths.socket, context, version, () => watchIdle());
	} catch (error) {
		throw explainDirectory(paths.directory, RUNTIME_REMEDY, error);
	} finally {
		unlock();
	}
	watchIdle();
	log(`paravirt ${version} listens on ${paths.socket}`);
	const finish = async (): Promise<void> => {
		clearTimeout(timer);
		await Promise.all([...host.domains].map((domain) => domain.destroy()));
		host.stop();
		await store.close();
		await server?.close();
		log("the daemon ends");
	};
	return { ended: Promise.race([ended, host.failed]).finally(finish), stop: end };
}

/** @throws ToolstackError not-enough-memory where the machine cannot have the memory that is asked for */
function largestHost({ memory, paths, vendor, kernelCache }: DaemonOptions): Host {
	const make = (bytes: number): Host =>
		new Host({
			memory: bytes,
			coreDirectory: paths.cores,
			...(vendor === undefined ? {} : { processor: { vendor } }),
			...(kernelCache === undefined ? {} : { kernelCache }),
		});
	if (memory !== undefined) return make(memory);
	for (let bytes = MAX_FRAMES * PAGE_SIZE; ; bytes /= 2) {
		try {
			return make(bytes);
		} catch (error) {
			const tooMuch = error instanceof ToolstackError && error.code === "not-enough-memory";
			if (!tooMuch || bytes / 2 < LEAST_MEMORY) throw error;
		}
	}
}

/** Removes a socket that nobody listens to. @throws DaemonError running where somebody does */
async function removeStale(socket: string): Promise<void> {
	const answered = await new Promise<boolean>((resolve) => {
		const probe = createConnection(socket);
		probe.once("connect", () => {
			probe.destroy();
			resolve(true);
		});
		probe.once("error", () => resolve(false));
	});
	if (answered) throw new DaemonError("running", "a daemon runs already", "Use it, or end it: paravirt daemon stop");
	await unlink(socket).catch((error: NodeJS.ErrnoException) => {
		if (error.code !== "ENOENT") throw error;
	});
}

/** Lets one daemon at a time find out whether another runs. Returns what unlocks. */
async function lock(path: string): Promise<() => void> {
	const deadline = performance.now() + LOCK_PATIENCE;
	for (;;) {
		try {
			writeFileSync(path, String(process.pid), { flag: "wx", mode: 0o600 });
			return () => rmSync(path, { force: true });
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
		}
		if (isAbandoned(path) || performance.now() > deadline) {
			// Whoever renames it has it; the others find it gone.
			const mine = `${path}.${process.pid}`;
			try {
				renameSync(path, mine);
				rmSync(mine, { force: true });
			} catch {}
		} else await new Promise((resolve) => setTimeout(resolve, 50));
	}
}

function isAbandoned(path: string): boolean {
	try {
		const owner = Number(readFileSync(path, "utf8"));
		if (!(owner > 0)) return false;
		process.kill(owner, 0);
		return false;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "ESRCH";
	}
}
