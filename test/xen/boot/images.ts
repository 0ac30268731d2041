/** Small kernels for the tests: ELF files and bzImages made from a few numbers. */

export interface TestSegment {
	readonly type?: number;
	readonly flags?: number;
	readonly virtualAddress: bigint;
	readonly physicalAddress: bigint;
	readonly data: Uint8Array;
	readonly memorySize?: number;
}

export interface TestSection {
	readonly name: string;
	readonly type?: number;
	readonly flags?: number;
	readonly data: Uint8Array;
	readonly address?: bigint;
	readonly link?: number;
}

export interface TestElf {
	readonly entry?: bigint;
	readonly machine?: number;
	readonly segments?: readonly TestSegment[];
	readonly sections?: readonly TestSection[];
}

const encoder = new TextEncoder();

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
	const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		all.set(part, at);
		at += part.length;
	}
	return all;
}

/** An ELF64 executable: header, program headers, contents, section headers. */
export function makeElf({ entry = 0n, machine = 62, segments = [], sections = [] }: TestElf): Uint8Array {
	const named = sections.length > 0 ? [...sections, { name: ".shstrtab", type: 3, data: new Uint8Array(0) }] : [];
	const names = concat(new Uint8Array(1), ...named.map(({ name }) => encoder.encode(`${name}\0`)));
	const contents = [
		...segments.map(({ data }) => data),
		...named.map(({ data, name }) => (name === ".shstrtab" ? names : data)),
	];
	const headersSize = 64 + segments.length * 56;
	let at = headersSize;
	const offsets = contents.map((data) => {
		const here = at;
		at += data.length;
		return here;
	});
	const sectionsAt = at;
	const bytes = new Uint8Array(sectionsAt + (named.length > 0 ? (named.length + 1) * 64 : 0));
	const view = new DataView(bytes.buffer);
	bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
	view.setUint16(16, 2, true);
	view.setUint16(18, machine, true);
	view.setUint32(20, 1, true);
	view.setBigUint64(24, BigInt.asUintN(64, entry), true);
	view.setUint32(32, 64, true);
	view.setUint32(40, named.length > 0 ? sectionsAt : 0, true);
	view.setUint16(52, 64, true);
	view.setUint16(54, 56, true);
	view.setUint16(56, segments.length, true);
	view.setUint16(58, 64, true);
	view.setUint16(60, named.length > 0 ? named.length + 1 : 0, true);
	view.setUint16(62, named.length, true);
	segments.forEach((segment, i) => {
		const header = 64 + i * 56;
		view.setUint32(header, segment.type ?? 1, true);
		view.setUint32(header + 4, segment.flags ?? 5, true);
		view.setUint32(header + 8, offsets[i]!, true);
		view.setBigUint64(header + 16, BigInt.asUintN(64, segment.virtualAddress), true);
		view.setBigUint64(header + 24, BigInt.asUintN(64, segment.physicalAddress), true);
		view.setUint32(header + 32, segment.data.length, true);
		view.setUint32(header + 40, segment.memorySize ?? segment.data.length, true);
	});
	let nameAt = 1;
	named.forEach((section, i) => {
		const header = sectionsAt + (i + 1) * 64;
		view.setUint32(header, nameAt, true);
		nameAt += section.name.length + 1;
		view.setUint32(header + 4, section.type ?? 1, true);
		view.setBigUint64(header + 8, BigInt(section.flags ?? 0), true);
		view.setBigUint64(header + 16, BigInt.asUintN(64, section.address ?? 0n), true);
		view.setUint32(header + 24, offsets[segments.length + i]!, true);
		view.setUint32(header + 32, contents[segments.length + i]!.length, true);
		view.setUint32(header + 40, section.link ?? 0, true);
	});
	contents.forEach((data, i) => {
		bytes.set(data, offsets[i]!);
	});
	return bytes;
}

