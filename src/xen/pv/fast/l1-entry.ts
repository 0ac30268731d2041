/**
 * Changes of L1 entries of a guest's own page tables, emitted: mm/entries.ts, updateL1Entry, for ordinary frames of the domain and mappings that
 * are not its kernel's. The frame table's layout is in mm/frame-info.ts.
 */
import { FRAME_HAS_CODE } from "../../../cpu/layout.ts";
import { FRAME_COUNT, FRAME_FLAGS, FRAME_INFO_SIZE, FRAME_TABLE, FRAMES } from "../../../memory/map.ts";
import { type I32, type I64, i32, i64, select } from "../../../wasm/expression.ts";
import type { FunctionBuilder, FunctionReference } from "../../../wasm/function.ts";
import type { ModuleBuilder } from "../../../wasm/module.ts";
import {
	FrameType,
	OWNER,
	REFERENCE_COUNT,
	REFERENCES,
	STAMP,
	TYPE,
	TYPE_COUNT,
	TYPE_MASK,
	VALIDATED,
} from "../../mm/frame-info.ts";
import { FAST_HIGH, FAST_LOW, L1_DISALLOWED, PTE_GUEST_KERNEL, Pte } from "../../mm/pte.ts";
import { SHARED, shared } from "../../vcpu-block.ts";
import { anyOf, leaveIf } from "./guest-state.ts";

const ADDRESS = 0x000f_ffff_ffff_f000n;
const GUEST_KERNEL = BigInt(PTE_GUEST_KERNEL) << 32n;
const FAST = (BigInt(FAST_HIGH) << 32n) | BigInt(FAST_LOW);
const INFO_SHIFT = Math.log2(FRAME_INFO_SIZE);
/** Counts near their end are TypeScript's. */
const MANY_REFERENCES = REFERENCE_COUNT - 2;

/** Bits of an entry's low half. */
const bits = (entry: I64, mask: number): I32 => anyOf(i32.wrap(entry), mask);

/** Number of the frame that an entry names; compare it with {@link isFrame}'s before it becomes an address. */
export const frameOf = (entry: I64): I64 => i64.shr_u(i64.and(entry, i64.const(ADDRESS)), i64.const(12));
export const isFrame = (number: I64): I32 => i64.lt_u(number, i64.extend_i32_u(i32.load(i32.const(FRAME_COUNT))));
export const frameAddress = (number: I64): I32 => i32.add(i32.const(FRAMES), i32.shl(i32.wrap(number), i32.const(12)));
/** Linear address of a frame's entry in the frame table, and its words. */
export const infoOf = (number: I64): I32 =>
	i32.add(i32.const(FRAME_TABLE), i32.shl(i32.wrap(number), i32.const(INFO_SHIFT)));
const info = (at: I32, word: number): I32 => i32.load(at, word * 4);

/** Leaves to TypeScript unless the frame is the domain's and could take another reference. */
export function leaveUnlessOwned(f: FunctionBuilder, owner: I32, at: I32): void {
	const references = f.let(anyOf(info(at, REFERENCES), REFERENCE_COUNT));
	leaveIf(f, i32.or(i32.eqz(references), i32.ge_u(references, i32.const(MANY_REFERENCES))));
	leaveIf(f, i32.ne(info(at, OWNER), owner));
}

/** Leaves unless the frame is an L1 table in use. */
export function leaveUnlessL1Table(f: FunctionBuilder, at: I32): void {
	const word = f.let(info(at, TYPE));
	leaveIf(f, i32.ne(anyOf(word, TYPE_MASK | VALIDATED), i32.const(FrameType.l1 | VALIDATED)));
	leaveIf(f, i32.eqz(anyOf(word, TYPE_COUNT)));
}

/** What {@link emitTakeEntry} and {@link emitDropEntry} emit. */
export interface EntryFunctions {
	/** (entry, domain id of the owner) -> 1, or 0 where it is not an ordinary frame of that domain: a present entry takes its references. */
	readonly take: FunctionReference;
	/** (entry) -> 1, or 0 where that is TypeScript's: a present entry drops its references. */
	readonly drop: FunctionReference;
}

export function emitEntryFunctions(module: ModuleBuilder): EntryFunctions {
	const take = module.function("takeEntry", ["i64", "i32"], "i32", (f) => {
		const value = f.parameter(0, "i64");
		leaveIf(f, bits(value, L1_DISALLOWED));
		const frame = f.let(frameOf(value));
		leaveIf(f, i32.eqz(isFrame(frame)));
		const taken = f.let(infoOf(frame));
		leaveUnlessOwned(f, f.parameter(1, "i32"), taken);
		f.if(bits(value, Pte.writable), () => takeWritable(f, taken));
		f.store32(taken, i32.add(info(taken, REFERENCES), i32.const(1)), REFERENCES * 4);
		f.return(i32.const(1));
	});
	const drop = module.function("dropEntry", ["i64"], "i32", (f) => {
		const value = f.parameter(0, "i64");
		const frame = f.let(frameOf(value));
		f.if(i32.eqz(isFrame(frame)), () => f.return(i32.const(1)));
		const dropped = f.let(infoOf(frame));
		leaveUnlessDroppable(f, value, dropped);
		dropReferences(f, value, dropped);
		f.return(i32.const(1));
	});
	return { take, drop };
}

