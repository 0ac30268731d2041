import { describe, expect, it } from "vitest";
import { ElfFile } from "../../../src/xen/boot/elf.ts";
import { readKallsyms, SymbolTable, symbolsFromKernel, symbolsFromSystemMap } from "../../../src/xen/boot/index.ts";
import { concat, makeElf, makeKernel } from "./images.ts";

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

/** Every byte is a token for itself, but two that stand for more. */
const TOKENS = Array.from({ length: 256 }, (_, i) =>
	i === 1 ? "xen_" : i === 2 ? "Tdo_" : String.fromCharCode(i || 3),
);

type Layout = "6.1" | "6.1 with sequences" | "6.4" | "without per-CPU symbols";

/** A .rodata with kallsyms tables for `count` symbols, 16 bytes apart; symbol i is called do_xen_i, the last has a long name. */
function makeRodata(layout: Layout, count: number): Uint8Array {
	const pad = (bytes: Uint8Array) => concat(bytes, new Uint8Array((8 - (bytes.length & 7)) & 7));
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
	const offsets = words(
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
	return layout.startsWith("6.1")
		? concat(noise, decoy, offsets, relativeBase, ...middle, noise)
		: concat(noise, decoy, ...middle, offsets, relativeBase, noise);
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
	])("are read in the layout of %s, %i symbols", (layout, count) => {
		const elf = new ElfFile(makeElf({ sections: [{ name: ".rodata", data: makeRodata(layout, count) }] }), "vmlinux");
		const symbols = readKallsyms(elf);
		expect(symbols).toHaveLength(count);
		expect(symbols[0]).toEqual({ name: "do_xen_0", address: base });
		expect(symbols[510]).toEqual({ name: "do_xen_510", address: base + 510 * 16 });
		expect(symbols[count - 1]?.name).toBe(`do_xen_${"l".repeat(300)}`);
		expect(symbolsFromKernel(elf).format(base + 33)).toBe("do_xen_2+0x1");
	});

	it("that are damaged give no symbols and no exception", () => {
		const rodata = makeRodata("6.1", 600);
		for (let at = 0; at < rodata.length; at += 97) {
			const damaged = rodata.slice();
			damaged[at]! ^= 0x40;
			const elf = new ElfFile(makeElf({ sections: [{ name: ".rodata", data: damaged }] }), "vmlinux");
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
