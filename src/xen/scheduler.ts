/**
 * Who runs, and for how long: the vCPUs that can run take turns on one thread; whose turn it is says fair-share.ts, when turns are the machine's main loop
 * (machine/loop.ts). With the deterministic clock slices stop exactly at deadlines.
 */
import { CONTEXT_COUNT, CONTEXT_SIZE } from "../cpu/layout.ts";
import { type LoopOptions, type Runner, Turn } from "../machine/loop.ts";
import { NANOSECONDS_PER_MILLISECOND, NEVER } from "../machine/time-units.ts";
import { CONTEXTS, STATE } from "../memory/map.ts";
import { RunstateName } from "./abi/vcpu.ts";
import type { Domain } from "./domain.ts";
import { FairShare } from "./fair-share.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { updateRunstateArea, updateVcpuTime, updateWallClock } from "./time/time.ts";
import type { Vcpu } from "./vcpu.ts";
import { SHARED, shared } from "./vcpu-block.ts";

/** Runs a vCPU for at most `fuel` instructions; returns early when it cannot go on or `vcpu.reschedule` is set. src/xen/pv/run.ts */
export type RunVcpu = (vcpu: Vcpu, fuel: number) => unknown;

export interface SchedulerOptions extends LoopOptions {
	/** Instructions that a vCPU may run while another waits for the processor. */
	readonly quantum?: number;
	/** Instructions that it may run at once while none does. */
	readonly slice?: number;
}

/** Counters for --stats. */
export interface SchedulerStatistics {
	slices: number;
	contextSwitches: number;
}

/** The context that is loaded while no vCPU's is; no vCPU gets it. */
export const IDLE_CONTEXT = CONTEXT_COUNT - 1;

const QUANTUM = 100_000;
const SLICE = 2_000_000;
const SHORTEST_REAL_SLICE = 2_000;
/** A first guess of instructions a nanosecond, until it has been measured. */
const INITIAL_SPEED = 0.1;

export class Scheduler implements Runner {
	/** The vCPU whose context is loaded. */
	current: Vcpu | undefined;
	readonly statistics: SchedulerStatistics = { slices: 0, contextSwitches: 0 };

	private readonly quantum: number;
	private readonly slice: number;
	/** All vCPUs of all domains, in their order of turns. */
	private vcpus: Vcpu[] = [];
	private nextTurn = 0;
	/** There are vCPUs that are not among them yet. */
	private incomplete = false;
	private readonly share: FairShare;
	/** Instructions that the current vCPU has had in its turn. */
	private used = 0;
	/** System time at which the running slice will have ended; NEVER between slices. */
	private sliceEnd = NEVER;
	/** Instructions a nanosecond, for slices of real time. */
	private speed = INITIAL_SPEED;
	constructor(
		private readonly hypervisor: Hypervisor,
		private readonly runVcpu: RunVcpu,
		options: SchedulerOptions = {},
	) {
		this.quantum = options.quantum ?? QUANTUM;
		this.slice = options.slice ?? SLICE;
		this.share = new FairShare(hypervisor);
		// Nobody's registers are in the running context, so that the first vCPU's are loaded like any other's.
		hypervisor.processor.switchContext(IDLE_CONTEXT);
	}

	/** Ends a vCPU's SCHEDOP_block or SCHEDOP_poll. */
	unblock(vcpu: Vcpu): void {
		if (!vcpu.blocked) return;
		vcpu.blocked = false;
		if (vcpu.pollPort !== 0) this.endPoll(vcpu);
		this.share.enter(vcpu);
		vcpu.runstate.change(stateOf(vcpu), this.hypervisor.clock.now());
		this.preempt(this.quantum);
		this.hypervisor.loop.wake();
	}

	/** SCHEDOP_block: the vCPU waits for an event. */
	block(vcpu: Vcpu): void {
		vcpu.blocked = true;
		vcpu.reschedule = true;
	}

	/** SCHEDOP_poll: it waits for `port` (-1: one of several), or until its poll timer. */
	poll(vcpu: Vcpu, port: number): void {
		vcpu.pollPort = port;
		vcpu.domain.events.pollers++;
		this.block(vcpu);
	}

	/** VCPUOP_up and the builder: the vCPU may run from now on. */
	bringUp(vcpu: Vcpu): void {
		vcpu.online = true;
		vcpu.blocked = false;
		this.incomplete = true;
		this.share.enter(vcpu);
		vcpu.runstate.change(stateOf(vcpu), this.hypervisor.clock.now());
		if (vcpu.id === 0) updateWallClock(vcpu.domain);
		updateVcpuTime(vcpu);
		vcpu.timers.start();
		this.preempt(this.quantum);
		this.hypervisor.loop.wake();
	}

