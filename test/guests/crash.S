# What must end in a crash of the guest alone: faults that nobody can take, and states that cannot be.
# cases: no-handler no-handler-page-fault stack-unmapped stack-not-canonical stack-hypervisor stack-read-only stack-page-table recursive handler-unmapped handler-hypervisor iret-stack-unmapped iret-stack-hypervisor iret-no-user-root user-no-stack user-stack-hypervisor no-syscall-callback no-event-callback bad-cr3-user failsafe-none jump-hypervisor
	.include "guest.inc"
	page victim
	.bss
	.balign 16
request:	.skip 32
user_stack:	.skip 512
user_stack_top:
	.text
	.macro user_root
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	movl $15, request
	mov %rbx, request+8
	try user.root, mmuext_op, $request, $1, $0, $DOMID_SELF
	.endm
	.macro leave_to target, cs=FLAT_CS, ss=FLAT_SS
	pushq $\ss
	pushq $user_stack_top
	pushq $0x202
	pushq $\cs
	pushq $\target
	pushq $0x100
	pushq $0
	pushq $0
	pushq $0
	mov $HYPERVISOR_iret, %eax
	syscall
	.endm
	guest "crash"
	show alive, $1
	.ifdef CASE_no_handler
	try table, set_trap_table, $0
	ud2
	.endif
	.ifdef CASE_no_handler_page_fault
	try table, set_trap_table, $0
	mov WILD_LOW, %eax
	.endif
	.ifdef CASE_stack_unmapped
	mov $WILD, %rsp
	ud2
	.endif
	.ifdef CASE_stack_not_canonical
	mov $NOT_CANONICAL, %rsp
	ud2
	.endif
	.ifdef CASE_stack_hypervisor
	mov $HYPERVISOR_ADDRESS, %rsp
	ud2
	.endif
	.ifdef CASE_stack_read_only
	frame_of %rax, $victim
	shl $12, %rax
	or $5, %rax
	try read-only, update_va_mapping, $victim, %rax, $2
	mov $victim+4096, %rsp
	ud2
	.endif
	.ifdef CASE_stack_page_table
	mov start_info, %rax
	mov 88(%rax), %rsp
	add $1024, %rsp
	ud2
	.endif
	.ifdef CASE_recursive
	try table, set_trap_table, $recursive_table
	ud2
recursive:
	ud2
	.endif
	.ifdef CASE_handler_unmapped
	try table, set_trap_table, $unmapped_table
	ud2
	.endif
	.ifdef CASE_handler_hypervisor
	try table, set_trap_table, $hypervisor_table
	ud2
	.endif
	.ifdef CASE_iret_stack_unmapped
	mov $WILD, %rsp
	mov $HYPERVISOR_iret, %eax
	syscall
	.endif
	.ifdef CASE_iret_stack_hypervisor
	mov $HYPERVISOR_ADDRESS, %rsp
	mov $HYPERVISOR_iret, %eax
	syscall
	.endif
	.ifdef CASE_iret_no_user_root
	leave_to user_program
	.endif
	.ifdef CASE_user_no_stack
	user_root
	try stack, stack_switch, $FLAT_SS, $0
	leave_to user_program
	.endif
	.ifdef CASE_user_stack_hypervisor
	user_root
	mov $HYPERVISOR_ADDRESS, %rax
	try stack, stack_switch, $FLAT_SS, %rax
	leave_to user_program
	.endif
	.ifdef CASE_no_syscall_callback
	user_root
	try stack, stack_switch, $FLAT_SS, $stack_top
	leave_to user_call
	.endif
	.ifdef CASE_no_event_callback
	btrq $0, shared_info + 2560
	mov console_port, %eax
	btr %rax, shared_info + 2560
	movb $0, shared_info+1
	mov %eax, request
	movl $0, request+4
	mov %eax, request
	hypercall event_channel_op, $4, $request
	hypercall event_channel_op, $9, $request
	movl $0, request
	movl $0, request+4
	hypercall event_channel_op, $7, $request
	mov request+4, %eax
	mov %eax, request
	hypercall event_channel_op, $4, $request
	.endif
	.ifdef CASE_bad_cr3_user
	user_root
	try stack, stack_switch, $FLAT_SS, $stack_top
	leave_to user_cr3
	.endif
	.ifdef CASE_failsafe_none
	user_root
	leave_to user_program, 0xe008, FLAT_SS
	.endif
	.ifdef CASE_jump_hypervisor
	try table, set_trap_table, $0
	mov $HYPERVISOR_ADDRESS, %rax
	jmp *%rax
	.endif
	show survived, $1
	done
user_program:
	ud2
user_call:
	mov $1, %eax
	syscall
	ud2
user_cr3:
	mov $-1, %rax
	mov %rax, %cr3
	ud2
	.set WILD_LOW, 0x60000000
	.section .rodata
	.balign 8
	.macro one_entry name, address
\name:	.byte 6, 0
	.word FLAT_CS
	.long 0
	.quad \address
	.quad 0, 0
	.endm
	.ifdef CASE_recursive
	one_entry recursive_table, recursive
	.endif
	one_entry unmapped_table, 0x6fff00000000
	one_entry hypervisor_table, HYPERVISOR_ADDRESS
