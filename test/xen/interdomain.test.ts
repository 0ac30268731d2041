/**
 * Three domains that grant each other frames, map, copy and give them away, connect event channels, end and come again: a model says what
 * must succeed and who must see what; when all are gone, nothing may be left.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { removeDomain } from "../../src/toolstack/create.ts";
import { CopyFlag, GrantFlag, GrantStatus, MapFlag, GrantOp as Op } from "../../src/xen/abi/grant-table.ts";
import { PortState } from "../../src/xen/events/events.ts";
import { outstandingReferences } from "../../src/xen/mm/relinquish.ts";
import { ARGS, Call, createMachine, type Guest, page, type TestMachine } from "./guest-machine.ts";

const DOMID_SELF = 0x7ff0;
const GUESTS = 3;
const REFS = [8, 9, 10] as const;
/** Pages that are granted, and that mappings are put at. */
const FIRST_GRANTED = 4;
const FIRST_SLOT = 8;
const SLOTS = 4;

type Entry =
	| {
			readonly kind: "access";
			readonly to: number;
			readonly page: number;
			readonly readOnly: boolean;
			readonly subPage: boolean;
	  }
	| { readonly kind: "transitive"; readonly to: number; readonly from: number; readonly ref: number }
	| { readonly kind: "accept"; readonly to: number };

interface Mapping {
	readonly mapper: Guest;
	readonly granter: Guest;
	readonly ref: number;
	readonly slot: number;
	readonly readOnly: boolean;
	readonly handle: number;
	readonly mfn: number;
}

interface Channel {
	readonly ends: readonly [Guest, Guest];
	readonly ports: readonly [number, number];
}

/** A use of a grant: any, or the nth of those there are. */
interface Use {
	readonly by: number;
	readonly of: number;
	readonly ref: number;
	readonly nth: number | undefined;
}

/** Where in a granted page a sub-page grant begins and how long it is. */
const PART = { start: 256, length: 64 } as const;

/** How often what was refused and allowed. */
type Seen = Record<"map" | "copy" | "transfer", { refused: number; allowed: number }>;

class World {
	readonly guests: Guest[] = [];
	readonly entries = new Map<string, Entry>();
	mappings: Mapping[] = [];
	channels: Channel[] = [];
	readonly gone: number[] = [];
	/** Makes contents that are all different. */
	private stamp = 1;

	constructor(
		readonly machine: TestMachine,
		private readonly seen: Seen,
	) {
		for (let index = 0; index < GUESTS; index++) this.guests.push(this.newGuest());
	}

	private count(what: keyof Seen, allowed: boolean): void {
		this.seen[what][allowed ? "allowed" : "refused"]++;
	}

	newGuest(): Guest {
		const guest = this.machine.addGuest();
		guest.domain.grants.setVersion(2);
		return guest;
	}

	guest(index: number): Guest {
		return this.guests[index] as Guest;
	}
	entry(guest: Guest, ref: number): Entry | undefined {
		return this.entries.get(`${guest.domain.id}.${ref}`);
	}
	inUse(guest: Guest, ref: number): boolean {
		return this.mappings.some((mapping) => mapping.granter === guest && mapping.ref === ref);
	}
	/** Who may use which entry of whom: what `use` says, or an entry that there is, used by whom it is for. */
	resolve(use: Use): { readonly user: Guest; readonly granter: Guest; readonly ref: number } {
		if (use.nth !== undefined && this.entries.size > 0) {
			const [key, entry] = [...this.entries][use.nth % this.entries.size] as [string, Entry];
			const [id, ref] = key.split(".").map(Number) as [number, number];
			const find = (wanted: number): Guest | undefined => this.guests.find(({ domain }) => domain.id === wanted);
			const [user, granter] = [find(entry.to), find(id)];
			if (user !== undefined && granter !== undefined) return { user, granter, ref };
		}
		return { user: this.guest(use.by), granter: this.guest(use.of), ref: use.ref };
	}
	nextStamp(): number {
		return this.stamp++;
	}

