/**
 * The hypercall page of a 64-bit PV guest: one stub of 32 bytes for each hypercall number, which the kernel calls.
 * The stubs' instructions are what public/xen.h and Linux expect: SYSCALL overwrites RCX and R11, so a stub keeps them.
 */
import { PAGE_SIZE } from "../../memory/map.ts";
import type { Memory } from "../../memory/memory.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";

const STUB_SIZE = 32;
const INT3 = 0xcc;

/** push %rcx; push %r11 */
const SAVE = [0x51, 0x41, 0x53];
/** mov $imm32, %eax */
const MOV_EAX = 0xb8;
const SYSCALL = [0x0f, 0x05];
/** pop %r11; pop %rcx; ret */
const RESTORE_AND_RETURN = [0x41, 0x5b, 0x59, 0xc3];
/** iret does not return: it leaves RCX, R11 and RAX on the stack as the first words of struct iret_context. */
const PUSH_RAX = [0x50];

/** Fills a frame; the rest of it traps. Also what a write to the hypercall MSR does. */
export function fillHypercallPage(memory: Memory, mfn: number): void {
	const page = memory.frame(mfn);
	memory.fill(page, PAGE_SIZE, INT3);
	for (let number = 0; number < PAGE_SIZE / STUB_SIZE; number++) {
		const load = [MOV_EAX, number, 0, 0, 0];
		const stub =
			number === HypercallNumber.iret
				? [...SAVE, ...PUSH_RAX, ...load, ...SYSCALL]
				: [...SAVE, ...load, ...SYSCALL, ...RESTORE_AND_RETURN];
		memory.bytes.set(stub, page + number * STUB_SIZE);
	}
}
