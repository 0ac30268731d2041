/** Verbs that create, change and end domains. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { text as streamText } from "node:stream/consumers";
import type { DaemonClient } from "../../daemon/client.ts";
import type { EndEvent } from "../../daemon/protocol.ts";
import { PV_GRUB, pvGrub } from "../../guests/pv-grub.ts";
import {
	type DomainConfig,
	parseWithOverrides,
	readDomainConfig,
	throwProblems,
	wantsBootLoader,
} from "../../toolstack/config/domain-config.ts";
import type { ConfigError } from "../../toolstack/config/errors.ts";
import { CORE_FORMATS } from "../../toolstack/guest-domain.ts";
import { ShutdownReason } from "../../xen/domain.ts";
import { fileError, UsageError } from "../errors.ts";
import { createProgress } from "../progress.ts";
import { ESCAPE_KEY } from "../terminal.ts";
import { hostProblems } from "./check-host.ts";
import { attachConsole } from "./console-verb.ts";
import type { Arguments, VerbOption } from "./getopt.ts";
import { configJson } from "./json.ts";
import { operand, type Session, selectDomains, type Verb, wholeNumber } from "./verb.ts";

const CREATE_OPTIONS: readonly VerbOption[] = [
	{ short: "f", long: "defconfig", value: "FILE", help: "Use this configuration file." },
	{ short: "p", help: "Leave the domain paused after it is created." },
	{ short: "c", help: "Connect to its console." },
	{ short: "F", help: "Stay in the foreground until it has ended." },
	{ short: "e", help: "Accepted: the daemon waits for the domain's end, not this command." },
	{ short: "n", long: "dryrun", help: "Check and print the configuration, as JSON; create nothing." },
	{ short: "d", help: "Print the configuration on standard error." },
	{ short: "q", long: "quiet", help: "Print less." },
];

/**
 * Reads a configuration, and checks it against what the host has: a file, "-" for standard input.
 * @param dry nothing is fetched
 * @throws ConfigError, AggregateError of several, FileError
 */
async function readConfig(
	file: string,
	overrides: readonly string[],
	session: Session,
	{ dry, quiet }: { readonly dry: boolean; readonly quiet: boolean },
): Promise<DomainConfig> {
	const content = file === "-" ? streamText(process.stdin) : readFile(file, "utf8");
	const text = await content.catch((error: unknown) => {
		throw fileError(file, error);
	});
	const shown = file === "-" ? "standard input" : file;
	const syntax: ConfigError[] = [];
	const settings = parseWithOverrides(text, shown, overrides, (error) => syntax.push(error));
	const context = { resolve: (path: string) => session.absolute(path), bootLoader: PV_GRUB };
	const reading = readDomainConfig(settings, shown, context);
	if (!quiet) for (const warning of reading.warnings) session.note(`paravirt: ${warning}`);
	throwProblems([...syntax, ...reading.problems, ...(await hostProblems(reading, session))]);
	if (dry || !wantsBootLoader(settings)) return reading.config;
	const progress = await createProgress();
	try {
		return { ...reading.config, kernel: await pvGrub(progress.listener) };
	} finally {
		progress.stop();
	}
}

async function create(args: Arguments, session: Session): Promise<number | undefined> {
	const isSetting = (word: string): boolean => word.includes("=");
	const named = args.value("f");
	const files = [...(named === undefined ? [] : [named]), ...args.operands.filter((word) => !isSetting(word))];
	const [file, more] = files;
	if (file === undefined) throw new UsageError("create: no configuration file", "Write paravirt xl create FILE.");
	if (more !== undefined)
		throw new UsageError(`create: "${more}" is one file too many`, "Give one configuration file.");
	const quiet = args.has("q");
	const dry = args.has("n") || session.dryRun;
	if (!quiet) session.print(`Parsing config from ${file}`);
	const config = await readConfig(file, args.operands.filter(isSetting), session, { dry, quiet });
	if (dry) session.printJson(configJson(config));
	else if (args.has("d")) session.note(JSON.stringify(configJson(config), undefined, 4));
	if (dry) return undefined;
	const daemon = await session.startedDaemon();
	const waits = args.has("F");
	// Nothing of what happens to it may be missed: it starts when who listens does.
	const { id, name } = await daemon.request("create", { config, paused: true });
	const end = waits ? follow(daemon, id, session, quiet) : undefined;
	const console = args.has("c")
		? await attachConsole(session, String(id), { number: 0, restarts: true, escapeKey: ESCAPE_KEY, leavesAtEnd: false })
		: undefined;
	if (!args.has("p")) await daemon.request("unpause", { domain: id });
	if (waits && !quiet) session.note(`Waiting for domain ${name} (domid ${id}) to die [pid ${process.pid}]`);
	await console?.ended;
	await end;
	return undefined;
}

