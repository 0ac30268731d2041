/** docs/reference.md, made from the tables that the code works by: hypercalls, xl's verbs, and the options of xl's configuration files. */
import { REFUSED_VERBS } from "../../src/cli/xl/refused.ts";
import { VERBS } from "../../src/cli/xl/xl.ts";
import { CONFIG_OPTIONS, type ConfigOption } from "../../src/toolstack/config/options.ts";
import { hypercallTable } from "../../src/xen/hypercalls/index.ts";
import { refusedHypercalls } from "../../src/xen/hypercalls/refused.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|");

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
	const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;
	return [line(header), `|${"---|".repeat(header.length)}`, ...rows.map(line)].join("\n");
}

function hypercalls(): string {
	const refused = new Set(refusedHypercalls.map(({ number }) => number));
	const rows = hypercallTable.flatMap((call) => {
		if (call === undefined) return [];
		const commands = call.arguments.flatMap(({ names }) => Object.values(names ?? {}));
		const what = refused.has(call.number) ? "refused, as Xen refuses it to an unprivileged guest" : commands.join(", ");
		return [[String(call.number), call.name, call.arguments.map(({ name }) => name).join(", "), what]];
	});
	return table(["Number", "Hypercall", "Arguments", "Commands"], rows);
}

function verbs(): string {
	const rows = VERBS.map(({ name, operands, summary, options = [] }) => [
		`\`${`${name} ${operands}`.trim()}\``,
		summary,
		options.map(({ short, long }) => `\`${short === undefined ? `--${long}` : `-${short}`}\``).join(" "),
	]);
	return table(["Verb", "What it does", "Options"], rows);
}

function refusedVerbs(): string {
	return table(
		["Verb", "Why not"],
		Object.entries(REFUSED_VERBS).map(([name, reason]) => [`\`${name}\``, reason]),
	);
}

function options(treatment: ConfigOption["treatment"]): string {
	const rows = Object.entries(CONFIG_OPTIONS).filter(([, option]) => option.treatment === treatment);
	return treatment === "refused"
		? table(
				["Option", "Why not"],
				rows.map(([name, option]) => [`\`${name}\``, "reason" in option ? option.reason : ""]),
			)
		: rows.map(([name]) => `\`${name}\``).join(", ");
}

export function reference(): string {
	return `# Reference

Made from the code's own tables (test/structure/reference.ts). \`npx vitest run test/structure -u\` writes it anew.

## Hypercalls

${hypercalls()}

## Verbs of \`paravirt xl\`

Each has \`--help\`. [xl.md](xl.md) tells how they work together.

${verbs()}

Verbs of xl that are refused by name:

${refusedVerbs()}

## Options of xl's configuration files

Honoured, as xl.cfg(5) describes them: ${options("honoured")}.

Ignored with a warning, since they are for other guests: ${options("ignored")}.

Refused by name, with the reason:

${options("refused")}
`;
}
