/**
 * The slow half of the MMU, emitted into the engine's main module: the page-table walk that fills the TLB, accesses that
 * cross a page or touch code, and the flushes.
 *
 *   47 ... 39 38 ... 30 29 ... 21 20 ... 12 11 ... 0      four levels (SDM volume 3, 4.5; AMD APM volume 2, 5.3)
 *     L4        L3        L2        L1       offset
 */

import { type I32, type I64, i32, i64, select } from "../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../wasm/function.ts";
import type { ModuleBuilder } from "../../wasm/module.ts";
import * as layout from "../layout.ts";
import { Access, PageFault, Vector } from "../processor.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { tlbEntry } from "./inline.ts";

const PTE_PRESENT = 0x1;
const PTE_WRITABLE = 0x2;
const PTE_USER = 0x4;
const PTE_ACCESSED = 0x20;
const PTE_DIRTY = 0x40;
const PTE_PAGE_SIZE = 0x80;
const CR0_WP = 0x1_0000;
const CR4_SMEP = 0x10_0000;
const CR4_SMAP = 0x20_0000;
const RFLAGS_AC = 0x4_0000;

const TLB_ENTRY_SHIFT = Math.log2(layout.TLB_ENTRY_SIZE);

const zero = i32.const(0);

export interface MmuFunctions {
	/** (address, access, space) -> linear address of the byte, or 0 with the exception in the context block. */
	readonly fill: FunctionReference;
	/** (address, bytes) -> linear address for reading, possibly CROSSING, or 0. */
	readonly slowRead: FunctionReference;
	/** (address, bytes): stores STORE_BUFFER; 1, or 0 for a fault. */
	readonly slowStore: FunctionReference;
	/** (address, bytes) -> linear address for reading and writing, possibly CROSSING, or 0. */
	readonly slowModify: FunctionReference;
	/** Writes CROSSING back after a modification, or gives it to the handler of diverted stores. */
	readonly commitCrossing: FunctionReference;
	readonly flushHalf: FunctionReference;
	readonly flushSpace: FunctionReference;
	readonly flushPage: FunctionReference;
	/** (mfn): no TLB entry lets the frame be written without the slow path. */
	readonly protectFrame: FunctionReference;
	/** (mfn): no TLB entry maps the frame. */
	readonly forgetFrame: FunctionReference;
}

/** Imports of the slow paths. */
export interface MmuImports {
	/** (mfn): a guest's store is about to change a frame with code. */
	readonly codeWritten: FunctionReference;
	/** (offset in the diverted page, bytes, their linear address) -> 1 where the handler of {@link Processor.runDiverted} has done the store, else 0. */
	readonly divertedStore: FunctionReference;
}

