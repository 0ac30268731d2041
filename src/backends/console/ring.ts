/**
 * The host's half of the PV console ring (public/io/console.h), as xenconsoled works it. The guest may write anything into its half
 * of the page: indices are read once, and what they claim is believed only as far as the rings are long.
 */
import type { Memory } from "../../memory/memory.ts";
import { CONSOLE_IN_SIZE, CONSOLE_OUT_SIZE, xenconsInterface } from "../../xen/abi/console.ts";

const { offset } = xenconsInterface;

export class ConsoleRing {
	/** @param page linear address of the shared page. */
	constructor(
		private readonly memory: Memory,
		private readonly page: number,
	) {}

	/** Takes what the guest has written since; undefined where there is nothing, or its indices make no sense. */
	takeOutput(): Uint8Array | undefined {
		const { memory, page } = this;
		const consumer = memory.u32(page + offset.outCons);
		const producer = memory.u32(page + offset.outProd);
		const size = (producer - consumer) >>> 0;
		if (size === 0 || size > CONSOLE_OUT_SIZE) return undefined;
		const output = new Uint8Array(size);
		const start = consumer % CONSOLE_OUT_SIZE;
		const first = Math.min(size, CONSOLE_OUT_SIZE - start);
		output.set(memory.bytes.subarray(page + offset.out + start, page + offset.out + start + first));
		output.set(memory.bytes.subarray(page + offset.out, page + offset.out + size - first), first);
		memory.setU32(page + offset.outCons, producer);
		return output;
	}

	/** Bytes that the guest has room for; 0 where its indices make no sense. */
	get inputRoom(): number {
		const { memory, page } = this;
		const used = (memory.u32(page + offset.inProd) - memory.u32(page + offset.inCons)) >>> 0;
		return used > CONSOLE_IN_SIZE ? 0 : CONSOLE_IN_SIZE - used;
	}

	/** Gives the guest as many of `bytes` as it has room for. @returns how many. */
	putInput(bytes: Uint8Array): number {
		const { memory, page } = this;
		const count = Math.min(bytes.length, this.inputRoom);
		const producer = memory.u32(page + offset.inProd);
		for (let index = 0; index < count; index++) {
			memory.setU8(page + offset.in + ((producer + index) % CONSOLE_IN_SIZE), bytes[index] as number);
		}
		if (count > 0) memory.setU32(page + offset.inProd, (producer + count) >>> 0);
		return count;
	}
}