/** Leaves unless what an entry holds can be dropped without the frame being freed, and without the LDT's frames being looked at. */
function leaveUnlessDroppable(f: FunctionBuilder, entry: I64, at: I32): void {
	leaveIf(f, i32.le_u(anyOf(info(at, REFERENCES), REFERENCE_COUNT), i32.const(1)));
	const word = f.let(info(at, TYPE));
	const type = f.let(anyOf(word, TYPE_MASK));
	f.if(
		bits(entry, Pte.writable),
		() => {
			leaveIf(f, i32.ne(type, i32.const(FrameType.writable)));
			leaveIf(f, i32.eqz(anyOf(word, TYPE_COUNT)));
		},
		() => leaveIf(f, i32.eq(type, i32.const(FrameType.segmentDescriptors))),
	);
}

function dropReferences(f: FunctionBuilder, entry: I64, at: I32): void {
	f.if(bits(entry, Pte.writable), () => {
		const word = f.let(info(at, TYPE));
		f.if(i32.eq(anyOf(word, TYPE_COUNT), i32.const(1)), () =>
			f.store32(at, i32.load(i32.const(SHARED), shared.offset.epoch), STAMP * 4),
		);
		f.store32(at, i32.sub(word, i32.const(1)), TYPE * 4);
	});
	f.store32(at, i32.sub(info(at, REFERENCES), i32.const(1)), REFERENCES * 4);
}

/**
 * Emits (frame of the table, linear address of the entry, new entry, bits of the old one to keep, domain id of the owner) -> 1, or 0 where nothing was
 * changed.
 */
export function emitUpdateL1Entry(module: ModuleBuilder, { take }: EntryFunctions): FunctionReference {
	return module.function("updateL1Entry", ["i32", "i32", "i64", "i32", "i32"], "i32", (f) => {
		const at = f.parameter(1, "i32");
		const value = f.parameter(2, "i64");
		const old = f.let(i64.load(at));
		const present = f.let(bits(value, Pte.present));
		const wasPresent = f.let(bits(old, Pte.present));
		// A mapping of the guest's kernel needs a flush later; a table with decoded code must be forgotten first.
		leaveIf(f, i32.and(wasPresent, i32.wrap(i64.shr_u(i64.and(old, i64.const(GUEST_KERNEL)), i64.const(52)))));
		leaveIf(f, anyOf(i32.load8_u(f.parameter(0, "i32"), FRAME_FLAGS), FRAME_HAS_CODE));
		// What the fast case below does not ask.
		leaveIf(f, i32.and(i32.ne(bits(value, L1_DISALLOWED), i32.const(0)), present));

		const entry = f.local("i64");
		f.set(entry, i64.or(adjusted(f, value), i64.and(old, i64.extend_i32_u(f.parameter(3, "i32")))));
		const changed = f.let(i64.and(i64.xor(old, value), i64.const(~FAST)));
		f.if(i32.and(present, i64.eqz(changed)), () => {
			f.store64(at, entry);
			f.return(i32.const(1));
		});

		const dropped = f.local("i32");
		f.set(dropped, i32.const(0));
		const oldFrame = f.let(frameOf(old));
		f.if(i32.and(wasPresent, isFrame(oldFrame)), () => {
			f.set(dropped, infoOf(oldFrame));
			leaveUnlessDroppable(f, old, dropped);
		});
		f.if(present, () => leaveIf(f, i32.eqz(f.callFor("i32", take, value, f.parameter(4, "i32")))));
		f.store64(at, entry);
		f.if(dropped, () => dropReferences(f, old, dropped));
		f.return(i32.const(1));
	});
}

/** A use of a frame as writable: mm/page-types.ts, getPageType. */
function takeWritable(f: FunctionBuilder, at: I32): void {
	const word = f.let(info(at, TYPE));
	const isWritable = f.let(i32.eq(anyOf(word, TYPE_MASK), i32.const(FrameType.writable)));
	const first = i32.eqz(anyOf(word, TYPE_COUNT));
	const validated = f.let(i32.ne(anyOf(word, VALIDATED), i32.const(0)));
	// Writable and not validated it never is; in use as something else it must not become writable.
	leaveIf(f, i32.and(isWritable, i32.eqz(validated)));
	leaveIf(f, i32.eqz(i32.or(first, isWritable)));
	leaveIf(f, i32.eq(anyOf(word, TYPE_COUNT), i32.const(TYPE_COUNT)));
	const fresh = i32.const((FrameType.writable | VALIDATED) + 1);
	f.store32(at, select(isWritable, i32.add(word, i32.const(1)), fresh), TYPE * 4);
}

/** The entry as Xen installs it: mm/pte.ts, adjustL1Low and adjustL1High. */
export function adjusted(f: FunctionBuilder, value: I64): I64 {
	const marked = i64.or(value, i64.const(GUEST_KERNEL | BigInt(Pte.user)));
	const user = i64.or(value, i64.const(Pte.user | Pte.global));
	const kernels = f.let(i64.ne(i64.and(value, i64.const(GUEST_KERNEL)), i64.const(0)));
	const present = select(
		i32.or(i32.eqz(bits(value, Pte.user)), kernels),
		select(bits(value, Pte.user), i64.or(value, i64.const(Pte.user)), marked),
		user,
	);
	return f.let(select(bits(value, Pte.present), present, value));
}