export function emitMmu(
	module: ModuleBuilder,
	{ codeWritten, divertedStore }: MmuImports,
	vendor: VendorBehaviour,
): MmuFunctions {
	const fill = module.function("fill", ["i64", "i32", "i32"], "i32", emitFill);
	const at = (f: FunctionBuilder, address: I64, access: number): I32 =>
		f.callFor("i32", fill, address, i32.const(access), i32.load(i32.const(layout.CURRENT_SPACE)));
	const countMiss = (f: FunctionBuilder): void =>
		f.store64(i32.const(layout.TLB_MISSES), i64.add(i64.load(i32.const(layout.TLB_MISSES)), i64.const(1)));
	/** Splits an access: first part's and second part's linear address, bytes in the first page (all, if it does not cross). */
	const split = (f: FunctionBuilder, address: I64, bytes: I32, access: number) => {
		const first = f.local("i32");
		const second = f.local("i32");
		const count = f.local("i32");
		const refuseIf = (condition: I32): void =>
			f.if(condition, () => {
				emitNotCanonical(f);
				f.return(zero);
			});
		const lastOf = (part: I32): I64 => i64.add(address, i64.extend_i32_u(i32.sub(part, i32.const(1))));
		const beyond4GiB = (part: I32): I32 => i64.ne(i64.shr_u(lastOf(part), i64.const(32)), i64.const(0));
		// An access that leaves the canonical addresses touches no page, nor does in compatibility mode one that leaves the segment's 4 GiB, unless the
		// maker has it go on at 0. Blocks of the x87 (ten bytes, or not a power of two) are accessed in parts, which count each for itself.
		const last = f.let(lastOf(bytes));
		const wide = i32.load8_u(i32.const(layout.STATE), layout.LONG_MODE);
		const lowestBit = i32.and(bytes, i32.sub(zero, bytes));
		const part = select(i32.eq(bytes, i32.const(10)), i32.const(8), lowestBit);
		refuseIf(
			select(
				wide,
				i64.ne(i64.shr_s(i64.shl(last, i64.const(16)), i64.const(16)), last),
				vendor.accessWrapsAt4GiB ? zero : beyond4GiB(part),
			),
		);
		f.set(first, at(f, address, access));
		f.if(i32.eqz(first), () => f.return(zero));
		f.set(count, i32.sub(i32.const(4096), i32.and(i32.wrap(address), i32.const(4095))));
		f.set(second, zero);
		f.if(i32.lt_u(count, bytes), () => {
			if (!vendor.accessWrapsAt4GiB) refuseIf(select(wide, zero, beyond4GiB(bytes)));
			const rest = i64.add(address, i64.extend_i32_u(count));
			const wrapped = select(wide, rest, i64.and(rest, i64.const(0xffff_ffff)));
			f.set(second, at(f, vendor.accessWrapsAt4GiB ? wrapped : rest, access));
			f.if(i32.eqz(second), () => f.return(zero));
		});
		return { first, second, count };
	};
	const writeToCode = (f: FunctionBuilder, linear: I32): void => {
		const frame = f.let(i32.shr_u(i32.sub(linear, i32.const(layout.FRAMES)), i32.const(12)));
		f.if(i32.and(i32.load8_u(frame, layout.FRAME_FLAGS), i32.const(layout.FRAME_HAS_CODE)), () =>
			f.call(codeWritten, frame),
		);
	};

	/** Whether an access lies in the page whose stores are diverted. */
	const isDiverted = (address: I64, bytes: I32): I32 => {
		const last = i64.add(address, i64.extend_i32_u(i32.sub(bytes, i32.const(1))));
		const page = (of: I64): I64 => i64.and(of, i64.const(-4096));
		return i32.and(
			i64.eq(page(address), i64.load(i32.const(layout.DIVERTED_PAGE))),
			i64.eq(page(last), i64.load(i32.const(layout.DIVERTED_PAGE))),
		);
	};
	const offsetInPage = (address: I64): I32 => i32.and(i32.wrap(address), i32.const(4095));

	const slowRead = module.function("slowRead", ["i64", "i32"], "i32", (f) => {
		const address = f.parameter(0, "i64");
		const bytes = f.parameter(1, "i32");
		countMiss(f);
		const { first, second, count } = split(f, address, bytes, Access.read);
		f.if(i32.eqz(second), () => f.return(first));
		f.memoryCopy(i32.const(layout.CROSSING), first, count);
		f.memoryCopy(i32.add(i32.const(layout.CROSSING), count), second, i32.sub(bytes, count));
		f.return(i32.const(layout.CROSSING));
	});

	const slowStore = module.function("slowStore", ["i64", "i32"], "i32", (f) => {
		const address = f.parameter(0, "i64");
		const bytes = f.parameter(1, "i32");
		countMiss(f);
		// What the handler refuses faults like any store.
		f.if(isDiverted(address, bytes), () => {
			const stored = f.callFor("i32", divertedStore, offsetInPage(address), bytes, i32.const(layout.STORE_BUFFER));
			f.if(stored, () => f.return(i32.const(1)));
		});
		const { first, second, count } = split(f, address, bytes, Access.write);
		writeToCode(f, first);
		f.if(
			i32.eqz(second),
			() => f.memoryCopy(first, i32.const(layout.STORE_BUFFER), bytes),
			() => {
				writeToCode(f, second);
				f.memoryCopy(first, i32.const(layout.STORE_BUFFER), count);
				f.memoryCopy(second, i32.add(i32.const(layout.STORE_BUFFER), count), i32.sub(bytes, count));
			},
		);
		f.return(i32.const(1));
	});

	const slowModify = module.function("slowModify", ["i64", "i32"], "i32", (f) => {
		const address = f.parameter(0, "i64");
		const bytes = f.parameter(1, "i32");
		countMiss(f);
		const parts = i32.const(layout.CROSSING_PARTS);
		f.if(isDiverted(address, bytes), () => {
			const linear = f.let(at(f, address, Access.read));
			f.if(i32.eqz(linear), () => f.return(zero));
			f.memoryCopy(i32.const(layout.CROSSING), linear, bytes);
			f.store32(parts, zero);
			f.store32(parts, bytes, 4);
			f.store32(parts, offsetInPage(address), 8);
			f.return(i32.const(layout.CROSSING));
		});
		const { first, second, count } = split(f, address, bytes, Access.write);
		writeToCode(f, first);
		f.if(i32.eqz(second), () => f.return(first));
		writeToCode(f, second);
		f.store32(parts, first);
		f.store32(parts, count, 4);
		f.store32(parts, second, 8);
		f.store32(parts, i32.sub(bytes, count), 12);
		f.memoryCopy(i32.const(layout.CROSSING), first, count);
		f.memoryCopy(i32.add(i32.const(layout.CROSSING), count), second, i32.sub(bytes, count));
		f.return(i32.const(layout.CROSSING));
	});

	const commitCrossing = module.function("commitCrossing", [], undefined, (f) => {
		const parts = i32.const(layout.CROSSING_PARTS);
		const count = f.let(i32.load(parts, 4));
		// No first part: a private copy for the handler, who takes note of what it refuses.
		f.if(i32.eqz(i32.load(parts)), () => {
			f.let(f.callFor("i32", divertedStore, i32.load(parts, 8), count, i32.const(layout.CROSSING)));
			f.return();
		});
		f.memoryCopy(i32.load(parts), i32.const(layout.CROSSING), count);
		f.memoryCopy(i32.load(parts, 8), i32.add(i32.const(layout.CROSSING), count), i32.load(parts, 12));
	});

	/** (space, half): 0 lower addresses, 1 upper. */
	const flushHalf = module.function("flushHalf", ["i32", "i32"], undefined, (f) => {
		const space = f.parameter(0, "i32");
		const half = f.parameter(1, "i32");
		const tlb = f.let(i32.add(i32.const(layout.TLB), i32.mul(space, i32.const(layout.TLB_SIZE))));
		const log = f.let(logOf(space, half));
		const count = f.let(i32.load(log));
		const position = f.local("i32");
		f.set(position, zero);
		f.if(
			i32.gt_u(count, i32.const(layout.TLB_ENTRIES / 4)),
			() => {
				const entry = f.local("i32");
				f.loop((next) => {
					f.set(entry, i32.add(tlb, i32.shl(position, i32.const(5))));
					f.if(i32.eq(i64.lt_s(i64.load(entry, layout.TLB_READ), i64.const(0)), half), () => clearEntry(f, entry));
					f.set(position, i32.add(position, i32.const(1)));
					f.brIf(next, i32.lt_u(position, i32.const(layout.TLB_ENTRIES)));
				});
			},
			() =>
				f.block((done) =>
					f.loop((next) => {
						f.brIf(done, i32.ge_u(position, count));
						const number = i32.load16_u(i32.add(log, i32.shl(position, i32.const(1))), 4);
						const entry = f.let(i32.add(tlb, i32.shl(number, i32.const(5))));
						// The entry may have gone to a page of the other half since.
						f.if(i32.eq(i64.lt_s(i64.load(entry, layout.TLB_READ), i64.const(0)), half), () => clearEntry(f, entry));
						f.set(position, i32.add(position, i32.const(1)));
						f.br(next);
					}),
				),
		);
		f.store32(log, zero);
	});
	const flushSpace = module.function("flushSpace", ["i32"], undefined, (f) => {
		for (const half of [0, 1]) f.call(flushHalf, f.parameter(0, "i32"), i32.const(half));
	});

	const flushPage = module.function("flushPage", ["i64"], undefined, (f) => {
		const address = f.parameter(0, "i64");
		for (let space = 0; space < layout.TLB_CONTEXTS; space++) {
			const entry = f.let(tlbEntry(i32.const(layout.TLB + space * layout.TLB_SIZE), address));
			// Another page in this entry only costs a miss.
			clearEntry(f, entry);
		}
	});

	/** Emits (mfn): `drop` for every entry that maps the frame. */
	const forEntriesOf = (f: FunctionBuilder, drop: (entry: I32) => void): void => {
		const mfn = f.parameter(0, "i32");
		const frame = f.let(i32.add(i32.const(layout.FRAMES), i32.shl(mfn, i32.const(12))));
		const entry = f.local("i32");
		const dropIfOf = (): void => f.if(maps(entry, frame), () => drop(entry));
		const known = namesOf(mfn);
		f.if(
			i32.ne(i32.load16_u(known, layout.FRAME_TLB), i32.const(layout.FRAME_TLB_MANY)),
			() => {
				for (const which of NAMES) {
					const name = f.let(i32.load16_u(known, layout.FRAME_TLB + which));
					f.if(name, () => {
						f.set(entry, entryNamed(name));
						dropIfOf();
					});
				}
			},
			() => {
				f.set(entry, i32.const(layout.TLB));
				f.loop((next) => {
					dropIfOf();
					f.set(entry, i32.add(entry, i32.const(layout.TLB_ENTRY_SIZE)));
					f.brIf(next, i32.lt_u(entry, i32.const(layout.TLB + layout.TLB_CONTEXTS * layout.TLB_SIZE)));
				});
			},
		);
	};
	const protectFrame = module.function("protectFrame", ["i32"], undefined, (f) =>
		forEntriesOf(f, (entry) => f.store64(entry, i64.const(layout.NO_PAGE), layout.TLB_WRITE)),
	);
	const forgetFrame = module.function("forgetFrame", ["i32"], undefined, (f) => {
		forEntriesOf(f, (entry) => clearEntry(f, entry));
		f.store32(namesOf(f.parameter(0, "i32")), zero, layout.FRAME_TLB);
	});

	return {
		fill,
		slowRead,
		slowStore,
		slowModify,
		commitCrossing,
		flushHalf,
		flushSpace,
		flushPage,
		protectFrame,
		forgetFrame,
	};
}

