/**
 * Event channels of the services that run beside the hypervisor (xenstore, backends): domain 0 of the embedded default is one. A
 * service has ports like any domain; what it has no use for is a shared_info page, so its events call back.
 */
import { Errno } from "../abi/errno.ts";
import { Domain } from "../domain.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { EventChannels, type EventDelivery, PortState } from "./events.ts";

export class ServiceDelivery implements EventDelivery {
	readonly ports = 1 << 17;
	private readonly callbacks: ((() => void) | undefined)[] = [];
	private readonly pending = new Set<number>();

	constructor(private readonly channels: EventChannels) {}

	/** What an event on `port` calls from now on; at once where one has come already. */
	listen(port: number, callback: () => void): void {
		this.callbacks[port] = callback;
		if (this.pending.delete(port)) this.call(port, callback);
	}

	bind(port: number): void {
		this.callbacks[port] = undefined;
		this.pending.delete(port);
	}

	setPending(port: number): void {
		const callback = this.callbacks[port];
		if (callback === undefined) this.pending.add(port);
		else this.call(port, callback);
	}

	clearPending(port: number): void {
		this.callbacks[port] = undefined;
		this.pending.delete(port);
	}

	unmask(): void {
		// A service has no mask.
	}

	isPending(port: number): boolean {
		return this.pending.has(port);
	}

	setPriority(): number {
		return -Errno.ENOSYS;
	}

	destroy(): void {
		this.callbacks.length = 0;
		this.pending.clear();
	}

	/** A service that fails takes the domain that it serves with it, not the host. */
	private call(port: number, callback: () => void): void {
		try {
			callback();
		} catch (error) {
			const { channels } = this;
			const { hypervisor, name } = channels.domain;
			const reason = `${name}: event on port ${port}: ${error instanceof Error ? error.message : String(error)}`;
			hypervisor.log.write(reason);
			if (channels.state[port] !== PortState.interdomain) return;
			hypervisor.domains.get(channels.remoteDomain[port] as number)?.crash(reason);
		}
	}
}

/** A domain without vCPUs whose events call back. */
export class ServiceDomain extends Domain {
	readonly delivery: ServiceDelivery;

	/** Enters itself into the hypervisor's domains: 0 is what guests expect of xenstore and the console. */
	constructor(hypervisor: Hypervisor, id = 0, name = "Domain-0") {
		super(hypervisor, id, name);
		this.events = new EventChannels(this, {
			maximumPort: (1 << 17) - 1,
			delivery: (channels) => new ServiceDelivery(channels),
		});
		this.delivery = this.events.delivery as ServiceDelivery;
		hypervisor.domains.set(id, this);
	}

	/**
	 * Connects to an unbound port of a guest; `callback` runs at each notification, and once at the beginning.
	 * @returns the local port, for {@link notify} and {@link unbind}, or a negative errno.
	 */
	bindInterdomain(remoteDomain: number, remotePort: number, callback: () => void): number {
		const port = this.events.bindInterdomain(remoteDomain, remotePort);
		if (port >= 0) this.delivery.listen(port, callback);
		return port;
	}

	/** Notifies the guest at the other end. */
	notify(port: number): void {
		this.events.send(port);
	}

	unbind(port: number): void {
		this.events.close(port);
	}
}
