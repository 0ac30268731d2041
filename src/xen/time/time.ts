/**
 * What a guest knows of time: vcpu_time_info (the pvclock), the wall clock of shared_info, and the runstates from which it takes
 * its stolen time (public/xen.h, public/vcpu.h). The areas that guests register by virtual address are written through the page
 * tables of the vCPU that runs, as Xen does: what cannot be written is left alone.
 */

import { NANOSECONDS_PER_SECOND } from "../../machine/time-units.ts";
import { PvclockFlag, sharedInfo, vcpuInfo, vcpuTimeInfo } from "../abi/shared-info.ts";
import { RunstateName, runstateInfo } from "../abi/vcpu.ts";
import type { Domain } from "../domain.ts";
import { copyToGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

const VCPU_TIME = vcpuInfo.offset.time;
const TWO_32 = 2 ** 32;
/** VMASST_TYPE_runstate_update_flag */
const RUNSTATE_UPDATE_FLAG_ASSIST = 5;

/** tsc_to_system_mul and tsc_shift for a TSC: nanoseconds = ((ticks << shift) * mul) >> 32. */
export interface TscScale {
	readonly multiplier: number;
	readonly shift: number;
}

/** The scale of a TSC of `frequency` ticks a second, normalised so that the multiplier has its top bit set. */
export function tscScale(frequency: number): TscScale {
	let ratio = NANOSECONDS_PER_SECOND / frequency;
	let shift = 0;
	while (ratio >= 1) {
		ratio /= 2;
		shift++;
	}
	while (ratio < 0.5) {
		ratio *= 2;
		shift--;
	}
	return { multiplier: Math.min(Math.floor(ratio * TWO_32), TWO_32 - 1), shift };
}

/**
 * Writes a vCPU's time base, with an odd version while it changes, and its second copy where it registered one and runs.
 * The TSC counts from system time 0 at a fixed rate, so the base is (0, 0) and is written once, and again only where its place moves.
 */
export function updateVcpuTime(vcpu: Vcpu): void {
	const { memory, clock } = vcpu.domain.hypervisor;
	if (vcpu.vcpuInfo === 0) return;
	const { multiplier, shift } = tscScale(clock.tscFrequency);
	const info = vcpuTimeInfo.at(memory, vcpu.vcpuInfo + VCPU_TIME);
	const version = (info.version | 1) >>> 0;
	info.version = version;
	info.tscTimestamp = 0;
	info.systemTime = 0;
	info.tscToSystemMul = multiplier;
	info.tscShift = shift & 0xff;
	info.flags = PvclockFlag.tscStable;
	info.version = (version + 1) >>> 0;
	updateTimeArea(vcpu);
}

/** Writes the copy that VCPUOP_register_vcpu_time_memory_area asked for; the vCPU must be the running one. */
export function updateTimeArea(vcpu: Vcpu): boolean {
	if (vcpu.timeArea === 0 || vcpu.vcpuInfo === 0) return false;
	return copyToGuest(vcpu.domain.hypervisor, vcpu.timeArea, vcpuTimeInfo.size, vcpu.vcpuInfo + VCPU_TIME);
}

/** Writes the wall clock: the time of day at system time 0. */
export function updateWallClock(domain: Domain): void {
	const { memory, clock } = domain.hypervisor;
	const info = sharedInfo.at(memory, domain.sharedInfo);
	const version = (info.wcVersion | 1) >>> 0;
	const seconds = Math.floor(clock.wallClockBase / NANOSECONDS_PER_SECOND);
	info.wcVersion = version;
	info.wcSec = seconds >>> 0;
	info.wcSecHi = Math.floor(seconds / TWO_32);
	info.wcNsec = clock.wallClockBase - seconds * NANOSECONDS_PER_SECOND;
	info.wcVersion = (version + 1) >>> 0;
}

/** Where a vCPU's time went. */
export class Runstate {
	/** RUNSTATE_* */
	state: number = RunstateName.offline;
	/** System time since which it is in that state. */
	entered = 0;
	/** Nanoseconds spent in each state before. */
	readonly times = new Float64Array(4);
	/** Virtual address of the registered area, 0 where there is none. */
	area = 0;

	change(state: number, now: number): void {
		const spent = now - this.entered;
		if (spent > 0) {
			this.times[this.state] = (this.times[this.state] as number) + spent;
			this.entered = now;
		}
		this.state = state;
	}
}

/** Lays out struct vcpu_runstate_info at a linear address, the current state's time up to `now` where given. */
export function writeRunstate(vcpu: Vcpu, linear: number, now = vcpu.runstate.entered): void {
	const { memory } = vcpu.domain.hypervisor;
	const { runstate } = vcpu;
	memory.setU32(linear, runstate.state);
	memory.setU32(linear + 4, 0);
	memory.setU64(linear + runstateInfo.offset.stateEntryTime, runstate.entered);
	for (let state = 0; state < 4; state++) {
		const running = state === runstate.state ? Math.max(0, now - runstate.entered) : 0;
		memory.setU64(linear + runstateInfo.offset.time + state * 8, (runstate.times[state] as number) + running);
	}
}

/**
 * Writes the running vCPU's registered runstate area. With the runstate_update_flag assist the top bit of state_entry_time is
 * set while the rest changes, so that other vCPUs of the guest can read it too.
 */
export function updateRunstateArea(vcpu: Vcpu): void {
	const { area } = vcpu.runstate;
	if (area === 0) return;
	const { hypervisor } = vcpu.domain;
	const { memory } = hypervisor;
	const entry = runstateInfo.offset.stateEntryTime;
	const high = SCRATCH + entry + 7;
	writeRunstate(vcpu, SCRATCH);
	if (((vcpu.domain.vmAssist >>> RUNSTATE_UPDATE_FLAG_ASSIST) & 1) === 0) {
		copyToGuest(hypervisor, area, runstateInfo.size);
		return;
	}
	memory.setU8(high, memory.u8(high) | 0x80);
	if (!copyToGuest(hypervisor, area + entry + 7, 1, high)) return;
	copyToGuest(hypervisor, area, runstateInfo.size);
	memory.setU8(high, memory.u8(high) & 0x7f);
	copyToGuest(hypervisor, area + entry + 7, 1, high);
}