	/** VCPUOP_down */
	takeDown(vcpu: Vcpu): void {
		vcpu.online = false;
		vcpu.blocked = false;
		if (vcpu.pollPort !== 0) this.endPoll(vcpu);
		vcpu.timers.stop();
		vcpu.reschedule = true;
		if (vcpu !== this.current) vcpu.runstate.change(RunstateName.offline, this.hypervisor.clock.now());
	}

	/** The toolstack stops a domain, until it lets it go on as often. */
	pause(domain: Domain): void {
		domain.pauses++;
		if (domain.pauses > 1) return;
		const now = this.hypervisor.clock.now();
		for (const vcpu of domain.vcpus) {
			const { state } = vcpu.runstate;
			// One that executes leaves the processor at the end of its slice; between two slices there will be none.
			if (vcpu === this.current && this.sliceEnd !== NEVER) vcpu.reschedule = true;
			else if (state === RunstateName.running || state === RunstateName.runnable) {
				vcpu.runstate.change(RunstateName.offline, now);
				if (vcpu === this.current) updateRunstateArea(vcpu);
			}
		}
	}

	unpause(domain: Domain): void {
		if (domain.pauses === 0 || --domain.pauses > 0) return;
		const now = this.hypervisor.clock.now();
		for (const vcpu of domain.vcpus) {
			this.share.enter(vcpu);
			if (stateOf(vcpu) === RunstateName.runnable) vcpu.runstate.change(RunstateName.runnable, now);
		}
		this.preempt(this.quantum);
		this.hypervisor.loop.wake();
	}

	/** Gives a domain another share: a weight beside others', and hundredths of a processor at the most (0: no limit). */
	setParameters(domain: Domain, weight: number, cap: number): void {
		this.share.setParameters(domain, weight, cap);
		this.hypervisor.loop.wake();
	}

	/** What the running vCPU has had done for it, beside the instructions that it executes; in instructions. */
	charge(instructions: number): void {
		this.used += instructions;
	}

	/** A domain is taken off the machine: its vCPUs never run again, their timers and contexts are free. */
	remove(domain: Domain): void {
		for (const vcpu of domain.vcpus) {
			this.takeDown(vcpu);
			vcpu.timers.release();
			if (vcpu === this.current) this.unload();
		}
		domain.watchdogs?.release();
		this.vcpus = this.vcpus.filter((vcpu) => vcpu.domain !== domain);
		this.nextTurn = 0;
	}

	interrupt(deadline?: number): void {
		if (this.current === undefined) return;
		if (deadline === undefined || (deadline < this.sliceEnd && this.sliceEnd !== NEVER)) this.current.reschedule = true;
	}

	turn(): Turn {
		const vcpu = this.pick();
		if (vcpu === undefined) return Turn.none;
		this.execute(vcpu);
		if (vcpu.blocked) this.hypervisor.loop.waitBegun();
		// Simple guests ask for the end of a host's operation again and again, with SCHEDOP_yield.
		return vcpu.yielded && !this.othersWait() ? Turn.polled : Turn.done;
	}

	/** The vCPU whose turn it is, or undefined where none can run. */
	private pick(): Vcpu | undefined {
		const { current } = this;
		if (current !== undefined && this.used < this.quantum && !current.yielded && canRun(current)) return current;
		if (this.incomplete) this.collect();
		const { vcpus } = this;
		const { length } = vcpus;
		let best = -1;
		for (let tried = 0, index = this.nextTurn; tried < length; tried++, index++) {
			if (index >= length) index = 0;
			const vcpu = vcpus[index] as Vcpu;
			if (!canRun(vcpu) || (vcpu === current && vcpu.yielded)) continue;
			// Of equals, the one that has waited longest.
			if (best < 0 || vcpu.virtualTime < (vcpus[best] as Vcpu).virtualTime) best = index;
		}
		const alone = current?.yielded === true && canRun(current) ? current : undefined;
		if (current !== undefined) current.yielded = false;
		const chosen = best < 0 ? alone : vcpus[best];
		if (chosen === undefined) return undefined;
		if (best >= 0) this.nextTurn = best + 1;
		this.used = 0;
		this.share.choose(chosen);
		return chosen;
	}

	/** Notices vCPUs that have come. */
	private collect(): void {
		this.incomplete = false;
		this.vcpus = [];
		for (const domain of this.hypervisor.domains.values()) this.vcpus.push(...domain.vcpus);
	}

