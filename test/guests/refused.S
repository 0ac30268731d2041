# What an unprivileged guest is refused: dom0's control operations, HVM's, and numbers that Xen 4.17 does not have.
	.include "guest.inc"
	.bss
	.balign 8
request:	.skip 1024
	.text
	.macro versioned name, call, command, version
	movl $\command, request
	movl $\version, request+4
	movw $DOMID_SELF, request+8
	try \name, \call, $request
	.endm
	guest "refused"
	.irp command, 17, 31, 33, 39, 49, 60, 999
	versioned platform_op.\command, platform_op, \command, 0x03000001
	.endr
	versioned platform_op.version, platform_op, 17, 1
	try platform_op.wild, platform_op, $WILD
	.irp command, 1, 2, 3, 6, 16, 999
	versioned sysctl.\command, sysctl, \command, 0x15
	.endr
	versioned sysctl.version, sysctl, 3, 1
	try sysctl.wild, sysctl, $WILD
	.irp command, 1, 2, 3, 5, 6, 13, 28, 999
	versioned domctl.\command, domctl, \command, 0x15
	.endr
	versioned domctl.version, domctl, 5, 1
	movw $0, request+8
	movl $0x15, request+4
	movl $5, request
	try domctl.zero, domctl, $request
	movw $77, request+8
	try domctl.none, domctl, $request
	try domctl.wild, domctl, $WILD
	.irp command, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 18, 25, 26, 99
	movw $DOMID_SELF, request
	movl $0, request+4
	try hvm_op.\command, hvm_op, $\command, $request
	.endr
	try hvm_op.0.wild, hvm_op, $0, $WILD
	movl $99, request+4
	try hvm_op.0.index, hvm_op, $0, $request
	movl $0, request+4
	movw $0, request
	try hvm_op.1.zero, hvm_op, $1, $request
	movw $77, request
	try hvm_op.1.none, hvm_op, $1, $request
	try hvm_op.5.null, hvm_op, $5, $0
	movq $0, request
	try xsm_op, xsm_op, $request
	try xsm_op.null, xsm_op, $0
	.irp command, 0, 1, 2, 15
	try xenoprof_op.\command, xenoprof_op, $\command, $request
	try kexec_op.\command, kexec_op, $\command, $request
	try tmem_op.\command, tmem_op, $\command, $request
	try argo_op.\command, argo_op, $\command, $request
	try xenpmu_op.\command, xenpmu_op, $\command, $request
	try hypfs_op.\command, hypfs_op, $\command, $request
	.endr
	try xenpmu_op.wild, xenpmu_op, $0, $WILD
	try dm_op.self, dm_op, $DOMID_SELF, $1, $request
	try dm_op.zero, dm_op, $0, $1, $request
	try dm_op.none, dm_op, $77, $1, $request
	try dm_op.no-buffers, dm_op, $0, $0, $0
	try dm_op.many, dm_op, $DOMID_SELF, $100, $request
	try mca.null, mca, $0
	try mca.wild, mca, $WILD
	movl $1, request
	movl $0x01ecc003, request+4
	try mca.fetch, mca, $request
	.irp number, 11, 43, 44, 45, 46, 47, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 255, 256, 65535, 0x7fffffff
	mov $\number, %eax
	syscall
	show number.\number, %rax
	.endr
	mov $-1, %rax
	syscall
	show number.wild, %rax
	mov $0x100000011, %rax
	xor %edi, %edi
	syscall
	show number.high, %rax
	# console_io and physdev_op, as a guest without privilege sees them
	.irp command, 0, 1, 2, -1
	try console_io.\command, console_io, $\command, $4, $request
	.endr
	try console_io.wild, console_io, $0, $4, $WILD
	try console_io.huge, console_io, $0, $0x7fffffff, $request
	try console_io.none, console_io, $0, $0, $request
	.irp command, 0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 99
	movq $0, request
	movq $0, request+8
	try physdev_op.\command, physdev_op, $\command, $request
	.endr
	try physdev_op.wild-command, physdev_op, $-1, $request
	.irp command, 5, 6, 7, 9, 10, 11, 12, 13, 20, 22, 28
	try physdev_op.\command\().wild, physdev_op, $\command, $WILD
	.endr
	# set_iopl: u32; set_iobitmap: pointer, u32 nr_ports
	.irp level, 0, 1, 3, 4
	movl $\level, request
	try physdev_op.iopl.\level, physdev_op, $6, $request
	.endr
	attempt iopl.3.in, in $0x61, %al
	show iopl.3.in.value, %rax
	attempt iopl.3.cli, cli
	attempt iopl.3.sti, sti
	movl $1, request
	try physdev_op.iopl.back, physdev_op, $6, $request
	attempt iopl.1.cli, cli
	mov $0x80, %edx
	attempt iopl.1.in, in %dx, %al
	attempt iopl.1.out, out %al, %dx
	movl $0, request
	try physdev_op.iopl.zero, physdev_op, $6, $request
	attempt iopl.0.cli, cli
	store $WILD, request
	movl $1024, request+8
	try physdev_op.bitmap.wild, physdev_op, $7, $request
	movl $65537, request+8
	try physdev_op.bitmap.long, physdev_op, $7, $request
	movl $0, request+8
	try physdev_op.bitmap.none, physdev_op, $7, $request
	done