/** Linear address of the log of one half of a TLB context. */
function logOf(space: I32, half: I32): I32 {
	const number = i32.add(i32.shl(space, i32.const(1)), half);
	return i32.add(i32.const(layout.TLB_LOG), i32.mul(number, i32.const(layout.TLB_LOG_SIZE)));
}

// ---- which entries map a frame ----

/** The two names of a frame, as offsets. */
const NAMES = [0, 2] as const;

const namesOf = (mfn: I32): I32 => i32.shl(mfn, i32.const(2));
const entryNamed = (name: I32): I32 =>
	i32.add(i32.shl(name, i32.const(TLB_ENTRY_SHIFT)), i32.const(layout.TLB - layout.TLB_ENTRY_SIZE));
const nameOf = (entry: I32): I32 =>
	i32.shr_u(i32.sub(entry, i32.const(layout.TLB - layout.TLB_ENTRY_SIZE)), i32.const(TLB_ENTRY_SHIFT));

/** Whether an entry maps the frame at a linear address: an empty one's tag is of no page. */
const maps = (entry: I32, frame: I32): I32 =>
	i32.eq(i32.add(i32.load(entry, layout.TLB_READ), i32.load(entry, layout.TLB_ADDEND)), frame);

/** Emits: `entry`, which is about to map `frame`, is one of the entries that do. */
function emitName(f: FunctionBuilder, mfn: I32, frame: I32, entry: I32): void {
	const known = f.let(namesOf(mfn));
	const own = f.let(nameOf(entry));
	const first = f.let(i32.load16_u(known, layout.FRAME_TLB));
	f.block((done) => {
		f.brIf(done, i32.eq(first, own));
		f.brIf(done, i32.eq(first, i32.const(layout.FRAME_TLB_MANY)));
		for (const which of NAMES) {
			const name = which === 0 ? first : f.let(i32.load16_u(known, layout.FRAME_TLB + which));
			if (which !== 0) f.brIf(done, i32.eq(name, own));
			f.block((taken) => {
				f.if(name, () => f.brIf(taken, maps(entryNamed(name), frame)));
				f.store16(known, own, layout.FRAME_TLB + which);
				f.br(done);
			});
		}
		f.store16(known, i32.const(layout.FRAME_TLB_MANY), layout.FRAME_TLB);
	});
}

