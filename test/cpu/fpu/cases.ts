/**
 * Random and edge-case x87 states for x87.test.ts, as the records of native.c. Repeatable: everything follows from a seed.
 */
import type { X87Operation } from "../../../src/cpu/fpu/x87.ts";

export const RECORD = 256;
export const AT = {
	prefix: 0,
	opcode: 1,
	modrm: 2,
	control: 4,
	status: 6,
	tags: 8,
	ax: 10,
	flags: 12,
	stack: 16,
	memory: 144,
};
export const MEMORY_SIZE = RECORD - AT.memory;

/** Marsaglia's xorshift32. */
export class Random {
	constructor(private state: number) {}
	u32(): number {
		let x = this.state;
		x ^= x << 13;
		x ^= x >>> 17;
		x ^= x << 5;
		this.state = x;
		return x >>> 0;
	}
	below(limit: number): number {
		return this.u32() % limit;
	}
	chance(oneIn: number): boolean {
		return this.below(oneIn) === 0;
	}
	pick<T>(values: readonly T[]): T {
		return values[this.below(values.length)] as T;
	}
}

/** Exponents where the narrower formats and the integers begin and end. */
const EXPONENTS = [
	0x3fff,
	0x3fff,
	0x3ffe,
	0x4000,
	0x3fff - 1022,
	0x3fff - 1023,
	0x3fff - 1074,
	0x3fff - 126,
	0x3fff - 127,
	0x3fff - 149,
	0x3fff + 127,
	0x3fff + 128,
	0x3fff + 1023,
	0x3fff + 1024,
	0x3fff + 15,
	0x3fff + 31,
	0x3fff + 62,
	0x3fff + 63,
	0x3fff + 59,
	1,
	2,
	64,
	0x7ffe,
	0x7ffd,
	0x3fff - 64,
	0x3fff + 64,
];

const SIGNIFICANDS: readonly (readonly [number, number])[] = [
	[0x8000_0000, 0],
	[0xffff_ffff, 0xffff_ffff],
	[0x8000_0000, 1],
	[0xc000_0000, 0],
	[0xffff_ff80, 0],
	[0xffff_ff00, 0],
	[0xffff_ffff, 0xffff_fc00],
	[0xffff_ffff, 0xffff_f800],
	[0x8000_0080, 0],
	[0x8000_0000, 0x400],
	[0xa000_0000, 0],
];

/** Writes a value of ten bytes: mostly ordinary, often at an edge, sometimes not a number. */
function putExtended(random: Random, view: DataView, at: number): void {
	let exponent = 0x3fff + random.below(17) - 8;
	let high = (random.u32() | 0x8000_0000) >>> 0;
	let low = random.u32();
	switch (random.below(14)) {
		case 0:
			exponent = random.u32() & 0x7fff;
			break;
		case 1:
		case 2:
			exponent = random.pick(EXPONENTS);
			break;
		case 3:
		case 4:
			exponent = random.pick(EXPONENTS);
			[high, low] = random.pick(SIGNIFICANDS) as [number, number];
			break;
		case 5:
			low = 0;
			high = (high & 0xfff0_0000) >>> 0;
			exponent = 0x3fff + random.below(40) - 8;
			break;
		case 6:
			exponent = 0x3fff + random.below(70);
			break;
		case 7:
			exponent = 0;
			high = random.pick([0, 0, 0, high, high >>> 1, high >>> random.below(32)]);
			low = random.pick([0, 0, low]);
			break;
		case 8:
			// Infinities, NaNs, pseudo-NaNs.
			exponent = 0x7fff;
			high = random.pick([0x8000_0000, 0x8000_0000, 0xc000_0000, high, high, high & 0x7fff_ffff]);
			low = random.pick([0, 0, 1, low]);
			break;
		case 9:
			if (random.chance(3)) {
				high &= 0x7fff_ffff;
			}
			break;
		case 10:
			// Ties and near ties of the shorter precisions.
			low = random.pick([0x400, 0x401, 0x3ff, 0xc00, 0]);
			high = random.pick([high, ((high & 0xffff_ff00) | 0x80) >>> 0, ((high & 0xffff_ff00) | 0x7f) >>> 0]);
			break;
		default:
			break;
	}
	view.setUint32(at, low, true);
	view.setUint32(at + 4, high, true);
	view.setUint16(at + 8, exponent | (random.u32() & 0x8000), true);
}

function putFloat32(random: Random, view: DataView, at: number): void {
	const exponent = random.pick([0, 1, 126, 127, 128, 150, 254, 255, random.below(256)]);
	const fraction = random.pick([0, 1, 0x40_0000, 0x7f_ffff, random.u32() & 0x7f_ffff, random.u32() & 0x7f_ffff]);
	view.setUint32(at, (random.u32() & 0x8000_0000) | (exponent << 23) | fraction, true);
}

