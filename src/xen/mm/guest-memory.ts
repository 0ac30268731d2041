/**
 * Copies between the hypervisor and a guest's virtual memory, as copy_from_guest and copy_to_guest of Xen: through the guest's
 * current page tables, page by page, with the guest's own permissions, and always into a private copy (a guest may change its
 * memory between two looks).
 */

import { Access, type Processor } from "../../cpu/processor.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";

const PAGE_MASK = PAGE_SIZE - 1;

/** Offset of a (signed) virtual address in its page. */
export function pageOffset(virtualAddress: number): number {
	return ((virtualAddress % PAGE_SIZE) + PAGE_SIZE) & PAGE_MASK;
}

export class GuestMemory {
	constructor(
		private readonly memory: Memory,
		private readonly processor: Processor,
	) {}

	/**
	 * Copies `length` bytes at the guest kernel's virtual address into `to`.
	 * @returns false where any byte cannot be read; `to` then holds a part.
	 */
	read(virtualAddress: number, to: Uint8Array, length = to.length): boolean {
		return this.walk(virtualAddress, length, Access.read, (linear, done, count) => {
			to.set(this.memory.bytes.subarray(linear, linear + count), done);
		});
	}

	/** Copies bytes to the guest kernel's virtual address; false where any byte cannot be written. */
	write(virtualAddress: number, from: Uint8Array, length = from.length): boolean {
		return this.walk(virtualAddress, length, Access.write, (linear, done, count) => {
			this.memory.bytes.set(from.subarray(done, done + count), linear);
		});
	}

	/** A u64 as two halves would be lossy for most uses: the callers that need all bits use {@link read}. */
	readU64(virtualAddress: number): number | undefined {
		const buffer = new Uint8Array(8);
		if (!this.read(virtualAddress, buffer)) return undefined;
		const view = new DataView(buffer.buffer);
		return view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
	}

	writeU32(virtualAddress: number, value: number): boolean {
		const buffer = new Uint8Array(4);
		new DataView(buffer.buffer).setUint32(0, value, true);
		return this.write(virtualAddress, buffer);
	}

	writeU64(virtualAddress: number, value: number): boolean {
		const buffer = new Uint8Array(8);
		new DataView(buffer.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
		return this.write(virtualAddress, buffer);
	}

	private walk(
		virtualAddress: number,
		length: number,
		access: Access,
		copy: (linear: number, done: number, count: number) => void,
	): boolean {
		let done = 0;
		while (done < length) {
			const address = virtualAddress + done;
			const count = Math.min(length - done, PAGE_SIZE - pageOffset(address));
			const linear = this.processor.translate(address, access, 0);
			if (linear < 0) return false;
			if (access === Access.write) this.processor.codeChanged(this.memory.frameAt(linear));
			copy(linear, done, count);
			done += count;
		}
		return true;
	}
}