/** Tells on standard error how a domain ends, and those that are started in its place; resolved with the last. */
function follow(daemon: DaemonClient, domain: number, session: Session, quiet: boolean): Promise<null> {
	return daemon.request("follow", { domain, restarts: true }, (end) => {
		if (!quiet) session.note(describeEnd(end));
	});
}

function describeEnd({ domain, reason, action, crashReason, report }: EndEvent): string {
	if (reason === "destroyed") return `Domain ${domain} has been destroyed.\n`;
	const code = ShutdownReason[reason];
	return [
		`Domain ${domain} has shut down, reason code ${code} 0x${code.toString(16)}\n`,
		crashReason === undefined ? "" : `${crashReason}\n`,
		report === undefined ? "" : `${report}\n`,
		`Action for shutdown reason code ${code} is ${action}\n`,
	].join("");
}

async function shutdown(
	args: Arguments,
	session: Session,
	request: "shutdown" | "reboot",
): Promise<number | undefined> {
	const all = args.has("a");
	const [name] = args.operands;
	if (all === (name !== undefined)) {
		throw new UsageError(`${request}: ${all ? "-a and a domain" : "no domain"}`, "Give one domain, or -a for all.");
	}
	const domains = await selectDomains(session, name === undefined ? [] : [name]);
	const daemon = await session.daemon();
	const guests = name === undefined ? domains.filter(({ id, shutdown: ended }) => id !== 0 && !ended) : domains;
	const waits = args.has("w");
	// A domain may end before all have been asked; it is told behind what this command says of itself.
	const early: string[] = [];
	let tell = (text: string): void => {
		early.push(text);
	};
	const ends = waits
		? guests.map(({ id }) =>
				daemon.request("follow", { domain: id, restarts: false }, (end) => {
					tell(
						end.reason === "destroyed"
							? `Domain ${end.domain} has been destroyed\n`
							: `Domain ${end.domain} has been shut down, reason code ${ShutdownReason[end.reason]}\n`,
					);
				}),
			)
		: [];
	await Promise.all(
		guests.map(async ({ id }) => {
			session.note(`${request === "reboot" ? "Rebooting" : "Shutting down"} domain ${id}\n`);
			await daemon.request(request, { domain: id });
		}),
	);
	if (waits && guests.length > 0) session.note(`Waiting for ${guests.length} domains\n`);
	tell = (text) => session.note(text);
	for (const text of early) tell(text);
	await Promise.all(ends);
	return undefined;
}

const SHUTDOWN_OPTIONS: readonly VerbOption[] = [
	{ short: "a", long: "all", help: "All guests." },
	{ short: "w", long: "wait", help: "Wait until it is done." },
	{ short: "F", help: "Accepted: it is about HVM guests without PV drivers." },
];

/** A verb that asks one thing of one domain. */
function simple(name: "pause" | "unpause", summary: string): Verb {
	return {
		name,
		operands: "<Domain>",
		count: [1, 1],
		summary,
		async run(args, session) {
			await (await session.daemon()).request(name, { domain: operand(args, 0) });
		},
	};
}

/** A size as `xl mem-set` takes it, in bytes: MiB without a unit. @throws UsageError */
function memorySize(verb: string, text: string): number {
	const units: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, "": 2 ** 20, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };
	const match = /^(\d+)([bkmgt]?)$/i.exec(text);
	const size = match === null ? 0 : Number(match[1]) * (units[(match[2] as string).toLowerCase()] as number);
	if (size > 0 && Number.isSafeInteger(size)) return size;
	throw new UsageError(`${verb}: invalid memory size: ${text}`, "Give MiB, or a number with k, m or g.");
}

