/**
 * Core dumps for gdb: an ELF core of the guest's kernel, with a segment for each stretch of its virtual address space that vCPU 0's page
 * tables map, and the registers of each vCPU as a thread's. The pages are in the file once, in pseudo-physical order, so that a segment is a
 * stretch in which virtual and pseudo-physical pages follow each other.
 */

import { ElfType, elfHeader, joined, note, programHeader, type Segment, SegmentType } from "../formats/elf-file.ts";
import { PAGE_SIZE } from "../memory/map.ts";
import { vcpuGuestContext } from "../xen/abi/vcpu-context.ts";
import type { Domain } from "../xen/domain.ts";
import { ENTRIES, FIRST_XEN_SLOT, LAST_XEN_SLOT, Pte, pteFrame } from "../xen/mm/pte.ts";
import { type CoreWriter, type PageList, pagesOf, vcpuStates, writePages } from "./core-dump.ts";

/** e_phnum has sixteen bits; the highest number means something else. */
const MOST_SEGMENTS = 65_000;
/** Entries of page tables that are looked at: a guest can let its tables lead to each other for ever. */
const MOST_ENTRIES = 2 ** 23;
/**
 * Places at which the entries of one table are shown. Linux fills holes of its table of machine frames with one table at hundreds of
 * places, whose entries all map one page: each would be a segment, and none would be left for what matters.
 */
const MOST_PLACES = 4;
const NT_PRSTATUS = 1;
/** struct elf_prstatus of x86-64 Linux: its size, and where pr_pid and pr_reg are. */
const PRSTATUS = { size: 336, pid: 32, registers: 112 } as const;
/** Words of struct user_regs_struct by where they are in struct cpu_user_regs: r15 to rdi are the same fifteen. */
const SAME_REGISTERS = 15;
const UserRegister = { origRax: 15, rip: 16, cs: 17, rflags: 18, rsp: 19, ss: 20, fsBase: 21, gsBase: 22 } as const;
const USER_SEGMENTS = { ds: 23, es: 24, fs: 25, gs: 26 } as const;
const CONTEXT_REGISTERS = vcpuGuestContext.offset.userRegs;
/** Offsets in struct cpu_user_regs. */
const From = { rip: 128, cs: 136, rflags: 144, rsp: 152, ss: 160, es: 168, ds: 176, fs: 184, gs: 192 } as const;

interface Stretch {
	address: number;
	/** Its first page's place in the file's pages. */
	page: number;
	count: number;
}

/** @param gone tells that the domain is no more; nothing more is written then */
export async function writeGdbCore(domain: Domain, write: CoreWriter, gone: () => boolean): Promise<void> {
	const pages = pagesOf(domain);
	const stretches = mappedStretches(domain, pages);
	const threads = joined(threadNotes(domain));
	const tables = elfHeader.size + (stretches.length + 1) * programHeader.size;
	const first = Math.ceil((tables + threads.length) / PAGE_SIZE) * PAGE_SIZE;
	const head = new Uint8Array(first);
	elfHeader.write(head, { type: ElfType.core, segments: stretches.length + 1 });
	const segments: readonly Segment[] = [
		{ type: SegmentType.note, offset: tables, address: 0, size: threads.length, align: 4 },
		...stretches.map(({ address, page, count }) => ({
			type: SegmentType.load,
			offset: first + page * PAGE_SIZE,
			address,
			physical: (pages.pfns[page] as number) * PAGE_SIZE,
			size: count * PAGE_SIZE,
			align: PAGE_SIZE,
		})),
	];
	for (const [index, segment] of segments.entries()) {
		programHeader.write(head, elfHeader.size + index * programHeader.size, segment);
	}
	head.set(threads, tables);
	await write(head);
	await writePages(domain, pages, write, gone);
}

/**
 * What the page tables of vCPU 0's kernel map of the domain's own pages. The kernel's half comes first, from its image at the very end down,
 * so that no process can take the segments that there are.
 */
function mappedStretches(domain: Domain, pages: PageList): Stretch[] {
	const { frames } = domain.hypervisor;
	const places = new Map<number, number>();
	for (const [place, mfn] of pages.mfns.entries()) places.set(mfn, place);
	const stretches: Stretch[] = [];
	const visits = new Map<number, number>();
	let looked = 0;
	const visit = (table: number, level: number, base: number): void => {
		const before = visits.get(table) ?? 0;
		if (before === MOST_PLACES) return;
		visits.set(table, before + 1);
		for (let slot = 0; slot < ENTRIES; slot++) entry(table, slot, level, base);
	};
	const entry = (table: number, slot: number, level: number, base: number): void => {
		if (++looked > MOST_ENTRIES || stretches.length >= MOST_SEGMENTS) return;
		const at = frames.entry(table, slot);
		const low = frames.words[at] as number;
		if ((low & Pte.present) === 0) return;
		const mfn = pteFrame(low, frames.words[at + 1] as number);
		const place = places.get(mfn);
		if (place === undefined) return;
		const address = base + slot * PAGE_SIZE * ENTRIES ** (level - 1);
		if (level > 1) visit(mfn, level - 1, address);
		else extend(stretches, address, place);
	};
	const root = domain.vcpus[0]?.kernelRoot ?? 0;
	if (root === 0) return stretches;
	for (let slot = ENTRIES - 1; slot > LAST_XEN_SLOT; slot--) entry(root, slot, 4, -(2 ** 48));
	for (let slot = 0; slot < FIRST_XEN_SLOT; slot++) entry(root, slot, 4, 0);
	return stretches;
}

function extend(stretches: Stretch[], address: number, page: number): void {
	const last = stretches.at(-1);
	const follows =
		last !== undefined && last.address + last.count * PAGE_SIZE === address && last.page + last.count === page;
	if (follows) last.count++;
	else stretches.push({ address, page, count: 1 });
}

/** NT_PRSTATUS of each vCPU; its number, from 1 on, is the thread's. */
function threadNotes(domain: Domain): Uint8Array[] {
	const states = vcpuStates(domain);
	const { size, offset } = vcpuGuestContext;
	return domain.vcpus.map(({ id }) => {
		const from = new DataView(states.buffer, id * size, size);
		const status = new Uint8Array(PRSTATUS.size);
		const view = new DataView(status.buffer);
		view.setUint32(PRSTATUS.pid, id + 1, true);
		const put = (register: number, at: number): void =>
			view.setBigUint64(PRSTATUS.registers + register * 8, from.getBigUint64(at, true), true);
		for (let register = 0; register < SAME_REGISTERS; register++) put(register, CONTEXT_REGISTERS + register * 8);
		put(UserRegister.rip, CONTEXT_REGISTERS + From.rip);
		put(UserRegister.rflags, CONTEXT_REGISTERS + From.rflags);
		put(UserRegister.rsp, CONTEXT_REGISTERS + From.rsp);
		put(UserRegister.fsBase, offset.fsBase);
		put(UserRegister.gsBase, offset.gsBaseKernel);
		view.setBigInt64(PRSTATUS.registers + UserRegister.origRax * 8, -1n, true);
		const selectors = { ...USER_SEGMENTS, cs: UserRegister.cs, ss: UserRegister.ss };
		for (const [name, register] of Object.entries(selectors)) {
			const selector = from.getUint16(CONTEXT_REGISTERS + From[name as keyof typeof selectors], true);
			view.setUint16(PRSTATUS.registers + register * 8, selector, true);
		}
		return note("CORE", NT_PRSTATUS, status);
	});
}
