/**
 * Where guests spend their instructions: a sample each so many of them, with the calls that lead there. The processor stops exactly there and
 * goes on, and nothing that a guest could see is touched, so a run with the deterministic clock is the same with and without. Relies on the
 * kernel's symbols (Domain.symbolAt); Linux keeps no frame pointers, so calls are found as return addresses on its stack.
 */
import { CR2, ERROR_CODE, VECTOR } from "../cpu/layout.ts";
import { Access, Exit } from "../cpu/processor.ts";
import { Gpr } from "../cpu/registers.ts";
import { STATE } from "../memory/map.ts";
import type { Hypervisor } from "./hypervisor.ts";
import type { Vcpu } from "./vcpu.ts";

/** Instructions from one sample to the next: a prime, so as not to keep step with what the guest does regularly. */
const INTERVAL = 262_147;
/** THREAD_SIZE: kernel stacks are as large, and aligned to it. */
const STACK_SIZE = 16384;
const PAGE = 4096;
const MOST_CALLS = 64;
/** How far a return address that fits is looked for, before the next one is taken for that of a tail call. */
const LOOK_AHEAD = 6;
const KEPT = [VECTOR, ERROR_CODE, CR2, CR2 + 4];
const THUNK = /^__x86_indirect_(?:call_)?thunk|^__x86_return_thunk/;

/** Samples by their stack of functions, the outermost first, joined by ";" as flame graphs have them. */
export interface Profile {
	readonly interval: number;
	readonly stacks: ReadonlyMap<string, number>;
}

/** A place on the stack that holds an address behind a call instruction. */
interface Candidate {
	readonly caller: string;
	/** The function that is called there; undefined where that is computed. */
	readonly callee: string | undefined;
}

class Profiler implements Profile {
	readonly stacks = new Map<string, number>();

	constructor(
		private readonly hypervisor: Hypervisor,
		readonly interval: number,
	) {
		const { processor } = hypervisor;
		const run = processor.run.bind(processor);
		const consumed = (): number => processor.executed + processor.exitsHandled;
		let next = consumed() + interval;
		processor.run = (fuel) => {
			let left = fuel;
			for (;;) {
				const before = consumed();
				const exit = run(Math.min(left, Math.max(next - before, 1)));
				left -= consumed() - before;
				if (consumed() >= next) {
					next = consumed() + interval;
					this.sample();
				}
				if (exit !== Exit.fuel || left <= 0) return exit;
			}
		};
	}

	private sample(): void {
		const vcpu = this.hypervisor.scheduler.current;
		if (vcpu === undefined) return;
		const { memory } = this.hypervisor;
		const { registers } = vcpu;
		// What cannot be read leaves an exception in the context block, in the place of one that is on its way to the guest.
		const saved = KEPT.map((offset) => memory.u32(STATE + offset));
		const frames = vcpu.kernelMode ? this.kernelStack(vcpu) : [pageName(registers.rip), "user"];
		for (const [index, offset] of KEPT.entries()) memory.setU32(STATE + offset, saved[index] as number);
		const guests = [...this.hypervisor.domains.values()].filter(({ vcpus }) => vcpus.length > 0);
		const domains = guests.length > 1 ? [vcpu.domain.name] : [];
		const key = [...domains, ...frames.reverse()].join(";");
		this.stacks.set(key, (this.stacks.get(key) ?? 0) + 1);
	}

	/** Names of functions, the innermost first, and "kernel". */
	private kernelStack(vcpu: Vcpu): string[] {
		const { registers } = vcpu;
		const inner = functionAt(vcpu, registers.rip);
		const frames = [inner ?? pageName(registers.rip)];
		const candidates = this.candidates(vcpu);
		let from = 0;
		let callee = frames[0];
		while (from < candidates.length && frames.length < MOST_CALLS) {
			const near = candidates.slice(from, from + LOOK_AHEAD);
			let found = near.findIndex((candidate) => candidate.callee === callee);
			if (found < 0) found = near.findIndex((candidate) => candidate.callee === undefined);
			const { caller } = near[Math.max(found, 0)] as Candidate;
			from += Math.max(found, 0) + 1;
			frames.push(caller);
			callee = caller;
		}
		frames.push("kernel");
		return frames;
	}

	/** The return addresses on the kernel's stack, from its pointer upwards: what lies there from former calls is among them. */
	private candidates(vcpu: Vcpu): Candidate[] {
		const { memory } = this.hypervisor;
		const start = Math.ceil(vcpu.registers.get(Gpr.rsp) / 8) * 8;
		const end = (Math.floor(start / STACK_SIZE) + 1) * STACK_SIZE;
		const found: Candidate[] = [];
		let linear = -1;
		for (let address = start; address < end && found.length < MOST_CALLS * 2; address += 8) {
			if (linear < 0 || address % PAGE === 0) linear = translate(vcpu, address);
			if (linear < 0) break;
			// Kernel text and modules are in the last 2 GiB.
			if (memory.u32(linear + 4) === 0xffff_ffff && memory.u32(linear) >= 0x8000_0000) {
				const candidate = this.callBefore(vcpu, memory.i64(linear));
				if (candidate !== undefined) found.push(candidate);
			}
			linear += 8;
		}
		return found;
	}

	private callBefore(vcpu: Vcpu, address: number): Candidate | undefined {
		const caller = functionAt(vcpu, address - 1);
		if (caller === undefined) return undefined;
		const { memory } = this.hypervisor;
		const inPage = ((address % PAGE) + PAGE) % PAGE;
		if (inPage < 5) return undefined;
		const linear = translate(vcpu, address - 5);
		if (linear < 0) return undefined;
		if (memory.u8(linear) === 0xe8) {
			const callee = functionAt(vcpu, address + memory.i32(linear + 1));
			return { caller, callee: callee !== undefined && THUNK.test(callee) ? undefined : callee };
		}
		// CALL by a register or by memory: ff /2 with 2 to 6 bytes in all, of which the short ones are told here.
		const computed = [3, 2].some(
			(at) => memory.u8(linear + at) === 0xff && (memory.u8(linear + at + 1) & 0x38) === 0x10,
		);
		return computed ? { caller, callee: undefined } : undefined;
	}
}

function translate(vcpu: Vcpu, address: number): number {
	return vcpu.domain.hypervisor.processor.translate(address, Access.read, vcpu.registers.addressSpace);
}

function functionAt(vcpu: Vcpu, address: number): string | undefined {
	return vcpu.domain.symbolAt?.(address)?.replace(/\+0x[\da-f]+$/, "");
}

/** A place that has no symbol, by its page. */
function pageName(address: number): string {
	const page = Math.floor(address / PAGE) * PAGE;
	const high = Math.floor(page / 2 ** 32);
	const digits = `${(high >>> 0).toString(16)}${((page - high * 2 ** 32) >>> 0).toString(16).padStart(8, "0")}`;
	return `[${digits.replace(/^0+(?=.)/, "")}]`;
}

/** Samples all that runs on a machine from now on. */
export function attachProfiler(hypervisor: Hypervisor, interval = INTERVAL): Profile {
	return new Profiler(hypervisor, interval);
}
