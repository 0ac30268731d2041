import { describe, expect, it } from "vitest";
import { bounded, dom0MemorySize, parseXenOptions } from "../../../src/toolstack/grub/xen-options.ts";

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

	it.each(["dom0_mem=half", "dom0_mem=100%", "dom0_mem=", "dom0_max_vcpus=many", "loglvl=loud"])(
		"refuses %s",
		(word) => {
			expect(() => parse(word)).toThrow(`grub.cfg:7: ${word}`);
		},
	);

	const MIB = 2 ** 20;
	/** Of 3 GiB, where nothing is asked for 512 MiB. */
	it.each([
		["dom0_mem=min:1024M dom0_mem=max:4096M", 1024],
		["dom0_mem=max:256M dom0_mem=1G", 256],
		["dom0_mem=1G dom0_mem=700M", 700],
		["dom0_mem=1G,max:2G dom0_mem=max:800M", 800],
		["dom0_mem=300M,min:600M", 600],
		// The greatest wins over the least.
		["dom0_mem=min:900M,max:800M", 800],
		["dom0_mem=8G", 3072],
		["dom0_mem=-1G", 2048],
		["dom0_mem=-1G,max:-2G", 1024],
		["dom0_mem=-4G,min:640M", 640],
		["dom0_mem=50%", 1536],
		["dom0_mem=256M+25%", 1024],
		["dom0_mem=-512M+50%", 1024],
		["dom0_mem=0x40000", 256],
		["dom0_mem=02000000", 512],
		["dom0_mem=0", 512],
		["quiet", 512],
	])("%s gives %d MiB", (words, mebibytes) => {
		const { memory } = parse(...words.split(" "));
		expect(dom0MemorySize(memory, 512 * MIB, 3072 * MIB) / MIB).toBe(mebibytes);
	});

	it("set what they name when they stand several times", () => {
		const options = parse(
			...["dom0_max_vcpus=2-8", "dom0_max_vcpus=-4", "loglvl=all", "loglvl=error", "console=none", "console=vga"],
			...["ucode=-1", "ucode=scan", "ucode=no-nmi"],
		);
		expect(options.vcpus).toEqual({ least: 2, most: 4 });
		expect(options.log).toEqual({ host: "error", guest: "warning" });
		expect(options.microcode).toEqual({ module: -1, scan: true });
		expect(parse("ucode=scan", "ucode=scan=off", "ucode=2").microcode).toEqual({ module: 2, scan: false });
	});

	it("have the forms of booleans", () => {
		const so = ["sync_console=on", "noreboot=yes", "no-real-mode=1", "edd=off", "no-edd"];
		const notSo = ["no-sync_console", "sync_console=false", "edd", "edd=skipmbr", "no-noreboot", "no-smt"];
		expect(parse(...so, ...notSo).notApplicable).toEqual(notSo);
	});

	it("end at --: what follows is for dom0's kernel", () => {
		expect(parse("noreboot", "--", "iommu=off", "single")).toMatchObject({
			notApplicable: [],
			dom0Words: ["iommu=off", "single"],
		});
	});
});
