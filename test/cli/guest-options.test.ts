/** The table of options of `boot` and `run`, and what is made from it or says the same. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { argumentsOf, GUEST_OPTIONS, type GuestOption, optionsOf } from "../../src/cli/guest-options.ts";
import { formatUsage } from "../../src/cli/usage.ts";
import { runParavirt } from "./program.ts";

const DOCUMENT = readFileSync(new URL("../../docs/command.md", import.meta.url), "utf8");
const ROWS: readonly (readonly [name: string, option: GuestOption])[] = GUEST_OPTIONS;
/** The section of docs/command.md that lists the options of both, or of one. */
const SECTIONS = [
	["Options", undefined],
	["paravirt boot", "boot"],
	["paravirt run", "run"],
] as const;

/** First cells of the tables in a section, without Markdown. */
function documented(section: string): string[] {
	const text = DOCUMENT.split(/^## /m).find((part) => part.startsWith(`${section}\n`)) ?? "";
	return [...text.matchAll(/^\| `(--[^`]*)` \| /gm)].map(([, cell]) => (cell as string).replaceAll("\\|", "|"));
}

describe("options of boot and run", () => {
	it.each(SECTIONS)("stand in docs/command.md, section %s, and nothing else does", (section, only) => {
		const rows = ROWS.filter(([, option]) => option.only === only);
		const expected = rows.map(([name, { value }]) => (value === undefined ? `--${name}` : `--${name} ${value}`));
		expect(documented(section).sort()).toEqual(expected.sort());
	});

	it("say in docs/command.md that they may be given several times where that is so", () => {
		for (const [name, { repeatable }] of ROWS) {
			const cells = DOCUMENT.split("\n").filter((line) => line.startsWith(`| \`--${name}`));
			expect(cells.length, name).toBeGreaterThan(0);
			expect(
				cells.some((line) => line.includes("given several times")),
				name,
			).toBe(repeatable === true);
		}
	});

	it.each(["boot", "run"] as const)("have one row each for %s", (command) => {
		const names = optionsOf(command).map(([name]) => name);
		expect(new Set(names).size).toBe(names.length);
		expect(Object.keys(argumentsOf(command))).toEqual(expect.arrayContaining(names));
	});
});

describe("--help", () => {
	it("breaks what is too long for 80 columns", () => {
		const description = "word ".repeat(40).trim();
		const text = formatUsage({
			meta: { name: "verb", description },
			args: {
				a: { type: "string", description, valueHint: "B" },
				"a-very-long-name-of-an-option": { type: "boolean", description },
			},
		});
		const lines = text.split("\n");
		expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
		expect(text.match(/word/g)).toHaveLength(120);
		expect(lines).toContain(`  --a B                   ${"word ".repeat(11).trim()}`);
		expect(lines).toContain("  --a-very-long-name-of-an-option");
	});

	it.concurrent.each([[], ["boot"], ["run"], ["image"], ["daemon"], ["inspect"]])(
		"of paravirt %s has lines of at most 80 columns, and every option",
		async (...command) => {
			const { status, stdout, stderr } = await runParavirt([...command, "--help"]);
			expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
			const lines = stdout.split("\n");
			expect(lines.filter((line) => line.length > 80)).toEqual([]);
			expect(lines.length).toBeGreaterThan(4);
			const [name] = command;
			if (name !== "boot" && name !== "run") return;
			for (const [option] of optionsOf(name)) expect(stdout).toMatch(new RegExp(`^ {2}--${option}(?: |$)`, "m"));
		},
	);
});