	setEntry(guest: Guest, ref: number, entry: Entry | undefined): void {
		if (this.inUse(guest, ref)) return;
		const { memory } = guest;
		const at = guest.domain.grants.entry(ref);
		memory.fill(at, 16, 0);
		this.entries.delete(`${guest.domain.id}.${ref}`);
		if (entry === undefined) return;
		this.entries.set(`${guest.domain.id}.${ref}`, entry);
		memory.setU16(at + 2, entry.to);
		if (entry.kind === "access") {
			if (entry.subPage) {
				memory.setU16(at + 4, PART.start);
				memory.setU16(at + 6, PART.length);
			}
			memory.setU64(at + 8, guest.mfns[entry.page] as number);
			const flags = (entry.readOnly ? GrantFlag.readonly : 0) | (entry.subPage ? GrantFlag.subPage : 0);
			memory.setU16(at, GrantFlag.permitAccess | flags);
		} else if (entry.kind === "transitive") {
			memory.setU16(at + 4, entry.from);
			memory.setU32(at + 8, entry.ref);
			memory.setU16(at, GrantFlag.transitive);
		} else {
			memory.setU64(at + 8, 1000 + ref);
			memory.setU16(at, GrantFlag.acceptTransfer);
		}
	}

	/** Whether `user` may use a grant in a copy, and of which frame and bytes. */
	allowed(
		user: Guest,
		granter: Guest,
		ref: number,
		write: boolean,
		deep = true,
	): { readonly mfn: number; readonly start: number; readonly length: number } | undefined {
		const entry = this.entry(granter, ref);
		if (entry === undefined || entry.kind === "accept" || entry.to !== user.domain.id) return undefined;
		if (entry.kind === "transitive") {
			const from = this.guests.find(({ domain }) => domain.id === entry.from);
			if (!deep || from === undefined || from === granter) return undefined;
			return this.allowed(granter, from, entry.ref, write, false);
		}
		if (write && entry.readOnly) return undefined;
		const mfn = granter.mfns[entry.page] as number;
		return entry.subPage ? { mfn, ...PART } : { mfn, start: 0, length: 4096 };
	}

	map(mapper: Guest, granter: Guest, ref: number, slot: number, readOnly: boolean): void {
		if (this.mappings.some((mapping) => mapping.mapper === mapper && mapping.slot === slot)) return;
		const flags = MapFlag.hostMap | (readOnly ? MapFlag.readonly : 0);
		mapper.put(ARGS, [0, 8, page(slot)], [8, 4, flags], [12, 4, ref], [16, 2, granter.domain.id], [18, 2, 0]);
		expect(mapper.call(Call.grantTable, Op.mapGrantRef, ARGS, 1)).toBe(0);
		const status = (mapper.memory.u16(mapper.at(ARGS) + 18) << 16) >> 16;
		const entry = this.entry(granter, ref);
		const may =
			entry?.kind === "access" && !entry.subPage && entry.to === mapper.domain.id && (readOnly || !entry.readOnly);
		expect(status === GrantStatus.okay).toBe(may);
		this.count("map", may);
		if (!may) return;
		const mfn = granter.mfns[entry.page] as number;
		this.mappings.push({ mapper, granter, ref, slot, readOnly, handle: mapper.word(5), mfn });
	}

	unmap(index: number): void {
		const mapping = this.mappings[index % Math.max(1, this.mappings.length)];
		if (mapping === undefined) return;
		const { mapper, slot, handle } = mapping;
		mapper.put(ARGS, [0, 8, page(slot)], [8, 8, 0], [16, 4, handle], [20, 2, 99]);
		expect(mapper.call(Call.grantTable, Op.unmapGrantRef, ARGS, 1)).toBe(0);
		expect(mapper.memory.u16(mapper.at(ARGS) + 20)).toBe(GrantStatus.okay);
		// The handle is spent.
		mapper.put(ARGS, [0, 8, page(slot)], [8, 8, 0], [16, 4, handle], [20, 2, 99]);
		mapper.call(Call.grantTable, Op.unmapGrantRef, ARGS, 1);
		expect((mapper.memory.u16(mapper.at(ARGS) + 20) << 16) >> 16).toBe(GrantStatus.badHandle);
		this.mappings = this.mappings.filter((other) => other !== mapping);
		this.checkUses(mapping.granter, mapping.ref);
	}

