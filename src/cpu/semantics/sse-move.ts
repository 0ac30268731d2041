/** Moves of SSE: whole registers, scalars, halves, to and from general and MMX registers, masks, non-temporal stores; MXCSR, fences, prefetch. */

import { type I32, i8x16, i32, i32x4, i64, i64x2, type V128, v128 } from "../../wasm/expression.ts";
import * as layout from "../layout.ts";
import { Vector } from "../processor.ts";
import { Mxcsr } from "../simd/format.ts";
import type { Context } from "./context.ts";
import { checkAvailable, checkX87, elements, enterMmx, LOW_64, low64, mmx, sse, vector64, WRITES } from "./simd.ts";
import { instruction, type Operand } from "./table.ts";

// ---- whole registers ----

/** Name, prefix and opcodes of load and store, whether memory must be aligned. */
const WHOLE: readonly [string, string, string, string, boolean][] = [
	["movups", "np", "10", "11", false],
	["movupd", "66", "10", "11", false],
	["movaps", "np", "28", "29", true],
	["movapd", "66", "28", "29", true],
	["movdqa", "66", "6f", "7f", true],
	["movdqu", "f3", "6f", "7f", false],
];
for (const [name, prefix, load, store, aligned] of WHOLE) {
	sse(name, [`${prefix} 0f ${load} Vx,Wx`], WRITES, (c, destination, source) =>
		c.writeVector(destination, c.readVector(source, aligned)),
	);
	sse(name, [`${prefix} 0f ${store} Wx,Vx`], WRITES, (c, destination, source) =>
		c.writeVector(destination, c.readVector(source), aligned),
	);
}
sse("lddqu", ["f2 0f f0 Vx,Mx"], WRITES, (c, destination, source) => c.writeVector(destination, c.readVector(source)));
sse("movntdqa", ["66 0f 38 2a Vx,Mx"], WRITES, (c, destination, source) =>
	c.writeVector(destination, c.readVector(source, true)),
);

/** Non-temporal stores: nothing here has caches to go past. */
for (const encoding of ["np 0f 2b Mx,Vx", "66 0f 2b Mx,Vx", "66 0f e7 Mx,Vx"]) {
	const name = encoding.startsWith("np") ? "movntps" : encoding.includes("2b") ? "movntpd" : "movntdq";
	sse(name, [encoding], WRITES, (c, destination, source) => c.writeVector(destination, c.readVector(source), true));
}
instruction("movnti", ["np 0f c3 My,Gy"], { access: "w r" }, (c, destination, source) =>
	c.write(destination!, c.read(source!)),
);

// ---- scalars: between registers the rest of the destination stays, from memory it is cleared ----

sse("movss", ["f3 0f 10 Vx,Wd"], {}, (c, destination, source) => {
	const value = c.readVector(source);
	const whole = source.memory ? value : i8x16.shuffle(value, c.readVector(destination), elements(4, [0, 5, 6, 7]));
	c.writeVector(destination, whole);
});
sse("movsd", ["f2 0f 10 Vx,Wq"], {}, (c, destination, source) => {
	const value = c.readVector(source);
	const whole = source.memory ? value : i8x16.shuffle(value, c.readVector(destination), elements(8, [0, 3]));
	c.writeVector(destination, whole);
});
sse("movss", ["f3 0f 11 Wd,Vx"], {}, (c, destination, source) => {
	const value = c.readVector(source);
	if (destination.memory) c.writeVector(destination, value);
	else c.writeVector(destination, i8x16.shuffle(value, c.readVector(destination), elements(4, [0, 5, 6, 7])));
});
sse("movsd", ["f2 0f 11 Wq,Vx"], {}, (c, destination, source) => {
	const value = c.readVector(source);
	if (destination.memory) c.writeVector(destination, value);
	else c.writeVector(destination, i8x16.shuffle(value, c.readVector(destination), elements(8, [0, 3])));
});

/** Some makers' processors have set TOP to 0, but not yet the tags, when the store of an MMX register faults. */
function enterBeforeStore(c: Context, destination: Operand): void {
	if (destination.memory && c.vendor.mmxStoreChangesTopFirst) c.setState8(layout.X87_TOP, i32.const(0));
}

sse("movd", ["66 0f 6e Vx,Ey"], WRITES, (c, destination, source) =>
	c.writeVector(destination, vector64(c.read(source))),
);
sse("movd", ["66 0f 7e Ey,Vx"], WRITES, (c, destination, source) => c.write(destination, low64(c.readVector(source))));
mmx("movd", ["np 0f 6e Pq,Ey"], WRITES, (c, destination, source) =>
	c.writeVector(destination, vector64(c.read(source))),
);
mmx("movd", ["np 0f 7e Ey,Pq"], WRITES, (c, destination, source) => {
	const value = low64(c.readVector(source));
	enterBeforeStore(c, destination);
	c.write(destination, value);
});
sse("movq", ["f3 0f 7e Vx,Wq", "66 0f d6 Wq,Vx"], WRITES, (c, destination, source) =>
	c.writeVector(destination, v128.and(c.readVector(source), LOW_64)),
);
mmx("movq", ["np 0f 6f Pq,Qq", "np 0f 7f Qq,Pq"], WRITES, (c, destination, source) => {
	const value = c.readVector(source);
	enterBeforeStore(c, destination);
	c.writeVector(destination, value);
});
mmx("movq2dq", ["f3 0f d6 Vx,Nq"], WRITES, (c, destination, source) =>
	c.writeVector(destination, c.readVector(source)),
);
mmx("movdq2q", ["f2 0f d6 Pq,Ux"], WRITES, (c, destination, source) =>
	c.writeVector(destination, c.readVector(source)),
);
mmx("movntq", ["np 0f e7 Mq,Pq"], WRITES, (c, destination, source) => {
	const value = low64(c.readVector(source));
	enterBeforeStore(c, destination);
	c.write(destination, value);
});

