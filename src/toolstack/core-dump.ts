/**
 * Core dumps in Xen's format (docs/misc/dump-core-format.txt), as `xl dump-core` writes them and `crash` reads them: an ELF file without
 * program headers whose sections are the vCPUs' states, shared_info, the list of pages and the pages. Relies on the frame table and the
 * M2P for which pages there are; what the guest claims in its own tables is not asked.
 */

import { type ElfSection, ElfType, elfHeader, joined, note, SectionType, sectionHeader } from "../formats/elf-file.ts";
import { PAGE_SIZE } from "../memory/map.ts";
import { vcpuGuestContext } from "../xen/abi/vcpu-context.ts";
import type { Domain } from "../xen/domain.ts";
import { XEN_VERSION } from "../xen/hypercalls/version.ts";
import { getVcpuContext } from "../xen/pv/vcpu-context.ts";
import { SCRATCH_LIST } from "../xen/scratch.ts";

/** Gets the pieces of a file, in order. */
export type CoreWriter = (piece: Uint8Array) => void | Promise<void>;

/** XEN_ELFNOTE_DUMPCORE_* */
const Note = { none: 0x2000000, header: 0x2000001, xenVersion: 0x2000002, formatVersion: 0x2000003 } as const;
/** XC_CORE_MAGIC: of a paravirtualised domain. */
const MAGIC = 0xf00febed;
/** Major 0 in the upper half, minor 1. */
const FORMAT_VERSION = 1;
const P2M_ENTRY = 16;
/** Pages that are copied at a time. */
const PAGES_AT_ONCE = 256;
/** Pseudo-physical frame numbers from here on are none, whatever the guest has put into the M2P. */
const PFN_LIMIT = 2 ** 40;

/** Pages of a domain, by the number that it knows them under. */
export interface PageList {
	readonly pfns: Float64Array;
	readonly mfns: Uint32Array;
}

/** The pages that a domain owns and that have a place in its memory, in their order there. */
export function pagesOf(domain: Domain): PageList {
	const { frames } = domain.hypervisor;
	const found: { pfn: number; mfn: number }[] = [];
	frames.forEachOwned(domain.id, (mfn) => {
		const pfn = frames.m2p(mfn);
		if (pfn >= 0 && pfn < PFN_LIMIT) found.push({ pfn, mfn });
	});
	found.sort((a, b) => a.pfn - b.pfn);
	return {
		pfns: Float64Array.from(found, ({ pfn }) => pfn),
		mfns: Uint32Array.from(found, ({ mfn }) => mfn),
	};
}

/** The states of a domain's vCPUs, one behind the other: vcpu_guest_context_t. */
export function vcpuStates(domain: Domain): Uint8Array {
	const { memory } = domain.hypervisor;
	const { size } = vcpuGuestContext;
	const states = new Uint8Array(size * domain.vcpus.length);
	for (const vcpu of domain.vcpus) {
		getVcpuContext(vcpu, SCRATCH_LIST);
		states.set(memory.bytes.subarray(SCRATCH_LIST, SCRATCH_LIST + size), vcpu.id * size);
	}
	return states;
}

/** @param gone tells that the domain is no more; nothing more is written then */
export async function writeCore(domain: Domain, write: CoreWriter, gone: () => boolean): Promise<void> {
	const { memory } = domain.hypervisor;
	const pages = pagesOf(domain);
	const count = pages.mfns.length;
	const sections: readonly ElfSection[] = [
		{ name: ".note.Xen", type: SectionType.note, data: notes(domain, count), align: 4 },
		{ name: ".xen_prstatus", type: SectionType.progbits, data: vcpuStates(domain), entrySize: vcpuGuestContext.size },
		{
			name: ".xen_shared_info",
			type: SectionType.progbits,
			data: memory.bytes.slice(domain.sharedInfo, domain.sharedInfo + PAGE_SIZE),
			entrySize: PAGE_SIZE,
		},
		{ name: ".xen_p2m", type: SectionType.progbits, data: p2mList(pages), entrySize: P2M_ENTRY },
		// Last, where it can be of any length.
		{
			name: ".xen_pages",
			type: SectionType.progbits,
			data: count * PAGE_SIZE,
			entrySize: PAGE_SIZE,
			align: PAGE_SIZE,
		},
	];
	await write(fileHead(sections));
	await writePages(domain, pages, write, gone);
}

