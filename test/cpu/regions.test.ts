/** Regions where pages end: code that goes on in the next one, and accesses that share a look-up; and where an indirect branch leads. */
import { expect, test } from "vitest";
import { Exit } from "../../src/cpu/processor.ts";
import { Gpr } from "../../src/cpu/registers.ts";
import { BASE, type SmallMachine, smallMachine, UPPER } from "./small-machine.ts";

/** Adds an immediate to RBX, RCX times; the last byte of the immediate is in the next page. */
const CROSSING_AT = BASE + 0xff9;
const CROSSING = [
	...[0x48, 0xff, 0xc9], // dec rcx
	...[0xb8, 0x01, 0x00, 0x00, 0x00], // mov eax, 1
	...[0x48, 0x01, 0xc3], // add rbx, rax
	...[0x48, 0x85, 0xc9], // test rcx, rcx
	...[0x75, 0xf0], // jnz the first
	0xcc,
];

/** Runs from `rip` to INT3 with the number of rounds in RCX. @returns RBX, which was 0 */
function count({ engine, registers }: SmallMachine, rip: number, rounds: number): number {
	registers.rip = rip;
	registers.set(Gpr.rbx, 0);
	registers.set(Gpr.rcx, rounds);
	let exit: Exit = Exit.fuel;
	while (exit === Exit.fuel) exit = engine.run(5000);
	expect(exit).toBe(Exit.softwareInterrupt);
	return registers.get(Gpr.rbx);
}

const runCrossing = (machine: SmallMachine, rounds: number): number => count(machine, CROSSING_AT, rounds);

test("an instruction across two pages is part of a region, as long as both are what they were", () => {
	const machine = smallMachine(4, { hotCount: 20 });
	const { engine } = machine;
	machine.write(CROSSING_AT, CROSSING);
	runCrossing(machine, 5000);
	engine.translateQueued();
	const before = { ...engine.statistics };
	expect(runCrossing(machine, 5000)).toBe(5000);
	const { instructions, translated } = engine.statistics;
	expect(translated - before.translated).toBeGreaterThan(0.9 * (instructions - before.instructions));
	// The part in the next page changes.
	machine.write(BASE + 0x1000, [0x02]);
	expect(runCrossing(machine, 5000)).toBe(5000 * 0x0200_0001);
	engine.translateQueued();
	expect(runCrossing(machine, 5000)).toBe(5000 * 0x0200_0001);
	// Another page comes there.
	machine.write(BASE + 0x3000, [0x01, ...CROSSING.slice(8)]);
	machine.map(BASE + 0x1000, 3);
	engine.flushAll();
	expect(runCrossing(machine, 5000)).toBe(5000 * 0x0100_0001);
});

const PUSHES = [0x50, 0x51, 0x52, 0x53, 0x56, 0x57, 0xcc];
const POPS = [0x58, 0x59, 0x5a, 0x5b, 0x5e, 0x5f, 0xcc];
/** Reads two quadwords, then writes one between them, all relative to RDI. */
const READS_AND_WRITE = [
	...[0x48, 0x8b, 0x07], // mov rax, [rdi]
	...[0x48, 0x8b, 0x5f, 0x18], // mov rbx, [rdi+24]
	...[0x48, 0x89, 0x4f, 0x08], // mov [rdi+8], rcx
	0xcc,
];
const FIRST_PAGE = 1;
const BOUNDARY = BASE + (FIRST_PAGE + 1) * 4096;

test.each([
	["pushes", PUSHES],
	["pops", POPS],
	["reads and a write", READS_AND_WRITE],
])("%s over the end of a page do what they do one by one", (_, code) => {
	const machines = [false, true].map((translated) => {
		const machine = smallMachine(FIRST_PAGE + 2, translated ? {} : { tier: "interpreter" });
		machine.write(BASE, code);
		if (translated) {
			machine.engine.requestTranslation();
			machine.engine.translateQueued();
		}
		return machine;
	});
	for (const missing of [undefined, FIRST_PAGE, FIRST_PAGE + 1]) {
		for (let distance = -64; distance <= 64; distance += 4) {
			const [expected, actual] = machines.map((machine) => outcome(machine, missing, distance));
			expect(actual, `${distance} bytes from the boundary`).toEqual(expected);
		}
	}
	expect(machines[1]!.engine.statistics.regionEntries).toBeGreaterThan(0);
});

/** What is in registers and memory, and how it ended: with the pages in the TLB and without. */
function outcome(machine: SmallMachine, missing: number | undefined, distance: number): unknown[] {
	const { engine, registers } = machine;
	for (const page of [FIRST_PAGE, FIRST_PAGE + 1]) {
		machine.map(BASE + page * 4096, page === missing ? undefined : page);
	}
	engine.flushAll();
	for (let at = -128; at < 128; at += 4) machine.write(BOUNDARY + at, [at & 0xff, 1, 2, 3]);
	const results: unknown[] = [];
	for (let round = 0; round < 2; round++) {
		for (const register of [Gpr.rax, Gpr.rcx, Gpr.rdx, Gpr.rbx, Gpr.rsi]) registers.set(register, 0x100 + register);
		registers.set(Gpr.rsp, BOUNDARY + distance);
		registers.set(Gpr.rdi, BOUNDARY + distance);
		registers.rip = BASE;
		const exit = engine.run(1000);
		results.push(exit, registers.rip, registers.vector, exit === Exit.exception ? registers.cr2 : 0);
		for (let register = 0; register < 8; register++) results.push(registers.get(register));
	}
	for (let at = -128; at < 128; at += 4) results.push(machine.read(BOUNDARY + at));
	return results;
}

/** Counts RCX down. */
const COUNTDOWN = [0x48, 0xff, 0xc9, 0x75, 0xfb, 0xcc];

