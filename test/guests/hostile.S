# Every hypercall number but iret's, with the same wild value in all its arguments: a line a number, NUMBER=result for each value, in
# the order of the list below. Results that are numbers of something (not errors) are told as they are.
	.include "guest.inc"
	edge edge, 1
	guest "hostile"
	try null, update_va_mapping, $0, $0, $2
	unmap_hole edge
	xor %ebx, %ebx
next_number:
	cmp $HYPERVISOR_iret, %ebx
	je skip
	mov %rbx, %rax
	call print_number
	mov $'=', %al
	call put
	mov $values, %ebp
next_value:
	mov (%rbp), %rdi
	mov %rdi, %rsi
	mov %rdi, %rdx
	mov %rdi, %r10
	mov %rdi, %r8
	mov %rdi, %r9
	mov %ebx, %eax
	syscall
	mov %rax, %r15
	# what some of them change
	hypercall set_trap_table, $trap_table
	hypercall fpu_taskswitch, $0
	hypercall set_timer_op, $0
	mov %r15, %rax
	call print_number
	mov $' ', %al
	call put
	add $8, %rbp
	cmp $values_end, %rbp
	jb next_value
	mov $'\n', %al
	call put
	call flush
skip:
	inc %ebx
	cmp $64, %ebx
	jb next_number
	done
	.section .rodata
	.balign 8
values:
	.quad 0
	.quad -1
	.quad HYPERVISOR_ADDRESS
	.quad NOT_CANONICAL
	.quad WILD
	.quad 0x7fffffff
	.quad 0x80000000
	.quad 0x7fffffffffffffff
	.quad 0x8000000000000000
	.quad edge
	.quad M2P
	.quad 0xfffffffffffff001
values_end:
