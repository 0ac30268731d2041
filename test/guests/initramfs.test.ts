import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cacheDirectory } from "../../src/guests/cache.ts";
import { FileType, readArchive } from "../../src/guests/cpio.ts";
import { INIT } from "../../src/guests/init.ts";
import { buildInitramfs, busyboxApplets, InitramfsError, regularFile } from "../../src/guests/initramfs.ts";

const BUSYBOX = new TextEncoder().encode("code\0text\0[\0[[\0ash\0busybox\0sh\0zcat\0\0more");

describe("the initramfs", () => {
	it("finds busybox's applets in its binary", () => {
		expect(busyboxApplets(BUSYBOX)).toEqual(["[", "[[", "ash", "busybox", "sh", "zcat"]);
		expect(() => busyboxApplets(new Uint8Array(100))).toThrow(InitramfsError);
	});

	it("finds the same applets as busybox tells itself", (context) => {
		const busybox = join(cacheDirectory(), "busybox/busybox");
		const list = existsSync(busybox) ? spawnSync(busybox, ["--list"], { encoding: "utf8" }) : undefined;
		if (list?.status !== 0) return context.skip();
		expect(busyboxApplets(readFileSync(busybox))).toEqual(list.stdout.trim().split("\n"));
	});

	it("has a console, an init, and every applet once", () => {
		const entries = readArchive(buildInitramfs({ busybox: BUSYBOX }));
		const byPath = new Map(entries.map((entry) => [entry.path, entry]));
		expect(byPath.size).toBe(entries.length);
		expect(byPath.get("dev/console")?.device).toEqual({ major: 5, minor: 1 });
		expect(byPath.get("init")?.permissions).toBe(0o755);
		expect(byPath.get("bin/sh")?.type).toBe(FileType.symbolicLink);
		expect(byPath.get("bin/busybox")?.type).toBe(FileType.regular);
	});

	it("puts every directory before what is in it", () => {
		const files = [regularFile("deep/er/file", "x"), regularFile("init", "#!/bin/sh\n", 0o755)];
		const entries = readArchive(buildInitramfs({ busybox: BUSYBOX, release: "6.1.0-1-amd64", modules: [], files }));
		const seen = new Set([""]);
		for (const { path } of entries) {
			expect(seen).toContain(path.slice(0, Math.max(path.lastIndexOf("/"), 0)));
			seen.add(path);
		}
		expect(seen).toContain("lib/modules/6.1.0-1-amd64/modules.dep");
		const init = entries.filter((entry) => entry.path === "init");
		expect(init.map((entry) => new TextDecoder().decode(entry.data))).toEqual(["#!/bin/sh\n"]);
	});

	it("is the same every time", () => {
		expect(buildInitramfs({ busybox: BUSYBOX })).toEqual(buildInitramfs({ busybox: BUSYBOX }));
	});

	it("has an init that a shell can parse", () => {
		expect(spawnSync("sh", ["-n"], { input: INIT, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
	});
});
