/** A frame's translations are found and forgotten, in however many places of the TLB they are. */
import { expect, test } from "vitest";
import { Exit } from "../../src/cpu/processor.ts";
import { Gpr } from "../../src/cpu/registers.ts";
import { BASE, smallMachine } from "./small-machine.ts";

/** Adds what is at RDI, RDI + 4096, ... to RAX, RCX times. */
const SUM = [
	...[0x48, 0x03, 0x07], // add rax, [rdi]
	...[0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00], // add rdi, 4096
	...[0x48, 0xff, 0xc9], // dec rcx
	...[0x75, 0xf1], // jnz the first
	0xcc,
];

test.each([1, 2, 3, 7])("a frame that is mapped %i times is forgotten everywhere", (times) => {
	const first = 2;
	const other = first + times;
	const machine = smallMachine(other + 1);
	const { engine, registers } = machine;
	machine.write(BASE, SUM);
	machine.write(BASE + first * 4096, [1]);
	machine.write(BASE + other * 4096, [100]);
	const sum = (): number => {
		registers.rip = BASE;
		registers.set(Gpr.rax, 0);
		registers.set(Gpr.rdi, BASE + first * 4096);
		registers.set(Gpr.rcx, times);
		expect(engine.run(1000)).toBe(Exit.softwareInterrupt);
		return registers.get(Gpr.rax);
	};
	const mapAll = (page: number): void => {
		for (let index = 0; index < times; index++) machine.map(BASE + (first + index) * 4096, page);
	};
	// In both address spaces, so that a frame has twice as many entries.
	for (const space of [1, 0]) {
		registers.addressSpace = space;
		mapAll(first);
		engine.flushAll();
		expect(sum()).toBe(times);
		mapAll(other);
		expect(sum(), "what the TLB has").toBe(times);
		engine.forgetFrame(machine.frame(first));
		expect(sum()).toBe(100 * times);
	}
});
