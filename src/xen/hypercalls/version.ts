/** xen_version: what the hypervisor says of itself. It announces Xen 4.17, whose public ABI it implements. */

import { PAGE_SIZE } from "../../memory/map.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import * as abi from "../abi/version.ts";
import type { Domain } from "../domain.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { copyFromGuest, copyToGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const { Feature, VersionOp } = abi;
/** For `xl info` as well. */
export const XEN_VERSION = {
	major: 4,
	minor: 17,
	extra: ".0",
	capabilities: "xen-3.0-x86_64 ",
	changeset: "unavailable",
	compiler: "TypeScript",
	compileBy: "paravirt",
	virtStart: "ffff800000000000",
} as const;
/** Where Xen's part of the address space starts: HYPERVISOR_VIRT_START. */
const VIRT_START = [0, 0xffff_8000] as const;

/** VMASST_TYPE_pae_extended_cr3 */
const PAE_EXTENDED_CR3_ASSIST = 4;

/** What a PV domU of Xen 4.17 has; page tables are written by hypercall or trap and keep their A and D bits. */
const FEATURES =
	(1 << Feature.mmuPtUpdatePreserveAd) |
	(1 << Feature.highmemAssist) |
	(1 << Feature.gnttabMapAvailBits) |
	(1 << Feature.memoryOpVnodeSupported) |
	(1 << Feature.directMapped);

function features(domain: Domain): number {
	const extended = (domain.vmAssist >>> PAE_EXTENDED_CR3_ASSIST) & 1;
	return FEATURES | (extended << Feature.paePgdirAbove4gb);
}

/** Lays text out in SCRATCH, zero-padded to `size`. */
function putText(hypervisor: Hypervisor, text: string, offset: number, size: number): void {
	const { memory } = hypervisor;
	memory.fill(SCRATCH + offset, size, 0);
	for (let index = 0; index < Math.min(text.length, size - 1); index++) {
		memory.setU8(SCRATCH + offset + index, text.charCodeAt(index) & 0x7f);
	}
}

function answerText(vcpu: Vcpu, address: number, text: string, size: number): number {
	const { hypervisor } = vcpu.domain;
	putText(hypervisor, text, 0, size);
	return copyToGuest(hypervisor, address, size) ? 0 : -Errno.EFAULT;
}

function compileInfo(vcpu: Vcpu, address: number): number {
	const { hypervisor } = vcpu.domain;
	const { offset } = abi.compileInfo;
	putText(hypervisor, XEN_VERSION.compiler, offset.compiler, 64);
	putText(hypervisor, XEN_VERSION.compileBy, offset.compileBy, 16);
	putText(hypervisor, "", offset.compileDomain, 32);
	putText(hypervisor, "", offset.compileDate, 32);
	return copyToGuest(hypervisor, address, abi.compileInfo.size) ? 0 : -Errno.EFAULT;
}

function platformParameters(vcpu: Vcpu, address: number): number {
	const { hypervisor } = vcpu.domain;
	hypervisor.memory.setU32(SCRATCH, VIRT_START[0]);
	hypervisor.memory.setU32(SCRATCH + 4, VIRT_START[1]);
	return copyToGuest(hypervisor, address, abi.platformParameters.size) ? 0 : -Errno.EFAULT;
}

function getFeatures(vcpu: Vcpu, address: number): number {
	const { hypervisor } = vcpu.domain;
	if (!copyFromGuest(hypervisor, address, abi.featureInfo.size)) return -Errno.EFAULT;
	const info = abi.featureInfo.at(hypervisor.memory, SCRATCH);
	if (info.submapIdx !== 0) return -Errno.EINVAL;
	info.submap = features(vcpu.domain);
	return copyToGuest(hypervisor, address, abi.featureInfo.size) ? 0 : -Errno.EFAULT;
}

function guestHandle(vcpu: Vcpu, address: number): number {
	const { hypervisor, handle } = vcpu.domain;
	hypervisor.memory.bytes.set(handle, SCRATCH);
	return copyToGuest(hypervisor, address, abi.HANDLE_SIZE) ? 0 : -Errno.EFAULT;
}

function xenVersion(vcpu: Vcpu, args: Arguments): number {
	const address = args.signed(1);
	switch (args.low(0)) {
		case VersionOp.version:
			return (XEN_VERSION.major << 16) | XEN_VERSION.minor;
		case VersionOp.extraversion:
			return answerText(vcpu, address, XEN_VERSION.extra, abi.EXTRAVERSION_SIZE);
		case VersionOp.compileInfo:
			return compileInfo(vcpu, address);
		case VersionOp.capabilities:
			return answerText(vcpu, address, XEN_VERSION.capabilities, abi.CAPABILITIES_SIZE);
		case VersionOp.changeset:
			return answerText(vcpu, address, XEN_VERSION.changeset, abi.CHANGESET_SIZE);
		case VersionOp.platformParameters:
			return platformParameters(vcpu, address);
		case VersionOp.getFeatures:
			return getFeatures(vcpu, address);
		case VersionOp.pagesize:
			return address === 0 ? PAGE_SIZE : -Errno.EINVAL;
		case VersionOp.guestHandle:
			return guestHandle(vcpu, address);
		case VersionOp.commandline:
			// Not for an unprivileged guest: Xen fills in a text that says so.
			return answerText(vcpu, address, "<denied>", abi.COMMANDLINE_SIZE);
		case VersionOp.buildId:
			return -Errno.EPERM;
		default:
			return -Errno.ENOSYS;
	}
}

export const versionHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.xen_version,
		name: "xen_version",
		arguments: [
			{ name: "cmd", kind: "command", names: abi.versionOpNames },
			{ name: "arg", kind: "pointer" },
		],
		handler: xenVersion,
	},
];
