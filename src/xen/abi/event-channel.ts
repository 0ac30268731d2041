/** public/event_channel.h: commands, argument structures, and the FIFO ABI's words. */
import { array, struct, u8, u16, u32, u64 } from "./struct.ts";

/** EVTCHNOP_* */
export const EventChannelOp = {
	bindInterdomain: 0,
	bindVirq: 1,
	bindPirq: 2,
	close: 3,
	send: 4,
	status: 5,
	allocUnbound: 6,
	bindIpi: 7,
	bindVcpu: 8,
	unmask: 9,
	reset: 10,
	initControl: 11,
	expandArray: 12,
	setPriority: 13,
} as const;

export const eventChannelOpNames: Readonly<Record<number, string>> = {
	0: "bind_interdomain",
	1: "bind_virq",
	2: "bind_pirq",
	3: "close",
	4: "send",
	5: "status",
	6: "alloc_unbound",
	7: "bind_ipi",
	8: "bind_vcpu",
	9: "unmask",
	10: "reset",
	11: "init_control",
	12: "expand_array",
	13: "set_priority",
};

export const allocUnbound = struct({ dom: u16, remoteDom: u16, port: u32 });
export const bindInterdomain = struct({ remoteDom: u16, remotePort: u32, localPort: u32 });
export const bindVirq = struct({ virq: u32, vcpu: u32, port: u32 });
export const bindPirq = struct({ pirq: u32, flags: u32, port: u32 });
export const bindIpi = struct({ vcpu: u32, port: u32 });
/** close, send and unmask have nothing but a port. */
export const portArgument = struct({ port: u32 });
/** `first` and `second` are the words of the union: domain and port, pirq, or virq. */
export const status = struct({ dom: u16, port: u32, status: u32, vcpu: u32, first: u32, second: u32 });
export const bindVcpu = struct({ port: u32, vcpu: u32 });
export const reset = struct({ dom: u16 });
export const initControl = struct({ controlGfn: u64, offset: u32, vcpu: u32, linkBits: u8, pad: array(u8, 7) });
export const expandArray = struct({ arrayGfn: u64 });
export const setPriority = struct({ port: u32, priority: u32 });

/** EVTCHNSTAT_* */
export const PortStatus = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 } as const;

/** VIRQ_* of public/xen.h. */
export const Virq = {
	timer: 0,
	debug: 1,
	console: 2,
	domainException: 3,
	traceBuffer: 4,
	debugger: 6,
	xenoprof: 7,
	consoleRing: 8,
	pcpuState: 9,
	memoryEvent: 10,
	argo: 11,
	outOfMemory: 12,
	xenpmu: 13,
	mca: 16,
} as const;
/** NR_VIRQS */
export const VIRQ_COUNT = 24;

/** EVTCHN_2L_NR_CHANNELS */
export const TWO_LEVEL_PORTS = 4096;

/** Bits of an event word of the FIFO ABI. */
export const EventWord = {
	pending: 0x8000_0000,
	masked: 0x4000_0000,
	linked: 0x2000_0000,
	busy: 0x1000_0000,
	linkMask: 0x1_ffff,
} as const;
export const FIFO_LINK_BITS = 17;
export const FIFO_PORTS = 1 << FIFO_LINK_BITS;
export const FIFO_QUEUES = 16;
export const FIFO_PRIORITY_DEFAULT = 7;
export const FIFO_PRIORITY_LOWEST = 15;
export const fifoControlBlock = struct({ ready: u32, reserved: u32, head: array(u32, FIFO_QUEUES) });
