# Exceptions, int n, iret, user mode, system calls and callbacks: vectors, error codes, saved selectors and flags.
	.include "guest.inc"
	page scratch
	.bss
	.balign 16
table:	.skip 64
request:	.skip 32
user_stack:	.skip 512
user_stack_top:
syscall_stack:	.skip 1024
syscall_stack_top:
saved_frame:	.skip 80
resume:	.skip 8
resume_stack:	.skip 8
	.text
	# Shows the frame of the last fault.
	.macro frame name
	mov fault_cs, %rax
	show \name\().cs, %rax
	mov fault_ss, %rax
	show \name\().ss, %rax
	mov fault_flags, %rax
	and $~0x8d5, %rax
	show \name\().flags, %rax
	.endm
	guest "traps"
	attempts divide, "xor %ecx, %ecx; div %ecx"
	frame divide
	attempt breakpoint, int3
	frame breakpoint
	attempt overflow, int $4
	attempt bound, int $5
	attempt ud2, ud2
	attempt int.0, int $0
	attempt int.1, int $1
	attempt int.3, int $3
	attempt icebp, .byte 0xf1
	attempt int.13, int $13
	attempt int.14, int $14
	attempt int.80, int $0x80
	attempt int.81, int $0x81
	frame int.81
	attempt int.82, int $0x82
	attempt int.83, int $0x83
	frame int.83
	attempt int.84, int $0x84
	attempt int.2, int $2
	attempt int.8, int $8
	attempt int.ff, int $0xff
	# single step
	attempts single-step, "pushf; orl $0x100, (%rsp); popf; nop; nop"
	frame single-step
	mov fault_flags, %rax
	and $0x100, %eax
	show single-step.tf, %rax
	mov %dr6, %rax
	show single-step.dr6, %rax
	hypercall set_debugreg, $6, $0xffff0ff0
	attempts alignment, "pushf; orl $0x40000, (%rsp); popf; mov scratch+1, %eax"
	pushf
	andl $~0x40000, (%rsp)
	popf
	attempt page-fault.read, mov WILD_LOW, %eax
	frame page-fault
	mov $WILD, %rax
	attempt page-fault.write, mov %eax, (%rax)
	mov shared_info+16, %rax
	show page-fault.cr2, %rax
	mov $NOT_CANONICAL, %rax
	attempt general.not-canonical, mov (%rax), %eax
	mov $NOT_CANONICAL, %rbp
	attempt stack.not-canonical, mov (%rbp), %eax
	xor %ebp, %ebp
	attempts fpu.exception, "fninit; fldcw control_word; fldz; fldz; fdivp; fwait"
	fninit
	attempts simd.exception, "ldmxcsr simd_control; xorps %xmm0, %xmm0; divss %xmm0, %xmm0"
	ldmxcsr simd_default
	# flags that a guest may not change
	pushf
	orl $0x3000, (%rsp)
	popf
	pushf
	pop %rax
	and $0x7000, %eax
	show iopl, %rax
	pushf
	andl $~0x200, (%rsp)
	popf
	pushf
	pop %rax
	and $0x200, %eax
	show interrupt-flag, %rax
	mov %cs, %eax
	show selector.cs, %rax
	mov %ss, %eax
	show selector.ss, %rax
	mov %ds, %eax
	show selector.ds, %rax
	mov %es, %eax
	show selector.es, %rax
	# iret to the kernel
	.macro leave name, cs, ss, flags, target
	movq $\name\()_here, resume
	mov %rsp, resume_stack
	pushq $\ss
	pushq $user_stack_top
	pushq $\flags
	pushq $\cs
	pushq $\target
	pushq $0
	pushq $0x1111
	pushq $0x1234
	pushq $0x5678
	mov $HYPERVISOR_iret, %eax
	syscall
