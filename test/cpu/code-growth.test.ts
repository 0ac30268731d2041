/**
 * Code that is made, run and overwritten for long: neither records, regions, places in the table nor the host's memory may grow with it, and what
 * runs is always what was written last. Also where the arena for decoded code and the budget for translated code are used up again and again.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { createProcessor, type Engine, type EngineOptions } from "../../src/cpu/engine.ts";
import * as layout from "../../src/cpu/layout.ts";
import { Memory } from "../../src/cpu/memory.ts";
import { type Environment, Exit } from "../../src/cpu/processor.ts";
import { Gpr, Registers } from "../../src/cpu/registers.ts";

const Frame = { l4: 1, l3: 2, l2: 3, l1: 4, driver: 5, stack: 6, functions: 16 } as const;
const FUNCTIONS = 64;
const PRESENT_WRITABLE_USER = 0x67;
const BASE = 0x40_0000;
const FUNCTION_BASE = BASE + 0x10_0000;

/** Returns imm32 + 1275, after fifty rounds of a loop. */
const FUNCTION = [0xb8, 0, 0, 0, 0, 0xb9, 50, 0, 0, 0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xc3];
/** Writes R11 as the immediate of a function, calls it three times and adds what it returned to R12; for the next one, while R13 lasts. */
const DRIVER = [
	[0x4c, 0x89, 0xd7], // mov rdi, r10
	[0x48, 0xc1, 0xe7, 12], // shl rdi, 12
	[0x48, 0x01, 0xf7], // add rdi, rsi
	[0x49, 0xff, 0xc3], // inc r11
	[0x44, 0x89, 0x5f, 0x01], // mov [rdi+1], r11d
	[0xff, 0xd7], // call rdi
	[0xff, 0xd7],
	[0xff, 0xd7],
	[0x49, 0x01, 0xc4], // add r12, rax
	[0x49, 0xff, 0xc2], // inc r10
	[0x49, 0x83, 0xe2, FUNCTIONS - 1], // and r10, FUNCTIONS - 1
	[0x49, 0xff, 0xcd], // dec r13
	[0x75, 0xda], // jnz the first
	[0xcc], // int3
].flat();

const environment: Environment = {
	cpuid: () => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 }),
	readTsc: () => 0,
	descriptor: () => undefined,
};

function machine(options: EngineOptions): { readonly engine: Engine; readonly registers: Registers } {
	const memory = new Memory(Frame.functions + FUNCTIONS);
	const engine = createProcessor(memory, environment, options);
	const registers = new Registers(memory, layout.STATE);
	const entry = (table: number, index: number, frame: number): void =>
		memory.setU64(memory.frame(table) + index * 8, frame * layout.PAGE_SIZE + PRESENT_WRITABLE_USER);
	entry(Frame.l4, 0, Frame.l3);
	entry(Frame.l3, 0, Frame.l2);
	entry(Frame.l2, BASE >> 21, Frame.l1);
	entry(Frame.l1, 0, Frame.driver);
	entry(Frame.l1, 1, Frame.stack);
	memory.bytes.set(DRIVER, memory.frame(Frame.driver));
	for (let index = 0; index < FUNCTIONS; index++) {
		entry(Frame.l1, 0x100 + index, Frame.functions + index);
		memory.bytes.set(FUNCTION, memory.frame(Frame.functions + index));
	}
	for (const space of [0, 1]) engine.setRoot(space, Frame.l4);
	engine.flushAll();
	registers.addressSpace = 1;
	registers.set(Gpr.rsp, BASE + 0x1800);
	registers.set(Gpr.rsi, FUNCTION_BASE);
	return { engine, registers };
}

/** Writes and runs `count` functions; checks what they returned. */
function generate(engine: Engine, registers: Registers, count: number): void {
	const from = registers.low(Gpr.r11);
	registers.rip = BASE;
	registers.set(Gpr.r12, 0);
	registers.set(Gpr.r13, count);
	let exit: Exit = Exit.fuel;
	// In many stretches, so that the translator gets its turns.
	while (exit === Exit.fuel) exit = engine.run(20_000);
	expect(exit).toBe(Exit.softwareInterrupt);
	const sum = count * (from + 1275) + (count * (count + 1)) / 2;
	expect(registers.get(Gpr.r12)).toBe(sum);
}

function collectGarbage(): void {
	setFlagsFromString("--expose-gc");
	const collect = runInNewContext("gc") as () => void;
	collect();
}

const translator = (engine: Engine) => engine.statistics.translator!;

test("what is translated and discarded leaves nothing behind", () => {
	const { engine, registers } = machine({ hotCount: 20 });
	generate(engine, registers, 3000);
	collectGarbage();
	const { live, slots, regions } = { ...translator(engine) };
	const resident = process.memoryUsage().rss;
	generate(engine, registers, 9000);
	collectGarbage();
	const after = translator(engine);
	// Hundreds of regions were made meanwhile, and as many discarded.
	expect(after.regions - regions).toBeGreaterThan(500);
	expect(engine.statistics.translated).toBeGreaterThan(0);
	expect(after.live).toBeLessThanOrEqual(live + FUNCTIONS);
	expect(after.slots).toBeLessThanOrEqual(slots + FUNCTIONS);
	expect(after.slots).toBeLessThan(4 * FUNCTIONS);
	expect(process.memoryUsage().rss - resident).toBeLessThan(48 * 2 ** 20);
});

test("an arena that is used up is begun anew", () => {
	const arena = 0x18_0000;
	const { engine, registers } = machine({ hotCount: 20, codeArena: arena });
	generate(engine, registers, 12_000);
	const { code } = engine.statistics;
	expect(code.resets).toBeGreaterThan(2);
	expect(code.bytes).toBeLessThanOrEqual(arena);
	expect(code.pages).toBeLessThanOrEqual(FUNCTIONS + 1);
	expect(translator(engine).live).toBeLessThanOrEqual(4 * FUNCTIONS);
	// Beyond the arena nothing has been written.
	const { memory } = engine;
	const end = layout.CODE_ARENA + arena;
	expect(memory.bytes.subarray(end, end + 0x10_0000).every((byte) => byte === 0)).toBe(true);
});

test("a budget that is used up makes room", () => {
	const codeBudget = 20_000;
	const { engine, registers } = machine({ hotCount: 20, codeBudget });
	generate(engine, registers, 6000);
	expect(engine.statistics.code.resets).toBeGreaterThan(2);
	expect(translator(engine).liveBytes).toBeLessThan(4 * codeBudget);
	expect(translator(engine).slots).toBeLessThan(4 * FUNCTIONS);
});
