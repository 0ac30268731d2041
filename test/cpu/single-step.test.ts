/** Single-stepping by TF over instructions that leave the processor: what they are must not be lost to the trap, nor the trap to them. */
import { expect, test } from "vitest";
import { Exit, Vector } from "../../src/cpu/processor.ts";
import { Flag, Gpr, Segment } from "../../src/cpu/registers.ts";
import { BASE, smallMachine } from "./small-machine.ts";

const DR6 = 4;
const DR7 = 5;
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

/** Where #DB traps come while a program runs that begins with TF set, as offsets, and what DR6 says. */
function trapsOf(
	code: readonly number[],
	registersOf: Partial<Record<keyof typeof Gpr, number>> = {},
	longMode = true,
) {
	const { engine, registers, write } = smallMachine(
		4,
		{},
		{
			descriptor: () => ({ low: 0xffff, high: 0x00cf_f300 }),
		},
	);
	write(BASE, [...code, 0xcc]);
	write(BASE + 0x1000, [7]);
	write(BASE + 0x1800, [DATA]);
	write(BASE + 0x2104, [DATA]);
	registers.longMode = longMode;
	for (const segment of [Segment.es, Segment.ss, Segment.ds]) registers.setSelector(segment, DATA);
	registers.finishTransfer();
	for (const name of Object.keys(registersOf) as (keyof typeof Gpr)[]) registers.set(Gpr[name], registersOf[name]!);
	registers.rflags = 2 | Flag.TF;
	const traps: number[] = [];
	while (engine.run(1000) === Exit.exception && registers.vector === Vector.debug && traps.length < 20) {
		traps.push(registers.rip - BASE);
	}
	return { traps, registers };
}
const DATA = 0x2b;
const NOP = 0x90;
const MOV_SS = [0x8e, 0xd0];

test.each<[string, readonly number[], readonly number[], boolean?]>([
	["MOV SS", [...MOV_SS, NOP, NOP], [3, 4]],
	["POP SS", [0x17, NOP, NOP], [2, 3], false],
	["MOV SS after MOV SS", [...MOV_SS, ...MOV_SS, NOP, NOP], [5, 6]],
	["MOV SS before a repeated instruction", [...MOV_SS, 0xf3, 0xaa, NOP], [2, 4, 5]],
	["MOV SS before INT3", MOV_SS, []],
	["MOV SS before RDTSC", [...MOV_SS, 0x0f, 0x31, NOP], [4, 5]],
])("no trap comes directly after %s", (_, code, expected, longMode) => {
	const { traps, registers } = trapsOf(code, { rax: DATA, rcx: 2, rdi: BASE + 0x1000 }, longMode ?? true);
	expect(traps).toEqual(expected);
	expect(registers.vector).toBe(Vector.breakpoint);
});

test.each([
	["MOV DS", [0x8e, 0xd8]],
	["LSS", [0x0f, 0xb2, 0x01]],
])("a trap comes directly after %s", (_, code) => {
	expect(trapsOf([...code, NOP], { rax: DATA, rcx: BASE + 0x2100 }).traps).toEqual([code.length, code.length + 1]);
});

test.each([
	["REP STOSB", [0xf3, 0xaa], { rcx: 3 }, [0, 0, 2], 0],
	["REP STOSQ", [0xf3, 0x48, 0xab], { rcx: 3 }, [0, 0, 3], 0],
	["REP MOVSB", [0xf3, 0xa4], { rcx: 3 }, [0, 0, 2], 0],
	["REP LODSB", [0xf3, 0xac], { rcx: 2 }, [0, 2], 0],
	["REP STOSB once", [0xf3, 0xaa], { rcx: 1 }, [2], 0],
	["REP STOSB not at all", [0xf3, 0xaa], { rcx: 0 }, [2], 0],
	["REPE SCASB that ends by its comparison", [0xf3, 0xae], { rcx: 5, rax: 0, rdi: BASE - 2 + 0x1000 }, [0, 0, 2], 2],
	["REPE SCASB that does not", [0xf3, 0xae], { rcx: 2, rax: 0 }, [0, 2], 0],
	["REPNE CMPSB", [0xf2, 0xa6], { rcx: 5 }, [2], 4],
])("%s traps after each iteration", (_, code, values, expected, left) => {
	const { traps, registers } = trapsOf(code, { rsi: BASE + 0x2000, rdi: BASE + 0x100, ...values });
	expect(traps).toEqual(expected);
	expect(registers.get(Gpr.rcx)).toBe(left);
});