/** A note: numbers become eight bytes, small ones four where `size` says so. */
export function note(type: number, value: bigint | string | Uint8Array, owner = "Xen"): Uint8Array {
	const data =
		typeof value === "bigint"
			? new Uint8Array(new BigUint64Array([BigInt.asUintN(64, value)]).buffer)
			: typeof value === "string"
				? encoder.encode(`${value}\0`)
				: value;
	const name = encoder.encode(`${owner}\0`);
	const padded = (bytes: Uint8Array) => concat(bytes, new Uint8Array((4 - (bytes.length & 3)) & 3));
	return concat(new Uint8Array(new Uint32Array([name.length, data.length, type]).buffer), padded(name), padded(data));
}

export const VIRT_BASE = 0xffff_ffff_8000_0000n;
export const KERNEL_PHYSICAL = 0x10_0000n;
export const KERNEL_ADDRESS = VIRT_BASE + KERNEL_PHYSICAL;

/** The notes of a Linux-like PV kernel, by number; `changes` replaces or (undefined) drops some. */
export function pvNotes(changes: Readonly<Record<number, bigint | string | undefined>> = {}): Uint8Array {
	const values: Record<number, bigint | string | undefined> = {
		6: "linux",
		7: "2.6",
		5: "xen-3.0",
		3: VIRT_BASE,
		15: 0x80_0000_0000n,
		1: KERNEL_ADDRESS + 0x10n,
		2: KERNEL_ADDRESS + 0x1000n,
		10: "!writable_page_tables|pae_pgdir_above_4gb",
		9: "yes",
		8: "generic",
		14: 1n,
		16: 1n,
		12: 0xffff_8000_0000_0000n,
		4: 0n,
		...changes,
	};
	return concat(
		...Object.entries(values).flatMap(([type, value]) => (value === undefined ? [] : [note(Number(type), value)])),
	);
}

/** A kernel of three pages of text (each byte its page's number plus one) and a bss of two pages. */
export function makeKernel(notes: Uint8Array = pvNotes(), changes: TestElf = {}): Uint8Array {
	const text = new Uint8Array(3 * 4096);
	for (let page = 0; page < 3; page++) text.fill(page + 1, page * 4096, (page + 1) * 4096);
	return makeElf({
		entry: KERNEL_PHYSICAL,
		segments: [
			{ virtualAddress: KERNEL_ADDRESS, physicalAddress: KERNEL_PHYSICAL, data: text, memorySize: 5 * 4096 },
			{ type: 4, virtualAddress: 0n, physicalAddress: 0n, data: notes },
		],
		...changes,
	});
}

export interface TestBzImage {
	readonly version?: string;
	readonly protocol?: number;
	readonly xloadflags?: number;
}

/** A bzImage around a payload; `appendSize` is the unpacked size that Linux's build appends (not for gzip). */
export function makeBzImage(payload: Uint8Array, appendSize?: number, options: TestBzImage = {}): Uint8Array {
	const { version = "6.1.0-test (builder@host) #1", protocol = 0x020f, xloadflags = 1 } = options;
	const full =
		appendSize === undefined ? payload : concat(payload, new Uint8Array(new Uint32Array([appendSize]).buffer));
	const setup = new Uint8Array(3 * 512);
	const view = new DataView(setup.buffer);
	setup[0x1f1] = 2;
	view.setUint16(0x1fe, 0xaa55, true);
	setup.set(encoder.encode("HdrS"), 0x202);
	view.setUint16(0x206, protocol, true);
	view.setUint16(0x20e, 0x400 - 0x200, true);
	setup.set(encoder.encode(version), 0x400);
	setup[0x211] = 1;
	view.setUint16(0x236, xloadflags, true);
	view.setUint32(0x238, 2047, true);
	view.setUint32(0x248, 0x40, true);
	view.setUint32(0x24c, full.length, true);
	return concat(setup, new Uint8Array(0x40), full, new Uint8Array(32));
}
