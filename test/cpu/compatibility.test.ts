/** Compatibility mode: EIP and ESP in place of RIP and RSP on every way into it and at the end of 4 GiB, and null segments. */
import { describe, expect, it } from "vitest";
import type { EngineOptions } from "../../src/cpu/engine.ts";
import { type DescriptorLookup, Exit, Vector } from "../../src/cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../src/cpu/registers.ts";
import { BASE, LAST_PAGE, type SmallMachine, smallMachine } from "./small-machine.ts";

const CS32 = 0x23;
const DATA = 0x2b;
const CS64 = 0x33;
/** Flat segments of ring 3, by their selectors. */
const DESCRIPTORS: ReadonlyMap<number, DescriptorLookup> = new Map([
	[CS32, { low: 0xffff, high: 0x00cf_fb00 }],
	[DATA, { low: 0xffff, high: 0x00cf_f300 }],
	[CS64, { low: 0xffff, high: 0x00af_fb00 }],
]);
/** Page of stack, and of data. */
const STACK = BASE + 0x1800;
const VALUES = BASE + 0x2000;
const GARBAGE = 0x8bad_f00d;

const bytesOf = (value: number, count: number): number[] =>
	Array.from({ length: count }, (_, index) => Math.floor(value / 2 ** (8 * index)) & 255);
const quad = (low: number, high = 0): number[] => [...bytesOf(low, 4), ...bytesOf(high, 4)];

function machine(options: EngineOptions = {}): SmallMachine {
	const made = smallMachine(4, options, { descriptor: (selector) => DESCRIPTORS.get(selector) });
	made.registers.setSelector(Segment.cs, CS64);
	made.registers.setSelector(Segment.ss, DATA);
	return made;
}

/** In compatibility mode, with data segments that are flat. */
function compatible(options: EngineOptions = {}): SmallMachine {
	const made = machine(options);
	const { registers } = made;
	registers.longMode = false;
	registers.setSelector(Segment.cs, CS32);
	for (const segment of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) registers.setSelector(segment, DATA);
	registers.finishTransfer();
	return made;
}

describe("a transfer to compatibility mode", () => {
	const TARGET = BASE + 0x80;
	const HIGH = 0x7f00;
	const frame = [...quad(TARGET, HIGH), ...quad(CS32)];
	it.each([
		["RETF", [0x48, 0xcb], frame, STACK + 16],
		["RETF that releases", [0x48, 0xca, 0x10, 0x00], frame, STACK + 32],
		["JMP far", [0x48, 0xff, 0x2c, 0x24], frame, STACK],
		["IRET", [0x48, 0xcf], [...frame, ...quad(2), ...quad(STACK + 64, GARBAGE), ...quad(DATA)], STACK + 64],
	])("by %s has EIP and ESP alone", (_, code, stack, pointer) => {
		const { engine, registers, write } = machine();
		write(BASE, code);
		write(STACK, stack);
		registers.set(Gpr.rsp, STACK);
		registers.setHalves(Gpr.rbx, 1, GARBAGE);
		expect(engine.run(1)).toBe(Exit.fuel);
		expect(registers.longMode).toBe(false);
		expect(registers.rip).toBe(TARGET);
		expect(registers.get(Gpr.rsp)).toBe(pointer);
		// The others keep what they have.
		expect(registers.high(Gpr.rbx)).toBe(GARBAGE);
	});

	it.each([
		["RETF", [0x48, 0xcb], frame],
		["IRET", [0x48, 0xcf], [...frame, ...quad(2), ...quad(STACK + 64), ...quad(DATA)]],
	])("by %s is refused by AMD's processors for an address above 4 GiB", (_, code, stack) => {
		const { engine, registers, write } = machine({ vendor: "amd" });
		write(BASE, code);
		write(STACK, stack);
		registers.set(Gpr.rsp, STACK);
		expect(engine.run(1)).toBe(Exit.exception);
		expect([registers.vector, registers.errorCode, registers.rip]).toEqual([Vector.generalProtection, 0, BASE]);
		expect(registers.longMode).toBe(true);
	});

	it("by JMP far on AMD's processors has an offset of 32 bits, REX.W or not", () => {
		const { engine, registers, write } = machine({ vendor: "amd" });
		write(BASE, [0x48, 0xff, 0x2c, 0x24]);
		write(STACK, [...bytesOf(TARGET, 4), ...bytesOf(CS32, 2)]);
		registers.set(Gpr.rsp, STACK);
		expect(engine.run(1)).toBe(Exit.fuel);
		expect([registers.longMode, registers.rip]).toEqual([false, TARGET]);
	});

	it("by CALL far, with an address on the stack to come back to", () => {
		const { engine, registers, write, read } = machine();
		write(BASE, [0x48, 0xff, 0x1c, 0x24]);
		write(STACK, frame);
		registers.set(Gpr.rsp, STACK);
		expect(engine.run(1)).toBe(Exit.fuel);
		expect(registers.rip).toBe(TARGET);
		expect(registers.get(Gpr.rsp)).toBe(STACK - 16);
		expect(read(STACK - 16)).toBe(BASE + 4);
	});

	it("loses the upper half of RSP, and the way back does not bring it", () => {
		const { engine, registers, write } = machine();
		write(BASE, [0xff, 0x2c, 0x25, ...bytesOf(VALUES, 4)]);
		write(VALUES, [...bytesOf(TARGET, 4), ...bytesOf(CS32, 2)]);
		write(TARGET, [0xea, ...bytesOf(BASE + 0x40, 4), ...bytesOf(CS64, 2)]);
		registers.setHalves(Gpr.rsp, 0x5aad_c0d8, GARBAGE);
		expect(engine.run(1)).toBe(Exit.fuel);
		expect(registers.get(Gpr.rsp)).toBe(0x5aad_c0d8);
		expect(engine.run(1)).toBe(Exit.fuel);
		expect(registers.longMode).toBe(true);
		expect(registers.get(Gpr.rsp)).toBe(0x5aad_c0d8);
	});
});

