/** Runs a tiny guest on our hypervisor: what it says on its console, and how it ended, as lines. */
import { Host } from "../../src/host/node/host.ts";
import { setMemoryMapLimit } from "../../src/xen/hypercalls/memory.ts";

const MIB = 2 ** 20;
/** As real-xen.ts gives it. */
const MEMORY = 16 * MIB;

export interface Run {
	/** The guest's lines, then `end=REASON`. */
	readonly verdicts: string;
	/** Why the hypervisor crashed it, where it did; and the hypervisor's log. */
	readonly log: string;
}

/** What xl gives a domain beyond its memory (LIBXL_MAXMEM_CONSTANT), in pages; its memory map does not tell. */
const SLACK = 256;

function giveSlack(host: Host, id: number): void {
	// The library's toolstack has no such slack; the guests that look for the limit are to find real Xen's.
	// biome-ignore lint/complexity/useLiteralKeys: the library keeps its machine to itself
	const domain = host["machine"].hypervisor.domains.get(id);
	if (domain === undefined) throw new Error(`there is no domain ${id}`);
	setMemoryMapLimit(domain, MEMORY);
	domain.maximumPages += SLACK;
}

/** @param seconds of the host's time, after which a guest is destroyed: one that hangs ends as "destroyed". */
export async function runGuest(kernel: string, seconds = 60): Promise<Run> {
	const host = new Host({ memory: 48 * MIB, clock: "deterministic" });
	let output = "";
	const decoder = new TextDecoder();
	const domain = await host.createDomain({ kernel, memory: MEMORY }, (created) => {
		created.console.onOutput((data) => {
			output += decoder.decode(data, { stream: true });
		});
		giveSlack(host, created.id);
	});
	const limit = setTimeout(() => domain.destroy(), seconds * 1000);
	try {
		const end = await Promise.race([domain.ended, host.failed]);
		return { verdicts: `${output}end=${end.reason}\n`, log: `${end.crashReason ?? ""}\n${host.log}` };
	} finally {
		clearTimeout(limit);
		host.stop();
	}
}
