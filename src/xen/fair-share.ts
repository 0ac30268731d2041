/**
 * Shares of the processor, as sched_credit of Xen gives them: a vCPU gets time in proportion to its domain's weight, and a domain with a
 * cap no more than so many hundredths of a processor. Each vCPU has a virtual time that passes the slower the greater its weight is; the
 * one that is furthest behind is next. Whoever has waited begins at the present, so that nobody saves up time in which others starve.
 * A cap is a budget that fills steadily up to an accounting period's share; a domain that has used it up is parked until some is there.
 */
import { NANOSECONDS_PER_MILLISECOND, NEVER } from "../machine/time-units.ts";
import type { TimerOwner } from "../machine/timers.ts";
import { DEFAULT_WEIGHT, type Domain } from "./domain.ts";
import type { Hypervisor } from "./hypervisor.ts";
import type { Vcpu } from "./vcpu.ts";

/** CSCHED_TICKS_PER_TSLICE's: the time over which a cap holds. */
const PERIOD = 30 * NANOSECONDS_PER_MILLISECOND;
/** What a parked domain must have again of a period's share before it goes on. */
const RESUME_SHARE = 1 / 3;

export class FairShare implements TimerOwner {
	/** Virtual time of the vCPU that was last chosen: nobody who can run is far behind it. */
	private present = 0;
	private readonly timer: number;

	constructor(private readonly hypervisor: Hypervisor) {
		this.timer = hypervisor.timers.claim(this);
	}

	/** A vCPU can run that could not before. */
	enter(vcpu: Vcpu): void {
		if (vcpu.virtualTime < this.present) vcpu.virtualTime = this.present;
	}

	/** The vCPU is next. */
	choose(vcpu: Vcpu): void {
		if (vcpu.virtualTime > this.present) this.present = vcpu.virtualTime;
	}

	/** Nanoseconds that a domain may run before it is parked. */
	budget(domain: Domain): number {
		if (domain.cap === 0) return NEVER;
		this.refill(domain);
		return domain.budget;
	}

	/** A vCPU has run for `time` nanoseconds. */
	charge(vcpu: Vcpu, time: number): void {
		const { domain } = vcpu;
		vcpu.virtualTime += (time * DEFAULT_WEIGHT) / domain.weight;
		if (domain.cap === 0) return;
		this.refill(domain);
		domain.budget -= time;
		if (domain.budget > 0) return;
		domain.parked = true;
		this.arm();
	}

	/** Gives a domain another weight and cap. */
	setParameters(domain: Domain, weight: number, cap: number): void {
		domain.weight = weight;
		domain.cap = cap;
		domain.budget = share(domain);
		domain.budgetTime = this.hypervisor.clock.now();
		domain.parked = false;
	}

	timerExpired(): void {
		const now = this.hypervisor.clock.now();
		for (const domain of this.hypervisor.domains.values()) {
			if (!domain.parked || resumeTime(domain) > now) continue;
			domain.parked = false;
			for (const vcpu of domain.vcpus) this.enter(vcpu);
		}
		this.arm();
	}

	private refill(domain: Domain): void {
		const now = this.hypervisor.clock.now();
		domain.budget = Math.min(share(domain), domain.budget + ((now - domain.budgetTime) * domain.cap) / 100);
		domain.budgetTime = now;
	}

	/** For the parked domain that goes on first. */
	private arm(): void {
		const { domains, loop, timers } = this.hypervisor;
		let earliest = NEVER;
		for (const domain of domains.values()) {
			if (domain.parked) earliest = Math.min(earliest, resumeTime(domain));
		}
		if (earliest === NEVER) return;
		timers.set(this.timer, earliest);
		loop.timerArmed(earliest);
	}
}

/** A period's share of a capped domain, in nanoseconds. */
function share(domain: Domain): number {
	return (PERIOD * domain.cap) / 100;
}

/** When a parked domain will have enough. */
function resumeTime(domain: Domain): number {
	const missing = share(domain) * RESUME_SHARE - domain.budget;
	return domain.budgetTime + Math.ceil((Math.max(0, missing) * 100) / domain.cap);
}
