/**
 * How a hypercall is declared. Each family's file in hypercalls/ exports a list of these; the dispatcher, the tracer and the
 * documentation are made from the lists (see hypercalls/index.ts).
 */
import type { Vcpu } from "./vcpu.ts";

/** The six arguments of a hypercall: RDI, RSI, RDX, R10, R8, R9, or the words of a multicall entry. */
export class Arguments {
	private readonly words = new Uint32Array(12);

	low(index: number): number {
		return this.words[index * 2] as number;
	}
	high(index: number): number {
		return this.words[index * 2 + 1] as number;
	}
	/** Signed: a virtual address, exact where canonical. */
	signed(index: number): number {
		return (this.high(index) | 0) * 2 ** 32 + this.low(index);
	}
	/** Unsigned, exact below 2^53. */
	unsigned(index: number): number {
		return this.high(index) * 2 ** 32 + this.low(index);
	}
	set(index: number, low: number, high: number): void {
		this.words[index * 2] = low;
		this.words[index * 2 + 1] = high;
	}
	/** Two's complement of a number. */
	setNumber(index: number, value: number): void {
		const high = Math.floor(value / 2 ** 32);
		this.set(index, value - high * 2 ** 32, high);
	}
}

/**
 * A handler's answer that is no number: the call was preempted after part of its work. The arguments, changed by the handler, say
 * what remains; the dispatcher writes them back and lets the guest execute the hypercall again.
 */
export const PREEMPTED: unique symbol = Symbol("preempted");
/** The handler has set the registers itself (iret, a call that does not return): the dispatcher leaves them alone. */
export const REGISTERS_SET: unique symbol = Symbol("registers set");

export type HypercallResult = number | typeof PREEMPTED | typeof REGISTERS_SET;

export interface ArgumentDescription {
	readonly name: string;
	/** How the tracer prints it. */
	readonly kind: "hex" | "signed" | "unsigned" | "pointer" | "frame" | "domain" | "command";
	/** Names of the values of a `command` argument. */
	readonly names?: Readonly<Record<number, string>>;
}

export interface Hypercall {
	/** __HYPERVISOR_* of xen.h. */
	readonly number: number;
	readonly name: string;
	readonly arguments: readonly ArgumentDescription[];
	/** Never throws on guest input; returns a value or a negative errno (abi/errno.ts). */
	readonly handler: (vcpu: Vcpu, args: Arguments) => HypercallResult;
}
