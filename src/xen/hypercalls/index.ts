/**
 * All hypercalls by number, and the two ways of making them: the SYSCALL instruction of a guest kernel, and multicall. The tracer's
 * and the documentation's names come from this table too.
 */

import { Access } from "../../cpu/processor.ts";
import { Gpr, Segment } from "../../cpu/registers.ts";
import { FLAT_RING3_CS64, FLAT_RING3_SS64, multicallEntry } from "../abi/arch.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import { Arguments, type Hypercall, type HypercallResult, PREEMPTED, REGISTERS_SET } from "../hypercall.ts";
import { setFlatSegments } from "../pv/segments.ts";
import { clobberSyscallRegisters, eventsNeedDelivery } from "../pv/traps.ts";
import { addressOk, copyFromGuest, copyToGuest, SCRATCH } from "../scratch.ts";
import { TraceCategory } from "../trace.ts";
import type { Vcpu } from "../vcpu.ts";
import { consoleIoHypercalls } from "./console-io.ts";
import { descriptorHypercalls } from "./descriptors.ts";
import { eventChannelHypercalls } from "./event-channel.ts";
import { grantTableHypercalls } from "./grant-table.ts";
import { memoryHypercalls } from "./memory.ts";
import { mmuHypercalls } from "./mmu.ts";
import { physdevHypercalls } from "./physdev.ts";
import { refusedHypercalls } from "./refused.ts";
import { schedHypercalls, timerHypercalls } from "./sched.ts";
import { trapHypercalls } from "./traps.ts";
import { vcpuHypercalls } from "./vcpu.ts";
import { versionHypercalls } from "./version.ts";
import { vmAssistHypercalls } from "./vm-assist.ts";

/** Registers of the arguments. */
const ARGUMENT_REGISTERS = [Gpr.rdi, Gpr.rsi, Gpr.rdx, Gpr.r10, Gpr.r8, Gpr.r9] as const;
/** Length of the SYSCALL instruction: a preempted call executes it again. */
const SYSCALL_LENGTH = 2;
/** Entries of a multicall that are executed before the scheduler may look. */
const ENTRIES_AT_ONCE = 512;

/** Multicall's own declaration; the families' follow in {@link hypercallTable}. */
const multicallHypercall: Hypercall = {
	number: HypercallNumber.multicall,
	name: "multicall",
	arguments: [
		{ name: "call_list", kind: "pointer" },
		{ name: "nr_calls", kind: "unsigned" },
	],
	handler: multicall,
};

const families: readonly (readonly Hypercall[])[] = [
	trapHypercalls,
	mmuHypercalls,
	memoryHypercalls,
	descriptorHypercalls,
	vmAssistHypercalls,
	eventChannelHypercalls,
	grantTableHypercalls,
	schedHypercalls,
	timerHypercalls,
	vcpuHypercalls,
	versionHypercalls,
	consoleIoHypercalls,
	physdevHypercalls,
	[multicallHypercall],
	refusedHypercalls,
];

function tableOf(lists: readonly (readonly Hypercall[])[]): readonly (Hypercall | undefined)[] {
	const table: (Hypercall | undefined)[] = new Array(64).fill(undefined);
	for (const list of lists) {
		for (const call of list) {
			if (table[call.number] !== undefined)
				throw new Error(`hypercall ${call.number} (${call.name}) is declared twice`);
			table[call.number] = call;
		}
	}
	return table;
}

/** Every hypercall by its number; undefined where Xen 4.17 has none. */
export const hypercallTable: readonly (Hypercall | undefined)[] = tableOf(families);

const iretHypercall = hypercallTable[HypercallNumber.iret];

const direct = new Arguments();
const nested = new Arguments();

/** Makes one call and traces it. An exception of the handler passes through: the run loop ends the domain for it. */
function call(vcpu: Vcpu, hypercall: Hypercall, args: Arguments): HypercallResult {
	const { trace } = vcpu.domain.hypervisor;
	trace.hypercallCounts[hypercall.number] = (trace.hypercallCounts[hypercall.number] as number) + 1;
	if ((trace.categories & TraceCategory.hypercalls) === 0) return hypercall.handler(vcpu, args);
	const description = trace.describe(hypercall, args);
	const result = hypercall.handler(vcpu, args);
	trace.hypercall(vcpu, description, result);
	return result;
}

/**
 * SYSCALL in guest kernel mode: the call that RAX names, its result to RAX. RIP is behind the instruction. RCX and R11 become what
 * the instruction makes of them; the argument registers stay, except where a preempted call wrote what remains of it.
 */
