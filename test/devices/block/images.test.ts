import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BlockFile, BlockImage, Done } from "../../../src/devices/block/image.ts";
import { openHttp } from "../../../src/devices/block/images/http.ts";
import { MemoryFile } from "../../../src/devices/block/images/memory.ts";
import { openImage } from "../../../src/devices/block/images/open.ts";
import { OverlayImage } from "../../../src/devices/block/images/overlay.ts";
import { createQcow2 } from "../../../src/devices/block/images/qcow2/create.ts";
import { Qcow2Image } from "../../../src/devices/block/images/qcow2/qcow2.ts";
import { RawImage } from "../../../src/devices/block/images/raw.ts";
import { nodeBlockFiles } from "../../../src/platform/node/block-files.ts";

const folder = mkdtempSync(join(tmpdir(), "paravirt-images-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const files = nodeBlockFiles();
const MIB = 2 ** 20;
/** Installed by .ci/run; without it there is no oracle. */
const hasQemuImg = spawnSync("qemu-img", ["--version"]).status === 0;
const qemuImg = (...args: string[]): string => execFileSync("qemu-img", args, { encoding: "utf8" });

/** qemu-img's verdict: no errors, and how many clusters are leaked. */
function check(file: string): number {
	const { status, stdout, stderr } = spawnSync("qemu-img", ["check", "-f", "qcow2", "--output", "json", file], {
		encoding: "utf8",
	});
	const report = JSON.parse(stdout === "" ? "{}" : stdout) as Record<string, number>;
	if ((status !== 0 && status !== 3) || (report["corruptions"] ?? 0) > 0)
		throw new Error(`${file}: ${stdout}${stderr}`);
	return report["leaks"] ?? 0;
}

/** Bytes that are different everywhere. */
function pattern(length: number, seed: number): Uint8Array {
	const bytes = new Uint8Array(length);
	let state = (seed * 2654435761) >>> 0 || 1;
	for (let index = 0; index < length; index++) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		bytes[index] = state >>> 24;
	}
	return bytes;
}

/** A file whose every operation ends later, in the order in which they were asked for. */
class LateFile implements BlockFile {
	readonly readOnly = false;
	readonly holeGranularity = 512;
	private last: Promise<void> = Promise.resolve();
	constructor(private readonly file: MemoryFile) {}
	get name(): string {
		return this.file.name;
	}
	get size(): number {
		return this.file.size;
	}
	private later(work: () => Done): Done {
		this.last = this.last.then(work);
		return this.last;
	}
	read(to: Uint8Array, position: number): Done {
		return this.later(() => this.file.read(to, position));
	}
	write(from: Uint8Array, position: number): Done {
		const bytes = from.slice();
		return this.later(() => this.file.write(bytes, position));
	}
	sync(): Done {
		return this.later(() => undefined);
	}
	punch(position: number, length: number): Done {
		return this.later(() => this.file.punch(position, length));
	}
	truncate(size: number): Done {
		return this.later(() => this.file.truncate(size));
	}
	close(): Promise<void> {
		return this.file.close();
	}
}

type Step =
	| {
			readonly kind: "write" | "read" | "discard";
			readonly sector: number;
			readonly count: number;
			readonly seed: number;
	  }
	| { readonly kind: "flush" };

const steps = (sectors: number): fc.Arbitrary<Step[]> =>
	fc.array(
		fc.oneof(
			{
				weight: 8,
				arbitrary: fc.record({
					kind: fc.constantFrom("write", "write", "read", "discard"),
					sector: fc.integer({ min: 0, max: sectors - 1 }),
					count: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 300 })),
					seed: fc.integer({ min: 1, max: 1000 }),
				}),
			},
			{ weight: 1, arbitrary: fc.record({ kind: fc.constant("flush" as const) }) },
		),
		{ maxLength: 40 },
	) as fc.Arbitrary<Step[]>;

/**
 * Does the steps on an image and on plain bytes.
 * @param forgets whether what is discarded may read as something else than it was or zeros: nothing here does
 */
