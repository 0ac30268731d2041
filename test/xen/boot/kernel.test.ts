import { gzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { ElfFile } from "../../../src/formats/elf.ts";
import { ImageError, offersPv, openKernel, parseXenNotes } from "../../../src/xen/boot/index.ts";
import { concat, makeBzImage, makeElf, makeKernel, note, pvNotes, VIRT_BASE } from "./images.ts";

const encoder = new TextEncoder();

function failure(bytes: Uint8Array, action = (data: Uint8Array): unknown => openKernel(data, "vmlinuz")): ImageError {
	try {
		action(bytes);
	} catch (error) {
		if (error instanceof ImageError) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}

describe("opening a kernel", () => {
	it("takes an ELF file, one compressed as a whole, and a bzImage around it", () => {
		const elf = makeKernel();
		const plain = openKernel(elf, "vmlinux");
		expect(plain).toMatchObject({ format: "ELF", compression: undefined, setup: undefined });
		expect(openKernel(gzipSync(elf), "vmlinux.gz")).toMatchObject({ format: "ELF", compression: "gzip" });
		const image = openKernel(makeBzImage(gzipSync(elf)), "vmlinuz");
		expect(image).toMatchObject({ format: "bzImage", compression: "gzip", file: "vmlinuz" });
		expect(image.setup).toMatchObject({ protocol: 0x020f, kernelVersion: "6.1.0-test (builder@host) #1" });
		expect(image.elf.bytes).toEqual(elf);
		expect(openKernel(makeBzImage(elf), "vmlinuz")).toMatchObject({ format: "bzImage", compression: undefined });
	});

	it("tells where the code behind the payload is cut off, and takes what is appended to it", () => {
		const image = concat(makeBzImage(gzipSync(makeKernel())), new Uint8Array(100));
		const paragraphs = (size: number) => new DataView(image.buffer).setUint32(0x1f4, Math.ceil(size / 16), true);
		const codeSize = image.length - 3 * 512;
		for (const size of [0, codeSize - 50, codeSize]) {
			paragraphs(size);
			expect(openKernel(image, "vmlinuz").format).toBe("bzImage");
		}
		paragraphs(codeSize + 16);
		expect(failure(image)).toMatchObject({ code: "truncated", reason: "it ends inside the code behind its payload" });
	});

	it.each<[string, Uint8Array, string]>([
		["an empty file", new Uint8Array(0), "not-a-kernel"],
		["a text", encoder.encode("#!/bin/sh\necho I am no kernel\n".repeat(50)), "not-a-kernel"],
		["a packed text", gzipSync(encoder.encode("no kernel")), "not-a-kernel"],
		["a bzImage with a packed text", makeBzImage(gzipSync(encoder.encode("no kernel"))), "not-a-kernel"],
		["a bzImage with nothing known in it", makeBzImage(encoder.encode("no kernel")), "unsupported-payload"],
		[
			"an old boot protocol",
			makeBzImage(gzipSync(makeKernel()), undefined, { protocol: 0x0207 }),
			"unsupported-kernel",
		],
		["a 32-bit bzImage", makeBzImage(gzipSync(makeKernel()), undefined, { xloadflags: 0 }), "wrong-architecture"],
		["an ELF file for another machine", makeElf({ machine: 183 }), "wrong-architecture"],
		["an arm64 Image", foreign(0x38, "ARM\x64"), "wrong-architecture"],
		["a RISC-V Image", foreign(0x38, "RSC\x05"), "wrong-architecture"],
	])("refuses %s", (_name, bytes, code) => {
		const error = failure(bytes);
		expect(error.code).toBe(code);
		expect(error.message).toMatch(/^vmlinuz: .+\. .+\.$/);
	});

	it("refuses a 32-bit ELF file and an object file", () => {
		const narrow = makeKernel();
		narrow[4] = 1;
		narrow[18] = 3;
		expect(failure(narrow).message).toContain("32-bit x86");
		const object = makeKernel();
		object[16] = 1;
		expect(failure(object).code).toBe("not-a-kernel");
	});

	it("refuses an image that is cut off, wherever that is", () => {
		const image = makeBzImage(gzipSync(makeKernel()));
		// The padding after the payload is not needed.
		for (let length = 0x206; length < image.length - 32; length += 13) {
			expect(failure(image.subarray(0, length)).code, `${length} bytes`).toBe("truncated");
		}
		const elf = makeKernel();
		for (let length = 64; length < elf.length; length += 501) {
			expect(failure(elf.subarray(0, length)).code, `${length} bytes`).toBe("truncated");
		}
	});

	it("throws nothing but ImageErrors on a damaged header", () => {
		const elf = makeKernel(undefined, { sections: [{ name: ".rodata", data: new Uint8Array(16) }] });
		for (let at = 4; at < 64 + 2 * 56; at++) {
			for (const value of [0x00, 0x7f, 0xff]) {
				const damaged = elf.slice();
				damaged[at] = value;
				try {
					const { elf: file } = openKernel(damaged, "vmlinux");
					parseXenNotes(file);
					file.symbols();
				} catch (error) {
					expect(error, `byte ${at} = ${value}`).toBeInstanceOf(ImageError);
				}
			}
		}
		const tail = elf.length - 3 * 64;
		for (let at = tail; at < elf.length; at++) {
			const damaged = elf.slice();
			damaged[at] = 0xff;
			try {
				parseXenNotes(openKernel(damaged, "vmlinux").elf);
			} catch (error) {
				expect(error).toBeInstanceOf(ImageError);
			}
		}
	});
});

describe("Xen notes", () => {
	const parse = (notes: Uint8Array) => parseXenNotes(new ElfFile(makeKernel(notes), "vmlinux"));

	it("are read by number, with their values as text", () => {
		const parameters = parse(pvNotes())!;
		expect(parameters).toMatchObject({
			source: "notes",
			virtBase: Number(BigInt.asIntN(64, VIRT_BASE)),
			initP2m: 2 ** 39,
			paddrOffset: 0,
			xenVersion: "xen-3.0",
			loader: "generic",
			guestOs: "linux",
			modStartPfn: true,
			suspendCancel: true,
			supportedFeatures: 0x11,
			requiredFeatures: 0x01,
		});
		const texts = Object.fromEntries(parameters.notes.map(({ name, text }) => [name, text]));
		expect(texts).toMatchObject({
			VIRT_BASE: "0xffffffff80000000",
			HV_START_LOW: "0xffff800000000000",
			PAE_MODE: '"yes"',
			MOD_START_PFN: "1",
		});
	});

	it("of four bytes, of pairs and of unknown numbers are shown as what they are", () => {
		const bytes = (values: readonly number[]) => new Uint8Array(Uint32Array.from(values).buffer);
		const parameters = parse(
			concat(
				note(17, bytes([0x8801])),
				note(13, bytes([1, 0, 1, 0])),
				note(19, bytes([0x20_0000, 0x100_0000, 0x3fff_ffff])),
				note(99, bytes([7])),
				note(1, 5n, "GNU"),
			),
		)!;
		expect(parameters.supportedFeatures).toBe(0x8801);
		expect(parameters.entry).toBeUndefined();
		expect(parameters.notes.map(({ name, text }) => `${name} ${text}`)).toEqual([
			"SUPPORTED_FEATURES 0x8801",
			"L1_MFN_VALID mask 0x1 value 0x1",
			"PHYS32_RELOC 0x200000 0x1000000 0x3fffffff",
			"note 99 4 bytes",
		]);
	});

	it("are found in note sections where there are no note segments", () => {
		const elf = makeElf({ sections: [{ name: ".notes", type: 7, data: pvNotes() }] });
		expect(parseXenNotes(new ElfFile(elf, "vmlinux"))?.guestOs).toBe("linux");
	});

	it("of kernels before 2.6.23 are a string", () => {
		const text =
			"GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000," +
			"HYPERCALL_PAGE=0x102,FEATURES=writable_page_tables|!auto_translated_physmap,LOADER=generic";
		const elf = makeElf({ sections: [{ name: "__xen_guest", data: encoder.encode(`${text}\0rest`) }] });
		const parameters = parseXenNotes(new ElfFile(elf, "vmlinux"))!;
		const base = Number(BigInt.asIntN(64, VIRT_BASE));
		expect(parameters).toMatchObject({
			source: "__xen_guest",
			virtBase: base,
			// The legacy default, and a page number rather than an address.
			paddrOffset: base,
			hypercallPage: base + 0x102000,
			supportedFeatures: 0b101,
			requiredFeatures: 0b100,
		});
		expect(offersPv(parameters)).toBe(true);
	});

	it("that are damaged are an error", () => {
		const broken = note(6, "linux");
		new DataView(broken.buffer).setUint32(4, 0x1000, true);
		expect(failure(makeKernel(broken), (data) => parseXenNotes(new ElfFile(data, "vmlinuz"))).code).toBe("malformed");
	});
});

function foreign(offset: number, magic: string): Uint8Array {
	const bytes = new Uint8Array(256);
	for (let i = 0; i < magic.length; i++) bytes[offset + i] = magic.charCodeAt(i);
	return bytes;
}
