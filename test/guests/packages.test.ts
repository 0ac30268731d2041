/** What is taken out of Debian's packages, however those are cut and named. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { GuestError } from "../../src/guests/errors.ts";
import { kernelPackages, readProgram, storeKernel } from "../../src/guests/packages.ts";
import { makeBzImage } from "../xen/boot/images.ts";

const directory = mkdtempSync(join(tmpdir(), "paravirt-packages-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Packages by name, with their versions and dependencies. */
type Archive = Readonly<Record<string, readonly [version: string, depends: string]>>;

/** An apt that shows these, and fails for others. */
function aptOf(archive: Archive): Parameters<typeof kernelPackages>[0] {
	return {
		show: async (names) =>
			names.map((name) => {
				const found = archive[name];
				if (found === undefined) throw new GuestError(`no package ${name}`, "");
				return new Map([
					["package", name],
					["version", found[0]],
					["depends", found[1]],
				]);
			}),
	};
}

/** As in bookworm, and as in sid since Linux 7. */
const BOOKWORM: Archive = {
	"linux-image-amd64": ["6.1.192-3", "linux-image-6.1.0-57-amd64 (= 6.1.192-3)"],
	"linux-image-6.1.0-57-amd64": ["6.1.192-3", "kmod, linux-base (>= 4.3~), initramfs-tools | linux-initramfs-tool"],
};
const SID: Archive = {
	"linux-image-amd64": ["7.2-1", "linux-base-amd64 (= 7.2-1), linux-image-7.2+deb14-amd64 (= 7.2-1)"],
	"linux-base-amd64": ["7.2-1", "common-7.2 (= 7.2-1)"],
	"linux-image-7.2+deb14-amd64": [
		"7.2-1",
		"dracut | initramfs-tools, common-7.2 (= 7.2-1), binary-7.2 (= 7.2-1), other (= 7.2-2)",
	],
	"common-7.2": ["7.2-1", ""],
	"binary-7.2": ["7.2-1", "common-7.2 (= 7.2-1)"],
};

/** Writes files below a new directory. */
function tree(files: Readonly<Record<string, string | Uint8Array>>): string {
	const root = mkdtempSync(join(directory, "tree-"));
	for (const [path, data] of Object.entries(files)) {
		mkdirSync(join(root, dirname(path)), { recursive: true });
		writeFileSync(join(root, path), data);
	}
	return root;
}

describe("a kernel's packages", () => {
	it("are what its metapackage needs in its own version, whatever they are called", async () => {
		expect(await kernelPackages(aptOf(BOOKWORM))).toEqual({
			version: "6.1.192-3",
			names: ["linux-image-6.1.0-57-amd64"],
		});
		const { version, names } = await kernelPackages(aptOf(SID));
		expect(version).toBe("7.2-1");
		expect([...names].sort()).toEqual(["binary-7.2", "common-7.2", "linux-base-amd64", "linux-image-7.2+deb14-amd64"]);
		const none = kernelPackages(aptOf({ "linux-image-amd64": ["1", "other (>= 1)"] }));
		await expect(none).rejects.toThrow("linux-image-amd64 1 depends on no kernel image");
	});

	const kernel = makeBzImage(new Uint8Array(100));

	it.each([
		["boot/vmlinuz-6.1.0-test", "lib/modules/6.1.0-test"],
		["usr/lib/modules/6.1.0-test/vmlinuz", "usr/lib/modules/6.1.0-test"],
		["opt/an-image", "opt/modules/6.1.0-test"],
	])("have the kernel at %s", async (image, modules) => {
		const root = tree({
			[image]: kernel,
			[`${modules}/modules.builtin`]: "kernel/fs/ext4.ko\n",
			"usr/share/doc/vmlinuz": "not this one",
			"lib/modules/other/modules.builtin": "",
		});
		const target = join(root, "target");
		expect(await storeKernel(root, target, ["ext4"])).toBe("6.1.0-test");
		expect(new Uint8Array(readFileSync(join(target, "vmlinuz")))).toEqual(kernel);
		expect(readFileSync(join(target, "modules/modules.builtin"), "utf8")).toBe("kernel/fs/ext4.ko\n");
		expect(readdirSync(target).sort()).toEqual(["modules", "vmlinuz"]);
	});

	it("are refused where there is no kernel, or none of its modules", async () => {
		await expect(storeKernel(tree({ "boot/vmlinuz-6.1": "text" }), directory, [])).rejects.toThrow(GuestError);
		const other = tree({ "boot/vmlinuz": kernel, "lib/modules/6.1.1/modules.builtin": "" });
		await expect(storeKernel(other, directory, [])).rejects.toThrow("no modules of Linux 6.1.0-test");
	});
});

describe("a program's package", () => {
	it("has it wherever it lies", async () => {
		const program = new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 1]);
		const root = tree({ "usr/share/doc/busybox/busybox": "a document", "usr/somewhere/busybox": program });
		expect(new Uint8Array(await readProgram(root, "busybox"))).toEqual(program);
		await expect(readProgram(root, "other")).rejects.toThrow(GuestError);
	});
});
