/**
 * Where the daemon's files are. The socket gives every right over the user's guests: it is in a directory that belongs to the user and that
 * nobody else may enter, which is checked each time, as the directory for temporary files is everybody's.
 */
import { lstatSync, mkdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonError } from "./errors.ts";

/** sun_path of a Unix-domain socket, without the final zero byte. */
const LONGEST_SOCKET = 107;

export interface DaemonPaths {
	readonly directory: string;
	readonly socket: string;
	/** xenstore's socket. */
	readonly store: string;
	/** Held by a daemon while it starts. */
	readonly lock: string;
	/** For what is to stay: the log and core dumps. */
	readonly state: string;
	readonly log: string;
	readonly cores: string;
}

export function daemonPaths(environment: NodeJS.ProcessEnv = process.env): DaemonPaths {
	const { XDG_RUNTIME_DIR, XDG_STATE_HOME } = environment;
	const absolute = (path: string | undefined): path is string => path?.startsWith("/") === true;
	const directory = absolute(XDG_RUNTIME_DIR)
		? join(XDG_RUNTIME_DIR, "paravirt")
		: join(tmpdir(), `paravirt-${process.getuid?.() ?? 0}`);
	const state = join(absolute(XDG_STATE_HOME) ? XDG_STATE_HOME : join(homedir(), ".local/state"), "paravirt");
	return {
		directory,
		socket: join(directory, "daemon.sock"),
		store: join(directory, "xenstored.sock"),
		lock: join(directory, "starting"),
		state,
		log: join(state, "daemon.log"),
		cores: join(state, "dump"),
	};
}

/**
 * Makes the directory of the socket, where it is not there.
 * @returns whether it is there
 * @throws DaemonError unsafe-directory where it is not the user's alone
 */
export function checkDirectory({ directory, socket }: DaemonPaths, make: boolean): boolean {
	if (Buffer.byteLength(socket) > LONGEST_SOCKET) {
		const reason = `${socket}: the path is too long for a socket`;
		throw new DaemonError("unsafe-directory", reason, "Set XDG_RUNTIME_DIR to a shorter one");
	}
	if (make) makeDirectory(directory);
	const status = lstatSync(directory, { throwIfNoEntry: false });
	if (status === undefined) return false;
	const problem = !status.isDirectory()
		? "it is no directory"
		: status.uid !== process.getuid?.()
			? "it belongs to somebody else"
			: (status.mode & 0o077) !== 0
				? "others may enter it"
				: undefined;
	if (problem === undefined) return true;
	const remedy = "Remove it, or set XDG_RUNTIME_DIR to a directory of your own";
	throw new DaemonError("unsafe-directory", `${directory}: ${problem}`, remedy);
}

function makeDirectory(directory: string): void {
	try {
		mkdirSync(directory, { mode: 0o700 });
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		if (code === "EEXIST") return;
		const remedy = "Set XDG_RUNTIME_DIR to a directory that you can write";
		throw new DaemonError("unsafe-directory", `${directory}: ${message}`, remedy, { cause: error });
	}
}
