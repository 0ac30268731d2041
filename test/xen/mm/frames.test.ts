import { beforeEach, describe, expect, it } from "vitest";
import { Access } from "../../../src/cpu/processor.ts";
import { FrameType } from "../../../src/xen/mm/frame-info.ts";
import { KERNEL, Machine } from "./machine.ts";

let machine: Machine;
beforeEach(() => {
	machine = new Machine(1000);
});

describe("frames", () => {
	it("are given out once, zeroed, until there are none", () => {
		const { frames } = machine;
		const { free } = frames;
		const given = new Set<number>();
		for (let mfn = frames.allocate(1); mfn !== undefined; mfn = frames.allocate(1)) {
			expect(given.has(mfn)).toBe(false);
			given.add(mfn);
		}
		expect(given.size).toBe(free);
		expect(frames.free).toBe(0);
		expect(frames.owned(1)).toBe(free);
		expect(given.has(0)).toBe(false);
		const again = [...given][5]!;
		machine.memory.setU32(machine.memory.frame(again), 77);
		frames.releaseAllocated(again);
		expect(frames.owner(again)).toBeUndefined();
		expect(frames.m2p(again)).toBe(-1);
		expect(frames.allocate(2)).toBe(again);
		expect(machine.memory.u32(machine.memory.frame(again))).toBe(0);
		expect([frames.owned(1), frames.owned(2)]).toEqual([free - 1, 1]);
	});

	it("come in aligned rows, from what was never used and from what came back", () => {
		const { frames } = machine;
		const row = frames.allocateContiguous(1, 4)!;
		expect(row % 16).toBe(0);
		while (frames.allocate(1) !== undefined);
		expect(frames.allocateContiguous(1, 4)).toBeUndefined();
		for (let mfn = row; mfn < row + 16; mfn++) frames.releaseAllocated(mfn);
		expect(frames.allocateContiguous(2, 4)).toBe(row);
		expect(frames.owned(2)).toBe(16);
		expect(frames.free).toBe(0);
	});

	it("live as long as anybody refers to them", () => {
		const { frames } = machine;
		const mfn = frames.allocate(1)!;
		expect(frames.getPage(mfn, 2)).toBe(false);
		expect(frames.getPage(mfn, 1)).toBe(true);
		expect(frames.releaseAllocated(mfn)).toBe(true);
		expect(frames.releaseAllocated(mfn)).toBe(false);
		expect(frames.owner(mfn)).toBe(1);
		frames.putPage(mfn);
		expect(frames.owner(mfn)).toBeUndefined();
		expect(frames.getPage(mfn, 1)).toBe(false);
		for (const wrong of [-1, frames.frames, 2 ** 40, 2 ** 60]) expect(frames.getPage(wrong, 1)).toBe(false);
	});

	it("of the hypervisor's heap stay when their owner gives them up", () => {
		const { frames } = machine;
		const mfn = frames.allocateShared(1)!;
		expect(frames.owned(1)).toBe(0);
		expect(frames.getWritable(mfn, 1)).toBe(true);
		frames.releaseAllocated(mfn);
		expect(frames.owner(mfn)).toBe(1);
		frames.releaseShared(mfn);
		expect(frames.owner(mfn)).toBe(1);
		frames.putPageAndType(mfn);
		expect(frames.owner(mfn)).toBeUndefined();
		const readOnly = frames.allocateShared(1, false)!;
		expect(frames.getWritable(readOnly, 1)).toBe(false);
		expect(frames.getPage(readOnly, 1)).toBe(true);
	});

	it("have one type at a time", () => {
		const { frames } = machine;
		const mfn = frames.allocate(1)!;
		expect(frames.getPageType(mfn, FrameType.writable)).toBe(0);
		expect(frames.getPageType(mfn, FrameType.segmentDescriptors)).toBeLessThan(0);
		frames.putPageType(mfn);
		expect(frames.getPageType(mfn, FrameType.segmentDescriptors)).toBe(0);
		expect(frames.getPageType(mfn, FrameType.writable)).toBeLessThan(0);
	});

	it("leave every TLB before they get another owner", () => {
		const guest = machine.guest(1, 16);
		const mfn = guest.mfns[10]!;
		const address = KERNEL + 10 * 4096;
		expect(machine.processor.translate(address, Access.read, 0)).toBeGreaterThan(0);
		// As a guest may: the mapping goes without a flush, and then the frame.
		machine.frames.words[machine.frames.entry(guest.mfns[3]!, 10)] = 0;
		machine.frames.putPageAndType(mfn);
		machine.frames.releaseAllocated(mfn);
		while (machine.frames.owner(mfn) === undefined) machine.frames.allocate(2);
		expect(machine.processor.translate(address, Access.read, 0)).toBe(-1);
	});

	it("of a whole machine find their M2P", () => {
		const large = new Machine(20_000);
		expect(large.frames.machineToPhysical.firstFrame).toBe(512);
		expect(large.frames.machineToPhysical.frameCount).toBe(40);
		expect(large.frames.free).toBe(20_000 - 1 - 3 - 40);
		large.frames.setM2p(19_999, 2 ** 33 + 5);
		expect(large.frames.m2p(19_999)).toBe(2 ** 33 + 5);
	});
});
