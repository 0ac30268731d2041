# grant_table_op: setting up, mapping, copying, with references, domains and frames of every kind.
	.include "guest.inc"
	page shared
	page other
	page grants
	edge edge, 40
	.bss
	.balign 8
request:	.skip 256
frames:	.skip 512
	.text
	guest "grants"
	frame_of %r13, $shared
	frame_of %r14, $other
	# query_size: u16 dom, u32 nr, u32 max, s16 status
	movw $DOMID_SELF, request
	try query_size, grant_table_op, $6, $request, $1
	movswq request+12, %rax
	show query_size.status, %rax
	mov request+4, %eax
	show query_size.frames, %rax
	mov request+8, %eax
	show query_size.maximum, %rax
	# get_version: u16 dom, u32 version; set_version: u32 version
	movw $DOMID_SELF, request
	try get_version, grant_table_op, $10, $request, $1
	mov request+4, %eax
	show get_version.version, %rax
	.irp version, 0, 3, 2, 1
	movl $\version, request
	try set_version.\version, grant_table_op, $8, $request, $1
	mov request, %eax
	show set_version.\version\().version, %rax
	.endr
	# setup_table: u16 dom, u32 nr_frames, s16 status, pointer
	.macro setup name, domain, count, list
	movw $\domain, request
	movl $\count, request+4
	movw $99, request+8
	store \list, request+16
	try \name, grant_table_op, $2, $request, $1
	movswq request+8, %rax
	show \name\().status, %rax
	.endm
	setup setup.none, DOMID_SELF, 0, $frames
	setup setup.domain-zero, 0, 1, $frames
	setup setup.domain-none, 77, 1, $frames
	setup setup.too-many, DOMID_SELF, 65, $frames
	setup setup.huge, DOMID_SELF, 0x7fffffff, $frames
	setup setup.wild, DOMID_SELF, 1, $WILD
	setup setup.hypervisor, DOMID_SELF, 1, $HYPERVISOR_ADDRESS
	setup setup, DOMID_SELF, 1, $frames
	try setup.two, grant_table_op, $2, $request, $2
	mov frames, %rax
	shl $12, %rax
	or $7, %rax
	try table.map, update_va_mapping, $grants, %rax, $2
	# v1 entries: u16 flags, u16 domid, u32 frame. Reference 8: readable and writable by ourselves; 9: read-only; 10: other domain
	movq $0x4444, shared
	movq $0x2222, other
	.macro entry reference, flags, domain, frame
	mov \frame, %eax
	mov %eax, grants+8*\reference+4
	movw $\domain, grants+8*\reference+2
	movw $\flags, grants+8*\reference
	.endm
	entry 8, 1, 0, %r13d
	# map_grant_ref: u64 host_addr, u32 flags, u32 ref, u16 dom, s16 status, u32 handle, u64 dev_bus_addr
	.macro map name, address, flags, reference, domain=DOMID_SELF
	store \address, request
	movl $\flags, request+8
	movl $\reference, request+12
	movw $\domain, request+16
	movw $99, request+18
	try \name, grant_table_op, $0, $request, $1
	movswq request+18, %rax
	show \name\().status, %rax
	.endm
	map map.domain-none, $other, 2, 8, 77
	map map.domain-zero, $other, 2, 8, 0
	map map.no-flags, $other, 0, 8
	map map.wrong-domain, $other, 2, 8
	map map.free, $other, 2, 12
	map map.beyond, $other, 2, 0x7fffffff
	map map.unmapped-address, $WILD, 2, 8
	map map.hypervisor-address, $HYPERVISOR_ADDRESS, 2, 8
	map map.device, $other, 1, 8
	map map.application, $other, 8, 8
	# unmap_grant_ref: u64 host_addr, u64 dev_bus_addr, u32 handle, s16 status
	.macro unmap name, address, handle
	store \address, request
	movq $0, request+8
	movl \handle, request+16
	movw $99, request+20
	try \name, grant_table_op, $1, $request, $1
	movswq request+20, %rax
	show \name\().status, %rax
	.endm
	unmap unmap.none, $other, $0
	unmap unmap.huge, $other, $0x7fffffff
	unmap unmap.wild, $other, $-1
	# copy: source ref/gmfn u64, u16 domid, u16 offset; dest same; u16 len, u16 flags, s16 status
	.macro copy name, source, source_domain, source_offset, target, target_domain, target_offset, length, flags
	store \source, request
	movw $\source_domain, request+8
	movw $\source_offset, request+10
	store \target, request+16
	movw $\target_domain, request+24
	movw $\target_offset, request+26
	movw $\length, request+32
	movw $\flags, request+34
	movw $99, request+36
	try \name, grant_table_op, $5, $request, $1
	movswq request+36, %rax
	show \name\().status, %rax
	.endm
	copy copy.frames, %r13, DOMID_SELF, 0, %r14, DOMID_SELF, 8, 8, 0
	show copy.frames.value, other+8
	copy copy.length, %r13, DOMID_SELF, 4090, %r14, DOMID_SELF, 0, 8, 0
	copy copy.offset, %r13, DOMID_SELF, 4097, %r14, DOMID_SELF, 0, 0, 0
	copy copy.length-0, %r13, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 0, 0
	copy copy.beyond, $0x7fffffff, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 8, 0
	copy copy.to-beyond, %r14, DOMID_SELF, 0, $0x7fffffff, DOMID_SELF, 0, 8, 0
	copy copy.foreign, $0, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 8, 0
	copy copy.from-domain-zero, %r13, 0, 0, %r14, DOMID_SELF, 0, 8, 0
	copy copy.from-none, %r13, 77, 0, %r14, DOMID_SELF, 0, 8, 0
	copy copy.reference-free, $12, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 8, 1
	copy copy.reference-wild, $0x7fffffff, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 8, 1
	copy copy.reference-wrong-domain, $8, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 8, 1
	copy copy.flags, %r13, DOMID_SELF, 0, %r14, DOMID_SELF, 8, 8, 0xfff0
	mov start_info, %rax
	mov 88(%rax), %rax
	frame_of %rbx, %rax
	copy copy.to-table, %r13, DOMID_SELF, 0, %rbx, DOMID_SELF, 0, 8, 0
	copy copy.from-table, %rbx, DOMID_SELF, 0, %r14, DOMID_SELF, 0, 8, 0
	# transfer: u64 mfn, u16 domid, u32 ref, s16 status
	store %r13, request
	movw $DOMID_SELF, request+8
	movl $8, request+12
	movw $99, request+16
	try transfer.self, grant_table_op, $4, $request, $1
	movswq request+16, %rax
	show transfer.self.status, %rax
	store $0x7fffffff, request
	try transfer.beyond, grant_table_op, $4, $request, $1
	movswq request+16, %rax
	show transfer.beyond.status, %rax
	store %rbx, request
	movw $0, request+8
	try transfer.table, grant_table_op, $4, $request, $1
	movswq request+16, %rax
	show transfer.table.status, %rax
	# swap: u32, u32, s16; status frames: u32 nr, u16 dom, s16 status, pointer; dump
	movl $8, request
	movl $9, request+4
	try swap, grant_table_op, $11, $request, $1
	movswq request+8, %rax
	show swap.status, %rax
	movl $0x7fffffff, request+4
	try swap.wild, grant_table_op, $11, $request, $1
	movswq request+8, %rax
	show swap.wild.status, %rax
	movl $1, request
	movw $DOMID_SELF, request+4
	store $frames, request+8
	try status-frames.v1, grant_table_op, $9, $request, $1
	movswq request+6, %rax
	show status-frames.v1.status, %rax
	movw $DOMID_SELF, request
	try dump, grant_table_op, $3, $request, $1
	try cache-flush, grant_table_op, $12, $request, $0
	movq $0, request
	movw $0, request+8
	movw $1, request+10
	movl $1, request+12
	try cache-flush.one, grant_table_op, $12, $request, $1
	try unknown, grant_table_op, $13, $request, $1
	try unknown.wild, grant_table_op, $255, $request, $1
	try unknown.negative, grant_table_op, $-1, $request, $1
	try none.map, grant_table_op, $0, $request, $0
	try none.unknown, grant_table_op, $14, $0, $0
	try null.copy, grant_table_op, $5, $HYPERVISOR_ADDRESS, $1
	try wild.copy, grant_table_op, $5, $WILD, $1
	unmap_hole edge
	try huge.copy, grant_table_op, $5, $edge, $0x7fffffff
	movswq edge+36, %rax
	show huge.copy.status, %rax
	try negative.copy, grant_table_op, $5, $edge, $-1
	try huge.map, grant_table_op, $0, $edge, $0xffffffff
	try unmap_and_replace.none, grant_table_op, $7, $request, $1
	done