	copy(user: Guest, granter: Guest, ref: number, write: boolean, offset: number): void {
		const own = user.mfns[3] as number;
		const stamp = this.nextStamp();
		const { memory } = user;
		const may = this.allowed(user, granter, ref, write);
		const inside = may !== undefined && offset >= may.start && offset + 8 <= may.start + may.length;
		const foreign = may === undefined ? 0 : memory.frame(may.mfn) + offset;
		if (write) memory.setU64(memory.frame(own), stamp);
		else if (inside) memory.setU64(foreign, stamp);
		const put = (at: number, value: number, domid: number, from: number): void =>
			user.put(ARGS, [at, 8, value], [at + 8, 2, domid], [at + 10, 2, from]);
		put(write ? 16 : 0, ref, granter.domain.id, offset);
		put(write ? 0 : 16, own, DOMID_SELF, 0);
		user.put(ARGS, [32, 2, 8], [34, 2, write ? CopyFlag.destGref : CopyFlag.sourceGref], [36, 2, 77]);
		expect(user.call(Call.grantTable, Op.copy, ARGS, 1)).toBe(0);
		expect(memory.u16(user.at(ARGS) + 36) === GrantStatus.okay).toBe(inside);
		this.count("copy", inside);
		if (inside) expect(memory.u64(write ? foreign : memory.frame(own))).toBe(stamp);
		this.checkUses(granter, ref);
	}

	transfer(from: Guest, to: Guest, ref: number): void {
		const { frames } = from.hypervisor;
		const mfn = frames.allocate(from.domain.id);
		if (mfn === undefined) return;
		from.memory.setU64(from.memory.frame(mfn), 4711);
		const entry = this.entry(to, ref);
		const may = entry?.kind === "accept" && entry.to === from.domain.id;
		const [had, owned] = [frames.owned(from.domain.id), frames.owned(to.domain.id)];
		from.put(ARGS, [0, 8, mfn], [8, 2, to.domain.id], [12, 4, ref], [16, 2, 1]);
		expect(from.call(Call.grantTable, Op.transfer, ARGS, 1)).toBe(0);
		expect(from.memory.u16(from.at(ARGS) + 16) === GrantStatus.okay).toBe(may);
		this.count("transfer", may);
		if (!may) {
			// Gone all the same.
			expect(frames.owner(mfn)).toBeUndefined();
			expect(frames.owned(from.domain.id)).toBe(had - 1);
			return;
		}
		expect([frames.owner(mfn), frames.m2p(mfn)]).toEqual([to.domain.id, 1000 + ref]);
		if (from !== to) expect([frames.owned(from.domain.id), frames.owned(to.domain.id)]).toEqual([had - 1, owned + 1]);
		expect(from.memory.u64(from.memory.frame(mfn))).toBe(4711);
		this.entries.delete(`${to.domain.id}.${ref}`);
	}

	connect(a: Guest, b: Guest): void {
		const unbound = a.domain.events.allocateUnbound(b.domain.id);
		// Only the domain that it is for may have it.
		const third = this.guests.find((guest) => guest !== a && guest !== b);
		if (third !== undefined) expect(third.domain.events.bindInterdomain(a.domain.id, unbound)).toBeLessThan(0);
		const bound = b.domain.events.bindInterdomain(a.domain.id, unbound);
		expect(bound).toBeGreaterThan(0);
		b.domain.events.delivery.clearPending(bound);
		this.channels.push({ ends: [a, b], ports: [unbound, bound] });
	}

	notify(index: number, side: 0 | 1): void {
		const channel = this.channels[index % Math.max(1, this.channels.length)];
		if (channel === undefined) return;
		const other = side === 0 ? 1 : 0;
		const { delivery } = channel.ends[other].domain.events;
		expect(delivery.isPending(channel.ports[other])).toBe(false);
		expect(channel.ends[side].domain.events.send(channel.ports[side])).toBe(0);
		for (const { ends, ports } of this.channels) {
			for (const end of [0, 1] as const) {
				const told = ends[end] === channel.ends[other] && ports[end] === channel.ports[other];
				expect(ends[end].domain.events.delivery.isPending(ports[end])).toBe(told);
			}
		}
		delivery.clearPending(channel.ports[other]);
	}

