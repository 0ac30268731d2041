/**
 * A guest's connection: its ring, which it has granted, and its event channel. What it may do wrong ends in the ring's error field
 * and the end of the connection; it can ask for a new one (docs/misc/xenstore-ring.txt).
 */
import { RESERVED_XENSTORE } from "../xen/abi/grant-table.ts";
import { XenstoreError } from "../xen/abi/xenstore.ts";
import type { Domain } from "../xen/domain.ts";
import type { ServiceDomain } from "../xen/events/service.ts";
import { PacketAssembler } from "./packet.ts";
import { RingResult, StoreRing } from "./ring.ts";
import type { Link, StoreServer } from "./server.ts";

/** Steps of one turn: more than a full ring of the smallest requests takes. */
const MOST_STEPS = 256;

export class GuestLink implements Link {
	readonly connection;
	private readonly assembler = new PacketAssembler();
	private failed = false;
	private started = false;
	private closed = false;

	constructor(
		private readonly server: StoreServer,
		private readonly domid: number,
		private readonly ring: StoreRing,
		private readonly notify: () => void,
		private readonly release: () => void = () => {},
	) {
		this.connection = server.openConnection(domid);
		ring.open();
	}

	start(): void {
		this.started = true;
		this.handleEvent();
	}

	/** The guest's event: answers its requests, hands it what waits. */
	handleEvent(): void {
		if (this.closed || !this.started) return;
		if (this.ring.reconnectWanted) this.reconnect();
		this.flush();
		for (let step = 0; step < MOST_STEPS && !this.failed && !this.connection.blocked; step++) {
			const waiting = this.ring.requestsFull;
			const result = this.ring.take(this.assembler);
			if (result === RingResult.nothing) return;
			const { wanted } = this.assembler;
			if (result === RingResult.invalid) this.fail(XenstoreError.ringIndex);
			else if (wanted < 0) this.fail(XenstoreError.protocol);
			else if (wanted === 0) this.server.handle(this.connection, this.assembler.take());
			if (waiting) this.notify();
		}
	}

	flush(): void {
		if (this.closed || this.failed || !this.connection.hasOutput) return;
		const result = this.ring.put(this.connection);
		if (result === RingResult.invalid) this.fail(XenstoreError.ringIndex);
		else if (result === RingResult.moved) this.notify();
	}

	close(): void {
		if (this.closed) return;
		this.closed = true;
		this.release();
	}

	private reconnect(): void {
		this.server.resetConnection(this.connection);
		this.assembler.reset();
		this.failed = false;
		this.ring.reset();
		this.ring.open();
		this.notify();
	}

	/** The guest is not listened to any more; it is told why. */
	private fail(error: XenstoreError): void {
		this.failed = true;
		this.server.resetConnection(this.connection);
		this.assembler.reset();
		this.ring.error = error;
		this.server.log(`d${this.domid}: connection ended, error ${error} of the ring`);
		this.notify();
	}
}

/**
 * Connects to the ring that a builder has set up: the page of the reserved grant, and the guest's unbound event channel `port`.
 * @returns undefined where the guest offers no such page or port.
 */
export function connectGuest(
	server: StoreServer,
	service: ServiceDomain,
	domain: Domain,
	port: number,
): GuestLink | undefined {
	const mapping = domain.grants.map(service.id, RESERVED_XENSTORE, false);
	if (typeof mapping === "number") return undefined;
	let local = -1;
	const link = new GuestLink(
		server,
		domain.id,
		new StoreRing(domain.hypervisor.memory, mapping.address),
		() => service.notify(local),
		() => {
			service.unbind(local);
			mapping.unmap();
		},
	);
	local = service.bindInterdomain(domain.id, port, () => link.handleEvent());
	if (local >= 0) return link;
	mapping.unmap();
	return undefined;
}
