# For host.test.ts: a PV guest that says what its command line says, then repeats what is typed in capital letters until "." powers
# it off, "*" asks for a restart, "!" crashes it, "#" sets a watchdog of one second, which it never sets again. Its console page is two pages behind start_info (domain builder's order); SYSCALL is a hypercall.

	.set EVENT_CHANNEL_OP, 32
	.set SCHED_OP, 29
	.set EVTCHNOP_SEND, 4
	.set SCHEDOP_YIELD, 0
	.set SCHEDOP_SHUTDOWN, 2
	.set SCHEDOP_WATCHDOG, 6
	# struct start_info
	.set CONSOLE_EVTCHN, 80
	.set COMMAND_LINE, 128
	# struct xencons_interface
	.set OUT, 1024
	.set IN_CONS, 3072
	.set IN_PROD, 3076
	.set OUT_PROD, 3084

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
	note 6, .asciz, "echo"
	note 8, .asciz, "generic"

	.text
	.globl entry
entry:
	mov %rsi, %rbx			# start_info
	lea 0x2000(%rbx), %rbp		# console
	lea COMMAND_LINE(%rbx), %r12
say:	mov (%r12), %al
	inc %r12
	test %al, %al
	jz heard
	call put
	jmp say
heard:	call tell
listen:	mov IN_CONS(%rbp), %ecx
	cmp IN_PROD(%rbp), %ecx
	jne take
	mov $SCHEDOP_YIELD, %edi
	mov $SCHED_OP, %eax
	syscall
	jmp listen
take:	mov %ecx, %edx
	and $1023, %edx
	mov (%rbp,%rdx), %al
	incl IN_CONS(%rbp)
	cmp $'.', %al
	je off
	cmp $'*', %al
	je restart
	cmp $'!', %al
	je crash
	cmp $'#', %al
	je watch
	and $~0x20, %al
	call put
	call tell
	jmp listen
watch:	mov $SCHEDOP_WATCHDOG, %edi
	lea watchdog(%rip), %rsi
	mov $SCHED_OP, %eax
	syscall
	jmp listen
restart:
	movl $1, reason(%rip)
	jmp shut
off:	movl $0, reason(%rip)
shut:	mov $SCHEDOP_SHUTDOWN, %edi
	lea reason(%rip), %rsi
	mov $SCHED_OP, %eax
	syscall
crash:	mov $0x123, %eax
	ud2

put:	mov OUT_PROD(%rbp), %edx
	and $2047, %edx
	mov %al, OUT(%rbp,%rdx)
	incl OUT_PROD(%rbp)
	ret
tell:	mov CONSOLE_EVTCHN(%rbx), %eax
	mov %eax, reason(%rip)
	mov $EVTCHNOP_SEND, %edi
	lea reason(%rip), %rsi
	mov $EVENT_CHANNEL_OP, %eax
	syscall
	ret

	.data
reason:	.long 0
	# id (0: a new one), timeout in seconds
watchdog: .long 0, 1
