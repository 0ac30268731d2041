/**
 * Assembles a WebAssembly module: imports, functions, one table, globals and exports.
 * Functions are declared before they are defined, so that they may call each other.
 */
import { ByteWriter, VALUE_TYPE_CODE, type ValueType } from "./encoding.ts";
import { type Expression, GlobalReference } from "./expression.ts";
import { type FunctionBody, FunctionBuilder, type FunctionReference } from "./function.ts";

interface Defined extends FunctionReference {
	readonly typeIndex: number;
	body: FunctionBody | undefined;
	readonly name: string;
}

/** Bytes that a function adds beside its code, as a rule: its name, and a little more. */
const MOST_AROUND_A_FUNCTION = 64;

export class ModuleBuilder {
	private readonly types: string[] = [];
	private readonly typeBytes: Uint8Array[] = [];
	private readonly imported: { module: string; name: string; typeIndex: number }[] = [];
	private readonly defined: Defined[] = [];
	private readonly exported: { name: string; kind: number; index: number }[] = [];
	private readonly globals: { type: ValueType; initial: Expression }[] = [];
	private readonly elements: FunctionReference[] = [];
	private table: { module: string; name: string; minimum: number } | undefined;
	private memory: { module: string; name: string; initial: number; maximum: number } | undefined;

	typeIndex(parameters: readonly ValueType[], result: ValueType | undefined): number {
		const key = `${parameters.join()}>${result ?? ""}`;
		const known = this.types.indexOf(key);
		if (known >= 0) return known;
		const out = new ByteWriter();
		out.byte(0x60);
		out.u32(parameters.length);
		for (const type of parameters) out.byte(VALUE_TYPE_CODE[type]);
		out.u32(result === undefined ? 0 : 1);
		if (result !== undefined) out.byte(VALUE_TYPE_CODE[result]);
		this.typeBytes.push(out.finish());
		return this.types.push(key) - 1;
	}

	/** The memory that all code uses, in pages of 64 KiB. */
	importMemory(module: string, name: string, initial: number, maximum: number): void {
		this.memory = { module, name, initial, maximum };
	}

	/** Table 0, shared with other modules; without it, the module's own. */
	importTable(module: string, name: string, minimum: number): void {
		this.table = { module, name, minimum };
	}

	/** Imports come before the first {@link declare}. */
	import(
		module: string,
		name: string,
		parameters: readonly ValueType[],
		result: ValueType | undefined,
	): FunctionReference {
		if (this.defined.length > 0) throw new Error("imports must be declared before functions");
		const typeIndex = this.typeIndex(parameters, result);
		const index = this.imported.push({ module, name, typeIndex }) - 1;
		return { index, parameters, result };
	}

	declare(name: string, parameters: readonly ValueType[], result: ValueType | undefined): FunctionReference {
		const typeIndex = this.typeIndex(parameters, result);
		const index = this.imported.length + this.defined.length;
		const reference: Defined = { index, parameters, result, typeIndex, body: undefined, name };
		this.defined.push(reference);
		return reference;
	}

	define(reference: FunctionReference, build: (f: FunctionBuilder) => void): void {
		const target = this.defined[reference.index - this.imported.length];
		if (target === undefined || target.body !== undefined)
			throw new Error("function is not declared, or defined twice");
		const f = new FunctionBuilder(reference.parameters, reference.result);
		build(f);
		target.body = f.finish();
	}

	/** Declares and defines. */
	function(
		name: string,
		parameters: readonly ValueType[],
		result: ValueType | undefined,
		build: (f: FunctionBuilder) => void,
	): FunctionReference {
		const reference = this.declare(name, parameters, result);
		this.define(reference, build);
		return reference;
	}

	export(name: string, reference: FunctionReference): void {
		this.exported.push({ name, kind: 0, index: reference.index });
	}

	/** A mutable global. */
	global<T extends ValueType>(type: T, initial: Expression<T>): GlobalReference<T> {
		const index = this.globals.push({ type, initial }) - 1;
		return new GlobalReference(type, index);
	}

