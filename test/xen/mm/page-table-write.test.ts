import { beforeEach, describe, expect, it } from "vitest";
import { Flag, Gpr } from "../../../src/cpu/registers.ts";
import { CODE, createExecutingGuest, type ExecutingGuest, GDT, STACK_TOP, TABLE } from "../trap-guest.ts";

const PF_HANDLER = CODE + 0x820;
const DB_HANDLER = CODE + 0x830;

let guest: ExecutingGuest;

beforeEach(() => {
	guest = createExecutingGuest();
	(guest.vcpu.traps[14] as { address: number }).address = PF_HANDLER;
	(guest.vcpu.traps[1] as { address: number }).address = DB_HANDLER;
});

describe("stores to page tables", () => {
	/** Entry 3 of the L1 table: a page of data. */
	const ENTRY = TABLE + 3 * 8;
	const FREE = TABLE + 20 * 8;
	const value = (address = ENTRY): number => guest.memory.u64(guest.at(address));

	/** Executes an instruction with RDI at an address: once to fault and be done. */
	function store(address: number, ...bytes: number[]): void {
		guest.registers.rip = CODE;
		guest.registers.set(Gpr.rsp, STACK_TOP - 0x100);
		guest.registers.set(Gpr.rdi, address);
		guest.code(...bytes);
		guest.step();
	}
	function stored(address: number, ...bytes: number[]): void {
		store(address, ...bytes);
		expect(guest.registers.rip).toBe(CODE + bytes.length);
	}

	it("XCHG gives the old entry, as ptep_get_and_clear wants it", () => {
		const before = value();
		guest.registers.set(Gpr.rax, 0);
		stored(ENTRY, 0x48, 0x87, 0x07);
		expect(value()).toBe(0);
		expect(guest.registers.get(Gpr.rax)).toBe(before);
		expect(guest.hypervisor.trace.counters().events).toMatchObject({ emulatedPageTableWrites: 1 });
	});

	it("LOCK BTR and LOCK AND take the write permission, as ptep_set_wrprotect wants it", () => {
		const before = value();
		stored(ENTRY, 0xf0, 0x48, 0x0f, 0xba, 0x37, 0x01);
		expect(value()).toBe(before - 2);
		expect(guest.registers.rflags & Flag.CF).toBe(1);
		stored(ENTRY, 0xf0, 0x48, 0x0f, 0xba, 0x2f, 0x01);
		expect(value()).toBe(before);
		expect(guest.registers.rflags & Flag.CF).toBe(0);
		stored(ENTRY, 0xf0, 0x80, 0x27, 0xfd);
		expect(value()).toBe(before - 2);
		guest.registers.set(Gpr.rcx, 2);
		stored(ENTRY, 0xf0, 0x48, 0x09, 0x0f);
		expect(value()).toBe(before);
	});

	it("CMPXCHG compares first", () => {
		const { registers } = guest;
		const before = value();
		registers.set(Gpr.rax, before);
		registers.set(Gpr.rbx, before - 2);
		stored(ENTRY, 0xf0, 0x48, 0x0f, 0xb1, 0x1f);
		expect(value()).toBe(before - 2);
		expect(registers.rflags & Flag.ZF).toBe(Flag.ZF);
		stored(ENTRY, 0xf0, 0x48, 0x0f, 0xb1, 0x1f);
		expect(registers.rflags & Flag.ZF).toBe(0);
		expect(registers.get(Gpr.rax)).toBe(before - 2);
	});

	it("MOV and STOS set entries", () => {
		const { registers } = guest;
		const entry = value();
		registers.set(Gpr.rdx, entry);
		stored(FREE, 0x48, 0x89, 0x17);
		expect(value(FREE)).toBe(entry);
		stored(FREE, 0x48, 0xc7, 0x07, 0, 0, 0, 0);
		expect(value(FREE)).toBe(0);
		registers.set(Gpr.rax, entry);
		registers.set(Gpr.rdi, FREE);
		registers.set(Gpr.rcx, 2);
		stored(FREE, 0xf3, 0x48, 0xab);
		expect([registers.get(Gpr.rcx), registers.get(Gpr.rdi), value(FREE), value(FREE + 8)]).toEqual([
			0,
			FREE + 16,
			entry,
			entry,
		]);
	});

	it("that Xen would not allow are page faults of the guest", () => {
		const { registers } = guest;
		const before = value();
		// A frame that is not the guest's; a page table mapped writable.
		for (const wrong of [3 + 4096 * 0, 127 * 4096 + 7, value(TABLE + 4 * 8) + 2]) {
			registers.set(Gpr.rax, wrong);
			store(ENTRY, 0x48, 0x89, 0x07);
			expect(registers.rip).toBe(PF_HANDLER);
			expect(value()).toBe(before);
		}
		// A store that is not to a table.
		store(GDT, 0x48, 0x89, 0x07);
		expect(registers.rip).toBe(PF_HANDLER);
	});

	it.each([
		["add", 0x01, (a: number, b: number) => a + b],
		["sub", 0x29, (a: number, b: number) => a - b],
		["xor", 0x31, (a: number, b: number) => a + b],
	] as const)("%s works on whole entries", (_, opcode, expected) => {
		// Bits 9 to 11 are the guest's own to use, and clear now.
		const before = opcode === 0x29 ? value() + 0x600 : value();
		if (opcode === 0x29) {
			guest.registers.set(Gpr.rcx, before);
			stored(ENTRY, 0x48, 0x89, 0x0f);
		}
		guest.registers.set(Gpr.rcx, 0x200);
		stored(ENTRY, 0x48, opcode, 0x0f);
		expect(value()).toBe(expected(before, 0x200));
		expect(guest.registers.rflags & (Flag.CF | Flag.ZF | Flag.SF | Flag.OF)).toBe(0);
	});

	it("MOVS, POP and SSE work, which are no instructions for page tables", () => {
		const { registers, memory } = guest;
		const before = value();
		registers.set(Gpr.rsi, CODE + 0x100);
		memory.setU64(guest.at(CODE + 0x100), before - 2);
		stored(ENTRY, 0x48, 0xa5);
		expect([value(), registers.get(Gpr.rdi), registers.get(Gpr.rsi)]).toEqual([before - 2, ENTRY + 8, CODE + 0x108]);
		memory.setU64(guest.at(STACK_TOP - 0x100), before);
		stored(ENTRY, 0x8f, 0x07);
		expect([value(), registers.get(Gpr.rsp)]).toEqual([before, STACK_TOP - 0xf8]);
		stored(ENTRY, 0x66, 0x0f, 0xd6, 0x07);
		expect(value()).toBe(0);
	});

	it("what an instruction has changed before its store is refused is as it was", () => {
		const { registers } = guest;
		const before = value();
		const rflags = registers.rflags;
		// A frame that is not the guest's, by XADD, which changes RAX and the flags as well.
		registers.set(Gpr.rax, 127 * 4096);
		store(ENTRY, 0x48, 0x0f, 0xc1, 0x07);
		expect(registers.rip).toBe(PF_HANDLER);
		expect([value(), registers.get(Gpr.rax)]).toEqual([before, 127 * 4096]);
		expect(guest.words(registers.get(Gpr.rsp), 8)[5]).toBe(rflags);
		expect(guest.vcpu.registers.cr2).toBe(ENTRY);
	});

	it("a repeated store that is refused has done those before it", () => {
		const { registers } = guest;
		// The last entry of the table, then the hole behind it.
		registers.set(Gpr.rax, 0);
		registers.set(Gpr.rcx, 3);
		const last = TABLE + 511 * 8;
		store(last, 0xf3, 0x48, 0xab);
		expect([registers.rip, registers.get(Gpr.rcx), registers.get(Gpr.rdi)]).toEqual([CODE, 2, last + 8]);
		guest.step();
		expect([registers.rip, registers.get(Gpr.rcx)]).toEqual([PF_HANDLER, 2]);
		expect(registers.cr2).toBe(last + 8);
	});

	it("a single step is trapped after the store", () => {
		const { registers } = guest;
		registers.rflags |= Flag.TF;
		registers.set(Gpr.rax, 0);
		store(ENTRY, 0x48, 0x89, 0x07);
		expect(value()).toBe(0);
		expect(registers.rip).toBe(DB_HANDLER);
	});
});
