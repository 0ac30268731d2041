/**
 * The fast path of an access, emitted wherever memory is touched: one compare against the TLB. The tag is compared with the page of the
 * access's *last* byte, so an access that crosses a page misses by itself.
 *
 * The entry is found by multiplicative hashing of the page's number (its low 32 bits): neighbouring pages have entries of their own, and neither arrays a
 * power of two apart nor the areas of a kernel, which all begin at the same low bits, drive each other out (Linux reads Xen's M2P and its own P2M in turn,
 * with each page-table entry).
 */

import { type I32, type I64, i32, i64, type Local } from "../../wasm/expression.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { TLB_ADDEND, TLB_ENTRIES, TLB_ENTRY_SIZE, type TLB_READ, type TLB_WRITE } from "../layout.ts";

/** 2^32 divided by the golden ratio, to the next odd number (Knuth, The Art of Computer Programming, 6.4). */
const MULTIPLIER = 0x9e37_79b1 | 0;
/** The product's highest bits, as an offset. */
const SHIFT = 32 - Math.log2(TLB_ENTRIES * TLB_ENTRY_SIZE);
const MASK = (TLB_ENTRIES - 1) * TLB_ENTRY_SIZE;

/** Offset of an address's entry in its TLB, from the halves of the address. {@link tlbEntry} emits the same. */
export function tlbEntryOffset(low: number, high: number): number {
	return (Math.imul((low >>> 12) | (high << 20), MULTIPLIER) >>> SHIFT) & MASK;
}

/** Offset of the TLB entry of a virtual address within its TLB. */
export function tlbSlot(address: I64): I32 {
	const page = i32.wrap(i64.shr_u(address, i64.const(12)));
	const product = i32.mul(page, i32.const(MULTIPLIER));
	return i32.and(i32.shr_u(product, i32.const(SHIFT)), i32.const(MASK));
}

/** Linear address of the TLB entry of a virtual address. */
export function tlbEntry(tlb: I32, address: I64): I32 {
	return i32.add(tlb, tlbSlot(address));
}

/** Whether `bytes` bytes at `address` are covered by the entry, for the access whose tag is at `tag`. */
export function tlbHit(entry: I32, tag: number, address: I64, bytes: number): I32 {
	return i64.eq(i64.load(entry, tag), i64.and(i64.add(address, i64.const(bytes - 1)), i64.const(-4096)));
}

export function tlbLinear(entry: I32, address: I64): I32 {
	return i32.add(i32.wrap(address), i32.load(entry, TLB_ADDEND));
}

/**
 * Sets `linear` to the linear address of an access: by the TLB, else by `miss`, an expression that is 0 for a fault; then `fault` runs.
 * `address` is a local or constant.
 */
export function emitTranslate(
	f: FunctionBuilder,
	linear: Local<"i32">,
	tlb: I32,
	tag: typeof TLB_READ | typeof TLB_WRITE,
	address: I64,
	bytes: number,
	miss: I32,
	fault: () => void,
): void {
	f.set(linear, tlbEntry(tlb, address));
	f.likely(
		tlbHit(linear, tag, address, bytes),
		() => f.set(linear, tlbLinear(linear, address)),
		() => {
			f.set(linear, miss);
			f.if(i32.eqz(linear), fault);
		},
	);
}
