/**
 * Messages of the wire protocol (xs_wire.h): a header of four words, then at most 4096 bytes, in which strings end with a NUL. Text is
 * taken as bytes, one character each: tokens and values are the clients' own.
 */
import { XENSTORE_PAYLOAD_MAX, xsdSockmsg } from "../xen/abi/xenstore.ts";

export const HEADER = xsdSockmsg.size;
const { offset } = xsdSockmsg;

export interface PacketHeader {
	readonly type: number;
	readonly reqId: number;
	readonly txId: number;
}

/** A whole message. */
export interface Packet extends PacketHeader {
	readonly payload: Uint8Array;
}

/** A message as it goes over the wire. */
export function encodePacket({ type, reqId, txId }: PacketHeader, payload: Uint8Array): Uint8Array {
	const bytes = new Uint8Array(HEADER + payload.length);
	const view = new DataView(bytes.buffer);
	view.setUint32(offset.type, type, true);
	view.setUint32(offset.reqId, reqId, true);
	view.setUint32(offset.txId, txId, true);
	view.setUint32(offset.len, payload.length, true);
	bytes.set(payload, HEADER);
	return bytes;
}

/** Puts a message together from the pieces in which it arrives; never holds more than one. */
export class PacketAssembler {
	private readonly buffer = new Uint8Array(HEADER + XENSTORE_PAYLOAD_MAX);
	private readonly view = new DataView(this.buffer.buffer);
	private filled = 0;

	/** Bytes that it takes next; 0 where a message is complete, negative where one is announced that is too long. */
	get wanted(): number {
		if (this.filled < HEADER) return HEADER - this.filled;
		const length = this.view.getUint32(offset.len, true);
		return length > XENSTORE_PAYLOAD_MAX ? -1 : HEADER + length - this.filled;
	}

	/** @param bytes no more than {@link wanted} */
	append(bytes: Uint8Array): void {
		this.buffer.set(bytes, this.filled);
		this.filled += bytes.length;
	}

	/** The complete message; the next one begins. */
	take(): Packet {
		const { view } = this;
		const packet = {
			type: view.getUint32(offset.type, true),
			reqId: view.getUint32(offset.reqId, true),
			txId: view.getUint32(offset.txId, true),
			payload: this.buffer.slice(HEADER, this.filled),
		};
		this.filled = 0;
		return packet;
	}

	reset(): void {
		this.filled = 0;
	}
}

/** Bytes from text, one each. */
export function encodeText(text: string): Uint8Array {
	const bytes = new Uint8Array(text.length);
	for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
	return bytes;
}

/** Text from bytes, one character each. */
export function decodeText(bytes: Uint8Array): string {
	let text = "";
	// A message has at most 4096 bytes, which is within what a call can take.
	for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
	return text;
}

/** The strings of a payload that end with a NUL; what follows the last one is left out. */
export function splitStrings(payload: Uint8Array, most = Number.POSITIVE_INFINITY): string[] {
	const strings: string[] = [];
	let start = 0;
	while (strings.length < most) {
		const end = payload.indexOf(0, start);
		if (end < 0) break;
		strings.push(decodeText(payload.subarray(start, end)));
		start = end + 1;
	}
	return strings;
}

/** Strings, each with its NUL. */
export function joinStrings(strings: readonly string[]): Uint8Array {
	return encodeText(strings.map((text) => `${text}\0`).join(""));
}
