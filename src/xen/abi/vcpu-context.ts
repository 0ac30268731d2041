/** struct vcpu_guest_context of public/arch-x86/xen.h: what VCPUOP_initialise takes and the save format keeps. */
import { cpuUserRegs, trapInfo } from "./arch.ts";
import { array, bytes, i64, struct, u64 } from "./struct.ts";

export const vcpuGuestContext = struct({
	fpuContext: bytes(512),
	flags: u64,
	userRegs: cpuUserRegs,
	trapContext: array(trapInfo, 256),
	ldtBase: i64,
	ldtEntries: u64,
	gdtFrames: array(u64, 16),
	gdtEntries: u64,
	kernelSs: u64,
	kernelSp: i64,
	/** CR0-CR7; CR1 is the user page table, CR3 the kernel's. */
	controlRegisters: array(u64, 8),
	debugRegisters: array(u64, 8),
	eventCallbackRip: i64,
	failsafeCallbackRip: i64,
	syscallCallbackRip: i64,
	vmAssist: u64,
	fsBase: i64,
	gsBaseKernel: i64,
	gsBaseUser: i64,
});
