/**
 * What a back end has in use of a connected front end: ring pages and event channels. Closed as a whole when the front end goes, so
 * that a driver cannot forget any.
 */
import { Errno } from "../../xen/abi/errno.ts";
import type { BackendDevice } from "./device.ts";
import { DeviceError } from "./driver.ts";
import type { GuestGrants } from "./grants.ts";

/** One event channel to the front end. */
export interface Channel {
	/** Notifies the front end; nothing happens once the connection is closed. */
	notify(): void;
}

export class Connection {
	private readonly pages: number[] = [];
	private readonly ports: number[] = [];
	private open = true;

	constructor(readonly device: BackendDevice) {}

	get closed(): boolean {
		return !this.open;
	}

	/** The front end's pages, for data. */
	get grants(): GuestGrants {
		return this.device.grants;
	}

	/** Maps a page for as long as the connection lasts; its linear address. @throws DeviceError where it is not granted */
	mapPage(ref: number): number {
		const address = this.grants.map(ref, false);
		if (address < 0) throw new DeviceError(Errno.EINVAL, `mapping grant ${ref} of the ring`);
		this.pages.push(ref);
		return address;
	}

	/**
	 * Maps a ring: `ring-ref` in the front end's directory, or `ring-ref0`, `ring-ref1`, ... where `ring-page-order` says that it
	 * has several pages.
	 * @param prefix a directory below the front end's, "queue-0/" for example
	 * @param name of the references without their number
	 * @throws DeviceError
	 */
	mapRing(maximumOrder: number, prefix = "", name = "ring-ref"): number[] {
		const { device } = this;
		const order = device.readFrontendNumber("ring-page-order", maximumOrder) ?? 0;
		const single = order === 0 && device.readFrontend(prefix + name) !== undefined;
		const names = single ? [name] : Array.from({ length: 2 ** order }, (_, index) => `${name}${index}`);
		return names.map((each) => this.mapPage(device.needFrontendNumber(prefix + each)));
	}

	/**
	 * Binds the front end's `event-channel`. `callback` runs at each notification, and once soon, for what came before.
	 * @throws DeviceError where it is none that the front end offers
	 */
	bindChannel(callback: () => void, prefix = "", name = "event-channel"): Channel {
		const { device } = this;
		const { service } = device;
		const remote = device.needFrontendNumber(prefix + name);
		// The first event comes while this runs: what it is for is not there yet.
		let ready = false;
		const port = service.bindInterdomain(device.domid, remote, () => {
			if (ready && this.open) device.guard(callback);
		});
		if (port < 0) throw new DeviceError(-port, `binding event channel ${remote}`);
		this.ports.push(port);
		ready = true;
		device.later(() => {
			if (this.open) callback();
		});
		return {
			notify: () => {
				if (this.open) service.notify(port);
			},
		};
	}

	/** Lets go of everything. */
	close(): void {
		if (!this.open) return;
		this.open = false;
		for (const port of this.ports) this.device.service.unbind(port);
		for (const ref of this.pages) this.grants.unmap(ref, false);
	}
}
