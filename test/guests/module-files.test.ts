import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { moduleDirectory } from "../../src/guests/module-files.ts";

const directory = mkdtempSync(join(tmpdir(), "paravirt-modules-"));
afterAll(() => rmSync(directory, { recursive: true }));

const MODULE = new TextEncoder().encode("a module");

/** A zstd frame of one raw block (RFC 8878, 3.1.1): single segment, a size of one byte. */
function rawZstd(data: Uint8Array): Uint8Array {
	const block = (data.length << 3) | 1;
	const header = [0x28, 0xb5, 0x2f, 0xfd, 0x20, data.length, block & 0xff, block >> 8, 0];
	return new Uint8Array([...header, ...data]);
}

describe("a directory of modules", () => {
	it("has them as the distributions compress them", async () => {
		mkdirSync(join(directory, "kernel"));
		writeFileSync(join(directory, "kernel/a.ko"), MODULE);
		writeFileSync(join(directory, "kernel/b.ko.gz"), gzipSync(MODULE));
		writeFileSync(join(directory, "kernel/c.ko.zst"), rawZstd(MODULE));
		writeFileSync(join(directory, "modules.builtin"), "kernel/d.ko\n");
		const { paths, builtin, read } = await moduleDirectory(directory);
		expect([...paths].sort()).toEqual(["kernel/a.ko", "kernel/b.ko.gz", "kernel/c.ko.zst"]);
		expect(builtin).toEqual(["kernel/d.ko"]);
		for (const path of paths) expect(new Uint8Array(await read(path)), path).toEqual(MODULE);
	});
});