describe("EIP at the end of 4 GiB", () => {
	const run = (at: number, code: readonly number[], { fuel = 1000, flags = 2 } = {}): SmallMachine & { exit: Exit } => {
		const made = compatible();
		made.write(BASE + (at - LAST_PAGE), code);
		made.registers.rip = at;
		made.registers.rflags = flags;
		return { ...made, exit: made.engine.run(fuel) };
	};

	it.each([
		["an instruction that ends there", LAST_PAGE + 0xfff, [0x90], 0],
		["a branch over it", LAST_PAGE + 0xffe, [0xeb, 0x7e], 0x7e],
	])("wraps after %s", (_, at, code, address) => {
		const { exit, registers } = run(at, code);
		expect(exit).toBe(Exit.exception);
		expect(registers.vector).toBe(Vector.pageFault);
		expect(registers.rip).toBe(address);
		expect(registers.cr2).toBe(address);
	});

	it("has wrapped where the fuel ends, and where a single step does", () => {
		expect(run(LAST_PAGE + 0xfff, [0x90], { fuel: 1 }).registers.rip).toBe(0);
		const { exit, registers } = run(LAST_PAGE + 0xfff, [0x90], { flags: 2 | Flag.TF });
		expect([exit, registers.vector, registers.rip]).toEqual([Exit.exception, Vector.debug, 0]);
	});

	it("is beyond the segment's limit for an instruction that goes on there", () => {
		const { exit, registers } = run(LAST_PAGE + 0xfff, [0x31]);
		expect(exit).toBe(Exit.exception);
		expect([registers.vector, registers.errorCode, registers.rip]).toEqual([
			Vector.generalProtection,
			0,
			LAST_PAGE + 0xfff,
		]);
	});
});

