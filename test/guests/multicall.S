# multicall: lists of calls, their results, and what is refused inside one.
	.include "guest.inc"
	.bss
	.balign 8
calls:	.skip 64 * 8
buffer:	.skip 64
	.text
	# Entry INDEX: number, arguments.
	.macro entry index, number, a1=$0, a2=$0, a3=$0
	store \number, calls+64*\index
	store $0x7777, calls+64*\index+8
	store \a1, calls+64*\index+16
	store \a2, calls+64*\index+24
	store \a3, calls+64*\index+32
	.endm
	edge edge, 128
	guest "multicall"
	unmap_hole edge
	movq $17, edge
	movq $17, edge+64
	try none, multicall, $0, $0
	entry 0, $17, $0, $0
	entry 1, $17, $7, $0
	entry 2, $63
	entry 3, $13, $calls, $1
	try list, multicall, $calls, $4
	show list.version, calls+8
	show list.pagesize, calls+64+8
	show list.none, calls+128+8
	show list.nested, calls+192+8
	entry 0, $-1
	entry 1, $64
	entry 2, $0x100000011, $0, $0
	entry 3, $17, $11
	try wild, multicall, $calls, $4
	show wild.minus, calls+8
	show wild.64, calls+64+8
	show wild.high, calls+128+8
	show wild.unknown-version, calls+192+8
	entry 0, $29, $0
	entry 1, $17, $0
	try yield, multicall, $calls, $2
	show yield.result, calls+8
	show yield.next, calls+64+8
	try null, multicall, $0, $1
	try hypervisor, multicall, $HYPERVISOR_ADDRESS, $1
	try not-canonical, multicall, $NOT_CANONICAL, $1
	try wild-list, multicall, $WILD, $1
	try misaligned, multicall, $calls+1, $0
	try huge, multicall, $edge, $0xffffffff
	show huge.second, edge+64+8
	try too-high, multicall, $edge, $0x100000000
	# a list that ends where nothing is mapped
	mov start_info, %rax
	entry 0, $17, $0
	entry 1, $17, $HYPERVISOR_HIGH, $0
	try second, multicall, $calls, $2
	show second.result, calls+64+8
	done
	.set HYPERVISOR_HIGH, 1
