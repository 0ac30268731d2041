/** The packed package: its types under each kind of module resolution, and the examples of the documentation, run as they stand. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianGuest } from "../../src/guests/debian.ts";
import { type Outcome, runProgram } from "../cli/program.ts";
import { type PackedPackage, packPackage, ROOT } from "./packed.ts";

const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
/** Milliseconds for a program that boots a guest on a busy machine. */
const PATIENCE = 240_000;

const EVERYTHING = `
import * as library from "paravirt";
import * as cpu from "paravirt/cpu";
import * as xen from "paravirt/xen";
export const host = new library.Host({ memory: "64M" });
export const domain: Promise<library.GuestDomain> = host.createDomain({ kernel: new Uint8Array(), memory: 2 ** 25 });
export const classes = [library.BlockError, library.DiskSpecificationError, library.GuestError, library.DirectoryError];
export type Image = library.BlockImage;
// @ts-expect-error: there is no such option
void host.createDomain({ kernel: "vmlinuz", memory: "32M", disk: [] });
// @ts-expect-error: it needs memory
void host.createDomain({ kernel: "vmlinuz" });
export { cpu, xen };
`;

interface Example {
	readonly name: string;
	readonly text: string;
	/** What it prints, as far as that is the same everywhere. */
	readonly prints: RegExp;
}

/** What the examples print, in their order. */
const PRINTS: Readonly<Record<string, readonly RegExp[]>> = {
	"README.md": [/\n\d+\.\d+\.\d+\S*amd64\r\n[\s\S]*poweroff \d+\n$/, /^0 Linux version \d[\s\S]*\n$/],
	"docs/library.md": [
		/^0 \[ '9', '10' \]\n$/,
		/\[ 'Domain-0', 'one' \]\n[\s\S]*the console has ended: reboot\n$/,
		/^not-readable: no such file\. Check the path\.\n$/,
	],
};

function examplesOf(file: string): Example[] {
	const blocks = [...readFileSync(join(ROOT, file), "utf8").matchAll(/^```ts\n([\s\S]*?)^```$/gm)];
	const prints = PRINTS[file] as readonly RegExp[];
	expect(blocks).toHaveLength(prints.length);
	return blocks.map(([, text = ""], index) => ({
		name: `${file.replaceAll("/", "-")}-${index + 1}`,
		text,
		prints: prints[index] as RegExp,
	}));
}

const EXAMPLES = Object.keys(PRINTS).flatMap(examplesOf);

describe("the packed package", () => {
	let packed: PackedPackage;
	beforeAll(async () => {
		packed = await packPackage();
		for (const name of ["citty", "cli-progress", "fflate"]) packed.link(name);
		writeFileSync(join(packed.directory, "everything.ts"), EVERYTHING);
		await debianGuest();
	}, 600_000);
	afterAll(() => packed?.close());

	const check = (files: readonly string[], options: readonly string[]): Promise<Outcome> =>
		runProgram([
			process.execPath,
			TSC,
			...[
				"--ignoreConfig",
				"--noEmit",
				"--strict",
				"--exactOptionalPropertyTypes",
				"--target",
				"es2022",
				"--skipLibCheck",
				"false",
			],
			...options,
			...files.map((file) => join(packed.directory, file)),
		]);

	describe.each([["without Node.js's types"], ["with Node.js's types"]])("%s", (types) => {
		const withNode = types.startsWith("with ");
		beforeAll(() => {
			if (!withNode) return;
			for (const name of ["@types/node", "undici-types"]) packed.link(name);
		});
		const kinds = ["nodenext", "bundler"].flatMap((resolution) =>
			["es2023", "es2023,dom"].map((library) => [resolution, library] as const),
		);
		it.each(kinds)("has types for module resolution %s and the library %s", async (resolution, library) => {
			const module = resolution === "bundler" ? "esnext" : "nodenext";
			const { status, stdout } = await check(
				["everything.ts"],
				[
					...["--module", module, "--moduleResolution", resolution, "--lib", library],
					...["--typeRoots", join(packed.directory, "node_modules/@types"), "--types", withNode ? "node" : ""],
				],
			);
			expect(stdout).toBe("");
			expect(status).toBe(0);
		});
	});

	it("has types for the documentation's examples", async () => {
		const files = EXAMPLES.map(({ name, text }) => {
			writeFileSync(join(packed.directory, `${name}.ts`), text);
			return `${name}.ts`;
		});
		const node = ["--typeRoots", join(packed.directory, "node_modules/@types"), "--types", "node"];
		const { status, stdout } = await check(files, ["--module", "nodenext", "--lib", "es2023", ...node]);
		expect(stdout).toBe("");
		expect(status).toBe(0);
	});

	it.each(EXAMPLES)(
		"runs $name",
		async ({ name, text, prints }) => {
			const { code } = await transform(text, { loader: "ts", format: "esm" });
			const file = join(packed.directory, `${name}.js`);
			writeFileSync(file, code);
			const { status, stdout, stderr } = await runProgram([process.execPath, file], { patience: PATIENCE });
			expect(stderr).toBe("");
			expect(stdout).toMatch(prints);
			expect(status).toBe(0);
		},
		300_000,
	);
});
