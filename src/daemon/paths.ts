/**
 * Where the daemon's files are. The socket gives every right over the user's guests: it is in a directory that belongs to the user and that
 * nobody else may enter, which is checked each time, as the directory for temporary files is everybody's.
 */
import { lstatSync, mkdirSync, openSync, type Stats } from "node:fs";
import { isAbsolute, join } from "node:path";
import {
	explainDirectory,
	makeDirectories,
	temporaryDirectory,
	userDirectory,
	variableRemedy,
} from "../platform/node/directories.ts";
import { DaemonError } from "./errors.ts";

const STATE_VARIABLE = "XDG_STATE_HOME";
const STATE_REMEDY = variableRemedy(STATE_VARIABLE);
/** What to do about a directory of the socket that cannot be used. */
export const RUNTIME_REMEDY = variableRemedy("XDG_RUNTIME_DIR");

/** sun_path of a Unix-domain socket, without the final zero byte. */
const LONGEST_SOCKET = 107;

export interface DaemonPaths {
	readonly directory: string;
	readonly socket: string;
	/** xenstore's socket. */
	readonly store: string;
	/** Names of the domains that there are. */
	readonly domains: string;
	/** Held by a daemon while it starts. */
	readonly lock: string;
	/** For what is to stay: the log and core dumps. */
	readonly state: string;
	readonly log: string;
	readonly cores: string;
}

export function daemonPaths(environment: NodeJS.ProcessEnv = process.env): DaemonPaths {
	const { XDG_RUNTIME_DIR } = environment;
	const directory =
		XDG_RUNTIME_DIR !== undefined && isAbsolute(XDG_RUNTIME_DIR)
			? join(XDG_RUNTIME_DIR, "paravirt")
			: join(temporaryDirectory(), `paravirt-${process.getuid?.() ?? 0}`);
	const state = userDirectory(STATE_VARIABLE, ".local/state", environment);
	return {
		directory,
		socket: join(directory, "daemon.sock"),
		store: join(directory, "xenstored.sock"),
		domains: join(directory, "domains.json"),
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
	const status = statusOf(directory);
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

function statusOf(directory: string): Stats | undefined {
	try {
		return lstatSync(directory, { throwIfNoEntry: false });
	} catch (error) {
		throw explainDirectory(directory, RUNTIME_REMEDY, error);
	}
}

/** Only the last one: who has no XDG_RUNTIME_DIR is not logged in as this user. */
function makeDirectory(directory: string): void {
	try {
		mkdirSync(directory, { mode: 0o700 });
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw explainDirectory(directory, RUNTIME_REMEDY, error);
	}
}

/** Makes the directories of what is to stay. @throws DirectoryError */
export function makeStateDirectories({ cores }: DaemonPaths): void {
	makeDirectories(cores, STATE_REMEDY, 0o700);
}

/** Opens the log for what a new daemon prints. @returns its descriptor @throws DirectoryError */
export function openLog({ state, log }: DaemonPaths): number {
	try {
		return openSync(log, "a", 0o600);
	} catch (error) {
		throw explainDirectory(state, STATE_REMEDY, error);
	}
}
