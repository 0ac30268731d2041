# Privileged instructions of a PV kernel: what Xen emulates, and what it refuses with a fault.
	.include "guest.inc"
	guest "emulation"
	attempt cr0.read, mov %cr0, %rax
	show cr0, %rax
	attempt cr0.write-same, mov %rax, %cr0
	or $8, %rax
	attempt cr0.set-ts, mov %rax, %cr0
	attempt cr0.read-ts, mov %cr0, %rax
	show cr0.ts, %rax
	attempt clts, clts
	attempt cr0.read-clear, mov %cr0, %rax
	show cr0.clear, %rax
	xor $0x10000, %rax
	attempt cr0.write-wp, mov %rax, %cr0
	mov $0x1234567, %eax
	attempt cr2.write, mov %rax, %cr2
	xor %eax, %eax
	attempt cr2.read, mov %cr2, %rax
	show cr2, %rax
	show cr2.shared, shared_info+16
	attempt cr3.read, mov %cr3, %rax
	attempt cr3.write-same, mov %rax, %cr3
	mov $-1, %rax
	attempt cr3.write-wild, mov %rax, %cr3
	attempt cr4.read, mov %cr4, %rax
	attempt cr4.write-same, mov %rax, %cr4
	attempt cr8.read, mov %cr8, %rax
	attempt cr8.write, mov %rax, %cr8
	attempt smsw, smsw %rax
	attempt lmsw, lmsw %ax
	attempt dr0.write, mov %rax, %dr0
	mov $0x100000, %eax
	attempt dr0.write-good, mov %rax, %dr0
	attempt dr0.read, mov %dr0, %rax
	show dr0, %rax
	attempt dr4.read, mov %dr4, %rax
	attempt dr6.read, mov %dr6, %rax
	show dr6, %rax
	attempt dr7.read, mov %dr7, %rax
	show dr7, %rax
	mov $0x2000, %eax
	attempt dr7.general-detect, mov %rax, %dr7
	xor %eax, %eax
	attempt dr7.write, mov %rax, %dr7
	attempt hlt, hlt
	attempt cli, cli
	attempt sti, sti
	attempt wbinvd, wbinvd
	attempt invd, invd
	attempt invlpg, invlpg (%rsp)
	attempt swapgs, swapgs
	attempt sysret, sysretq
	attempt sysexit, sysexitl
	attempt rsm, rsm
	attempt vmcall, vmcall
	attempt monitor, monitor
	attempt mwait, mwait
	attempt lgdt, lgdt (%rsp)
	attempt lidt, lidt (%rsp)
	attempt lldt, lldt %ax
	attempt ltr, ltr %ax
	mov $0x80, %edx
	attempt in.dx, in %dx, %al
	attempt in.byte, in $0x61, %al
	attempt out.byte, out %al, $0x80
	attempt out.dx, out %eax, %dx
	mov $4, %ecx
	mov $stack_top-64, %rdi
	attempt ins, insb
	attempt rep-ins, rep insb
	mov $stack_top-64, %rsi
	attempt outs, outsb
	mov $0xcf8, %edx
	attempt in.pci, in %dx, %eax
	show in.pci.value, %rax
	mov $0x71, %edx
	attempt in.rtc, in %dx, %al
	# CPUID with the forced emulation prefix, and what it must not be
	mov $0x40000000, %eax
	xor %ecx, %ecx
	attempt cpuid.forced, .byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2
	show cpuid.xen.ebx, %rbx
	show cpuid.xen.ecx, %rcx
	show cpuid.xen.edx, %rdx
	mov $0x40000001, %eax
	attempt cpuid.version, .byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2
	show cpuid.version.eax, %rax
	mov $0x40000002, %eax
	attempt cpuid.hypercalls, .byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2
	show cpuid.hypercalls.eax, %rax
	show cpuid.hypercalls.ecx, %rcx
	attempt ud2, ud2
	attempt forced.other, .byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0x09
	attempt forced.broken, .byte 0x0f, 0x0b, 0x78, 0x65, 0x0f, 0xa2
	attempt ud0, .byte 0x0f, 0xff, 0xc0
	# XSETBV
	xor %ecx, %ecx
	attempt xgetbv, xgetbv
	attempt xsetbv.same, xsetbv
	push %rax
	xor %eax, %eax
	attempt xsetbv.none, xsetbv
	mov $4, %eax
	attempt xsetbv.no-sse, xsetbv
	pop %rax
	mov $1, %ecx
	attempt xsetbv.register-1, xsetbv
	done
