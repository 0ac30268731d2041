#!/usr/bin/env node
/**
 * The command `paravirt`: finds the subcommand, checks the arguments, and turns every error into a message and an exit status.
 * Subcommands are loaded when they are run, so that --help and errors come at once.
 */
import { type ArgsDef, type CommandDef, runCommand } from "citty";
import { ExitStatus, UsageError } from "./errors.ts";
import { checkArguments, nearestName } from "./options.ts";
import { runProgram } from "./program.ts";
import { formatUsage } from "./usage.ts";
import { packageVersion } from "./version.ts";

interface Subcommand {
	readonly description: string;
	load(): Promise<CommandDef>;
}

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
	boot: {
		description: "Boot a Linux kernel as a Xen PV guest on this terminal",
		load: async () => (await import("./boot.ts")).bootCommand,
	},
	run: {
		description: "Run a guest, or a command in one: run -- COMMAND",
		load: async () => (await import("./run.ts")).runCommandDefinition,
	},
	inspect: {
		description: "Print what a kernel image says of itself: format, payload, Xen notes, patch sites",
		load: async () => (await import("./inspect.ts")).inspectCommand,
	},
	image: {
		description: "Make a disk image with a Debian system",
		load: async () => (await import("./image.ts")).imageCommand,
	},
	xl: {
		description: "Manage domains with the verbs, options and configuration files of Xen's xl",
		load: async () => (await import("./xl/command.ts")).xlCommand,
	},
	daemon: {
		description: "Start, stop or show the process that owns the domains of paravirt xl",
		load: async () => (await import("./daemon.ts")).daemonCommand,
	},
};

const mainCommand: CommandDef = {
	meta: {
		name: "paravirt",
		description: "Boots stock Linux kernels, paravirtualised, in TypeScript",
		version: packageVersion(),
	},
	// Their descriptions alone: loading a subcommand loads the machine.
	subCommands: Object.fromEntries(
		Object.entries(SUBCOMMANDS).map(([name, { description }]) => [name, { meta: { name, description } }]),
	),
};

async function main(args: readonly string[]): Promise<void> {
	const [name, ...rest] = args;
	if (name === undefined || name === "--help" || name === "-h" || name === "help") {
		process.stdout.write(formatUsage(mainCommand));
		process.exitCode = name === undefined ? ExitStatus.usage : 0;
		return;
	}
	if (name === "--version" || name === "-v") {
		process.stdout.write(`${packageVersion()}\n`);
		return;
	}
	if (name === "xl") {
		// Its verbs have options of their own, as xl has them.
		process.exitCode = await (await import("./xl/xl.ts")).runXl(rest);
		return;
	}
	const subcommand = Object.hasOwn(SUBCOMMANDS, name) ? SUBCOMMANDS[name] : undefined;
	if (subcommand === undefined) {
		const what = name.startsWith("-") ? "option" : "command";
		const nearest = nearestName(
			name.replace(/^-+/, ""),
			what === "option" ? ["help", "version"] : Object.keys(SUBCOMMANDS),
		);
		const dashes = what === "option" ? "--" : "paravirt ";
		const remedy = nearest === undefined ? "paravirt --help lists the commands." : `Did you mean ${dashes}${nearest}?`;
		throw new UsageError(`unknown ${what} ${name}`, remedy);
	}
	const command = { ...(await subcommand.load()), meta: { name, description: subcommand.description } };
	const options = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
	if (options.includes("--help") || options.includes("-h")) {
		process.stdout.write(formatUsage(command, "paravirt"));
		return;
	}
	if (name === "run") {
		// Behind -- there is a command, not arguments of ours.
		await (await import("./run.ts")).runGuestCommand(rest);
		return;
	}
	await runCommand(command, { rawArgs: checkArguments(rest, command.args as ArgsDef) });
}

await runProgram(main);
