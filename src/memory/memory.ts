/**
 * The machine's memory: typed access to the one WebAssembly.Memory by linear address (see layout.ts).
 * Nothing here checks who may touch what; owners and types of frames are the hypervisor's business.
 */

import type { WasmMemory } from "../wasm/host.ts";
import { FRAME_COUNT, FRAMES, MAX_FRAMES, PAGE_SHIFT, PAGE_SIZE } from "./map.ts";

const TWO_32 = 2 ** 32;

export class Memory {
	readonly wasm: WasmMemory;
	readonly bytes: Uint8Array;
	/** The same as words of 32 bits, for code that fills tables; at an address divided by 4. Relies on a little-endian host. */
	readonly words: Int32Array;
	private readonly view: DataView;

	/** @param frames machine frames of 4 KiB, at most MAX_FRAMES. Host memory is only used for what is touched. */
	constructor(readonly frames: number) {
		if (frames > MAX_FRAMES) {
			throw new RangeError(`${frames} frames do not fit: at most ${MAX_FRAMES} (${(MAX_FRAMES * 4) / 1024} MiB)`);
		}
		const pages = Math.ceil((FRAMES + frames * PAGE_SIZE) / 65536);
		this.wasm = new WebAssembly.Memory({ initial: pages, maximum: pages });
		this.bytes = new Uint8Array(this.wasm.buffer);
		this.words = new Int32Array(this.wasm.buffer);
		this.view = new DataView(this.wasm.buffer);
		this.setU32(FRAME_COUNT, frames);
	}

	/** Linear address of a machine frame. The caller has checked that mfn < frames. */
	frame(mfn: number): number {
		return FRAMES + mfn * PAGE_SIZE;
	}

	/** The machine frame that holds a linear address. */
	frameAt(linear: number): number {
		return (linear - FRAMES) >>> PAGE_SHIFT;
	}

	u8(address: number): number {
		return this.view.getUint8(address);
	}
	u16(address: number): number {
		return this.view.getUint16(address, true);
	}
	u32(address: number): number {
		return this.view.getUint32(address, true);
	}
	i32(address: number): number {
		return this.view.getInt32(address, true);
	}
	/** Unsigned 64-bit as a number: exact below 2^53. */
	u64(address: number): number {
		return this.view.getUint32(address + 4, true) * TWO_32 + this.view.getUint32(address, true);
	}
	/** Signed 64-bit as a number: exact for canonical virtual addresses, which are negative in the upper half. */
	i64(address: number): number {
		return this.view.getInt32(address + 4, true) * TWO_32 + this.view.getUint32(address, true);
	}
	big(address: number): bigint {
		return this.view.getBigUint64(address, true);
	}

	setU8(address: number, value: number): void {
		this.view.setUint8(address, value);
	}
	setU16(address: number, value: number): void {
		this.view.setUint16(address, value, true);
	}
	setU32(address: number, value: number): void {
		this.view.setUint32(address, value, true);
	}
	/** Stores a number as 64-bit two's complement; fractions are dropped. */
	setU64(address: number, value: number): void {
		const high = Math.floor(value / TWO_32);
		this.view.setUint32(address, Math.floor(value) - high * TWO_32, true);
		this.view.setUint32(address + 4, high, true);
	}
	setBig(address: number, value: bigint): void {
		this.view.setBigUint64(address, BigInt.asUintN(64, value), true);
	}

	fill(address: number, length: number, byte: number): void {
		this.bytes.fill(byte, address, address + length);
	}
	copy(to: number, from: number, length: number): void {
		this.bytes.copyWithin(to, from, from + length);
	}
}