test("a block that becomes hot now and then has no region before it does so often or twice in a row", () => {
	const machine = smallMachine(4, { hotCount: 20 });
	const { engine } = machine;
	machine.write(BASE, COUNTDOWN);
	machine.write(BASE + 0x800, COUNTDOWN);
	/** Regions that come of so many rounds. */
	const made = (at: number, rounds: number): number => {
		const before = engine.statistics.translator?.regions ?? 0;
		count(machine, at, rounds);
		engine.translateQueued();
		return (engine.statistics.translator?.regions ?? 0) - before;
	};
	// Hot after 20 rounds, and again after 10 more: then 18 million instructions of something else pass.
	expect(made(BASE, 25)).toBe(0);
	expect(made(BASE + 0x800, 9_000_000)).toBe(1);
	expect(made(BASE, 10)).toBe(0);
	expect(made(BASE, 12)).toBe(1);
});

/** Calls what RDX names, RCX times. */
const INDIRECT = [
	...[0xff, 0xd2], // call rdx
	...[0x48, 0xff, 0xc9], // dec rcx
	...[0x75, 0xf9], // jnz the first
	0xcc,
];
const CALLEES = [
	[0x48, 0x83, 0xc3, 0x01, 0xc3], // add rbx, 1; ret
	[0x48, 0x83, 0xc3, 0x02, 0xc3], // add rbx, 2; ret
] as const;
const CALLEE_AT = [BASE + 0x1100, BASE + 0x800] as const;
const ROUNDS = 5000;

function runIndirect(machine: SmallMachine, callee: number): number {
	machine.registers.set(Gpr.rdx, CALLEE_AT[callee]!);
	machine.registers.set(Gpr.rsp, BASE + 0x2ff0);
	return count(machine, BASE, ROUNDS);
}

test("a region takes in where an indirect call has led to, and goes where it leads", () => {
	const machine = smallMachine(4, { hotCount: 20 });
	const { engine } = machine;
	machine.write(BASE, INDIRECT);
	for (const [index, code] of CALLEES.entries()) machine.write(CALLEE_AT[index]!, code);
	expect(runIndirect(machine, 0)).toBe(ROUNDS);
	engine.translateQueued();
	const before = engine.statistics.regionEntries;
	expect(runIndirect(machine, 0)).toBe(ROUNDS);
	expect(engine.statistics.regionEntries - before).toBeLessThan(ROUNDS / 10);
	expect(runIndirect(machine, 1)).toBe(2 * ROUNDS);
	engine.translateQueued();
	expect([runIndirect(machine, 1), runIndirect(machine, 0)]).toEqual([2 * ROUNDS, ROUNDS]);
	// Another callee in the place of the one that is in the region.
	machine.write(CALLEE_AT[0], [0x48, 0x83, 0xc3, 0x03]);
	expect(runIndirect(machine, 0)).toBe(3 * ROUNDS);
});

/** Adds to RBX where it is, RCX times: what a call pushes and what LEA says, both the address behind the call. */
const WHERE = [
	...[0xe8, 0xfb, 0x00, 0x00, 0x00], // call the callee
	...[0x48, 0x8d, 0x15, 0xf9, 0xff, 0xff, 0xff], // lea rdx, [this instruction]
	...[0x48, 0x01, 0xc3], // add rbx, rax
	...[0x48, 0x01, 0xd3], // add rbx, rdx
	...[0x48, 0xff, 0xc9], // dec rcx
	...[0x75, 0xe9], // jnz the first
	0xcc,
];
const WHERE_AT = BASE + 0xf80;
/** In the next page. */
const WHERE_CALLEE_AT = WHERE_AT + 0x100;
const WHERE_ROUNDS = 2000;

test("a kernel's region is for the address it was made at, and not entered elsewhere", () => {
	const machine = smallMachine(4, { hotCount: 20 });
	const { engine, registers } = machine;
	machine.write(WHERE_AT, WHERE);
	machine.write(WHERE_CALLEE_AT, [0x48, 0x8b, 0x04, 0x24, 0xc3]); // mov rax, [rsp]; ret
	const [first, second] = UPPER;
	for (const [round, place] of [first, first, second, 0, first].entries()) {
		const { translated } = engine.statistics;
		registers.set(Gpr.rsp, BASE + 0x2ff0);
		expect(count(machine, place + WHERE_AT, WHERE_ROUNDS)).toBe(WHERE_ROUNDS * 2 * (place + WHERE_AT + 5));
		const now = engine.statistics.translated - translated;
		if (round === 0) engine.translateQueued();
		else if (place === first) expect(now).toBeGreaterThan(WHERE_ROUNDS);
		else expect(now).toBe(0);
	}
});

test("a call that overwrites itself leaves nothing behind of where it led", () => {
	const results = (["interpreter", "both"] as const).map((tier) => {
		const machine = smallMachine(4, { tier, hotCount: 20 });
		const { engine, registers } = machine;
		machine.write(CALLEE_AT[0], [0x48, 0x89, 0xc4, 0xff, 0xe1]); // mov rsp, rax; jmp rcx
		const seen: number[] = [];
		for (let round = 0; round < 100; round++) {
			machine.write(BASE, [0xff, 0xd2, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc]);
			registers.rip = BASE;
			registers.set(Gpr.rdx, CALLEE_AT[0]);
			registers.set(Gpr.rcx, BASE);
			registers.set(Gpr.rax, BASE + 0x2ff0);
			registers.set(Gpr.rsp, BASE + 8);
			seen.push(engine.run(1000), registers.rip, registers.vector, registers.get(Gpr.rsp));
		}
		return seen;
	});
	expect(results[1]).toEqual(results[0]);
});