	close(index: number, side: 0 | 1): void {
		const channel = this.channels[index % Math.max(1, this.channels.length)];
		if (channel === undefined) return;
		this.channels = this.channels.filter((other) => other !== channel);
		const other = side === 0 ? 1 : 0;
		expect(channel.ends[side].domain.events.close(channel.ports[side])).toBe(0);
		const { events } = channel.ends[other].domain;
		expect(events.state[channel.ports[other]]).toBe(PortState.unbound);
		expect(events.close(channel.ports[other])).toBe(0);
	}

	/** Ends a guest, and puts another in its place. */
	replace(index: number): void {
		const guest = this.guest(index);
		this.mappings = this.mappings.filter(({ mapper }) => mapper !== guest);
		for (const { ends, ports } of this.channels.filter(({ ends }) => ends.includes(guest))) {
			for (const end of [0, 1] as const) if (ends[end] !== guest) ends[end].domain.events.close(ports[end]);
		}
		this.channels = this.channels.filter(({ ends }) => !ends.includes(guest));
		for (const ref of REFS) this.entries.delete(`${guest.domain.id}.${ref}`);
		removeDomain(guest.domain);
		this.gone.push(guest.domain.id);
		this.guests[index] = this.newGuest();
		// What others have mapped of it is still there, and nobody else's.
		for (const { granter, mfn } of this.mappings) if (granter === guest) this.checkFrame(mfn, guest.domain.id);
	}

	/** What is granted and mapped is one frame for both; and reading and writing are marked as long as it is used. */
	check(): void {
		for (const mapping of this.mappings) {
			const { mapper, slot, mfn, readOnly, granter, ref } = mapping;
			const stamp = this.nextStamp();
			mapper.memory.setU64(mapper.memory.frame(mfn), stamp);
			expect(mapper.memory.u64(mapper.at(page(slot)))).toBe(stamp);
			expect((mapper.entry(slot) & 2) !== 0).toBe(!readOnly);
			this.checkFrame(mfn, granter.domain.id);
			this.checkUses(granter, ref);
		}
	}

	private checkFrame(mfn: number, owner: number): void {
		expect(this.machine.hypervisor.frames.owner(mfn)).toBe(owner);
	}

	private checkUses(granter: Guest, ref: number): void {
		const { grants } = granter.domain;
		if (grants.entries === 0) return;
		const uses = this.mappings.filter((mapping) => mapping.granter === granter && mapping.ref === ref);
		const marks =
			(uses.length > 0 ? GrantFlag.reading : 0) | (uses.some(({ readOnly }) => !readOnly) ? GrantFlag.writing : 0);
		expect(granter.memory.u16(grants.status(ref)) & (GrantFlag.reading | GrantFlag.writing)).toBe(marks);
	}

	end(): void {
		for (const guest of this.guests) {
			removeDomain(guest.domain);
			this.gone.push(guest.domain.id);
		}
	}
}

