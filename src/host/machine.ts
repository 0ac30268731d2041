/**
 * Puts the layers together: a hypervisor with this project's processor, and the services of domain 0 beside it. Guests are put on it by
 * toolstack/create.ts.
 */

import { BackendBus } from "../backends/xenbus/bus.ts";
import { createProcessor, type EngineOptions } from "../cpu/engine.ts";
import type { NatOptions } from "../devices/net/nat/nat.ts";
import { DeterministicClock, RealClock } from "../machine/clock.ts";
import { Memory } from "../memory/memory.ts";
import type { Platform } from "../platform/platform.ts";
import { StoreClient } from "../store/client.ts";
import { writeInitialNodes } from "../store/domain-nodes.ts";
import { connectGuest } from "../store/guest-link.ts";
import { StoreServer } from "../store/server.ts";
import { Consoles } from "../toolstack/consoles.ts";
import { Disks } from "../toolstack/disks.ts";
import type { Machine } from "../toolstack/machine.ts";
import { NetworkInterfaces } from "../toolstack/network-interfaces.ts";
import { Shares } from "../toolstack/shares.ts";
import { ServiceDomain } from "../xen/events/service.ts";
import { Hypervisor } from "../xen/hypervisor.ts";

/** What a machine needs beside its guests' memory: M2P (8 bytes a frame), shared pages, grant tables. */
export function machineOverhead(guestBytes: number): number {
	return Math.ceil(guestBytes / 512) + 8 * 2 ** 20;
}

export function createMachine(
	frames: number,
	clock: "real" | "deterministic",
	platform: Platform,
	processor: EngineOptions = {},
	nat: NatOptions = {},
): Machine {
	const hypervisor = new Hypervisor({
		memory: new Memory(frames),
		// A run that is to be repeatable needs repeatable random numbers, too.
		createProcessor: (memory, environment) =>
			createProcessor(memory, environment, clock === "real" ? processor : { randomSeed: 1, ...processor }),
		createClock: (processor) =>
			clock === "real" ? new RealClock(() => platform.milliseconds()) : new DeterministicClock(processor),
		scheduler: { hostMilliseconds: () => platform.milliseconds() },
	});
	const service = new ServiceDomain(hypervisor);
	const storeServer = new StoreServer({
		domainExists: (domid) => hypervisor.domains.has(domid),
		connect: (server, domid, port) => {
			const domain = hypervisor.domains.get(domid);
			return domain === undefined ? undefined : connectGuest(server, service, domain, port);
		},
		log: (text) => hypervisor.log.write(`xenstore: ${text}`),
	});
	const store = new StoreClient(storeServer);
	writeInitialNodes(store);
	const backends = new BackendBus(store, service);
	const disks = new Disks(store, backends, platform.blockFiles(clock === "deterministic"));
	const networks = new NetworkInterfaces(hypervisor, store, backends, platform, nat);
	const consoles = new Consoles(store, backends, platform.openChannel);
	const { openFolder } = platform;
	const shares = new Shares(store, backends, openFolder && ((path) => openFolder(path, clock === "deterministic")));
	return { hypervisor, service, storeServer, store, backends, disks, networks, shares, consoles };
}
