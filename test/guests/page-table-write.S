# cases: refused emulated
# Writes to page tables through a mapping: none is writable, so they fault; Xen emulates stores to L1 tables, and nothing else.
	.include "guest.inc"
	page scratch
	page other
	guest "page-table-write"
	.ifdef CASE_emulated
	try assist, vm_assist, $0, $2
	.endif
	frame_of %r13, $scratch
	shl $12, %r13
	frame_of %r14, $other
	shl $12, %r14
	movq $0x1111, scratch
	movq $0x2222, other
	entry_of %r12, $scratch
	mov entry_address, %rbp
	lea 7(%r14), %rax
	attempt store, mov %rax, (%rbp)
	hypercall mmuext_op, $invalidate, $1, $0, $DOMID_SELF
	show store.value, scratch
	lea 7(%r13), %rax
	attempt exchange, xchg %rax, (%rbp)
	and $0xf9f, %eax
	show exchange.old, %rax
	hypercall mmuext_op, $invalidate, $1, $0, $DOMID_SELF
	show exchange.value, scratch
	mov (%rbp), %rax
	mov %rax, %rdx
	or $0x200, %rdx
	attempt compare-exchange, lock cmpxchg %rdx, (%rbp)
	mov (%rbp), %rbx
	sub %r13, %rbx
	and $~0x60, %rbx
	show compare-exchange.entry, %rbx
	xor %eax, %eax
	attempt compare-exchange.fails, lock cmpxchg %rdx, (%rbp)
	and $0xf9f, %eax
	show compare-exchange.fails.old, %rax
	attempt and.byte, andb $~0x20, (%rbp)
	attempt or.byte, orb $2, 1(%rbp)
	attempt bit-reset, lock btrq $9, (%rbp)
	attempt bit-set, lock btsq $9, (%rbp)
	attempt store.half, movl $0, 4(%rbp)
	lea 7(%r13), %rax
	attempt store.low-half, mov %eax, (%rbp)
	attempt store.immediate, movq $0, (%rbp)
	hypercall mmuext_op, $invalidate, $1, $0, $DOMID_SELF
	attempt gone, mov scratch, %rbx
	lea 7(%r13), %rax
	attempt store.back, mov %rax, (%rbp)
	attempt back, mov scratch, %rbx
	attempt store.foreign, movq $7, (%rbp)
	mov %rbp, %rdi
	lea 7(%r13), %rax
	attempt stos, stosq
	mov $1, %ecx
	mov %rbp, %rdi
	attempt rep-stos, rep stosq
	mov $request, %esi
	store %rax, request
	mov %rbp, %rdi
	attempt movs, movsq
	push %rax
	attempt pop, popq (%rbp)
	entry_of %r12, $scratch
	mov entry_address, %rbp
	attempt add, addq $0, (%rbp)
	attempt increment, incq (%rbp)
	attempt decrement, decq (%rbp)
	attempt not, notq (%rbp)
	attempt not.back, notq (%rbp)
	attempt misaligned, movq $0, 4(%rbp)
	movq %rax, %xmm0
	attempt sse, movq %xmm0, (%rbp)
	attempt sse.16, movups %xmm0, (%rbp)
	xor %edx, %edx
	xor %eax, %eax
	attempt compare-exchange.16, cmpxchg16b (%rbp)
	attempt compare-exchange.8, cmpxchg8b (%rbp)
	# other levels are not emulated
	.irp level, 2, 3, 4
	entry_of %r12, $scratch, \level
	mov entry_address, %rbp
	mov (%rbp), %rax
	attempt level-\level, mov %rax, (%rbp)
	.endr
	mov $M2P, %rbx
	attempt m2p.write, movq $0, (%rbx)
	attempt m2p.read, mov (%rbx), %rax
	mov $HYPERVISOR_ADDRESS, %rbx
	attempt hypervisor.read, mov (%rbx), %rax
	attempt hypervisor.write, mov %rax, (%rbx)
	attempt hypervisor.execute, jmp *%rbx
	mov $0xffff820000000000, %rbx
	attempt hypervisor.linear, mov (%rbx), %rax
	mov $0xffff82d040200000, %rbx
	attempt hypervisor.text, mov (%rbx), %rax
	mov $NOT_CANONICAL, %rbx
	attempt not-canonical.read, mov (%rbx), %rax
	attempt not-canonical.execute, jmp *%rbx
	mov $NOT_CANONICAL, %rbp
	attempt not-canonical.stack, mov (%rbp), %rax
	mov $WILD, %rbx
	attempt wild.read, mov (%rbx), %rax
	attempt wild.write, mov %rax, (%rbx)
	attempt wild.execute, jmp *%rbx
	done
	.bss
	.balign 8
request:	.skip 8
	.data
	.balign 8
invalidate:	.quad 10, 0		# MMUEXT_TLB_FLUSH_LOCAL is 6; INVLPG_LOCAL 7; 10 flushes every vCPU
	.quad 0
