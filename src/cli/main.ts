#!/usr/bin/env node
/**
 * The command `paravirt`: finds the subcommand, checks the arguments, and turns every error into a message and an exit status.
 * Subcommands are loaded when they are run, so that --help and errors come at once.
 */
import { type ArgsDef, type CommandDef, renderUsage, runCommand } from "citty";
import { ExitStatus, UsageError } from "./errors.ts";
import { checkArguments, nearestName } from "./options.ts";
import { runProgram } from "./program.ts";
import { packageVersion } from "./version.ts";

const SUBCOMMANDS: Readonly<Record<string, () => Promise<CommandDef>>> = {
	boot: async () => (await import("./boot.ts")).bootCommand,
	inspect: async () => (await import("./inspect.ts")).inspectCommand,
	image: async () => (await import("./image.ts")).imageCommand,
	xl: async () => (await import("./xl/command.ts")).xlCommand,
	daemon: async () => (await import("./daemon.ts")).daemonCommand,
};

const mainCommand: CommandDef = {
	meta: {
		name: "paravirt",
		description: "Boots stock Linux kernels, paravirtualised, in TypeScript",
		version: packageVersion(),
	},
	subCommands: SUBCOMMANDS,
};

async function usage(command: CommandDef, parent?: CommandDef): Promise<string> {
	const text = await renderUsage(command, parent);
	// biome-ignore lint/suspicious/noControlCharactersInRegex: citty colours its text even where no terminal reads it
	return `${process.stdout.isTTY ? text : text.replaceAll(/\x1b\[[\d;]*m/g, "")}\n`;
}

async function main(args: readonly string[]): Promise<void> {
	const [name, ...rest] = args;
	if (name === undefined || name === "--help" || name === "-h" || name === "help") {
		process.stdout.write(await usage(mainCommand));
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
	const load = Object.hasOwn(SUBCOMMANDS, name) ? SUBCOMMANDS[name] : undefined;
	if (load === undefined) {
		const what = name.startsWith("-") ? "option" : "command";
		const nearest = nearestName(
			name.replace(/^-+/, ""),
			what === "option" ? ["help", "version"] : Object.keys(SUBCOMMANDS),
		);
		const dashes = what === "option" ? "--" : "paravirt ";
		const remedy = nearest === undefined ? "paravirt --help lists the commands." : `Did you mean ${dashes}${nearest}?`;
		throw new UsageError(`unknown ${what} ${name}`, remedy);
	}
	const command = await load();
	const options = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
	if (options.includes("--help") || options.includes("-h")) {
		process.stdout.write(await usage(command, mainCommand));
		return;
	}
	await runCommand(command, { rawArgs: checkArguments(rest, command.args as ArgsDef) });
}

await runProgram(main);
