# For lockstep.test.ts: a PV guest that computes for some millions of instructions, in loops that are worth translating, and powers off.

	.set SCHED_OP, 29
	.set SCHEDOP_SHUTDOWN, 2
	.set ROUNDS, 400000

	.macro note type, kind, value:vararg
	.balign 4
	.long 4, 2f - 1f, \type
	.asciz "Xen"
1:	\kind \value
2:	.balign 4
	.endm

	.section .note.Xen, "a", @note
	note 1, .quad, entry
	note 3, .quad, 0
	note 5, .asciz, "xen-3.0"
	note 6, .asciz, "lockstep"
	note 8, .asciz, "generic"

	.text
	.globl entry
entry:
	mov $1, %eax
	mov $ROUNDS, %ecx
	lea table(%rip), %rdi
round:	mov %eax, %edx
	and $0xff, %edx
	call mix
	mov (%rdi,%rdx,8), %rbx
	add %rax, %rbx
	adc $0, %rbx
	rol $7, %rbx
	mov %rbx, (%rdi,%rdx,8)
	test $1, %al
	jz even
	bswap %ebx
	xor %rbx, %rax
even:	inc %rsi
	dec %ecx
	jnz round
	movl $0, reason(%rip)
	mov $SCHEDOP_SHUTDOWN, %edi
	lea reason(%rip), %rsi
	mov $SCHED_OP, %eax
	syscall
	ud2

	# xorshift of RAX
mix:	mov %rax, %rbp
	shl $13, %rbp
	xor %rbp, %rax
	mov %rax, %rbp
	shr $7, %rbp
	xor %rbp, %rax
	mov %rax, %rbp
	shl $17, %rbp
	xor %rbp, %rax
	ret

	# Stores into a page of code would drop what is decoded from it.
	.data
	.balign 4096
reason:	.long 0
	.balign 16
table:	.fill 256, 8, 0