async function perform(image: BlockImage, model: Uint8Array, all: readonly Step[]): Promise<void> {
	/** Sectors of which either contents are right. */
	const unsure = new Set<number>();
	for (const step of all) {
		if (step.kind === "flush") {
			await image.flush();
			continue;
		}
		const count = Math.min(step.count, model.length / 512 - step.sector);
		const [from, length] = [step.sector * 512, count * 512];
		if (step.kind === "write") {
			const data = pattern(length, step.seed);
			await image.write(data, from);
			model.set(data, from);
			for (let sector = 0; sector < count; sector++) unsure.delete(step.sector + sector);
		} else if (step.kind === "discard") {
			await image.discard(from, length);
			for (let sector = 0; sector < count; sector++) unsure.add(step.sector + sector);
		} else {
			const found = new Uint8Array(length).fill(0xee);
			await image.read(found, from);
			compare(found, model, step.sector, unsure);
		}
	}
	const whole = new Uint8Array(model.length).fill(0xee);
	await image.read(whole, 0);
	compare(whole, model, 0, unsure);
	model.set(whole);
}

function compare(found: Uint8Array, model: Uint8Array, first: number, unsure: ReadonlySet<number>): void {
	for (let sector = 0; sector < found.length / 512; sector++) {
		const now = found.subarray(sector * 512, sector * 512 + 512);
		const was = model.subarray((first + sector) * 512, (first + sector) * 512 + 512);
		if (Buffer.compare(now, was) === 0) continue;
		const zeros = now.every((byte) => byte === 0);
		if (!unsure.has(first + sector) || !zeros) throw new Error(`sector ${first + sector} is not what was written`);
	}
}

const noBacking = (): Promise<BlockImage> => Promise.reject(new Error("no backing file"));

describe("several buffers of a file of the host's", () => {
	it("are filled and written, beyond the end too", async () => {
		writeFileSync(at("several"), "abcdefgh");
		const file = await files.open(at("several"), { readOnly: false });
		const parts = [3, 2, 0, 6, 4].map((length) => new Uint8Array(length).fill(1));
		expect(file.readv?.(parts, 1)).toBeUndefined();
		expect(parts.map((part) => Buffer.from(part).toString())).toEqual(["bcd", "ef", "", "gh\0\0\0\0", "\0\0\0\0"]);
		expect(file.writev?.([Buffer.from("XY"), Buffer.from("Z")], 7)).toBeUndefined();
		expect(file.size).toBe(10);
		await file.close();
		expect(readFileSync(at("several"), "utf8")).toBe("abcdefgXYZ");
		const fixed = await files.open(at("several"), { readOnly: true });
		expect(() => fixed.writev?.([Buffer.from("XY")], 0)).toThrow("cannot be written");
		await fixed.close();
	});
});

describe("images by a model", () => {
	const SIZE = 600 * 512;

	it.each(["at once", "later"])("memory, overlays over raw and qcow2, files that answer %s", async (way) => {
		const wrap = (file: MemoryFile): BlockFile => (way === "later" ? new LateFile(file) : file);
		await fc.assert(
			fc.asyncProperty(steps(600), fc.constantFrom(9, 12, 16), async (all, clusterBits) => {
				const content = pattern(SIZE, 5);
				const raw = new MemoryFile();
				raw.write(content, 0);
				await perform(new OverlayImage(new RawImage(wrap(raw)), wrap(new MemoryFile())), content.slice(), all);
				const qcow2 = new MemoryFile();
				await createQcow2(qcow2, { size: SIZE, clusterBits });
				const image = await Qcow2Image.open(wrap(qcow2), noBacking);
				await perform(image, new Uint8Array(SIZE), all);
				const over = new MemoryFile();
				await createQcow2(over, { size: SIZE, clusterBits, backing: { file: "base", format: "raw" } });
				const model = content.slice();
				const top = await Qcow2Image.open(wrap(over), async () => new RawImage(wrap(raw), true));
				await perform(top, model, all);
				// As it is found by the next one who opens it.
				await top.flush();
				const again = await Qcow2Image.open(over, async () => new RawImage(raw, true));
				const whole = new Uint8Array(SIZE);
				await again.read(whole, 0);
				expect(Buffer.compare(whole, model)).toBe(0);
			}),
			{ numRuns: 40 },
		);
	});

	it("operations in flight at once end as if they had come one by one", async () => {
		const file = new MemoryFile();
		await createQcow2(file, { size: MIB, clusterBits: 12 });
		const image = await Qcow2Image.open(new LateFile(file), noBacking);
		const model = new Uint8Array(MIB);
		const pending: Done[] = [];
		for (let round = 0; round < 200; round++) {
			const from = ((round * 7919) % 2000) * 512;
			const data = pattern(512 * (1 + (round % 20)), round + 1).subarray(0, MIB - from);
			model.set(data, from);
			pending.push(image.write(data, from));
			if (round % 11 === 0) pending.push(image.flush());
			pending.push(image.read(new Uint8Array(4096), (round * 4096) % MIB));
		}
		await Promise.all(pending);
		const whole = new Uint8Array(MIB);
		await image.read(whole, 0);
		expect(Buffer.compare(whole, model)).toBe(0);
	});
});

