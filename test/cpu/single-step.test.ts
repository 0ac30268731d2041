/** Single-stepping by TF over instructions that leave the processor: what they are must not be lost to the trap, nor the trap to them. */
import { expect, test } from "vitest";
import { Exit, Vector } from "../../src/cpu/processor.ts";
import { Flag, Gpr } from "../../src/cpu/registers.ts";
import { BASE, smallMachine } from "./small-machine.ts";

const DR6 = 4;
const SINGLE_STEP = 0x4000;

test.each([
	["INT3", [0xcc], Vector.breakpoint],
	["INT n", [0xcd, 0x80], 0x80],
	["INT n of #DB's vector", [0xcd, 0x01], Vector.debug],
])("%s with TF set keeps its vector", (_, code, vector) => {
	const { engine, registers, write } = smallMachine(2);
	write(BASE, code);
	registers.rflags = 2 | Flag.TF;
	expect(engine.run(1000)).toBe(Exit.softwareInterrupt);
	expect(registers.vector).toBe(vector);
	expect(engine.interruptLength).toBe(code.length);
	expect(registers.rip).toBe(BASE + code.length);
	// Its handler begins with TF clear: no trap is pending.
	expect(registers.debug(DR6) & SINGLE_STEP).toBe(0);
});

test("SYSCALL with TF set is a system call", () => {
	const { engine, registers, write } = smallMachine(2);
	write(BASE, [0x0f, 0x05]);
	registers.rflags = 2 | Flag.TF;
	expect(engine.run(1000)).toBe(Exit.syscall);
	expect(registers.rip).toBe(BASE + 2);
});

test("RDTSC with TF set answers and traps behind itself", () => {
	const { engine, registers, write } = smallMachine(2, {}, { readTsc: () => 0x12_3456_789a });
	write(BASE, [0x0f, 0x31, 0x90]);
	registers.rflags = 2 | Flag.TF;
	expect(engine.run(1000)).toBe(Exit.exception);
	expect(registers.vector).toBe(Vector.debug);
	expect(registers.rip).toBe(BASE + 2);
	expect(registers.get(Gpr.rax)).toBe(0x3456_789a);
	expect(registers.get(Gpr.rdx)).toBe(0x12);
	expect(registers.debug(DR6) & SINGLE_STEP).toBe(SINGLE_STEP);
	expect(engine.executed).toBe(1);
});

test("a fault with TF set is that fault", () => {
	const { engine, registers, write } = smallMachine(2);
	write(BASE, [0x0f, 0x0b]);
	registers.rflags = 2 | Flag.TF;
	expect(engine.run(1000)).toBe(Exit.exception);
	expect(registers.vector).toBe(Vector.invalidOpcode);
	expect(registers.rip).toBe(BASE);
});

test("an ordinary instruction with TF set traps behind itself, with the last of the fuel too", () => {
	for (const fuel of [1, 1000]) {
		const { engine, registers, write } = smallMachine(2);
		write(BASE, [0x90, 0x90]);
		registers.rflags = 2 | Flag.TF;
		expect(engine.run(fuel)).toBe(Exit.exception);
		expect(registers.vector).toBe(Vector.debug);
		expect(registers.rip).toBe(BASE + 1);
	}
});
