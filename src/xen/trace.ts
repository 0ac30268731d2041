/**
 * What a domain's run is made of: counters by name for --stats, and a trace for --trace that prints each hypercall, event or
 * fault with its arguments. Names and argument kinds come from the hypercall table. A trace that is off costs one test of a
 * number.
 */

import type { Memory } from "../memory/memory.ts";
import { DOMID_SELF } from "./abi/domid.ts";
import { exceptionName } from "./abi/traps.ts";
import type { Arguments, Hypercall, HypercallResult } from "./hypercall.ts";
import type { Vcpu } from "./vcpu.ts";
import { counters, HYPERCALLS, SHARED, shared, TRAP_VECTORS } from "./vcpu-block.ts";

/** What can be traced, as bits. */
export const TraceCategory = { hypercalls: 1, events: 2, faults: 4, emulation: 8, all: 15 } as const;
export type TraceCategoryName = keyof typeof TraceCategory;

/** The bits of a list of categories such as "hypercalls,faults", or undefined where it names an unknown one. */
export function parseTraceCategories(list: string): number | undefined {
	let mask = 0;
	for (const name of list.split(",")) {
		if (!Object.hasOwn(TraceCategory, name)) return undefined;
		mask |= TraceCategory[name as TraceCategoryName];
	}
	return mask;
}

/** Upcalls to the event callback, entries of user system calls, calls made by multicall entries (which hypercallCounts has too), emulated instructions and page-table writes. */
const TOTALS = [
	"eventUpcalls",
	"systemCalls",
	"multicallEntries",
	"emulatedInstructions",
	"emulatedPageTableWrites",
] as const;
type Total = (typeof TOTALS)[number];

export class Trace {
	/** Gets each line of the trace. */
	sink: (line: string) => void = () => {};
	/** By hypercall number, by vector; software interrupts count under theirs. */
	readonly hypercallCounts: Float64Array;
	readonly exceptionCounts: Float64Array;
	/** The rest, by its name in {@link shared}: code in fast/ counts too. */
	private readonly totals: Record<Total, Float64Array>;

	/** @param table the hypercall table, for names. */
	constructor(
		private readonly table: readonly (Hypercall | undefined)[],
		private readonly memory: Memory,
	) {
		const { offset } = shared;
		this.hypercallCounts = counters(memory, SHARED + offset.hypercalls, HYPERCALLS);
		this.exceptionCounts = counters(memory, SHARED + offset.exceptions, TRAP_VECTORS);
		this.totals = Object.fromEntries(
			TOTALS.map((name) => [name, counters(memory, SHARED + offset[name], 1)]),
		) as Record<Total, Float64Array>;
	}

	/** TraceCategory bits that are printed. */
	get categories(): number {
		return this.memory.u32(SHARED + shared.offset.traceCategories);
	}
	set categories(bits: number) {
		this.memory.setU32(SHARED + shared.offset.traceCategories, bits);
	}

	/** Counts one more of what has no number. */
	count(what: Total): void {
		this.totals[what][0]!++;
	}

	/** Counts by name, what never happened left out. */
	counters(): {
		hypercalls: Record<string, number>;
		exceptions: Record<string, number>;
		events: Record<string, number>;
	} {
		const hypercalls: Record<string, number> = {};
		this.hypercallCounts.forEach((count, number) => {
			if (count > 0) hypercalls[this.table[number]?.name ?? `hypercall_${number}`] = count;
		});
		const exceptions: Record<string, number> = {};
		this.exceptionCounts.forEach((count, vector) => {
			if (count > 0) exceptions[exceptionName(vector)] = count;
		});
		return {
			hypercalls,
			exceptions,
			events: {
				upcalls: this.total("eventUpcalls"),
				systemCalls: this.total("systemCalls"),
				multicallEntries: this.total("multicallEntries"),
				emulatedInstructions: this.total("emulatedInstructions"),
				emulatedPageTableWrites: this.total("emulatedPageTableWrites"),
			},
		};
	}

	private total(what: Total): number {
		return this.totals[what][0] ?? 0;
	}

	/** Text of a call before it is made: its handler may change the arguments. */
	describe(call: Hypercall, args: Arguments): string {
		const printed = call.arguments.map((argument, index) => {
			return `${argument.name}=${formatArgument(argument.kind, argument.names, args, index)}`;
		});
		return `${call.name}(${printed.join(", ")})`;
	}

	hypercall(vcpu: Vcpu, description: string, result: HypercallResult): void {
		const answer =
			typeof result === "number"
				? result < 0 && result > -4096
					? `${result}`
					: hex(result)
				: (result.description ?? "");
		this.sink(`${vcpu.label} ${description} = ${answer}`);
	}

	event(vcpu: Vcpu): void {
		this.sink(`${vcpu.label} event upcall at ${hex(vcpu.registers.rip)}${vcpu.kernelMode ? "" : " (user)"}`);
	}

	fault(vcpu: Vcpu, vector: number, errorCode: number): void {
		const { registers } = vcpu;
		const address = vector === 14 ? ` cr2=${hex(registers.cr2)}` : "";
		const mode = vcpu.kernelMode ? "kernel" : "user";
		this.sink(
			`${vcpu.label} ${exceptionName(vector)} error=${hex(errorCode)} rip=${hex(registers.rip)} (${mode})${address}`,
		);
	}

	emulated(vcpu: Vcpu, what: string): void {
		this.sink(`${vcpu.label} emulated ${what} at ${hex(vcpu.registers.rip)}`);
	}
}

function formatArgument(
	kind: Hypercall["arguments"][number]["kind"],
	names: Readonly<Record<number, string>> | undefined,
	args: Arguments,
	index: number,
): string {
	switch (kind) {
		case "signed":
			return String(args.signed(index));
		case "unsigned":
			return String(args.unsigned(index));
		case "domain":
			return args.low(index) === DOMID_SELF ? "self" : String(args.low(index));
		case "command":
			return names?.[args.low(index)] ?? String(args.low(index));
		default:
			return hexHalves(args.low(index), args.high(index));
	}
}

function hexHalves(low: number, high: number): string {
	return high === 0 ? `0x${low.toString(16)}` : `0x${high.toString(16)}${low.toString(16).padStart(8, "0")}`;
}

/** A 64-bit number, signed or unsigned, as the manual prints addresses. */
export function hex(value: number): string {
	const high = Math.floor(value / 2 ** 32);
	return hexHalves((value - high * 2 ** 32) >>> 0, high >>> 0);
}
