/**
 * I/O ports of a PV guest without devices of its own: whom the virtual IOPL and I/O bitmap let through, and what is behind the ports -
 * nothing but the few registers that Xen keeps for every guest (PCI configuration address, CMOS index).
 */
import { Access } from "../../cpu/processor.ts";
import type { Vcpu } from "../vcpu.ts";
import { VMASST_ARCHITECTURAL_IOPL } from "./traps.ts";

const PCI_ADDRESS = 0xcf8;
const CMOS_INDEX = 0x70;

/** The vCPU's IOPL is enough for what it runs: the kernel counts as ring 1, or 0 with architectural_iopl; programs as 3. */
export function ioplAllows(vcpu: Vcpu): boolean {
	const architectural = (vcpu.domain.vmAssist & VMASST_ARCHITECTURAL_IOPL) !== 0;
	const level = vcpu.kernelMode ? (architectural ? 0 : 1) : 3;
	return level << 12 <= vcpu.iopl;
}

/** IOPL, or the I/O bitmap of PHYSDEVOP_set_iobitmap, lets the vCPU at ports `port` to `port + size - 1`. */
export function guestMayAccessPorts(vcpu: Vcpu, port: number, size: number): boolean {
	if (ioplAllows(vcpu)) return true;
	if (vcpu.ioBitmapPorts <= port + size) return false;
	const { memory, processor } = vcpu.domain.hypervisor;
	let permissions = 0;
	for (let index = 0; index < 2; index++) {
		const linear = processor.translate(vcpu.ioBitmap + (port >>> 3) + index, Access.read, 0);
		permissions |= (linear < 0 ? 0xff : memory.u8(linear)) << (index * 8);
	}
	return (permissions & (((1 << size) - 1) << (port & 7))) === 0;
}

/** IN of 1, 2 or 4 bytes: all ones where nothing is. */
export function readPort(vcpu: Vcpu, port: number, size: number): number {
	const { ports } = vcpu.domain;
	if (port === PCI_ADDRESS && size === 4) return ports.pciAddress;
	let value = 0;
	for (let index = 0; index < size; index++) value |= readByte(vcpu, port + index) << (index * 8);
	return value >>> 0;
}

function readByte(vcpu: Vcpu, port: number): number {
	const { ports } = vcpu.domain;
	switch (port) {
		case CMOS_INDEX:
			return ports.cmosIndex;
		default:
			return 0xff;
	}
}

/** OUT of 1, 2 or 4 bytes. */
export function writePort(vcpu: Vcpu, port: number, size: number, value: number): void {
	const { ports } = vcpu.domain;
	if (port === PCI_ADDRESS && size === 4) {
		ports.pciAddress = value >>> 0;
		return;
	}
	for (let index = 0; index < size; index++) {
		const byte = (value >>> (index * 8)) & 0xff;
		if (port + index === CMOS_INDEX) ports.cmosIndex = byte;
	}
}
