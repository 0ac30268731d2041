/**
 * WebAssembly as the engine that runs us has it (its JavaScript API), described here as far as it is used: TypeScript's own description is a part
 * of the library "dom", which programs that use our declarations need not have.
 */

/** WebAssembly.Memory */
export interface WasmMemory {
	readonly buffer: ArrayBuffer;
}

/** WebAssembly.Table, of functions. */
export interface WasmTable {
	readonly length: number;
	grow(delta: number): number;
	get(index: number): unknown;
	set(index: number, value: unknown): void;
}

/** What a module imports, by the names of module and import. */
export type WasmImports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Compiles a module and makes an instance of it, at once. @returns its exports */
export function instantiate(bytes: Uint8Array<ArrayBuffer>, imports: WasmImports): Readonly<Record<string, unknown>> {
	return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports as WebAssembly.Imports).exports;
}
