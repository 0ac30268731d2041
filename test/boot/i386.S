# A static 32-bit Linux program: what a 64-bit kernel's compatibility mode has to offer, one line of verdict each. Its exit status is
# the number of checks that failed. System call numbers and structures: Linux's uapi for i386.

	.set SYS_exit, 1
	.set SYS_write, 4
	.set SYS_open, 5
	.set SYS_getpid, 20
	.set SYS_munmap, 91
	.set SYS_ftruncate, 93
	.set SYS_rt_sigreturn, 173
	.set SYS_rt_sigaction, 174
	.set SYS_mmap2, 192
	.set SYS_set_thread_area, 243
	.set AT_SYSINFO, 32
	.set SIGFPE, 8
	.set SIGSEGV, 11
	.set SA_SIGINFO_RESTORER, 0x04000004
	.set CS64, 0x33
	.set CS32, 0x23
	# Offsets in ucontext_t and siginfo_t.
	.set UC_ESP, 48
	.set UC_EIP, 76
	.set SI_ADDR, 12

	# Reports the zero flag under a name.
	.macro verdict name
	mov	$9f, %esi
	call	report
	.pushsection .rodata
9:	.asciz	"\name"
	.popsection
	.endm

	# Runs on at `to` after the signal that comes next.
	.macro expect to
	movl	$\to, resume
	movl	$0, signal
	movl	$0, fault_address
	.endm

	.code32
	.text
	.globl	_start
_start:
	cld
	lea	4(%esp), %esi
1:	lodsl				# arguments
	test	%eax, %eax
	jnz	1b
2:	lodsl				# environment
	test	%eax, %eax
	jnz	2b
3:	lodsl				# auxiliary vector
	mov	%eax, %ebx
	lodsl
	test	%ebx, %ebx
	jz	4f
	cmp	$AT_SYSINFO, %ebx
	jne	3b
	mov	%eax, sysinfo
4:
	# Both ways into the kernel: the software interrupt, and what the vDSO has (SYSENTER or SYSCALL).
	mov	$SYS_getpid, %eax
	int	$0x80
	mov	%eax, %edi
	mov	$SYS_getpid, %eax
	mov	$0x1234567, %ebp
	call	*sysinfo
	cmp	%eax, %edi
	jne	5f
	cmp	$0x1234567, %ebp
5:	verdict	vdso

	# Instructions that 64-bit mode does not have.
	mov	$0x15, %al
	add	$0x27, %al
	daa
	cmp	$0x42, %al
	verdict	decimal
	mov	%esp, %edi
	mov	$7, %ecx
	pusha
	mov	$8, %ecx
	popa
	cmp	$7, %ecx
	jne	6f
	cmp	%esp, %edi
6:	verdict	pusha

	# A thread's segment.
	mov	$thread_area, %ebx
	mov	$SYS_set_thread_area, %eax
	int	$0x80
	mov	thread_area, %eax
	lea	3(,%eax,8), %eax
	mov	%eax, %gs
	cmpl	$0x5a17ab1e, %gs:4
	verdict	thread

	# x87: 355/113 in millionths.
	fildl	n355
	fidivl	n113
	fimull	million
	fistpl	quotient
	cmpl	$3141593, quotient
	verdict	x87

	# 64-bit code in a 32-bit process.
	ljmp	$CS64, $long_mode
	.code64
long_mode:
	movabs	$0x123456789abcdef0, %rax
	ror	$32, %rax
	mov	%eax, %edx
	push	$CS32
	mov	$compatible, %eax
	push	%rax
	lretq
	.code32
compatible:
	cmp	$0x12345678, %edx
	verdict	longmode

	# A file mapped and written; the shell looks at it.
	mov	$SYS_open, %eax
	mov	$file, %ebx
	mov	$0x42, %ecx		# O_RDWR | O_CREAT
	mov	$0644, %edx
	int	$0x80
	mov	%eax, %edi
	mov	%eax, %ebx
	mov	$5000, %ecx
	mov	$SYS_ftruncate, %eax
	int	$0x80
	xor	%ebx, %ebx
	mov	$8192, %ecx
	mov	$3, %edx		# PROT_READ | PROT_WRITE
	mov	$1, %esi		# MAP_SHARED
	xor	%ebp, %ebp
	mov	$SYS_mmap2, %eax
	int	$0x80
	mov	%eax, mapping
	cmp	$0xfffff000, %eax
	jae	7f
	mov	$text, %esi
	lea	4090(%eax), %edi	# across the page boundary
	mov	$(text_end - text), %ecx
	rep movsb
	mov	mapping, %ebx
	mov	$8192, %ecx
	mov	$SYS_munmap, %eax
	int	$0x80
	test	%eax, %eax
7:	verdict	mmap

	# Faults as signals, with the address, and a return to elsewhere.
	mov	$SIGSEGV, %ebx
	call	catch
	mov	$SIGFPE, %ebx
	call	catch
	expect	8f
	mov	mapping, %edi
	movl	$1, 12(%edi)
8:	mov	mapping, %eax
	add	$12, %eax
	cmp	%eax, fault_address
	jne	1f
	cmpl	$SIGSEGV, signal
1:	verdict	segv
	expect	2f
	xor	%edx, %edx
	xor	%ecx, %ecx
	mov	$1, %eax
divide:	div	%ecx
2:	cmpl	$divide, fault_address
	jne	3f
	cmpl	$SIGFPE, signal
3:	verdict	fpe

	mov	failures, %ebx
	mov	$SYS_exit, %eax
	int	$0x80

# Handles the signal in %ebx by noting it and going on at `resume`.
catch:
	mov	$action, %ecx
	xor	%edx, %edx
	mov	$8, %esi
	mov	$SYS_rt_sigaction, %eax
	int	$0x80
	ret

handler:
	mov	4(%esp), %eax
	mov	%eax, signal
	mov	8(%esp), %eax
	mov	SI_ADDR(%eax), %eax
	mov	%eax, fault_address
	mov	12(%esp), %eax
	mov	resume, %edx
	mov	%edx, UC_EIP(%eax)
	ret

restorer:
	mov	$SYS_rt_sigreturn, %eax
	int	$0x80

# Prints "NAME ok" where the zero flag is set, else "NAME failed". %esi: the name.
report:
	mov	$ok, %edi
	jz	1f
	mov	$failed, %edi
	incl	failures
1:	call	print
	mov	%edi, %esi
	call	print
	ret

print:
	mov	%esi, %ecx
	xor	%edx, %edx
1:	cmpb	$0, (%ecx,%edx)
	je	2f
	inc	%edx
	jmp	1b
2:	mov	$1, %ebx
	mov	$SYS_write, %eax
	int	$0x80
	ret

	.section .rodata
ok:	.asciz	" ok\n"
failed:	.asciz	" failed\n"
file:	.asciz	"/tmp/i386.data"
text:	.ascii	"mapped by a 32-bit program\n"
text_end:
n355:	.long	355
n113:	.long	113
million: .long	1000000

	.data
thread_area:				# struct user_desc: number, base, limit, flags
	.long	-1, thread, 0xfffff, 0x51	# seg_32bit, limit_in_pages, useable
thread:	.long	0, 0x5a17ab1e
action:	.long	handler, SA_SIGINFO_RESTORER, restorer, 0, 0
sysinfo: .long	0
failures: .long	0
quotient: .long	0
mapping: .long	0
signal:	.long	0
fault_address: .long 0
resume:	.long	0
