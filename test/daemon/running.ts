/** A daemon in this process, in a directory of its own, for tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Daemon, startDaemon } from "../../src/daemon/daemon.ts";
import { type DaemonPaths, daemonPaths } from "../../src/daemon/paths.ts";

export interface RunningDaemon {
	readonly paths: DaemonPaths;
	readonly environment: NodeJS.ProcessEnv;
	readonly lines: readonly string[];
	readonly daemon: Daemon;
	/** Ends it, and removes its directory. */
	close(): Promise<void>;
}

/** An environment in which a daemon's files are in a new directory. */
export function ownEnvironment(): { readonly directory: string; readonly environment: NodeJS.ProcessEnv } {
	const directory = mkdtempSync(join(tmpdir(), "pvd-"));
	const environment = { ...process.env, XDG_RUNTIME_DIR: directory, XDG_STATE_HOME: directory };
	return { directory, environment };
}

/** @param memory bytes of its machine */
export async function runDaemon(idle?: number, memory = 256 * 2 ** 20): Promise<RunningDaemon> {
	const { directory, environment } = ownEnvironment();
	const paths = daemonPaths(environment);
	const lines: string[] = [];
	const log = (line: string): void => {
		lines.push(line);
	};
	const daemon = await startDaemon({ paths, version: "test", memory, idle, log });
	const close = async (): Promise<void> => {
		daemon.stop();
		await daemon.ended;
		rmSync(directory, { recursive: true, force: true });
	};
	return { paths, environment, lines, daemon, close };
}