describe.skipIf(!hasQemuImg)("qcow2 beside qemu-img", () => {
	it("what it has made we read and write, and it finds no fault", async () => {
		const variants = [
			["-o", "cluster_size=65536"],
			["-o", "cluster_size=512"],
			["-o", "cluster_size=2M"],
			["-o", "compat=0.10"],
			["-o", "cluster_size=4096,refcount_bits=1"],
			["-o", "cluster_size=1024,refcount_bits=4"],
			["-o", "cluster_size=1024,refcount_bits=64"],
			["-o", "lazy_refcounts=on,refcount_bits=8"],
			["-o", "preallocation=metadata"],
		];
		for (const [number, options] of variants.entries()) {
			const name = at(`made-${number}.qcow2`);
			qemuImg("create", "-q", "-f", "qcow2", ...options, name, "12M");
			const image = await openImage(files, name, { format: "qcow2", readOnly: false });
			const model = new Uint8Array(12 * MIB);
			const all: Step[] = Array.from({ length: 60 }, (_, index) => ({
				kind: index % 5 === 4 ? "discard" : "write",
				sector: (index * 7477) % 24000,
				count: 1 + ((index * 37) % 500),
				seed: index + 1,
			}));
			await perform(image, model, [...all, { kind: "flush" }, ...all.slice(0, 20)]);
			await image.close();
			expect([options, check(name)]).toEqual([options, 0]);
			const raw = at("made.raw");
			qemuImg("convert", "-f", "qcow2", "-O", "raw", name, raw);
			expect([options, Buffer.compare(readFileSync(raw), model)]).toEqual([options, 0]);
		}
	}, 60_000);

	it("what we have made it reads, writes and checks", async () => {
		for (const clusterBits of [9, 12, 16, 21]) {
			const name = at(`ours-${clusterBits}.qcow2`);
			const file = await files.open(name, { readOnly: false, create: true });
			await createQcow2(file, { size: 20 * MIB, clusterBits });
			const image = await Qcow2Image.open(file, noBacking);
			const data = pattern(9 * MIB, clusterBits);
			await image.write(data, 3 * MIB + 512);
			await image.close();
			expect(check(name)).toBe(0);
			const model = new Uint8Array(20 * MIB);
			model.set(data, 3 * MIB + 512);
			writeFileSync(at("model.raw"), model);
			expect(qemuImg("compare", "-f", "raw", "-F", "qcow2", at("model.raw"), name)).toContain("identical");
		}
	}, 60_000);

	it("reads compressed clusters, zlib and zstd, and writes over them", async () => {
		const raw = at("compress.raw");
		const content = new Uint8Array(4 * MIB);
		for (let index = 0; index < content.length; index++) content[index] = (index >> 9) ^ (index % 91 === 0 ? index : 0);
		content.set(pattern(MIB, 3), MIB);
		writeFileSync(raw, content);
		for (const compression of ["zlib", "zstd"]) {
			for (const cluster of ["4k", "64k", "2M"]) {
				const name = at(`${compression}-${cluster}.qcow2`);
				const options = `compression_type=${compression},cluster_size=${cluster}`;
				qemuImg("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, name);
				const image = await openImage(files, name, { format: "qcow2", readOnly: false });
				const model = content.slice();
				const whole = new Uint8Array(model.length);
				await image.read(whole, 0);
				expect([options, Buffer.compare(whole, model)]).toEqual([options, 0]);
				for (let sector = 3; sector < 8000; sector += 401) {
					const data = pattern(1536, sector);
					await image.write(data, sector * 512);
					model.set(data, sector * 512);
				}
				await image.close();
				expect([options, check(name)]).toEqual([options, 0]);
				writeFileSync(at("model.raw"), model);
				expect(qemuImg("compare", "-f", "raw", "-F", "qcow2", at("model.raw"), name)).toContain("identical");
			}
		}
	}, 60_000);

	it("follows backing files, raw and qcow2, short and long", async () => {
		const base = pattern(3 * MIB, 1);
		writeFileSync(at("base.raw"), base);
		qemuImg("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", at("middle.qcow2"), "5M");
		const middle = await openImage(files, at("middle.qcow2"), { format: "qcow2", readOnly: false });
		await middle.write(pattern(100_352, 2), 2 * MIB + 1024);
		await middle.close();
		qemuImg("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", at("middle.qcow2"), at("top.qcow2"), "4M");
		const top = await openImage(files, at("top.qcow2"), { format: "qcow2", readOnly: false });
		await top.write(pattern(512, 3), 3 * MIB - 512);
		await top.write(pattern(512, 4), 3 * MIB + 512);
		await top.discard(MIB, MIB);
		await top.resize(6 * MIB);
		const whole = new Uint8Array(6 * MIB);
		await top.read(whole, 0);
		await top.close();
		expect(check(at("top.qcow2"))).toBe(0);
		writeFileSync(at("model.raw"), whole);
		expect(qemuImg("compare", "-f", "raw", "-F", "qcow2", at("model.raw"), at("top.qcow2"))).toContain("identical");
		expect(Buffer.compare(whole.subarray(2 * MIB + 1024, 2 * MIB + 2048), pattern(100_352, 2).subarray(0, 1024))).toBe(
			0,
		);
		expect(whole.subarray(4 * MIB).every((byte) => byte === 0)).toBe(true);
		expect(Buffer.compare(readFileSync(at("base.raw")), base)).toBe(0);
	});

	it("leaves internal snapshots as they are", async () => {
		const name = at("snapshots.qcow2");
		qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", name, "8M");
		const first = await openImage(files, name, { format: "qcow2", readOnly: false });
		const before = pattern(4 * MIB, 7);
		await first.write(before, 0);
		await first.close();
		qemuImg("snapshot", "-c", "then", name);
		const second = await openImage(files, name, { format: "qcow2", readOnly: false });
		await second.write(pattern(MIB, 8), MIB);
		await second.discard(0, 512 * 1024);
		expect(() => second.resize(16 * MIB)).toThrow("has snapshots");
		await second.close();
		expect(check(name)).toBe(0);
		qemuImg("convert", "-l", "then", "-O", "raw", name, at("then.raw"));
		expect(Buffer.compare(readFileSync(at("then.raw")).subarray(0, before.length), before)).toBe(0);
	});

	it("grows, with its tables", async () => {
		for (const options of ["cluster_size=512", "cluster_size=65536", "cluster_size=1024,refcount_bits=64"]) {
			const name = at("grow.qcow2");
			qemuImg("create", "-q", "-f", "qcow2", "-o", options, name, "1M");
			const image = await openImage(files, name, { format: "qcow2", readOnly: false });
			await image.write(pattern(MIB, 1), 0);
			await image.resize(80 * MIB);
			await image.write(pattern(6 * MIB, 2), 50 * MIB);
			await image.close();
			expect([options, check(name)]).toEqual([options, 0]);
			expect(JSON.parse(qemuImg("info", "--output", "json", name))["virtual-size"]).toBe(80 * MIB);
			const again = await openImage(files, name, { format: "qcow2", readOnly: true });
			const data = new Uint8Array(6 * MIB);
			await again.read(data, 50 * MIB);
			expect(Buffer.compare(data, pattern(6 * MIB, 2))).toBe(0);
			await again.close();
			rmSync(name);
		}
	}, 60_000);

	it("refuses by its name what it cannot do", async () => {
		const refused = async (name: string, readOnly: boolean, message: RegExp): Promise<void> => {
			await expect(openImage(files, at(name), { format: "qcow2", readOnly })).rejects.toThrow(message);
		};
		qemuImg("create", "-q", "-f", "qcow2", "-o", "extended_l2=on", at("sub.qcow2"), "1M");
		await refused("sub.qcow2", true, /subclusters \(extended L2 entries\)/);
		qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${at("data.raw")}`, at("data.qcow2"), "1M");
		await refused("data.qcow2", true, /external data file/);
		qemuImg("create", "-q", "-f", "qcow2", at("flags.qcow2"), "1M");
		const flag = (byte: number, value: number): void => {
			const bytes = readFileSync(at("flags.qcow2"));
			bytes[byte] = value;
			writeFileSync(at("flags.qcow2"), bytes);
		};
		flag(35, 2);
		await refused("flags.qcow2", true, /encrypted \(LUKS\)/);
		flag(35, 0);
		flag(79, 1);
		await refused("flags.qcow2", false, /kept its refcounts lazily/);
		await (await openImage(files, at("flags.qcow2"), { format: "qcow2", readOnly: true })).close();
		flag(79, 2);
		await refused("flags.qcow2", false, /marked as corrupt/);
		flag(79, 0);
		flag(78, 1);
		await refused("flags.qcow2", true, /needs feature "bit 8"/);
		flag(78, 0);
		flag(7, 4);
		await refused("flags.qcow2", true, /version 4/);
		qemuImg("create", "-q", "-f", "qcow2", "-u", "-F", "vmdk", "-b", "other.vmdk", at("vmdk.qcow2"), "1M");
		await refused("vmdk.qcow2", true, /backing file is of format vmdk/);
		qemuImg("create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", "ring.qcow2", at("ring.qcow2"), "1M");
		await refused("ring.qcow2", true, /never end/);
		writeFileSync(at("some.raw"), pattern(MIB, 9));
		await refused("some.raw", true, /not a qcow2 image/);
		await expect(openImage(files, at("vmdk.qcow2"), { format: "raw", readOnly: false })).rejects.toThrow(
			"is a qcow2 image, not a raw one",
		);
	});
});

describe("damaged qcow2 images", () => {
	it("end in an error that says so, never otherwise", async () => {
		const good = new MemoryFile();
		await createQcow2(good, { size: 4 * MIB, clusterBits: 12 });
		const image = await Qcow2Image.open(good, noBacking);
		await image.write(pattern(MIB, 1), 0);
		await image.flush();
		const bytes = new Uint8Array(good.size);
		good.read(bytes, 0);
		const word = fc.tuple(
			fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: bytes.length / 4 - 1 })),
			fc.integer({ min: 0, max: 0xffff_ffff }),
		);
		await fc.assert(
			fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 12 }), async (damages) => {
				const file = new MemoryFile();
				const damaged = bytes.slice();
				const view = new DataView(damaged.buffer);
				for (const [at_, value] of damages) view.setUint32(at_ * 4, value);
				file.write(damaged, 0);
				try {
					const opened = await Qcow2Image.open(file, noBacking);
					const size = Math.min(opened.size, MIB);
					await opened.read(new Uint8Array(size), 0);
					await opened.write(pattern(Math.min(size, 65536), 2), 0);
					await opened.flush();
				} catch (error) {
					const known =
						["BlockError"].includes((error as Error).name) || (error as Error).message === "no backing file";
					if (!known) throw error;
				}
			}),
			{ numRuns: 300 },
		);
	}, 60_000);
});

describe("files of the host", () => {
	it("can be used by one at a time, or by many who read", async () => {
		writeFileSync(at("lock.raw"), pattern(4096, 1));
		const raw = (readOnly: boolean): Promise<BlockImage> =>
			openImage(files, at("lock.raw"), { format: "raw", readOnly });
		const writer = await raw(false);
		await expect(raw(false)).rejects.toThrow(/lock.raw: another guest or program has it in use/);
		await expect(raw(true)).rejects.toThrow("in use");
		expect(spawnSync("flock", ["--nonblock", "--shared", at("lock.raw"), "true"]).status).toBe(1);
		await writer.close();
		const readers = [await raw(true), await raw(true)];
		await expect(raw(false)).rejects.toThrow("in use");
		for (const reader of readers) await reader.close();
		await (await raw(false)).close();
	});

	it("say what is wrong with them", async () => {
		const open = (name: string): Promise<unknown> => openImage(files, name, { format: "raw", readOnly: false });
		await expect(open(at("missing.raw"))).rejects.toMatchObject({ code: "cannot-open", reason: "no such file" });
		await expect(open(folder)).rejects.toMatchObject({ reason: "is a directory" });
		await expect(open("/dev/null")).rejects.toMatchObject({ reason: "is neither a file nor a block device" });
	});

	it("get holes where a raw disk is discarded", async () => {
		const name = at("holes.raw");
		writeFileSync(name, pattern(4 * MIB, 1));
		const blocks = (): number => statSync(name).blocks;
		const full = blocks();
		const image = await openImage(files, name, { format: "raw", readOnly: false });
		await Promise.all([
			image.discard(MIB, MIB),
			image.discard(2 * MIB + 100, 5000),
			image.discard(3 * MIB, 512 * 1024),
		]);
		const data = new Uint8Array(MIB).fill(1);
		await image.read(data, MIB);
		await image.close();
		expect(data.every((byte) => byte === 0)).toBe(true);
		expect(full - blocks()).toBeGreaterThanOrEqual(3 * 1024 + 8 - 64);
		expect(statSync(name).size).toBe(4 * MIB);
	});

	it("grow with a raw disk, and a temporary overlay leaves its base alone", async () => {
		const name = at("grow.raw");
		const content = pattern(MIB, 1);
		writeFileSync(name, content);
		for (const snapshot of ["memory", "file"] as const) {
			const image = await openImage(files, name, { format: "raw", readOnly: false, snapshot });
			await image.write(pattern(5000 - (5000 % 512), 2), 512);
			await image.flush();
			await image.close();
		}
		expect(Buffer.compare(readFileSync(name), content)).toBe(0);
		const image = await openImage(files, name, { format: "raw", readOnly: false });
		await image.resize(3 * MIB);
		await image.write(pattern(512, 3), 3 * MIB - 512);
		expect(() => image.resize(MIB)).toThrow("cannot be made smaller");
		await image.close();
		expect(statSync(name).size).toBe(3 * MIB);
		truncateSync(name, 1000);
		const odd = await openImage(files, name, { format: "raw", readOnly: true });
		expect(odd.size).toBe(1024);
		await odd.close();
		expect(existsSync(name)).toBe(true);
	});
});

describe("a file on a web server", () => {
	const content = pattern(3 * MIB + 1234, 1);
	let server: Server;
	let url = "";
	let requests: string[] = [];
	let failures = 0;
	let tag = '"one"';

	beforeAll(async () => {
		server = createServer((request, response) => {
			const { range = "" } = request.headers;
			requests.push(range);
			if (failures > 0) {
				failures--;
				response.destroy();
				return;
			}
			if (request.url === "/missing") response.writeHead(404).end();
			else if (request.url === "/whole") response.writeHead(200).end(content);
			else {
				const [first, last] = range.slice("bytes=".length).split("-").map(Number) as [number, number];
				const part = content.subarray(first, last + 1);
				response.writeHead(206, { "content-range": `bytes ${first}-${last}/${content.length}`, etag: tag });
				response.end(part);
			}
		});
		await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
		url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
	});
	afterAll(() => {
		server.closeAllConnections();
		server.close();
	});

	it("is read by ranges, each once, ahead where it is read in a row", async () => {
		requests = [];
		const image = await openImage(files, `${url}/disk.raw`, { format: "raw", readOnly: true });
		expect(image.size).toBe(Math.ceil(content.length / 512) * 512);
		const data = new Uint8Array(image.size);
		for (let from = 0; from < data.length; from += 8192) await image.read(data.subarray(from, from + 8192), from);
		expect(Buffer.compare(data.subarray(0, content.length), content)).toBe(0);
		await image.read(data, 0);
		expect(requests.length).toBe(1 + 13);
		expect(new Set(requests).size).toBe(14);
		await image.close();
	});

	it("takes an overlay, survives failures, and notices a change", async () => {
		const image = await openImage(files, `${url}/disk.raw`, { format: "raw", readOnly: false, snapshot: "memory" });
		const model = new Uint8Array(image.size);
		model.set(content);
		await image.write(pattern(700 * 512, 2), 512 * 77);
		model.set(pattern(700 * 512, 2), 512 * 77);
		failures = 2;
		const data = new Uint8Array(image.size);
		await image.read(data, 0);
		expect(Buffer.compare(data, model)).toBe(0);
		await image.close();
		const small = await openHttp(`${url}/disk.raw`, { cache: 1, retries: 1, retryDelay: 1 });
		tag = '"two"';
		await expect((async () => small.read(new Uint8Array(16), 2 * MIB))()).rejects.toThrow("has changed on its server");
		tag = '"one"';
		await small.read(new Uint8Array(16), 2 * MIB);
		failures = 9;
		await expect((async () => small.read(new Uint8Array(16), 0))()).rejects.toThrow("cannot be read");
		failures = 0;
		await small.read(new Uint8Array(16), 0);
	});

	it("is refused where it is not there, not in parts, or to be written", async () => {
		const open = (path: string, readOnly = true): Promise<unknown> =>
			openImage(files, `${url}${path}`, { format: "raw", readOnly });
		await expect(open("/missing")).rejects.toThrow("status 404");
		await expect(open("/whole")).rejects.toThrow("does not serve parts of files");
		await expect(open("/disk.raw", false)).rejects.toThrow("can only be read");
	});
});
