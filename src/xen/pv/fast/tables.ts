/**
 * Loops over page-table entries and over the requests of mmu_update in WebAssembly, which mm/tables.ts and hypercalls/mmu.ts call: each goes as far as entries are
 * ordinary (l1-entry.ts), and says where it stopped; the one that is not is TypeScript's, which then calls again.
 */
import { PAGE_SIZE } from "../../../memory/map.ts";
import type { Memory } from "../../../memory/memory.ts";
import { type I32, i32, i64, select, v128 } from "../../../wasm/expression.ts";
import type { FunctionBuilder } from "../../../wasm/function.ts";
import { instantiate } from "../../../wasm/host.ts";
import { ModuleBuilder } from "../../../wasm/module.ts";
import { MMU_UPDATE_SIZE } from "../../abi/mmu.ts";
import { ENTRIES, Pte } from "../../mm/pte.ts";
import { anyOf } from "./guest-state.ts";
import { adjusted, emitEntryFunctions, emitUpdateL1Entry, frameAddress } from "./l1-entry.ts";
import { emitUpdateRequest } from "./mmu-update.ts";

export interface TableFunctions {
	/** Whether a frame holds nothing but zeros. It is only read. */
	isZero(mfn: number): number;
	/** Slot of the first present entry of a table from a slot on, or {@link ENTRIES}. */
	presentFrom(mfn: number, slot: number): number;
	/** One more than the slot of the last present entry before a slot, or 0. */
	presentBefore(mfn: number, slot: number): number;
	/**
	 * Takes the references of an L1 table's entries from a slot on, and writes the entries as Xen installs them.
	 * @returns the slot of the first one that is not ordinary, or {@link ENTRIES}
	 */
	takeEntries(mfn: number, slot: number, owner: number): number;
	/**
	 * Drops the references of the entries before a slot, the last one first.
	 * @returns how many are left: the last of them is not ordinary; or 0
	 */
	dropEntries(mfn: number, slot: number): number;
	/**
	 * Does requests of mmu_update that are about entries of the owner's own L1 tables.
	 * @returns how many were done before one that is not ordinary, or all
	 */
	updateEntries(requests: number, count: number, owner: number): number;
}

/** Entries that are looked at together: most of a table is empty. */
const TOGETHER = 4;
/** Bytes of a frame that are looked at together. */
const ZERO_STEP = 64;

