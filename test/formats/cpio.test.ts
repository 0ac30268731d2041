import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ArchiveEntry, FileType, readArchive, writeArchive } from "../../src/formats/cpio.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const SAMPLE: readonly ArchiveEntry[] = [
	{ path: "a", type: FileType.directory, permissions: 0o755, data: new Uint8Array(0) },
	{ path: "a/file", type: FileType.regular, permissions: 0o640, data: text("contents\n") },
	{ path: "a/link", type: FileType.symbolicLink, permissions: 0o777, data: text("file") },
	{ path: "empty", type: FileType.regular, permissions: 0o600, data: new Uint8Array(0) },
];

describe("cpio archives", () => {
	it("come back as they were written", () => {
		const file = fc.record({
			path: fc.string({ minLength: 1, unit: "grapheme" }).filter((path) => !path.includes("\0")),
			type: fc.constantFrom(FileType.regular, FileType.directory, FileType.symbolicLink),
			permissions: fc.integer({ min: 0, max: 0o7777 }),
			data: fc.uint8Array({ maxLength: 100 }),
		});
		fc.assert(
			fc.property(fc.array(file), (entries) => {
				const archive = writeArchive(entries);
				expect(archive.length % 512).toBe(0);
				expect(readArchive(archive)).toEqual(entries);
			}),
		);
	});

	it("keep device numbers", () => {
		const device = { major: 5, minor: 1 };
		const entry = {
			path: "console",
			type: FileType.characterDevice,
			permissions: 0o600,
			data: new Uint8Array(0),
			device,
		};
		expect(readArchive(writeArchive([entry]))).toEqual([entry]);
	});

	it("are refused where they are cut off or something else", () => {
		const archive = writeArchive(SAMPLE);
		expect(() => readArchive(archive.subarray(0, 200))).toThrow(RangeError);
		expect(() => readArchive(text("MZ".repeat(100)))).toThrow("no cpio header");
		expect(() => readArchive(new Uint8Array(0))).toThrow(RangeError);
	});

	it("are what cpio(1) understands", (context) => {
		if (spawnSync("cpio", ["--version"]).status !== 0) return context.skip();
		const directory = mkdtempSync(join(tmpdir(), "paravirt-cpio-"));
		try {
			execFileSync("cpio", ["-i", "--quiet"], { cwd: directory, input: writeArchive(SAMPLE) });
			expect(readFileSync(join(directory, "a/file"), "utf8")).toBe("contents\n");
			expect(statSync(join(directory, "a/file")).mode & 0o7777).toBe(0o640);
			expect(readlinkSync(join(directory, "a/link"))).toBe("file");
			expect(statSync(join(directory, "empty")).size).toBe(0);
		} finally {
			rmSync(directory, { recursive: true });
		}
	});
});
