# iret with frames that cannot be loaded: the failsafe callback and what its frame tells, or the frame that came of it.
	.include "guest.inc"
	.bss
	.balign 16
	.skip 1024
target_stack:
resume:	.skip 8
resume_stack:	.skip 8
seen:	.skip 8 * 11
failed:	.skip 8
	.text
	# Leaves by iret for `arrive` or another target, and shows how it came back: by failsafe (1), by a fault, or at the target.
	.macro leave name, cs=0xe030, ss=0xe028, flags=0x202, target=arrive, stack=target_stack
	movq $0, failed
	movl $-1, fault_vector
	movq $78f, resume
	movq $78f, recover
	movq $arrive, attempt_start
	mov %rsp, resume_stack
	mov %rsp, recover_stack
	mov $\ss, %rax
	push %rax
	mov $\stack, %rax
	push %rax
	mov $\flags, %rax
	push %rax
	mov $\cs, %rax
	push %rax
	mov $\target, %rax
	push %rax
	pushq $0
	pushq $0x1111
	pushq $0x1234
	pushq $0x5678
	mov $HYPERVISOR_iret, %eax
	syscall
	attempt_end \name
	show \name\().failsafe, failed
	show \name\().cs, seen
	show \name\().ss, seen+8
	show \name\().flags, seen+16
	show \name\().fault.cs, fault_cs
	show \name\().fault.ss, fault_ss
	show \name\().fault.flags, fault_flags
	mov fault_stack, %rax
	sub $target_stack, %rax
	show \name\().fault.stack, %rax
	movq $0, fault_cs
	movq $0, fault_ss
	movq $0, fault_flags
	movq $target_stack, fault_stack
	movq $-1, seen
	movq $-1, seen+8
	movq $-1, seen+16
	.endm
	page table
	.macro descriptor index, value
	mov %r13, %rax
	shl $12, %rax
	add $8 * \index, %rax
	mov $\value, %rdx
	try descriptor.\index, update_descriptor, %rax, %rdx
	.endm
	.data
frames:	.quad 0
	.text
	guest "iret"
	movq $target_stack, fault_stack
	# code and data that are not present, and 64-bit code that is
	frame_of %r13, $table
	mov %r13, frames
	mov %r13, %rax
	shl $12, %rax
	or $5, %rax
	try table.read-only, update_va_mapping, $table, %rax, $2
	try gdt, set_gdt, $frames, $512
	descriptor 2, 0x00af7b000000ffff
	descriptor 3, 0x00cf73000000ffff
	descriptor 4, 0x00affb000000ffff
	descriptor 5, 0x00cff3000000ffff
	# a kernel without a user root cannot leave for user mode: all of these stay in the kernel
	try set_callbacks, set_callbacks, $event_handler, $failsafe, $0
	leave good
	leave cs.ring0, 0xe008
	leave cs.null, 0
	leave cs.data, 0xe028
	leave cs.beyond, 0xfff8
	leave cs.guest-gdt, 0x10
	leave cs.ldt, 4
	leave cs.own, 0x20
	leave ss.own, 0xe030, 0x28
	leave ss.not-present, 0xe030, 0x18
	leave cs.tss, 0xe040
	leave cs.high-bits, 0x12340000e030
	leave ss.null, 0xe030, 0
	leave ss.ring0, 0xe030, 0xe010
	leave ss.code, 0xe030, 0xe030
	leave ss.beyond, 0xe030, 0xfff8
	leave ss.rpl-3, 0xe030, 0xe02b
	leave ss.ldt, 0xe030, 7
	leave flags.iopl, 0xe030, 0xe028, 0x3202
	leave flags.virtual-8086, 0xe030, 0xe028, 0x20202
	leave flags.nested, 0xe030, 0xe028, 0x4202
	leave flags.resume, 0xe030, 0xe028, 0x10202
	leave flags.alignment, 0xe030, 0xe028, 0x40202
	leave flags.identification, 0xe030, 0xe028, 0x200202
	leave flags.high, 0xe030, 0xe028, 0xffffffff00000202
	leave flags.virtual-interrupt, 0xe030, 0xe028, 0x180202
	leave flags.all, 0xe030, 0xe028, 0xfffffeff
	leave flags.none, 0xe030, 0xe028, 0
	leave flags.single-step, 0xe030, 0xe028, 0x302
	leave rip.not-canonical, 0xe030, 0xe028, 0x202, NOT_CANONICAL
	leave rip.hypervisor, 0xe030, 0xe028, 0x202, HYPERVISOR_ADDRESS
	leave rip.unmapped, 0xe030, 0xe028, 0x202, WILD
	done
failsafe:
	# rcx, r11, ds, es, fs, gs, rip, cs, rflags, rsp, ss
	mov 56(%rsp), %rax
	mov %rax, seen
	mov 80(%rsp), %rax
	mov %rax, seen+8
	mov 64(%rsp), %rax
	mov %rax, seen+16
	movq $1, failed
	mov resume_stack, %rsp
	jmp *resume
arrive:
	mov %cs, %eax
	mov %rax, seen
	mov %ss, %eax
	mov %rax, seen+8
	pushf
	popq seen+16
	pushq $0x202
	popf
	mov resume_stack, %rsp
	jmp *resume
