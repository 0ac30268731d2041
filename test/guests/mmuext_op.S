# mmuext_op: pins, base pointers, flushes, LDT, page operations; good, of other frames, and with clashing types.
	.include "guest.inc"
	page scratch
	page other
	page table
	page upper
	page segments
	.bss
	.balign 8
request:	.skip 24 * 4
done_count:	.skip 8
	.text
	# One operation: command, frame or address, second argument.
	.macro extended name, command, first=$0, second=$0, domain=DOMID_SELF
	store \first, request+8
	store \second, request+16
	movl $\command, request
	movl $99, done_count
	try \name, mmuext_op, $request, $1, $done_count, $\domain
	.endm
	guest "mmuext_op"
	frame_of %r13, $scratch
	frame_of %r14, $other
	frame_of %r15, $table
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	# page operations
	movq $0x1111, scratch
	movq $0x2222, other
	extended clear, 16, %r13
	show clear.value, scratch
	extended copy, 17, %r13, %r14
	show copy.value, scratch
	extended copy.to-itself, 17, %r13, %r13
	extended clear.table, 16, %rbx
	extended copy.to-table, 17, %rbx, %r14
	extended copy.from-table, 17, %r13, %rbx
	extended clear.beyond, 16, $0x7fffffff
	extended copy.beyond, 17, %r13, $0x7fffffff
	extended clear.zero, 16, $0
	extended clear.wild, 16, $-1
	# flushes
	extended flush.local, 6
	extended flush.all, 10
	extended flush.multi.null, 8, $0, $0
	movq $1, scratch
	extended flush.multi, 8, $0, $scratch
	extended flush.multi.wild, 8, $0, $WILD
	extended flush.multi.hypervisor, 8, $0, $HYPERVISOR_ADDRESS
	extended invlpg.local, 7, $scratch
	extended invlpg.local.wild, 7, $WILD
	extended invlpg.local.hypervisor, 7, $HYPERVISOR_ADDRESS
	extended invlpg.local.not-canonical, 7, $NOT_CANONICAL
	extended invlpg.all, 11, $scratch
	extended invlpg.all.not-canonical, 11, $NOT_CANONICAL
	extended invlpg.multi, 9, $scratch, $scratch
	extended invlpg.multi.wild, 9, $scratch, $WILD
	extended flush.cache, 12
	extended flush.cache.global, 18
	extended mark-super, 19, %r13
	extended unmark-super, 20, %r13
	extended unknown.14, 14
	extended unknown.21, 21
	extended unknown.255, 255
	extended unknown.high, 0x80000006
	# pins: a page that is mapped writable cannot be a table
	extended pin.l1.writable, 0, %r15
	extended pin.l4.writable, 3, %r15
	extended unpin.not-pinned, 4, %r15
	extended pin.beyond, 0, $0x7fffffff
	extended pin.zero, 0, $0
	extended pin.wild, 3, $-1
	# the mapping goes read-only: an empty L1 table
	mov %r15, %rax
	shl $12, %rax
	or $5, %rax
	try table.read-only, update_va_mapping, $table, %rax, $2
	extended pin.l1, 0, %r15
	extended pin.l1.again, 0, %r15
	extended pin.l2.as-well, 1, %r15
	mov %r15, %rax
	shl $12, %rax
	or $7, %rax
	try table.writable, update_va_mapping, $table, %rax, $2
	extended unpin.l1, 4, %r15
	extended unpin.l1.again, 4, %r15
	try table.writable.after, update_va_mapping, $table, %rax, $2
	mov %r15, %rax
	shl $12, %rax
	or $7, %rax
	try table.writable.free, update_va_mapping, $table, %rax, $2
	# a table with a bad entry: a frame of nobody's
	.irp level, 1, 2, 3, 4
	store $0x7fffffff007, table
	mov %r15, %rax
	shl $12, %rax
	or $5, %rax
	try bad.\level\().read-only, update_va_mapping, $table, %rax, $2
	extended bad.\level\().pin, \level-1, %r15
	mov %r15, %rax
	shl $12, %rax
	or $7, %rax
	try bad.\level\().back, update_va_mapping, $table, %rax, $2
	.endr
	# an L1 table that maps itself writable, then read-only
	mov %r15, %rax
	shl $12, %rax
	or $7, %rax
	mov %rax, table
	sub $2, %rax
	try self.read-only, update_va_mapping, $table, %rax, $2
	extended self.pin.writable, 0, %r15
	extended self.unpin, 4, %r15
	# an L2 table with the same frame as L1 and L2
	mov %r15, %rax
	shl $12, %rax
	or $7, %rax
	try self.back, update_va_mapping, $table, %rax, $2
	mov %r15, %rax
	shl $12, %rax
	or $0x67, %rax
	mov %rax, table
	mov %r15, %rax
	shl $12, %rax
	or $5, %rax
	try linear.read-only, update_va_mapping, $table, %rax, $2
	extended linear.pin.l2, 1, %r15
	extended linear.unpin, 4, %r15
	extended linear.pin.l4, 3, %r15
	extended linear.unpin.l4, 4, %r15
	mov %r15, %rax
	shl $12, %rax
	or $7, %rax
	try linear.back, update_va_mapping, $table, %rax, $2
	movq $0, table
	# the guest's own root
	extended root.pin-again, 3, %rbx
	extended root.pin-as-l3, 2, %rbx
	extended root.new-same, 5, %rbx
	extended root.new-data, 5, %r13
	extended root.new-beyond, 5, $0x7fffffff
	extended root.new-zero, 5, $0
	extended user.data, 15, %r13
	extended user.beyond, 15, $0x7fffffff
	extended user.same, 15, %rbx
	extended user.none, 15, $0
	extended root.unpin, 4, %rbx
	extended root.pin, 3, %rbx
	extended domain.zero, 3, %rbx, $0, 0
	extended domain.none, 3, %rbx, $0, 77
	extended domain.io, 3, %rbx, $0, 0x7ff1
	extended domain.flush, 6, $0, $0, 0
	extended domain.flush-none, 6, $0, $0, 77
	# LDT
	extended ldt.empty, 13, $0, $0
	extended ldt, 13, $segments, $512
	attempts ldt.null-descriptor, "mov $7, %eax; mov %eax, %es"
	extended ldt.too-many, 13, $segments, $8193
	extended ldt.most, 13, $segments, $8192
	extended ldt.misaligned, 13, $segments+8, $1
	extended ldt.hypervisor, 13, $HYPERVISOR_ADDRESS, $1
	extended ldt.unmapped, 13, $WILD, $1
	attempts ldt.load-unmapped, "mov $7, %eax; mov %eax, %es"
	extended ldt.not-canonical, 13, $NOT_CANONICAL, $1
	extended ldt.none, 13, $0, $0
	attempts ldt.load-none, "mov $7, %eax; mov %eax, %es"
	# lists
	try list.none, mmuext_op, $0, $0, $0, $DOMID_SELF
	try list.null, mmuext_op, $0, $1, $0, $DOMID_SELF
	try list.huge, mmuext_op, $request, $0x7fffffff, $0, $DOMID_SELF
	try list.preempted, mmuext_op, $request, $0x80000000, $0, $DOMID_SELF
	try list.hypervisor, mmuext_op, $HYPERVISOR_ADDRESS, $1, $0, $DOMID_SELF
	try list.done-wild, mmuext_op, $request, $1, $WILD, $DOMID_SELF
	movl $6, request
	movl $255, request+24
	movl $6, request+48
	movl $99, done_count
	try list.second-bad, mmuext_op, $request, $3, $done_count, $DOMID_SELF
	show list.second-bad.done, done_count
	done