/** DR7 with DR0 on reads and writes, or on writes, of `bytes` bytes. */
const onData = (kind: 1 | 3, bytes: number): number => 0x402 | (kind << 16) | ((bytes === 8 ? 2 : bytes - 1) << 18);

test.each([
	["MOV SS from memory: after the next instruction", [0x8e, 0x16, NOP, NOP], { rsi: BASE + 0x2000 }, 3, 3],
	["MOV to memory: at once", [0x89, 0x06, NOP], { rsi: BASE + 0x2000 }, 1, 2],
	["STOSB", [0xaa, NOP], { rdi: BASE + 0x2000 }, 1, 1],
	["REP STOSB: after the iteration", [0xf3, 0xaa, NOP], { rdi: BASE + 0x1fff, rcx: 9 }, 1, 0],
	["REP STOSB downwards: after the iteration", [0xfd, 0xf3, 0xaa, NOP], { rdi: BASE + 0x2002, rcx: 9 }, 1, 1],
	["MOVSB, which reads", [0xa4, NOP], { rsi: BASE + 0x2000, rdi: BASE + 0x2800 }, 3, 1],
	["REPE CMPSB: after its last iteration", [0xf3, 0xa6, NOP], { rsi: BASE + 0x2800, rdi: BASE + 0x1fff, rcx: 9 }, 3, 2],
] as const)("a data breakpoint on %s", (_, code, values, kind, at) => {
	const { engine, registers, write } = smallMachine(
		4,
		{},
		{
			descriptor: () => ({ low: 0xffff, high: 0x00cf_f300 }),
		},
	);
	write(BASE, [...code, 0xcc]);
	write(BASE + 0x2000, [DATA]);
	for (const [name, value] of Object.entries(values)) registers.set(Gpr[name as keyof typeof Gpr], value);
	registers.setDebug(0, BASE + 0x2000);
	registers.setDebug(DR7, onData(kind, 1));
	expect(engine.run(1000)).toBe(Exit.exception);
	expect([registers.vector, registers.rip - BASE]).toEqual([Vector.debug, at]);
	expect(registers.debug(DR6) & 0x400f).toBe(1);
	// Once: what was touched is forgotten.
	registers.setDebug(DR6, 0xffff_0ff0);
	expect(engine.run(1000)).toBe(Exit.softwareInterrupt);
	expect(registers.debug(DR6) & 0x400f).toBe(0);
});

test("an instruction breakpoint directly after MOV SS is passed over", () => {
	const { engine, registers, write } = smallMachine(2, {}, { descriptor: () => ({ low: 0xffff, high: 0x00cf_f300 }) });
	write(BASE, [...MOV_SS, NOP, NOP]);
	registers.set(Gpr.rax, DATA);
	registers.setDebug(0, BASE + 2);
	registers.setDebug(1, BASE + 3);
	registers.setDebug(DR7, 0x40a);
	expect(engine.run(1000)).toBe(Exit.exception);
	expect([registers.vector, registers.rip]).toEqual([Vector.debug, BASE + 3]);
	expect(registers.debug(DR6) & 0x400f).toBe(2);
});

test("a processor says that its last instruction was a load of SS, of the running context", () => {
	const { engine, registers, write } = smallMachine(2, {}, { descriptor: () => ({ low: 0xffff, high: 0x00cf_f300 }) });
	write(BASE, [...MOV_SS, ...MOV_SS, ...Array.from({ length: 300 }, () => NOP)]);
	registers.set(Gpr.rax, DATA);
	expect(engine.interruptShadow).toBe(false);
	engine.run(1);
	expect(engine.interruptShadow).toBe(true);
	engine.switchContext(1);
	expect(engine.interruptShadow).toBe(false);
	engine.switchContext(0);
	expect(engine.interruptShadow).toBe(true);
	engine.run(2);
	expect(engine.interruptShadow).toBe(false);
	registers.rip = BASE;
	engine.run(200);
	expect(engine.interruptShadow).toBe(false);
});
