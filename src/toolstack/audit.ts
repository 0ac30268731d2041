/** What of a machine is in use, counted: after the last of some domains is gone, it must be what it was before the first. */
import { PortState } from "../xen/events/events.ts";
import type { Machine } from "./machine.ts";

/** Everything is a number of things. */
export interface MachineUse {
	/** Machine frames that somebody owns or refers to. */
	readonly frames: number;
	/** Domains, contexts of vCPUs, timers. */
	readonly domains: number;
	readonly contexts: number;
	readonly timers: number;
	/** Event channels of domain 0. */
	readonly ports: number;
	/** Mappings of domains' grants by other domains, with those of domain 0's services. */
	readonly grantsInUse: number;
	/** Nodes of the store, watches, connections to it. */
	readonly storeNodes: number;
	readonly watches: number;
	readonly connections: number;
	/** Devices that back ends serve. */
	readonly devices: number;
}

/** Counts. It looks at all frames and nodes: for tests and for those who look for a leak. */
export function countUse({ hypervisor, service, storeServer, backends }: Machine): MachineUse {
	const { domains, frames } = hypervisor;
	return {
		frames: frames.frames - frames.free,
		domains: domains.size,
		contexts: hypervisor.slotsInUse,
		timers: hypervisor.timers.claimed,
		ports: service.events.state.filter((state) => state !== PortState.free).length,
		grantsInUse: [...domains.values()].reduce((sum, domain) => sum + (domain.grants?.inUse ?? 0), 0),
		storeNodes: storeServer.store.count(),
		watches: storeServer.watches.count,
		connections: storeServer.connectionCount,
		devices: backends.list().length,
	};
}