describe.each(["interpreter", "both"] as const)("a null segment, tier %s", (tier) => {
	/** Executes one instruction, in a region if there are such, with a null selector in a segment register. */
	const execute = (segment: number | undefined, code: readonly number[]): SmallMachine & { exit: Exit } => {
		const made = compatible({ tier });
		const { engine, registers, write } = made;
		write(BASE, [...code, 0xcc]);
		if (tier === "both") {
			engine.requestTranslation();
			engine.translateQueued();
		}
		registers.set(Gpr.rsi, VALUES);
		registers.set(Gpr.rdi, VALUES + 0x800);
		registers.set(Gpr.rcx, 2);
		if (segment !== undefined) {
			registers.setSelector(segment, 3);
			registers.setSegmentBase(segment, 0);
		}
		return { ...made, exit: engine.run(1000) };
	};
	const absolute = bytesOf(VALUES, 4);

	it.each([
		["MOV from memory", Segment.ds, [0x8b, 0x06]],
		["MOV to memory", Segment.ds, [0x89, 0x06]],
		["MOV by an offset", Segment.ds, [0xa1, ...absolute]],
		["ADD to memory", Segment.ds, [0x01, 0x06]],
		["an access by FS", Segment.fs, [0x64, 0xa1, ...absolute]],
		["an access by GS", Segment.gs, [0x65, 0x8b, 0x1d, ...absolute]],
		["MOVS from DS", Segment.ds, [0xa4]],
		["MOVS to ES", Segment.es, [0xa4]],
		["REP MOVS to ES", Segment.es, [0xf3, 0xa4]],
		["REP STOS", Segment.es, [0xf3, 0xaa]],
		["SCAS", Segment.es, [0xae]],
		["PUSH of memory", Segment.ds, [0xff, 0x36]],
		["JMP by memory", Segment.ds, [0xff, 0x26]],
		["XLAT", Segment.ds, [0xd7]],
		["MOVUPS", Segment.ds, [0x0f, 0x10, 0x06]],
		["FLD", Segment.ds, [0xd9, 0x06]],
	])("refuses %s", (_, segment, code) => {
		const { exit, registers } = execute(segment, code);
		expect(exit).toBe(Exit.exception);
		expect([registers.vector, registers.errorCode]).toEqual([Vector.generalProtection, 0]);
		expect(registers.rip).toBe(BASE);
		expect(registers.get(Gpr.rcx)).toBe(2);
		const usable = execute(undefined, code);
		expect([usable.exit, usable.registers.vector]).not.toEqual([Exit.exception, Vector.generalProtection]);
	});

	it.each([
		["LEA", Segment.ds, [0x8d, 0x06]],
		["PREFETCH", Segment.ds, [0x0f, 0x18, 0x0e]],
		["PUSH", Segment.ds, [0x50]],
		["an access by SS", Segment.ds, [0x36, 0x8b, 0x06]],
		["an access by CS", Segment.ds, [0x2e, 0x8b, 0x06]],
		["REP STOS of nothing", Segment.es, [0x31, 0xc9, 0xf3, 0xaa]],
	])("does not concern %s", (_, segment, code) => {
		expect(execute(segment, code).exit).toBe(Exit.softwareInterrupt);
	});

	it("is one that a program loads itself, until it loads another", () => {
		const { engine, registers, write } = compatible({ tier });
		write(BASE, [
			...[0x8e, 0xda], // mov ds, edx
			...[0x8b, 0x06], // mov eax, [esi]
		]);
		registers.set(Gpr.rsi, VALUES);
		for (const [selector, vector] of [
			[1, Vector.generalProtection],
			[DATA, Vector.debug],
		] as const) {
			registers.rip = BASE;
			registers.set(Gpr.rdx, selector);
			expect(engine.run(1)).toBe(Exit.fuel);
			registers.rflags = 2 | Flag.TF;
			expect(engine.run(1)).toBe(Exit.exception);
			expect(registers.vector).toBe(vector);
			registers.rflags = 2;
		}
	});
});

it("null segments count as soon as compatibility mode is entered, and leave 64-bit mode's bases alone", () => {
	const { engine, registers, write } = machine();
	registers.setSelector(Segment.fs, 0);
	registers.setSegmentBase(Segment.fs, 2 ** 40 + VALUES);
	write(BASE, [0xff, 0x2c, 0x25, ...bytesOf(VALUES, 4)]);
	write(VALUES, [...bytesOf(BASE + 0x80, 4), ...bytesOf(CS32, 2)]);
	write(BASE + 0x80, [0x64, 0xa1, 0, 0, 0, 0]);
	expect(engine.run(1000)).toBe(Exit.exception);
	expect([registers.vector, registers.rip]).toEqual([Vector.generalProtection, BASE + 0x80]);
	expect(registers.segmentBase(Segment.fs)).toBe(2 ** 40 + VALUES);
	// One that is not null has the base's lower half.
	registers.setSelector(Segment.fs, DATA);
	registers.setSegmentBase(Segment.fs, 2 ** 40 + VALUES);
	registers.rflags = 2 | Flag.TF;
	expect(engine.run(1)).toBe(Exit.exception);
	expect(registers.vector).toBe(Vector.debug);
	expect(registers.low(Gpr.rax)).toBe(BASE + 0x80);
});
