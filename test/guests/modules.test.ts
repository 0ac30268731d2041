import { describe, expect, it } from "vitest";
import {
	ModuleError,
	type ModuleSource,
	moduleName,
	modulesAlias,
	modulesDep,
	readModuleInfo,
	resolveModules,
} from "../../src/guests/modules.ts";

/** The smallest ELF file that has a .modinfo section. */
function makeModule(info: Readonly<Record<string, string | readonly string[]>>): Uint8Array {
	const lines = Object.entries(info).flatMap(([key, values]) => [values].flat().map((value) => `${key}=${value}\0`));
	const modinfo = new TextEncoder().encode(lines.join(""));
	const names = new TextEncoder().encode("\0.modinfo\0.shstrtab\0");
	const headers = 64 + modinfo.length + names.length;
	const bytes = new Uint8Array(headers + 3 * 64);
	const view = new DataView(bytes.buffer);
	bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
	view.setBigUint64(0x28, BigInt(headers), true);
	view.setUint16(0x3a, 64, true);
	view.setUint16(0x3c, 3, true);
	view.setUint16(0x3e, 2, true);
	bytes.set(modinfo, 64);
	bytes.set(names, 64 + modinfo.length);
	const section = (index: number, name: number, offset: number, size: number): void => {
		const header = headers + index * 64;
		view.setUint32(header, name, true);
		view.setBigUint64(header + 0x18, BigInt(offset), true);
		view.setBigUint64(header + 0x20, BigInt(size), true);
	};
	section(1, 1, 64, modinfo.length);
	section(2, 10, 64 + modinfo.length, names.length);
	return bytes;
}

/** A kernel whose modules need each other: top needs left and right, both need bottom. */
const FILES: Readonly<Record<string, Uint8Array>> = {
	"kernel/top.ko": makeModule({ name: "top", depends: "left,right-side", alias: ["fs-top", "xen:top"] }),
	"kernel/a/left.ko": makeModule({ name: "left", depends: "bottom" }),
	"kernel/a/right-side.ko.xz": makeModule({ name: "right_side", depends: "bottom,in_kernel" }),
	"kernel/bottom.ko": makeModule({ name: "bottom", depends: "", vermagic: "6.1.0 SMP" }),
	"kernel/broken.ko": makeModule({ name: "broken", depends: "absent" }),
	"kernel/text.ko": new TextEncoder().encode("no ELF file"),
};

const SOURCE: ModuleSource = {
	paths: Object.keys(FILES),
	builtin: ["kernel/in-kernel.ko"],
	read: async (path) => FILES[path] as Uint8Array,
};

describe("kernel modules", () => {
	it("are named as the kernel names them", () => {
		expect(moduleName("kernel/drivers/block/xen-blkfront.ko.xz")).toBe("xen_blkfront");
		expect(moduleName("9p.ko")).toBe("9p");
	});

	it("tell their dependencies and aliases", () => {
		expect(readModuleInfo(FILES["kernel/top.ko"] as Uint8Array, "top.ko")).toEqual({
			name: "top",
			depends: ["left", "right-side"],
			aliases: ["fs-top", "xen:top"],
			versionMagic: "",
		});
		expect(readModuleInfo(FILES["kernel/bottom.ko"] as Uint8Array, "bottom.ko").depends).toEqual([]);
	});

	it("are chosen with all that they need", async () => {
		const modules = await resolveModules(SOURCE, ["top", "in-kernel", "not_there"]);
		expect(modules.map((module) => module.path)).toEqual([
			"kernel/a/left.ko",
			"kernel/a/right-side.ko",
			"kernel/bottom.ko",
			"kernel/top.ko",
		]);
	});

	it("are refused where a dependency is missing or the file is no module", async () => {
		await expect(resolveModules(SOURCE, ["broken"])).rejects.toThrow("module broken needs absent");
		await expect(resolveModules(SOURCE, ["text"])).rejects.toThrow(ModuleError);
		const module = FILES["kernel/top.ko"] as Uint8Array;
		for (let length = 0; length < module.length; length++) {
			expect(() => readModuleInfo(module.subarray(0, length), "cut.ko")).toThrow(ModuleError);
		}
	});

	it("are indexed so that modprobe, which reads a line backwards, loads what is needed first", async () => {
		const modules = await resolveModules(SOURCE, ["top"]);
		expect(modulesDep(modules).split("\n")).toEqual([
			"kernel/a/left.ko: kernel/bottom.ko",
			"kernel/a/right-side.ko: kernel/bottom.ko",
			"kernel/bottom.ko:",
			"kernel/top.ko: kernel/a/right-side.ko kernel/a/left.ko kernel/bottom.ko",
			"",
		]);
		expect(modulesAlias(modules)).toBe("alias fs-top top\nalias xen:top top\n");
	});
});
