/** Which domains a daemon has, in a file beside its socket: if it is killed, the next command tells that they are gone. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import type { DaemonPaths } from "./paths.ts";

/** A daemon that did not end by itself. */
export interface LostDomains {
	/** Of the daemon. */
	readonly pid: number;
	readonly domains: readonly { readonly id: number; readonly name: string }[];
}

/** Writes down the domains that there are now. */
export function recordDomains({ domains: file }: DaemonPaths, domains: LostDomains["domains"]): void {
	if (domains.length === 0) rmSync(file, { force: true });
	else {
		const record: LostDomains = { pid: process.pid, domains: domains.map(({ id, name }) => ({ id, name })) };
		writeFileSync(file, JSON.stringify(record), { mode: 0o600 });
	}
}

/** The domains of a daemon that is no more, if it had any; undefined also while it lives. */
export function lostDomains({ domains: file }: DaemonPaths): LostDomains | undefined {
	try {
		const record = JSON.parse(readFileSync(file, "utf8")) as LostDomains;
		return isAlive(record.pid) ? undefined : record;
	} catch (error) {
		// There is none, or it was being written when the daemon ended.
		if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code !== undefined) return undefined;
		throw error;
	}
}

export function describeLost({ pid, domains }: LostDomains): string {
	const names = domains.map(({ id, name }) => `${name} (${id})`).join(", ");
	return `the daemon (process ${pid}) was killed, and its domains are lost: ${names}`;
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code !== "ESRCH";
	}
}
