/**
 * What is told of a domain that the hypervisor had to end: reason, registers in the manual's order, the top of the stack and the
 * calls that lead there by symbol. Nothing here may fail: it reads only what the guest itself could.
 */
import { CR0, CR4 } from "../cpu/layout.ts";
import { Access } from "../cpu/processor.ts";
import { Gpr, type GprName, Segment, type SegmentName } from "../cpu/registers.ts";
import type { Vcpu } from "./vcpu.ts";

/** Addresses and register values are 16 hexadecimal digits. */
export interface CrashReport {
	readonly reason: string;
	readonly domain: number;
	readonly name: string;
	readonly vcpu: number;
	readonly mode: "kernel" | "user";
	/** rip, rflags, the general registers, control registers, fs and gs base. */
	readonly registers: Readonly<Record<string, string>>;
	/** Selectors: cs, ss, ds, es, fs, gs. */
	readonly selectors: Readonly<Record<string, string>>;
	/** Words from the stack pointer upwards. */
	readonly stack: readonly string[];
	/** Innermost first. `certain` where the chain of frame pointers leads through it; others are addresses found on the stack. */
	readonly calls: readonly {
		readonly address: string;
		readonly symbol: string | undefined;
		readonly certain: boolean;
	}[];
	/** The last branches taken, newest first, where the processor keeps them. */
	readonly branches: readonly string[];
}

export interface CrashReportOptions {
	readonly symbolAt?: ((address: number) => string | undefined) | undefined;
	readonly lastBranches?: (() => readonly number[]) | undefined;
}

const STACK_WORDS = 24;
const SCANNED_WORDS = 1024;
const MOST_CALLS = 32;

const GENERAL: readonly GprName[] = [
	"rax",
	"rbx",
	"rcx",
	"rdx",
	"rsi",
	"rdi",
	"rbp",
	"rsp",
	"r8",
	"r9",
	"r10",
	"r11",
	"r12",
	"r13",
	"r14",
	"r15",
];
const SELECTORS: readonly SegmentName[] = ["cs", "ss", "ds", "es", "fs", "gs"];

function digits(value: number): string {
	const high = Math.floor(value / 2 ** 32);
	return halves(value - high * 2 ** 32, high);
}

function halves(low: number, high: number): string {
	return (high >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");
}

/** Linear address of a word of the guest's memory, or -1; only the running vCPU's page tables can be walked. */
function wordAt(vcpu: Vcpu, address: number): number {
	if (vcpu.domain.hypervisor.scheduler.current !== vcpu) return -1;
	const inPage = ((address % 4096) + 4096) & 4095;
	if (inPage > 4088) return -1;
	return vcpu.domain.hypervisor.processor.translate(address, Access.read, vcpu.registers.addressSpace);
}

function stackOf(vcpu: Vcpu): string[] {
	const { memory } = vcpu.domain.hypervisor;
	const words: string[] = [];
	const start = vcpu.registers.get(Gpr.rsp);
	for (let index = 0; index < STACK_WORDS; index++) {
		const linear = wordAt(vcpu, start + index * 8);
		if (linear < 0) break;
		words.push(halves(memory.u32(linear), memory.u32(linear + 4)));
	}
	return words;
}

function callsOf(vcpu: Vcpu, symbolAt: (address: number) => string | undefined): CrashReport["calls"] {
	const { memory } = vcpu.domain.hypervisor;
	const { registers } = vcpu;
	const calls: { address: string; symbol: string | undefined; certain: boolean }[] = [];
	calls.push({ address: digits(registers.rip), symbol: symbolAt(registers.rip), certain: true });
	const start = registers.get(Gpr.rsp);
	const certain = new Set<number>();
	let frame = registers.get(Gpr.rbp);
	for (let depth = 0; depth < MOST_CALLS && frame > start && frame < start + SCANNED_WORDS * 8; depth++) {
		const saved = wordAt(vcpu, frame);
		const back = wordAt(vcpu, frame + 8);
		if (saved < 0 || back < 0 || symbolAt(memory.i64(back)) === undefined) break;
		certain.add(frame + 8);
		const next = memory.i64(saved);
		if (next <= frame) break;
		frame = next;
	}
	for (let index = 0; index < SCANNED_WORDS && calls.length < MOST_CALLS; index++) {
		const address = start + index * 8;
		const linear = wordAt(vcpu, address);
		if (linear < 0) break;
		const value = memory.i64(linear);
		const symbol = symbolAt(value);
		if (symbol !== undefined) calls.push({ address: digits(value), symbol, certain: certain.has(address) });
	}
	return calls;
}

/** The state of a vCPU; with its stack and calls where it is the running one. */
export function crashReport(vcpu: Vcpu, reason: string, options: CrashReportOptions = {}): CrashReport {
	const { registers, domain } = vcpu;
	const values: Record<string, string> = {
		rip: digits(registers.rip),
		rflags: digits(registers.rflags),
	};
	for (const name of GENERAL) values[name] = halves(registers.low(Gpr[name]), registers.high(Gpr[name]));
	Object.assign(values, {
		cr0: digits(registers.control(CR0)),
		cr2: digits(registers.cr2),
		cr3: digits((vcpu.kernelMode ? vcpu.kernelRoot : vcpu.userRoot) * 4096),
		cr4: digits(registers.control(CR4)),
		fs_base: digits(registers.segmentBase(Segment.fs)),
		gs_base: digits(registers.segmentBase(Segment.gs)),
	});
	const selectors: Record<string, string> = {};
	for (const name of SELECTORS) selectors[name] = registers.selector(Segment[name]).toString(16).padStart(4, "0");
	return {
		reason,
		domain: domain.id,
		name: domain.name,
		vcpu: vcpu.id,
		mode: vcpu.kernelMode ? "kernel" : "user",
		registers: values,
		selectors,
		stack: stackOf(vcpu),
		calls: callsOf(vcpu, options.symbolAt ?? (() => undefined)),
		branches: (options.lastBranches?.() ?? []).map(digits),
	};
}

/** The report as lines of text. */
export function formatCrashReport(report: CrashReport): string {
	const lines = [
		`Domain ${report.domain} (${report.name}) crashed: ${report.reason}`,
		`vCPU ${report.vcpu}, ${report.mode} mode`,
	];
	const entries = Object.entries(report.registers);
	for (let index = 0; index < entries.length; index += 3) {
		const row = entries.slice(index, index + 3).map(([name, value]) => `${name.padStart(7)} ${value}`);
		lines.push(row.join(" "));
	}
	lines.push(
		Object.entries(report.selectors)
			.map(([name, value]) => `${name.padStart(7)} ${value}`)
			.join(""),
	);
	if (report.stack.length > 0) lines.push("Stack:");
	for (let index = 0; index < report.stack.length; index += 4) {
		lines.push(`  ${report.stack.slice(index, index + 4).join(" ")}`);
	}
	lines.push("Call trace:");
	for (const { address, symbol, certain } of report.calls) {
		lines.push(`  ${address} ${certain ? "" : "? "}${symbol ?? ""}`.trimEnd());
	}
	if (report.branches.length > 0) lines.push("Last branches:", ...report.branches.map((address) => `  ${address}`));
	return lines.join("\n");
}
