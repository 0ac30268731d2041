/**
 * Structures of Xen's public ABI, described once: name, type, offset by C's layout rules of the x86-64 ABI.
 * `const info = vcpuTimeInfo.at(memory, address); info.version++` reads and writes the guest's memory in place.
 */
import type { Memory } from "../../memory/memory.ts";

export interface FieldType<T> {
	readonly size: number;
	readonly align: number;
	get(memory: Memory, address: number): T;
	set(memory: Memory, address: number, value: T): void;
}

function scalar(
	size: number,
	get: (memory: Memory, address: number) => number,
	set: (memory: Memory, address: number, value: number) => void,
): FieldType<number> {
	return { size, align: size, get, set };
}

export const u8 = scalar(
	1,
	(m, a) => m.u8(a),
	(m, a, v) => m.setU8(a, v),
);
export const u16 = scalar(
	2,
	(m, a) => m.u16(a),
	(m, a, v) => m.setU16(a, v),
);
export const u32 = scalar(
	4,
	(m, a) => m.u32(a),
	(m, a, v) => m.setU32(a, v),
);
export const i32 = scalar(
	4,
	(m, a) => m.i32(a),
	(m, a, v) => m.setU32(a, v),
);
/** Exact below 2^53. */
export const u64 = scalar(
	8,
	(m, a) => m.u64(a),
	(m, a, v) => m.setU64(a, v),
);
/** Signed: a virtual address, or a count that may be negative. */
export const i64 = scalar(
	8,
	(m, a) => m.i64(a),
	(m, a, v) => m.setU64(a, v),
);

/** An array or byte field, reached by its address: `get` gives the linear address of its first byte. */
export interface ArrayType extends FieldType<number> {
	readonly length: number;
	readonly stride: number;
}

function noSet(): never {
	throw new TypeError("an array field is written through its address");
}

/** `length` elements of a scalar or structure; reads as the linear address of the first. */
export function array(element: { readonly size: number; readonly align: number }, length: number): ArrayType {
	return {
		size: element.size * length,
		align: element.align,
		length,
		stride: element.size,
		get: (_memory, address) => address,
		set: noSet,
	};
}
export const bytes = (length: number): ArrayType => array(u8, length);

type Fields = Readonly<Record<string, FieldType<unknown>>>;
type Value<F> = F extends FieldType<infer T> ? T : never;
/** A structure in memory: each field is a property. */
export type View<F extends Fields> = { -readonly [K in keyof F]: Value<F[K]> } & {
	readonly memory: Memory;
	readonly address: number;
};

export interface Struct<F extends Fields> extends FieldType<View<F>> {
	/** Byte offsets of the fields. */
	readonly offset: { readonly [K in keyof F]: number };
	readonly fields: F;
	at(memory: Memory, address: number): View<F>;
}

/** What a view has of its own: a field of such a name could never be reached. */
const OWN_PROPERTIES = ["memory", "address", "constructor"];

/** Options: `size` pads the structure to a size the header fixes; `packed` drops alignment. Throws for a field that a view would hide. */
export function struct<const F extends Fields>(
	fields: F,
	options: { size?: number; packed?: boolean } = {},
): Struct<F> {
	const offset: Record<string, number> = {};
	let end = 0;
	let align = 1;
	class StructView {
		constructor(
			readonly memory: Memory,
			readonly address: number,
		) {}
	}
	for (const [name, type] of Object.entries(fields)) {
		if (OWN_PROPERTIES.includes(name)) throw new TypeError(`a field called ${name} would be hidden by the view's own`);
		const fieldAlign = options.packed === true ? 1 : type.align;
		const at = Math.ceil(end / fieldAlign) * fieldAlign;
		offset[name] = at;
		end = at + type.size;
		align = Math.max(align, fieldAlign);
		Object.defineProperty(StructView.prototype, name, {
			get(this: StructView) {
				return type.get(this.memory, this.address + at);
			},
			set(this: StructView, value: unknown) {
				type.set(this.memory, this.address + at, value);
			},
		});
	}
	const size = options.size ?? Math.ceil(end / align) * align;
	if (size < end) throw new RangeError(`structure of ${end} bytes does not fit ${size}`);
	const at = (memory: Memory, address: number) => new StructView(memory, address) as unknown as View<F>;
	return {
		size,
		align,
		fields,
		offset: offset as { [K in keyof F]: number },
		at,
		get: at,
		set: noSet,
	};
}
