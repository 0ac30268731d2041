import { describe, expect, it } from "vitest";
import { bounded, parseXenOptions } from "../../../src/toolstack/grub/xen-options.ts";

const PLACE = { file: "grub.cfg", line: 7 };
const parse = (...words: string[]) => parseXenOptions(words, PLACE);

describe("Xen's options", () => {
	it.each([
		["dom0_mem=512M", { size: 512 * 2 ** 20 }],
		["dom0_mem=524288", { size: 512 * 2 ** 20 }],
		["dom0_mem=1g,max:2G", { size: 2 ** 30, most: 2 ** 31 }],
		["dom0_mem=min:64M,max:0x200M", { least: 2 ** 26, most: 2 ** 29 }],
	])("%s", (word, memory) => {
		expect(parse(word).memory).toEqual(memory);
	});

	it.each([
		["dom0_max_vcpus=4", 1, 4],
		["dom0_max_vcpus=2-4", 1, 2],
		["dom0_max_vcpus=-4", 8, 4],
		["dom0_max_vcpus=2-", 8, 8],
	])("%s of %d", (word, usual, vcpus) => {
		expect(bounded(usual, parse(word).vcpus ?? {})).toBe(vcpus);
	});

	it.each([
		[["loglvl=all"], { host: "debug", guest: "warning" }],
		[["loglvl=error/info", "guest_loglvl=none"], { host: "info", guest: "none" }],
		[["console=com1,vga"], { host: "warning", guest: "warning" }],
		[["console=none", "loglvl=all"], undefined],
		[[], undefined],
	])("the log of %j", (words, log) => {
		expect(parse(...words).log).toEqual(log);
	});

	it("names those that mean nothing here", () => {
		const words = ["noreboot", "sync_console", "iommu=off", "apic_verbosity=debug", "noreboot=0", "placeholder"];
		expect(parse(...words).notApplicable).toEqual(["iommu=off", "apic_verbosity=debug", "noreboot=0", "placeholder"]);
	});

	it.each(["dom0_mem=half", "dom0_mem=50%", "dom0_mem=-512M", "dom0_max_vcpus=many", "loglvl=loud"])(
		"refuses %s",
		(word) => {
			expect(() => parse(word)).toThrow(`grub.cfg:7: ${word}`);
		},
	);
});