export function createTableFunctions(memory: Memory): TableFunctions {
	const module = new ModuleBuilder();
	const pages = memory.wasm.buffer.byteLength / 65536;
	module.importMemory("xen", "memory", pages, pages);
	const entries = emitEntryFunctions(module);
	const updateRequest = emitUpdateRequest(module, emitUpdateL1Entry(module, entries));
	const entryAt = (f: FunctionBuilder, slot: I32): I32 =>
		i32.add(frameAddress(i64.extend_i32_u(f.parameter(0, "i32"))), i32.shl(slot, i32.const(3)));

	/** Whether an entry at a linear address is present, or one of some that follow it. */
	const anyPresent = (at: I32, count: number): I32 => {
		let all: I32 = i32.load(at);
		for (let index = 1; index < count; index++) all = i32.or(all, i32.load(at, index * 8));
		return anyOf(all, Pte.present);
	};
	const presentFrom = module.function("presentFrom", ["i32", "i32"], "i32", (f) => {
		const slot = f.parameter(1, "i32");
		f.loop((next) => {
			f.if(i32.ge_u(slot, i32.const(ENTRIES)), () => f.return(i32.const(ENTRIES)));
			const at = f.let(entryAt(f, slot));
			f.if(anyPresent(at, 1), () => f.return(slot));
			// Not beyond the table, which may be at the memory's end.
			f.if(
				i32.eqz(anyOf(slot, TOGETHER - 1)),
				() => f.set(slot, i32.add(slot, select(anyPresent(at, TOGETHER), i32.const(1), i32.const(TOGETHER)))),
				() => f.set(slot, i32.add(slot, i32.const(1))),
			);
			f.br(next);
		});
	});
	const presentBefore = module.function("presentBefore", ["i32", "i32"], "i32", (f) => {
		const slot = f.parameter(1, "i32");
		f.loop((next) => {
			f.if(i32.eqz(slot), () => f.return(i32.const(0)));
			const at = f.let(entryAt(f, i32.sub(slot, i32.const(1))));
			f.if(anyPresent(at, 1), () => f.return(slot));
			const below = i32.sub(at, i32.const((TOGETHER - 1) * 8));
			f.if(
				i32.eqz(anyOf(slot, TOGETHER - 1)),
				() => f.set(slot, i32.sub(slot, select(anyPresent(below, TOGETHER), i32.const(1), i32.const(TOGETHER)))),
				() => f.set(slot, i32.sub(slot, i32.const(1))),
			);
			f.br(next);
		});
	});

	const takeEntries = module.function("takeEntries", ["i32", "i32", "i32"], "i32", (f) => {
		const slot = f.parameter(1, "i32");
		f.loop((next) => {
			f.set(slot, f.callFor("i32", presentFrom, f.parameter(0, "i32"), slot));
			f.if(i32.eq(slot, i32.const(ENTRIES)), () => f.return(slot));
			const at = f.let(entryAt(f, slot));
			const entry = f.let(i64.load(at));
			f.if(i32.eqz(f.callFor("i32", entries.take, entry, f.parameter(2, "i32"))), () => f.return(slot));
			f.store64(at, adjusted(f, entry));
			f.set(slot, i32.add(slot, i32.const(1)));
			f.br(next);
		});
	});

	const dropEntries = module.function("dropEntries", ["i32", "i32"], "i32", (f) => {
		const slot = f.parameter(1, "i32");
		f.loop((next) => {
			f.set(slot, f.callFor("i32", presentBefore, f.parameter(0, "i32"), slot));
			f.if(i32.eqz(slot), () => f.return(slot));
			const entry = f.let(i64.load(entryAt(f, i32.sub(slot, i32.const(1)))));
			f.if(i32.eqz(f.callFor("i32", entries.drop, entry)), () => f.return(slot));
			f.set(slot, i32.sub(slot, i32.const(1)));
			f.br(next);
		});
	});

	const updateEntries = module.function("updateEntries", ["i32", "i32", "i32"], "i32", (f) => {
		const done = f.local("i32");
		f.loop((next) => {
			f.if(i32.ge_u(done, f.parameter(1, "i32")), () => f.return(done));
			const request = i32.add(f.parameter(0, "i32"), i32.mul(done, i32.const(MMU_UPDATE_SIZE)));
			f.if(i32.eqz(f.callFor("i32", updateRequest, request, f.parameter(2, "i32"))), () => f.return(done));
			f.set(done, i32.add(done, i32.const(1)));
			f.br(next);
		});
	});

	const isZero = module.function("isZero", ["i32"], "i32", (f) => {
		const at = f.local("i32");
		f.set(at, frameAddress(i64.extend_i32_u(f.parameter(0, "i32"))));
		const end = f.let(i32.add(at, i32.const(PAGE_SIZE)));
		f.loop((next) => {
			let all = v128.load(at);
			for (let offset = 16; offset < ZERO_STEP; offset += 16) all = v128.or(all, v128.load(at, offset));
			f.if(v128.any_true(all), () => f.return(i32.const(0)));
			f.set(at, i32.add(at, i32.const(ZERO_STEP)));
			f.if(i32.lt_u(at, end), () => f.br(next));
		});
		f.return(i32.const(1));
	});

	const functions = { isZero, presentFrom, presentBefore, takeEntries, dropEntries, updateEntries };
	for (const [name, reference] of Object.entries(functions)) {
		module.export(name, reference);
	}
	return instantiate(module.finish(), { xen: { memory: memory.wasm } }) as unknown as TableFunctions;
}
