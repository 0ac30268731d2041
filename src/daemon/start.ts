/** Connects to the daemon, and starts one where none runs. */
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packageDirectory } from "../platform/node/package.ts";
import { DaemonClient } from "./client.ts";
import { DaemonError } from "./errors.ts";
import { checkDirectory, type DaemonPaths, makeStateDirectories, openLog } from "./paths.ts";

/** Milliseconds that a new daemon has to answer. */
const PATIENCE = 30_000;
const INTERVAL = 50;

/** The program that the daemon is: the same command, by the same means (sources or built). */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const MAIN = fileURLToPath(new URL(IS_SOURCE ? "src/cli/main.ts" : "dist/cli/main.js", packageDirectory()));

/** @throws DaemonError not-started, and what {@link DaemonClient.connect} throws */
export async function connectOrStart(paths: DaemonPaths, args: readonly string[] = []): Promise<DaemonClient> {
	return (await tryConnect(paths)) ?? startAndConnect(paths, args);
}

/** undefined where none runs. */
export async function tryConnect(paths: DaemonPaths): Promise<DaemonClient | undefined> {
	try {
		return await DaemonClient.connect(paths);
	} catch (error) {
		if (error instanceof DaemonError && (error.code === "not-running" || error.code === "gone")) return undefined;
		throw error;
	}
}

async function startAndConnect(paths: DaemonPaths, args: readonly string[]): Promise<DaemonClient> {
	checkDirectory(paths, true);
	makeStateDirectories(paths);
	const log = openLog(paths);
	const child = spawn(process.execPath, [...process.execArgv, MAIN, "daemon", "run", ...args], {
		detached: true,
		stdio: ["ignore", log, log],
	});
	closeSync(log);
	child.unref();
	const outcome: { status?: number | string } = {};
	child.once("exit", (status, signal) => {
		outcome.status = status ?? signal ?? "unknown";
	});
	child.once("error", (error) => {
		outcome.status = error.message;
	});
	for (const deadline = performance.now() + PATIENCE; performance.now() < deadline; ) {
		const client = await tryConnect(paths);
		if (client !== undefined) return client;
		// Where another was quicker to start, this one has ended; that one answers soon.
		if (outcome.status !== undefined && outcome.status !== 0) break;
		await new Promise((resolve) => setTimeout(resolve, INTERVAL));
	}
	const how =
		outcome.status === undefined ? `does not answer in ${PATIENCE / 1000} seconds` : `ended (${outcome.status})`;
	throw new DaemonError("not-started", `the daemon ${how}`, `Its log tells why: ${paths.log}`);
}
