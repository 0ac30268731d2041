# event_channel_op: ports, their states, delivery to the callback; good and bad ports and domains.
	.include "guest.inc"
	page control
	page array
	.bss
	.balign 8
request:	.skip 64
vcpu_mask:	.skip 8
	.text
	.macro event name, command, a0=0, a1=0, a2=0, a3=0
	movl $\a0, request
	movl $\a1, request+4
	movl $\a2, request+8
	movl $\a3, request+12
	try \name, event_channel_op, $\command, $request
	.endm
	.set SELF, DOMID_SELF
	guest "events"
	mov console_port, %eax
	# alloc_unbound: u16 dom, u16 remote_dom, u32 port
	movw $SELF, request
	movw $SELF, request+2
	try unbound.self, event_channel_op, $6, $request
	mov request+4, %r12d
	movw $0, request+2
	try unbound.zero, event_channel_op, $6, $request
	movw $77, request+2
	try unbound.none, event_channel_op, $6, $request
	movw $0, request
	try unbound.of-zero, event_channel_op, $6, $request
	movw $77, request
	try unbound.of-none, event_channel_op, $6, $request
	movw $0x7ff1, request
	try unbound.of-io, event_channel_op, $6, $request
	# loopback: bind_interdomain u16 remote_dom, u32 remote_port, u32 local_port
	movw $SELF, request
	mov %r12d, request+4
	movl $0, request+8
	try interdomain, event_channel_op, $0, $request
	mov request+8, %r13d
	movw $SELF, request
	mov %r12d, request+4
	try interdomain.again, event_channel_op, $0, $request
	movl $0x7fffffff, request+4
	try interdomain.huge, event_channel_op, $0, $request
	movl $0, request+4
	try interdomain.zero, event_channel_op, $0, $request
	movw $77, request
	try interdomain.none, event_channel_op, $0, $request
	movw $0, request
	movl $1, request+4
	try interdomain.dom0, event_channel_op, $0, $request
	# status: u16 dom, u32 port, u32 status, u32 vcpu, union
	movw $SELF, request
	mov %r12d, request+4
	try status, event_channel_op, $5, $request
	mov request+8, %eax
	show status.status, %rax
	mov request+12, %eax
	show status.vcpu, %rax
	movl $0x7fffffff, request+4
	try status.huge, event_channel_op, $5, $request
	movl $100, request+4
	try status.free, event_channel_op, $5, $request
	mov request+8, %eax
	show status.free.status, %rax
	movl $0, request+4
	try status.zero, event_channel_op, $5, $request
	mov request+8, %eax
	show status.zero.status, %rax
	movw $0, request
	try status.dom0, event_channel_op, $5, $request
	movw $77, request
	try status.none, event_channel_op, $5, $request
	# delivery: a callback, events unmasked, and the port sent
	try set_callbacks, set_callbacks, $event_handler, $event_handler, $0
	mov %r13d, request
	try send.masked, event_channel_op, $4, $request
	movzbl shared_info, %eax
	show send.pending, %rax
	show send.count, event_count
	movb $0, shared_info+1
	hypercall xen_version, $0, $0
	cmpq $1, event_count
	je 1f
	nop
