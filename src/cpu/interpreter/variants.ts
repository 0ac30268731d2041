/** The interpreter's kinds: which variants of instructions there are, and their functions in the table, compiled when first decoded. */
import type { Decoded } from "../decode/decoder.ts";
import { forms } from "../semantics/table.ts";
import { emitVariants } from "./module.ts";
import * as record from "./record.ts";

export class Variants {
	private readonly kinds = new Map<number, number>();
	private next: number;
	/** Modules of variants and the time they took, in milliseconds. */
	compiled = 0;
	compileTime = 0;

	/** @param hot keys of the variants that the main module has; kind KIND_FIRST + i. */
	constructor(
		hot: readonly number[],
		private readonly table: WebAssembly.Table,
		private readonly imports: WebAssembly.Imports,
		private readonly memoryPages: number,
	) {
		this.next = record.KIND_FIRST + hot.length;
		for (const [index, key] of hot.entries()) this.kinds.set(key, record.KIND_FIRST + index);
		// The single-step loop needs functions of these too.
		for (let start = 0; start < hot.length; start += 64)
			this.compile(hot.slice(start, start + 64), record.KIND_FIRST + start);
	}

	kindOf(decoded: Decoded, longMode: boolean): number {
		const key = record.variantKey(decoded, longMode);
		const known = this.kinds.get(key);
		if (known !== undefined) return known;
		const kind = this.next++;
		this.kinds.set(key, kind);
		this.compile([key], kind);
		return kind;
	}

	/** The name of a kind's variant (record.ts), or undefined for the kinds that are no instructions. */
	nameOf(kind: number): string | undefined {
		for (const [key, known] of this.kinds) if (known === kind) return record.nameOfKey(key, forms);
		return undefined;
	}

	private compile(keys: readonly number[], firstKind: number): void {
		const started = performance.now();
		const bytes = emitVariants(
			keys.map((key) => record.variantOf(key, forms)),
			this.memoryPages,
		);
		const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), this.imports);
		if (this.table.length < firstKind + keys.length) {
			this.table.grow(Math.max(256, firstKind + keys.length - this.table.length));
		}
		for (const index of keys.keys()) this.table.set(firstKind + index, instance.exports[String(index)]);
		this.compiled++;
		this.compileTime += performance.now() - started;
	}
}
