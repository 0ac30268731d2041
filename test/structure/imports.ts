/** The imports of the source tree, types included, read as text. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("../../src", import.meta.url));
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g;

export interface SourceFile {
	/** Paths from src/. */
	readonly path: string;
	readonly imports: readonly string[];
	/** What is not of this tree: "node:fs", "fflate". */
	readonly packages: readonly string[];
}

export function readSources(directory = SOURCE): SourceFile[] {
	return readdirSync(directory, { recursive: true, encoding: "utf8" })
		.filter((name) => name.endsWith(".ts"))
		.map((path) => {
			const text = readFileSync(join(directory, path), "utf8");
			const named = [...text.matchAll(IMPORT)].map((match) => match[1]!);
			const own = (name: string): boolean => name.startsWith(".");
			return {
				path,
				imports: named.filter(own).map((name) => normalize(join(dirname(path), name))),
				packages: named.filter((name) => !own(name)),
			};
		});
}

/** The folder directly below src/ that a file is in; "" for those of src/ itself. */
export function layerOf(path: string): string {
	return path.includes("/") ? path.slice(0, path.indexOf("/")) : "";
}

/** Groups of files each of which leads to every other of its group (Tarjan's algorithm), largest first. */
export function cycles(files: readonly SourceFile[]): string[][] {
	const importsOf = new Map(files.map(({ path, imports }) => [path, imports]));
	const order = new Map<string, number>();
	const lowest = new Map<string, number>();
	const stack: string[] = [];
	const found: string[][] = [];
	const visit = (path: string): number => {
		const own = order.size;
		order.set(path, own);
		stack.push(path);
		let low = own;
		for (const next of importsOf.get(path) ?? []) {
			if (!order.has(next)) low = Math.min(low, visit(next));
			else if (stack.includes(next)) low = Math.min(low, lowest.get(next) ?? order.get(next)!);
		}
		lowest.set(path, low);
		if (low === own) {
			const group = stack.splice(stack.indexOf(path));
			if (group.length > 1) found.push(group.sort());
		}
		return low;
	};
	for (const { path } of files) if (!order.has(path)) visit(path);
	return found.sort((one, other) => other.length - one.length);
}

export const fromRoot = (path: string): string => relative(process.cwd(), join(SOURCE, path));