\name\()_here:
	.endm
	leave iret_kernel, 0xe030, 0xe028, 0x202, arrive
	show iret.kernel.cs, saved_frame
	show iret.kernel.ss, saved_frame+8
	show iret.kernel.flags, saved_frame+16
	show iret.kernel.rcx, saved_frame+24
	show iret.kernel.r11, saved_frame+32
	show iret.kernel.rax, saved_frame+40
	show iret.kernel.mask, saved_frame+48
	leave iret_masked, 0xe030, 0xe028, 0x2, arrive
	show iret.masked.flags, saved_frame+16
	show iret.masked.mask, saved_frame+48
	leave iret_iopl, 0xe030, 0xe028, 0x3046, arrive
	show iret.iopl.flags, saved_frame+16
	# user mode: the kernel's own root serves as the user's
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	movl $15, request
	mov %rbx, request+8
	try user.root, mmuext_op, $request, $1, $0, $DOMID_SELF
	try stack_switch, stack_switch, $FLAT_SS, $syscall_stack_top
	movw $2, callback
	movq $system_call, callback+8
	try callback.syscall, callback_op, $0, $callback
	movq $user_return, resume
	mov %rsp, resume_stack
	pushq $FLAT_SS
	pushq $user_stack_top
	pushq $0x202
	pushq $FLAT_CS
	pushq $user_program
	pushq $0x100
	pushq $0x1111
	pushq $0x1234
	pushq $0x5678
	mov $HYPERVISOR_iret, %eax
	syscall
user_program:
	mov %rsp, %r14
	mov %cs, %r12d
	mov %ss, %r13d
	mov %rax, %r15
	mov $0x4242, %eax
	syscall
	ud2
system_call:
	# rcx, r11, rip, cs, rflags, rsp, ss
	mov (%rsp), %rcx
	mov %rsp, %rbp
	mov resume_stack, %rsp
	jmp *resume
user_return:
	show user.rax, %rax
	show user.cs, %r12
	show user.ss, %r13
	show user.rax-from-iret, %r15
	sub $user_stack_top, %r14
	show user.stack, %r14
	sub $syscall_stack_top, %rbp
	show syscall.stack, %rbp
	mov syscall_stack_top-56, %rax
	sub $user_program, %rax
	show syscall.rcx, %rax
	mov syscall_stack_top-48, %rax
	show syscall.r11, %rax
	mov syscall_stack_top-40, %rax
	sub $user_program, %rax
	show syscall.rip, %rax
	mov syscall_stack_top-32, %rax
	show syscall.cs, %rax
	mov syscall_stack_top-24, %rax
	show syscall.flags, %rax
	mov syscall_stack_top-8, %rax
	show syscall.ss, %rax
	# faults of user mode: the kernel's stack, and the error code that says "user"
	.macro in_user name, code
	movq $78f, recover
	movq $77f, attempt_start
	movl $-1, fault_vector
	mov %rsp, recover_stack
	pushq $FLAT_SS
	pushq $user_stack_top
	pushq $0x202
	pushq $FLAT_CS
	pushq $77f
	pushq $0x100
	pushq $0x1111
	pushq $0x1234
	pushq $0x5678
	mov $HYPERVISOR_iret, %eax
	syscall
