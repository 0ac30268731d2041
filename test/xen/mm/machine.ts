/** A small machine for the tests of memory management: real memory and frame table, a processor that is only a TLB. */

import { Access, Exit, type Processor } from "../../../src/cpu/processor.ts";
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import { HypervisorLog } from "../../../src/machine/log.ts";
import { FRAME_INFO_SIZE, FRAME_TABLE, FRAMES } from "../../../src/memory/map.ts";
import { Memory } from "../../../src/memory/memory.ts";
import { Domain } from "../../../src/xen/domain.ts";
import { Arguments, type Hypercall, type HypercallResult, PREEMPTED } from "../../../src/xen/hypercall.ts";
import type { Hypervisor } from "../../../src/xen/hypervisor.ts";
import { FrameTable } from "../../../src/xen/mm/frames.ts";
import { GuestMemory } from "../../../src/xen/mm/guest-memory.ts";
import { pteFrame } from "../../../src/xen/mm/pte.ts";
import { adoptInitialTables } from "../../../src/xen/mm/roots.ts";
import { Vcpu } from "../../../src/xen/vcpu.ts";

export const P = 1;
export const RW = 2;
export const US = 4;
/** Where the test guest has its memory: frame number n of its own at KERNEL + n * 4096. */
export const KERNEL = -(2 ** 31);
/** Its first frames are its tables: L4, L3, L2, L1. */
export const L4 = 0;
export const L3 = 1;
export const L2 = 2;
export const L1 = 3;

interface Translation {
	readonly mfn: number;
	readonly writable: boolean;
}

/** Walks tables as a processor does, and keeps what it found until it is told to forget. */
export class TlbProcessor implements Processor {
	readonly executed = 0;
	readonly exitsHandled = 0;
	readonly interruptShadow = false;
	vendor: CpuVendor = "intel";
	readonly interruptLength = 0;
	readonly roots = [0, 0];
	readonly tlb = [new Map<number, Translation>(), new Map<number, Translation>()];
	flushes = 0;
	changed: number[] = [];

	constructor(readonly memory: Memory) {}

	run(): Exit {
		return Exit.fuel;
	}
	runDiverted(): Exit {
		return Exit.fuel;
	}
	switchContext(): void {}
	setRoot(space: number, mfn: number): void {
		this.roots[space] = mfn;
	}
	flushAll(): void {
		this.flushes++;
		for (const map of this.tlb) map.clear();
	}
	flushSpace(space: number): void {
		this.tlb[space]!.clear();
	}
	forgetFrame(mfn: number): void {
		for (const map of this.tlb) {
			for (const [page, found] of map) if (found.mfn === mfn) map.delete(page);
		}
	}
	flushLower(): void {
		for (const map of this.tlb) {
			for (const page of map.keys()) if (page >= 0) map.delete(page);
		}
	}
	flushPage(address: number): void {
		for (const map of this.tlb) map.delete(Math.floor(address / 4096));
	}
	codeChanged(mfn: number): void {
		this.changed.push(mfn);
	}

	translate(address: number, access: Access, space: number): number {
		const page = Math.floor(address / 4096);
		const cached = this.tlb[space]!.get(page);
		let found = cached;
		if (found === undefined || (access === Access.write && !found.writable)) {
			found = this.walk(address, this.roots[space]!);
			if (found === undefined || (access === Access.write && !found.writable)) return -1;
			this.tlb[space]!.set(page, found);
		}
		return FRAMES + found.mfn * 4096 + (((address % 4096) + 4096) % 4096);
	}

	private walk(address: number, root: number): Translation | undefined {
		const bits = BigInt.asUintN(64, BigInt(address));
		let table = root;
		let writable = true;
		for (let level = 4; level >= 1; level--) {
			const slot = Number((bits >> BigInt(12 + (level - 1) * 9)) & 511n);
			const at = this.memory.frame(table) + slot * 8;
			const low = this.memory.u32(at);
			if ((low & P) === 0 || (low & US) === 0) return undefined;
			writable &&= (low & RW) !== 0;
			table = pteFrame(low, this.memory.u32(at + 4));
		}
		return { mfn: table, writable };
	}
}

