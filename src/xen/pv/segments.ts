/**
 * Segment registers of a PV guest: the checks and effects of the loads that the hypervisor does on its behalf (iret,
 * set_segment_base). Relies on set_gdt and update_descriptor to let no descriptor in that would raise the guest's privilege.
 */
import { Vector } from "../../cpu/processor.ts";
import { Segment } from "../../cpu/registers.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64 } from "../abi/arch.ts";
import { type DescriptorHalves, readDescriptor } from "../mm/gdt.ts";
import type { Vcpu } from "../vcpu.ts";

/** Bits of a descriptor's high half. */
export const Descriptor = {
	code: 1 << 11,
	conforming: 1 << 10,
	writable: 1 << 9,
	notSystem: 1 << 12,
	dplShift: 13,
	present: 1 << 15,
	long: 1 << 21,
	default32: 1 << 22,
} as const;
const { code: CODE, conforming: CONFORMING, writable: WRITABLE, notSystem: NOT_SYSTEM, present: PRESENT } = Descriptor;
const { dplShift: DPL_SHIFT, long: LONG, default32: DEFAULT_32 } = Descriptor;

/** Base address that a descriptor gives: 32 bits, unsigned. */
function baseOf(halves: DescriptorHalves): number {
	const { low, high } = halves;
	return ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0;
}

/** The descriptor being loaded; one, reused. */
const descriptor: DescriptorHalves = { low: 0, high: 0 };

/**
 * Loads CS with privilege 3, as IRET does.
 * @returns false where IRET would fault; nothing is changed then.
 */
export function loadCode(vcpu: Vcpu, selector: number): boolean {
	const { registers } = vcpu;
	if (selector === FLAT_RING3_CS64) {
		setFlatCode(vcpu);
		return true;
	}
	if ((selector & ~3) === 0 || !readDescriptor(vcpu, selector, descriptor)) return false;
	const { high } = descriptor;
	if ((high & (NOT_SYSTEM | CODE | PRESENT)) !== (NOT_SYSTEM | CODE | PRESENT)) return false;
	if ((high & CONFORMING) === 0 && ((high >>> DPL_SHIFT) & 3) !== 3) return false;
	const long = (high & LONG) !== 0;
	if (long && (high & DEFAULT_32) !== 0) return false;
	registers.setSelector(Segment.cs, selector);
	registers.setSegmentBase(Segment.cs, long ? 0 : baseOf(descriptor));
	registers.longMode = long;
	return true;
}

/** Loads SS with privilege 3, as IRET does; a null selector faults at this privilege. */
export function loadStack(vcpu: Vcpu, selector: number): boolean {
	const { registers } = vcpu;
	if (selector === FLAT_RING3_SS64) {
		registers.setSelector(Segment.ss, FLAT_RING3_SS64);
		registers.setSegmentBase(Segment.ss, 0);
		return true;
	}
	if ((selector & ~3) === 0 || !readDescriptor(vcpu, selector, descriptor)) return false;
	const { high } = descriptor;
	if ((high & (NOT_SYSTEM | CODE | WRITABLE | PRESENT)) !== (NOT_SYSTEM | WRITABLE | PRESENT)) return false;
	if (((high >>> DPL_SHIFT) & 3) !== 3) return false;
	registers.setSelector(Segment.ss, selector);
	registers.setSegmentBase(Segment.ss, baseOf(descriptor));
	return true;
}

/** The exception of a load of CS, or of SS, by IRET that has failed; its error code is the selector without RPL. */
export function loadFault(vcpu: Vcpu, selector: number, stack: boolean): number {
	if ((selector & ~3) === 0 || !readDescriptor(vcpu, selector, descriptor)) return Vector.generalProtection;
	// Only what is right in everything else is "not present".
	const checked = stack ? NOT_SYSTEM | CODE | WRITABLE | PRESENT : NOT_SYSTEM | CODE | PRESENT;
	const missing = stack ? NOT_SYSTEM | WRITABLE : NOT_SYSTEM | CODE;
	if ((descriptor.high & checked) !== missing || ((descriptor.high >>> DPL_SHIFT) & 3) !== 3) {
		return Vector.generalProtection;
	}
	return stack ? Vector.stackSegment : Vector.segmentNotPresent;
}

/** The base that a data segment register gets from loading `selector`, or undefined where the load faults. Null loads give 0. */
export function dataSegmentBase(vcpu: Vcpu, selector: number): number | undefined {
	if ((selector & ~3) === 0) return 0;
	if (!readDescriptor(vcpu, selector, descriptor)) return undefined;
	const { high } = descriptor;
	if ((high & (NOT_SYSTEM | PRESENT)) !== (NOT_SYSTEM | PRESENT)) return undefined;
	const readable = (high & CODE) === 0 || (high & WRITABLE) !== 0;
	if (!readable) return undefined;
	const conforming = (high & (CODE | CONFORMING)) === (CODE | CONFORMING);
	if (!conforming && ((high >>> DPL_SHIFT) & 3) !== 3) return undefined;
	return baseOf(descriptor);
}

/** CS and SS as every entry into a 64-bit PV kernel finds them. */
export function setFlatSegments(vcpu: Vcpu): void {
	setFlatCode(vcpu);
	vcpu.registers.setSelector(Segment.ss, FLAT_RING3_SS64);
	vcpu.registers.setSegmentBase(Segment.ss, 0);
}

function setFlatCode(vcpu: Vcpu): void {
	const { registers } = vcpu;
	registers.setSelector(Segment.cs, FLAT_RING3_CS64);
	registers.setSegmentBase(Segment.cs, 0);
	registers.longMode = true;
}