const who = fc.integer({ min: 0, max: GUESTS - 1 });
const ref = fc.constantFrom(...REFS);
const side = fc.constantFrom(0 as const, 1 as const);
const any = fc.nat(20);
type Step = (world: World) => void;
/** Three in four are of an entry that there is: of any at all, hardly one would be allowed. */
const use: fc.Arbitrary<Use> = fc.record({ by: who, of: who, ref, nth: fc.option(any, { freq: 3, nil: undefined }) });
const entry = fc.record({ by: who, ref, to: who, page: fc.integer({ min: 0, max: 2 }), readOnly: fc.boolean() });
const steps: fc.Arbitrary<Step> = fc.oneof(
	{
		weight: 4,
		arbitrary: fc
			.tuple(entry, fc.boolean())
			.map(([{ by, ref, to, page: number, readOnly }, subPage]) => (world: World) => {
				const id = world.guest(to).domain.id;
				const page = FIRST_GRANTED + number;
				world.setEntry(world.guest(by), ref, { kind: "access", to: id, page, readOnly, subPage });
			}),
	},
	fc.tuple(entry, who, ref).map(([{ by, ref, to }, from, target]) => (world: World) => {
		const [id, source] = [world.guest(to).domain.id, world.guest(from).domain.id];
		world.setEntry(world.guest(by), ref, { kind: "transitive", to: id, from: source, ref: target });
	}),
	fc.record({ by: who, ref, to: who }).map(({ by, ref, to }) => (world: World) => {
		world.setEntry(world.guest(by), ref, { kind: "accept", to: world.guest(to).domain.id });
	}),
	fc.record({ by: who, ref }).map(
		({ by, ref }) =>
			(world: World) =>
				world.setEntry(world.guest(by), ref, undefined),
	),
	{
		weight: 6,
		arbitrary: fc
			.record({ use, slot: fc.integer({ min: 0, max: SLOTS - 1 }), readOnly: fc.boolean() })
			.map(({ use, slot, readOnly }) => (world: World) => {
				const { user, granter, ref } = world.resolve(use);
				world.map(user, granter, ref, FIRST_SLOT + slot, readOnly);
			}),
	},
	{ weight: 2, arbitrary: any.map((index) => (world: World) => world.unmap(index)) },
	{
		weight: 4,
		arbitrary: fc
			.record({ use, write: fc.boolean(), offset: fc.constantFrom(0, 252, 256, 312, 316, 4088) })
			.map(({ use, write, offset }) => (world: World) => {
				const { user, granter, ref } = world.resolve(use);
				world.copy(user, granter, ref, write, offset);
			}),
	},
	{
		weight: 2,
		arbitrary: use.map((use) => (world: World) => {
			const { user, granter, ref } = world.resolve(use);
			world.transfer(user, granter, ref);
		}),
	},
	fc.record({ a: who, b: who }).map(({ a, b }) => (world: World) => {
		if (a !== b) world.connect(world.guest(a), world.guest(b));
	}),
	fc.record({ index: any, side }).map(
		({ index, side }) =>
			(world: World) =>
				world.notify(index, side),
	),
	fc.record({ index: any, side }).map(
		({ index, side }) =>
			(world: World) =>
				world.close(index, side),
	),
	who.map((index) => (world: World) => world.replace(index)),
);

describe("domains with each other", () => {
	it("get what they are granted and nothing else, and leave nothing", () => {
		const count = () => ({ refused: 0, allowed: 0 });
		const seen: Seen = { map: count(), copy: count(), transfer: count() };
		fc.assert(
			fc.property(fc.array(steps, { minLength: 10, maxLength: 60, size: "max" }), (list) => {
				// Its own machine: one that a failure has left as it was would fail the shrunk ones for another reason.
				const machine = createMachine({ frames: 1024 });
				const { frames, timers } = machine.hypervisor;
				const before = [frames.free, timers.claimed, machine.hypervisor.slotsInUse];
				const world = new World(machine, seen);
				for (const step of list) {
					step(world);
					world.check();
				}
				world.end();
				for (const id of world.gone) expect(outstandingReferences(frames, id)).toEqual({ references: 0, types: 0 });
				expect([frames.free, timers.claimed, machine.hypervisor.slotsInUse]).toEqual(before);
			}),
			{ numRuns: 120 },
		);
		for (const { refused, allowed } of Object.values(seen)) expect(Math.min(refused, allowed)).toBeGreaterThan(5);
	});

	it("have no number that frames of one that is gone still have", () => {
		const machine = createMachine({ frames: 2048 });
		const [a, b] = [machine.addGuest(), machine.addGuest()];
		const world = { entry: a.domain.grants.entry(8) };
		a.memory.setU16(world.entry + 2, b.domain.id);
		a.memory.setU32(world.entry + 4, a.mfns[4] as number);
		a.memory.setU16(world.entry, GrantFlag.permitAccess);
		b.put(ARGS, [0, 8, page(9)], [8, 4, MapFlag.hostMap], [12, 4, 8], [16, 2, a.domain.id], [18, 2, 0]);
		expect(b.call(Call.grantTable, Op.mapGrantRef, ARGS, 1)).toBe(0);
		removeDomain(a.domain);
		const ids = new Set<number>();
		for (let round = 0; round < 0x7ff0; round++) {
			const { id } = machine.hypervisor.createDomain("again");
			ids.add(id);
			machine.hypervisor.domains.delete(id);
		}
		expect([ids.has(a.domain.id), ids.has(b.domain.id), ids.has(b.domain.id + 1)]).toEqual([false, false, true]);
		removeDomain(b.domain);
		expect(machine.hypervisor.frames.owned(a.domain.id)).toBe(0);
	});
});