1:	show deliver.count, event_count
	movzbl shared_info+1, %eax
	show deliver.mask-after, %rax
	movzbl shared_info, %eax
	show deliver.pending-after, %rax
	movb $1, shared_info+1
	mov %r12d, %ecx
	bts %rcx, shared_info+2048+512
	mov %r13d, request
	try send.port-masked, event_channel_op, $4, $request
	movzbl shared_info, %eax
	show send.port-masked.pending, %rax
	mov %r12d, request
	try unmask, event_channel_op, $9, $request
	movzbl shared_info, %eax
	show unmask.pending, %rax
	movb $0, shared_info
	movq $0, shared_info+8
	movq $0, shared_info+2048
	movl $0x7fffffff, request
	try unmask.huge, event_channel_op, $9, $request
	movl $0, request
	try unmask.zero, event_channel_op, $9, $request
	movl $0x7fffffff, request
	try send.huge, event_channel_op, $4, $request
	movl $100, request
	try send.free, event_channel_op, $4, $request
	movl $0, request
	try send.zero, event_channel_op, $4, $request
	try send.null, event_channel_op, $4, $HYPERVISOR_ADDRESS
	try compat, event_channel_op_compat, $request
	# virqs: u32 virq, u32 vcpu, u32 port
	event virq.timer, 1, 0, 0
	event virq.timer.again, 1, 0, 0
	event virq.debug, 1, 1, 0
	event virq.console, 1, 2, 0
	event virq.dom-exc, 1, 3, 0
	event virq.tbuf, 1, 4, 0
	event virq.debugger, 1, 6, 0
	event virq.con-ring, 1, 8, 0
	event virq.pcpu, 1, 9, 0
	event virq.memory, 1, 10, 0
	event virq.arch, 1, 16, 0
	event virq.23, 1, 23, 0
	event virq.24, 1, 24, 0
	event virq.wild, 1, 0x7fffffff, 0
	event virq.vcpu-1, 1, 0, 1
	event virq.vcpu-wild, 1, 0, 0x7fffffff
	event virq.console-vcpu-1, 1, 2, 1
	event ipi, 7, 0, 0
	mov request+4, %ebx
	event ipi.vcpu-1, 7, 1, 0
	event ipi.wild, 7, 0x7fffffff, 0
	mov %ebx, request
	movl $0, request+4
	try bind_vcpu.ipi, event_channel_op, $8, $request
	mov %r12d, request
	movl $0, request+4
	try bind_vcpu, event_channel_op, $8, $request
	movl $1, request+4
	try bind_vcpu.none, event_channel_op, $8, $request
	movl $100, request
	movl $0, request+4
	try bind_vcpu.free, event_channel_op, $8, $request
	event pirq, 2, 1, 0
	event pirq.wild, 2, 0x7fffffff, 0
	event pirq.negative, 2, -1, 0
	event close.huge, 3, 0x7fffffff
	event close.free, 3, 100
	event close.zero, 3, 0
	mov %r12d, request
	try close, event_channel_op, $3, $request
	mov %r12d, request
	try close.again, event_channel_op, $3, $request
	movw $SELF, request
	mov %r13d, request+4
	try status.after-close, event_channel_op, $5, $request
	mov request+8, %eax
	show status.after-close.status, %rax
	mov %r13d, request
	try send.unbound, event_channel_op, $4, $request
	event reset.zero, 10, 0
	event reset.none, 10, 77
	event priority, 13, 1, 0
	# FIFO: init_control u64 control_gfn, u32 offset, u32 vcpu, u8 link_bits
	.macro control name, gfn, offset, vcpu
	store \gfn, request
	movl $\offset, request+8
	movl $\vcpu, request+12
	movb $0, request+16
	try \name, event_channel_op, $11, $request
	.endm
	store $0, request
	try expand.before, event_channel_op, $12, $request
	frame_of %r14, $control
	frame_of %r15, $array
	control control.vcpu-1, %r14, 0, 1
	control control.offset, %r14, 4090, 0
	control control.misaligned, %r14, 4, 0
	control control.beyond, $0x7fffffff, 0, 0
	control control.zero, $0, 0, 0
	control control.wild, $-1, 0, 0
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	control control.page-table, %rbx, 0, 0
	control control, %r14, 0, 0
	movzbl request+16, %eax
	show control.link-bits, %rax
	control control.again, %r14, 0, 0
	store $0x7fffffff, request
	try expand.beyond, event_channel_op, $12, $request
	store %rbx, request
	try expand.page-table, event_channel_op, $12, $request
	store %r15, request
	try expand, event_channel_op, $12, $request
	event priority.wild, 13, 1, 16
	event priority.good, 13, 1, 3
	event priority.huge, 13, 0x7fffffff, 3
	event unknown, 14
	event unknown.wild, -1
	done
