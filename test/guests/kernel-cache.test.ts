import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ImageError } from "../../src/formats/errors.ts";
import { kernelCache } from "../../src/guests/kernel-cache.ts";
import { type KernelCache, openCachedKernel } from "../../src/host/kernel-cache.ts";
import { makeKernel } from "../xen/boot/images.ts";

let directory = "";
beforeEach(() => {
	directory = mkdtempSync(join(tmpdir(), "paravirt-kernels-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const kernel = (byte: number): Uint8Array => new Uint8Array(100).fill(byte);
const unpacked = (byte: number): Uint8Array => new Uint8Array(1000).fill(byte);
const onlyFile = (): string => join(directory, readdirSync(directory)[0] as string);

describe("the cache of unpacked kernels", () => {
	it("has what was written, also for the next process", async () => {
		await kernelCache(directory).write(kernel(1), unpacked(1));
		const cache = kernelCache(directory);
		expect(await cache.read(kernel(1))).toEqual(Buffer.from(unpacked(1)));
		expect(await cache.read(kernel(2))).toBeUndefined();
		expect(readdirSync(directory)).toHaveLength(1);
	});

	it.each<[string, (data: Uint8Array) => Uint8Array]>([
		["a flipped bit", (data) => data.map((byte, at) => (at === 500 ? byte ^ 1 : byte))],
		["a wrong digest", (data) => data.map((byte, at) => (at === 0 ? byte ^ 1 : byte))],
		["a missing end", (data) => data.subarray(0, -1)],
		["nothing but the digest", (data) => data.subarray(0, 32)],
		["no contents", () => new Uint8Array(0)],
	])("drops an entry with %s", async (_, damage) => {
		const cache = kernelCache(directory);
		await cache.write(kernel(1), unpacked(1));
		writeFileSync(onlyFile(), damage(readFileSync(onlyFile())));
		expect(await cache.read(kernel(1))).toBeUndefined();
		expect(readdirSync(directory)).toEqual([]);
	});

	it("removes what was not used for the longest time", async () => {
		const cache = kernelCache(directory, { limit: 3500 });
		for (const byte of [1, 2, 3]) {
			await cache.write(kernel(byte), unpacked(byte));
			for (const name of readdirSync(directory)) {
				const path = join(directory, name);
				const used = statSync(path).mtimeMs / 1000 - 100;
				utimesSync(path, used, used);
			}
		}
		await cache.read(kernel(1));
		await cache.write(kernel(4), unpacked(4));
		const kept = await Promise.all([1, 2, 3, 4].map(async (byte) => (await cache.read(kernel(byte))) !== undefined));
		expect(kept).toEqual([true, false, true, true]);
	});

	it("does not store what is larger than all of it", async () => {
		await kernelCache(directory, { limit: 1000 }).write(kernel(1), unpacked(1));
		expect(readdirSync(directory)).toEqual([]);
	});

	it("removes what a killed process left, but not what another one writes", async () => {
		writeFileSync(join(directory, "old.partial"), "");
		writeFileSync(join(directory, "new.partial"), "");
		utimesSync(join(directory, "old.partial"), 0, 0);
		await kernelCache(directory).write(kernel(1), unpacked(1));
		const names = readdirSync(directory);
		expect(names).toHaveLength(2);
		expect(names).toContain("new.partial");
	});

	it("is no error where it cannot be", async () => {
		const file = join(directory, "file");
		writeFileSync(file, "");
		const cache = kernelCache(join(file, "kernels"));
		await cache.write(kernel(1), unpacked(1));
		expect(await cache.read(kernel(1))).toBeUndefined();
	});
});

describe("a kernel that is opened through a cache", () => {
	const elf = makeKernel();
	const packed = gzipSync(elf);

	it("is unpacked once", async () => {
		const stored: Uint8Array[] = [];
		const cache: KernelCache = {
			read: async () => stored[0],
			write: async (_, data) => void stored.push(data),
		};
		const first = await openCachedKernel(packed, "vmlinux.gz", cache);
		const second = await openCachedKernel(packed, "vmlinux.gz", cache);
		expect(stored).toEqual([elf]);
		expect(second.elf.bytes).toBe(stored[0]);
		expect({ ...second, elf: undefined }).toEqual({ ...first, elf: undefined });
		expect(first.compression).toBe("gzip");
	});

	it("is not stored where it is not compressed or no kernel, and needs no cache", async () => {
		const written: string[] = [];
		const cache: KernelCache = { read: async () => undefined, write: async () => void written.push("written") };
		await openCachedKernel(elf, "vmlinux", cache);
		await expect(openCachedKernel(gzipSync("text"), "text.gz", cache)).rejects.toThrow(ImageError);
		expect(written).toEqual([]);
		expect((await openCachedKernel(packed, "vmlinux.gz", undefined)).elf.bytes).toEqual(elf);
	});
});
