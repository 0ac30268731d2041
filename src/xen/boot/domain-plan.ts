/**
 * Who lies where in a new domain's pseudo-physical memory: libxenguest's order, calculated before a frame is taken, so that everything
 * that does not fit is found in time. builder.ts draws the resulting picture.
 */

import { ImageError } from "../../formats/errors.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import type { KernelLayout } from "./kernel-layout.ts";
import type { XenParameters } from "./notes.ts";
import { TableSet } from "./page-tables.ts";

const MEBIBYTE = 1024 * 1024;
const MAPPING_ALIGN = 4 * MEBIBYTE;
const PADDING_PAGES = (512 * 1024) / PAGE_SIZE;

export interface PlanRequest {
	readonly kernelFile: string;
	readonly parameters: XenParameters;
	readonly layout: KernelLayout;
	/** Pages of the domain. */
	readonly pages: number;
	/** Bytes, as they will lie in memory. */
	readonly ramdisk: { readonly size: number; readonly file: string } | undefined;
}

/** Places are pfns. */
export interface DomainPlan {
	/** `address` is undefined where the ramdisk is not in the initial mapping. */
	readonly ramdisk: { readonly pfn: number; readonly address: number | undefined } | undefined;
	/** The p2m list, and with `tables` the page tables of its own that follow it. */
	readonly p2mList: { readonly pfn: number; readonly pages: number; readonly tables: number; readonly address: number };
	readonly startInfo: number;
	readonly store: number;
	readonly console: number;
	/** All page tables; the first `mappingTables` map the initial region, and the first of them is the L4. */
	readonly tables: TableSet;
	readonly mappingTables: number;
	readonly stack: number;
	/** The initial mapping: pfn 0 to here, at VIRT_BASE. */
	readonly mappedPages: number;
}

/** Hands out the domain's pfns in order, and knows what to say when they run out. */
class PfnAllocator {
	next = 0;

	constructor(
		private readonly pages: number,
		private readonly kernelFile: string,
		private readonly virtBase: number,
	) {}

	/** Virtual address of the next pfn in the initial mapping. */
	get address(): number {
		return this.virtBase + this.next * PAGE_SIZE;
	}

	/** @returns the first of `count` pfns. Throws an ImageError where the domain has not as many left. */
	take(count: number, error: (needed: number) => ImageError = (needed) => this.tooSmall(needed)): number {
		const first = this.next;
		if (first + count > this.pages) throw error(first + count);
		this.next += count;
		return first;
	}

	tooSmall(needed: number): ImageError {
		return new ImageError(
			"not-enough-memory",
			this.kernelFile,
			`it needs ${toMebibytes(needed)} MiB to start and the domain has ${toMebibytes(this.pages)} MiB`,
			`Give the domain more memory: --memory ${suggestedMemory(needed)}`,
		);
	}
}

export function toMebibytes(pages: number): number {
	return Math.ceil((pages * PAGE_SIZE) / MEBIBYTE);
}

/** What starts needs room to run too: twice as much, rounded to something that one would type. */
function suggestedMemory(pages: number): string {
	return `${Math.max(128, Math.ceil((toMebibytes(pages) * 2) / 64) * 64)}M`;
}

export function pagesOf(size: number): number {
	return Math.ceil(size / PAGE_SIZE);
}

/** Throws an ImageError where the domain has not enough pages. */
export function planDomain(request: PlanRequest): DomainPlan {
	const { parameters, layout, pages } = request;
	const { virtBase, initP2m } = layout;
	const pfns = new PfnAllocator(pages, request.kernelFile, virtBase);
	const placeRamdisk = (mapped: boolean): DomainPlan["ramdisk"] => {
		if (request.ramdisk === undefined || mapped === parameters.modStartPfn) return undefined;
		const { size, file } = request.ramdisk;
		const { address } = pfns;
		const pfn = pfns.take(pagesOf(size), (needed) => ramdiskTooLarge(file, size, pages, needed));
		return { pfn, address: mapped ? address : undefined };
	};
	pfns.take(layout.firstPfn);
	pfns.take(pagesOf(layout.end - layout.start));
	const mappedRamdisk = placeRamdisk(true);
	const p2mPages = pagesOf(pages * 8);
	const mappedP2m = initP2m === undefined && {
		address: pfns.address,
		pfn: pfns.take(p2mPages),
		pages: p2mPages,
		tables: 0,
	};
	const startInfo = pfns.take(1);
	const store = pfns.take(1);
	const console = pfns.take(1);

	const tables = new TableSet();
	const mappedEnd = endOfMapping(tables, virtBase, pfns.address, layout.highest, () => pfns.tooSmall(pages + 1));
	const mappingTables = tables.missing(virtBase, mappedEnd);
	tables.place(mappingTables, pfns.take(mappingTables.length));
	const stack = pfns.take(1);
	const mappedPages = (mappedEnd - virtBase) / PAGE_SIZE;
	pfns.take(mappedPages - pfns.next);

	const ramdisk = mappedRamdisk ?? placeRamdisk(false);
	return {
		ramdisk,
		p2mList: mappedP2m || placeP2mList(pfns, tables, initP2m as number, p2mPages),
		startInfo,
		store,
		console,
		tables,
		mappingTables: mappingTables.length,
		stack,
		mappedPages,
	};
}

/** The list outside the initial mapping, followed by the tables that map it. */
function placeP2mList(pfns: PfnAllocator, tables: TableSet, address: number, pages: number): DomainPlan["p2mList"] {
	const own = tables.missing(address, address + pages * PAGE_SIZE);
	const pfn = pfns.take(pages + own.length);
	tables.place(own, pfn + pages);
	return { address, pfn, pages, tables: own.length };
}

function ramdiskTooLarge(file: string, size: number, pages: number, needed: number): ImageError {
	return new ImageError(
		"ramdisk-too-large",
		file,
		`the ramdisk of ${toMebibytes(pagesOf(size))} MiB (unpacked) does not fit into the domain's ` +
			`${toMebibytes(pages)} MiB beside the kernel`,
		`Use a smaller ramdisk, or give the domain more memory: --memory ${suggestedMemory(needed)}`,
	);
}

/**
 * End of the initial mapping: room for the tables that map it, the stack and the padding, up to a 4 MiB boundary. More room can need
 * more tables, hence the loop; `used` is the end of what lies below the tables.
 */
function endOfMapping(
	tables: TableSet,
	virtBase: number,
	used: number,
	highest: number,
	tooSmall: () => ImageError,
): number {
	let extra = 1 + PADDING_PAGES;
	for (;;) {
		const end = Math.floor((used + extra * PAGE_SIZE) / MAPPING_ALIGN) * MAPPING_ALIGN + MAPPING_ALIGN;
		if (end > highest) throw tooSmall();
		extra = tables.missing(virtBase, end).length + 1 + PADDING_PAGES;
		if (used + extra * PAGE_SIZE <= end) return end;
	}
}