77:	\code
	hlt
	attempt_end \name
	mov fault_cs, %rax
	show \name\().cs, %rax
	mov fault_ss, %rax
	show \name\().ss, %rax
	.endm
	in_user user.ud2, "ud2"
	in_user user.hlt, "hlt"
	in_user user.page-fault, "mov WILD_LOW, %eax"
	in_user user.write-kernel, "mov $HYPERVISOR_ADDRESS, %rax; mov %eax, (%rax)"
	in_user user.not-canonical, "mov $NOT_CANONICAL, %rax; mov (%rax), %eax"
	in_user user.breakpoint, "int3"
	in_user user.int.80, "int $0x80"
	in_user user.int.81, "int $0x81"
	in_user user.int.82, "int $0x82"
	in_user user.int.83, "int $0x83"
	in_user user.int.84, "int $0x84"
	in_user user.cli, "cli"
	in_user user.cr0, "mov %cr0, %rax"
	in_user user.clts, "clts"
	in_user user.wbinvd, "wbinvd"
	in_user user.rdmsr, "mov $0xc0000080, %ecx; rdmsr"
	in_user user.wrmsr, "mov $0xc0000100, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr"
	in_user user.in, "in $0x61, %al"
	in_user user.dr7, "mov %dr7, %rax"
	in_user user.jump, "jmp WILD_LOW"
	in_user user.cpuid, ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2"
	in_user user.xsetbv, "xor %ecx, %ecx; xsetbv"
	in_user user.rdtsc, "rdtsc"
	in_user user.smsw, "smsw %rax"
	in_user user.sgdt, "sgdt scratch"
	in_user user.sldt, "sldt %eax"
	in_user user.str, "str %eax"
	attempt kernel.sgdt, sgdt scratch
	attempt kernel.sidt, sidt scratch
	attempt kernel.sldt, sldt %eax
	attempt kernel.str, str %eax
	# the table itself
	try table.null, set_trap_table, $0
	try table.null.restored, set_trap_table, $trap_table
	try table.hypervisor, set_trap_table, $HYPERVISOR_ADDRESS
	try table.wild, set_trap_table, $WILD
	movb $6, table
	movb $0, table+1
	movw $FLAT_CS, table+2
	movq $handler_7, table+8
	movq $0, table+24
	try table.one, set_trap_table, $table
	attempt table.one.fault, ud2
	store $NOT_CANONICAL, table+8
	try table.not-canonical, set_trap_table, $table
	store $HYPERVISOR_ADDRESS, table+8
	movb $7, table
	try table.hypervisor-handler, set_trap_table, $table
	movw $0x10, table+2
	movq $handler_7, table+8
	movb $6, table
	try table.ring0-selector, set_trap_table, $table
	attempt table.ring0-selector.fault, ud2
	frame table.ring0-selector
	movw $0, table+2
	try table.null-selector, set_trap_table, $table
	attempt table.null-selector.fault, ud2
	frame table.null-selector
	try table.again, set_trap_table, $trap_table
	# callbacks
	try set_callbacks, set_callbacks, $event_handler, $event_handler, $system_call
	try set_callbacks.not-canonical, set_callbacks, $NOT_CANONICAL, $0, $0
	try set_callbacks.wild, set_callbacks, $-1, $-1, $-1
	.irp type, 0, 1, 2, 3, 4, 5, 6, 7, 8, 255
	movw $\type, callback
	movw $0, callback+2
	movq $event_handler, callback+8
	try callback.register.\type, callback_op, $0, $callback
	try callback.unregister.\type, callback_op, $1, $callback
	.endr
	movw $0, callback
	store $NOT_CANONICAL, callback+8
	try callback.not-canonical, callback_op, $0, $callback
	try callback.null, callback_op, $0, $0
	try callback.hypervisor, callback_op, $0, $HYPERVISOR_ADDRESS
	try callback.unknown, callback_op, $2, $callback
	try stack_switch.kernel-selector, stack_switch, $0x10, $syscall_stack_top
	try stack_switch.null, stack_switch, $0, $syscall_stack_top
	try stack_switch.not-canonical, stack_switch, $FLAT_SS, $NOT_CANONICAL
	try stack_switch.ldt, stack_switch, $7, $syscall_stack_top
	try nmi.register, nmi_op, $0, $0
	try nmi.unregister, nmi_op, $1, $0
	try nmi.unknown, nmi_op, $2, $0
	done
arrive:
	mov %rax, saved_frame+40
	mov %cs, %eax
	mov %rax, saved_frame
	mov %ss, %eax
	mov %rax, saved_frame+8
	pushf
	pop %rax
	mov %rax, saved_frame+16
	mov %rcx, saved_frame+24
	mov %r11, saved_frame+32
	movzbl shared_info+1, %eax
	mov %rax, saved_frame+48
	mov resume_stack, %rsp
	jmp *resume
	.set WILD_LOW, 0x60000000
	.data
	.balign 8
callback:	.word 2, 0
	.long 0
	.quad 0
control_word:	.word 0x37b
	.balign 4
simd_control:	.long 0x1f00
simd_default:	.long 0x1f80
