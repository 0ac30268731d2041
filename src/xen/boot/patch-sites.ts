/**
 * Where a Linux image can be patched for the environment it finds itself in: the calls through pv_ops. Until 6.7 they are listed
 * in .parainstructions; since then they are alternatives, entries of .altinstructions that are always applied and replace a call.
 */
import type { ElfFile, ElfSection } from "../../formats/elf.ts";
import { findLayout } from "./pv-operations.ts";

/** struct paravirt_patch_site: instruction (u64), operation (u8), length (u8), aligned to 8. */
const PARAVIRT_SITE_SIZE = 16;

/** X86_FEATURE_ALWAYS and X86_FEATURE_XENPV, the same in all releases with alternatives of these forms. */
const FEATURE_ALWAYS = 3 * 32 + 21;
const FEATURE_XENPV = 8 * 32 + 16;

/** struct alt_instr has two forms. Offsets of two i32 come first in both: instruction and replacement, relative to themselves. */
interface AlternativeForm {
	readonly size: number;
	/** Feature, "apply where the feature is absent", "replacement of a call through a pointer". */
	read(view: DataView, at: number): { feature: number; inverted: boolean; directCall: boolean };
	/** Where the length of the instruction and that of the replacement are. */
	readonly lengths: number;
}
const ALTERNATIVE_FORMS: readonly AlternativeForm[] = [
	{
		// Linux 6.3 and later: the flags have a half-word of their own.
		size: 14,
		lengths: 12,
		read: (view, at) => {
			const flags = view.getUint16(at + 10, true);
			return {
				feature: view.getUint16(at + 8, true),
				inverted: (flags & 1) !== 0,
				directCall: (flags & 2) !== 0,
			};
		},
	},
	{
		size: 12,
		lengths: 10,
		read: (view, at) => {
			const word = view.getUint16(at + 8, true);
			return { feature: word & 0x7fff, inverted: (word & 0x8000) !== 0, directCall: false };
		},
	},
];

/** call *disp32(%rip) */
const INDIRECT_CALL = [0xff, 0x15];
const INDIRECT_CALL_SIZE = 6;

export interface OperationCount {
	/** "mmu.set_pte", or "pv_ops[12]" where the layout is not known. */
	readonly name: string;
	readonly count: number;
}

export interface PatchSites {
	readonly source: ".parainstructions" | ".altinstructions";
	/** Which release's order of operations the names come from; undefined where none fits. */
	readonly layout: string | undefined;
	readonly total: number;
	/** Most frequent first. */
	readonly operations: readonly OperationCount[];
	/** Alternatives that put the native instruction in place wherever the kernel is not a Xen PV guest. */
	readonly nativeReplacements: number;
}

function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The form of which all of the first entries make sense. */
function alternativeForm(elf: ElfFile, section: ElfSection, bytes: Uint8Array): AlternativeForm | undefined {
	const view = viewOf(bytes);
	const samples = 32;
	return ALTERNATIVE_FORMS.find(({ size, lengths }) => {
		if (bytes.length < size || bytes.length % size !== 0) return false;
		for (let at = 0; at < Math.min(bytes.length, samples * size); at += size) {
			const length = view.getUint8(at + lengths);
			const instruction = elf.at(section.address + at + view.getInt32(at, true), length);
			if (length === 0 || view.getUint8(at + lengths + 1) > length || instruction?.length !== length) return false;
		}
		return true;
	});
}

interface Alternatives {
	readonly nativeReplacements: number;
	/** Address of the pointer that each replaced indirect call calls through, with how many do. */
	readonly pointers: ReadonlyMap<number, number>;
}

function readAlternatives(elf: ElfFile): Alternatives | undefined {
	const section = elf.section(".altinstructions");
	if (section === undefined) return undefined;
	const bytes = elf.contents(section);
	const form = alternativeForm(elf, section, bytes);
	if (form === undefined) return undefined;
	const view = viewOf(bytes);
	const pointers = new Map<number, number>();
	let nativeReplacements = 0;
	for (let at = 0; at + form.size <= bytes.length; at += form.size) {
		const { feature, inverted, directCall } = form.read(view, at);
		if (feature === FEATURE_XENPV && inverted) nativeReplacements++;
		if (feature !== FEATURE_ALWAYS || !directCall) continue;
		const address = section.address + at + view.getInt32(at, true);
		const instruction = elf.at(address, INDIRECT_CALL_SIZE);
		if (instruction === undefined || instruction.length < INDIRECT_CALL_SIZE) continue;
		if (INDIRECT_CALL.some((byte, i) => instruction[i] !== byte)) continue;
		const pointer = address + INDIRECT_CALL_SIZE + viewOf(instruction).getInt32(2, true);
		pointers.set(pointer, (pointers.get(pointer) ?? 0) + 1);
	}
	return { nativeReplacements, pointers };
}

/** Names operations by number. */
function nameOperations(counts: ReadonlyMap<number, number>): Pick<PatchSites, "layout" | "operations" | "total"> {
	const layout = findLayout([...counts.keys()]);
	const operations = [...counts]
		.map(([number, count]) => ({ name: layout?.nameOf(number) ?? `pv_ops[${number}]`, count }))
		.sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1));
	return { layout: layout?.name, operations, total: operations.reduce((sum, { count }) => sum + count, 0) };
}

/** The patch sites of an image, or undefined where it carries none. Throws an ImageError where its sections are cut off. */
export function findPatchSites(elf: ElfFile): PatchSites | undefined {
	const alternatives = readAlternatives(elf);
	const nativeReplacements = alternatives?.nativeReplacements ?? 0;
	const section = elf.section(".parainstructions");
	if (section !== undefined) {
		const view = viewOf(elf.contents(section));
		const counts = new Map<number, number>();
		for (let at = 0; at + PARAVIRT_SITE_SIZE <= view.byteLength; at += PARAVIRT_SITE_SIZE) {
			const operation = view.getUint8(at + 8);
			counts.set(operation, (counts.get(operation) ?? 0) + 1);
		}
		if (counts.size > 0) return { source: ".parainstructions", nativeReplacements, ...nameOperations(counts) };
	}
	if (alternatives === undefined || alternatives.pointers.size === 0) return undefined;
	// pv_ops starts with an operation that is always used, so its address is the lowest pointer.
	const base = Math.min(...alternatives.pointers.keys());
	const counts = new Map([...alternatives.pointers].map(([pointer, count]) => [(pointer - base) / 8, count]));
	return { source: ".altinstructions", nativeReplacements, ...nameOperations(counts) };
}