// ---- halves ----

for (const [suffix, prefix] of [
	["ps", "np"],
	["pd", "66"],
] as const) {
	for (const [name, load, store, half] of [
		["movl", "12", "13", 0],
		["movh", "16", "17", 1],
	] as const) {
		sse(`${name}${suffix}`, [`${prefix} 0f ${load} Vx,Mq`], {}, (c, destination, source) => {
			const value = c.read(source);
			c.writeVector(destination, i64x2.replace(c.readVector(destination), half, value));
		});
		sse(`${name}${suffix}`, [`${prefix} 0f ${store} Mq,Vx`], WRITES, (c, destination, source) =>
			c.write(destination, i64x2.extract(c.readVector(source), half)),
		);
	}
}
sse("movhlps", ["np 0f 12 Vx,Ux"], {}, (c, destination, source) =>
	c.writeVector(destination, i8x16.shuffle(c.readVector(destination), c.readVector(source), elements(8, [3, 1]))),
);
sse("movlhps", ["np 0f 16 Vx,Ux"], {}, (c, destination, source) =>
	c.writeVector(destination, i8x16.shuffle(c.readVector(destination), c.readVector(source), elements(8, [0, 2]))),
);

// ---- masks ----

const MASKS: readonly [string, string, (value: V128) => I32][] = [
	["movmskps", "np 0f 50 Gd,Ux", i32x4.bitmask],
	["movmskpd", "66 0f 50 Gd,Ux", i64x2.bitmask],
	["pmovmskb", "66 0f d7 Gd,Ux", i8x16.bitmask],
];
for (const [name, encoding, bitmask] of MASKS) {
	sse(name, [encoding], WRITES, (c, destination, source) =>
		c.write(destination, i64.extend_i32_u(bitmask(c.readVector(source)))),
	);
}
mmx("pmovmskb", ["np 0f d7 Gd,Nq"], WRITES, (c, destination, source) =>
	c.write(destination, i64.extend_i32_u(i8x16.bitmask(c.readVector(source)))),
);

// MASKMOVDQU and MASKMOVQ store the bytes that the mask's sign bits select at DS:rDI. Which of them is checked for writing, and whether the x87
// changes over before, is left open by the manual.
sse("maskmovdqu", ["66 0f f7 Vx,Ux"], { access: "r r", addressSized: true }, (c, source, mask) => {
	const selected = c.f.let(i8x16.shr_s(c.readVector(mask), i32.const(7)));
	const address = c.f.let(c.segmented(c.gpr(7, c.addressSize), "operand"));
	if (c.vendor.maskedStoreUpperHalfFirst) c.checkWrite(64, c.f.let(i64.add(address, i64.const(8))));
	c.checkWrite(128, address);
	c.f.if(v128.any_true(selected), () => {
		const old = c.loadVector(address);
		c.storeVector(address, v128.bitselect(c.readVector(source), old, selected));
	});
});
sse("maskmovq", ["np 0f f7 Pq,Nq"], { access: "r r", addressSized: true }, (c, source, mask) => {
	checkX87(c);
	enterMmx(c);
	const selected = c.f.let(low64(i8x16.shr_s(c.readVector(mask), i32.const(7))));
	const address = c.f.let(c.segmented(c.gpr(7, c.addressSize), "operand"));
	c.checkWrite(64, address);
	c.f.if(i64.ne(selected, i64.const(0)), () => {
		const old = c.load(64, address);
		const changed = i64.and(i64.xor(old, low64(c.readVector(source))), selected);
		c.store(64, address, i64.xor(old, changed));
	});
});

// ---- control ----

instruction("ldmxcsr", ["np 0f ae /2 Md"], { access: "r" }, (c, source) => {
	checkAvailable(c);
	const value = c.f.let(i32.wrap(c.read(source!)));
	c.f.if(i32.and(value, i32.const(~Mxcsr.valid)), () => c.raise(Vector.generalProtection));
	c.setState32(layout.MXCSR, value);
});
instruction("stmxcsr", ["np 0f ae /3 Md"], { access: "w" }, (c, destination) => {
	checkAvailable(c);
	c.write(destination!, i64.extend_i32_u(c.state32(layout.MXCSR)));
});

/** Every access is in program order already. */
const nothing = (): void => {};
instruction("lfence", ["np 0f ae /5 Rd"], { access: "r" }, nothing);
instruction("mfence", ["np 0f ae /6 Rd"], { access: "r" }, nothing);
instruction("sfence", ["np 0f ae /7 Rd"], { access: "r" }, nothing);
/** CLFLUSH is checked as a read of the byte. */
instruction("clflush", ["np 0f ae /7 Mb"], { access: "r" }, (c, line) => {
	c.f.drop(c.read(line!));
});
const PREFETCHES = ["prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2"];
for (const [digit, name] of PREFETCHES.entries()) instruction(name, [`0f 18 /${digit} Mb`], { access: "r" }, nothing);
instruction("prefetch", ["0f 0d /0 Mb"], { access: "r" }, nothing);
instruction("prefetchw", ["0f 0d /1 Mb"], { access: "r" }, nothing);

/** Empties the x87's registers. */
instruction("emms", ["np 0f 77"], {}, (c) => {
	checkAvailable(c);
	checkX87(c);
	c.setState8(layout.X87_TOP, i32.const(0));
	c.setState8(layout.X87_TAGS, i32.const(0));
});