function clearEntry(f: FunctionBuilder, entry: I32): void {
	for (const tag of [layout.TLB_READ, layout.TLB_WRITE, layout.TLB_EXECUTE]) {
		f.store64(entry, i64.const(layout.NO_PAGE), tag);
	}
}

/** #GP(0); #SS(0) for stack references is told apart by the caller, who knows the segment. */
function emitNotCanonical(f: FunctionBuilder): void {
	const state = i32.const(layout.STATE);
	f.store32(state, i32.const(Vector.generalProtection), layout.VECTOR);
	f.store32(state, zero, layout.ERROR_CODE);
	f.store32(i32.const(layout.NOT_CANONICAL), i32.const(1));
}

function emitFill(f: FunctionBuilder): void {
	const address = f.parameter(0, "i64");
	const access = f.parameter(1, "i32");
	const space = f.parameter(2, "i32");
	const state = i32.const(layout.STATE);
	const entryAddress = f.local("i32");
	const entry = f.local("i64");
	const shift = f.local("i64");
	const frame = f.local("i32");
	/** AND of the writable and user bits of all levels. */
	const rights = f.local("i64");
	const noExecute = f.local("i64");
	const problem = f.local("i32");

	f.if(i64.ne(i64.shr_s(i64.shl(address, i64.const(16)), i64.const(16)), address), () => {
		emitNotCanonical(f);
		f.return(zero);
	});
	const user = f.let(i32.eq(i32.load8_u(state, layout.CPL), i32.const(3)));
	f.set(rights, i64.const(PTE_WRITABLE | PTE_USER));
	f.set(shift, i64.const(39));
	f.set(frame, i32.load(i32.shl(space, i32.const(2)), layout.ROOTS));
	f.block((fault) => {
		f.loop((level) => {
			f.set(
				entryAddress,
				i32.add(frame, i32.shl(i32.and(i32.wrap(i64.shr_u(address, shift)), i32.const(511)), i32.const(3))),
			);
			f.set(entry, i64.load(entryAddress));
			f.set(problem, zero);
			f.brIf(fault, i64.eqz(i64.and(entry, i64.const(PTE_PRESENT))));
			f.set(problem, i32.const(PageFault.present | PageFault.reserved));
			const number = i64.shr_u(i64.and(entry, i64.const(0x000f_ffff_ffff_f000)), i64.const(12));
			f.brIf(fault, i64.ge_u(number, i64.extend_i32_u(i32.load(i32.const(layout.FRAME_COUNT)))));
			// A page-size bit in an L4 entry is reserved.
			f.brIf(
				fault,
				i32.and(
					i64.eq(shift, i64.const(39)),
					i32.wrap(i64.shr_u(i64.and(entry, i64.const(PTE_PAGE_SIZE)), i64.const(7))),
				),
			);
			f.set(rights, i64.and(rights, entry));
			f.set(noExecute, i64.or(noExecute, entry));
			f.set(frame, i32.add(i32.const(layout.FRAMES), i32.shl(i32.wrap(number), i32.const(12))));
			f.block((leaf) => {
				f.brIf(leaf, i64.eq(shift, i64.const(12)));
				f.brIf(leaf, i32.wrap(i64.shr_u(i64.and(entry, i64.const(PTE_PAGE_SIZE)), i64.const(7))));
				f.if(i64.eqz(i64.and(entry, i64.const(PTE_ACCESSED))), () =>
					f.store64(entryAddress, i64.or(entry, i64.const(PTE_ACCESSED))),
				);
				f.set(shift, i64.sub(shift, i64.const(9)));
				f.br(level);
			});
		});

		// Permissions (SDM volume 3, 4.6).
		const isWrite = i32.eq(access, i32.const(Access.write));
		const isExecute = i32.eq(access, i32.const(Access.execute));
		f.set(problem, i32.const(PageFault.present));
		const userPage = f.let(i32.wrap(i64.shr_u(i64.and(rights, i64.const(PTE_USER)), i64.const(2))));
		const writable = f.let(
			i32.or(
				i32.wrap(i64.and(rights, i64.const(PTE_WRITABLE))),
				i32.and(i32.eqz(user), i32.eqz(i32.and(i32.load(state, layout.CR0), i32.const(CR0_WP)))),
			),
		);
		f.brIf(fault, i32.and(user, i32.eqz(userPage)));
		f.brIf(fault, i32.and(isWrite, i32.eqz(writable)));
		f.brIf(fault, i32.and(isExecute, i64.lt_s(noExecute, i64.const(0))));
		f.if(i32.and(i32.eqz(user), userPage), () => {
			const cr4 = i32.load(state, layout.CR4);
			f.brIf(fault, i32.and(isExecute, i32.ne(i32.and(cr4, i32.const(CR4_SMEP)), zero)));
			f.brIf(
				fault,
				i32.and(
					i32.and(i32.eqz(isExecute), i32.ne(i32.and(cr4, i32.const(CR4_SMAP)), zero)),
					i32.eqz(i32.and(i32.load(state, layout.FLAGS_OTHER), i32.const(RFLAGS_AC))),
				),
			);
		});
		const marked = f.let(i64.or(entry, select(isWrite, i64.const(PTE_ACCESSED | PTE_DIRTY), i64.const(PTE_ACCESSED))));
		f.if(i64.ne(marked, entry), () => f.store64(entryAddress, marked));

		// A large page is entered 4 KiB at a time.
		f.if(i64.ne(shift, i64.const(12)), () => {
			const size = i64.shl(i64.const(1), shift);
			const inside = i64.and(address, i64.and(i64.sub(size, i64.const(1)), i64.const(-4096)));
			const base = i64.and(i64.and(entry, i64.const(0x000f_ffff_ffff_f000)), i64.sub(i64.const(0), size));
			f.set(frame, i32.add(i32.const(layout.FRAMES), i32.wrap(i64.or(base, inside))));
			const last = i64.shr_u(i64.or(base, inside), i64.const(12));
			f.set(problem, i32.const(PageFault.present | PageFault.reserved));
			f.brIf(fault, i64.ge_u(last, i64.extend_i32_u(i32.load(i32.const(layout.FRAME_COUNT)))));
		});

		const page = f.let(i64.and(address, i64.const(-4096)));
		const tlb = i32.add(i32.const(layout.TLB), i32.mul(space, i32.const(layout.TLB_SIZE)));
		const slot = f.let(tlbEntry(tlb, address));
		f.if(i64.ne(i64.load(slot, layout.TLB_READ), page), () => {
			f.store64(slot, i64.const(layout.NO_PAGE), layout.TLB_EXECUTE);
			const log = f.let(logOf(space, i64.lt_s(address, i64.const(0))));
			const count = f.let(i32.load(log));
			// Beyond the limit of the flush, the log only counts.
			f.if(i32.lt_u(count, i32.const(layout.TLB_ENTRIES)), () => {
				f.store16(i32.add(log, i32.shl(count, i32.const(1))), i32.shr_u(i32.sub(slot, tlb), i32.const(5)), 4);
				f.store32(log, i32.add(count, i32.const(1)));
			});
		});
		const frameNumber = f.let(i32.shr_u(i32.sub(frame, i32.const(layout.FRAMES)), i32.const(12)));
		emitName(f, frameNumber, frame, slot);
		f.store64(slot, page, layout.TLB_READ);
		f.store64(
			slot,
			select(
				i32.and(
					i32.and(i32.ne(writable, zero), i64.ne(i64.and(marked, i64.const(PTE_DIRTY)), i64.const(0))),
					i32.eqz(i32.and(i32.load8_u(frameNumber, layout.FRAME_FLAGS), i32.const(layout.FRAME_HAS_CODE))),
				),
				page,
				i64.const(layout.NO_PAGE),
			),
			layout.TLB_WRITE,
		);
		const addend = f.let(i32.sub(frame, i32.wrap(page)));
		f.if(i32.ne(i32.load(slot, layout.TLB_ADDEND), addend), () =>
			f.store64(slot, i64.const(layout.NO_PAGE), layout.TLB_EXECUTE),
		);
		f.store32(slot, addend, layout.TLB_ADDEND);
		f.return(i32.add(i32.wrap(address), addend));
	});
	// #PF (SDM volume 3, 4.7).
	f.store64(state, address, layout.CR2);
	f.store32(state, i32.const(Vector.pageFault), layout.VECTOR);
	f.store32(
		state,
		i32.or(
			problem,
			i32.or(
				select(i32.eq(access, i32.const(Access.write)), i32.const(PageFault.write), zero),
				i32.or(
					i32.shl(user, i32.const(2)),
					select(i32.eq(access, i32.const(Access.execute)), i32.const(PageFault.fetch), zero),
				),
			),
		),
		layout.ERROR_CODE,
	);
	f.return(zero);
}
