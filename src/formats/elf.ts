/**
 * ELF64 little-endian files, read with every offset checked: a kernel image is input like any other. Virtual addresses are signed
 * numbers (exact when canonical), physical addresses and offsets unsigned. Layouts: System V ABI, chapters 4 and 5.
 */
import { ImageError } from "./errors.ts";

export const PT_LOAD = 1;
export const PT_NOTE = 4;
export const PF_X = 1;
export const SHT_SYMTAB = 2;
export const SHT_NOTE = 7;
export const SHT_NOBITS = 8;
export const SHF_WRITE = 1;
export const SHF_EXECINSTR = 4;
export const EM_X86_64 = 62;

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const SECTION_HEADER_SIZE = 64;
const SYMBOL_SIZE = 24;
const ET_EXEC = 2;
const ET_DYN = 3;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
/** More notes than this is an attack, not a kernel (libelf's limit, ELF_MAX_TOTAL_NOTE_COUNT). */
const MAX_NOTES = 65_536;

/** e_machine of what somebody may try by mistake. */
const MACHINES: Readonly<Record<number, string>> = {
	3: "32-bit x86",
	21: "64-bit PowerPC",
	22: "s390",
	40: "32-bit ARM",
	62: "x86-64",
	183: "64-bit ARM",
	243: "RISC-V",
	258: "LoongArch",
};

export interface ElfSegment {
	readonly type: number;
	readonly flags: number;
	readonly offset: number;
	readonly virtualAddress: number;
	readonly physicalAddress: number;
	readonly fileSize: number;
	readonly memorySize: number;
}

export interface ElfSection {
	readonly name: string;
	readonly type: number;
	/** SHF_*, the low 32 bits. */
	readonly flags: number;
	readonly address: number;
	readonly offset: number;
	readonly size: number;
	/** Of a symbol table: the index of its string table. */
	readonly link: number;
}

export interface ElfNote {
	readonly owner: string;
	readonly type: number;
	readonly data: Uint8Array;
}

export interface ElfSymbol {
	readonly name: string;
	readonly address: number;
	readonly size: number;
	/** STT_*: 1 object, 2 function. */
	readonly type: number;
}

const latin = new TextDecoder("latin1");
/** Strings end here where they have no end: a file full of references to one endless name must not take forever. */
const LONGEST_STRING = 4096;

/** The string that ends at the first 0 byte. */
export function cString(bytes: Uint8Array, at = 0, end = bytes.length): string {
	const area = bytes.subarray(at, Math.min(end, at + LONGEST_STRING));
	const zero = area.indexOf(0);
	return latin.decode(zero < 0 ? area : area.subarray(0, zero));
}

