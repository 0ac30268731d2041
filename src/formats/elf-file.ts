/** What core dumps need of the ELF-64 format (System V ABI): headers of file, segments and sections, and notes. */

export const ElfType = { core: 4 } as const;
export const SectionType = { progbits: 1, strtab: 3, note: 7 } as const;
export const SegmentType = { load: 1, note: 4 } as const;
const MACHINE_X86_64 = 62;

export interface ElfSection {
	readonly name: string;
	readonly type: number;
	/** Contents, or their length where they are written later. */
	readonly data: Uint8Array | number;
	readonly align?: number;
	readonly entrySize?: number;
}

export interface FileHeader {
	readonly type: number;
	/** Number of section headers, which lie behind the program headers, and which of them has the names. */
	readonly sections?: number;
	readonly sectionNames?: number;
	/** Number of program headers, which lie behind the file's. */
	readonly segments?: number;
}

export const elfHeader = {
	size: 64,
	write(file: Uint8Array, { type, sections = 0, sectionNames = 0, segments = 0 }: FileHeader): void {
		const view = new DataView(file.buffer, file.byteOffset);
		// ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV
		file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0], 0);
		view.setUint16(16, type, true);
		view.setUint16(18, MACHINE_X86_64, true);
		view.setUint32(20, 1, true);
		setU64(view, 32, segments === 0 ? 0 : this.size);
		setU64(view, 40, sections === 0 ? 0 : this.size + segments * programHeader.size);
		view.setUint16(52, this.size, true);
		view.setUint16(54, programHeader.size, true);
		view.setUint16(56, segments, true);
		view.setUint16(58, sectionHeader.size, true);
		view.setUint16(60, sections, true);
		view.setUint16(62, sectionNames, true);
	},
} as const;

export const sectionHeader = {
	size: 64,
	/** @param section with the offsets of its name in the table of names, and of its data in the file */
	write(
		file: Uint8Array,
		at: number,
		section: Omit<ElfSection, "name"> & { readonly name: number; readonly offset: number },
	): void {
		const view = new DataView(file.buffer, file.byteOffset + at);
		view.setUint32(0, section.name, true);
		view.setUint32(4, section.type, true);
		setU64(view, 24, section.offset);
		setU64(view, 32, typeof section.data === "number" ? section.data : section.data.length);
		setU64(view, 48, section.align ?? 8);
		setU64(view, 56, section.entrySize ?? 0);
	},
} as const;

export interface Segment {
	readonly type: number;
	readonly offset: number;
	/** Signed, as virtual addresses are. */
	readonly address: number;
	readonly physical?: number;
	readonly size: number;
	readonly align: number;
}

export const programHeader = {
	size: 56,
	write(file: Uint8Array, at: number, segment: Segment): void {
		const view = new DataView(file.buffer, file.byteOffset + at);
		view.setUint32(0, segment.type, true);
		// PF_R, PF_W, PF_X
		view.setUint32(4, segment.type === SegmentType.load ? 7 : 0, true);
		setU64(view, 8, segment.offset);
		setU64(view, 16, segment.address);
		setU64(view, 24, segment.physical ?? 0);
		setU64(view, 32, segment.size);
		setU64(view, 40, segment.type === SegmentType.load ? segment.size : 0);
		setU64(view, 48, segment.align);
	},
} as const;

/** A note: its name is padded with zeros to a multiple of four bytes, its description too. */
export function note(name: string, type: number, description: Uint8Array): Uint8Array {
	const nameSize = name.length + 1;
	const nameEnd = 12 + Math.ceil(nameSize / 4) * 4;
	const bytes = new Uint8Array(nameEnd + Math.ceil(description.length / 4) * 4);
	const view = new DataView(bytes.buffer);
	view.setUint32(0, nameSize, true);
	view.setUint32(4, description.length, true);
	view.setUint32(8, type, true);
	bytes.set(new TextEncoder().encode(name), 12);
	bytes.set(description, nameEnd);
	return bytes;
}

/** One behind the other. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
	const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
	let at = 0;
	for (const piece of pieces) {
		whole.set(piece, at);
		at += piece.length;
	}
	return whole;
}

function setU64(view: DataView, at: number, value: number): void {
	const high = Math.floor(value / 2 ** 32);
	view.setUint32(at, value - high * 2 ** 32, true);
	view.setInt32(at + 4, high | 0, true);
}