function putFloat64(random: Random, view: DataView, at: number): void {
	const exponent = random.pick([0, 1, 1022, 1023, 1024, 1075, 2046, 2047, random.below(2048)]);
	const high = random.pick([0, 0x8_0000, 0xf_ffff, random.u32() & 0xf_ffff, random.u32() & 0xf_ffff]);
	view.setUint32(at, random.pick([0, 1, 0xffff_ffff, random.u32(), random.u32()]), true);
	view.setUint32(at + 4, (random.u32() & 0x8000_0000) | (exponent << 20) | high, true);
}

function putDecimal(random: Random, view: DataView, at: number): void {
	const digits = random.below(19);
	for (let i = 0; i < 9; i++) {
		const low = i * 2 < digits ? random.below(10) : 0;
		const high = i * 2 + 1 < digits ? random.below(10) : 0;
		view.setUint8(at + i, low | (high << 4));
	}
	view.setUint8(at + 9, random.pick([0, 0x80]));
}

function putOperand(random: Random, operation: X87Operation, view: DataView, at: number): void {
	for (let i = 0; i < MEMORY_SIZE; i += 4) {
		view.setUint32(at + i, random.u32(), true);
	}
	switch (operation.operand) {
		case "m32fp":
			putFloat32(random, view, at);
			break;
		case "m64fp":
			putFloat64(random, view, at);
			break;
		case "m80fp":
			putExtended(random, view, at);
			break;
		case "m80bcd":
			putDecimal(random, view, at);
			break;
		case "m16int":
			view.setUint16(
				at,
				random.pick([0, 1, 0x8000, 0xffff, 0x7fff, random.u32() & 0xffff, random.u32() & 0xffff]),
				true,
			);
			break;
		case "m32int":
			view.setUint32(at, random.pick([0, 1, 0x8000_0000, 0xffff_ffff, random.u32(), random.u32()]), true);
			break;
		case "m64int":
			view.setInt32(at + 4, random.pick([0, -1, 0x8000_0000, random.u32(), (random.u32() << 8) >> 20]), true);
			break;
		default:
			break;
	}
}

/** Status flags without TOP, ES and B: set before, they must survive. */
const STICKY_STATUS = 0x477f;

/** Fills one record with a state in which `operation` may be executed. */
export function putCase(random: Random, operation: X87Operation, modrm: number, view: DataView, at: number): void {
	view.setUint8(at + AT.prefix, operation.encoding.startsWith("66") ? 1 : 0);
	view.setUint8(at + AT.opcode, operation.opcode);
	view.setUint8(at + AT.modrm, modrm);
	const unmasked = random.chance(3);
	const masks = unmasked ? random.pick([0, 0x3f & random.u32(), 0x3f ^ (1 << random.below(6))]) : 0x3f;
	const precision = random.pick([0x300, 0x300, 0x200, 0]);
	const control = masks | 0x40 | precision | (random.below(4) << 10) | (random.chance(8) ? 0x1000 : 0);
	view.setUint16(at + AT.control, control, true);
	// A pending unmasked exception would stop a waiting instruction: tested apart.
	const status = random.u32() & STICKY_STATUS & ~(~masks & 0x3f);
	const top = random.below(8);
	view.setUint16(at + AT.status, status | (top << 11), true);
	let tags = random.pick([0xff, random.u32() & 0xff]);
	const pushes = /^F(LD|ILD|BLD|PTAN|SINCOS|XTRACT)/.test(operation.name);
	if (!random.chance(8)) {
		// The instruction's operands are there and, where it pushes, room is.
		tags |= 1 << top;
		tags |= 1 << ((top + 1) & 7);
		tags |= 1 << ((top + (modrm & 7)) & 7);
		if (pushes) {
			tags &= ~(1 << ((top + 7) & 7));
		}
	}
	view.setUint8(at + AT.tags, tags);
	view.setUint16(at + AT.ax, 0, true);
	view.setUint32(at + AT.flags, random.u32() & 0x8d5, true);
	for (let i = 0; i < 8; i++) {
		putExtended(random, view, at + AT.stack + i * 16);
	}
	if (random.chance(8)) {
		// The same value twice, perhaps with the other sign: exact zeros, equal operands, equal NaNs.
		const bytes = new Uint8Array(view.buffer, view.byteOffset);
		const from = at + AT.stack;
		for (let i = 1; i < 8; i++) {
			bytes.copyWithin(from + i * 16, from, from + 10);
			view.setUint8(from + i * 16 + 9, view.getUint8(from + 9) ^ (random.u32() & 0x80));
		}
	}
	putOperand(random, operation, view, at + AT.memory);
	if (operation.operand === "m2byte" && operation.access === "r") {
		view.setUint16(at + AT.memory, random.u32() & 0xffff, true);
	}
}
