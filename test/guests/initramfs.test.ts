import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { FileType, readArchive } from "../../src/formats/cpio.ts";
import { HOTPLUG, INIT } from "../../src/guests/init.ts";
import { buildInitramfs, regularFile } from "../../src/guests/initramfs.ts";
import type { KernelModule } from "../../src/guests/modules.ts";
import { ENDING_PROGRAMS, endingProgram, SESSION, SHUTDOWN, UNMOUNT } from "../../src/guests/session.ts";

/** Which applets a busybox has is its own business: nothing is read out of it. */
const BUSYBOX = new Uint8Array([1, 2, 3]);
const SCRIPTS = {
	INIT,
	HOTPLUG,
	SESSION,
	UNMOUNT,
	SHUTDOWN,
	...Object.fromEntries(ENDING_PROGRAMS.map((name) => [name, endingProgram(name)])),
};

/** The smallest description of a module. */
function kernelModule(name: string, aliases: readonly string[]): KernelModule {
	return { info: { name, depends: [], aliases, versionMagic: "" }, path: `kernel/${name}.ko`, data: BUSYBOX };
}

describe("the initramfs", () => {
	it("has a console, an init, a shell, and every path once", () => {
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

	it("names the file systems of its modules, and only those that are on disks, for a mount that is given no type", () => {
		const modules = [
			kernelModule("squashfs", ["fs-squashfs"]),
			kernelModule("9p", ["fs-9p"]),
			kernelModule("ext4", ["fs-ext4", "ext3", "fs-ext2"]),
		];
		const list = (some: readonly KernelModule[]) => {
			const entries = readArchive(buildInitramfs({ busybox: BUSYBOX, release: "6.1", modules: some }));
			return new TextDecoder().decode(entries.find(({ path }) => path === "etc/filesystems")?.data);
		};
		expect(list(modules)).toBe("ext4\nsquashfs\n");
		expect(list(modules.slice(0, 2))).toBe("squashfs\n");
		expect(list([])).toBe("");
	});

	it.each(Object.entries(SCRIPTS))("has a script that a shell can parse: %s", (_, script) => {
		expect(spawnSync("sh", ["-n"], { input: script, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
	});
});
