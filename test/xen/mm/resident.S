# For resident.test.ts: what a guest may do to make its host use more memory than it has itself. It gives back and takes frames in loops, by
# orders, and writes to every frame that it takes. Each case says how many times it was served.
# cases: idle loops fragments mixed exchange
	.include "guest.inc"
	page window
	.bss
	.balign 8
request:	.skip 128
extent:	.skip 8
served:	.skip 8
rounds:	.skip 8
list:	.skip 4096
	.text
	.set increase, 0
	.set decrease, 1
	.set populate, 6
	.set exchange, 11
	# Pages 2560 to 3583 have no mapping: the frames are nobody's but the guest's. They are not aligned as extents are.
	.set FIRST_PAGE, 2561
	.set PAGES, 1022

	# struct xen_memory_reservation: list, count, order, flags, domain.
	.macro describe at, list, count, order
	store \list, \at
	store \count, \at+8
	movl $\order, \at+16
	movl $0, \at+20
	movw $DOMID_SELF, \at+24
	.endm
	.macro reserve command, list, count, order
	describe request, \list, \count, \order
	hypercall memory_op, $\command, $request
	.endm
	# Takes an extent, for a page that the guest does not have, and writes to all of it; leaves the loop if there is none.
	.macro take order, none
	movq $0x100000, extent
	reserve populate, $extent, $1, \order
	cmp $1, %rax
	jne \none
	incq served
	mov extent, %r12
	mov $(1 << \order), %r13d
	call write
	.endm
	.macro repeat times, label
	incq rounds
	cmpq $\times, rounds
	jb \label
	movq $0, rounds
	.endm

	guest "resident"
	mov start_info, %rbx
	mov 104(%rbx), %rbx		# mfn_list
	lea FIRST_PAGE*8(%rbx), %rbx
	reserve decrease, %rbx, $PAGES, 0
	show given, %rax

	.ifdef CASE_loops
1:	take 9, 2f
	reserve decrease, $extent, $1, 9
	repeat 300, 1b
2:	show order-9, served
	movq $0, served
	movq $0, rounds
1:	take 0, 2f
	reserve decrease, $extent, $1, 0
	repeat 100000, 1b
2:	show order-0, served
	.endif

	# All of an extent but one frame goes back, so that it is a whole no more.
	.ifdef CASE_fragments
1:	take 9, 2f
	movq $511, rounds
3:	incq extent
	reserve decrease, $extent, $1, 0
	decq rounds
	jnz 3b
	cmpq $400, served
	jb 1b
2:	show extents, served
	.endif

	# The same at smaller orders, in turn with single frames.
	.ifdef CASE_mixed
1:	take 4, 2f
	movq $15, rounds
3:	incq extent
	reserve decrease, $extent, $1, 0
	decq rounds
	jnz 3b
	take 0, 2f
	reserve decrease, $extent, $1, 0
	cmpq $1800, served
	jb 1b
2:	show extents, served
	.endif

	# 512 frames for an extent of them, and the extent for 512 frames.
	.ifdef CASE_exchange
	.macro swap in, in_count, in_order, out, out_count, out_order
	describe request, \in, \in_count, \in_order
	describe request+32, \out, \out_count, \out_order
	movq $0, request+64
	hypercall memory_op, $exchange, $request
	.endm
	mov $list, %rbp
	xor %ecx, %ecx
5:	movq $0x100000, (%rbp,%rcx,8)
	inc %ecx
	cmp $512, %ecx
	jb 5b
	reserve populate, $list, $512, 0
	show taken, %rax
1:	movq $0x100000, extent
	swap $list, $512, 0, $extent, $1, 9
	test %rax, %rax
	jnz 2f
	incq served
	mov extent, %r12
	mov $512, %r13d
	call write
	xor %ecx, %ecx
5:	movq $0x100000, (%rbp,%rcx,8)
	inc %ecx
	cmp $512, %ecx
	jb 5b
	swap $extent, $1, 9, $list, $512, 0
	test %rax, %rax
	jnz 2f
	cmpq $300, served
	jb 1b
2:	show exchanges, served
	.endif
	done

	# Writes to r13 frames from r12 on, by a mapping that it takes away again.
write:	mov %r12, %rsi
	shl $12, %rsi
	or $7, %rsi
	hypercall update_va_mapping, $window, %rsi, $2
	test %rax, %rax
	jnz 9f
	movq $1, window
	inc %r12
	dec %r13d
	jnz write
	hypercall update_va_mapping, $window, $0, $2
	ret
9:	show write.refused, %rax
	jmp power_off
