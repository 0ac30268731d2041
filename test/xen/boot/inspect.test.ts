import { gzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { formatReport, inspectKernel } from "../../../src/xen/boot/index.ts";
import { operationLayouts } from "../../../src/xen/boot/pv-operations.ts";
import { concat, KERNEL_ADDRESS, makeBzImage, makeKernel, note, pvNotes, type TestSection } from "./images.ts";

const inspect = (bytes: Uint8Array) => inspectKernel(bytes, { name: "vmlinuz" });

/** struct paravirt_patch_site for each operation number. */
function parainstructions(operations: readonly number[]): TestSection {
	const data = new Uint8Array(operations.length * 16);
	operations.forEach((operation, i) => {
		new DataView(data.buffer).setBigUint64(i * 16, KERNEL_ADDRESS + BigInt(i), true);
		data[i * 16 + 8] = operation;
		data[i * 16 + 9] = 6;
	});
	return { name: ".parainstructions", data };
}

const SECTION_ADDRESS = KERNEL_ADDRESS + 0x3000n;
const ALWAYS = 0x75;
const XENPV = 0x110;

interface Alternative {
	/** Offset of the instruction in the kernel's text. */
	readonly at: number;
	readonly feature: number;
	readonly flags: number;
}

function alternatives(entries: readonly Alternative[], size: 12 | 14): TestSection {
	const data = new Uint8Array(entries.length * size);
	const view = new DataView(data.buffer);
	entries.forEach(({ at, feature, flags }, i) => {
		const entry = i * size;
		view.setInt32(entry, at - Number(SECTION_ADDRESS - KERNEL_ADDRESS) - entry, true);
		view.setUint16(entry + 8, size === 12 && flags & 1 ? feature | 0x8000 : feature, true);
		if (size === 14) view.setUint16(entry + 10, flags, true);
		view.setUint8(entry + size - 2, 6);
		view.setUint8(entry + size - 1, 5);
	});
	return { name: ".altinstructions", data, address: SECTION_ADDRESS };
}

describe("inspecting a kernel", () => {
	it("tells container, payload, notes and environments", () => {
		const elf = makeKernel(concat(pvNotes({ 18: 0x100_0850n })));
		const report = inspect(makeBzImage(gzipSync(elf)));
		expect(report).toMatchObject({
			file: "vmlinuz",
			format: "bzImage",
			bootProtocol: "2.15",
			version: "6.1.0-test (builder@host) #1",
			compression: "gzip",
			kernelSize: elf.length,
			xen: { source: "notes", requiredFeatures: ["writable_page_tables"] },
		});
		expect(report.environments.map(({ name }) => name)).toEqual(["Xen PV", "Xen PVH", "PC"]);
		const text = formatReport(report);
		expect(text).toContain("VIRT_BASE           0xffffffff80000000");
		expect(text).toContain("Xen PV              entry 0xffffffff80100010");
		expect(text).toContain("Paravirt patch sites: none");
	});

	it("tells a kernel that is not for Xen, and one that is for PVH only", () => {
		const plain = inspect(makeKernel(new Uint8Array(0)));
		expect(plain.environments).toEqual([]);
		expect(formatReport(plain)).toMatch(/^Xen: no notes; the kernel is not built for Xen$/m);
		const mach = inspect(makeKernel(note(1, 5n, "name")));
		expect(formatReport(mach)).toContain(
			'not built for Xen (its notes are those of "name", and only the owner "Xen" counts)',
		);
		const pvh = inspect(makeKernel(pvNotes({ 1: undefined, 18: 0x100_0850n })));
		expect(pvh.environments).toEqual([{ name: "Xen PVH", entry: 0x100_0850 }]);
	});

	it("finds the version in the image where no header has it", () => {
		const data = new TextEncoder().encode("Linux version %s\nLinux version 6.1.0 (me@here) #7\nmore");
		const report = inspect(makeKernel(undefined, { sections: [{ name: ".rodata", data }] }));
		expect(report.version).toBe("6.1.0 (me@here) #7");
	});
});

describe("patch sites", () => {
	it("of .parainstructions are counted by operation", () => {
		const sites = inspect(makeKernel(undefined, { sections: [parainstructions([30, 31, 31, 58, 83])] })).patchSites;
		expect(sites).toEqual({
			source: ".parainstructions",
			layout: "Linux 6.1",
			total: 5,
			nativeReplacements: 0,
			operations: [
				{ name: "irq.irq_disable", count: 2 },
				{ name: "irq.save_fl", count: 1 },
				{ name: "lock.vcpu_is_preempted", count: 1 },
				{ name: "mmu.set_pte", count: 1 },
			],
		});
	});

	it("of Linux 7.2 have those of its locks apart, wherever they lie", () => {
		for (const lockAt of [74, 76, 100]) {
			const { layout, operations } = inspect(
				makeKernel(undefined, { sections: [parainstructions([0, 28, 54, 71, lockAt, lockAt + 4])] }),
			).patchSites!;
			expect(layout).toBe("Linux 7.2");
			expect(operations.map(({ name }) => name)).toEqual([
				"cpu.get_debugreg",
				"irq.save_fl",
				"lock.queued_spin_lock_slowpath",
				"lock.vcpu_is_preempted",
				"mmu.lazy_mode_flush",
				"mmu.set_pte",
			]);
		}
		const between = inspect(makeKernel(undefined, { sections: [parainstructions([0, 73, 80])] }));
		expect(between.patchSites?.layout).toBeUndefined();
	});

	it("of an unknown layout keep their numbers", () => {
		const report = inspect(makeKernel(undefined, { sections: [parainstructions([0, 7, 7])] }));
		expect(report.patchSites?.layout).toBeUndefined();
		expect(report.patchSites?.operations[0]).toEqual({ name: "pv_ops[7]", count: 2 });
		expect(formatReport(report)).toContain("unknown");
	});

	it("of alternatives are the indirect calls that are always replaced", () => {
		const last = operationLayouts.find(({ name }) => name === "Linux 6.12")!.operations.length - 1;
		const pointers = 0x2000;
		const calls = [0, 0, 57, last].map((operation, i) => ({ at: i * 16, pointer: pointers + operation * 8 }));
		const kernel = makeKernel(undefined, {
			sections: [
				alternatives(
					[
						...calls.flatMap(({ at }) => [
							{ at, feature: ALWAYS, flags: 2 },
							{ at, feature: XENPV, flags: 1 },
						]),
						{ at: 0x100, feature: XENPV, flags: 0 },
						{ at: 0x100, feature: ALWAYS, flags: 0 },
						{ at: 0x200, feature: ALWAYS, flags: 2 },
					],
					14,
				),
			],
		});
		const text = 64 + 2 * 56;
		for (const { at, pointer } of calls) {
			kernel.set([0xff, 0x15], text + at);
			new DataView(kernel.buffer).setInt32(text + at + 2, pointer - (at + 6), true);
		}
		expect(inspect(kernel).patchSites).toEqual({
			source: ".altinstructions",
			layout: "Linux 6.12",
			total: 4,
			nativeReplacements: 4,
			operations: [
				{ name: "cpu.io_delay", count: 2 },
				{ name: "lock.vcpu_is_preempted", count: 1 },
				{ name: "mmu.set_pte", count: 1 },
			],
		});
	});

	it("count native replacements in the older form of alternatives", () => {
		const sections = [
			parainstructions([30]),
			alternatives(
				[
					{ at: 0, feature: XENPV, flags: 1 },
					{ at: 16, feature: XENPV, flags: 1 },
					{ at: 32, feature: 0x97, flags: 0 },
				],
				12,
			),
		];
		expect(inspect(makeKernel(undefined, { sections })).patchSites?.nativeReplacements).toBe(2);
	});

	it("of a layout's table are each named once", () => {
		for (const { operations } of operationLayouts) expect(new Set(operations).size).toBe(operations.length);
		expect(operationLayouts.map(({ operations }) => operations.length)).toEqual([84, 83, 73]);
	});
});
