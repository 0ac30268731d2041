# mmu_update and update_va_mapping: entries of every level, frames that are not the guest's, types that clash, flags that are refused.
	.include "guest.inc"
	page scratch
	page other
	page table
	page neighbour
	.data
	.balign 8
flush_all:	.quad 10, 0, 0		# MMUEXT_TLB_FLUSH_ALL
	.bss
	.balign 8
machphys:	.skip 24
m2p_frame:	.skip 8
request:	.skip 64
done_count:	.skip 8
	# One update: mmu_update with pointer and value.
	.macro update name, pointer, value, domain=DOMID_SELF
	store \pointer, request
	store \value, request+8
	movl $99, done_count
	try \name, mmu_update, $request, $1, $done_count, $\domain
	hypercall mmuext_op, $flush_all, $1, $0, $DOMID_SELF
	.endm
	guest "mmu_update"
	entry_of %r12, $scratch
	mov entry_address, %rbp
	frame_of %r13, $scratch
	shl $12, %r13
	frame_of %r14, $other
	shl $12, %r14
	movq $0x1111, scratch
	movq $0x2222, other
	try none, mmu_update, $request, $0, $done_count, $DOMID_SELF
	show none.done, done_count
	try none.null, mmu_update, $0, $0, $0, $DOMID_SELF
	lea 7(%r14), %rax
	update remap, %r12, %rax
	show remap.done, done_count
	attempt remap.read, mov scratch, %rbx
	show remap.value, %rbx
	lea 5(%r14), %rax
	update read-only, %r12, %rax
	attempt read-only.write, movq $1, scratch
	show read-only.cr2-offset, shared_info+16
	lea 4(%r14), %rax
	update not-present, %r12, %rax
	attempt not-present.read, mov scratch, %rbx
	update zero, %r12, $0
	attempt zero.write, movq $1, scratch
	attempt zero.byte, orb $1, scratch
	lea 7(%r13), %rax
	update back, %r12, %rax
	# flags of an L1 entry
	.irp bit, 3, 4, 5, 6, 7, 8, 9, 10, 11
	lea 7(%r13), %rax
	or $(1 << \bit), %rax
	update flag.\bit, %r12, %rax
	mov (%rbp), %rbx
	sub %r13, %rbx
	show flag.\bit\().entry, %rbx
	.endr
	.irp bit, 52, 58, 62, 63
	lea 7(%r13), %rax
	bts $\bit, %rax
	update flag.\bit, %r12, %rax
	.endr
	attempt no-execute, jmp scratch
	lea 3(%r13), %rax
	update kernel-page, %r12, %rax
	mov (%rbp), %rbx
	sub %r13, %rbx
	show kernel-page.entry, %rbx
	lea 7(%r13), %rax
	update user-page, %r12, %rax
	mov (%rbp), %rbx
	sub %r13, %rbx
	show user-page.entry, %rbx
	# preserving accessed and dirty
	lea 0x67(%r13), %rax
	update dirty, %r12, %rax
	lea 7(%r13), %rax
	lea 2(%r12), %rdx
	update preserve, %rdx, %rax
	mov (%rbp), %rbx
	sub %r13, %rbx
	show preserve.entry, %rbx
	# frames of others
	# a frame of the M2P, which is Xen's
	movl $1, machphys
	movq $m2p_frame, machphys+8
	try machphys_mfn_list, memory_op, $5, $machphys
	mov m2p_frame, %rax
	shl $12, %rax
	or $7, %rax
	update frame.m2p, %r12, %rax
	mov m2p_frame, %rax
	shl $12, %rax
	or $5, %rax
	update frame.m2p.read-only, %r12, %rax
	update frame.beyond, %r12, $0x7fffffff007
	update frame.far-beyond, %r12, $0x000ffffffffff007
	update frame.apic, %r12, $0xfee00007
	update frame.dom-xen, %r12, $7, DOMID_XEN
	lea 7(%r14), %rax
	update frame.dom-io.own, %r12, %rax, DOMID_IO
	update frame.dom-io.beyond, %r12, $0x7fffffff007, DOMID_IO
	# a page table cannot be mapped writable, and a writable page cannot become a page table
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %r15, %rax
	shl $12, %r15
	lea 7(%r15), %rax
	update table.writable, %r12, %rax
	lea 5(%r15), %rax
	update table.read-only, %r12, %rax
	lea 7(%r13), %rax
	update table.back, %r12, %rax
	entry_of %r15, $scratch, 2
	mov entry_address, %r9
	lea 7(%r13), %rax
	store %rax, other
	push %r9
	mov (%r9), %r8
	push %r8
	lea 0x67(%r14), %rax
	update l2.writable-page, %r15, %rax
	pop %r8
	# L2: the same again is nothing; a superpage is refused, as is a reserved bit
	mov %r8, %rax
	push %r8
	update l2.same, %r15, %rax
	pop %r8
	push %r8
	mov %r8, %rax
	or $0x80, %rax
	update l2.superpage, %r15, %rax
	pop %r8
	push %r8
	mov %r8, %rax
	or $0x100, %rax
	update l2.global, %r15, %rax
	pop %r8
	mov %r8, %rax
	update l2.back, %r15, %rax
	pop %r9
	# the entries of a level in other tables: not page tables, misaligned, beyond, the hypervisor's slots
	update pointer.data-page, %r13, $7
	update pointer.data-page.zero, %r13, $0
	lea 1(%r12), %rdx
	update pointer.machphys, %rdx, $0
	lea 3(%r12), %rdx
	update pointer.type-3, %rdx, $0
	lea 4(%r12), %rdx
	lea 7(%r13), %rax
	update pointer.misaligned, %rdx, %rax
	update pointer.beyond, $0x7fffffff000, $0
	update pointer.hypervisor, $0x200000, $0
	update pointer.wild, $-8, $0
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %r15, %rax
	shl $12, %r15
	lea 256*8(%r15), %rdx
	update l4.slot-256, %rdx, $0
	lea 271*8(%r15), %rdx
	update l4.slot-271, %rdx, $0
	lea 262*8(%r15), %rdx
	lea 7(%r13), %rax
	update l4.slot-262, %rdx, %rax
	lea 272*8(%r15), %rdx
	update l4.slot-272.empty, %rdx, $0
	lea 272*8(%r15), %rdx
	lea 7(%r13), %rax
	update l4.slot-272.writable-page, %rdx, %rax
	lea 511*8(%r15), %rdx
	lea 7(%r15), %rax
	update l4.linear.writable, %rdx, %rax
	lea 511*8(%r15), %rdx
	lea 5(%r15), %rax
	update l4.linear.read-only, %rdx, %rax
	lea 511*8(%r15), %rdx
	update l4.linear.gone, %rdx, $0
	# machphys: the guest's own entries
	frame_of %r15, $other
	mov %r15, %rdx
	shl $12, %rdx
	or $1, %rdx
	update machphys.own, %rdx, $0x1234
	mov $M2P, %rbx
	mov (%rbx,%r15,8), %rax
	show machphys.own.value, %rax
	update machphys.other, $1, $5
	update machphys.beyond, $0x7fffffff001, $5
	mov $other, %eax
	shr $12, %eax
	mov %r15, %rdx
	shl $12, %rdx
	or $1, %rdx
	update machphys.back, %rdx, %rax
	# lists
	store %r12, request
	lea 7(%r14), %rax
	store %rax, request+8
	store $0x7fffffff000, request+16
	store $0, request+24
	store %r12, request+32
	lea 7(%r13), %rax
	store %rax, request+40
	movl $99, done_count
	try list.second-bad, mmu_update, $request, $3, $done_count, $DOMID_SELF
	show list.second-bad.done, done_count
	try list.back, mmu_update, $request+32, $1, $0, $DOMID_SELF
	try list.null, mmu_update, $0, $1, $0, $DOMID_SELF
	try list.hypervisor, mmu_update, $HYPERVISOR_ADDRESS, $1, $0, $DOMID_SELF
	try list.not-canonical, mmu_update, $NOT_CANONICAL, $1, $0, $DOMID_SELF
	try list.huge, mmu_update, $request+32, $0x7fffffff, $0, $DOMID_SELF
	try list.preempted-bit, mmu_update, $request+32, $0x80000000, $0, $DOMID_SELF
	try list.preempted-bit-one, mmu_update, $request+32, $0x80000001, $0, $DOMID_SELF
	try done.hypervisor, mmu_update, $request+32, $1, $HYPERVISOR_ADDRESS, $DOMID_SELF
	try done.wild, mmu_update, $request+32, $1, $WILD, $DOMID_SELF
	update domain.zero, %r12, $0, 0
	update domain.none, %r12, $0, 77
	update domain.high, %r12, $0, 0x7ff00000
	update domain.subject, %r12, $0, 0x17ff0
	update domain.cow, %r12, $0, 0x7ff3
	update domain.invalid, %r12, $0, 0x7ff4
	lea 7(%r13), %rax
	update domain.back, %r12, %rax
	lea 7(%r14), %rax
	try va.io.own, update_va_mapping_otherdomain, $scratch, %rax, $2, $DOMID_IO
	try va.io.beyond, update_va_mapping_otherdomain, $scratch, $0x7fffffff007, $2, $DOMID_IO
	try va.io.none, update_va_mapping_otherdomain, $scratch, $0, $2, $DOMID_IO
	# update_va_mapping
	lea 7(%r14), %rax
	try va.remap, update_va_mapping, $scratch, %rax, $2
	attempt va.remap.read, mov scratch, %rbx
	lea 7(%r13), %rax
	try va.all, update_va_mapping, $scratch, %rax, $1
	lea 7(%r13), %rax
	try va.flags-3, update_va_mapping, $scratch, %rax, $3
	lea 7(%r13), %rax
	try va.flags-4, update_va_mapping, $scratch, %rax, $4
	lea 7(%r13), %rax
	try va.vcpus, update_va_mapping, $scratch, %rax, $scratch+2
	lea 7(%r13), %rax
	try va.vcpus.wild, update_va_mapping, $scratch, %rax, $WILD+2
	try va.unmapped, update_va_mapping, $WILD, $0, $0
	try va.hypervisor, update_va_mapping, $HYPERVISOR_ADDRESS, $0, $0
	try va.m2p, update_va_mapping, $M2P, $0, $0
	try va.not-canonical, update_va_mapping, $NOT_CANONICAL, $0, $0
	try va.misaligned, update_va_mapping, $scratch+5, %rax, $0
	mov m2p_frame, %rax
	shl $12, %rax
	or $7, %rax
	try va.m2p-frame, update_va_mapping, $scratch, %rax, $0
	try va.zero, update_va_mapping, $scratch, $0, $2
	attempt va.zero.read, mov scratch, %rbx
	lea 7(%r13), %rax
	try va.other-domain.zero, update_va_mapping_otherdomain, $scratch, %rax, $2, $0
	lea 7(%r13), %rax
	try va.other-domain.none, update_va_mapping_otherdomain, $scratch, %rax, $2, $77
	lea 7(%r13), %rax
	try va.other-domain.io, update_va_mapping_otherdomain, $scratch, %rax, $2, $DOMID_IO
	lea 7(%r13), %rax
	try va.other-domain.self, update_va_mapping_otherdomain, $scratch, %rax, $2, $DOMID_SELF
	done
