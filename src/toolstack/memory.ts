/**
 * A domain's memory after it has started, as xl's mem-set and mem-max do it: the target that its balloon driver follows (memory/target in
 * the store), and the limit that the hypervisor holds it to.
 */
import { PAGE_SIZE } from "../memory/map.ts";
import { homePath } from "../store/path.ts";
import type { Domain } from "../xen/domain.ts";
import { ToolstackError } from "./errors.ts";
import type { Machine } from "./machine.ts";

/** LIBXL_MAXMEM_CONSTANT: what a domain may own beyond its target, in pages. */
export const slackPages = 256;
/** LIBXL_MIN_DOM0_MEM, bytes: libxl's least target for domain 0. A guest that was made smaller has half of its maximum as its least. */
const LEAST_TARGET = 128 * 2 ** 20;
const KIB = 1024;
const MIB = 2 ** 20;

/** Bytes that the toolstack wants the domain to have. */
export function memoryTarget(machine: Machine, domain: Domain): number {
	return readKib(machine, domain, "memory/target") ?? domain.pages * PAGE_SIZE;
}

/** Bytes that it may have at the most since it was created: its memory map ends there. */
export function staticMaximum(machine: Machine, domain: Domain): number {
	return readKib(machine, domain, "memory/static-max") ?? memoryTarget(machine, domain);
}

/**
 * Asks the guest's balloon driver for a size, and lets the domain own no more than that from now on (frames that it has already stay its
 * own until it gives them back).
 * @param bytes rounded down to KiB
 * @param force also below {@link LEAST_TARGET}
 * @throws ToolstackError out-of-range above the domain's maximum and below the least, not-enough-memory where the machine has not as much
 */
export function setMemoryTarget(machine: Machine, domain: Domain, bytes: number, force: boolean): void {
	const kib = wholeKib(bytes);
	const maximum = staticMaximum(machine, domain);
	const least = Math.min(LEAST_TARGET, maximum / 2);
	if (kib * KIB < least && !force) {
		throw new ToolstackError(
			"out-of-range",
			`${mebibytes(bytes)} is less than the ${mebibytes(least)} that the kernel of domain ${domain.id} may need to live`,
			"Give more, or --force (in a program, force: true)",
		);
	}
	if (kib * KIB > maximum) {
		throw new ToolstackError(
			"out-of-range",
			`${mebibytes(bytes)} is more than the ${mebibytes(maximum)} that domain ${domain.id} may have`,
			"Give it a larger maximum (maxmem) when it is created",
		);
	}
	const { frames } = machine.hypervisor;
	const more = Math.floor((kib * KIB) / PAGE_SIZE) - domain.pages;
	if (more > frames.free) {
		throw new ToolstackError(
			"not-enough-memory",
			`${mebibytes(bytes)} is ${mebibytes((more - frames.free) * PAGE_SIZE)} more than the machine has left`,
			"Take memory from another domain first",
		);
	}
	domain.maximumPages = Math.floor((kib * KIB) / PAGE_SIZE) + slackPages;
	machine.store.write(`${homePath(domain.id)}/memory/target`, String(kib));
}

/**
 * Sets what the domain may own at the most, without asking it for anything.
 * @param bytes rounded down to KiB
 * @throws ToolstackError out-of-range below its present target
 */
export function setMaximumMemory(machine: Machine, domain: Domain, bytes: number): void {
	const kib = wholeKib(bytes);
	const target = memoryTarget(machine, domain);
	if (kib * KIB < target) {
		throw new ToolstackError(
			"out-of-range",
			`${mebibytes(bytes)} is less than the ${mebibytes(target)} that domain ${domain.id} has now`,
			"Set its target (mem-set) first",
		);
	}
	domain.maximumPages = Math.floor((kib * KIB) / PAGE_SIZE) + slackPages;
}

function wholeKib(bytes: number): number {
	const kib = Math.floor(bytes / KIB);
	if (kib > 0 && Number.isSafeInteger(kib)) return kib;
	throw new ToolstackError("out-of-range", `${bytes} bytes are no size of memory`, "Give a positive number of bytes");
}

function readKib(machine: Machine, domain: Domain, node: string): number | undefined {
	const text = machine.store.read(`${homePath(domain.id)}/${node}`);
	return text !== undefined && /^\d+$/.test(text) ? Number(text) * KIB : undefined;
}

function mebibytes(bytes: number): string {
	return `${(bytes / MIB).toFixed(1).replace(/\.0$/, "")} MiB`;
}
