/**
 * The virtual networks of a machine, by their names: each a switch, to which guests' interfaces are connected, and for some a NAT or another way
 * out. And the driver that gives guests their interfaces.
 */

import { MAX_FRAME } from "../../devices/net/frame.ts";
import type { Nat } from "../../devices/net/nat/nat.ts";
import { VirtualSwitch } from "../../devices/net/switch.ts";
import { Errno } from "../../xen/abi/errno.ts";
import { type BackendDevice, type BackendDriver, DeviceError } from "../xenbus/index.ts";
import { Vif } from "./vif.ts";

export class VirtualNetwork {
	readonly switch = new VirtualSwitch();
	/** The way to the host's network, where there is one. */
	nat: Nat | undefined;
	/** Closes what else is connected: a tap device. */
	private readonly closers: (() => void)[] = [];

	constructor(readonly name: string) {}

	/** Connects a NAT. */
	addNat(nat: Nat): void {
		this.nat = nat;
		nat.attach(this.switch.attach(nat));
		this.closers.push(() => nat.close());
	}

	/** Has `close` called at the end. */
	onClose(close: () => void): void {
		this.closers.push(close);
	}

	/** An interface with that address will not come back. */
	interfaceGone(mac: string): void {
		this.nat?.interfaceGone(mac);
	}

	close(): void {
		for (const close of this.closers.splice(0)) close();
	}
}

export class Networks {
	private readonly networks = new Map<string, VirtualNetwork>();
	private readonly vifs = new Map<string, Vif>();

	/** The networks that there are. */
	get names(): readonly string[] {
		return [...this.networks.keys()];
	}

	find(name: string): VirtualNetwork | undefined {
		return this.networks.get(name);
	}

	/** The network of that name; a switch alone where it is new. */
	open(name: string): VirtualNetwork {
		const known = this.networks.get(name);
		if (known !== undefined) return known;
		const network = new VirtualNetwork(name);
		this.networks.set(name, network);
		return network;
	}

	/** Ends a network that no interface is in any more. */
	remove(network: VirtualNetwork): void {
		network.close();
		if (this.networks.get(network.name) === network) this.networks.delete(network.name);
	}

	/** The interface of a guest, where it is served. */
	vif(domid: number, devid: number): Vif | undefined {
		return this.vifs.get(`${domid}/${devid}`);
	}

	/** Ends all: no socket of any is left. */
	close(): void {
		for (const network of this.networks.values()) network.close();
		this.networks.clear();
	}

	/** The driver of devices of the kind "vif"; the node `bridge` names their network. */
	readonly driver: BackendDriver = (() => {
		const scratch = new Uint8Array(MAX_FRAME);
		return {
			kind: "vif",
			open: (device: BackendDevice) => {
				const name = device.read("bridge");
				const network = name === undefined ? undefined : this.networks.get(name);
				if (network === undefined)
					throw new DeviceError(Errno.ENOENT, `there is no network ${name ?? "for it (bridge)"}`);
				const vif = new Vif(device, network, scratch);
				const key = `${device.domid}/${device.devid}`;
				this.vifs.set(key, vif);
				void device.closed.then(() => {
					if (this.vifs.get(key) === vif) this.vifs.delete(key);
				});
				return vif;
			},
		};
	})();
}
