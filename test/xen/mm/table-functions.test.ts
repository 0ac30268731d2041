/** The loops in WebAssembly (fast/tables.ts) leave frames, tables and results as TypeScript alone does. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { FRAME_INFO_SIZE, FRAME_TABLE } from "../../../src/memory/map.ts";
import { DOMID_SELF } from "../../../src/xen/abi/domid.ts";
import { MmuextCommand } from "../../../src/xen/abi/mmu.ts";
import { mmuHypercalls } from "../../../src/xen/hypercalls/mmu.ts";
import type { TableFunctions } from "../../../src/xen/pv/fast/tables.ts";
import { audit } from "./audit.ts";
import { type Guest, L1, Machine, P, pte, RW, US } from "./machine.ts";

const FRAMES = 400;
const GUEST_FRAMES = 48;
/** Frame of the guest that becomes a table, and one for arguments. */
const TABLE = 40;
const ARGUMENTS = 41;
const ENTRIES = 512;

/** Every present entry is one that the loops leave to TypeScript. */
function nothingOrdinary(machine: Machine): TableFunctions {
	const present = (mfn: number, slot: number): boolean => (machine.entry(mfn, slot) & BigInt(P)) !== 0n;
	const { isZero, presentFrom, presentBefore } = machine.frames.tables;
	return {
		isZero,
		presentFrom,
		presentBefore,
		takeEntries: (mfn, slot) => {
			let at = slot;
			while (at < ENTRIES && !present(mfn, at)) at++;
			return at;
		},
		dropEntries: (mfn, slot) => {
			let left = slot;
			while (left > 0 && !present(mfn, left - 1)) left--;
			return left;
		},
		updateEntries: () => 0,
	};
}

interface Entry {
	readonly slot: number;
	/** A frame of the guest by its own number; from GUEST_FRAMES on one that is not its own, or none. */
	readonly frame: number;
	readonly flags: number;
}

const PWT = 8;
const ACCESSED = 0x20;
const entry: fc.Arbitrary<Entry> = fc.record({
	slot: fc.integer({ min: 0, max: ENTRIES - 1 }),
	frame: fc.oneof({ weight: 9, arbitrary: fc.nat(GUEST_FRAMES - 1) }, { weight: 1, arbitrary: fc.nat(FRAMES + 10) }),
	flags: fc
		.record({
			present: fc.oneof({ weight: 4, arbitrary: fc.constant(P) }, { weight: 1, arbitrary: fc.constant(0) }),
			other: fc.subarray([RW, US, ACCESSED]),
			refused: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(PWT) }),
		})
		.map(({ present, other, refused }) => other.reduce((sum, flag) => sum | flag, present | refused)),
});

class Pair {
	readonly machines: readonly { readonly machine: Machine; readonly guest: Guest }[];
	/** Entries that WebAssembly has done. */
	ordinary = 0;

	constructor() {
		this.machines = [true, false].map((emitted) => {
			const machine = new Machine(FRAMES);
			const { tables } = machine.frames;
			const counting: TableFunctions = {
				...tables,
				takeEntries: (mfn, slot, owner) => slot + this.counted(tables.takeEntries(mfn, slot, owner) - slot),
				dropEntries: (...args) => tables.dropEntries(...args),
				updateEntries: (...args) => this.counted(tables.updateEntries(...args)),
			};
			(machine.frames as { tables: TableFunctions }).tables = emitted ? counting : nothingOrdinary(machine);
			return { machine, guest: machine.guest(1, GUEST_FRAMES) };
		});
	}

	private counted(count: number): number {
		this.ordinary += count;
		return count;
	}

	/** Does the same on both; they must say the same, and be the same. */
	both(act: (machine: Machine, guest: Guest) => number): number {
		const [left, right] = this.machines.map(({ machine, guest }) => {
			const result = act(machine, guest);
			const tables = [L1, TABLE].map((pfn) => machine.memory.frame(guest.mfns[pfn]!));
			const bytes = (at: number, size: number): Buffer => Buffer.from(machine.memory.bytes.slice(at, at + size));
			return {
				result,
				lines: machine.lines,
				table: bytes(FRAME_TABLE, FRAMES * FRAME_INFO_SIZE).toString("hex"),
				entries: tables.map((at) => bytes(at, 4096).toString("hex")),
				work: machine.frames.work,
			};
		});
		expect(left).toEqual(right);
		return left!.result;
	}

	update(requests: (guest: Guest) => readonly (readonly [bigint, bigint])[]): number {
		return this.both((machine, guest) => {
			const words = requests(guest).flat();
			const at = machine.put(guest, ARGUMENTS, words);
			return machine.call(guest, mmuHypercalls, "mmu_update", at, words.length / 2, 0, DOMID_SELF);
		});
	}

	extended(command: number): number {
		return this.both((machine, guest) => {
			const at = machine.put(guest, ARGUMENTS, [command, guest.mfns[TABLE]!, 0]);
			return machine.call(guest, mmuHypercalls, "mmuext_op", at, 1, 0, DOMID_SELF);
		});
	}
}

const entryValue = ({ mfns }: Guest, { frame, flags }: Entry): bigint => pte(mfns[frame] ?? frame, flags);
const requestFor = (guest: Guest, table: number, one: Entry): [bigint, bigint] => [
	BigInt(guest.mfns[table]!) * 4096n + BigInt(one.slot * 8),
	entryValue(guest, one),
];

test("tables are pinned, changed and unpinned with the same results", () => {
	let ordinary = 0;
	let pinned = 0;
	fc.assert(
		fc.property(
			fc.array(entry, { maxLength: 40 }),
			fc.array(fc.array(entry, { minLength: 1, maxLength: 100 }), { maxLength: 4 }),
			fc.boolean(),
			(first, batches, smallSlices) => {
				const pair = new Pair();
				if (smallSlices) for (const { machine } of pair.machines) machine.frames.workSlice = 50;
				const readOnly: Entry = { slot: TABLE, frame: TABLE, flags: P };
				expect(pair.update((guest) => [requestFor(guest, L1, readOnly)])).toBe(0);
				pair.both((machine, guest) => {
					for (const one of first) machine.poke(guest.mfns[TABLE]!, one.slot, entryValue(guest, one));
					return 0;
				});
				if (pair.extended(MmuextCommand.pinL1Table) === 0) pinned++;
				for (const batch of batches) pair.update((guest) => batch.map((one) => requestFor(guest, TABLE, one)));
				pair.extended(MmuextCommand.unpinTable);
				for (const { machine } of pair.machines) expect(audit(machine)).toEqual([]);
				ordinary += pair.ordinary;
			},
		),
		{ numRuns: 60 },
	);
	// It was not TypeScript that did it on both sides.
	expect(pinned).toBeGreaterThan(5);
	expect(ordinary).toBeGreaterThan(1000);
});
