/** Constants and structures of public/arch-x86/xen.h and xen-x86_64.h: selectors, address ranges, iret_context. */
import { array, i64, struct, u8, u16, u32, u64 } from "./struct.ts";

/** Selectors of Xen's own descriptors, in the reserved part of every GDT. */
export const FLAT_RING3_CS32 = 0xe023;
export const FLAT_RING3_SS32 = 0xe02b;
export const FLAT_RING3_CS64 = 0xe033;
export const FLAT_RING3_SS64 = 0xe02b;
/** GDT entries from here on are Xen's. */
export const FIRST_RESERVED_GDT_PAGE = 14;
export const FIRST_RESERVED_GDT_ENTRY = (FIRST_RESERVED_GDT_PAGE * 4096) / 8;

/** Whether a signed virtual address is one of 48 bits, sign-extended (SDM volume 1, 3.3.7.1). */
export function isCanonical(virtualAddress: number): boolean {
	return virtualAddress >= -(2 ** 47) && virtualAddress < 2 ** 47;
}

/** 0xFFFF800000000000 .. 0xFFFF880000000000 as signed numbers. */
export const HYPERVISOR_VIRT_START = -(2 ** 47);
export const HYPERVISOR_VIRT_END = HYPERVISOR_VIRT_START + 2 ** 43;
export const MACH2PHYS_VIRT_START = HYPERVISOR_VIRT_START;
export const MACH2PHYS_VIRT_END = HYPERVISOR_VIRT_START + 2 ** 38;

/** PE, MP, ET, NE, WP, AM, PG: what Xen runs its PV guests with. TS is the guest's. */
export const INITIAL_CR0 = 0x8005_0033;
export const CR0_TS = 8;

export const Cr4 = {
	VME: 1 << 0,
	PVI: 1 << 1,
	TSD: 1 << 2,
	DE: 1 << 3,
	PSE: 1 << 4,
	PAE: 1 << 5,
	MCE: 1 << 6,
	PGE: 1 << 7,
	PCE: 1 << 8,
	OSFXSR: 1 << 9,
	OSXMMEXCPT: 1 << 10,
	UMIP: 1 << 11,
	FSGSBASE: 1 << 16,
	OSXSAVE: 1 << 18,
} as const;
/** Bits of CR4 that are the guest's to choose. */
export const CR4_GUEST_MASK = Cr4.TSD | Cr4.DE | Cr4.FSGSBASE | Cr4.OSXSAVE;
/** Bits of CR4 that are Xen's and that the guest sees set. */
export const INITIAL_CR4 = Cr4.PAE | Cr4.MCE | Cr4.OSFXSR | Cr4.OSXMMEXCPT;

/** SCE, LME, LMA, NXE. */
export const INITIAL_EFER = 0xd01;

export const VGCF_in_syscall = 1 << 8;
/** struct vcpu_guest_context.flags. */
export const Vgcf = {
	i387Valid: 1 << 0,
	inKernel: 1 << 2,
	failsafeDisablesEvents: 1 << 3,
	syscallDisablesEvents: 1 << 4,
	online: 1 << 5,
} as const;

/** `which` of set_segment_base. */
export const SegmentBase = { fs: 0, gsUser: 1, gsKernel: 2, gsUserSelector: 3 } as const;

/** `handler` is the header's `address`, which every view has already. */
export const trapInfo = struct({ vector: u8, flags: u8, cs: u16, handler: i64 });

/** What HYPERVISOR_iret finds at RSP. */
export const iretContext = struct({
	rax: u64,
	r11: u64,
	rcx: u64,
	flags: u64,
	rip: i64,
	cs: u64,
	rflags: u64,
	rsp: i64,
	ss: u64,
});

export const cpuUserRegs = struct({
	r15: i64,
	r14: i64,
	r13: i64,
	r12: i64,
	rbp: i64,
	rbx: i64,
	r11: i64,
	r10: i64,
	r9: i64,
	r8: i64,
	rax: i64,
	rcx: i64,
	rdx: i64,
	rsi: i64,
	rdi: i64,
	errorCode: u32,
	entryVector: u32,
	rip: i64,
	cs: u16,
	pad0: u16,
	savedUpcallMask: u8,
	pad1: array(u8, 3),
	rflags: u64,
	rsp: i64,
	ss: u16,
	pad2: array(u16, 3),
	es: u16,
	pad3: array(u16, 3),
	ds: u16,
	pad4: array(u16, 3),
	fs: u16,
	pad5: array(u16, 3),
	gs: u16,
	pad6: array(u16, 3),
});

/** The first bytes of struct vcpu_info, which event delivery reads on every entry. */
export const VCPU_INFO_UPCALL_PENDING = 0;
export const VCPU_INFO_UPCALL_MASK = 1;
export const VCPU_INFO_CR2 = 16;

export const multicallEntry = struct({ op: u64, result: i64, args: array(u64, 6) });
