/**
 * A kernel unpacked and with a symbol table, as debuggers want it: a distribution's kernel carries its symbols as kallsyms alone, from which an
 * ELF symbol table is made (System V ABI, "Symbol Table"; /usr/include/elf.h).
 */
import type { ElfFile } from "../../formats/elf.ts";
import { symbolsFromKernel } from "../../formats/symbols.ts";

/** Fields of the file's header, and sizes. */
const Header = { sectionOffset: 40, sectionSize: 58, sectionCount: 60, sectionNames: 62 } as const;
const SECTION_HEADER = 64;
const SYMBOL = 24;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHF_ALLOC = 2;
const SHN_ABS = 0xfff1;
const STB_GLOBAL = 1 << 4;
const STT_OBJECT = 1;
const STT_FUNC = 2;

function setSigned64(view: DataView, at: number, value: number): void {
	const high = Math.floor(value / 2 ** 32);
	view.setUint32(at, value - high * 2 ** 32, true);
	view.setInt32(at + 4, high, true);
}

/** The ELF file with its symbols: as it is if it has a table of them. */
export function vmlinuxWithSymbols(elf: ElfFile): Uint8Array {
	const { bytes } = elf;
	if (elf.symbols().length > 0) return bytes;
	const symbols = symbolsFromKernel(elf).entries;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const count = view.getUint16(Header.sectionCount, true);
	// A file without sections has none to begin with, which is number 0 of every table.
	const old =
		count === 0
			? new Uint8Array(SECTION_HEADER)
			: bytes.subarray(headersAt(view), headersAt(view) + count * SECTION_HEADER);
	const first = old.length / SECTION_HEADER;
	const encoder = new TextEncoder();
	const names = encoder.encode(`\0${symbols.map(({ name }) => `${name}\0`).join("")}`);
	const table = new Uint8Array((symbols.length + 1) * SYMBOL);
	const entries = new DataView(table.buffer);
	let nameAt = 1;
	for (const [index, { name, address, code }] of symbols.entries()) {
		const at = (index + 1) * SYMBOL;
		entries.setUint32(at, nameAt, true);
		entries.setUint8(at + 4, STB_GLOBAL | (code ? STT_FUNC : STT_OBJECT));
		entries.setUint16(at + 6, sectionOf(old, address), true);
		setSigned64(entries, at + 8, address);
		nameAt += encoder.encode(name).length + 1;
	}
	// The sections keep their names: the new table of names begins with the old one.
	const oldNames = sectionContents(bytes, old, view.getUint16(Header.sectionNames, true));
	const sectionNames = new Uint8Array([...oldNames, ...encoder.encode("\0.symtab\0.strtab\0.shstrtab\0")]);
	const nameOf = (name: string): number =>
		oldNames.length + "\0.symtab\0.strtab\0.shstrtab\0".indexOf(`\0${name}\0`) + 1;
	const pieces = [table, names, sectionNames];
	const places: number[] = [];
	let size = aligned(bytes.length);
	for (const piece of pieces) {
		places.push(size);
		size = aligned(size + piece.length);
	}
	const file = new Uint8Array(size + old.length + pieces.length * SECTION_HEADER);
	file.set(bytes);
	for (const [index, piece] of pieces.entries()) file.set(piece, places[index]);
	file.set(old, size);
	const out = new DataView(file.buffer);
	const section = (index: number, name: string, type: number, link: number, entrySize: number): void => {
		const at = size + (first + index) * SECTION_HEADER;
		out.setUint32(at, nameOf(name), true);
		out.setUint32(at + 4, type, true);
		setSigned64(out, at + 24, places[index] as number);
		setSigned64(out, at + 32, (pieces[index] as Uint8Array).length);
		out.setUint32(at + 40, link, true);
		// All but the first symbol are global.
		out.setUint32(at + 44, type === SHT_SYMTAB ? 1 : 0, true);
		setSigned64(out, at + 48, type === SHT_SYMTAB ? 8 : 1);
		setSigned64(out, at + 56, entrySize);
	};
	section(0, ".symtab", SHT_SYMTAB, first + 1, SYMBOL);
	section(1, ".strtab", SHT_STRTAB, 0, 0);
	section(2, ".shstrtab", SHT_STRTAB, 0, 0);
	setSigned64(out, Header.sectionOffset, size);
	out.setUint16(Header.sectionSize, SECTION_HEADER, true);
	out.setUint16(Header.sectionCount, first + pieces.length, true);
	out.setUint16(Header.sectionNames, first + 2, true);
	return file;
}

const aligned = (at: number): number => (at + 7) & ~7;

function headersAt(view: DataView): number {
	return Number(view.getBigUint64(Header.sectionOffset, true));
}

function sectionContents(bytes: Uint8Array, headers: Uint8Array, index: number): Uint8Array {
	if ((index + 1) * SECTION_HEADER > headers.length) return new Uint8Array(1);
	const view = new DataView(headers.buffer, headers.byteOffset + index * SECTION_HEADER, SECTION_HEADER);
	const offset = Number(view.getBigUint64(24, true));
	return bytes.subarray(offset, offset + Number(view.getBigUint64(32, true)));
}

/** The section that an address is in. */
function sectionOf(headers: Uint8Array, address: number): number {
	const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
	for (let index = 1; index * SECTION_HEADER < headers.length; index++) {
		const at = index * SECTION_HEADER;
		if ((view.getUint32(at + 8, true) & SHF_ALLOC) === 0) continue;
		const start = view.getInt32(at + 20, true) * 2 ** 32 + view.getUint32(at + 16, true);
		const size = view.getUint32(at + 36, true) * 2 ** 32 + view.getUint32(at + 32, true);
		if (address >= start && address < start + size) return index;
	}
	return SHN_ABS;
}
