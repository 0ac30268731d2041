/**
 * The page tables that a PV domain starts with: which tables a mapping needs, in which of the domain's frames they lie, and
 * their contents. Like libxenguest's: a table for each region touched, top level first, all tables mapped read-only.
 *
 *   virtual address   47..39   38..30   29..21   20..12   11..0
 *   index in table      L4       L3       L2       L1     offset
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";

const ENTRIES = 512;
const PRESENT = 1 << 0;
const WRITABLE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;

/**
 * Flags of entries that map pages, and of those that name tables. A PV kernel's pages carry no USER: the hypervisor adds it when
 * it validates the table, because the kernel runs in ring 3.
 */
const PAGE_FLAGS = PRESENT | WRITABLE | ACCESSED;
const TABLE_FLAGS = PRESENT | WRITABLE | ACCESSED | DIRTY | USER;

/** Bytes of virtual address space that a table of a level (1-4) covers, and that one of its entries does. */
const COVERS = [0, 2 ** 21, 2 ** 30, 2 ** 39, 2 ** 48];
const ENTRY_COVERS = [0, PAGE_SIZE, 2 ** 21, 2 ** 30, 2 ** 39];

export interface Table {
	/** 4 is the top. */
	readonly level: number;
	/** Address of the first byte it covers; that of the one L4 table is not used. */
	readonly start: number;
}

function firstCovered(level: number, address: number): number {
	return level === 4 ? 0 : Math.floor(address / COVERS[level]!) * COVERS[level]!;
}

/** The set of a domain's tables, as mappings are added. */
export class TableSet {
	readonly tables: (Table & { readonly pfn: number })[] = [];
	private readonly pfns = [1, 2, 3, 4].map(() => new Map<number, number>());
	private readonly readOnly = new Set<number>();

	/** The tables that [from, to) needs and that are not there yet, from the top down. Addresses are signed. */
	missing(from: number, to: number): Table[] {
		const missing: Table[] = [];
		for (let level = 4; level >= 1; level--) {
			const last = firstCovered(level, to - 1);
			for (let start = firstCovered(level, from); start <= last; start += COVERS[level]!) {
				if (this.pfn(level, start) === undefined) missing.push({ level, start });
			}
		}
		return missing;
	}

	/** Gives frames to tables, one after the other from `pfn` on. */
	place(tables: readonly Table[], pfn: number): void {
		for (const { level, start } of tables) {
			this.tables.push({ level, start, pfn });
			this.pfns[level - 1]!.set(start, pfn);
			this.readOnly.add(pfn);
			pfn++;
		}
	}

	/**
	 * Writes the entries that map [from, from + pages) to the frames from `pfn` on, and those that link the tables.
	 * All tables have been placed before, so that each is mapped read-only wherever it is mapped.
	 */
	map(memory: Memory, p2m: Uint32Array, from: number, pages: number, pfn: number): void {
		const to = from + pages * PAGE_SIZE;
		for (let level = 4; level >= 2; level--) {
			const step = ENTRY_COVERS[level]!;
			for (let start = firstCovered(level - 1, from); start < to; start += step) {
				const entry = this.entry(memory, p2m, level, start);
				const target = this.pfn(level - 1, start)!;
				memory.setU64(entry, p2m[target]! * PAGE_SIZE + TABLE_FLAGS);
			}
		}
		for (let i = 0; i < pages; i++) {
			const flags = this.readOnly.has(pfn + i) ? PAGE_FLAGS & ~WRITABLE : PAGE_FLAGS;
			memory.setU64(this.entry(memory, p2m, 1, from + i * PAGE_SIZE), p2m[pfn + i]! * PAGE_SIZE + flags);
		}
	}

	private pfn(level: number, start: number): number | undefined {
		return this.pfns[level - 1]!.get(start);
	}

	/** Linear address of the entry of `level` that translates a virtual address. */
	private entry(memory: Memory, p2m: Uint32Array, level: number, address: number): number {
		const table = this.pfn(level, firstCovered(level, address))!;
		const index = (((Math.floor(address / ENTRY_COVERS[level]!) % ENTRIES) + ENTRIES) % ENTRIES) * 8;
		return memory.frame(p2m[table]!) + index;
	}
}
