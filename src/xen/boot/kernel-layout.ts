/**
 * Where a kernel's parts come to lie in the domain, by its ELF program headers and its Xen notes; every address is checked here, so
 * that the builder can calculate with them. The rules are libelf's elf_xen_addr_calc_check.
 */

import { type ElfFile, PT_LOAD } from "../../formats/elf.ts";
import { hex, ImageError } from "../../formats/errors.ts";
import { PAGE_SIZE } from "../../memory/map.ts";
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START } from "../abi/arch.ts";
import type { XenParameters } from "./notes.ts";

const CANONICAL_LIMIT = 2 ** 47;
/** PF_R | PF_W | PF_X: a segment without any is not loaded. */
const LOADABLE_FLAGS = 7;

export interface KernelLayout {
	/** Virtual address of pfn 0. */
	readonly virtBase: number;
	/** Page-aligned virtual addresses of the kernel's memory. */
	readonly start: number;
	readonly end: number;
	/** pfn of `start`. */
	readonly firstPfn: number;
	readonly entry: number;
	/** Contents: file offset, pseudo-physical address, bytes. What is not listed stays zero. */
	readonly segments: readonly { readonly offset: number; readonly physical: number; readonly size: number }[];
	readonly hypercallPfn: number | undefined;
	/** Where the p2m list is to be mapped, where the kernel asks for a place that can be had. */
	readonly initP2m: number | undefined;
	/** The initial mapping must end at or below this address. */
	readonly highest: number;
}

/** An address as the unsigned number that it is in C, good for comparing only. */
function unsigned(address: number): number {
	return address < 0 ? address + 2 ** 64 : address;
}

/** The end of the range of addresses around `address` in which a guest may map: below Xen's hole, above it, or undefined. */
function endOfSpace(address: number): number | undefined {
	if (address >= 0) return address < CANONICAL_LIMIT ? CANONICAL_LIMIT : undefined;
	return address >= HYPERVISOR_VIRT_END ? 0 : undefined;
}

/** Throws an ImageError where the addresses cannot be had. */
export function layOutKernel(elf: ElfFile, parameters: XenParameters): KernelLayout {
	const impossible = (reason: string) =>
		new ImageError(
			"unsupported-kernel",
			elf.file,
			reason,
			"The image is damaged or not built for Xen: fetch it again, or use a distribution's kernel",
		);
	const loaded = elf.segments.filter(({ type, flags }) => type === PT_LOAD && (flags & LOADABLE_FLAGS) !== 0);
	if (loaded.length === 0) throw impossible("it has nothing to load");
	const virtBase = parameters.virtBase ?? 0;
	const paddrOffset = parameters.paddrOffset ?? 0;
	const highest = endOfSpace(virtBase);
	if (virtBase % PAGE_SIZE !== 0) throw impossible(`its VIRT_BASE ${hex(virtBase)} is not page-aligned`);
	if (highest === undefined) {
		throw impossible(
			`its VIRT_BASE ${hex(virtBase)} lies in the range ${hex(HYPERVISOR_VIRT_START)} to ${hex(HYPERVISOR_VIRT_END)} ` +
				"that is Xen's, or is not canonical",
		);
	}

	let lowest = Number.POSITIVE_INFINITY;
	let end = Number.NEGATIVE_INFINITY;
	for (const { physicalAddress, memorySize } of loaded) {
		lowest = Math.min(lowest, physicalAddress);
		end = Math.max(end, physicalAddress + memorySize);
	}
	const physicalStart = lowest - paddrOffset;
	const start = virtBase + physicalStart;
	const size = Math.ceil((end - lowest) / PAGE_SIZE) * PAGE_SIZE;
	if (!Number.isSafeInteger(physicalStart) || physicalStart < 0 || start + size > highest || size === 0) {
		throw impossible("its segments lie outside the addresses that its notes allow");
	}
	if (physicalStart % PAGE_SIZE !== 0)
		throw impossible(`its first segment's address ${hex(start)} is not page-aligned`);

	const entry = parameters.entry ?? elf.entry;
	if (entry < start || entry >= start + size) {
		throw impossible(`its entry point ${hex(entry)} lies outside the kernel, ${hex(start)} to ${hex(start + size)}`);
	}
	return {
		virtBase,
		start,
		end: start + size,
		firstPfn: physicalStart / PAGE_SIZE,
		entry,
		segments: loaded.map(({ offset, physicalAddress, fileSize }) => ({
			offset,
			physical: physicalAddress - paddrOffset,
			size: fileSize,
		})),
		hypercallPfn: hypercallPfn(parameters.hypercallPage, virtBase, start, start + size, impossible),
		initP2m: placeOfP2m(parameters.initP2m, virtBase, impossible),
		highest,
	};
}

function hypercallPfn(
	address: number | undefined,
	virtBase: number,
	start: number,
	end: number,
	impossible: (reason: string) => ImageError,
): number | undefined {
	if (address === undefined) return undefined;
	if (address < start || address >= end || address % PAGE_SIZE !== 0) {
		throw impossible(`its hypercall page ${hex(address)} lies outside the kernel or is not page-aligned`);
	}
	return (address - virtBase) / PAGE_SIZE;
}

/** libxenguest ignores a place that is not aligned or not below the kernel; one that Xen would refuse to map is an error. */
function placeOfP2m(
	address: number | undefined,
	virtBase: number,
	impossible: (reason: string) => ImageError,
): number | undefined {
	if (address === undefined || address % PAGE_SIZE !== 0 || unsigned(address) >= unsigned(virtBase)) return undefined;
	const end = endOfSpace(address);
	// 2^32 pages are more than any machine here has.
	if (end === undefined || address + 2 ** 35 > (address < 0 ? virtBase : end)) {
		throw impossible(`its note INIT_P2M names ${hex(address)}, where nothing can be mapped`);
	}
	return address;
}
