/** Runs a tiny guest on our hypervisor: what it says on its console, and how it ended, as lines. */

import type { EngineOptions } from "../../src/cpu/engine.ts";
import { Host } from "../../src/host/node.ts";
import type { Statistics } from "../../src/host/statistics.ts";

const MIB = 2 ** 20;
/** As real-xen.ts gives it. */
const MEMORY = 16 * MIB;

export interface Run {
	/** The guest's lines, then `end=REASON`. */
	readonly verdicts: string;
	/** Why the hypervisor crashed it, where it did; and the hypervisor's log. */
	readonly log: string;
	/** What it executed and called, by name. */
	readonly counters: Pick<Statistics, "instructions" | "hypercalls" | "exceptions" | "events">;
}

/** @param seconds of the host's time, after which a guest is destroyed: one that hangs ends as "destroyed". */
export async function runGuest(kernel: string, seconds = 60, processor: EngineOptions = {}): Promise<Run> {
	const host = new Host({ memory: 48 * MIB, clock: "deterministic", processor });
	let output = "";
	const decoder = new TextDecoder();
	const domain = await host.createDomain({ kernel, memory: MEMORY }, (created) => {
		created.console.onOutput((data) => {
			output += decoder.decode(data, { stream: true });
		});
	});
	const limit = setTimeout(() => domain.destroy(), seconds * 1000);
	try {
		const end = await Promise.race([domain.ended, host.failed]);
		const { instructions, hypercalls, exceptions, events } = host.statistics();
		const counters = { instructions, hypercalls, exceptions, events };
		return { counters, verdicts: `${output}end=${end.reason}\n`, log: `${end.crashReason ?? ""}\n${host.log}` };
	} finally {
		clearTimeout(limit);
		host.stop();
	}
}
