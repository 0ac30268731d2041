/**
 * Accesses of a region that go to one page share one look-up of the TLB. An address is known as another value plus a constant (Relative in
 * wasm/expression.ts): what a frame's registers are pushed to, what is read of one structure. The first access of a block looks its page up; those that
 * follow it in the block *widen* that look-up, whose constants are changed where they stand in the code already:
 *
 *   push rbx     page of [rsp-8 ... rsp-1]     becomes     page of [rsp-24 ... rsp-1]
 *   push rbp     widens it: a store, no more
 *   push r12     the same
 *
 * Where the whole does not lie in one page that may be accessed so, the region is left before the first of them; the interpreter does them one by one.
 * Behind its block a look-up is as wide as it is.
 */

import {
	type I32,
	type I64,
	type Local,
	type PatchListener,
	patchableConstant,
	patchableLoad,
	type Relative,
} from "../../wasm/expression.ts";
import * as layout from "../layout.ts";

/** Bytes that one look-up may be for: of those that lie across two pages, the interpreter does each access. */
const WIDEST = 128;

/** A look-up: TLB entry of `address` + low, whose tag must be the page of that + length. */
export class Lookup {
	/** Change the lowest address's distance from the first access, the highest one's from the lowest, and the tag's place. */
	private readonly changes: ((value: number) => void)[] = [];
	private readonly note: PatchListener = (code, position) => {
		this.changes.push((value) => code.patch(position, value));
	};

	/** @param tlb linear address of the TLB */
	constructor(private readonly tlb: number) {}

	/** The lowest address's distance from the first access, then the highest one's from the lowest: to be emitted in this order, once each. */
	distance(value: number): I64 {
		return patchableConstant(value, this.note);
	}

	/** Loads the tag; to be emitted last. */
	tag(slot: I32, tag: number): I64 {
		return patchableLoad(slot, this.tlb + tag, this.note);
	}

	change(low: number, length: number, writable: boolean): void {
		const values = [low, length, this.tlb + (writable ? layout.TLB_WRITE : layout.TLB_READ)];
		for (const [index, change] of this.changes.entries()) change(values[index]!);
	}
}

/** What a look-up has found, as long as nothing has called what might change the TLB. */
export interface KnownPage {
	/** What its addresses are relative to, and by how much the first access's was. */
	readonly to: object;
	readonly first: number;
	/** Linear address of the first access. */
	readonly linear: Local<"i32">;
	/** The bytes that were looked up, from `low` to before `high`, relative to the same. */
	low: number;
	high: number;
	writable: boolean;
	/** Undefined once it can no longer be changed. */
	readonly lookup: Lookup | undefined;
}

/**
 * The page that an access is known to go to; undefined if none is.
 * @param always control comes here whenever it comes to the block's look-ups: they may be widened
 */
export function knownPage(
	pages: readonly KnownPage[],
	{ to, by }: Relative,
	bytes: number,
	write: boolean,
	always: boolean,
): KnownPage | undefined {
	for (const page of pages) {
		if (page.to !== to) continue;
		const low = Math.min(page.low, by);
		const high = Math.max(page.high, by + bytes);
		if (low === page.low && high === page.high && (page.writable || !write)) return page;
		if (page.lookup === undefined || !always || high - low > WIDEST) continue;
		page.low = low;
		page.high = high;
		page.writable ||= write;
		page.lookup.change(low - page.first, high - 1 - low, page.writable);
		return page;
	}
	return undefined;
}

/** The same pages behind their block. */
export function closed(pages: readonly KnownPage[]): KnownPage[] {
	return pages.map(({ to, first, linear, low, high, writable }) => {
		return { to, first, linear, low, high, writable, lookup: undefined };
	});
}

/** Whether both, behind their blocks, are of one look-up. */
export function isSame(one: KnownPage, other: KnownPage): boolean {
	return (
		one.linear === other.linear &&
		one.to === other.to &&
		one.first === other.first &&
		one.low === other.low &&
		one.high === other.high &&
		one.writable === other.writable
	);
}
