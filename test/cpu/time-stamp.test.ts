/** RDTSC between two questions to the environment: it goes on, never back, and does not ask each time. */
import { expect, test } from "vitest";
import type { EngineOptions } from "../../src/cpu/engine.ts";
import { Exit } from "../../src/cpu/processor.ts";
import { Gpr } from "../../src/cpu/registers.ts";
import { BASE, smallMachine } from "./small-machine.ts";

/** Counts in R8 how often a stamp was not greater than the one before, RCX times. */
const STAMPS = [
	...[0x0f, 0x31], // rdtsc
	...[0x48, 0xc1, 0xe2, 0x20], // shl rdx, 32
	...[0x48, 0x09, 0xd0], // or rax, rdx
	...[0x4c, 0x39, 0xc8], // cmp rax, r9
	...[0x77, 0x03], // ja over the next
	...[0x49, 0xff, 0xc0], // inc r8
	...[0x49, 0x89, 0xc1], // mov r9, rax
	...[0x48, 0xff, 0xc9], // dec rcx
	...[0x75, 0xe7], // jnz the first
	0xcc,
];
const ROUNDS = 10_000;

function stamps(options: EngineOptions, window: number, step: number) {
	let asked = 0;
	const environment = { readTsc: () => 5_000_000_000 + asked++ * step, tscWindow: window };
	const { engine, registers, write } = smallMachine(2, options, environment);
	write(BASE, STAMPS);
	registers.set(Gpr.r8, 0);
	registers.set(Gpr.r9, 0);
	registers.set(Gpr.rcx, ROUNDS);
	let exit: Exit = Exit.fuel;
	while (exit === Exit.fuel) exit = engine.run(1_000_000);
	expect(exit).toBe(Exit.softwareInterrupt);
	return { asked, notGreater: registers.get(Gpr.r8), last: registers.get(Gpr.r9), executed: engine.executed };
}

for (const [name, options] of [
	["the interpreter", { tier: "interpreter" }],
	["regions", { hotCount: 20 }],
] as const) {
	test(`${name}: without a window every RDTSC asks`, () => {
		const { asked, notGreater, last } = stamps(options, 0, 1000);
		expect(asked).toBe(ROUNDS);
		expect(notGreater).toBe(0);
		expect(last).toBe(5_000_000_000 + (ROUNDS - 1) * 1000);
	});

	test(`${name}: within a window it goes on by itself`, () => {
		const { asked, notGreater, executed } = stamps(options, 1024, 1_000_000);
		expect(notGreater).toBe(0);
		// Once a window, and at the beginning of each stretch.
		expect(asked).toBeGreaterThan(executed / 1200);
		expect(asked).toBeLessThan(executed / 900);
	});

	test(`${name}: it does not go back where the environment is behind`, () => {
		const { notGreater, last } = stamps(options, 1024, 0);
		expect(notGreater).toBeLessThan(ROUNDS / 50);
		expect(last).toBeGreaterThanOrEqual(5_000_000_000);
	});
}
