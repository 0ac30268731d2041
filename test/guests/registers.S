# fpu_taskswitch, debug registers, segment bases, vm_assist: what they accept and what they change.
	.include "guest.inc"
	page scratch
	guest "registers"
	try fpu.set, fpu_taskswitch, $1
	mov %cr0, %rax
	and $8, %eax
	show fpu.set.ts, %rax
	attempt fpu.set.use, fninit
	mov %cr0, %rax
	and $8, %eax
	show fpu.after.ts, %rax
	attempt fpu.after.use, fninit
	try fpu.set.sse, fpu_taskswitch, $1
	attempt fpu.set.sse.use, xorps %xmm0, %xmm0
	try fpu.clear, fpu_taskswitch, $0
	attempt fpu.clear.use, fninit
	try fpu.wild, fpu_taskswitch, $-1
	attempt fpu.wild.use, fninit
	try fpu.high, fpu_taskswitch, $0x100000000
	attempt fpu.high.use, fninit
	.irp register, 0, 1, 2, 3
	try debug.\register\().set, set_debugreg, $\register, $scratch+\register
	try debug.\register\().get, get_debugreg, $\register
	.endr
	try debug.0.hypervisor, set_debugreg, $0, $HYPERVISOR_ADDRESS
	try debug.0.end-of-hypervisor, set_debugreg, $0, $0xffff87ffffffffff
	try debug.0.above, set_debugreg, $0, $0xffff880000000000
	try debug.0.not-canonical, set_debugreg, $0, $NOT_CANONICAL
	try debug.0.again, get_debugreg, $0
	.irp register, 4, 5
	try debug.\register\().set, set_debugreg, $\register, $0
	try debug.\register\().get, get_debugreg, $\register
	.endr
	try debug.6.set, set_debugreg, $6, $0
	try debug.6.get, get_debugreg, $6
	try debug.6.all, set_debugreg, $6, $0xffffffff
	try debug.6.all.get, get_debugreg, $6
	try debug.6.high, set_debugreg, $6, $0x100000000
	try debug.6.default, set_debugreg, $6, $0xffff0ff0
	try debug.7.get, get_debugreg, $7
	try debug.7.zero, set_debugreg, $7, $0
	try debug.7.zero.get, get_debugreg, $7
	try debug.7.reserved, set_debugreg, $7, $0xfc00
	try debug.7.reserved.get, get_debugreg, $7
	try debug.7.general-detect, set_debugreg, $7, $0x2000
	try debug.7.io, set_debugreg, $7, $0x20002
	try debug.7.io.get, get_debugreg, $7
	try debug.7.high, set_debugreg, $7, $0x100000000
	try debug.8.set, set_debugreg, $8, $0
	try debug.8.get, get_debugreg, $8
	try debug.wild.set, set_debugreg, $-1, $0
	try debug.wild.get, get_debugreg, $-1
	# a watchpoint, an instruction breakpoint
	try debug.watch.0, set_debugreg, $0, $scratch
	try debug.watch.7, set_debugreg, $7, $0x10001
	attempts debug.watch, "movb $1, scratch; nop"
	mov %dr6, %rax
	show debug.watch.6, %rax
	attempt debug.watch.read, mov scratch, %al
	try debug.break.0, set_debugreg, $0, $breakpoint
	try debug.break.7, set_debugreg, $7, $0x2
	try debug.break.6, set_debugreg, $6, $0xffff0ff0
	attempts debug.break, "nop; jmp breakpoint"
	mov %dr6, %rax
	show debug.break.6, %rax
	try debug.break.off, set_debugreg, $7, $0
	jmp 1f
breakpoint:
	nop
	jmp 1f
1:
	.irp which, 0, 1, 2
	try base.\which, set_segment_base, $\which, $0x12345678
	try base.\which\().not-canonical, set_segment_base, $\which, $NOT_CANONICAL
	try base.\which\().hypervisor, set_segment_base, $\which, $HYPERVISOR_ADDRESS
	try base.\which\().high, set_segment_base, $\which, $0xffffffff80000000
	.endr
	try base.fs.scratch, set_segment_base, $0, $scratch
	movb $0x55, scratch
	attempt base.fs.use, movzbl %fs:0, %eax
	show base.fs.value, %rax
	mov $0xc0000100, %ecx
	rdmsr
	sub $scratch, %rax
	show base.fs.msr, %rax
	try base.gs.scratch, set_segment_base, $2, $scratch
	attempt base.gs.use, movzbl %gs:0, %eax
	show base.gs.value, %rax
	mov $0xc0000101, %ecx
	rdmsr
	sub $scratch, %rax
	show base.gs.msr, %rax
	try base.user-gs, set_segment_base, $1, $0x7000
	mov $0xc0000102, %ecx
	rdmsr
	show base.user-gs.msr, %rax
	try base.selector.null, set_segment_base, $3, $0
	mov %gs, %eax
	show base.selector.null.gs, %rax
	try base.selector.flat, set_segment_base, $3, $FLAT_SS
	mov %gs, %eax
	show base.selector.flat.gs, %rax
	try base.selector.ring0, set_segment_base, $3, $0x10
	mov %gs, %eax
	show base.selector.ring0.gs, %rax
	try base.selector.hypervisor, set_segment_base, $3, $0xe008
	mov %gs, %eax
	show base.selector.hypervisor.gs, %rax
	try base.selector.beyond, set_segment_base, $3, $0xfff8
	try base.selector.wild, set_segment_base, $3, $-1
	mov %gs, %eax
	show base.selector.wild.gs, %rax
	try base.selector.clear, set_segment_base, $3, $0
	try base.4, set_segment_base, $4, $0
	try base.wild, set_segment_base, $-1, $0
	# vm_assist: enable 0, disable 1; 4gb 0, notify 1, writable tables 2, pae 3, iopl 4, runstate 5, m2p strict 32
	.irp type, 0, 1, 2, 3, 4, 5, 6, 31, 32, 33, 63, 64
	try assist.enable.\type, vm_assist, $0, $\type
	try assist.disable.\type, vm_assist, $1, $\type
	.endr
	try assist.unknown, vm_assist, $2, $4
	try assist.wild, vm_assist, $0, $-1
	done
