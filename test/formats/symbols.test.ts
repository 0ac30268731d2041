import { describe, expect, it } from "vitest";
import { ElfFile } from "../../src/formats/elf.ts";
import {
	codeNames,
	readKallsyms,
	SymbolTable,
	symbolsFromKernel,
	symbolsFromSystemMap,
} from "../../src/xen/boot/index.ts";
import { concat, makeElf, makeKernel } from "../xen/boot/images.ts";

const BASE = 0xffff_ffff_8100_0000n;
const signed = (address: bigint) => Number(BigInt.asIntN(64, address));
const base = signed(BASE);

describe("a symbol table", () => {
	const table = symbolsFromSystemMap(
		[
			"0000000000000000 A fixed_percpu_data",
			"ffffffff81000010 T second",
			"ffffffff81000000 T first",
			"ffffffff81000000 T alias_of_first",
			"ffffffff81002000 t last",
			"no symbol at all",
			"",
		].join("\n"),
	);

	it("finds the symbol that an address lies in", () => {
		expect(table.size).toBe(3);
		expect(table.format(base)).toBe("first+0x0");
		expect(table.format(base + 0xf)).toBe("first+0xf");
		expect(table.format(base + 0x10)).toBe("second+0x0");
		expect(table.lookup(base + 0x2345)).toEqual({ name: "last", offset: 0x345 });
	});

	it("says the address where nothing is near", () => {
		expect(table.format(base - 1)).toBe("0xffffffff80ffffff");
		expect(table.format(0x1234)).toBe("0x1234");
		expect(table.format(base + 0x1000_0000)).toBe("0xffffffff91000000");
		expect(new SymbolTable([]).format(base)).toBe("0xffffffff81000000");
	});
});

it("of code leaves out data, and of two names for one address keeps that of code", () => {
	const table = symbolsFromSystemMap(
		["T text", "D data", "W weak", "V weak_object", "B before_local", "t local"]
			.map((line, i) => `ffffffff8100${Math.min(i, 4)}000 ${line}`)
			.join("\n"),
	);
	expect(table.lookup(base + 0x1001)?.name).toBe("data");
	expect([0x1001, 0x2001, 0x3001, 0x4001].map((at) => table.code().lookup(base + at)?.name)).toEqual([
		"text",
		"weak",
		"weak",
		"local",
	]);
});

it("the ELF file's own symbols come first", () => {
	const strings = new TextEncoder().encode("\0start\0undefined\0");
	const symbols = new Uint8Array(24 * 3);
	const view = new DataView(symbols.buffer);
	view.setUint32(24, 1, true);
	view.setUint8(28, 2);
	view.setUint16(30, 1, true);
	view.setBigUint64(32, BASE, true);
	view.setUint32(48, 7, true);
	view.setBigUint64(56, BASE + 64n, true);
	const kernel = makeKernel(undefined, {
		sections: [
			{ name: ".symtab", type: 2, data: symbols, link: 2 },
			{ name: ".strtab", type: 3, data: strings },
		],
	});
	const elf = new ElfFile(kernel, "vmlinux");
	expect(elf.symbols()).toEqual([{ name: "start", address: base, size: 0, type: 2 }]);
	expect(symbolsFromKernel(elf).format(base + 70)).toBe("start+0x46");
});

describe("the names of code", () => {
	/** An ELF file with two functions 32 bytes apart in the first section, and a variable in the second. */
	const makeImage = (textFlags: number, dataFlags: number): ElfFile => {
		const strings = "\0function\0label\0variable\0";
		const symbols = new Uint8Array(24 * 3);
		const view = new DataView(symbols.buffer);
		for (const [i, [name, type, offset]] of (
			[
				["function", 2, 0],
				["label", 0, 32],
				["variable", 1, 4096],
			] as const
		).entries()) {
			view.setUint32(i * 24, strings.indexOf(name), true);
			view.setUint8(i * 24 + 4, type);
			view.setUint16(i * 24 + 6, 1, true);
			view.setBigUint64(i * 24 + 8, BASE + BigInt(offset), true);
		}
		const contents = new Uint8Array(64);
		const sections = [
			{ name: ".text", flags: textFlags, data: contents, address: BASE },
			{ name: ".data", flags: dataFlags, data: contents, address: BASE + 4096n },
			{ name: ".symtab", type: 2, data: symbols, link: 4 },
			{ name: ".strtab", type: 3, data: new TextEncoder().encode(strings) },
		];
		return new ElfFile(makeElf({ sections }), "vmlinux");
	};

	it.each([
		["marks only code executable", 6, 3],
		["marks its data executable too", 6, 7],
		["marks its code writable", 7, 3],
	])("are those of its functions and labels, where an image %s", (_, textFlags, dataFlags) => {
		const nameOf = codeNames(makeImage(textFlags, dataFlags));
		expect([0, 31, 32, 63].map((offset) => nameOf(base + offset))).toEqual([
			"function+0x0",
			"function+0x1f",
			"label+0x0",
			"label+0x1f",
		]);
		for (const offset of [-1, 64, 4095, 4096, 4100]) expect(nameOf(base + offset), `${offset}`).toBeUndefined();
	});
});

