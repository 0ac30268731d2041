/** The machine that a toolstack works on: a hypervisor, and the services that run beside it as domain 0. */
import type { BackendBus } from "../backends/xenbus/bus.ts";
import type { StoreClient } from "../store/client.ts";
import type { StoreServer } from "../store/server.ts";
import type { ServiceDomain } from "../xen/events/service.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import type { Consoles } from "./consoles.ts";
import type { Disks } from "./disks.ts";
import type { NetworkInterfaces } from "./network-interfaces.ts";
import type { Shares } from "./shares.ts";

export interface Machine {
	readonly hypervisor: Hypervisor;
	readonly service: ServiceDomain;
	/** xenstored, and access to all of it. */
	readonly storeServer: StoreServer;
	readonly store: StoreClient;
	/** The back ends of devices. */
	readonly backends: BackendBus;
	/** Disks of guests. */
	readonly disks: Disks;
	/** Network interfaces of guests, and the networks that they are in. */
	readonly networks: NetworkInterfaces;
	/** Consoles beside the first. */
	readonly consoles: Consoles;
	/** Folders of the host that guests share. */
	readonly shares: Shares;
}

/** Domain 0, to which guests grant their rings. */
export const SERVICE_DOMAIN = 0;
