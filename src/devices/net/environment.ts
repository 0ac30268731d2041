/** What the NAT needs of the machine that it serves: its time, so that a run with the deterministic clock repeats, and its log. */
import type { MachineServices } from "../../machine/services.ts";
import { ServiceTimer } from "../timer.ts";
import type { HostNetwork, NatEnvironment } from "./nat/host-network.ts";

const NANOSECONDS = 1_000_000;
/** Milliseconds of the host's time for which deterministic time waits for an answer from the host's network. */
const PATIENCE = 500;

/**
 * To be called when something of the host's network is on its way: deterministic time waits a while for what may come of it.
 */
export function hostActivity({ clock, loop }: MachineServices): () => void {
	let patience: ReturnType<typeof setTimeout> | undefined;
	return () => {
		if (!clock.deterministic) return;
		if (patience === undefined) loop.beginHostOperation();
		else clearTimeout(patience);
		patience = setTimeout(() => {
			patience = undefined;
			loop.endHostOperation();
		}, PATIENCE);
	};
}

export function natEnvironment(machine: MachineServices, network: HostNetwork): NatEnvironment {
	const { clock, log, loop } = machine;
	const timer = new ServiceTimer(machine);
	// Any numbers will do where they are to be the same each time.
	let last = 0;
	return {
		network,
		now: () => clock.now() / NANOSECONDS,
		setTimer: (deadline, callback) => {
			if (deadline === Number.POSITIVE_INFINITY) timer.stop();
			else timer.set(Math.ceil(deadline * NANOSECONDS), callback);
		},
		random32: () => {
			if (!clock.deterministic) return crypto.getRandomValues(new Uint32Array(1))[0] as number;
			last = (Math.imul(last, 1664525) + 1013904223) >>> 0;
			return last;
		},
		log: (text) => log.write(text),
		beginHostOperation: () => loop.beginHostOperation(),
		endHostOperation: () => loop.endHostOperation(),
		hostActivity: hostActivity(machine),
	};
}
