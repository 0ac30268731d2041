/**
 * Privileged instructions that a PV kernel executes in ring 3: they fault, and the hypervisor does what they would do to the virtual
 * processor, as Xen does for an unprivileged guest (CR, DR and MSR accesses, port I/O, CLTS, WBINVD, XSETBV, CLI and STI with
 * enough IOPL). Also CPUID with the forced emulation prefix. What is not here stays the fault that it was.
 */
import { CR0, CR4, XCR0 } from "../../cpu/layout.ts";
import { Vector } from "../../cpu/processor.ts";
import { Flag, Gpr } from "../../cpu/registers.ts";
import { CR0_TS, CR4_GUEST_MASK, Cr4, INITIAL_CR4, VCPU_INFO_CR2 } from "../abi/arch.ts";
import { Errno } from "../abi/errno.ts";
import { debugRegister, setDebugRegister } from "../hypercalls/traps.ts";
import { RESTART } from "../mm/entries.ts";
import { setKernelRoot } from "../mm/roots.ts";
import { TraceCategory } from "../trace.ts";
import type { Vcpu } from "../vcpu.ts";
import { cpuid } from "./cpuid.ts";
import { decodeModRm, decodeOpcode, fetch, instruction, nextByte, operandSize } from "./instruction.ts";
import { type MsrValue, msrName, readMsr, writeMsr } from "./msr.ts";
import { guestMayAccessPorts, ioplAllows, readPort, writePort } from "./ports.ts";
import { injectException } from "./traps.ts";

/** Bits of a #GP's error code: raised by an event outside the program, or by an IDT gate. */
const ERROR_EXTERNAL = 1;

/** CPUID leaf 1, ECX. */
const OSXSAVE = 1 << 27;

/** DR6.BS: single step. */
const SINGLE_STEP = 0x4000;

const msrValue: MsrValue = { low: 0, high: 0 };

/** What became of an instruction. */
const Outcome = {
	/** Done: RIP goes behind it. */
	done: 0,
	/** Not emulated: the guest gets the fault that the processor raised. */
	unhandled: 1,
	/** It raises #GP(0), or #UD, of its own; RIP stays. */
	generalProtection: 2,
	invalidOpcode: 3,
	/** To be executed again: its work was preempted. */
	retry: 4,
} as const;
type Outcome = (typeof Outcome)[keyof typeof Outcome];

/**
 * A #GP of the guest. @returns true where it has been dealt with; false where the guest's handler is to get it.
 */
export function emulatePrivileged(vcpu: Vcpu, errorCode: number): boolean {
	if ((errorCode & ERROR_EXTERNAL) !== 0) return false;
	fetch(vcpu);
	if (!decodeOpcode(vcpu)) return false;
	const outcome = execute(vcpu);
	switch (outcome) {
		case Outcome.unhandled:
			return false;
		case Outcome.generalProtection:
			injectException(vcpu, Vector.generalProtection, 0);
			return true;
		case Outcome.invalidOpcode:
			injectException(vcpu, Vector.invalidOpcode, 0);
			return true;
		case Outcome.retry:
			return true;
		case Outcome.done:
			count(vcpu);
			retire(vcpu, instruction.length);
			return true;
	}
}

function count(vcpu: Vcpu): void {
	const { trace } = vcpu.domain.hypervisor;
	trace.count("emulatedInstructions");
	if ((trace.categories & TraceCategory.emulation) !== 0) trace.emulated(vcpu, describe(vcpu));
}

function describe(vcpu: Vcpu): string {
	const { opcode } = instruction;
	if (opcode === 0x0f30 || opcode === 0x0f32) {
		return `${opcode === 0x0f30 ? "WRMSR" : "RDMSR"} ${msrName(vcpu.registers.low(Gpr.rcx))}`;
	}
	return `opcode ${opcode.toString(16)}`;
}

/** Ends an emulated instruction: RIP behind it, no more RF, and #DB where the guest single-steps. */
function retire(vcpu: Vcpu, length: number): void {
	const { registers } = vcpu;
	const { rflags } = registers;
	registers.rip += length;
	if ((rflags & (Flag.RF | Flag.TF)) === 0) return;
	registers.rflags = rflags & ~Flag.RF;
	if ((rflags & Flag.TF) === 0) return;
	registers.setDebug(4, (registers.debug(4) | SINGLE_STEP) >>> 0);
	injectException(vcpu, Vector.debug, 0);
}

