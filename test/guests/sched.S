# sched_op and its compat form, vcpu_op, set_timer_op: what a single vCPU may ask for.
	.include "guest.inc"
	page area
	.bss
	.balign 8
request:	.skip 64
ports:	.skip 1024
	.text
	guest "sched"
	try yield, sched_op, $0
	try yield.compat, sched_op_compat, $0
	try unknown, sched_op, $8
	try unknown.wild, sched_op, $-1
	try unknown.compat, sched_op_compat, $3
	try shutdown.hypervisor, sched_op, $2, $HYPERVISOR_ADDRESS
	try shutdown.wild, sched_op, $2, $WILD
	movl $0, request
	try shutdown_code.wild, sched_op, $5, $WILD
	movl $0, request
	try shutdown_code.0, sched_op, $5, $request
	# remote_shutdown: u16 domain, u32 reason
	movw $0, request
	movl $0, request+4
	try remote.zero, sched_op, $4, $request
	movw $77, request
	try remote.none, sched_op, $4, $request
	movw $DOMID_SELF, request
	try remote.self, sched_op, $4, $request
	try remote.wild, sched_op, $4, $WILD
	# poll: pointer, u32 nr, u64 timeout
	movq $ports, request
	movl $0, request+8
	movq $1, request+16
	try poll.past, sched_op, $3, $request
	movl $129, request+8
	try poll.too-many, sched_op, $3, $request
	movl $-1, request+8
	try poll.wild-count, sched_op, $3, $request
	movl $1, request+8
	movl $0x7fffffff, ports
	try poll.huge-port, sched_op, $3, $request
	movl $0, ports
	try poll.port-zero, sched_op, $3, $request
	movl $100, ports
	try poll.free-port, sched_op, $3, $request
	store $WILD, request
	try poll.wild-ports, sched_op, $3, $request
	store $HYPERVISOR_ADDRESS, request
	try poll.hypervisor-ports, sched_op, $3, $request
	try poll.wild, sched_op, $3, $WILD
	# watchdog: u32 id, u32 timeout
	.macro watchdog name, id, timeout
	movl $\id, request
	movl $\timeout, request+4
	try \name, sched_op, $6, $request
	.endm
	watchdog watchdog.first, 0, 100
	watchdog watchdog.second, 0, 100
	watchdog watchdog.third, 0, 100
	watchdog watchdog.again, 1, 100
	watchdog watchdog.unknown, 3, 100
	watchdog watchdog.wild, -1, 100
	watchdog watchdog.stop, 1, 0
	watchdog watchdog.stop-again, 1, 0
	watchdog watchdog.stop-second, 2, 0
	try watchdog.pointer-wild, sched_op, $6, $WILD
	movl $0, request
	try pin_override, sched_op, $7, $request
	# set_timer_op; and block until it comes
	try timer.stop, set_timer_op, $0
	try timer.past, set_timer_op, $1
	try timer.negative, set_timer_op, $-1
	try timer.stop-again, set_timer_op, $0
	try set_callbacks, set_callbacks, $event_handler, $event_handler, $0
	movl $0, request
	movl $0, request+4
	try virq.timer, event_channel_op, $1, $request
	# events of the console are cleared first
	movb $0, shared_info
	movq $0, shared_info+8
	movq $0, shared_info+2048
	movq $0, event_count
	try timer.now, set_timer_op, $1
	try block, sched_op, $1
	show block.events, event_count
	movzbl shared_info+1, %eax
	show block.mask, %rax
	movb $1, shared_info+1
	# vcpu_op
	.irp command, 0, 1, 2, 3
	try vcpu.\command\().vcpu-1, vcpu_op, $\command, $1, $request
	try vcpu.\command\().wild, vcpu_op, $\command, $-1, $request
	.endr
	try vcpu.is-up, vcpu_op, $3, $0, $0
	try vcpu.initialise.self, vcpu_op, $0, $0, $request
	try vcpu.up.self, vcpu_op, $1, $0, $0
	try vcpu.runstate, vcpu_op, $4, $0, $request
	mov request, %eax
	show vcpu.runstate.state, %rax
	try vcpu.runstate.wild, vcpu_op, $4, $0, $WILD
	store $area, request
	try vcpu.runstate-area, vcpu_op, $5, $0, $request
	mov area, %eax
	show vcpu.runstate-area.state, %rax
	store $WILD, request
	try vcpu.runstate-area.wild, vcpu_op, $5, $0, $request
	store $HYPERVISOR_ADDRESS, request
	try vcpu.runstate-area.hypervisor, vcpu_op, $5, $0, $request
	store $0, request
	try vcpu.runstate-area.none, vcpu_op, $5, $0, $request
	store $WILD, request
	try vcpu.runstate-area.vcpu-1, vcpu_op, $5, $1, $request
	# periodic: u64; singleshot: u64 time, u32 flags
	store $0, request
	try vcpu.periodic.zero, vcpu_op, $6, $0, $request
	store $999999, request
	try vcpu.periodic.fast, vcpu_op, $6, $0, $request
	store $1000000, request
	try vcpu.periodic.good, vcpu_op, $6, $0, $request
	store $-1, request
	try vcpu.periodic.wild, vcpu_op, $6, $0, $request
	store $0x7fffffffffffffff, request
	try vcpu.periodic.huge, vcpu_op, $6, $0, $request
	try vcpu.periodic.stop, vcpu_op, $7, $0, $0
	store $1, request
	movl $1, request+8
	try vcpu.singleshot.past-future-only, vcpu_op, $8, $0, $request
	movl $0, request+8
	try vcpu.singleshot.past, vcpu_op, $8, $0, $request
	store $-1, request
	try vcpu.singleshot.wild, vcpu_op, $8, $0, $request
	movl $0x80, request+8
	try vcpu.singleshot.flags, vcpu_op, $8, $0, $request
	try vcpu.singleshot.stop, vcpu_op, $9, $0, $0
	try vcpu.singleshot.pointer, vcpu_op, $8, $0, $WILD
	try vcpu.singleshot.vcpu-1, vcpu_op, $8, $1, $request
	# register_vcpu_info: u64 mfn, u32 offset
	store $0x7fffffff, request
	movl $0, request+8
	try vcpu.info.beyond, vcpu_op, $10, $0, $request
	frame_of %r13, $area
	store %r13, request
	movl $4090, request+8
	try vcpu.info.offset, vcpu_op, $10, $0, $request
	movl $0xffffffff, request+8
	try vcpu.info.offset-wild, vcpu_op, $10, $0, $request
	movl $4, request+8
	try vcpu.info.misaligned, vcpu_op, $10, $0, $request
	movl $64, request+8
	try vcpu.info.vcpu-1, vcpu_op, $10, $1, $request
	try vcpu.info, vcpu_op, $10, $0, $request
	movzbl area+65, %eax
	show vcpu.info.mask, %rax
	try vcpu.info.again, vcpu_op, $10, $0, $request
	attempts vcpu.nmi, "hypercall vcpu_op, $11, $0, $0"
	try vcpu.nmi.vcpu-1, vcpu_op, $11, $1, $0
	try vcpu.physid, vcpu_op, $12, $0, $request
	store $WILD, request
	try vcpu.time-area.wild, vcpu_op, $13, $0, $request
	store $area+1024, request
	try vcpu.time-area, vcpu_op, $13, $0, $request
	store $0, request
	try vcpu.time-area.none, vcpu_op, $13, $0, $request
	try vcpu.unknown.14, vcpu_op, $14, $0, $request
	try vcpu.unknown.100, vcpu_op, $100, $0, $request
	try vcpu.unknown.wild, vcpu_op, $-1, $0, $request
	try vcpu.unknown.vcpu-1, vcpu_op, $14, $1, $request
	done
