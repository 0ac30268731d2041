/** What a verb of `paravirt xl` is: a row of the table that help, completion and the dispatcher are made from. */
import { resolve } from "node:path";
import { DaemonClient } from "../../daemon/client.ts";
import { describeLost, lostDomains } from "../../daemon/lost-domains.ts";
import type { DaemonPaths } from "../../daemon/paths.ts";
import { daemonPaths } from "../../daemon/paths.ts";
import { connectOrStart } from "../../daemon/start.ts";
import type { DomainInfo } from "../../toolstack/info.ts";
import { UsageError } from "../errors.ts";
import type { Arguments, VerbOption } from "./getopt.ts";

export interface Verb {
	readonly name: string;
	/** Its operands, as in "xl NAME OPERANDS". */
	readonly operands: string;
	/** How many operands it takes, at least and at the most. */
	readonly count: readonly [least: number, most: number];
	readonly summary: string;
	readonly options?: readonly VerbOption[];
	/** @returns xl's exit status, where it is not 0 */
	run(args: Arguments, session: Session): Promise<number | undefined> | Promise<void>;
}

/** Options that more than one verb has. */
export const JSON_OPTION: VerbOption = { long: "json", help: "Print JSON." };

/** Where a verb prints. */
export interface Streams {
	readonly stdout: NodeJS.WritableStream;
	readonly stderr: NodeJS.WritableStream;
}

/** One run of a verb: its connection to the daemon, and its output. */
export class Session {
	readonly paths: DaemonPaths = daemonPaths();
	private client: Promise<DaemonClient> | undefined;

	constructor(
		/** What xl's own -N asks for: do nothing. */
		readonly dryRun: boolean,
		private readonly streams: Streams,
	) {}

	/** The daemon that runs. @throws DaemonError not-running */
	daemon(): Promise<DaemonClient> {
		this.client ??= DaemonClient.connect(this.paths);
		return this.client;
	}

	/** The daemon; where none runs, one is started. */
	startedDaemon(): Promise<DaemonClient> {
		this.noteLost();
		this.client ??= connectOrStart(this.paths);
		return this.client;
	}

	/** Tells of the domains of a daemon that was killed; the next one forgets them. */
	noteLost(): void {
		const lost = lostDomains(this.paths);
		if (lost !== undefined) this.note(`paravirt: ${describeLost(lost)}\nIts log may tell why: ${this.paths.log}.`);
	}

	/** A further connection, for what has a stream of its own. */
	another(): Promise<DaemonClient> {
		return DaemonClient.connect(this.paths);
	}

	print(text: string): void {
		this.streams.stdout.write(text.endsWith("\n") || text === "" ? text : `${text}\n`);
	}

	/** A line about what happens, on standard error. */
	note(text: string): void {
		this.streams.stderr.write(text.endsWith("\n") ? text : `${text}\n`);
	}

	printJson(value: unknown): void {
		this.print(JSON.stringify(value, undefined, 4));
	}

	/** A path of the user's, for the daemon. */
	absolute(path: string): string {
		return resolve(path);
	}

	async close(): Promise<void> {
		const client = await this.client?.catch(() => undefined);
		client?.close();
	}
}

/** All domains, or those that are named by number or name. @throws UsageError where there is no such domain */
export async function selectDomains(session: Session, names: readonly string[]): Promise<readonly DomainInfo[]> {
	const all = await (await session.daemon()).request("list", {});
	if (names.length === 0) return all;
	return names.map((name) => {
		const found = all.find(({ id, name: own }) => (/^\d+$/.test(name) ? id === Number(name) : own === name));
		if (found !== undefined) return found;
		throw new NoSuchDomain(name);
	});
}

/** How a listing looks. */
export interface ListFormat<T> {
	/** What `--json` prints of an item. */
	readonly json: (item: T) => unknown;
	/** The line above the rows; none where there is none. */
	readonly header?: string;
	readonly row: (item: T) => string;
}

/** Prints a list as xl does, a line an item, or as JSON where that is asked for. */
export function printList<T>(session: Session, args: Arguments, items: readonly T[], format: ListFormat<T>): void {
	if (args.has("json")) {
		session.printJson(items.map(format.json));
		return;
	}
	const rows = items.map(format.row);
	session.print([...(format.header === undefined ? [] : [format.header]), ...rows].map((line) => `${line}\n`).join(""));
}

export class NoSuchDomain extends Error {
	override readonly name = "NoSuchDomain";
	readonly code = "no-such-domain";
	readonly remedy = "paravirt xl list shows the domains";

	constructor(domain: string) {
		super(`${domain} is an invalid domain identifier`);
	}
}

/** A whole number as an operand. */
export function wholeNumber(verb: string, what: string, text: string): number {
	if (/^\d{1,9}$/.test(text)) return Number(text);
	throw new UsageError(`${verb}: "${text}" is no ${what}`, "Give a whole number.");
}

/** An operand that is there: the table says so. */
export function operand({ operands }: Arguments, index: number): string {
	return operands[index] as string;
}
