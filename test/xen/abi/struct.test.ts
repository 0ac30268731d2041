import { describe, expect, it } from "vitest";
import { Memory } from "../../../src/memory/memory.ts";
import { array, bytes, i64, struct, u8, u16, u32, u64 } from "../../../src/xen/abi/struct.ts";

describe("a structure", () => {
	it("is laid out as C does", () => {
		const inner = struct({ a: u8, b: u16 });
		const outer = struct({ first: u8, inner, list: array(inner, 3), wide: u64, last: bytes(3) });
		expect(inner).toMatchObject({ size: 4, align: 2, offset: { a: 0, b: 2 } });
		expect(outer.offset).toEqual({ first: 0, inner: 2, list: 6, wide: 24, last: 32 });
		expect(outer).toMatchObject({ size: 40, align: 8 });
		expect(struct({ a: u8, b: u32 }, { packed: true })).toMatchObject({ size: 5, align: 1, offset: { a: 0, b: 1 } });
		expect(struct({ a: u32 }, { size: 64 }).size).toBe(64);
		expect(() => struct({ a: u64 }, { size: 4 })).toThrow(RangeError);
	});

	it("reads and writes memory in place", () => {
		const memory = new Memory(1);
		const start = memory.frame(0);
		const view = struct({ flags: u16, inner: struct({ value: i64 }), name: bytes(4) }).at(memory, start);
		view.flags = 0x1234;
		view.inner.value = -2;
		expect(memory.u16(start)).toBe(0x1234);
		expect(memory.i64(start + 8)).toBe(-2);
		expect(view.inner.value).toBe(-2);
		expect(view.name).toBe(start + 16);
		expect(() => {
			view.name = 0;
		}).toThrow(TypeError);
	});

	it.each(["memory", "address", "constructor"])("cannot have a field called %s, which a view would hide", (name) => {
		expect(() => struct({ [name]: u32 })).toThrow(`a field called ${name}`);
	});
});
