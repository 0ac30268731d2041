# Every way of shutting down by sched_op: how the toolstack is told.
# cases: poweroff reboot suspend crash watchdog soft_reset six wild compat compat-crash code code-wild watchdog-zero watchdog-announced
	.include "guest.inc"
	guest "shutdown"
	.macro end case, reason
	.ifdef CASE_\case
	movl $\reason, reason
	call flush
	try result, sched_op, $2, $reason
	.endif
	.endm
	.data
	.balign 4
reason:	.long 0
watchdog:	.quad 0			# id, seconds
	.text
	end poweroff, 0
	end reboot, 1
	end suspend, 2
	end crash, 3
	end watchdog, 4
	end soft_reset, 5
	end six, 6
	end wild, 0x12345601
	.ifdef CASE_compat
	try result, sched_op_compat, $2, $1
	.endif
	.ifdef CASE_compat_crash
	try result, sched_op_compat, $2, $3
	.endif
	.ifdef CASE_code
	movl $1, reason
	try code, sched_op, $5, $reason
	movl $0, reason
	try result, sched_op, $2, $reason
	.endif
	.ifdef CASE_code_wild
	movl $0x12345663, reason
	try code, sched_op, $5, $reason
	movl $0, reason
	try result, sched_op, $2, $reason
	.endif
	.ifdef CASE_watchdog_announced
	movl $1, reason
	try code, sched_op, $5, $reason
	.endif
	.ifdef CASE_watchdog_zero
	.set WATCHDOG, 1
	.endif
	.ifdef CASE_watchdog_announced
	.set WATCHDOG, 1
	.endif
	.ifdef WATCHDOG
	movq $0, watchdog
	call flush
	hypercall sched_op, $6, $watchdog
1:	hypercall sched_op, $0
	jmp 1b
	.endif
	show returned, $1
	done
