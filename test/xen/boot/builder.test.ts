import { gzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { Memory } from "../../../src/memory/memory.ts";
import { startInfo } from "../../../src/xen/abi/start-info.ts";
import {
	type BuildRequest,
	type BuiltDomain,
	buildDomain,
	ImageError,
	openKernel,
} from "../../../src/xen/boot/index.ts";
import { KERNEL_ADDRESS, makeElf, makeKernel, note, pvNotes, VIRT_BASE } from "./images.ts";

const PAGES = 4096;
const FRAMES = 8192;
const SHARED_INFO = FRAMES - 1;
const virtBase = Number(BigInt.asIntN(64, VIRT_BASE));
const kernelAddress = Number(BigInt.asIntN(64, KERNEL_ADDRESS));

/** A machine whose frames come in a scattered order, so that pfns and mfns cannot be confused. */
class Machine {
	readonly memory = new Memory(FRAMES);
	readonly m2p = new Map<number, number>();
	allocated = 0;

	constructor(private readonly available = FRAMES - 2) {}

	allocate(): number | undefined {
		if (this.allocated >= this.available) return undefined;
		// 8191 is prime: every step meets another frame, and never 0 or the last.
		return ((this.allocated++ * 2731) % (FRAMES - 2)) + 1;
	}
	setM2p(mfn: number, pfn: number): void {
		this.m2p.set(mfn, pfn);
	}

	/** The leaf entry of a virtual address as the MMU would find it: frame and the flags of each level. */
	translate(root: number, address: number): { mfn: number; flags: number[] } | undefined {
		let table = root;
		const flags: number[] = [];
		for (let level = 4; level >= 1; level--) {
			const index = Number((BigInt.asUintN(64, BigInt(address)) >> BigInt(12 + (level - 1) * 9)) & 511n);
			const entry = this.memory.u64(this.memory.frame(table) + index * 8);
			if ((entry & 1) === 0) return undefined;
			flags.push(entry % 4096);
			table = Math.floor(entry / 4096);
		}
		return { mfn: table, flags };
	}
}

interface Built {
	readonly machine: Machine;
	readonly domain: BuiltDomain;
}

function build(changes: Partial<BuildRequest> = {}, kernel = makeKernel()): Built {
	const machine = new Machine();
	const domain = buildDomain(machine, {
		kernel: openKernel(kernel, "kernel"),
		commandLine: "console=hvc0 quiet",
		pages: PAGES,
		sharedInfoMfn: SHARED_INFO,
		storePort: 1,
		consolePort: 2,
		...changes,
	});
	return { machine, domain };
}

function infoOf({ machine, domain }: Built) {
	return startInfo.at(machine.memory, machine.memory.frame(domain.startInfo.mfn));
}

function text(machine: Machine, address: number): string {
	const bytes = machine.memory.bytes;
	return Buffer.from(bytes.subarray(address, bytes.indexOf(0, address))).toString();
}

function failure(action: () => unknown): ImageError {
	try {
		action();
	} catch (error) {
		if (error instanceof ImageError) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}

describe("the domain builder", () => {
	it("gives the domain every page once and enters each into the M2P table", () => {
		const { machine, domain } = build();
		expect(domain.p2m.length).toBe(PAGES);
		expect(new Set(domain.p2m).size).toBe(PAGES);
		domain.p2m.forEach((mfn, pfn) => {
			expect(machine.m2p.get(mfn)).toBe(pfn);
		});
	});

	it("loads the segments where the program headers say and leaves the bss zero", () => {
		const { machine, domain } = build();
		for (let page = 0; page < 5; page++) {
			const found = machine.translate(domain.rootMfn, kernelAddress + page * 4096)!;
			expect(found.mfn).toBe(domain.p2m[0x100 + page]);
			// The second page holds the hypercall page.
			if (page !== 1) expect(machine.memory.u8(machine.memory.frame(found.mfn) + 5)).toBe(page < 3 ? page + 1 : 0);
		}
		expect(domain.kernelStart).toBe(kernelAddress);
		expect(domain.kernelEnd).toBe(kernelAddress + 5 * 4096);
		expect(domain.entry).toMatchObject({ rip: kernelAddress + 0x10, cs: 0xe033, ss: 0xe02b, rflags: 0x202 });
	});

	it("maps the initial region one to one onto the pseudo-physical memory, to a 4 MiB boundary", () => {
		const { machine, domain } = build();
		expect(Math.abs(domain.mappedEnd % (4 * 1024 * 1024))).toBe(0);
		const pages = (domain.mappedEnd - virtBase) / 4096;
		for (let pfn = 0; pfn < pages; pfn++) {
			expect(machine.translate(domain.rootMfn, virtBase + pfn * 4096)?.mfn).toBe(domain.p2m[pfn]);
		}
		expect(machine.translate(domain.rootMfn, domain.mappedEnd)).toBeUndefined();
		expect(machine.translate(domain.rootMfn, virtBase - 4096)).toBeUndefined();
		expect(machine.translate(domain.rootMfn, 0)).toBeUndefined();
		// At least 512 KiB after the boot stack, which is the last thing in it.
		expect(domain.mappedEnd - domain.entry.rsp).toBeGreaterThanOrEqual(512 * 1024);
	});

	it("maps page tables read-only and everything else writable, and lists each table with its level", () => {
		const { machine, domain } = build();
		const levels = new Map(domain.pageTables.map(({ mfn, level }) => [mfn, level]));
		const pages = (domain.mappedEnd - virtBase) / 4096;
		let readOnly = 0;
		for (let pfn = 0; pfn < pages; pfn++) {
			const { mfn, flags } = machine.translate(domain.rootMfn, virtBase + pfn * 4096)!;
			const writable = (flags[3]! & 2) !== 0;
			expect(writable).toBe(!levels.has(mfn));
			if (!writable) readOnly++;
		}
		expect(readOnly).toBe(infoOf({ machine, domain }).nrPtFrames);
		expect(domain.pageTables[0]).toMatchObject({ level: 4, mfn: domain.rootMfn });
		// Every table that an entry names is listed one level below the one that names it.
		for (const { mfn, level } of domain.pageTables.filter(({ level }) => level > 1)) {
			for (let i = 0; i < 512; i++) {
				const entry = machine.memory.u64(machine.memory.frame(mfn) + i * 8);
				if (entry & 1) expect(levels.get(Math.floor(entry / 4096))).toBe(level - 1);
			}
		}
	});

	it("puts the p2m list at INIT_P2M, outside the initial region", () => {
		const built = build();
		const { machine, domain } = built;
		expect(domain.p2mList.address).toBe(2 ** 39);
		for (let pfn = 0; pfn < PAGES; pfn++) {
			const { mfn } = machine.translate(domain.rootMfn, 2 ** 39 + Math.floor(pfn / 512) * 4096)!;
			expect(machine.memory.u64(machine.memory.frame(mfn) + (pfn % 512) * 8)).toBe(domain.p2m[pfn]);
		}
		const info = infoOf(built);
		expect(info.mfnList).toBe(2 ** 39);
		expect(info.firstP2mPfn).toBe(domain.p2mList.pfn);
		// 8 pages of list; an L3, an L2 and an L1 table.
		expect(info.nrP2mFrames).toBe(PAGES / 512 + 3);
		expect(domain.p2mList.pfn * 4096 + virtBase).toBeGreaterThanOrEqual(domain.mappedEnd);
	});

	it("puts the p2m list into the initial region where the kernel names no place", () => {
		const built = build({}, makeKernel(pvNotes({ 15: undefined })));
		const { machine, domain } = built;
		expect(domain.p2mList.address).toBe(domain.kernelEnd);
		const { mfn } = machine.translate(domain.rootMfn, domain.p2mList.address)!;
		expect(machine.memory.u64(machine.memory.frame(mfn) + 8)).toBe(domain.p2m[1]);
		expect(infoOf(built)).toMatchObject({ firstP2mPfn: 0, nrP2mFrames: 0 });
	});

	it("fills start_info", () => {
		const built = build();
		const { machine, domain } = built;
		const info = infoOf(built);
		expect(text(machine, info.magic)).toBe("xen-3.0-x86_64");
		expect(text(machine, info.cmdLine)).toBe("console=hvc0 quiet");
		expect(info.nrPages).toBe(PAGES);
		expect(info.sharedInfo).toBe(SHARED_INFO * 4096);
		expect(info.storeMfn).toBe(domain.store.mfn);
		expect(info.storeEvtchn).toBe(1);
		expect(info.consoleMfn).toBe(domain.console.mfn);
		expect(info.consoleEvtchn).toBe(2);
		expect(machine.translate(domain.rootMfn, info.ptBase)?.mfn).toBe(domain.rootMfn);
		expect(domain.entry.rsi).toBe(domain.startInfo.address);
		expect(machine.translate(domain.rootMfn, domain.entry.rsi)?.mfn).toBe(domain.startInfo.mfn);
		expect(info.modLen).toBe(0);
	});

	it("masks the events of every vCPU in shared_info and leaves the rest zero", () => {
		const { machine } = build();
		const page = machine.memory.frame(SHARED_INFO);
		const set = [...machine.memory.bytes.subarray(page, page + 4096).entries()].filter(([, byte]) => byte !== 0);
		expect(set).toEqual(Array.from({ length: 32 }, (_, vcpu) => [vcpu * 64 + 1, 1]));
	});

	it("hands over a ramdisk by pfn where the kernel can take it unmapped", () => {
		const bytes = new Uint8Array(10_000).map((_, i) => i * 7);
		const built = build({ ramdisk: { bytes, file: "initrd" } });
		const { machine, domain } = built;
		const info = infoOf(built);
		expect(info.flags).toBe((1 << 3) | (1 << 4));
		expect(info.modLen).toBe(3 * 4096);
		const copy = new Uint8Array(3 * 4096);
		for (let page = 0; page < 3; page++) {
			const frame = machine.memory.frame(domain.p2m[info.modStart + page]!);
			copy.set(machine.memory.bytes.subarray(frame, frame + 4096), page * 4096);
		}
		expect(copy.subarray(0, bytes.length)).toEqual(bytes);
		expect(copy.subarray(bytes.length).every((byte) => byte === 0)).toBe(true);
		expect(info.modStart * 4096 + virtBase).toBeGreaterThanOrEqual(domain.mappedEnd);
	});

	it("maps the ramdisk where the kernel needs it mapped", () => {
		const bytes = new Uint8Array(5000).fill(0x5a);
		const built = build({ ramdisk: { bytes, file: "initrd" } }, makeKernel(pvNotes({ 16: undefined })));
		const info = infoOf(built);
		expect(info.flags).toBe(1 << 4);
		expect(info.modStart).toBe(built.domain.kernelEnd);
		const { mfn } = built.machine.translate(built.domain.rootMfn, info.modStart + 4096)!;
		expect(built.machine.memory.u8(built.machine.memory.frame(mfn) + 903)).toBe(0x5a);
		expect(built.machine.memory.u8(built.machine.memory.frame(mfn) + 904)).toBe(0);
	});

	it("unpacks a gzip-compressed ramdisk, and hands over one that only looks like it", () => {
		const archive = new Uint8Array(20_000).fill(0x33);
		expect(build({ ramdisk: { bytes: gzipSync(archive), file: "initrd" } }).domain.ramdisk?.size).toBe(20_000);
		const damaged = gzipSync(archive);
		damaged[20]! ^= 0xff;
		expect(build({ ramdisk: { bytes: damaged, file: "initrd" } }).domain.ramdisk?.size).toBe(damaged.length);
	});

	it("fills the hypercall page where the kernel names one", () => {
		const { machine, domain } = build();
		expect(domain.hypercallPage?.address).toBe(kernelAddress + 4096);
		const page = machine.memory.frame(domain.hypercallPage!.mfn);
		const stub = (number: number, length: number) =>
			Buffer.from(machine.memory.bytes.subarray(page + number * 32, page + number * 32 + length)).toString("hex");
		expect(stub(17, 16)).toBe(`514153${"b811000000"}0f05${"415b59c3"}cccc`);
		expect(stub(23, 12)).toBe(`51415350${"b817000000"}0f05cc`);
		expect(build({}, makeKernel(pvNotes({ 2: undefined }))).domain.hypercallPage).toBeUndefined();
	});

	it("starts at the ELF entry point where an image without Linux's notes names none", () => {
		const notes = pvNotes({ 1: undefined, 6: "tiny" });
		const { domain } = build({}, makeKernel(notes, { entry: KERNEL_ADDRESS + 0x20n }));
		expect(domain.entry.rip).toBe(kernelAddress + 0x20);
	});

	it("builds an image linked at address 0", () => {
		const kernel = makeElf({
			entry: 0x1000n,
			segments: [
				{ virtualAddress: 0x1000n, physicalAddress: 0x1000n, data: new Uint8Array(100).fill(0x90) },
				{
					type: 4,
					virtualAddress: 0n,
					physicalAddress: 0n,
					data: pvNotes({ 1: undefined, 2: undefined, 3: undefined, 4: undefined, 6: "tiny" }),
				},
			],
		});
		const { machine, domain } = build({}, kernel);
		expect(domain.virtBase).toBe(0);
		expect(domain.entry.rip).toBe(0x1000);
		// INIT_P2M is not below VIRT_BASE and so is ignored.
		expect(domain.p2mList.address).toBe(0x2000);
		expect(machine.memory.u8(machine.memory.frame(machine.translate(domain.rootMfn, 0x1000)!.mfn))).toBe(0x90);
	});
});

describe("what the domain builder refuses", () => {
	it("a ramdisk larger than the memory, by name and with a remedy", () => {
		const error = failure(() => build({ ramdisk: { bytes: new Uint8Array(PAGES * 4096), file: "big.cpio" } }));
		expect(error.code).toBe("ramdisk-too-large");
		expect(error.message).toMatch(/^big\.cpio: .*16 MiB.*--memory \d+M\.$/);
	});

	it("too little memory, before it takes a frame", () => {
		const machine = new Machine();
		const error = failure(() =>
			buildDomain(machine, {
				kernel: openKernel(makeKernel(), "kernel"),
				commandLine: "",
				pages: 512,
				sharedInfoMfn: SHARED_INFO,
				storePort: 1,
				consolePort: 2,
			}),
		);
		expect(error.code).toBe("not-enough-memory");
		expect(error.message).toMatch(/kernel: it needs 4 MiB to start and the domain has 2 MiB\. .*--memory 128M/);
		expect(machine.allocated).toBe(0);
	});

	it("a machine without enough frames", () => {
		const machine = new Machine(100);
		const error = failure(() =>
			buildDomain(machine, {
				kernel: openKernel(makeKernel(), "kernel"),
				commandLine: "",
				pages: PAGES,
				sharedInfoMfn: SHARED_INFO,
				storePort: 1,
				consolePort: 2,
			}),
		);
		expect(error.code).toBe("not-enough-memory");
	});

	it("a command line that does not fit", () => {
		expect(failure(() => build({ commandLine: "x".repeat(1024) })).code).toBe("command-line-too-long");
		expect(text(...commandLineOf(build({ commandLine: "x".repeat(1023) })))).toHaveLength(1023);
	});

	it.each<[string, Record<number, bigint | string | undefined>]>([
		["an entry point outside the kernel", { 1: KERNEL_ADDRESS + 0x5000n }],
		["an entry point below the kernel", { 1: KERNEL_ADDRESS - 1n }],
		["a hypercall page outside the kernel", { 2: KERNEL_ADDRESS + 0x5000n }],
		["a hypercall page that is not aligned", { 2: KERNEL_ADDRESS + 0x800n }],
		["a base in Xen's hole", { 3: 0xffff_8000_0000_0000n }],
		["a base that is not canonical", { 3: 0x8000_0000_0000_0000n }],
		["a base that is not aligned", { 3: VIRT_BASE + 8n }],
		["an offset beyond the image", { 4: 0x1000_0000n }],
		["an offset far below the image", { 4: -0x7000_0000_0000_0000n }],
		["a p2m list in Xen's hole", { 15: 0xffff_8000_0000_0000n }],
		["a p2m list that is not canonical", { 15: 0x7000_0000_0000_0000n }],
		["a p2m list up against the kernel", { 15: VIRT_BASE - 4096n }],
		["a required feature that only a dom0 has", { 10: "!dom0" }],
		["a required feature that nobody knows", { 10: "!telepathy" }],
		["another loader and another system", { 8: "special", 6: "plan9" }],
		["another interface", { 5: "xen-2.0" }],
	])("an image with %s", (_name, notes) => {
		expect(failure(() => build({}, makeKernel(pvNotes(notes)))).code).toBe("unsupported-kernel");
	});

	it("a kernel without Xen notes, and one for PVH only", () => {
		expect(failure(() => build({}, makeKernel(new Uint8Array(0)))).code).toBe("no-xen-notes");
		const pvh = failure(() => build({}, makeKernel(pvNotes({ 1: undefined, 18: 0x10_0000n }))));
		expect(pvh.code).toBe("no-xen-notes");
		expect(pvh.message).toMatch(/HVM or PVH only.*CONFIG_XEN_PV=y/);
	});

	it("a kernel whose notes have another owner than Xen, which it names", () => {
		const refusal = (...owners: string[]): string => {
			const notes = owners.map((owner) => note(6, "GNU Mach", owner));
			const error = failure(() => build({}, makeKernel(Buffer.concat(notes))));
			expect(error.code).toBe("no-xen-notes");
			return error.message;
		};
		expect(refusal("name", "GNU", "name")).toContain(
			'it has no Xen notes, so it is not built for Xen (its notes are those of "name", "GNU", and only the owner "Xen" counts)',
		);
		// What is in the file does not reach the terminal as it is, nor without end.
		expect(refusal("\x1b[2J", "x".repeat(100), "xen", "c", "d")).toContain(
			`those of "\\u001b[2J", "${"x".repeat(20)}", "xen", "c" and others, and`,
		);
	});
});

function commandLineOf(built: Built): [Machine, number] {
	return [built.machine, infoOf(built).cmdLine];
}
