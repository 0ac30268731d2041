/**
 * The fast path of an access, emitted wherever memory is touched: one compare against the TLB. The tag is compared with the page of the
 * access's *last* byte, so an access that crosses a page misses by itself.
 *
 *   virtual address  46 ..... 34 33 32 31 .. 25 24 ........ 12 11 ...... 0
 *                         folded      -    folded    entry number    offset
 *
 * Bits 31-25 are folded into the entry number, so that arrays a power of two apart do not drive each other out; bits 46-34, so that the areas of a
 * kernel do not, which all begin at the same low bits (Linux reads Xen's M2P and its own P2M in turn, with each page-table entry).
 */
import { TLB_ADDEND, TLB_ENTRIES, TLB_ENTRY_SIZE, type TLB_READ, type TLB_WRITE } from "../layout.ts";
import { type I32, type I64, i32, i64 } from "../wasm/expression.ts";
import type { FunctionBuilder, Local } from "../wasm/function.ts";

const ENTRY_SHIFT = Math.log2(TLB_ENTRY_SIZE);

/** Bring the lowest of the folded bits to the lowest bit of the entry's offset. */
const FOLD_SHIFT = 25 - ENTRY_SHIFT;
const FOLD_HIGH_SHIFT = 34 - ENTRY_SHIFT;

/** Offset of an address's entry in its TLB, from the halves of the address. {@link tlbEntry} emits the same. */
export function tlbEntryOffset(low: number, high: number): number {
	const number = (low >>> (12 - ENTRY_SHIFT)) ^ (low >>> FOLD_SHIFT) ^ (high << (32 - FOLD_HIGH_SHIFT));
	return number & ((TLB_ENTRIES - 1) << ENTRY_SHIFT);
}

/** Linear address of the TLB entry of a virtual address. */
export function tlbEntry(tlb: I32, address: I64): I32 {
	const low = i32.wrap(address);
	const number = i32.xor(
		i32.xor(i32.shr_u(low, i32.const(12 - ENTRY_SHIFT)), i32.shr_u(low, i32.const(FOLD_SHIFT))),
		i32.wrap(i64.shr_u(address, i64.const(FOLD_HIGH_SHIFT))),
	);
	return i32.add(tlb, i32.and(number, i32.const((TLB_ENTRIES - 1) << ENTRY_SHIFT)));
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
