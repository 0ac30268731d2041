/**
 * The back ends' bus: finds in the store the devices that a toolstack has attached, and gives each to the driver of its kind. A device is
 * the directory /local/domain/0/backend/KIND/DOMID/DEVID; it is served from when it comes until it goes.
 */
import type { StoreClient } from "../../store/client.ts";
import { homePath, RELEASE_DOMAIN } from "../../store/path.ts";
import type { ServiceDomain } from "../../xen/events/service.ts";
import { BackendDevice } from "./device.ts";
import type { BackendDriver } from "./driver.ts";
import { Turns } from "./turns.ts";

export class BackendBus {
	private readonly devices = new Map<string, BackendDevice>();
	/** Devices that are removed but still have work in flight. */
	private readonly leaving = new Map<string, BackendDevice>();
	private readonly turns: Turns;

	/** @param service the domain that the back ends are in: 0 */
	constructor(
		private readonly store: StoreClient,
		private readonly service: ServiceDomain,
	) {
		this.turns = new Turns(service.hypervisor);
		store.watch(RELEASE_DOMAIN, () => this.removeLost());
	}

	/** Serves devices of a kind from now on, those that are there already too. */
	register(driver: BackendDriver): void {
		const root = `${homePath(this.service.id)}/backend/${driver.kind}`;
		this.store.watch(root, (path) => {
			const [domid, devid, ...node] = path.slice(root.length + 1).split("/");
			if (domid === undefined || domid === "") {
				// All of it has come, or gone.
				const there = (this.store.list(root) ?? []).map((each) => `${root}/${each}`);
				const served = [...this.devices.keys()].filter((each) => each.startsWith(`${root}/`));
				const directories = [...there, ...served.map((each) => each.slice(0, each.lastIndexOf("/")))];
				for (const directory of new Set(directories)) this.lookAtDomain(driver, directory);
			} else if (devid === undefined) {
				this.lookAtDomain(driver, `${root}/${domid}`);
			} else {
				this.lookAt(driver, `${root}/${domid}/${devid}`, node.join("/"));
			}
		});
	}

	/** The device of a directory, where it is served. */
	device(path: string): BackendDevice | undefined {
		return this.devices.get(path);
	}

	/** All devices of a domain, or of all domains. */
	list(domid?: number): readonly BackendDevice[] {
		return [...this.devices.values()].filter((device) => domid === undefined || device.domid === domid);
	}

	/** Resolved when nothing of a device that has been removed is in use any more. */
	async closed(path: string): Promise<void> {
		await (this.devices.get(path) ?? this.leaving.get(path))?.closed;
	}

	/** Resolved when that is so of all devices of a domain that has been removed. */
	async domainClosed(domid: number): Promise<void> {
		const all = [...this.devices.values(), ...this.leaving.values()].filter((device) => device.domid === domid);
		await Promise.all(all.map((device) => device.closed));
	}

	private lookAtDomain(driver: BackendDriver, directory: string): void {
		for (const [path, device] of this.devices) {
			if (path.startsWith(`${directory}/`)) this.lookAt(device.driver, path, "");
		}
		for (const devid of this.store.list(directory) ?? []) this.lookAt(driver, `${directory}/${devid}`, "");
	}

	private lookAt(driver: BackendDriver, path: string, node: string): void {
		const device = this.devices.get(path);
		const exists = this.store.read(`${path}/frontend-id`) !== undefined;
		if (device !== undefined) {
			if (!exists) this.remove(path, device);
			else if (node !== "") device.nodeChanged(node);
			return;
		}
		if (driver.ignores?.(Number(path.slice(path.lastIndexOf("/") + 1))) === true) return;
		const domid = Number(this.store.read(`${path}/frontend-id`));
		const domain = exists ? this.service.hypervisor.domains.get(domid) : undefined;
		if (domain === undefined || !/\/\d+$/.test(path)) return;
		// One that was here before has given back what it used first.
		const before = this.leaving.get(path);
		if (before !== undefined) {
			before.closed.then(() => this.lookAt(driver, path, ""));
			return;
		}
		const created = new BackendDevice(driver, this.store, this.service, domain, path, this.turns);
		this.devices.set(path, created);
		created.start();
	}

	private remove(path: string, device: BackendDevice): void {
		this.devices.delete(path);
		this.leaving.set(path, device);
		device.closed.then(() => this.leaving.delete(path));
		device.remove();
	}

	/** A domain has gone without its devices having been detached. */
	private removeLost(): void {
		for (const [path, device] of this.devices) {
			if (this.service.hypervisor.domains.get(device.domid) !== device.domain) this.remove(path, device);
		}
	}
}
