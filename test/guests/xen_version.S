# xen_version: what Xen says of itself. The build's own words (compiler, changeset, build id) are not compared.
	.include "guest.inc"
	page buffer
	guest "xen_version"
	try version, xen_version, $0, $0
	try extraversion, xen_version, $1, $buffer
	try compile_info, xen_version, $2, $buffer
	try capabilities, xen_version, $3, $buffer
	show capabilities.text, buffer
	show capabilities.text+8, buffer+8
	try changeset, xen_version, $4, $buffer
	try platform_parameters, xen_version, $5, $buffer
	show platform_parameters.virt_start, buffer
	movq $0, buffer
	try features.0, xen_version, $6, $buffer
	show features.0.map, buffer
	movl $1, buffer
	try features.1, xen_version, $6, $buffer
	show features.1.map, buffer
	movl $2, buffer
	try features.2, xen_version, $6, $buffer
	show features.2.map, buffer
	try pagesize, xen_version, $7, $0
	try guest_handle, xen_version, $8, $buffer
	store $0x4141414141414141, buffer
	try commandline, xen_version, $9, $buffer
	show commandline.begin, buffer
	try build_id.null, xen_version, $10, $0
	try unknown, xen_version, $11, $0
	try huge, xen_version, $-1, $0
	try extraversion.null, xen_version, $1, $0
	try extraversion.hypervisor, xen_version, $1, $HYPERVISOR_ADDRESS
	try features.wild, xen_version, $6, $WILD
	try features.not-canonical, xen_version, $6, $NOT_CANONICAL
	done
