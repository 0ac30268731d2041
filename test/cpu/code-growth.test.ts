/**
 * Code that is made, run and overwritten for long: neither records, regions, places in the table nor the host's memory may grow with it, and what
 * runs is always what was written last. Also where the arena for decoded code and the budget for translated code are used up again and again.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { Engine, EngineOptions } from "../../src/cpu/engine.ts";
import * as layout from "../../src/cpu/layout.ts";
import { Exit } from "../../src/cpu/processor.ts";
import { Gpr, type Registers } from "../../src/cpu/registers.ts";
import { BASE, type SmallMachine, smallMachine } from "./small-machine.ts";

const FUNCTIONS = 64;
/** Behind code and stack. */
const FUNCTION_BASE = BASE + 0x2000;

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

function machine(options: EngineOptions): SmallMachine {
	const made = smallMachine(2 + FUNCTIONS, options);
	made.write(BASE, DRIVER);
	for (let index = 0; index < FUNCTIONS; index++) made.write(FUNCTION_BASE + index * 4096, FUNCTION);
	made.registers.set(Gpr.rsi, FUNCTION_BASE);
	return made;
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