export interface Guest {
	readonly domain: Domain;
	readonly vcpu: Vcpu;
	/** Machine frames by the guest's own numbers. */
	readonly mfns: number[];
}

export class Machine {
	readonly memory: Memory;
	readonly processor: TlbProcessor;
	readonly frames: FrameTable;
	readonly log = new HypervisorLog();
	readonly lines: string[] = [];
	readonly domains = new Map<number, Domain>();
	readonly hypervisor: Hypervisor;

	/** @param memory one that an earlier machine used, to be cleared: making one is slow */
	constructor(frames = 1000, memory?: Memory) {
		memory?.fill(memory.frame(0), frames * 4096, 0);
		memory?.fill(FRAME_TABLE, frames * FRAME_INFO_SIZE, 0);
		this.memory = memory ?? new Memory(frames);
		this.processor = new TlbProcessor(this.memory);
		this.log.listener = (line) => this.lines.push(line);
		this.frames = new FrameTable(this.memory, this);
		this.hypervisor = {
			memory: this.memory,
			processor: this.processor,
			frames: this.frames,
			log: this.log,
			domains: this.domains,
			guestMemory: new GuestMemory(this.memory, this.processor),
		} as unknown as Hypervisor;
	}

	/** Entry `slot` of the table in `mfn`, and how to write one past all checks. */
	entry(mfn: number, slot: number): bigint {
		return this.memory.big(this.memory.frame(mfn) + slot * 8);
	}
	poke(mfn: number, slot: number, value: bigint): void {
		this.memory.setBig(this.memory.frame(mfn) + slot * 8, value);
	}

	/** A domain with `count` frames, all mapped at KERNEL, its four tables read-only, running. */
	guest(id: number, count: number): Guest {
		const domain = new Domain(this.hypervisor, id, `guest${id}`);
		this.domains.set(id, domain);
		domain.maximumPages = count;
		const vcpu = new Vcpu(domain, 0, id);
		domain.vcpus.push(vcpu);
		const mfns = Array.from({ length: count }, () => this.frames.allocate(id)!);
		for (const [pfn, mfn] of mfns.entries()) this.frames.setM2p(mfn, pfn);
		this.poke(mfns[L4]!, 511, pte(mfns[L3]!));
		this.poke(mfns[L3]!, 510, pte(mfns[L2]!));
		this.poke(mfns[L2]!, 0, pte(mfns[L1]!));
		for (let pfn = 0; pfn < count; pfn++) this.poke(mfns[L1]!, pfn, pte(mfns[pfn]!, pfn > L1 ? P | RW : P));
		const result = adoptInitialTables(domain, mfns[L4]!);
		if (result !== 0) throw new Error(`adoptInitialTables: ${result}: ${this.lines.join("\n")}`);
		this.processor.setRoot(0, mfns[L4]!);
		this.processor.setRoot(1, 0);
		this.processor.flushAll();
		return { domain, vcpu, mfns };
	}

	/** Makes a hypercall, as often as it is preempted. */
	call(guest: Guest, list: readonly Hypercall[], name: string, ...values: (bigint | number)[]): number {
		const args = new Arguments();
		for (const [index, value] of values.entries()) {
			const bits = BigInt.asUintN(64, BigInt(value));
			args.set(index, Number(bits & 0xffff_ffffn), Number(bits >> 32n));
		}
		const hypercall = list.find((entry) => entry.name === name)!;
		for (let turn = 0; turn < 10_000; turn++) {
			const result: HypercallResult = hypercall.handler(guest.vcpu, args);
			if (result !== PREEMPTED) return result as number;
			this.preemptions++;
		}
		throw new Error(`${name} never ends`);
	}
	preemptions = 0;

	/** Stores words in the guest's memory at its frame `pfn`, byte offset `offset`; returns their virtual address. */
	put(guest: Guest, pfn: number, words: readonly (bigint | number)[], offset = 0): number {
		for (const [index, word] of words.entries()) {
			this.memory.setBig(this.memory.frame(guest.mfns[pfn]!) + offset + index * 8, BigInt(word));
		}
		return KERNEL + pfn * 4096 + offset;
	}
}

export function pte(mfn: number, flags = P | RW): bigint {
	return (BigInt(mfn) << 12n) | BigInt(flags);
}
