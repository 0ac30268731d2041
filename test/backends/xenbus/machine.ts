/** A machine with a store and the back ends' bus, and a guest whose front ends a test plays: by store, grants and event channels only. */
import { BackendBus } from "../../../src/backends/xenbus/bus.ts";
import { StoreClient } from "../../../src/store/client.ts";
import { removeDomainNodes } from "../../../src/store/domain-nodes.ts";
import { StoreServer } from "../../../src/store/server.ts";
import { ServiceDomain } from "../../../src/xen/events/service.ts";
import type { Hypervisor } from "../../../src/xen/hypervisor.ts";
import { relinquishDomain } from "../../../src/xen/mm/relinquish.ts";
import { WireClient } from "../../store/machine.ts";
import { createMachine, type Guest, page } from "../../xen/guest-machine.ts";

export interface BusMachine {
	readonly hypervisor: Hypervisor;
	readonly service: ServiceDomain;
	readonly server: StoreServer;
	readonly store: StoreClient;
	readonly bus: BackendBus;
	readonly log: string[];
	addGuest(): FrontGuest;
	/** Lets back ends go on with what they left for later, and with what they gathered. */
	turn(): void;
}

/** A guest as its front ends see it. */
export class FrontGuest {
	private nextRef = 8;
	/** The guest's own access to the store, with its own rights. */
	readonly wire: WireClient;

	constructor(
		private readonly machine: BusMachine,
		readonly guest: Guest,
	) {
		this.wire = new WireClient(machine.server, guest.domain.id);
	}

	/** Writes nodes, relative to its home, as the guest. */
	write(directory: string, nodes: Readonly<Record<string, string | number>>): void {
		for (const [name, value] of Object.entries(nodes)) {
			const answer = this.wire.ask("write", `${directory}/${name}|${value}`);
			if (answer !== "OK|") throw new Error(`write ${directory}/${name}: ${answer}`);
		}
	}

	/** Reads a node as the guest: "!ENOENT" and the like where it cannot. */
	read(path: string): string {
		return this.wire.ask("read", `${path}|`);
	}

	get domid(): number {
		return this.guest.domain.id;
	}

	/** Linear address of one of its pages. */
	page(index: number): number {
		return this.guest.at(page(index));
	}

	/** Grants one of its pages to domain 0. @returns the reference */
	grant(index: number, readOnly = false): number {
		const ref = this.nextRef++;
		this.grantAs(ref, index, readOnly);
		return ref;
	}

	grantAs(ref: number, index: number, readOnly = false): void {
		const { domain, memory, mfns } = this.guest;
		domain.grants.seed(ref, 0, mfns[index] as number);
		if (readOnly) memory.setU16(domain.grants.entry(ref), 1 | 4);
	}

	/** Whether the grant may be taken back: nobody uses it. */
	isFree(ref: number): boolean {
		return (
			this.guest.domain.grants.pin[ref] === 0 &&
			(this.guest.memory.u16(this.guest.domain.grants.entry(ref)) & 0x18) === 0
		);
	}

	/** An event channel that domain 0 may bind. */
	channel(): number {
		return this.guest.domain.events.allocateUnbound(0);
	}

	isBound(port: number): boolean {
		return this.guest.domain.events.state[port] === 3;
	}

	/** The end of the guest, without any device having been detached. */
	destroy(): void {
		const { domain } = this.guest;
		const { hypervisor } = this.machine;
		hypervisor.scheduler.remove(domain);
		this.machine.server.release(domain.id);
		removeDomainNodes(this.machine.store, domain.id);
		domain.events.destroy();
		domain.grants.destroy();
		hypervisor.domains.delete(domain.id);
		relinquishDomain(domain);
	}
}

export function createBusMachine(): BusMachine {
	const { hypervisor, addGuest } = createMachine();
	const log: string[] = [];
	hypervisor.log.listener = (line) => log.push(line);
	const service = new ServiceDomain(hypervisor);
	const server = new StoreServer({
		domainExists: (domid) => hypervisor.domains.has(domid),
		connect: () => undefined,
		log: (text) => log.push(text),
	});
	const store = new StoreClient(server);
	const machine: BusMachine = {
		hypervisor,
		service,
		server,
		store,
		bus: new BackendBus(store, service),
		log,
		addGuest: () => {
			const front = new FrontGuest(machine, addGuest());
			store.makeDirectory(`/local/domain/${front.domid}/device`);
			store.makeDirectory(`/libxl/${front.domid}/device`);
			return front;
		},
		turn: () => {
			hypervisor.loop.waitBegun();
			hypervisor.timers.expire(hypervisor.clock.now());
		},
	};
	return machine;
}
