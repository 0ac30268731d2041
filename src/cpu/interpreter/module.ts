/**
 * Emits the engine's main WebAssembly module: the MMU's slow paths, the interpreter loop with the most frequent variants as cases of its switch,
 * and the single-step loop. Every other variant is a function of its own in table 0, by kind; modules of variants are emitted here as well.
 */

import type { ValueType } from "../../wasm/encoding.ts";
import { type I32, type I64, i32, i64, select } from "../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference, Label } from "../../wasm/function.ts";
import { ModuleBuilder } from "../../wasm/module.ts";
import { type ExitEmitter, ExitOutcome } from "../exits.ts";
import * as layout from "../layout.ts";
import { tlbEntry } from "../mmu/inline.ts";
import { emitMmu, type MmuFunctions } from "../mmu/walk.ts";
import { Access, Exit } from "../processor.ts";
import { Gpr } from "../registers.ts";
import type { Service } from "../semantics/context.ts";
import { emitMaterialise } from "../translator/lazy-flags.ts";
import type { VendorBehaviour } from "../vendor.ts";
import { InterpreterContext, operandsOf, type ServiceFunctions } from "./context.ts";
import * as record from "./record.ts";
import { emitTimeStamp } from "./time-stamp.ts";

/** What a variant's function returns. */
const Outcome = { next: 0, jump: 1, fault: 2, exit: 3 } as const;

/**
 * What a region's function returns (translator/emit.ts). From `variant` on: the outcome of a variant that it called, added. Negative: {@link redoAt}.
 */
export const RegionOutcome = { jump: 0, redo: 1, variant: 8 } as const;

/** Bits of the offset and of the count in {@link redoAt}'s outcome. */
const REDO_OFFSET_BITS = 25;
const REDO_DONE_BITS = 6;

/**
 * The outcome of a region that ends before the instruction at an offset from its entry's page, `done` instructions behind what FUEL_LEFT knows of;
 * undefined where it does not fit.
 */
export function redoAt(offset: number, done: number): number | undefined {
	const half = 2 ** (REDO_OFFSET_BITS - 1);
	if (offset < -half || offset >= half || done >= 2 ** REDO_DONE_BITS) return undefined;
	return ((2 ** 31) | (done << REDO_OFFSET_BITS) | (offset & (2 ** REDO_OFFSET_BITS - 1))) >> 0;
}

/** The fast loop leaves this many instructions to the exact single-step loop; no block is longer. */
export const MARGIN = 96;

const SERVICES: readonly Service[] = ["cpuid", "x87", "random", "rare", "simd"];

/** Exported by the main module to the modules of variants. */
const SHARED = ["slowRead", "slowStore", "slowModify", "commitCrossing"] as const;

const zero = i32.const(0);

function importServices(module: ModuleBuilder): ServiceFunctions {
	const services: Partial<Record<Service, FunctionReference>> = {};
	for (const name of SERVICES) services[name] = module.import("service", name, ["i32", "i32"], "i32");
	return services as ServiceFunctions;
}

/** Emits a variant's code at the builder's place; `ending` says how it leaves. */
function emitFunctionBody(
	f: FunctionBuilder,
	variant: record.Variant,
	mmu: MmuFunctions,
	services: ServiceFunctions,
	vendor: VendorBehaviour,
): void {
	const ip = f.parameter(0, "i32");
	const tlb = f.let(i32.load(i32.const(layout.CURRENT_TLB)));
	const leave = (outcome: number) => (): void => f.return(i32.const(outcome));
	const ending = {
		fault: leave(Outcome.fault),
		jump: leave(Outcome.jump),
		again: leave(Outcome.jump),
		exit: leave(Outcome.exit),
		branch: leave(Outcome.jump),
	};
	const context = new InterpreterContext(f, variant, ip, tlb, mmu, services, ending, vendor);
	variant.form.semantics(context, ...operandsOf(variant));
	f.return(i32.const(Outcome.next));
}