	/** Appends a function to the elements that are written to table 0 from index 0, and returns its index. */
	element(reference: FunctionReference): number {
		return this.elements.push(reference) - 1;
	}

	finish(): Uint8Array<ArrayBuffer> {
		const room = this.defined.reduce((sum, { body }) => sum + (body?.bytes.length ?? 0) + MOST_AROUND_A_FUNCTION, 4096);
		const out = new ByteWriter(room);
		out.bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
		const section = (id: number, build: (body: ByteWriter) => void, room?: number): void => {
			const body = new ByteWriter(room);
			build(body);
			out.byte(id);
			out.sized(body.finish());
		};
		section(1, (body) => {
			body.u32(this.typeBytes.length);
			for (const type of this.typeBytes) body.bytes(type);
		});
		section(2, (body) => {
			body.u32(this.imported.length + (this.memory === undefined ? 0 : 1) + (this.table === undefined ? 0 : 1));
			for (const item of this.imported) {
				body.name(item.module);
				body.name(item.name);
				body.byte(0);
				body.u32(item.typeIndex);
			}
			if (this.memory !== undefined) {
				body.name(this.memory.module);
				body.name(this.memory.name);
				body.byte(2);
				body.byte(1);
				body.u32(this.memory.initial);
				body.u32(this.memory.maximum);
			}
			if (this.table !== undefined) {
				body.name(this.table.module);
				body.name(this.table.name);
				body.byte(1);
				body.byte(0x70);
				body.byte(0);
				body.u32(this.table.minimum);
			}
		});
		section(3, (body) => {
			body.u32(this.defined.length);
			for (const item of this.defined) body.u32(item.typeIndex);
		});
		if (this.elements.length > 0 && this.table === undefined) {
			section(4, (body) => {
				body.u32(1);
				body.byte(0x70);
				body.byte(1);
				body.u32(this.elements.length);
				body.u32(this.elements.length);
			});
		}
		if (this.globals.length > 0) {
			section(6, (body) => {
				body.u32(this.globals.length);
				for (const global of this.globals) {
					body.byte(VALUE_TYPE_CODE[global.type]);
					body.byte(1);
					global.initial.emit(body);
					body.byte(0x0b);
				}
			});
		}
		section(7, (body) => {
			body.u32(this.exported.length);
			for (const item of this.exported) {
				body.name(item.name);
				body.byte(item.kind);
				body.u32(item.index);
			}
		});
		if (this.elements.length > 0) {
			section(9, (body) => {
				body.u32(1);
				body.u32(0);
				body.bytes([0x41, 0x00, 0x0b]);
				body.u32(this.elements.length);
				for (const element of this.elements) body.u32(element.index);
			});
		}
		this.branchHints(out);
		section(
			10,
			(body) => {
				body.u32(this.defined.length);
				for (const item of this.defined) {
					if (item.body === undefined) throw new Error(`function ${item.name} is declared but not defined`);
					body.sized(item.body.bytes);
				}
			},
			room,
		);
		this.nameSection(out);
		return out.finish();
	}

	/** Which conditions are likely (WebAssembly's branch hinting proposal): engines that do not know the section pass over it. */
	private branchHints(out: ByteWriter): void {
		const hinted = this.defined.filter(({ body }) => body !== undefined && body.hints.length > 0);
		if (hinted.length === 0) return;
		const section = new ByteWriter();
		section.name("metadata.code.branch_hint");
		section.u32(hinted.length);
		for (const { index, body } of hinted) {
			section.u32(index);
			section.u32(body!.hints.length);
			for (const { offset, likely } of body!.hints) {
				section.u32(offset);
				section.byte(1);
				section.byte(likely ? 1 : 0);
			}
		}
		out.byte(0);
		out.sized(section.finish());
	}

	/** Function names, for profilers and stack traces. */
	private nameSection(out: ByteWriter): void {
		const names = new ByteWriter();
		names.u32(this.defined.length);
		for (const item of this.defined) {
			names.u32(item.index);
			names.name(item.name);
		}
		const body = new ByteWriter();
		body.name("name");
		body.byte(1);
		body.sized(names.finish());
		out.byte(0);
		out.sized(body.finish());
	}
}
