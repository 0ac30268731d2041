/**
 * The two L4 tables of a vCPU: the kernel's (MMUEXT_NEW_BASEPTR, or a write of CR3) and its programs' (MMUEXT_NEW_USER_BASEPTR). A vCPU holds a
 * use of each as an L4 table. Here, too, the tables that a domain starts with.
 */
import { Errno } from "../abi/errno.ts";
import type { Domain } from "../domain.ts";
import type { Vcpu } from "../vcpu.ts";
import { acquireTable, RESTART } from "./entries.ts";
import { FrameType, PINNED, TYPE } from "./frame-info.ts";
import type { FrameTable } from "./frames.ts";
import { dropLdt } from "./ldt.ts";
import { putPageAndType } from "./page-types.ts";
import { Pte } from "./pte.ts";
import { assisted, VmAssist } from "./vm-assist-bits.ts";

/**
 * Gives the running vCPU another page-table root for its kernel.
 * @returns 0, a negative errno, or RESTART
 */
export function setKernelRoot(vcpu: Vcpu, mfn: number): number {
	const { frames, processor } = vcpu.domain.hypervisor;
	const old = vcpu.kernelRoot;
	if (old !== mfn) {
		const result = takeKernelRoot(vcpu, mfn);
		if (result !== 0) return result;
		dropLdt(frames, vcpu);
	}
	processor.setRoot(0, mfn);
	// Programs come and go while their kernel stays: its half survives, as global pages do on hardware.
	if (old !== 0 && sameUpperHalf(frames, old, mfn)) frames.flushChanged();
	else frames.flushAll();
	if (old !== mfn && old !== 0) putPageAndType(frames, old);
	return 0;
}

/** Whether two L4 tables map the upper half of the addresses alike; accessed bits do not count. */
function sameUpperHalf(frames: FrameTable, left: number, right: number): boolean {
	if (left === right) return true;
	const { memory, words } = frames;
	const a = memory.frame(left) / 4;
	const b = memory.frame(right) / 4;
	for (let word = 512; word < 1024; word += 2) {
		if (((words[a + word]! ^ words[b + word]!) & ~Pte.accessed) !== 0 || words[a + word + 1] !== words[b + word + 1]) {
			return false;
		}
	}
	return true;
}

/** Gives the running vCPU another root for its programs; 0 takes it away. 0, a negative errno, or RESTART. */
export function setUserRoot(vcpu: Vcpu, mfn: number): number {
	const { frames, processor } = vcpu.domain.hypervisor;
	const old = vcpu.userRoot;
	if (old === mfn) return 0;
	const result = takeUserRoot(vcpu, mfn);
	if (result !== 0) return result;
	processor.setRoot(1, mfn);
	processor.flushSpace(1);
	if (old !== 0) putPageAndType(frames, old);
	return 0;
}

/**
 * The roots of a vCPU that has none yet and does not run (VCPUOP_initialise).
 * @param userMfn 0 where it has no root for programs
 * @returns 0, a negative errno, or RESTART; after the latter two it holds none
 */
export function installRoots(vcpu: Vcpu, kernelMfn: number, userMfn: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const result = takeKernelRoot(vcpu, kernelMfn);
	if (result !== 0) return result;
	const user = takeUserRoot(vcpu, userMfn);
	if (user !== 0) {
		vcpu.kernelRoot = 0;
		putPageAndType(frames, kernelMfn);
	}
	return user;
}

/**
 * Gives the tables that the domain builder has filled their types, pins the L4 table, and makes it vCPU 0's root.
 * @returns 0, or the negative errno of the entry that is wrong (the hypervisor's log says which)
 */
export function adoptInitialTables(domain: Domain, l4Mfn: number): number {
	const { frames } = domain.hypervisor;
	const vcpu = domain.vcpus[0];
	if (vcpu === undefined) return -Errno.EINVAL;
	// The toolstack waits as long as it takes.
	frames.work = Number.POSITIVE_INFINITY;
	let result = acquireTable(frames, vcpu, l4Mfn, FrameType.l4);
	if (result === 0) {
		frames.words[frames.info(l4Mfn) + TYPE]! |= PINNED;
		result = takeKernelRoot(vcpu, l4Mfn);
	}
	frames.startWork();
	return result === RESTART ? -Errno.EAGAIN : result;
}

function takeKernelRoot(vcpu: Vcpu, mfn: number): number {
	const { frames } = vcpu.domain.hypervisor;
	const result = acquireTable(frames, vcpu, mfn, FrameType.l4);
	if (result === 0) {
		if (!assisted(vcpu.domain, VmAssist.m2pStrict)) frames.machineToPhysical.show(mfn);
		vcpu.kernelRoot = mfn;
	} else if (result < 0) {
		frames.complain(vcpu.domain.id, `Error ${result} while installing new baseptr ${mfn.toString(16)}`);
	}
	return result;
}

function takeUserRoot(vcpu: Vcpu, mfn: number): number {
	const { frames } = vcpu.domain.hypervisor;
	if (mfn !== 0) {
		const result = acquireTable(frames, vcpu, mfn, FrameType.l4);
		if (result !== 0) {
			if (result < 0)
				frames.complain(vcpu.domain.id, `Error ${result} while installing new user baseptr ${mfn.toString(16)}`);
			return result;
		}
		if (assisted(vcpu.domain, VmAssist.m2pStrict)) frames.machineToPhysical.hide(mfn);
	}
	vcpu.userRoot = mfn;
	return 0;
}