	/** One slice. */
	private execute(vcpu: Vcpu): void {
		const { clock, processor, timers } = this.hypervisor;
		this.load(vcpu);
		const start = clock.now();
		if (vcpu.runstate.state !== RunstateName.running) {
			vcpu.runstate.change(RunstateName.running, start);
			updateRunstateArea(vcpu);
		}
		vcpu.timers.catchUp();
		vcpu.reschedule = false;
		const before = processor.executed;
		const usedBefore = this.used;
		const fuel = this.fuel(Math.min(timers.next() - start, this.share.budget(vcpu.domain)));
		this.sliceEnd = start + fuel / this.speedOf();
		this.statistics.slices++;
		try {
			this.runVcpu(vcpu, fuel);
		} catch (error) {
			const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
			vcpu.domain.crash(`failure of the hypervisor: ${reason}`);
		}
		this.sliceEnd = NEVER;
		const executed = processor.executed - before;
		// A slice that executes nothing (a vCPU that only takes exceptions) uses its turn up all the same.
		this.used += Math.max(executed, 1);
		const end = clock.now();
		// In deterministic time, what was done for the vCPU took none.
		this.share.charge(vcpu, clock.deterministic ? this.used - usedBefore : end - start);
		if (executed > 10_000 && end > start) this.speed += (executed / (end - start) - this.speed) / 8;
		if (!canRun(vcpu)) {
			vcpu.runstate.change(stateOf(vcpu), end);
			updateRunstateArea(vcpu);
		}
	}

	/** Instructions a nanosecond of system time. */
	private speedOf(): number {
		const { clock } = this.hypervisor;
		const exact = (clock as { readonly nanosecondsPerInstruction?: number }).nanosecondsPerInstruction;
		return exact === undefined ? this.speed : 1 / exact;
	}

	/** How many instructions the next slice has: to the next deadline, and no longer than a turn where others wait. */
	private fuel(untilDeadline: number): number {
		const { deterministic } = this.hypervisor.clock;
		const most = this.othersWait() ? this.quantum - this.used : this.longestSlice(deterministic);
		if (untilDeadline === NEVER) return Math.max(1, most);
		const until = Math.ceil(untilDeadline * this.speedOf());
		// Real time is only estimated: slices that are too short cost more than timers that are a little late.
		return Math.max(1, Math.min(most, Math.max(deterministic ? 1 : SHORTEST_REAL_SLICE, until)));
	}

	/** Real slices end about when the host wants its turn; deterministic ones must not depend on the host's speed. */
	private longestSlice(deterministic: boolean): number {
		if (deterministic) return this.slice;
		const interval = this.hypervisor.loop.hostInterval * NANOSECONDS_PER_MILLISECOND * this.speed;
		return Math.floor(Math.max(SHORTEST_REAL_SLICE, Math.min(this.slice, interval)));
	}

	/** Leaves the current vCPU's context, whose slot may get another owner. */
	private unload(): void {
		this.current = undefined;
		this.hypervisor.processor.switchContext(IDLE_CONTEXT);
	}

	private othersWait(): boolean {
		for (const vcpu of this.vcpus) if (vcpu !== this.current && canRun(vcpu)) return true;
		return false;
	}

	/** Makes a vCPU's context the running one. */
	private load(vcpu: Vcpu): void {
		const { current } = this;
		if (current === vcpu) return;
		const { clock, memory, processor } = this.hypervisor;
		if (current !== undefined) {
			if (current.runstate.state === RunstateName.running) {
				current.runstate.change(RunstateName.runnable, clock.now());
				updateRunstateArea(current);
			}
			current.registers.base = CONTEXTS + current.slot * CONTEXT_SIZE;
		}
		processor.switchContext(vcpu.slot);
		vcpu.registers.base = STATE;
		processor.setRoot(0, vcpu.kernelRoot);
		processor.setRoot(1, vcpu.userRoot);
		this.current = vcpu;
		memory.setU32(SHARED + shared.offset.currentBlock, vcpu.block.address);
		this.statistics.contextSwitches++;
	}

	/** Ends the running slice early where it is longer than a turn: somebody else can run now. */
	private preempt(limit: number): void {
		const { current } = this;
		if (current !== undefined && this.sliceEnd !== NEVER) {
			if ((this.sliceEnd - this.hypervisor.clock.now()) * this.speedOf() > limit) current.reschedule = true;
		}
	}

	private endPoll(vcpu: Vcpu): void {
		vcpu.pollPort = 0;
		vcpu.domain.events.pollers--;
		vcpu.timers.stopPoll();
	}

	get alive(): boolean {
		for (const domain of this.hypervisor.domains.values()) if (isAlive(domain)) return true;
		return false;
	}
}

function isAlive(domain: Domain): boolean {
	return domain.shutdown === undefined && domain.vcpus.length > 0;
}

function canRun(vcpu: Vcpu): boolean {
	return vcpu.online && !vcpu.blocked && vcpu.domain.canRun;
}

/** RUNSTATE_* of a vCPU that does not run. */
function stateOf(vcpu: Vcpu): number {
	const { paused, shutdown } = vcpu.domain;
	if (!vcpu.online || shutdown !== undefined) return RunstateName.offline;
	if (vcpu.blocked) return RunstateName.blocked;
	return paused ? RunstateName.offline : RunstateName.runnable;
}
