/**
 * What the hypervisor remembers of a vCPU in linear memory, beside its registers: how its kernel is entered and left. The code in fast/ works on
 * it without leaving WebAssembly; everybody else reads it through the accessors of {@link Vcpu} (vcpu.ts). Here, too, the counters that both sides
 * count in (trace.ts).
 *
 *   HYPERVISOR_DATA    blocks of the vCPUs, one for each context (VCPU_BLOCKS)
 *   + 0x10_0000        counters, and which block is the running vCPU's (SHARED)
 */
import { CONTEXT_COUNT } from "../cpu/layout.ts";
import { HYPERVISOR_DATA } from "../memory/map.ts";
import type { Memory } from "../memory/memory.ts";
import { array, i64, struct, u8, u16, u32, u64 } from "./abi/struct.ts";

export const TRAP_VECTORS = 256;
export const GDT_FRAMES_MAX = 14;

/** An entry of the virtual IDT, or a callback: `handler` is 0 where none is set. */
export const gate = struct({ handler: i64, flags: u8, pad: u8, selector: u16, pad2: u32 });

export const vcpuBlock = struct(
	{
		/** TF_kernel_mode: the guest kernel runs, not one of its user programs. */
		kernelMode: u8,
		/** An NMI waits for delivery; while its handler runs (until iret) another must wait. */
		nmiPending: u8,
		nmiMasked: u8,
		pad: u8,
		/** Virtualised IOPL, in place in RFLAGS. */
		iopl: u32,
		/** Machine frames of the two L4 tables; user 0 where none is set. */
		kernelRoot: u32,
		userRoot: u32,
		/** Linear address of vcpu_info. */
		vcpuInfo: u32,
		/** Domain id, and the first table that the domain still has to drop (Domain.deferredTable keeps it). */
		domainId: u32,
		deferredTable: u32,
		/** Selector whose descriptor was last asked for in vain because its page of the LDT is missing, or 0. */
		ldtFault: u32,
		/** stack_switch. */
		kernelStackSelector: u16,
		pad2: u16,
		kernelStackPointer: i64,
		/** Bases of GS in kernel and in user mode; the running mode's is in the registers and stale here. */
		gsBaseKernel: i64,
		gsBaseUser: i64,
		/** The domain's vm_assist, for code that has no domain at hand; Domain.vmAssist keeps it. */
		vmAssist: u64,
		gdtEntries: u32,
		gdtFrames: array(u32, GDT_FRAMES_MAX),
		/** Callbacks; bit 2 of `flags` masks events on entry, as in the trap table. */
		eventCallback: gate,
		failsafeCallback: gate,
		syscallCallback: gate,
		syscall32Callback: gate,
		sysenterCallback: gate,
		traps: array(gate, TRAP_VECTORS),
	},
	{ size: 0x2000 },
);
export type VcpuBlock = ReturnType<typeof vcpuBlock.at>;

/** Linear address of the block of the vCPU with a context's number. */
export function vcpuBlockAddress(slot: number): number {
	return HYPERVISOR_DATA + slot * vcpuBlock.size;
}

export const HYPERCALLS = 64;

/** Counts are f64: exact, and JavaScript's own. */
const f64 = { size: 8, align: 8 };

/** What all vCPUs share. */
export const shared = struct({
	/** Linear address of the running vCPU's block. */
	currentBlock: u32,
	/** TraceCategory bits that are printed: what is traced is TypeScript's. */
	traceCategories: u32,
	/** Number of the TLB epoch (frames.ts). */
	epoch: u32,
	hypercalls: array(f64, HYPERCALLS),
	exceptions: array(f64, TRAP_VECTORS),
	/** One element each. */
	eventUpcalls: array(f64, 1),
	systemCalls: array(f64, 1),
	multicallEntries: array(f64, 1),
	emulatedInstructions: array(f64, 1),
	emulatedPageTableWrites: array(f64, 1),
});
export const SHARED = HYPERVISOR_DATA + CONTEXT_COUNT * vcpuBlock.size;

/** A field of counters, as an array over the memory. */
export function counters(memory: Memory, address: number, length: number): Float64Array {
	return new Float64Array(memory.wasm.buffer, address, length);
}
