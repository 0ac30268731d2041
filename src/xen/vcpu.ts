/** A virtual CPU of a PV guest: its registers, how it wants events and exceptions delivered, and whether it can run. */
import type { Registers } from "../cpu/registers.ts";
import type { Domain } from "./domain.ts";

/** An entry of set_trap_table: struct trap_info. */
export interface TrapEntry {
	vector: number;
	/** Bits 0-1: the privilege that may raise it by INT n (0 never from user mode); bit 2: mask events on entry. */
	flags: number;
	selector: number;
	/** Virtual address of the handler; 0 where none is set. */
	address: number;
}

/** A callback of callback_op/set_callbacks. */
export interface Callback {
	address: number;
	maskEvents: boolean;
}

export class Vcpu {
	/** Up: VCPUOP_up has been called (or it is vCPU 0). */
	online = false;
	/** SCHEDOP_block or poll: waits for an event. */
	blocked = false;
	/** TF_kernel_mode: the guest kernel runs, not one of its user programs. */
	kernelMode = true;
	/** Machine frames of the two L4 tables; user 0 where none is set. */
	kernelRoot = 0;
	userRoot = 0;
	/** stack_switch. */
	kernelStackSelector = 0;
	kernelStackPointer = 0;
	readonly traps: TrapEntry[] = [];
	eventCallback: Callback | undefined;
	failsafeCallback: Callback | undefined;
	syscallCallback: Callback | undefined;
	syscall32Callback: Callback | undefined;
	sysenterCallback: Callback | undefined;
	nmiCallback: Callback | undefined;
	/** Linear address of this vCPU's vcpu_info: in shared_info, or where register_vcpu_info put it. */
	vcpuInfo = 0;

	constructor(
		readonly domain: Domain,
		readonly id: number,
		readonly registers: Registers,
	) {}

	/** "d1v0" in logs. */
	get label(): string {
		return `d${this.domain.id}v${this.id}`;
	}
}
