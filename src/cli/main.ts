#!/usr/bin/env node
/**
 * The command `paravirt`: finds the subcommand, checks the arguments, and turns every error into a message and an exit status.
 * Subcommands are loaded when they are run, so that --help and errors come at once.
 */
import { readFileSync } from "node:fs";
import { type ArgsDef, type CommandDef, renderUsage, runCommand } from "citty";
import { describeError, ExitStatus, fileError, UsageError } from "./errors.ts";
import { checkArguments, nearestName } from "./options.ts";

const SUBCOMMANDS: Readonly<Record<string, () => Promise<CommandDef>>> = {
	image: async () => (await import("./image.ts")).imageCommand,
	boot: async () => (await import("./boot.ts")).bootCommand,
	inspect: async () => (await import("./inspect.ts")).inspectCommand,
};

const mainCommand: CommandDef = {
	meta: {
		name: "paravirt",
		description: "Boots stock Linux kernels, paravirtualised, in TypeScript",
		version: packageVersion(),
	},
	subCommands: SUBCOMMANDS,
};

function packageVersion(): string {
	// The same distance from src/cli and from dist/cli.
	const description = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
	return String(description.version);
}

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

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
	// Whoever reads our output has gone, as `paravirt inspect KERNEL | head` does.
	if (error.code === "EPIPE") process.exit(141);
	process.stderr.write(describeError(fileError("standard output", error)).text);
	process.exit(ExitStatus.hostError);
});
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
	process.exit(error.code === "EPIPE" ? 141 : ExitStatus.hostError);
});
try {
	await main(process.argv.slice(2));
} catch (error) {
	const { text, status } = describeError(error);
	process.stderr.write(text);
	process.exitCode = status;
}
