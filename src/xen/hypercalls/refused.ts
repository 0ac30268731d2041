/**
 * Hypercalls that Xen 4.17 has and refuses to an unprivileged PV guest: dom0's control operations, and what Debian's build leaves
 * out. In the order in which Xen itself checks: the structure must be readable and of the known interface version before
 * privilege is asked for.
 */
import { DOMID_FIRST_RESERVED, DOMID_SELF } from "../abi/domid.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import type { Arguments, Hypercall, HypercallResult } from "../hypercall.ts";
import { copyFromGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

/** XENOPROF_last_op */
const XENOPROF_LAST = 17;
/** struct xenoprof_init */
const XENOPROF_INIT_SIZE = 72;

/** Sizes of the operations' structures and the word at which their interface version stands (public/platform.h, sysctl.h, domctl.h). */
const PLATFORM = { size: 136, versionAt: 4, version: 0x0300_0001 };
const SYSCTL = { size: 136, versionAt: 4, version: 0x15 };
/** XEN_DOMCTL_* */
const CREATE_DOMAIN = 1;
const GET_DOMAIN_INFO = 5;
const DOMCTL = { size: 144, versionAt: 4, version: 0x15 };

function control(layout: typeof PLATFORM): Hypercall["handler"] {
	return (vcpu, args) => {
		const { hypervisor } = vcpu.domain;
		if (!copyFromGuest(hypervisor, args.signed(0), layout.size)) return -Errno.EFAULT;
		if (hypervisor.memory.u32(SCRATCH + layout.versionAt) !== layout.version) return -Errno.EACCES;
		return -Errno.EPERM;
	};
}

function domctl(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { hypervisor } = vcpu.domain;
	if (!copyFromGuest(hypervisor, args.signed(0), DOMCTL.size)) return -Errno.EFAULT;
	if (hypervisor.memory.u32(SCRATCH + DOMCTL.versionAt) !== DOMCTL.version) return -Errno.EACCES;
	const command = hypervisor.memory.u32(SCRATCH);
	const id = hypervisor.memory.u16(SCRATCH + 8);
	// DOMID_SELF is no domain's id here; createdomain looks no domain up, and getdomaininfo may name one that is not there.
	if (command === CREATE_DOMAIN || hypervisor.domains.has(id)) return -Errno.EPERM;
	return command === GET_DOMAIN_INFO && id >= DOMID_FIRST_RESERVED ? -Errno.EINVAL : -Errno.ESRCH;
}

/** HVMOP_set_param and get_param check their structure before they find that the domain is no HVM guest. */
function hvmOp(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { hypervisor } = vcpu.domain;
	const operation = args.high(0) === 0 ? args.low(0) : -1;
	switch (operation) {
		case 0:
		case 1: {
			// struct xen_hvm_param: u16 domid, u32 index at 4, u64 value. HVM_NR_PARAMS is 39.
			if (!copyFromGuest(hypervisor, args.signed(1), 16)) return -Errno.EFAULT;
			if (hypervisor.memory.u32(SCRATCH + 4) >= 39) return -Errno.EINVAL;
			const id = hypervisor.memory.u16(SCRATCH);
			return id === DOMID_SELF || hypervisor.domains.has(id) ? -Errno.EINVAL : -Errno.ESRCH;
		}
		case 5:
			// HVMOP_flush_tlbs: of an HVM guest's own.
			return -Errno.EINVAL;
		case 9:
		case 15:
			// HVMOP_pagetable_dying and HVMOP_set_evtchn_upcall_vector: of an HVM guest's own.
			return -Errno.EINVAL;
		case 25:
			// HVMOP_altp2m
			return -Errno.EOPNOTSUPP;
		default:
			return -Errno.ENOSYS;
	}
}

function dmOp(vcpu: Vcpu, args: Arguments): HypercallResult {
	const id = args.low(0) & 0xffff;
	if (args.low(1) > 3) return -Errno.E2BIG;
	if (args.low(1) === 0) return -Errno.ENODATA;
	if (id === vcpu.domain.id) return -Errno.EPERM;
	return vcpu.domain.hypervisor.domains.has(id) ? -Errno.EINVAL : -Errno.ESRCH;
}

/** XENOPROF_init says that there is no performance counter; the rest is the profiling domain's. */
function xenoprof(vcpu: Vcpu, args: Arguments): HypercallResult {
	const operation = args.low(0);
	if (operation > XENOPROF_LAST) return -Errno.EINVAL;
	if (operation !== 0) return -Errno.EPERM;
	return copyFromGuest(vcpu.domain.hypervisor, args.signed(1), XENOPROF_INIT_SIZE) ? -Errno.ENODEV : -Errno.EFAULT;
}

/** The second part of a long domctl, which only a domctl may ask for. */
function pagingControl(vcpu: Vcpu, args: Arguments): HypercallResult {
	return copyFromGuest(vcpu.domain.hypervisor, args.signed(0), DOMCTL.size) ? -Errno.EOPNOTSUPP : -Errno.EFAULT;
}

function refuse(errno: number): Hypercall["handler"] {
	return () => -errno;
}

const OPERATION: Hypercall["arguments"] = [{ name: "op", kind: "pointer" }];
const COMMAND: Hypercall["arguments"] = [
	{ name: "cmd", kind: "unsigned" },
	{ name: "arg", kind: "pointer" },
];

export const refusedHypercalls: readonly Hypercall[] = [
	{ number: HypercallNumber.platform_op, name: "platform_op", arguments: OPERATION, handler: control(PLATFORM) },
	{ number: HypercallNumber.xsm_op, name: "xsm_op", arguments: OPERATION, handler: refuse(Errno.ENOSYS) },
	{ number: HypercallNumber.xenoprof_op, name: "xenoprof_op", arguments: COMMAND, handler: xenoprof },
	{ number: HypercallNumber.hvm_op, name: "hvm_op", arguments: COMMAND, handler: hvmOp },
	{ number: HypercallNumber.sysctl, name: "sysctl", arguments: OPERATION, handler: control(SYSCTL) },
	{ number: HypercallNumber.domctl, name: "domctl", arguments: OPERATION, handler: domctl },
	{ number: HypercallNumber.kexec_op, name: "kexec_op", arguments: COMMAND, handler: refuse(Errno.EPERM) },
	{ number: HypercallNumber.tmem_op, name: "tmem_op", arguments: OPERATION, handler: refuse(Errno.ENOSYS) },
	{ number: HypercallNumber.argo_op, name: "argo_op", arguments: COMMAND, handler: refuse(Errno.ENOSYS) },
	{ number: HypercallNumber.xenpmu_op, name: "xenpmu_op", arguments: COMMAND, handler: refuse(Errno.EOPNOTSUPP) },
	{
		number: HypercallNumber.dm_op,
		name: "dm_op",
		arguments: [
			{ name: "domid", kind: "domain" },
			{ name: "nr_bufs", kind: "unsigned" },
			{ name: "bufs", kind: "pointer" },
		],
		handler: dmOp,
	},
	{ number: HypercallNumber.hypfs_op, name: "hypfs_op", arguments: COMMAND, handler: refuse(Errno.EPERM) },
	{
		number: HypercallNumber.paging_domctl_cont,
		name: "paging_domctl_cont",
		arguments: OPERATION,
		handler: pagingControl,
	},
	{ number: HypercallNumber.mca, name: "mca", arguments: OPERATION, handler: refuse(Errno.EPERM) },
];
