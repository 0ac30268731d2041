# memory_op: reservations, exchange, maps, limits; with good and bad frames, orders and lists.
	.include "guest.inc"
	page scratch
	page other
	.bss
	.balign 8
request:	.skip 128
list:	.skip 4096
list_out:	.skip 4096
	.text
	# struct xen_memory_reservation: list, count, order, flags, domain.
	.macro reserve name, command, list, count, order=0, flags=0, domain=DOMID_SELF
	store \list, request
	store \count, request+8
	movl $\order, request+16
	movl $\flags, request+20
	movw $\domain, request+24
	try \name, memory_op, $\command, $request
	.endm
	guest "memory_op"
	movw $DOMID_SELF, request
	try current_reservation, memory_op, $3, $request
	try maximum_reservation, memory_op, $4, $request
	try maximum_gpfn, memory_op, $14, $request
	movw $0, request
	try current_reservation.zero, memory_op, $3, $request
	try maximum_gpfn.zero, memory_op, $14, $request
	movw $77, request
	try current_reservation.none, memory_op, $3, $request
	try current_reservation.null, memory_op, $3, $0
	try current_reservation.hypervisor, memory_op, $3, $HYPERVISOR_ADDRESS
	# the last page of the domain's memory is given back: it is not mapped writable but by its own mapping
	frame_of %r13, $scratch
	mov %r13, list
	reserve decrease.mapped, 1, $list, $1
	attempt decrease.mapped.read, mov scratch, %rax
	mov $M2P, %rbx
	try decrease.unmap, update_va_mapping, $scratch, $0, $2
	mov %r13, list
	reserve decrease.again, 1, $list, $1
	movw $DOMID_SELF, request
	try current_reservation.after, memory_op, $3, $request
	reserve decrease.beyond, 1, $list, $0
	movq $0x7fffffff, list
	reserve decrease.no-frame, 1, $list, $1
	movq $-1, list
	reserve decrease.wild, 1, $list, $1
	movq $0, list
	reserve decrease.zero, 1, $list, $1
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	# populate: the pfn list says what M2P is to tell
	mov $scratch, %eax
	shr $12, %eax
	mov %rax, list
	reserve populate, 6, $list, $1
	mov list, %r14
	mov $M2P, %rbx
	mov (%rbx,%r14,8), %rax
	mov $scratch, %ecx
	shr $12, %ecx
	sub %rcx, %rax
	show populate.m2p, %rax
	mov %r14, %rax
	shl $12, %rax
	or $7, %rax
	try populate.map, update_va_mapping, $scratch, %rax, $2
	attempt populate.read, mov scratch, %rax
	show populate.value, %rax
	movw $DOMID_SELF, request
	try current_reservation.back, memory_op, $3, $request
	movq $0x3000, list
	reserve populate.beyond-maximum, 6, $list, $64
	movq $0x3000, list
	reserve populate.order-9, 6, $list, $1, 9
	reserve populate.order-10, 6, $list, $1, 10
	reserve populate.order-20, 6, $list, $1, 20
	reserve populate.order-63, 6, $list, $1, 63
	reserve populate.order-255, 6, $list, $1, 255
	reserve populate.none, 6, $list, $0
	reserve populate.null-list, 6, $0, $1
	reserve populate.huge, 6, $list, $0x1000000000
	reserve populate.wrap, 6, $list, $-1
	reserve populate.wild, 6, $WILD, $1
	reserve populate.hypervisor, 6, $HYPERVISOR_ADDRESS, $1
	reserve populate.domain-zero, 6, $list, $1, 0, 0, 0
	reserve populate.domain-none, 6, $list, $1, 0, 0, 77
	reserve populate.domain-io, 6, $list, $1, 0, 0, 0x7ff1
	reserve populate.on-demand, 6, $list, $1, 0, 0x10000
	reserve populate.address-bits-20, 6, $list, $1, 0, 20
	reserve increase, 0, $list, $1
	reserve increase.order-20, 0, $list, $1, 20
	reserve decrease.null-list, 1, $0, $1
	reserve decrease.domain-zero, 1, $list, $1, 0, 0, 0
	# exchange: struct xen_memory_exchange, in, out, nr_exchanged
	frame_of %r15, $other
	movq $0x2222, other
	mov %r15, list
	mov $other, %eax
	shr $12, %eax
	mov %rax, list_out
	.macro exchange name, in_count, in_order, out_count, out_order, domain=DOMID_SELF
	movq $list, request
	store \in_count, request+8
	movl $\in_order, request+16
	movl $0, request+20
	movw $\domain, request+24
	movq $list_out, request+32
	store \out_count, request+40
	movl $\out_order, request+48
	movl $0, request+52
	movw $\domain, request+56
	movq $0, request+64
	try \name, memory_op, $11, $request
	show \name\().exchanged, request+64
	.endm
	exchange exchange.mapped, $1, 0, $1, 0
	try exchange.unmap, update_va_mapping, $other, $0, $2
	exchange exchange, $1, 0, $1, 0
	mov list_out, %r14
	mov $M2P, %rbx
	mov (%rbx,%r14,8), %rax
	mov $other, %ecx
	shr $12, %ecx
	sub %rcx, %rax
	show exchange.m2p, %rax
	mov %r14, %rax
	shl $12, %rax
	or $7, %rax
	try exchange.map, update_va_mapping, $other, %rax, $2
	exchange exchange.not-mine, $1, 0, $1, 0
	exchange exchange.counts-differ, $2, 0, $1, 0
	exchange exchange.none, $0, 0, $0, 0
	exchange exchange.none.domain-zero, $0, 0, $0, 0, 0
	exchange exchange.none.domain-none, $0, 0, $0, 0, 77
	exchange exchange.order-9, $512, 0, $1, 9
	exchange exchange.order-64, $1, 64, $1, 64
	exchange exchange.huge, $0x2000000000000000, 0, $0x2000000000000000, 0
	exchange exchange.domain-zero, $1, 0, $1, 0, 0
	exchange exchange.domain-none, $1, 0, $1, 0, 77
	try exchange.null, memory_op, $11, $0
	# maps
	movl $128, request
	movq $list, request+8
	movq $0x5555, list
	try memory_map, memory_op, $9, $request
	show memory_map.entries, request
	show memory_map.first, list
	movl $0, request
	try memory_map.none, memory_op, $9, $request
	movq $HYPERVISOR_ADDRESS_LOW, request+8
	movl $128, request
	try memory_map.wild, memory_op, $9, $request
	try memory_map.null, memory_op, $9, $0
	try machine_memory_map, memory_op, $10, $request
	movw $DOMID_SELF, request
	movl $1000, request+8
	movq $list, request+16
	try set_memory_map.huge, memory_op, $13, $request
	movl $0, request+8
	movw $77, request
	try set_memory_map.none, memory_op, $13, $request
	# struct xen_machphys_mfn_list, xen_machphys_mapping
	movl $1, request
	movq $list, request+8
	movq $0, list
	try machphys_mfn_list, memory_op, $5, $request
	show machphys_mfn_list.count, request+16
	movl $0, request
	try machphys_mfn_list.none, memory_op, $5, $request
	movl $1, request
	movq $16, request+8
	try machphys_mfn_list.wild, memory_op, $5, $request
	try machphys_mapping, memory_op, $12, $request
	show machphys_mapping.start, request
	show machphys_mapping.end, request+8
	try machphys_mapping.null, memory_op, $12, $0
	try machphys_compat_mfn_list, memory_op, $25, $request
	# what a PV guest has no use for, or no right to
	movw $DOMID_SELF, request
	movw $1, request+2
	movl $0, request+4
	try add_to_physmap, memory_op, $7, $request
	try add_to_physmap_batch, memory_op, $23, $request
	try remove_from_physmap, memory_op, $15, $request
	.macro clean domain=DOMID_SELF
	movq $0, request
	movq $0, request+8
	movq $0, request+16
	movq $0, request+24
	movq $0, request+32
	movw $\domain, request
	.endm
	.macro about name, command
	clean
	try \name\().self, memory_op, $\command, $request
	clean 0
	try \name\().zero, memory_op, $\command, $request
	clean 77
	try \name\().none, memory_op, $\command, $request
	try \name\().wild, memory_op, $\command, $WILD
	.endm
	.irp command, 16, 17
	clean 0
	movw $DOMID_SELF, request+32
	try pod_target.\command\().self, memory_op, $\command, $request
	movw $0, request+32
	try pod_target.\command\().zero, memory_op, $\command, $request
	movw $77, request+32
	try pod_target.\command\().none, memory_op, $\command, $request
	try pod_target.\command\().wild, memory_op, $\command, $WILD
	.endr
	try get_sharing_freed, memory_op, $18, $0
	try get_sharing_shared, memory_op, $19, $0
	about paging_op, 20
	about claim_pages, 24
	about vnuma, 26
	movw $1, request+2
	try vnuma.padding, memory_op, $26, $request
	about acquire_resource, 28
	clean
	movl $1, request+12
	try acquire_resource.padding, memory_op, $28, $request
	clean 0
	movw $77, request+2
	try access_op.none, memory_op, $21, $request
	movw $0, request+2
	try access_op.zero, memory_op, $21, $request
	movw $DOMID_SELF, request+2
	try access_op.self, memory_op, $21, $request
	try sharing_op, memory_op, $22, $request
	clean 0
	movq $list, request+8
	movl $4, request+4
	try reserved_device_memory_map, memory_op, $27, $request
	mov request+4, %eax
	show reserved_device_memory_map.entries, %rax
	store $WILD, request+8
	movl $4, request+4
	try reserved_device_memory_map.wild, memory_op, $27, $request
	movl $-1, request
	try reserved_device_memory_map.flags, memory_op, $27, $request
	try unknown, memory_op, $30, $request
	try unknown.63, memory_op, $63, $request
	try unknown.continued, memory_op, $0x1006, $request
	try unknown.wild, memory_op, $-1, $request
	done
	.set HYPERVISOR_ADDRESS_LOW, 16
