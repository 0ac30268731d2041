# set_gdt, update_descriptor and selectors: what may stand in a table, and what may be loaded.
	.include "guest.inc"
	page table
	page writable
	page code
	.bss
	.balign 8
frames:	.skip 128
	.text
	# Writes a descriptor of `table` by hypercall.
	.macro descriptor name, index, value
	mov %r13, %rax
	shl $12, %rax
	add $8 * \index, %rax
	mov \value, %rdx
	try \name, update_descriptor, %rax, %rdx
	mov table + 8 * \index, %rax
	show \name\().value, %rax
	.endm
	.macro load name, selector
	mov %es, %ebp
	attempts \name\().es, "mov $\selector, %eax; mov %eax, %es; mov %es, %ebp"
	show \name\().es.value, %rbp
	mov %gs, %ebp
	attempts \name\().gs, "mov $\selector, %eax; mov %eax, %gs; mov %gs, %ebp"
	show \name\().gs.value, %rbp
	xor %eax, %eax
	mov %eax, %es
	mov %eax, %gs
	attempts \name\().ss, "mov $\selector, %eax; mov %eax, %ss"
	mov $FLAT_SS, %eax
	mov %eax, %ss
	.endm
	guest "segments"
	frame_of %r13, $table
	mov %r13, frames
	try gdt.writable, set_gdt, $frames, $512
	mov %r13, %rax
	shl $12, %rax
	or $5, %rax
	try table.read-only, update_va_mapping, $table, %rax, $2
	try gdt, set_gdt, $frames, $512
	try gdt.too-many, set_gdt, $frames, $7169
	try gdt.none, set_gdt, $frames, $0
	try gdt.again, set_gdt, $frames, $512
	try gdt.list-wild, set_gdt, $WILD, $512
	try gdt.list-hypervisor, set_gdt, $HYPERVISOR_ADDRESS, $512
	movq $0x7fffffff, frames
	try gdt.beyond, set_gdt, $frames, $1
	movq $-1, frames
	try gdt.wild, set_gdt, $frames, $1
	movq $0, frames
	try gdt.zero, set_gdt, $frames, $1
	mov %r13, frames
	try gdt.small, set_gdt, $frames, $4
	try gdt.full, set_gdt, $frames, $512
	mov %r13, %rax
	shl $12, %rax
	or $7, %rax
	try table.writable, update_va_mapping, $table, %rax, $2
	attempt table.write, movq $0, table
	# 1: data, ring 3. 2: code, ring 3, 64-bit. 3: data, ring 0. 4: code, ring 0. 5: call gate. 6: LDT. 7: TSS. 8: not present
	descriptor data.3, 1, $0x00cff3000000ffff
	descriptor code.3, 2, $0x00affb000000ffff
	descriptor data.0, 3, $0x00cf93000000ffff
	descriptor code.0, 4, $0x00af9b000000ffff
	descriptor code.1, 5, $0x00afbb000000ffff
	descriptor gate.call, 6, $0x0000ec000010ffff
	descriptor gate.interrupt, 6, $0x0000ee000010ffff
	descriptor ldt, 6, $0x0000e2000000ffff
	descriptor tss, 7, $0x0000e9000000ffff
	descriptor not-present, 8, $0x00cf73000000ffff
	descriptor not-accessed, 9, $0x00cff2000000ffff
	descriptor conforming, 10, $0x00afff000000ffff
	descriptor code.32, 11, $0x00cffb000000ffff
	descriptor data.limit, 12, $0x0040f3000000000f
	descriptor code.32-64, 13, $0x00effb000000ffff
	descriptor null, 14, $0
	descriptor system-0, 15, $0x0000e0000000ffff
	descriptor expand-down, 15, $0x00cff7000000ffff
	load data.3, 0x0b
	load data.3-rpl0, 0x08
	load code.3, 0x13
	load data.0, 0x1b
	load data.0-rpl0, 0x18
	load null, 0
	load null-3, 3
	load gate, 0x33
	load not-present, 0x43
	load not-accessed, 0x4b
	load limit, 0x63
	load beyond, 0x1003
	load empty, 0x103
	load hypervisor.ds, 0xe02b
	load hypervisor.ring0, 0xe008
	load hypervisor.cs64, 0xe033
	load hypervisor.cs32, 0xe023
	load hypervisor.tss, 0xe040
	load hypervisor.last, 0xfffb
	load ldt, 7
	# far jumps and returns
	.macro far name, selector
	xor %ebp, %ebp
	attempts \name, "pushq $\selector; pushq $76f; lretq; 76: mov %cs, %ebp"
	show \name\().cs, %rbp
	mov %cs, %eax
	show \name\().after-hypercall, %rax
	.endm
	far far.flat, 0xe033
	far far.code-3, 0x13
	far far.code-0, 0x23
	far far.code-0-rpl0, 0x20
	far far.code-1, 0x2b
	far far.data, 0x0b
	far far.null, 0
	far far.gate, 0x33
	far far.hypervisor, 0xe008
	far far.conforming, 0x53
	far far.beyond, 0x1003
	far far.32-64, 0x6b
	attempts lar.data, "mov $0x0b, %eax; lar %eax, %eax"
	show lar.data.value, %rax
	attempts lsl.data, "mov $0x0b, %eax; lsl %eax, %eax"
	show lsl.data.value, %rax
	attempts verw.flat, "mov $FLAT_SS, %eax; verw %ax"
	# update_descriptor elsewhere
	frame_of %r14, $writable
	mov %r14, %rax
	shl $12, %rax
	try elsewhere.own-page, update_descriptor, %rax, $0
	mov %r14, %rax
	shl $12, %rax
	store $0x00cff3000000ffff, writable
	try elsewhere.own-page.data, update_descriptor, %rax, $0x00cff3000000ffff
	mov %r14, %rax
	shl $12, %rax
	add $4, %rax
	try elsewhere.misaligned, update_descriptor, %rax, $0
	try elsewhere.beyond, update_descriptor, $0x7fffffff000, $0
	try elsewhere.zero, update_descriptor, $0, $0
	try elsewhere.wild, update_descriptor, $-8, $0
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	mov %rbx, %rax
	shl $12, %rax
	try elsewhere.page-table, update_descriptor, %rax, $0
	mov %rbx, frames
	try gdt.page-table, set_gdt, $frames, $1
	# a page with a descriptor that is refused cannot become a table
	frame_of %r15, $code
	store $0x00af9b000000ffff, code
	store $0x0000ec000010ffff, code+8
	mov %r15, %rax
	shl $12, %rax
	or $5, %rax
	try bad-table.read-only, update_va_mapping, $code, %rax, $2
	mov %r15, frames
	try gdt.bad-table, set_gdt, $frames, $2
	# FS and GS bases follow a descriptor of the table
	descriptor based, 16, $0x00cff3123456ffff
	attempts based.fs, "mov $0x83, %eax; mov %eax, %fs"
	mov $0xc0000100, %ecx
	rdmsr
	show based.fs.base, %rax
	done