export const LIFECYCLE_VERBS: readonly Verb[] = [
	{
		name: "create",
		operands: "<ConfigFile> [options] [vars]",
		count: [0, Number.POSITIVE_INFINITY],
		summary: "Create a domain from a file, and KEY=VALUE settings",
		options: CREATE_OPTIONS,
		run: create,
	},
	{
		name: "destroy",
		operands: "[options] <Domain>",
		count: [1, 1],
		summary: "Terminate a domain immediately",
		options: [{ short: "f", help: "Accepted: it is about domain 0, which cannot be destroyed." }],
		async run(args, session) {
			await (await session.daemon()).request("destroy", { domain: operand(args, 0) });
		},
	},
	{
		name: "shutdown",
		operands: "[options] <-a|Domain>",
		count: [0, 1],
		summary: "Issue a shutdown signal to a domain",
		options: SHUTDOWN_OPTIONS,
		run: (args, session) => shutdown(args, session, "shutdown"),
	},
	{
		name: "reboot",
		operands: "[options] <-a|Domain>",
		count: [0, 1],
		summary: "Issue a reboot signal to a domain",
		options: SHUTDOWN_OPTIONS,
		run: (args, session) => shutdown(args, session, "reboot"),
	},
	simple("pause", "Pause execution of a domain"),
	simple("unpause", "Unpause a paused domain"),
	{
		name: "rename",
		operands: "<Domain> <NewDomainName>",
		count: [2, 2],
		summary: "Rename a domain",
		async run(args, session) {
			await (await session.daemon()).request("rename", { domain: operand(args, 0), name: operand(args, 1) });
		},
	},
	{
		name: "mem-set",
		operands: "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>",
		count: [2, 2],
		summary: "Set the current memory usage for a domain",
		options: [{ short: "f", long: "force", help: "Also to so little that its kernel may not live." }],
		async run(args, session) {
			const bytes = memorySize("mem-set", operand(args, 1));
			await (await session.daemon()).request("setMemory", {
				domain: operand(args, 0),
				bytes,
				force: args.has("f"),
			});
		},
	},
	{
		name: "mem-max",
		operands: "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>",
		count: [2, 2],
		summary: "Set the maximum amount reservation for a domain",
		async run(args, session) {
			const bytes = memorySize("mem-max", operand(args, 1));
			await (await session.daemon()).request("setMaximumMemory", { domain: operand(args, 0), bytes });
		},
	},
	{
		name: "vcpu-set",
		operands: "[option] <Domain> <vCPUs>",
		count: [2, 2],
		summary: "Set the number of active VCPUs allowed for the domain",
		options: [{ short: "i", long: "ignore-host", help: "Accepted: vCPUs are not limited by physical ones." }],
		async run(args, session) {
			const count = wholeNumber("vcpu-set", "number of vCPUs", operand(args, 1));
			await (await session.daemon()).request("setVcpus", { domain: operand(args, 0), count });
		},
	},
	{
		name: "sysrq",
		operands: "<Domain> <letter>",
		count: [2, 2],
		summary: "Send a sysrq to a domain",
		async run(args, session) {
			await (await session.daemon()).request("sysrq", { domain: operand(args, 0), letter: operand(args, 1) });
		},
	},
	{
		name: "trigger",
		operands: "<Domain> <nmi|reset|init|power|sleep|s3resume> [<VCPU>]",
		count: [2, 3],
		summary: "Send a trigger to a domain",
		async run(args, session) {
			const trigger = operand(args, 1);
			const known = (["nmi", "reset", "init", "power", "sleep", "s3resume"] as const).find((each) => each === trigger);
			if (known === undefined) throw new UsageError(`trigger: Invalid trigger "${trigger}"`, "A PV guest has nmi.");
			const vcpu = wholeNumber("trigger", "vCPU", args.operands[2] ?? "0");
			await (await session.daemon()).request("trigger", { domain: operand(args, 0), trigger: known, vcpu });
		},
	},
	{
		name: "dump-core",
		operands: "[options] <Domain> [<filename>]",
		count: [1, 2],
		summary: "Core dump a domain",
		options: [
			{ short: "L", long: "live", help: "Let it run meanwhile." },
			{ long: "format", value: "FORMAT", help: "xen (default), or gdb: a core of the kernel." },
		],
		async run(args, session) {
			const given = args.value("format") ?? "xen";
			const format = CORE_FORMATS.find((each) => each === given);
			if (format === undefined) {
				throw new UsageError(`dump-core: there is no format ${given}`, `Give ${CORE_FORMATS.join(" or ")}.`);
			}
			const [domain] = await selectDomains(session, [operand(args, 0)]);
			const { id, name } = domain as { readonly id: number; readonly name: string };
			const file = args.operands[1] ?? join(session.paths.cores, `${name}.core`);
			await (await session.daemon()).request("dumpCore", {
				domain: id,
				file: session.absolute(file),
				live: args.has("L"),
				format,
			});
			if (format === "gdb") {
				session.note("Its kernel with the symbols is written by: paravirt inspect --vmlinux FILE KERNEL");
				session.note(`gdb FILE ${file} opens both.`);
			}
		},
	},
];
