/**
 * The interpreter's kinds: which variants of instructions there are, and their functions in the table, compiled when first decoded. A module costs
 * as much as several functions in it, so variants that are known to come together are compiled together (warm.ts).
 */

import { instantiate, type WasmImports, type WasmTable } from "../../wasm/host.ts";
import type { Decoded } from "../decode/decoder.ts";
import { forms } from "../semantics/table.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { emitVariants } from "./module.ts";
import * as record from "./record.ts";

/** Warm variants in a module. */
const GROUP = 32;

export class Variants {
	/** Kinds by variants' keys; 0 where there is none yet. */
	private readonly kinds = new Uint16Array(forms.length * record.KEYS_PER_FORM);
	/** Places in the warm list by keys. */
	private readonly warmPlaces = new Map<number, number>();
	private next: number;
	/** Variants that were compiled, modules of them, and the milliseconds it took. */
	compiled = 0;
	modules = 0;
	compileTime = 0;

	/**
	 * @param hot keys of the variants that the main module has; kind KIND_FIRST + i.
	 * @param warm keys in the order in which a kernel needs them first.
	 */
	constructor(
		hot: readonly number[],
		private readonly warm: readonly number[],
		private readonly table: WasmTable,
		private readonly imports: WasmImports,
		private readonly memoryPages: number,
		private readonly vendor: VendorBehaviour,
	) {
		this.next = record.KIND_FIRST;
		for (const [place, key] of warm.entries()) this.warmPlaces.set(key, place);
		// The single-step loop and regions need functions of these too. V8 compiles those that are called.
		this.compile(hot);
	}

	/** The kind of a defined instruction. */
	kindOf(decoded: Decoded, longMode: boolean): number {
		const key = record.variantKey(decoded, longMode);
		const known = this.kinds[key] as number;
		return known !== 0 ? known : this.add(key);
	}

	/** The name of a kind's variant (record.ts), or undefined for the kinds that are no instructions. */
	nameOf(kind: number): string | undefined {
		const key = kind < record.KIND_FIRST ? -1 : this.kinds.indexOf(kind);
		return key < 0 ? undefined : record.nameOfKey(key, forms);
	}

	private add(key: number): number {
		const place = this.warmPlaces.get(key);
		if (place === undefined) this.compile([key]);
		else {
			const first = place - (place % GROUP);
			this.compile(this.warm.slice(first, first + GROUP).filter((other) => this.kinds[other] === 0));
		}
		return this.kinds[key] as number;
	}

	private compile(keys: readonly number[]): void {
		const started = performance.now();
		const bytes = emitVariants(
			keys.map((key) => record.variantOf(key, forms)),
			this.memoryPages,
			this.vendor,
		);
		const exports = instantiate(bytes, this.imports);
		const end = this.next + keys.length;
		if (this.table.length < end) this.table.grow(Math.max(256, end - this.table.length));
		for (const [index, key] of keys.entries()) {
			this.table.set(this.next, exports[String(index)]);
			this.kinds[key] = this.next++;
		}
		this.compiled += keys.length;
		this.modules++;
		this.compileTime += performance.now() - started;
	}
}
