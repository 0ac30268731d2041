/**
 * Messages of 9P2000.L as bytes: little-endian numbers, strings with their length in front. Names are taken as bytes, one character
 * each (as in the host's file systems, which need not be UTF-8). Relies on nothing.
 */
import { DATA_HEADER, HEADER } from "./protocol.ts";

/** A message that is not as long as it says, or has a text where none can be. */
export class MalformedMessage extends Error {
	override readonly name = "MalformedMessage";
}

/** Reads a request; what lies beyond its end throws {@link MalformedMessage}. */
export class MessageReader {
	private readonly view: DataView;
	private at = HEADER;

	/** @param bytes the whole message, header included */
	constructor(private readonly bytes: Uint8Array) {
		this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	}

	get type(): number {
		return this.view.getUint8(4);
	}
	get tag(): number {
		return this.view.getUint16(5, true);
	}

	u8(): number {
		return this.view.getUint8(this.advance(1));
	}
	u16(): number {
		return this.view.getUint16(this.advance(2), true);
	}
	u32(): number {
		return this.view.getUint32(this.advance(4), true);
	}
	/** Exact below 2^53. */
	u64(): number {
		const low = this.u32();
		return low + this.u32() * 2 ** 32;
	}

	string(): string {
		const length = this.u16();
		const start = this.advance(length);
		return latin1(this.bytes.subarray(start, start + length));
	}

	/** The next bytes in place: valid as long as the message's buffer is. */
	data(length: number): Uint8Array {
		const start = this.advance(length);
		return this.bytes.subarray(start, start + length);
	}

	private advance(count: number): number {
		const start = this.at;
		if (start + count > this.bytes.length) throw new MalformedMessage("a message ends within a field");
		this.at = start + count;
		return start;
	}
}

/** Text of bytes, one character each. */
export function latin1(bytes: Uint8Array): string {
	let text = "";
	for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
	return text;
}

/** Writes replies, one after another into the same buffer. */
export class MessageWriter {
	private view: DataView;
	private at = HEADER;

	constructor(private buffer: Uint8Array) {
		this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
	}

	begin(): this {
		this.at = HEADER;
		return this;
	}

	/** Bytes that still fit. */
	get room(): number {
		return this.buffer.length - this.at;
	}

	u8(value: number): this {
		this.view.setUint8(this.at, value);
		this.at += 1;
		return this;
	}
	u16(value: number): this {
		this.view.setUint16(this.at, value, true);
		this.at += 2;
		return this;
	}
	u32(value: number): this {
		this.view.setUint32(this.at, value >>> 0, true);
		this.at += 4;
		return this;
	}
	/** A whole number from 0 to 2^53, or a negative one as two's complement. */
	u64(value: number): this {
		return this.u32(value % 2 ** 32).u32(Math.floor(value / 2 ** 32));
	}
	string(text: string): this {
		this.u16(text.length);
		for (let index = 0; index < text.length; index++) this.u8(text.charCodeAt(index));
		return this;
	}

	/** Where at most `count` bytes of data go, behind a count that {@link dataDone} sets. Only at a reply's beginning. */
	data(count: number): Uint8Array {
		this.at = DATA_HEADER;
		return this.buffer.subarray(DATA_HEADER, DATA_HEADER + Math.min(count, this.buffer.length - DATA_HEADER));
	}
	dataDone(count: number): void {
		this.view.setUint32(HEADER, count, true);
		this.at = DATA_HEADER + count;
	}

	/** Says how much data was written behind {@link dataDone}. */
	setCount(count: number): void {
		this.view.setUint32(HEADER, count, true);
	}

	/** The complete message: valid until the next one begins. */
	finish(type: number, tag: number): Uint8Array {
		this.view.setUint32(0, this.at, true);
		this.view.setUint8(4, type);
		this.view.setUint16(5, tag, true);
		return this.buffer.subarray(0, this.at);
	}
}