export function dispatchHypercall(vcpu: Vcpu): void {
	const { registers } = vcpu;
	const hypercall = registers.high(Gpr.rax) === 0 ? hypercallTable[registers.low(Gpr.rax)] : undefined;
	// iret, which is every second one, sets RCX and R11 itself.
	if (hypercall !== iretHypercall) {
		clobberSyscallRegisters(vcpu);
		// SYSCALL forgets what CS and SS were; a kernel that used others than the flat ones finds these.
		if (registers.selector(Segment.cs) !== FLAT_RING3_CS64 || registers.selector(Segment.ss) !== FLAT_RING3_SS64) {
			setFlatSegments(vcpu);
		}
	}
	if (hypercall === undefined) {
		registers.set(Gpr.rax, -Errno.ENOSYS);
		return;
	}
	const { frames } = vcpu.domain.hypervisor;
	const { words } = frames;
	const state = registers.base >>> 2;
	const count = hypercall.arguments.length;
	for (let index = 0; index < count; index++) {
		const register = state + ARGUMENT_REGISTERS[index]! * 2;
		direct.set(index, words[register]!, words[register + 1]!);
	}
	// One share of work for the whole call, however many entries a multicall has.
	frames.startWork();
	const result = call(vcpu, hypercall, direct);
	if (typeof result === "number") {
		registers.set(Gpr.rax, result);
		return;
	}
	if (result !== PREEMPTED) return;
	for (let index = 0; index < count; index++) {
		registers.setHalves(ARGUMENT_REGISTERS[index] as number, direct.low(index), direct.high(index));
	}
	registers.rip -= SYSCALL_LENGTH;
}

/**
 * A list of struct multicall_entry, each with its result. Entries that do not exist get -ENOSYS; a nested multicall is refused. It is
 * preempted between entries where events wait, and within one whose handler was.
 */
function multicall(vcpu: Vcpu, args: Arguments): HypercallResult {
	const { hypervisor } = vcpu.domain;
	const { memory, processor, trace } = hypervisor;
	const { offset, size } = multicallEntry;
	if (args === nested) return -Errno.EINVAL;
	let address = args.signed(0);
	const count = args.low(1);
	if (!addressOk(address) || !addressOk(address + count * size)) return -Errno.EFAULT;
	for (let done = 0; done < count; done++) {
		if (done > 0 && (done >= ENTRIES_AT_ONCE || eventsNeedDelivery(vcpu))) {
			args.setNumber(0, address);
			args.set(1, count - done, 0);
			return PREEMPTED;
		}
		let entry: number;
		const inPage = ((address % 4096) + 4096) & 4095;
		if (inPage <= 4096 - size) {
			entry = processor.translate(address, Access.read, 0);
			if (entry < 0) return -Errno.EFAULT;
		} else {
			if (!copyFromGuest(hypervisor, address, size)) return -Errno.EFAULT;
			entry = SCRATCH;
		}
		const hypercall =
			memory.u32(entry + offset.op + 4) === 0 ? hypercallTable[memory.u32(entry + offset.op)] : undefined;
		for (let index = 0; index < 6; index++) {
			const word = entry + offset.args + index * 8;
			nested.set(index, memory.u32(word), memory.u32(word + 4));
		}
		trace.count("multicallEntries");
		const result = hypercall === undefined ? -Errno.ENOSYS : call(vcpu, hypercall, nested);
		// iret leaves the kernel: there is nobody to give the rest's results to.
		if (result === REGISTERS_SET || vcpu.domain.shutdown !== undefined) return REGISTERS_SET;
		if (result === PREEMPTED) {
			const arguments_ = hypercall?.arguments.length ?? 0;
			for (let index = 0; index < 6; index++) {
				memory.setU32(SCRATCH + index * 8, nested.low(index));
				memory.setU32(SCRATCH + index * 8 + 4, nested.high(index));
			}
			if (!copyToGuest(hypervisor, address + offset.args, arguments_ * 8)) return -Errno.EFAULT;
			args.setNumber(0, address);
			args.set(1, count - done, 0);
			return PREEMPTED;
		}
		// The call may have changed what is mapped here: looked up again.
		memory.setU64(SCRATCH, result as number);
		if (!copyToGuest(hypervisor, address + offset.result, 8)) return -Errno.EFAULT;
		address += size;
	}
	return 0;
}
