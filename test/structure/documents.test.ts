import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DOCUMENTS = [
	...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
	...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
		.filter((name) => name.endsWith(".md"))
		.map((name) => join("docs", name)),
];

/** The anchors of a document's headings, as they are made where it is shown. */
function anchors(path: string): Set<string> {
	const headings = readFileSync(path, "utf8").matchAll(/^#+ (.+)$/gm);
	return new Set(
		[...headings].map(([, heading]) =>
			heading!
				.toLowerCase()
				.replace(/[^\p{L}\p{N} _-]/gu, "")
				.replaceAll(" ", "-"),
		),
	);
}

describe.each(DOCUMENTS)("%s", (document) => {
	it("links to what is there", () => {
		const text = readFileSync(join(ROOT, document), "utf8").replace(/```[\s\S]*?```/g, "");
		const dead: string[] = [];
		for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
			if (/^[a-z]+:/.test(target!)) continue;
			const [path, anchor] = target!.split("#") as [string, string | undefined];
			const file = path === "" ? join(ROOT, document) : join(ROOT, dirname(document), path);
			if (!existsSync(file)) dead.push(target!);
			else if (anchor !== undefined && !anchors(file).has(anchor)) dead.push(target!);
		}
		expect(dead).toEqual([]);
	});
});