export function isElf(bytes: Uint8Array): boolean {
	return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

export function wrongArchitecture(file: string, found: string): ImageError {
	return new ImageError(
		"wrong-architecture",
		file,
		`it is a kernel for ${found}`,
		"Use an x86-64 kernel, such as Debian's linux-image-amd64",
	);
}

export class ElfFile {
	readonly entry: number;
	readonly segments: readonly ElfSegment[];
	readonly sections: readonly ElfSection[];
	private readonly view: DataView;

	/** @param file the name for messages. Throws an ImageError. */
	constructor(
		readonly bytes: Uint8Array,
		readonly file: string,
	) {
		if (!isElf(bytes)) {
			throw new ImageError("not-a-kernel", file, "it is no ELF file", "Use a bzImage or an ELF vmlinux");
		}
		if (bytes.length < HEADER_SIZE) {
			throw new ImageError(
				"truncated",
				file,
				"it ends inside its ELF header",
				"The file is incomplete: fetch or copy it again",
			);
		}
		this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		this.checkIdentity();
		this.entry = this.i64(24);
		this.segments = this.readSegments(this.offset(32), this.view.getUint16(54, true), this.view.getUint16(56, true));
		this.sections = this.readSections(
			this.offset(40),
			this.view.getUint16(58, true),
			this.view.getUint16(60, true),
			this.view.getUint16(62, true),
		);
	}

	private checkIdentity(): void {
		const machine = this.view.getUint16(18, this.bytes[5] === LITTLE_ENDIAN);
		if (this.bytes[4] !== CLASS_64 || this.bytes[5] !== LITTLE_ENDIAN || machine !== EM_X86_64) {
			throw wrongArchitecture(this.file, MACHINES[machine] ?? `the unknown machine ${machine}`);
		}
		const type = this.view.getUint16(16, true);
		if (type !== ET_EXEC && type !== ET_DYN) {
			throw new ImageError(
				"not-a-kernel",
				this.file,
				"it is an ELF file but no executable one",
				"Use the kernel itself (vmlinuz or vmlinux), not an object or a module",
			);
		}
	}

	/** An ImageError for a file whose structures contradict each other. */
	malformed(what: string): ImageError {
		return new ImageError(
			"malformed",
			this.file,
			`its ELF structures are damaged: ${what}`,
			"Fetch or copy the file again, and compare its checksum",
		);
	}

	private i64(at: number): number {
		return this.view.getInt32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
	}

	/** A file offset, a size or a physical address: must be a number that can be calculated with. */
	private offset(at: number): number {
		const value = this.view.getUint32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
		if (value > 2 ** 52) throw this.malformed("an offset beyond 2^52");
		return value;
	}

	private checkRange(offset: number, size: number, what: string): void {
		if (offset + size > this.bytes.length) {
			throw new ImageError(
				"truncated",
				this.file,
				`it ends inside ${what}`,
				"The file is incomplete: fetch or copy it again",
			);
		}
	}

	private readSegments(offset: number, entrySize: number, count: number): ElfSegment[] {
		if (count === 0) return [];
		if (entrySize < PROGRAM_HEADER_SIZE) throw this.malformed("the size of a program header");
		this.checkRange(offset, count * entrySize, "its program headers");
		return Array.from({ length: count }, (_, i) => {
			const at = offset + i * entrySize;
			const segment: ElfSegment = {
				type: this.view.getUint32(at, true),
				flags: this.view.getUint32(at + 4, true),
				offset: this.offset(at + 8),
				virtualAddress: this.i64(at + 16),
				physicalAddress: this.i64(at + 24),
				fileSize: this.offset(at + 32),
				memorySize: this.offset(at + 40),
			};
			if (segment.type === PT_LOAD || segment.type === PT_NOTE) {
				this.checkRange(segment.offset, segment.fileSize, `segment ${i}`);
				if (segment.type === PT_LOAD && segment.memorySize < segment.fileSize) {
					throw this.malformed(`segment ${i} has more contents than memory`);
				}
			}
			return segment;
		});
	}

	private readSections(offset: number, entrySize: number, count: number, namesIndex: number): ElfSection[] {
		if (count === 0) return [];
		if (entrySize < SECTION_HEADER_SIZE) throw this.malformed("the size of a section header");
		this.checkRange(offset, count * entrySize, "its section headers");
		const names = namesIndex < count ? this.sectionRange(offset + namesIndex * entrySize) : undefined;
		return Array.from({ length: count }, (_, i) => {
			const at = offset + i * entrySize;
			const nameOffset = this.view.getUint32(at, true);
			return {
				name: names === undefined ? "" : cString(names, Math.min(nameOffset, names.length)),
				type: this.view.getUint32(at + 4, true),
				flags: this.view.getUint32(at + 8, true),
				address: this.i64(at + 16),
				offset: this.offset(at + 24),
				size: this.offset(at + 32),
				link: this.view.getUint32(at + 40, true),
			};
		});
	}

	private sectionRange(header: number): Uint8Array {
		const offset = this.offset(header + 24);
		const size = this.offset(header + 32);
		this.checkRange(offset, size, "its table of section names");
		return this.bytes.subarray(offset, offset + size);
	}

	section(name: string): ElfSection | undefined {
		return this.sections.find((section) => section.name === name);
	}

	/** A section's bytes; empty where it has none in the file. Throws an ImageError where they are cut off. */
	contents(section: ElfSection): Uint8Array {
		if (section.type === SHT_NOBITS) return new Uint8Array(0);
		this.checkRange(section.offset, section.size, `section ${section.name}`);
		return this.bytes.subarray(section.offset, section.offset + section.size);
	}

	/** Notes of the PT_NOTE segments, or of the SHT_NOTE sections where there are no such segments, as libelf looks for them. */
	notes(): ElfNote[] {
		const segments = this.segments.filter(({ type }) => type === PT_NOTE);
		const areas =
			segments.length > 0
				? segments.map(({ offset, fileSize }) => this.bytes.subarray(offset, offset + fileSize))
				: this.sections.filter(({ type }) => type === SHT_NOTE).map((section) => this.contents(section));
		const notes: ElfNote[] = [];
		for (const area of areas) this.readNotes(area, notes);
		return notes;
	}

	private readNotes(area: Uint8Array, notes: ElfNote[]): void {
		const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
		let at = 0;
		while (at + 12 <= area.length) {
			const nameSize = view.getUint32(at, true);
			const dataSize = view.getUint32(at + 4, true);
			const nameAt = at + 12;
			const dataAt = nameAt + Math.ceil(nameSize / 4) * 4;
			if (dataAt + dataSize > area.length || notes.length >= MAX_NOTES) throw this.malformed("a note");
			notes.push({
				owner: cString(area, nameAt, nameAt + nameSize),
				type: view.getUint32(at + 8, true),
				data: area.subarray(dataAt, dataAt + dataSize),
			});
			at = dataAt + Math.ceil(dataSize / 4) * 4;
		}
	}

	/** The symbols of .symtab that have a name and an address; none in a distribution's kernel. */
	symbols(): ElfSymbol[] {
		const table = this.sections.find(({ type }) => type === SHT_SYMTAB);
		const strings = table && this.sections[table.link];
		if (table === undefined || strings === undefined) return [];
		const entries = this.contents(table);
		const names = this.contents(strings);
		const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
		const symbols: ElfSymbol[] = [];
		for (let at = 0; at + SYMBOL_SIZE <= entries.length; at += SYMBOL_SIZE) {
			const nameOffset = view.getUint32(at, true);
			const definedIn = view.getUint16(at + 6, true);
			if (nameOffset === 0 || nameOffset >= names.length || definedIn === 0) continue;
			symbols.push({
				name: cString(names, nameOffset),
				type: view.getUint8(at + 4) & 15,
				address: view.getInt32(at + 12, true) * 2 ** 32 + view.getUint32(at + 8, true),
				size: view.getUint32(at + 20, true) * 2 ** 32 + view.getUint32(at + 16, true),
			});
		}
		return symbols;
	}

	/**
	 * The bytes at a virtual address, as far as the file has them; undefined outside every loaded segment.
	 * @param count the most bytes to return
	 */
	at(virtualAddress: number, count: number): Uint8Array | undefined {
		for (const { type, offset, virtualAddress: start, fileSize } of this.segments) {
			if (type !== PT_LOAD || virtualAddress < start || virtualAddress >= start + fileSize) continue;
			const from = offset + virtualAddress - start;
			return this.bytes.subarray(from, Math.min(from + count, offset + fileSize));
		}
		return undefined;
	}
}