/** A module with the functions of some variants, exported as "0", "1", ... */
export function emitVariants(
	variants: readonly record.Variant[],
	memoryPages: number,
	vendor: VendorBehaviour,
): Uint8Array<ArrayBuffer> {
	const module = new ModuleBuilder();
	module.importMemory("engine", "memory", memoryPages, memoryPages);
	const services = importServices(module);
	const imported = (name: string, parameters: readonly ValueType[], result: ValueType | undefined) =>
		module.import("engine", name, parameters, result);
	const slow = Object.fromEntries(
		SHARED.map((name) => [
			name,
			name === "commitCrossing" ? imported(name, [], undefined) : imported(name, ["i64", "i32"], "i32"),
		]),
	) as unknown as MmuFunctions;
	for (const [index, variant] of variants.entries()) {
		const reference = module.function(variant.form.name, ["i32"], "i32", (f) =>
			emitFunctionBody(f, variant, slow, services, vendor),
		);
		module.export(String(index), reference);
	}
	return module.finish();
}

/** Emits (): points the fast paths at the running address space and its mode, as the context block has them. */
function emitEnter(module: ModuleBuilder, mmu: MmuFunctions): FunctionReference {
	return module.function("enter", [], undefined, (f) => {
		const space = f.let(i32.load8_u(zero, layout.STATE + layout.ADDRESS_SPACE));
		const mode = f.let(i32.load8_u(zero, layout.STATE + layout.LONG_MODE));
		f.store32(zero, space, layout.CURRENT_SPACE);
		f.store32(zero, i32.add(i32.const(layout.TLB), i32.mul(space, i32.const(layout.TLB_SIZE))), layout.CURRENT_TLB);
		// Execute entries point at decoded code of one mode.
		f.if(i32.ne(i32.load8_u(space, layout.SPACE_MODES), mode), () => {
			f.call(mmu.flushSpace, space);
			f.store8(space, mode, layout.SPACE_MODES);
		});
	});
}

/** Emits (fuel left) -> 1 where the exit is dealt with and the run goes on. RUN_LEFT is the fuel that is left then. */
function emitHandleExit(
	module: ModuleBuilder,
	by: {
		readonly timeStamp: FunctionReference;
		readonly enter: FunctionReference;
		readonly exits: FunctionReference | undefined;
	},
): FunctionReference {
	return module.function("handleExit", ["i32"], "i32", (f) => {
		const left = f.parameter(0, "i32");
		const reason = f.let(i32.load(zero, layout.EXIT_REASON));
		f.store32(zero, left, layout.RUN_LEFT);
		f.if(i32.eq(reason, i32.const(Exit.timeStamp)), () => {
			const ticks = f.let(f.callFor("i64", by.timeStamp, left));
			const state = i32.const(layout.STATE);
			f.store64(state, i64.and(ticks, i64.const(0xffff_ffff)), Gpr.rax * 8);
			f.store64(state, i64.shr_u(ticks, i64.const(32)), Gpr.rdx * 8);
			f.return(i32.const(1));
		});
		if (by.exits !== undefined) {
			const outcome = f.let(f.callFor("i32", by.exits, reason, left));
			f.if(outcome, () => {
				f.store32(zero, i32.sub(left, i32.const(1)), layout.RUN_LEFT);
				f.store32(zero, i32.add(i32.load(zero, layout.EXITS_HANDLED), i32.const(1)), layout.EXITS_HANDLED);
				f.call(by.enter);
				f.if(i32.eq(outcome, i32.const(ExitOutcome.done)), () => f.return(i32.const(1)));
				f.store32(zero, i32.const(Exit.handled), layout.EXIT_REASON);
			});
		}
		f.return(zero);
	});
}

/**
 * The main module.
 * @param hot variants that are cases of the loop's switch; variant i has kind KIND_FIRST + i.
 * @param hotCount a block that branches have led to so often is reported, to be translated; 0 for no translation.
 * @param emitExits the environment's own code for exits, where it has some.
 */
