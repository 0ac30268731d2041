/** A processor with a few pages of code, stack and data in 64-bit user mode, for tests that need no more. */
import { createProcessor, type Engine, type EngineOptions } from "../../src/cpu/engine.ts";
import * as layout from "../../src/cpu/layout.ts";
import type { Environment } from "../../src/cpu/processor.ts";
import { Gpr, Registers } from "../../src/cpu/registers.ts";
import { Memory } from "../../src/memory/memory.ts";

const Frame = { l4: 1, l3: 2, l2: 3, l1: 4, pages: 16 } as const;
const PRESENT_WRITABLE_USER = 0x67;

/** Where the pages are mapped, in a row. The first is code, the second the stack. */
export const BASE = 0x40_0000;
/** The first page once more: the last of the first 4 GiB. */
export const LAST_PAGE = 0xffff_f000;
/** Where the same is mapped once more, from the start of the address space on: two places in its upper half. */
export const UPPER = [-(2 ** 39), -(2 ** 40)] as const;

export interface SmallMachine {
	readonly engine: Engine;
	readonly registers: Registers;
	/** Puts bytes at an address, as a guest's store would. */
	write(address: number, bytes: readonly number[]): void;
	/** Four bytes of the page that was at an address in the beginning. */
	read(address: number): number;
	/** Puts another of the pages, or none, where one is mapped; forgets no translation. */
	map(address: number, page: number | undefined): void;
	/** Frame of a page. */
	frame(page: number): number;
}

export function smallMachine(
	pages: number,
	options: EngineOptions = {},
	environment: Partial<Environment> = {},
): SmallMachine {
	const memory = new Memory(Frame.pages + pages);
	const engine = createProcessor(
		memory,
		{
			cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
			readTsc: () => 0,
			descriptor: () => undefined,
			...environment,
		},
		options,
	);
	const registers = new Registers(memory, layout.STATE);
	const entry = (table: number, index: number, frame: number): void =>
		memory.setU64(memory.frame(table) + index * 8, frame * layout.PAGE_SIZE + PRESENT_WRITABLE_USER);
	for (const index of [0, 511, 510]) entry(Frame.l4, index, Frame.l3);
	entry(Frame.l3, 0, Frame.l2);
	entry(Frame.l3, 3, Frame.l2);
	entry(Frame.l2, BASE >> 21, Frame.l1);
	entry(Frame.l2, 511, Frame.l1);
	entry(Frame.l1, 511, Frame.pages);
	for (let page = 0; page < pages; page++) entry(Frame.l1, page, Frame.pages + page);
	for (const space of [0, 1]) engine.setRoot(space, Frame.l4);
	engine.flushAll();
	registers.addressSpace = 1;
	registers.rip = BASE;
	registers.set(Gpr.rsp, BASE + 0x1800);
	return {
		engine,
		registers,
		write(address, bytes) {
			const mfn = Frame.pages + ((address - BASE) >> 12);
			engine.codeChanged(mfn);
			memory.bytes.set(bytes, memory.frame(mfn) + (address & 0xfff));
		},
		read: (address) => memory.u32(memory.frame(Frame.pages + ((address - BASE) >> 12)) + (address & 0xfff)),
		map(address, page) {
			const at = memory.frame(Frame.l1) + ((address - BASE) >> 12) * 8;
			memory.setU64(at, page === undefined ? 0 : (Frame.pages + page) * layout.PAGE_SIZE + PRESENT_WRITABLE_USER);
		},
		frame: (page) => Frame.pages + page,
	};
}
