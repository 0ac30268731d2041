import { describe, expect, it } from "vitest";
import { Errno } from "../../../src/xen/abi/errno.ts";
import { PhysdevOp } from "../../../src/xen/abi/physdev.ts";
import { VersionOp } from "../../../src/xen/abi/version.ts";
import { ARGS, Call, createMachine, type Guest, HOLE, page } from "../guest-machine.ts";

function text(guest: Guest, address = ARGS): string {
	const at = guest.at(address);
	const bytes = guest.memory.bytes.subarray(at, at + 1024);
	return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
}

describe("xen_version", () => {
	const guest = createMachine().addGuest();
	const ask = (command: number, address = ARGS): number => guest.call(Call.version, command, address);

	it("is that of a Xen 4.17 to a PV domU", () => {
		expect(ask(VersionOp.version)).toBe(0x4_0011);
		expect([ask(VersionOp.extraversion), text(guest)]).toEqual([0, ".0"]);
		expect([ask(VersionOp.capabilities), text(guest)]).toEqual([0, "xen-3.0-x86_64 "]);
		expect([ask(VersionOp.commandline), text(guest)]).toEqual([0, "<denied>"]);
		expect(ask(VersionOp.compileInfo)).toBe(0);
		expect(ask(VersionOp.changeset)).toBe(0);
		expect(ask(VersionOp.platformParameters)).toBe(0);
		expect(guest.memory.i64(guest.at(ARGS))).toBe(-(2 ** 47));
		expect([ask(VersionOp.pagesize, 0), ask(VersionOp.pagesize)]).toEqual([4096, -Errno.EINVAL]);
		expect(ask(VersionOp.buildId)).toBe(-Errno.EPERM);
		expect(ask(11)).toBe(-Errno.ENOSYS);
		guest.domain.handle[15] = 7;
		expect([ask(VersionOp.guestHandle), guest.memory.u8(guest.at(ARGS) + 15)]).toEqual([0, 7]);
	});

	it("tells the features of its one submap", () => {
		guest.put(ARGS, [0, 4, 0]);
		expect(ask(VersionOp.getFeatures)).toBe(0);
		// preserve-AD, highmem assist, gnttab available bits, vnodes, direct-mapped: as recorded of Xen 4.17.
		expect(guest.word(1)).toBe((1 << 5) | (1 << 6) | (1 << 7) | (1 << 13) | (1 << 17));
		guest.domain.vmAssist |= 1 << 4;
		expect(ask(VersionOp.getFeatures)).toBe(0);
		expect(guest.word(1) & (1 << 4)).not.toBe(0);
		guest.put(ARGS, [0, 4, 1]);
		expect(ask(VersionOp.getFeatures)).toBe(-Errno.EINVAL);
	});

	it("faults where it cannot write", () => {
		for (const command of [1, 2, 3, 4, 5, 6, 8, 9]) expect(ask(command, HOLE)).toBe(-Errno.EFAULT);
	});
});

describe("console_io", () => {
	it("puts a guest's lines into the log, marked as its", () => {
		const guest = createMachine().addGuest();
		const { log } = guest.hypervisor;
		const write = (line: string): number => {
			guest.memory.bytes.set(new TextEncoder().encode(line), guest.at(page(2)));
			return guest.call(Call.consoleIo, 0, line.length, page(2));
		};
		expect(write("half a ")).toBe(0);
		expect(log.read()).not.toContain("half");
		expect(write("line\x1b[2J\nanother\n")).toBe(0);
		expect(log.read()).toContain(`(d${guest.domain.id}) half a line[2J\n`);
		expect(log.read()).toContain(`(d${guest.domain.id}) another\n`);
		expect(guest.call(Call.consoleIo, 0, 10, HOLE)).toBe(-Errno.EFAULT);
		expect(guest.call(Call.consoleIo, 1, 10, page(2))).toBe(-Errno.EPERM);
		expect(guest.call(Call.consoleIo, 2, 10, page(2))).toBe(-Errno.ENOSYS);
		guest.domain.consoleIo = false;
		expect(write("no\n")).toBe(-Errno.EPERM);
	});

	it("does not remember a line without an end for ever", () => {
		const guest = createMachine().addGuest();
		guest.memory.fill(guest.at(page(2)), 4096, 0x41);
		for (let call = 0; call < 100; call++) expect(guest.call(Call.consoleIo, 0, 4096, page(2))).toBe(0);
		expect(guest.domain.consoleLine.length).toBeLessThanOrEqual(256);
		expect(guest.call(Call.consoleIo, 0, 0xffff_ffff, page(2))).toBe(-Errno.EFAULT);
	});
});

describe("physdev_op", () => {
	it("keeps the virtual IOPL and refuses devices", () => {
		const machine = createMachine();
		const guest = machine.addGuest();
		const physdev = (command: number, address = ARGS): number => guest.call(Call.physdev, command, address);
		guest.put(ARGS, [0, 4, 1]);
		expect([physdev(PhysdevOp.setIopl), guest.vcpu().iopl]).toEqual([0, 1 << 12]);
		guest.put(ARGS, [0, 4, 4]);
		expect(physdev(PhysdevOp.setIopl)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [0, 8, page(3)], [8, 4, 65_537]);
		expect(physdev(PhysdevOp.setIobitmap)).toBe(-Errno.EINVAL);
		guest.put(ARGS, [8, 4, 1024]);
		expect([physdev(PhysdevOp.setIobitmap), guest.vcpu().ioBitmap, guest.vcpu().ioBitmapPorts]).toEqual([
			0,
			page(3),
			1024,
		]);
		guest.put(ARGS, [0, 4, 3], [4, 4, 0]);
		expect([physdev(PhysdevOp.irqStatusQuery), guest.word(1)]).toEqual([0, 1]);
		expect(physdev(PhysdevOp.eoi)).toBe(-Errno.EINVAL);
		expect(physdev(PhysdevOp.mapPirq)).toBe(-Errno.EPERM);
		expect(physdev(PhysdevOp.apicRead, HOLE)).toBe(-Errno.EFAULT);
		expect(physdev(PhysdevOp.pciDeviceAdd, HOLE)).toBe(-Errno.EPERM);
		expect(physdev(99)).toBe(-Errno.ENOSYS);
		guest.put(ARGS, [0, 4, 6], [8, 4, 3]);
		expect([guest.call(Call.physdevCompat, ARGS), guest.vcpu().iopl]).toEqual([0, 3 << 12]);
		guest.put(ARGS, [0, 8, guest.mfns[4] as number]);
		expect([physdev(PhysdevOp.pirqEoiGmfnV2), physdev(PhysdevOp.pirqEoiGmfnV2)]).toEqual([0, -Errno.EBUSY]);
		guest.put(ARGS, [0, 8, guest.l1]);
		expect(physdev(PhysdevOp.pirqEoiGmfnV2)).toBe(-Errno.EINVAL);
	});
});
