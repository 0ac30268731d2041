/**
 * Bytes of the WebAssembly binary format: LEB128 integers, value types and a growing byte buffer.
 * Everything that emits WebAssembly writes through {@link ByteWriter}. Source: WebAssembly specification, chapter 5.
 */

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

export const VALUE_TYPE_CODE: Readonly<Record<ValueType, number>> = {
	i32: 0x7f,
	i64: 0x7e,
	f32: 0x7d,
	f64: 0x7c,
	v128: 0x7b,
};

/** Bytes of the longest LEB128 of 32 bits. */
const PADDED = 5;

export class ByteWriter {
	private buffer: Uint8Array<ArrayBuffer>;
	private end = 0;

	/** @param room bytes that can be written before the buffer grows */
	constructor(room = 256) {
		this.buffer = new Uint8Array(room);
	}

	get length(): number {
		return this.end;
	}

	byte(value: number): void {
		if (this.end === this.buffer.length) this.reserve(1);
		this.buffer[this.end++] = value;
	}

	bytes(values: ArrayLike<number>): void {
		this.reserve(values.length);
		this.buffer.set(values, this.end);
		this.end += values.length;
	}

	/** An opcode: a byte; or a prefix and a number, given as prefix * 256 + number. */
	opcode(value: number): void {
		if (value < 0x100) {
			this.byte(value);
			return;
		}
		this.byte(value >> 8);
		this.u32(value & 0xff);
	}

	/** Unsigned LEB128 of a value below 2^32. */
	u32(value: number): void {
		let rest = value >>> 0;
		while (rest >= 0x80) {
			this.byte((rest & 0x7f) | 0x80);
			rest >>>= 7;
		}
		this.byte(rest);
	}

	/** Signed LEB128 of an i32. */
	s32(value: number): void {
		let rest = value | 0;
		for (;;) {
			const low = rest & 0x7f;
			rest >>= 7;
			if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
				this.byte(low);
				return;
			}
			this.byte(low | 0x80);
		}
	}

	/** LEB128 of an i32, signed or not, in five bytes, which {@link patch} can change. @returns where they begin */
	padded(value: number): number {
		const position = this.end;
		this.reserve(PADDED);
		this.end += PADDED;
		this.patch(position, value);
		return position;
	}

	/** Changes a number that {@link padded} has written. */
	patch(position: number, value: number): void {
		let rest = value | 0;
		for (let index = 0; index < PADDED; index++, rest >>= 7) {
			this.buffer[position + index] = (rest & 0x7f) | (index < PADDED - 1 ? 0x80 : 0);
		}
	}

	/** Signed LEB128 of an i64. */
	s64(value: number | bigint): void {
		if (typeof value === "number" && value === (value | 0)) {
			this.s32(value);
			return;
		}
		let rest = BigInt.asIntN(64, BigInt(value));
		for (;;) {
			const low = Number(rest & 0x7fn);
			rest >>= 7n;
			if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
				this.byte(low);
				return;
			}
			this.byte(low | 0x80);
		}
	}

	f32(value: number): void {
		const view = new DataView(new ArrayBuffer(4));
		view.setFloat32(0, value, true);
		this.bytes(new Uint8Array(view.buffer));
	}

	f64(value: number): void {
		const view = new DataView(new ArrayBuffer(8));
		view.setFloat64(0, value, true);
		this.bytes(new Uint8Array(view.buffer));
	}

	name(text: string): void {
		const bytes = new TextEncoder().encode(text);
		this.u32(bytes.length);
		this.bytes(bytes);
	}

	/** A length-prefixed vector of bytes. */
	sized(content: Uint8Array): void {
		this.u32(content.length);
		this.bytes(content);
	}

	/** Drops everything behind the first `length` bytes. */
	truncate(length: number): void {
		this.end = length;
	}

	/** What was written. Nothing may be written any more. */
	finish(): Uint8Array<ArrayBuffer> {
		return this.buffer.subarray(0, this.end);
	}

	private reserve(count: number): void {
		if (this.end + count <= this.buffer.length) return;
		const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.end + count));
		grown.set(this.buffer.subarray(0, this.end));
		this.buffer = grown;
	}
}