function execute(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	switch (instruction.opcode) {
		case 0xe4:
		case 0xe5:
		case 0xec:
		case 0xed:
			return input(vcpu);
		case 0xe6:
		case 0xe7:
		case 0xee:
		case 0xef:
			return output(vcpu);
		case 0xfa:
		case 0xfb:
			// CLI and STI with enough IOPL do nothing: a PV guest masks events in its vcpu_info, and POPF could not be caught.
			return ioplAllows(vcpu) ? Outcome.done : Outcome.unhandled;
		case 0x0f01: {
			const byte = nextByte();
			if (byte === 0xd1) return setExtendedControl(vcpu);
			// RDTSCP faults for CR4.TSD only, which does not bind the kernel.
			if (byte === 0xf9) {
				const outcome = readTimeStamp(vcpu);
				if (outcome === Outcome.done && readMsr(vcpu, 0xc000_0103, msrValue)) {
					registers.setHalves(Gpr.rcx, msrValue.low, 0);
				}
				return outcome;
			}
			return Outcome.unhandled;
		}
		case 0x0f06:
			if (!vcpu.kernelMode) return Outcome.generalProtection;
			registers.setControl(CR0, (registers.control(CR0) & ~CR0_TS) >>> 0);
			return Outcome.done;
		case 0x0f09:
			// The host's caches are not the guest's: accepted, as Linux does this while it starts.
			return vcpu.kernelMode ? Outcome.done : Outcome.generalProtection;
		case 0x0f20:
			return decodeModRm() ? readControl(vcpu) : Outcome.unhandled;
		case 0x0f21:
			return decodeModRm() ? readDebug(vcpu) : Outcome.unhandled;
		case 0x0f22:
			return decodeModRm() ? writeControl(vcpu) : Outcome.unhandled;
		case 0x0f23:
			return decodeModRm() ? writeDebug(vcpu) : Outcome.unhandled;
		case 0x0f30:
			if (!vcpu.kernelMode) return Outcome.generalProtection;
			msrValue.low = registers.low(Gpr.rax);
			msrValue.high = registers.low(Gpr.rdx);
			return writeMsr(vcpu, registers.low(Gpr.rcx), msrValue) ? Outcome.done : Outcome.generalProtection;
		case 0x0f31:
			return readTimeStamp(vcpu);
		case 0x0f32:
			return readModelSpecific(vcpu);
		case 0x0fa2:
			executeCpuid(vcpu);
			return Outcome.done;
		default:
			return Outcome.unhandled;
	}
}

function readModelSpecific(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	if (!vcpu.kernelMode) return Outcome.generalProtection;
	if (!readMsr(vcpu, registers.low(Gpr.rcx), msrValue)) {
		// A kernel that has no #GP handler yet reads 0 rather than dying (public/arch-x86/xen.h at set_trap_table).
		if ((vcpu.traps[Vector.generalProtection]?.address ?? 0) !== 0) return Outcome.generalProtection;
		msrValue.low = 0;
		msrValue.high = 0;
	}
	registers.setHalves(Gpr.rax, msrValue.low, 0);
	registers.setHalves(Gpr.rdx, msrValue.high, 0);
	return Outcome.done;
}

function readTimeStamp(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	if (!vcpu.kernelMode && (registers.control(CR4) & Cr4.TSD) !== 0) return Outcome.generalProtection;
	if (!readMsr(vcpu, 0x10, msrValue)) return Outcome.unhandled;
	registers.setHalves(Gpr.rax, msrValue.low, 0);
	registers.setHalves(Gpr.rdx, msrValue.high, 0);
	return Outcome.done;
}

function executeCpuid(vcpu: Vcpu): void {
	const { registers } = vcpu;
	const leaf = registers.low(Gpr.rax);
	const result = cpuid(vcpu, leaf, registers.low(Gpr.rcx));
	registers.setHalves(Gpr.rax, result.eax, 0);
	registers.setHalves(Gpr.rbx, result.ebx, 0);
	// A kernel that asks Xen sees OSXSAVE from the start: Linux takes it as leave to use XSAVE at all.
	registers.setHalves(Gpr.rcx, leaf === 1 && vcpu.kernelMode ? (result.ecx | OSXSAVE) >>> 0 : result.ecx, 0);
	registers.setHalves(Gpr.rdx, result.edx, 0);
}

function setExtendedControl(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	if ((registers.control(CR4) & Cr4.OSXSAVE) === 0) return Outcome.invalidOpcode;
	if (!vcpu.kernelMode) return Outcome.generalProtection;
	const features = registers.low(Gpr.rax);
	const legal = registers.low(Gpr.rcx) === 0 && registers.low(Gpr.rdx) === 0 && (features & 1) !== 0 && features <= 3;
	if (!legal) return Outcome.generalProtection;
	registers.setControl(XCR0, features);
	return Outcome.done;
}

