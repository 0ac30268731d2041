import { describe, expect, it } from "vitest";
import { cycles, fromRoot, layerOf, readSources, type SourceFile } from "./imports.ts";

/** The folders of src/, each of which imports only from itself and from those before it. docs/ARCHITECTURE.md says what each is. */
const LAYERS = [
	"wasm",
	"formats",
	"memory",
	"cpu",
	"machine",
	"devices",
	"xen",
	"store",
	"backends",
	"toolstack",
	"platform",
	"host",
	"guests",
	"daemon",
	"cli",
] as const;

/** Where Node.js's own modules may be imported. Everything else runs in a browser as well. */
const OF_NODE = /^(platform\/node|guests|daemon|cli)\/|^host\/node\.ts$/;

/**
 * Cycles of more than four files, by a file of each: how many there are still. The numbers only ever become smaller: the hypervisor's comes of its
 * subsystems' reaching each other through their domain.
 */
const KNOWN_CYCLES: Readonly<Record<string, number>> = { "xen/domain.ts": 60, "store/store.ts": 8 };

function misplaced(files: readonly SourceFile[]): string[] {
	const rank = (path: string): number => LAYERS.indexOf(layerOf(path) as (typeof LAYERS)[number]);
	return files.flatMap(({ path, imports }) =>
		layerOf(path) === ""
			? []
			: imports
					.filter((other) => rank(other) > rank(path))
					.map((other) => `${fromRoot(path)} imports ${fromRoot(other)}`),
	);
}

const files = readSources();

describe("imports", () => {
	it("lead downwards only", () => {
		expect(new Set(files.map(({ path }) => layerOf(path)))).toEqual(new Set(["", ...LAYERS]));
		expect(misplaced(files)).toEqual([]);
		const upwards = { path: "cpu/engine.ts", imports: ["xen/domain.ts"], packages: [] };
		expect(misplaced([upwards])).toHaveLength(1);
	});

	it("of Node.js's modules are where they may be", () => {
		const found = files.filter(
			({ path, packages }) => packages.some((name) => name.startsWith("node:")) && !OF_NODE.test(path),
		);
		expect(found.map(({ path }) => path)).toEqual([]);
	});

	it("make no cycle of more than four files but the known ones, which have not grown", () => {
		const large = cycles(files).filter((group) => group.length > 4);
		const sizes = Object.fromEntries(
			large.map((group) => [group.find((path) => path in KNOWN_CYCLES) ?? group.join(" "), group.length]),
		);
		for (const [file, size] of Object.entries(sizes)) expect(size, file).toBeLessThanOrEqual(KNOWN_CYCLES[file] ?? 4);
		expect(
			cycles(
				[
					["a", "b"],
					["b", "c"],
					["c", "a"],
					["d", "a"],
				].map(([path, other]) => ({ path: path!, imports: [other!], packages: [] })),
			),
		).toEqual([["a", "b", "c"]]);
	});
});
