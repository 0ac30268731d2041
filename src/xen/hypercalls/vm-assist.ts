/** vm_assist: the compatibility aids that a domain turns on and off for itself. */

import { Errno } from "../abi/errno.ts";
import { HypercallNumber } from "../abi/hypercall-numbers.ts";
import type { Arguments, Hypercall } from "../hypercall.ts";
import { assisted, VmAssist } from "../mm/vm-assist-bits.ts";
import type { Vcpu } from "../vcpu.ts";

const Command = { enable: 0, disable: 1 } as const;
const KNOWN: ReadonlySet<number> = new Set(Object.values(VmAssist));

function vmAssist(vcpu: Vcpu, args: Arguments): number {
	const { domain } = vcpu;
	const command = args.low(0);
	const type = args.low(1);
	if (!KNOWN.has(type)) return -Errno.EINVAL;
	if (command !== Command.enable && command !== Command.disable) return -Errno.ENOSYS;
	const has = assisted(domain, type as VmAssist);
	if (command === Command.enable && !has) domain.vmAssist += 2 ** type;
	if (command === Command.disable && has) domain.vmAssist -= 2 ** type;
	return 0;
}

export const vmAssistHypercalls: readonly Hypercall[] = [
	{
		number: HypercallNumber.vm_assist,
		name: "vm_assist",
		arguments: [
			{ name: "cmd", kind: "command", names: { 0: "enable", 1: "disable" } },
			{ name: "type", kind: "unsigned" },
		],
		handler: vmAssist,
	},
];