/** MOV from CR: mod is ignored, the operand is always a register. */
function readControl(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	const { memory } = vcpu.domain.hypervisor;
	if (!vcpu.kernelMode) return Outcome.generalProtection;
	switch (instruction.reg) {
		case 0:
			registers.set(instruction.rm, registers.control(CR0));
			return Outcome.done;
		case 2:
			registers.set(instruction.rm, memory.i64(vcpu.vcpuInfo + VCPU_INFO_CR2));
			return Outcome.done;
		case 3:
			registers.set(instruction.rm, vcpu.kernelRoot * 4096);
			return Outcome.done;
		case 4:
			registers.set(instruction.rm, registers.control(CR4));
			return Outcome.done;
		default:
			return Outcome.unhandled;
	}
}

function writeControl(vcpu: Vcpu): Outcome {
	const { registers, domain } = vcpu;
	const { rm } = instruction;
	if (!vcpu.kernelMode) return Outcome.generalProtection;
	switch (instruction.reg) {
		case 0: {
			const old = registers.control(CR0);
			// Only TS is the guest's to change.
			if (registers.high(rm) !== 0 || ((registers.low(rm) ^ old) & ~CR0_TS) !== 0) return Outcome.unhandled;
			registers.setControl(CR0, registers.low(rm));
			return Outcome.done;
		}
		case 2:
			registers.cr2 = registers.get(rm);
			domain.hypervisor.memory.setU64(vcpu.vcpuInfo + VCPU_INFO_CR2, registers.get(rm));
			return Outcome.done;
		case 3: {
			const mfn = Math.floor((registers.high(rm) * 2 ** 32 + registers.low(rm)) / 4096);
			domain.hypervisor.frames.startWork();
			const result = setKernelRoot(vcpu, mfn);
			if (result === RESTART) return Outcome.retry;
			return result === 0 ? Outcome.done : Outcome.unhandled;
		}
		case 4:
			registers.setControl(CR4, (registers.low(rm) & CR4_GUEST_MASK) | INITIAL_CR4);
			return Outcome.done;
		default:
			return Outcome.unhandled;
	}
}

function readDebug(vcpu: Vcpu): Outcome {
	if (!vcpu.kernelMode) return Outcome.generalProtection;
	const value = debugRegister(vcpu, instruction.reg);
	if (value === undefined) return Outcome.invalidOpcode;
	vcpu.registers.set(instruction.rm, value);
	return Outcome.done;
}

function writeDebug(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	const { reg, rm } = instruction;
	if (!vcpu.kernelMode) return Outcome.generalProtection;
	const result = setDebugRegister(vcpu, reg, registers.low(rm), registers.high(rm));
	if (result === 0) return Outcome.done;
	return result === -Errno.ENODEV ? Outcome.invalidOpcode : Outcome.generalProtection;
}

/** Port number of IN and OUT: an immediate byte or DX; -1 where the byte is missing. */
function portOperand(vcpu: Vcpu): number {
	if ((instruction.opcode & 8) !== 0) return vcpu.registers.low(Gpr.rdx) & 0xffff;
	return nextByte();
}

/** Bytes of a port access: REX.W has no meaning for IN and OUT. */
function portSize(): number {
	return Math.min(operandSize(), 4);
}

function input(vcpu: Vcpu): Outcome {
	const { registers } = vcpu;
	const port = portOperand(vcpu);
	const size = portSize();
	if (port < 0 || !guestMayAccessPorts(vcpu, port, size)) return Outcome.unhandled;
	const value = readPort(vcpu, port, size);
	switch (size) {
		case 4:
			registers.setHalves(Gpr.rax, value, 0);
			break;
		case 2:
			registers.setHalves(Gpr.rax, (registers.low(Gpr.rax) & ~0xffff) | value, registers.high(Gpr.rax));
			break;
		default:
			registers.setHalves(Gpr.rax, (registers.low(Gpr.rax) & ~0xff) | value, registers.high(Gpr.rax));
	}
	return Outcome.done;
}

function output(vcpu: Vcpu): Outcome {
	const port = portOperand(vcpu);
	const size = portSize();
	if (port < 0 || !guestMayAccessPorts(vcpu, port, size)) return Outcome.unhandled;
	writePort(vcpu, port, size, vcpu.registers.low(Gpr.rax));
	return Outcome.done;
}

/** UD2, "xen": the prefix that forces emulation (XEN_EMULATE_PREFIX of public/arch-x86/xen.h), then CPUID. */
const FORCED_CPUID = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];

/** A #UD of the guest. @returns true where it was a CPUID with the forced emulation prefix, which has been executed. */
export function emulateForcedInvalidOpcode(vcpu: Vcpu): boolean {
	fetch(vcpu);
	if (instruction.available < FORCED_CPUID.length) return false;
	for (let index = 0; index < FORCED_CPUID.length; index++) {
		if (instruction.bytes[index] !== FORCED_CPUID[index]) return false;
	}
	executeCpuid(vcpu);
	vcpu.domain.hypervisor.trace.count("emulatedInstructions");
	retire(vcpu, FORCED_CPUID.length);
	return true;
}
