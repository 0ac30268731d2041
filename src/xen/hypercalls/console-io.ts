/**
 * console_io: a guest's lines in the hypervisor's log. Reading is the console's owner's alone. A Xen without verbose debugging
 * refuses unprivileged guests' lines as well; `domain.consoleIo` says which we are.
 */

import { ConsoleIo, consoleIoNames } from "../abi/console.ts";
import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import { copyFromGuest, SCRATCH } from "../scratch.ts";
import type { Vcpu } from "../vcpu.ts";

/** A line is cut here at the latest, and a call is read in such pieces. */
const PIECE = 128;
const LINE_LIMIT = 256;
/** A call may not keep the hypervisor busy for long: what is beyond comes with the next one. */
const CALL_LIMIT = 64 * 1024;

/** What may stand in a log: printable characters and tabs. */
function isPrintable(byte: number): boolean {
	return (byte >= 0x20 && byte < 0x7f) || byte === 0x09;
}

function write(vcpu: Vcpu, count: number, address: number): number {
	const { domain } = vcpu;
	const { hypervisor } = domain;
	const total = Math.min(count, CALL_LIMIT);
	for (let done = 0; done < total; done += PIECE) {
		const length = Math.min(PIECE, total - done);
		if (!copyFromGuest(hypervisor, address + done, length)) return -Errno.EFAULT;
		for (let index = 0; index < length; index++) {
			const byte = hypervisor.memory.u8(SCRATCH + index);
			if (byte === 0x0a || domain.consoleLine.length >= LINE_LIMIT) {
				hypervisor.log.write(`(d${domain.id}) ${domain.consoleLine}`, { level: "debug", guest: true });
				domain.consoleLine = "";
			}
			if (isPrintable(byte)) domain.consoleLine += String.fromCharCode(byte);
		}
	}
	return 0;
}

function consoleIo(vcpu: Vcpu, args: Arguments): number {
	switch (args.low(0)) {
		case ConsoleIo.write:
			if (!vcpu.domain.consoleIo) return -Errno.EPERM;
			return write(vcpu, args.low(1), args.signed(2));
		case ConsoleIo.read:
			return -Errno.EPERM;
		default:
			return vcpu.domain.consoleIo ? -Errno.ENOSYS : -Errno.EPERM;
	}
}

export const consoleIoHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.console_io,
		name: "console_io",
		arguments: [
			{ name: "cmd", kind: "command", names: consoleIoNames },
			{ name: "count", kind: "unsigned" },
			{ name: "buffer", kind: "pointer" },
		],
		handler: consoleIo,
	},
];