export function emitMain(
	hot: readonly record.Variant[],
	memoryPages: number,
	hotCount: number,
	vendor: VendorBehaviour,
	emitExits?: ExitEmitter,
): Uint8Array<ArrayBuffer> {
	const translating = hotCount > 0;
	const module = new ModuleBuilder();
	module.importMemory("engine", "memory", memoryPages, memoryPages);
	module.importTable("engine", "table", 0);
	const services = importServices(module);
	const codeWritten = module.import("engine", "codeWritten", ["i32"], undefined);
	/** () -> record of the instruction at RIP, decoding it; 0 for a fetch fault (the exception is in the context block). */
	const decode = module.import("engine", "decode", [], "i32");
	/** (record): branches have led to the record at RIP often enough. */
	const becameHot = module.import("engine", "becameHot", ["i32"], undefined);
	/** (record of kind CROSSING) -> 1 where the next page still has the expected frame. */
	const crossingValid = module.import("engine", "crossingValid", ["i32"], "i32");
	/** () -> time stamp in ticks, a whole number; RUN_LEFT tells the moment. Sets TSC_WINDOW. */
	const readTsc = module.import("engine", "readTsc", [], "f64");
	const divertedStore = module.import("engine", "divertedStore", ["i32", "i32", "i32"], "i32");
	const mmu = emitMmu(module, { codeWritten, divertedStore }, vendor);
	const enter = emitEnter(module, mmu);
	const timeStamp = emitTimeStamp(module, readTsc);
	const handleExit = emitHandleExit(module, {
		timeStamp,
		enter,
		exits: emitExits?.(module, { fill: mmu.fill, codeWritten }),
	});
	const variantType = module.typeIndex(["i32"], "i32");
	const { materialise, settleFlags } = emitMaterialise(module);

	/** Record of the instruction at `rip` by its frame's code index, or 0. */
	const decodedAt = (codeIndex: I32, rip: I64): I32 =>
		i32.load(i32.add(codeIndex, i32.shl(i32.and(i32.wrap(rip), i32.const(4095)), i32.const(2))));

	/** () -> record at RIP, or 0. Also sets SLOT_PAGE. */
	const lookup = module.function("lookup", [], "i32", (f) => {
		const rip = f.let(i64.load(i32.const(layout.STATE), layout.RIP));
		const page = f.let(i64.and(rip, i64.const(-4096)));
		const entry = f.let(tlbEntry(i32.load(i32.const(layout.CURRENT_TLB)), rip));
		f.store64(i32.const(layout.STATE), page, layout.SLOT_PAGE * 8);
		f.if(i64.eq(i64.load(entry, layout.TLB_EXECUTE), page), () => {
			const found = f.let(decodedAt(i32.load(entry, layout.TLB_CODE), rip));
			f.if(found, () => f.return(found));
		});
		// In 64-bit mode the frame's code index is in a table; decoding and compatibility mode are TypeScript's.
		f.if(i32.load8_u(i32.const(layout.STATE), layout.LONG_MODE), () => {
			const linear = f.let(
				f.callFor("i32", mmu.fill, rip, i32.const(Access.execute), i32.load(i32.const(layout.CURRENT_SPACE))),
			);
			f.if(i32.eqz(linear), () => f.return(zero));
			const frame = i32.shr_u(i32.sub(linear, i32.const(layout.FRAMES)), i32.const(12));
			const index = f.let(i32.load(i32.shl(frame, i32.const(2)), layout.FRAME_CODE));
			f.if(index, () => {
				f.store64(entry, page, layout.TLB_EXECUTE);
				f.store32(entry, index, layout.TLB_CODE);
				const found = f.let(decodedAt(index, rip));
				f.if(found, () => f.return(found));
			});
		});
		f.return(f.callFor("i32", decode));
	});

	/** (record): the branch has been taken to RIP; remembers the target's record where it is on the same page and decoded. */
	const linkTarget = module.function("linkTarget", ["i32"], undefined, (f) => {
		const branch = f.parameter(0, "i32");
		const rip = f.let(i64.load(i32.const(layout.STATE), layout.RIP));
		const page = i64.load(i32.const(layout.STATE), layout.SLOT_PAGE * 8);
		f.if(i64.ne(i64.and(rip, i64.const(-4096)), page), () => f.return());
		// A record whose instruction began in the page before must not be linked: its page is another.
		f.if(i32.ge_u(i32.load16_u(branch, record.NEXT), i32.const(4096)), () => f.return());
		// Not decoded yet: the link is made the next time.
		const entry = f.let(tlbEntry(i32.load(i32.const(layout.CURRENT_TLB)), rip));
		f.if(i64.ne(i64.load(entry, layout.TLB_EXECUTE), page), () => f.return());
		f.store32(branch, decodedAt(i32.load(entry, layout.TLB_CODE), rip), record.LINK);
	});

	/** (record): the instruction at this record is to be decoded anew. */
	const forget = module.function("forget", ["i32"], undefined, (f) => {
		const rip = f.let(i64.load(i32.const(layout.STATE), layout.RIP));
		const entry = f.let(tlbEntry(i32.load(i32.const(layout.CURRENT_TLB)), rip));
		f.if(i64.eq(i64.load(entry, layout.TLB_EXECUTE), i64.and(rip, i64.const(-4096))), () => {
			const offset = i32.shl(i32.and(i32.wrap(rip), i32.const(4095)), i32.const(2));
			f.store32(i32.add(i32.load(entry, layout.TLB_CODE), offset), zero);
		});
	});

	/** The kind of a record's instruction, also where a region begins at it. */
	const originalKind = (f: FunctionBuilder, ip: I32): I32 => {
		const kind = f.let(i32.load16_u(ip, record.KIND));
		return select(i32.ge_u(kind, i32.const(record.KIND_REGION)), i32.load16_u(ip, record.ORIGINAL), kind);
	};

	/** Sets RIP to the record's own address. */
	const setRip = (f: FunctionBuilder, ip: I32): void =>
		f.store64(
			i32.const(layout.STATE),
			i64.add(i64.load(i32.const(layout.STATE), layout.SLOT_PAGE * 8), i64.load16_u(ip, record.OFFSET)),
			layout.RIP,
		);
	/** Sets RIP to what a field of the record says, which may be the end of the page: EIP wraps there. */
	const setRipBeyond = (f: FunctionBuilder, ip: I32, field: typeof record.OFFSET | typeof record.NEXT): void => {
		const state = i32.const(layout.STATE);
		const address = f.let(i64.add(i64.load(state, layout.SLOT_PAGE * 8), i64.load16_u(ip, field)));
		const wide = i32.load8_u(state, layout.LONG_MODE);
		f.store64(state, select(wide, address, i64.extend_i32_u(i32.wrap(address))), layout.RIP);
	};
	/** The vector of an undefined or too long instruction is the record's immediate. */
	const setUndefined = (f: FunctionBuilder, ip: I32): void => {
		f.store32(i32.const(layout.STATE), i32.load(ip, record.IMMEDIATE), layout.VECTOR);
		f.store32(i32.const(layout.STATE), zero, layout.ERROR_CODE);
	};
	const setExit = (f: FunctionBuilder, reason: number): void =>
		f.store32(i32.const(layout.EXIT_REASON), i32.const(reason));
	const callVariant = (f: FunctionBuilder, ip: I32, kind: I32): I32 => f.callIndirect("i32", variantType, kind, ip);

	/** (record) -> outcome of its variant, run alone. */
	const callVariantOf = module.function("callVariant", ["i32"], "i32", (f) => {
		const ip = f.parameter(0, "i32");
		const kind = f.let(originalKind(f, ip));
		f.return(callVariant(f, ip, kind));
	});
	const count = (f: FunctionBuilder, ip: I32): void => {
		const counted = f.let(i32.add(i32.load16_u(ip, record.COUNT), i32.const(1)));
		// It stays at its highest value.
		f.store16(ip, i32.sub(counted, i32.shr_u(counted, i32.const(16))), record.COUNT);
		f.if(i32.eq(counted, i32.const(hotCount)), () => f.call(becameHot, ip));
	};

	// step(): one instruction. Returns 1 when the run may go on, 0 when EXIT_REASON says why not.
	const stepOne = module.function("step", [], "i32", (f) => {
		const ip = f.local("i32");
		const kind = f.local("i32");
		const outcome = f.local("i32");
		const faulted = (): void => {
			setExit(f, Exit.exception);
			f.return(zero);
		};
		f.loop((again) => {
			f.set(ip, f.callFor("i32", lookup));
			f.if(i32.eqz(ip), faulted);
			f.set(kind, originalKind(f, ip));
			f.if(i32.eq(kind, i32.const(record.KIND_LOOKUP)), () => {
				setRipBeyond(f, ip, record.OFFSET);
				f.br(again);
			});
			f.if(i32.eq(kind, i32.const(record.KIND_CROSSING)), () => {
				f.if(i32.eqz(f.callFor("i32", crossingValid, ip)), () => {
					f.call(forget, ip);
					f.br(again);
				});
				f.set(ip, i32.add(ip, i32.const(record.RECORD_SIZE)));
				f.set(kind, originalKind(f, ip));
			});
			f.if(i32.eq(kind, i32.const(record.KIND_UNDEFINED)), () => {
				setRip(f, ip);
				setUndefined(f, ip);
				faulted();
			});
			f.set(outcome, callVariant(f, ip, kind));
			f.if(i32.eqz(outcome), () => {
				setRipBeyond(f, ip, record.NEXT);
				f.return(i32.const(1));
			});
			f.if(i32.eq(outcome, i32.const(Outcome.fault)), () => {
				setRip(f, ip);
				faulted();
			});
			f.return(i32.eq(outcome, i32.const(Outcome.jump)));
		});
	});

	/**
	 * (fuel) -> RegionOutcome: executes regions from RIP on, as long as one begins where the last has led to; `jump` where none does.
	 * Small, so that V8 keeps all of it in registers: a system call is some fifty regions long.
	 */
	const regions = module.function("regions", ["i32"], "i32", (f) => {
		const fuel = f.parameter(0, "i32");
		const left = f.local("i32");
		const outcome = f.local("i32");
		const entries = f.local("i32");
		const tlb = f.let(i32.load(i32.const(layout.CURRENT_TLB)));
		const add = (counter: number, value: I32): void =>
			f.store64(zero, i64.add(i64.load(zero, counter), i64.extend_i32_u(value)), counter);
		f.set(left, fuel);
		f.block((done) =>
			f.loop((next) => {
				const rip = f.let(i64.load(i32.const(layout.STATE), layout.RIP));
				const page = f.let(i64.and(rip, i64.const(-4096)));
				const entry = f.let(tlbEntry(tlb, rip));
				f.brIf(done, i64.ne(i64.load(entry, layout.TLB_EXECUTE), page));
				const at = f.let(decodedAt(i32.load(entry, layout.TLB_CODE), rip));
				f.brIf(done, i32.eqz(at));
				const kind = f.let(i32.load16_u(at, record.KIND));
				f.brIf(done, i32.lt_u(kind, i32.const(record.KIND_REGION)));
				f.brIf(done, i32.lt_s(left, i32.const(MARGIN)));
				f.store64(i32.const(layout.STATE), page, layout.SLOT_PAGE * 8);
				f.set(outcome, f.callIndirect("i32", variantType, kind, left));
				f.set(left, i32.load(i32.const(layout.FUEL_LEFT)));
				f.set(entries, i32.add(entries, i32.const(1)));
				f.brIf(next, i32.eqz(outcome));
				f.if(i32.lt_s(outcome, zero), () => {
					const unused = 32 - REDO_OFFSET_BITS;
					const offset = i32.shr_s(i32.shl(outcome, i32.const(unused)), i32.const(unused));
					const at = f.let(i64.add(page, i64.extend_i32_s(offset)));
					const wide = i32.load8_u(i32.const(layout.STATE), layout.LONG_MODE);
					f.store64(i32.const(layout.STATE), select(wide, at, i64.extend_i32_u(i32.wrap(at))), layout.RIP);
					const done = i32.and(i32.shr_u(outcome, i32.const(REDO_OFFSET_BITS)), i32.const(2 ** REDO_DONE_BITS - 1));
					f.set(left, i32.sub(left, done));
					f.set(outcome, i32.const(RegionOutcome.redo));
				});
			}),
		);
		f.if(i32.load(i32.const(layout.FLAG_KIND)), () => f.call(settleFlags));
		f.store32(i32.const(layout.FUEL_LEFT), left);
		add(layout.REGION_INSTRUCTIONS, i32.sub(fuel, left));
		add(layout.REGION_ENTRIES, entries);
		f.if(i32.eq(outcome, i32.const(RegionOutcome.redo)), () => add(layout.REGION_REDOS, i32.const(1)));
		f.if(i32.eq(outcome, i32.const(RegionOutcome.jump)), () => add(layout.REGION_MISSES, i32.const(1)));
		f.return(outcome);
	});

	// run(fuel) -> instructions left. EXIT_REASON says why; with Exit.fuel fewer than MARGIN are left.
	const run = module.function("run", ["i32"], "i32", (f) => {
		const left = f.parameter(0, "i32");
		const ip = f.local("i32");
		const start = f.local("i32");
		const outcome = f.local("i32");
		const tlb = f.local("i32");
		f.set(tlb, i32.load(i32.const(layout.CURRENT_TLB)));
		const done = (): I32 => i32.shr_u(i32.sub(ip, start), i32.const(record.RECORD_SHIFT));
		const book = (extra: number): void => f.set(left, i32.sub(i32.sub(left, done()), i32.const(extra)));
		f.loop((dispatch) => {
			/** An exit, EXIT_REASON says which: it is dealt with here, or returned. */
			const leave = (): void => {
				const goesOn = f.let(f.callFor("i32", handleExit, left));
				f.set(left, i32.load(zero, layout.RUN_LEFT));
				f.if(goesOn, () => {
					f.set(tlb, i32.load(i32.const(layout.CURRENT_TLB)));
					f.br(dispatch);
				});
				f.return(left);
			};
			f.if(i32.lt_s(left, i32.const(MARGIN)), () => {
				setExit(f, Exit.fuel);
				f.return(left);
			});
			f.scratch(() => {
				// The fast path of `lookup`, without the call.
				const rip = f.let(i64.load(i32.const(layout.STATE), layout.RIP));
				const page = f.let(i64.and(rip, i64.const(-4096)));
				const entry = f.let(tlbEntry(tlb, rip));
				f.store64(i32.const(layout.STATE), page, layout.SLOT_PAGE * 8);
				f.set(ip, zero);
				f.if(i64.eq(i64.load(entry, layout.TLB_EXECUTE), page), () =>
					f.set(ip, decodedAt(i32.load(entry, layout.TLB_CODE), rip)),
				);
			});
			f.if(i32.eqz(ip), () => {
				f.set(ip, f.callFor("i32", lookup));
				f.if(i32.eqz(ip), () => {
					setExit(f, Exit.exception);
					leave();
				});
			});
			f.set(start, ip);
			if (translating) count(f, ip);
			f.block((fault) => {
				f.loop((next) => {
					const step = (): void => {
						f.set(ip, i32.add(ip, i32.const(record.RECORD_SIZE)));
						f.br(next);
					};
					/**
					 * A region that has the instruction expects it to lead to the same place (translator/region.ts). An instruction that has overwritten itself is a
					 * look-up by now, whose link is a record.
					 */
					const noteTarget = (): void => {
						if (!translating) return;
						f.if(i32.ge_u(i32.load16_u(ip, record.KIND), i32.const(record.KIND_FIRST)), () =>
							f.store32(ip, i32.load(i32.const(layout.STATE), layout.RIP), record.LINK),
						);
					};
					const jump = (): void => {
						noteTarget();
						book(1);
						f.br(dispatch);
					};
					const exit = (): void => {
						book(1);
						leave();
					};
					/** A relative branch: by its link where it has one. */
					const branch = (): void => {
						const link = f.let(i32.load(ip, record.LINK));
						f.if(
							link,
							() => {
								book(1);
								f.set(ip, link);
								f.set(start, link);
								if (translating) count(f, ip);
								f.brIf(next, i32.ge_s(left, i32.const(MARGIN)));
								setExit(f, Exit.fuel);
								f.return(left);
							},
							() => {
								book(1);
								f.call(linkTarget, ip);
								f.br(dispatch);
							},
						);
					};
					/** A region begins here: goes through all the regions that follow one another. */
					const region = (again: Label): void =>
						f.if(i32.ge_u(i32.load16_u(ip, record.KIND), i32.const(record.KIND_REGION)), () => {
							book(0);
							setRip(f, ip);
							f.set(outcome, f.callFor("i32", regions, left));
							f.set(left, i32.load(i32.const(layout.FUEL_LEFT)));
							f.brIf(again, i32.eqz(outcome));
							f.if(i32.eq(outcome, i32.const(RegionOutcome.redo)), () => {
								// A region that ends where a loop starts again may have used up everything.
								f.if(i32.eqz(left), () => {
									setExit(f, Exit.fuel);
									f.return(left);
								});
								f.if(f.callFor("i32", stepOne), () => {
									f.set(left, i32.sub(left, i32.const(1)));
									f.br(again);
								});
								f.if(i32.ne(i32.load(i32.const(layout.EXIT_REASON)), i32.const(Exit.exception)), () =>
									f.set(left, i32.sub(left, i32.const(1))),
								);
								leave();
							});
							f.if(i32.eq(outcome, i32.const(RegionOutcome.variant + Outcome.fault)), () => {
								f.store64(i32.const(layout.STATE), i64.load(i32.const(layout.FAULT_RIP)), layout.RIP);
								setExit(f, Exit.exception);
								leave();
							});
							f.set(left, i32.sub(left, i32.const(1)));
							f.brIf(again, i32.eq(outcome, i32.const(RegionOutcome.variant + Outcome.jump)));
							leave();
						});
					const cases: (() => void)[] = [
						// KIND_LOOKUP
						() => {
							book(0);
							f.set(start, i32.load(ip, record.LINK));
							f.if(start, () => {
								f.set(ip, start);
								f.br(next);
							});
							setRipBeyond(f, ip, record.OFFSET);
							f.br(dispatch);
						},
						// KIND_CROSSING: not an instruction of its own
						() => {
							f.set(start, i32.add(start, i32.const(record.RECORD_SIZE)));
							f.if(f.callFor("i32", crossingValid, ip), step);
							setRip(f, ip);
							f.set(ip, i32.add(ip, i32.const(record.RECORD_SIZE)));
							book(0);
							f.call(forget, ip);
							f.br(dispatch);
						},
						// KIND_UNDEFINED
						() => {
							setUndefined(f, ip);
							f.br(fault);
						},
						...hot.map((variant) => () => {
							const ending = { fault: () => f.br(fault), jump, again: jump, exit, branch };
							const context = new InterpreterContext(f, variant, ip, tlb, mmu, services, ending, vendor);
							variant.form.semantics(context, ...operandsOf(variant));
							step();
						}),
					];
					f.switch(i32.load16_u(ip, record.KIND), cases, () => {
						if (translating) region(dispatch);
						f.set(outcome, callVariant(f, ip, i32.load16_u(ip, record.KIND)));
						f.if(i32.eqz(outcome), step);
						f.brIf(fault, i32.eq(outcome, i32.const(Outcome.fault)));
						f.if(i32.eq(outcome, i32.const(Outcome.jump)), jump);
						book(1);
						leave();
					});
				});
			});
			// A fault: the instruction has not happened.
			setRip(f, ip);
			book(0);
			setExit(f, Exit.exception);
			leave();
		});
	});

	/** (low, high, access, space) -> linear address or 0, for TypeScript. */
	const translate = module.function("translate", ["i32", "i32", "i32", "i32"], "i32", (f) => {
		const low = f.parameter(0, "i32");
		const high = f.parameter(1, "i32");
		const access = f.parameter(2, "i32");
		const space = f.parameter(3, "i32");
		const address = f.let(i64.or(i64.extend_i32_u(low), i64.shl(i64.extend_i32_u(high), i64.const(32))));
		const entry = f.let(tlbEntry(i32.add(i32.const(layout.TLB), i32.mul(space, i32.const(layout.TLB_SIZE))), address));
		const page = i64.and(address, i64.const(-4096));
		const hit = (tag: number): void =>
			f.if(i64.eq(i64.load(entry, tag), page), () => f.return(i32.add(low, i32.load(entry, layout.TLB_ADDEND))));
		f.if(i32.eqz(access), () => hit(layout.TLB_READ));
		f.if(i32.eq(access, i32.const(Access.write)), () => hit(layout.TLB_WRITE));
		f.return(f.callFor("i32", mmu.fill, address, access, space));
	});
	const flushPage = module.function("flushPageHalves", ["i32", "i32"], undefined, (f) =>
		f.call(
			mmu.flushPage,
			i64.or(i64.extend_i32_u(f.parameter(0, "i32")), i64.shl(i64.extend_i32_u(f.parameter(1, "i32")), i64.const(32))),
		),
	);

	module.export("materialise", materialise);
	module.export("callVariant", callVariantOf);
	module.export("timeStamp", timeStamp);
	module.export("enter", enter);
	module.export("run", run);
	module.export("step", stepOne);
	module.export("translate", translate);
	module.export("flushPage", flushPage);
	module.export("flushHalf", mmu.flushHalf);
	module.export("flushSpace", mmu.flushSpace);
	module.export("protectFrame", mmu.protectFrame);
	module.export("forgetFrame", mmu.forgetFrame);
	for (const name of SHARED) module.export(name, mmu[name]);
	return module.finish();
}
