import { execFileSync, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { undoBranchFilter } from "../../../src/formats/compression/bcj-x86.ts";
import { adler32, crc32 } from "../../../src/formats/compression/checksum.ts";
import { compressionOf, decompress } from "../../../src/formats/compression/payload.ts";
import { xxh64 } from "../../../src/formats/compression/xxh64.ts";
import { ImageError } from "../../../src/formats/errors.ts";
import { concat } from "../../xen/boot/images.ts";
import { sample } from "../../xen/boot/sample.ts";
import { PACKED } from "./payloads.ts";

const original = sample(2);
const vector = (name: string) => new Uint8Array(Buffer.from(PACKED[name]!, "base64"));
const packed = Object.keys(PACKED).map((name): [string, Uint8Array] => [name, vector(name)]);
/** These carry a checksum of their contents, so damage cannot pass. */
const CHECKED = ["gzip", "bzip2", "xz", "lzo", "zstd"];

function hash(bytes: Uint8Array): number {
	return crc32(bytes);
}

/** The code of the ImageError that is thrown, or "unpacked" with whether the contents are right. */
function outcome(data: Uint8Array, options = {}): string {
	try {
		const result = decompress(data, "kernel", options);
		return Buffer.compare(result, original) === 0 ? "unpacked" : "wrong";
	} catch (error) {
		if (error instanceof ImageError) return error.code;
		throw error;
	}
}

describe.each(packed)("%s", (name, data) => {
	it("is recognised by its magic and unpacks", () => {
		expect(compressionOf(data)).toBe(name.split(" ")[0]);
		expect(outcome(data)).toBe("unpacked");
	});

	it("unpacks as the payload of a bzImage, whose size it then must have", () => {
		const size = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
		const appended = name === "gzip" ? data : concat(data, size(original.length));
		expect(outcome(appended, { sizeAppended: true })).toBe("unpacked");
		if (name === "gzip") return;
		expect(outcome(concat(data, size(original.length + 1)), { sizeAppended: true })).toBe("corrupt-payload");
	});

	it("is refused where it is cut off, wherever that is", () => {
		for (let length = 2; length < data.length; length += 37) {
			// What follows the data proper (an index, a trailer, an end mark) is not always needed.
			const expected = length > data.length - 40 ? /truncated|corrupt-payload|unpacked/ : /truncated|corrupt-payload/;
			expect(outcome(data.subarray(0, length)), `${length} bytes`).toMatch(expected);
		}
		expect(outcome(data.subarray(0, data.length >> 1))).toMatch(/truncated|corrupt-payload/);
	});

	it("ends in an error or in the right contents where it is damaged, and never in another exception", () => {
		const checked = CHECKED.includes(name.split(" ")[0]!);
		for (let at = 2; at < data.length; at += 19) {
			for (const bit of [0x01, 0x80]) {
				const damaged = data.slice();
				damaged[at]! ^= bit;
				const result = outcome(damaged, { limit: 1 << 20 });
				if (checked) expect(result, `bit ${bit} of byte ${at}`).not.toBe("wrong");
			}
		}
	});

	it("stops at the limit", () => {
		expect(outcome(data, { limit: original.length - 1 })).toBe("too-large");
		expect(outcome(data, { limit: original.length })).toBe("unpacked");
	});
});

describe("errors of payloads", () => {
	it("name the file, the compression and what to do", () => {
		const data = vector("gzip");
		data[data.length - 8]! ^= 1;
		expect(() => decompress(data, "/boot/vmlinuz")).toThrow(
			/^\/boot\/vmlinuz: its gzip payload cannot be unpacked: .*checksum\. .*copy it again.*\.$/,
		);
	});

	it("tell an unknown compression", () => {
		expect(outcome(Uint8Array.of(1, 2, 3, 4))).toBe("unsupported-payload");
	});

	it("do not let a small file announce a large one", () => {
		const gzip = vector("gzip");
		new DataView(gzip.buffer).setUint32(gzip.length - 4, 0x7fff_ffff, true);
		expect(outcome(gzip)).toBe("corrupt-payload");
		const lzma = vector("lzma");
		new DataView(lzma.buffer).setUint32(5, 0xffff_fff0, true);
		new DataView(lzma.buffer).setUint32(9, 0, true);
		expect(outcome(lzma)).toBe("too-large");
	});
});

it("lzma of a known size stops there", () => {
	const lzma = vector("lzma");
	new DataView(lzma.buffer).setBigUint64(5, BigInt(original.length), true);
	expect(outcome(lzma)).toBe("unpacked");
});

it("a zstd frame may be followed by others and by skippable ones", () => {
	const zstd = vector("zstd");
	const skippable = Uint8Array.of(0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
	const result = decompress(concat(zstd, skippable, zstd), "kernel");
	expect(result).toEqual(concat(original, original));
});

describe("checksums", () => {
	const text = new TextEncoder().encode("123456789");

	it("have the published values", () => {
		expect(crc32(text)).toBe(0xcbf4_3926);
		expect(crc32(concat(text, text), 9)).toBe(0xcbf4_3926);
		expect(adler32(text)).toBe(0x091e_01de);
		expect(xxh64(new Uint8Array(0))).toBe(0xef46_db37_51d8_e999n);
		expect(xxh64(new TextEncoder().encode("Call me Ishmael. Some years ago--never mind how long precisely-"))).toBe(
			0x02a2_e854_70d6_fd96n,
		);
	});

	it("of Adler do not overflow", () => {
		expect(adler32(new Uint8Array(100_000).fill(255))).toBe(0x149a_302c);
	});
});

describe("the x86 branch filter", () => {
	it("leaves what is no branch alone, also at the edges", () => {
		for (const bytes of [[], [0xe8], [0xe8, 1, 2, 3], [0x90, 0x90, 0x90, 0x90, 0x90, 0x90], [0xe8, 1, 2, 3, 0x55]]) {
			const data = Uint8Array.from(bytes);
			undoBranchFilter(data, 0, data.length);
			expect([...data]).toEqual(bytes);
		}
	});

	it("turns absolute targets into displacements, counted from the start", () => {
		// A call at offset 3 of the block to absolute 0x108: displacement 0x108 - (3 + 5).
		const data = Uint8Array.of(0xcc, 0xcc, 0x90, 0x90, 0x90, 0xe8, 0x08, 0x01, 0, 0, 0x90);
		undoBranchFilter(data, 2, data.length);
		expect([...data.subarray(5, 10)]).toEqual([0xe8, 0x00, 0x01, 0, 0]);
	});
});

/** Larger data through whatever tools there are: several blocks, low and high levels. */
const TOOLS: readonly [string, readonly string[]][] = [
	["gzip", ["-1", "-c"]],
	["bzip2", ["-1", "-c"]],
	["lzma", ["-0", "-c"]],
	["xz", ["--check=crc32", "--x86", "--lzma2=dict=64KiB", "--block-size=100000", "-T1", "-c"]],
	["xz", ["--check=none", "--lzma2=preset=0,lc=0,lp=2,pb=0", "-c"]],
	["lzop", ["-1", "-c"]],
	["lzop", ["-9", "--crc32", "-c"]],
	["lz4", ["-l", "-1", "-c"]],
	["zstd", ["-1", "-c"]],
	["zstd", ["-19", "--no-check", "-c"]],
];

describe("what the tools pack", () => {
	const large = sample(150);
	const expected = hash(large);
	for (const [tool, options] of TOOLS) {
		const installed = spawnSync(tool, ["--version"]).error === undefined;
		it.skipIf(!installed)(`${tool} ${options.join(" ")}`, () => {
			const data = execFileSync(tool, options, { input: large, maxBuffer: 1 << 24, stdio: ["pipe", "pipe", "ignore"] });
			const result = decompress(new Uint8Array(data), "kernel");
			expect(result.length).toBe(large.length);
			expect(hash(result)).toBe(expected);
		});
	}
});