/** Writes the contents of pages; of one that is not the domain's any more, zeros. */
export async function writePages(
	domain: Domain,
	pages: PageList,
	write: CoreWriter,
	gone: () => boolean,
): Promise<void> {
	const { memory, frames } = domain.hypervisor;
	const count = pages.mfns.length;
	for (let first = 0; first < count && !gone(); first += PAGES_AT_ONCE) {
		const mfns = pages.mfns.subarray(first, first + PAGES_AT_ONCE);
		const piece = new Uint8Array(mfns.length * PAGE_SIZE);
		for (const [index, mfn] of mfns.entries()) {
			if (frames.owner(mfn) !== domain.id) continue;
			const from = memory.frame(mfn);
			piece.set(memory.bytes.subarray(from, from + PAGE_SIZE), index * PAGE_SIZE);
		}
		await write(piece);
	}
}

/** Everything before the last section, whose data is only a length. */
function fileHead(sections: readonly ElfSection[]): Uint8Array {
	const names = ["", ".shstrtab", ...sections.map(({ name }) => name)];
	const strings = new TextEncoder().encode(names.map((name) => `${name}\0`).join(""));
	const all: readonly ElfSection[] = [{ name: ".shstrtab", type: SectionType.strtab, data: strings }, ...sections];
	let end = elfHeader.size + sectionHeader.size * (all.length + 1);
	const offsets = all.map(({ data, align = 8 }) => {
		const offset = Math.ceil(end / align) * align;
		end = offset + (typeof data === "number" ? 0 : data.length);
		return offset;
	});
	const head = new Uint8Array(offsets.at(-1) as number);
	elfHeader.write(head, { type: ElfType.core, sections: all.length + 1, sectionNames: 1 });
	let name = 1;
	for (const [index, section] of all.entries()) {
		const offset = offsets[index] as number;
		sectionHeader.write(head, elfHeader.size + sectionHeader.size * (index + 1), { ...section, name, offset });
		name += section.name.length + 1;
		if (typeof section.data !== "number") head.set(section.data, offset);
	}
	return head;
}

function p2mList({ pfns, mfns }: PageList): Uint8Array {
	const list = new Uint8Array(pfns.length * P2M_ENTRY);
	const view = new DataView(list.buffer);
	for (const [index, mfn] of mfns.entries()) {
		setU64(view, index * P2M_ENTRY, pfns[index] as number);
		setU64(view, index * P2M_ENTRY + 8, mfn);
	}
	return list;
}

function notes(domain: Domain, pages: number): Uint8Array {
	const all = [
		note("Xen", Note.none, new Uint8Array(0)),
		note("Xen", Note.header, words(MAGIC, domain.vcpus.length, pages, PAGE_SIZE)),
		note("Xen", Note.xenVersion, xenVersion()),
		note("Xen", Note.formatVersion, words(FORMAT_VERSION)),
	];
	return joined(all);
}

/** struct xen_dumpcore_elfnote_xen_version_desc: sizes of its fields, and what is in them. */
function xenVersion(): Uint8Array {
	const start = Number.parseInt(XEN_VERSION.virtStart.slice(0, 8), 16) * 2 ** 32;
	const fields: readonly (readonly [size: number, value: string | number])[] = [
		[8, XEN_VERSION.major],
		[8, XEN_VERSION.minor],
		[16, XEN_VERSION.extra],
		[64, XEN_VERSION.compiler],
		[16, XEN_VERSION.compileBy],
		[32, ""],
		[32, ""],
		[1024, XEN_VERSION.capabilities],
		[64, XEN_VERSION.changeset],
		[8, start],
		[8, PAGE_SIZE],
	];
	const description = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0));
	const view = new DataView(description.buffer);
	let at = 0;
	for (const [size, value] of fields) {
		if (typeof value === "number") setU64(view, at, value);
		else description.set(new TextEncoder().encode(value), at);
		at += size;
	}
	return description;
}

function words(...values: readonly number[]): Uint8Array {
	const bytes = new Uint8Array(values.length * 8);
	const view = new DataView(bytes.buffer);
	for (const [index, value] of values.entries()) setU64(view, index * 8, value);
	return bytes;
}

function setU64(view: DataView, at: number, value: number): void {
	view.setUint32(at, value % 2 ** 32, true);
	view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
