/** --help, for terminals of 80 columns. */
import type { ArgsDef, CommandDef } from "citty";

const COLUMNS = 80;
/** Where descriptions begin. */
const INDENT = 26;

/** A command's help. @param parent what stands before its name */
export function formatUsage(command: CommandDef, parent?: string): string {
	const { name = "", description = "" } = command.meta as { readonly name?: string; readonly description?: string };
	const rows = Object.entries((command.args ?? {}) as ArgsDef);
	const positionals = rows.filter(([, { type }]) => type === "positional").map(row);
	const options = rows.filter(([, { type }]) => type !== "positional").map(row);
	const subcommands = Object.entries((command.subCommands ?? {}) as Readonly<Record<string, CommandDef>>).map(
		([key, { meta }]): Row => [key, (meta as { readonly description?: string }).description ?? ""],
	);
	const words = [
		...(parent === undefined ? [] : [parent]),
		name,
		...positionals.map(([label]) => `[${label}]`),
		...(options.length === 0 ? [] : ["[OPTIONS]"]),
		...(subcommands.length === 0 ? [] : ["COMMAND"]),
	];
	const parts = [
		`${wrap(description, 0)}\n`,
		`Usage: ${words.join(" ")}\n`,
		section("Arguments", positionals),
		section("Options", options),
		section("Commands", subcommands),
	];
	return parts.filter((part) => part !== "").join("\n");
}

type Row = readonly [label: string, description: string];

function row([name, definition]: readonly [string, ArgsDef[string]]): Row {
	const {
		type,
		description = "",
		valueHint,
	} = definition as {
		readonly type?: string;
		readonly description?: string;
		readonly valueHint?: string;
	};
	if (type === "positional") return [valueHint ?? name.toUpperCase(), description];
	return [`--${name}${type === "boolean" ? "" : ` ${valueHint ?? "VALUE"}`}`, description];
}

function section(title: string, rows: readonly Row[]): string {
	if (rows.length === 0) return "";
	const lines = rows.map(([label, description]) => {
		const text = wrap(description, INDENT);
		// A long label has a line of its own.
		const gap = label.length + 4 > INDENT ? `\n${" ".repeat(INDENT)}` : " ".repeat(INDENT - 2 - label.length);
		return `  ${label}${gap}${text}\n`;
	});
	return `${title}:\n${lines.join("")}`;
}

/** Breaks a text into lines that begin at column `indent`; the first one is taken to stand there already. */
export function wrap(text: string, indent: number): string {
	const lines = [""];
	for (const word of text.split(" ")) {
		const last = lines.at(-1) as string;
		if (last === "") lines[lines.length - 1] = word;
		else if (indent + last.length + 1 + word.length > COLUMNS) lines.push(word);
		else lines[lines.length - 1] = `${last} ${word}`;
	}
	return lines.join(`\n${" ".repeat(indent)}`);
}