/** Every byte is a token for itself, but two that stand for more. */
const TOKENS = Array.from({ length: 256 }, (_, i) =>
	i === 1 ? "xen_" : i === 2 ? "Tdo_" : String.fromCharCode(i || 3),
);

/** Where .rodata lies. */
const RODATA = BASE + 0x10_0000n;

type Layout = "6.1" | "6.1 with sequences" | "6.4" | "7.2" | "without per-CPU symbols";

/**
 * A .rodata with kallsyms tables for `count` symbols, 16 bytes apart; symbol i is called do_xen_i, the last has a long name. It is
 * expected at RODATA.
 */
function makeRodata(layout: Layout, count: number): Uint8Array {
	const alignment = layout === "7.2" ? 4 : 8;
	const pad = (bytes: Uint8Array) => concat(bytes, new Uint8Array(-bytes.length & (alignment - 1)));
	const words = (values: readonly number[]) => pad(new Uint8Array(Int32Array.from(values).buffer));
	const encoded: Uint8Array[] = [];
	const markers: number[] = [];
	let length = 0;
	for (let i = 0; i < count; i++) {
		const tail = i === count - 1 ? "l".repeat(300) : `${i}`;
		const name = [2, 1, ...tail].map((item) => (typeof item === "number" ? item : item.charCodeAt(0)));
		const prefix = name.length < 128 ? [name.length] : [(name.length & 0x7f) | 0x80, name.length >> 7];
		if (i % 256 === 0) markers.push(length);
		encoded.push(Uint8Array.from([...prefix, ...name]));
		length += prefix.length + name.length;
	}
	const strings = TOKENS.map((token) => Uint8Array.from([...token].map((c) => c.charCodeAt(0)).concat(0)));
	let at = 0;
	const index = strings.map((text) => {
		const here = at;
		at += text.length;
		return here;
	});
	const ordinary = words(
		Array.from({ length: count }, (_, i) => (layout === "without per-CPU symbols" ? i * 16 : -1 - i * 16)),
	);
	const relativeBase = new Uint8Array(new BigUint64Array([BASE]).buffer);
	const parts = {
		num: words([count]),
		names: pad(concat(...encoded)),
		markers: words(markers),
		sequences: layout === "6.1 with sequences" ? pad(new Uint8Array(count * 3).fill(0x7b)) : new Uint8Array(0),
		tokens: pad(concat(...strings)),
		index: pad(new Uint8Array(Uint16Array.from(index).buffer)),
	};
	const middle = [parts.num, parts.names, parts.markers, parts.sequences, parts.tokens, parts.index];
	const noise = new Uint8Array(64).fill(0x11);
	// A table of characters that looks like the digits, as keyboards and codecs have them.
	const decoy = Uint8Array.from({ length: 512 }, (_, i) => (i & 1 ? 0 : i >> 1));
	if (layout === "7.2") {
		const before = concat(noise, decoy, ...middle);
		const place = signed(RODATA) + before.length;
		return concat(before, words(Array.from({ length: count }, (_, i) => base + i * 16 - (place + i * 4))), noise);
	}
	return layout.startsWith("6.1")
		? concat(noise, decoy, ordinary, relativeBase, ...middle, noise)
		: concat(noise, decoy, ...middle, ordinary, relativeBase, noise);
}

describe("kallsyms", () => {
	it.each<[Layout, number]>([
		["6.1", 600],
		["6.1", 512],
		["6.1 with sequences", 600],
		["6.1 with sequences", 513],
		["6.4", 700],
		["6.4", 1025],
		["without per-CPU symbols", 600],
		["7.2", 600],
		["7.2", 513],
	])("are read in the layout of %s, %i symbols", (layout, count) => {
		const rodata = { name: ".rodata", data: makeRodata(layout, count), address: RODATA };
		const elf = new ElfFile(makeElf({ sections: [rodata] }), "vmlinux");
		const symbols = readKallsyms(elf);
		expect(symbols).toHaveLength(count);
		expect(symbols[0]).toEqual({ name: "do_xen_0", address: base, code: true });
		expect(symbols[510]).toEqual({ name: "do_xen_510", address: base + 510 * 16, code: true });
		expect(symbols[count - 1]?.name).toBe(`do_xen_${"l".repeat(300)}`);
		expect(symbolsFromKernel(elf).format(base + 33)).toBe("do_xen_2+0x1");
	});

	it.each<Layout>(["6.1", "7.2"])("that are damaged (%s) give no symbols and no exception", (layout) => {
		const rodata = makeRodata(layout, 600);
		for (let at = 0; at < rodata.length; at += 97) {
			const damaged = rodata.slice();
			damaged[at]! ^= 0x40;
			const elf = new ElfFile(makeElf({ sections: [{ name: ".rodata", data: damaged, address: RODATA }] }), "vmlinux");
			expect([0, 600]).toContain(readKallsyms(elf).length);
		}
		for (let length = 0; length < rodata.length; length += 501) {
			const elf = new ElfFile(
				makeElf({ sections: [{ name: ".rodata", data: rodata.subarray(0, length) }] }),
				"vmlinux",
			);
			expect(() => readKallsyms(elf)).not.toThrow();
		}
	});

	it("are not there in an image without them", () => {
		expect(readKallsyms(new ElfFile(makeKernel(), "vmlinux"))).toEqual([]);
	});
});
