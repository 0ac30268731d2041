/**
 * Network interfaces of guests: the nodes that libxl writes for a vif (libxl_nic.c), and the networks that they are connected to. What
 * `xl network-attach`, `network-detach` and `network-list` do.
 */

import { Networks, type VirtualNetwork } from "../backends/net/networks.ts";
import type { VifStatistics } from "../backends/net/vif.ts";
import {
	attachDevice,
	type DetachOptions,
	type DeviceName,
	detachDevice,
	deviceExists,
	devicePaths,
	removeDevice,
} from "../backends/xenbus/attach.ts";
import type { BackendBus } from "../backends/xenbus/bus.ts";
import { hostActivity, natEnvironment } from "../devices/net/environment.ts";
import { deterministicMac, formatMac, isStation, parseMac, randomMac } from "../devices/net/mac.ts";
import type { HostNetwork, Listener } from "../devices/net/nat/host-network.ts";
import { formatIpv4, parseIpv4 } from "../devices/net/nat/ipv4.ts";
import { type Forward, Nat, type NatOptions } from "../devices/net/nat/nat.ts";
import { HostTapError, type OpenHostTap, TapPort } from "../devices/net/tap.ts";
import type { StoreClient } from "../store/client.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import { DEFAULT_NETWORK, NetworkError, type NetworkSpecification, parseForward, parseVif } from "./config/vif.ts";
import { attachAll, openAll } from "./open-devices.ts";

export { DEFAULT_NETWORK, NetworkError };

/** An interface for a guest: xl's specification, as text or parsed, and what that cannot say. */
export interface NetworkRequest extends NetworkSpecification {
	/** The name that DHCP tells it. */
	readonly hostName?: string;
	/** Ports of the host that lead to it: "8080:80", or objects. Only in a network with a NAT. */
	readonly forwards?: readonly (Forward | string)[];
}

/** An interface that is not a guest's yet: its forwarded ports are open. */
export interface OpenNetwork {
	readonly request: NetworkRequest;
	readonly network: VirtualNetwork;
	readonly listeners: readonly Listener[];
	/** The address of the interface to which they lead, and whose it is, when they are known. */
	readonly target: { mac: string | undefined; domid: number | undefined };
	/** It leaves the network. */
	readonly release: () => void;
}

/** What networks need of the host; what is missing, its networks cannot have. */
export interface NetworkPlatform {
	readonly network?: HostNetwork;
	readonly openTap?: OpenHostTap;
}

/** A network with a tap device, and how many interfaces are in it or will be. */
interface TapNetwork {
	readonly network: Promise<VirtualNetwork>;
	users: number;
}

/** A port of the host that leads to a guest. */
export interface ForwardInformation {
	readonly address: string;
	readonly port: number;
}

/** What `xl network-list` shows. */
export interface NetworkInformation {
	readonly devid: number;
	readonly mac: string;
	/** The network's name. */
	readonly bridge: string;
	readonly vifname: string;
	/** The address that DHCP gives it; undefined where the network has none. */
	readonly ip: string | undefined;
	/** XenbusState of the back end. */
	readonly state: number;
	readonly transmitChannel: number | undefined;
	readonly receiveChannel: number | undefined;
	readonly transmitRing: number | undefined;
	readonly receiveRing: number | undefined;
	readonly forwards: readonly ForwardInformation[];
	readonly statistics: VifStatistics | undefined;
	readonly backend: string;
	readonly frontend: string;
}

export class NetworkInterfaces {
	readonly networks = new Networks();
	/** Open ports, by the back end's directory. */
	private readonly listeners = new Map<string, readonly Listener[]>();
	/** By the device's name. */
	private readonly taps = new Map<string, TapNetwork>();
	/** Devices that are being closed: resolved when each can be opened again. */
	private readonly closingTaps = new Map<string, Promise<unknown>>();

	constructor(
		private readonly hypervisor: Hypervisor,
		private readonly store: StoreClient,
		private readonly bus: BackendBus,
		private readonly platform: NetworkPlatform,
		private readonly natOptions: NatOptions = {},
	) {
		bus.register(this.networks.driver);
	}

	/**
	 * Finds an interface's network, and opens its forwarded ports.
	 * @throws NetworkError where it is not possible
	 */
	async open(wanted: NetworkRequest | string): Promise<OpenNetwork> {
		const request: NetworkRequest = typeof wanted === "string" ? parseVif(wanted) : wanted;
		const mac = request.mac === undefined ? undefined : parseMac(request.mac);
		if (request.mac !== undefined && (mac === undefined || !isStation(mac))) {
			throw refusal(request, `mac ${request.mac} is no station's address`, "Give one such as 00:16:3e:01:02:03");
		}
		const { network, release } = await this.join(request);
		const target: OpenNetwork["target"] = { mac: undefined, domid: undefined };
		const listeners: Listener[] = [];
		try {
			for (const each of request.forwards ?? []) listeners.push(await this.openForward(request, network, each, target));
		} catch (error) {
			for (const listener of listeners) listener.close();
			release();
			throw error;
		}
		return { request, network, listeners, target, release };
	}

	/** Opens all of a domain's interfaces, or none. @throws as {@link open} */
	openAll(wanted: readonly (NetworkRequest | string)[]): Promise<OpenNetwork[]> {
		return openAll(wanted, (each) => this.open(each), closeNetworks);
	}

	/** Gives open interfaces to a guest; where one cannot be given, those behind it are closed. @throws as {@link attach} */
	attachAll(domid: number, networks: readonly OpenNetwork[], hostName?: string): void {
		attachAll(networks, (each) => this.attach(domid, each, hostName), closeNetworks);
	}

	/** Gives an interface to a guest; its ports are closed where that fails. @throws NetworkError */
	attach(domid: number, open: OpenNetwork, hostName?: string): NetworkInformation {
		const { network, request } = open;
		try {
			const devid = request.devid ?? this.freeNumber(domid);
			const name = nameOf(domid, devid);
			if (deviceExists(this.store, name)) {
				throw refusal(request, `the guest has an interface ${devid} already`, "Give another devid, or none");
			}
			const mac = this.macOf(request, domid, devid);
			const ip = this.reserve(open, mac, hostName);
			this.writeNodes(name, open, mac, ip);
			if (this.networks.vif(domid, devid) === undefined) {
				removeDevice(this.store, name);
				network.interfaceGone(mac);
				throw refusal(request, `there is no domain ${domid} that could use it`, "Look at the list of domains");
			}
			open.target.mac = mac;
			open.target.domid = domid;
			const { backend } = devicePaths(name);
			this.listeners.set(backend, open.listeners);
			void this.bus.closed(backend).then(() => {
				if (this.listeners.get(backend) === open.listeners) this.listeners.delete(backend);
				closeNetworks([open]);
			});
			return this.information(domid, devid);
		} catch (error) {
			closeNetworks([open]);
			throw error;
		}
	}

	/**
	 * Takes an interface away; resolved when nothing of it is in use any more.
	 * @param which its number or Ethernet address
	 * @throws NetworkError where the guest has no such interface
	 */
	async detach(domid: number, which: number | string, options?: DetachOptions): Promise<"closed" | "forced"> {
		const all = this.list(domid);
		const wanted = String(which).toLowerCase();
		const found = all.find(({ devid, mac }) => String(devid) === wanted || mac === wanted);
		if (found === undefined) {
			const remedy =
				all.length === 0 ? "It has none" : `It has ${all.map((each) => `${each.devid} (${each.mac})`).join(", ")}`;
			throw new NetworkError(String(which), "the guest has no such interface", remedy);
		}
		const result = await detachDevice(this.store, nameOf(domid, found.devid), options);
		await this.bus.closed(found.backend);
		return result === "absent" ? "closed" : result;
	}

	/** The interfaces of a guest, by number. */
	list(domid: number): NetworkInformation[] {
		const numbers = (this.store.list(`/libxl/${domid}/device/vif`) ?? []).map(Number).sort((a, b) => a - b);
		return numbers.map((number) => this.information(domid, number));
	}

	/** Ends all networks: no socket of any is left. */
	close(): void {
		for (const listeners of this.listeners.values()) for (const listener of listeners) listener.close();
		this.listeners.clear();
		this.networks.close();
	}

	private openNetwork(name: string): VirtualNetwork {
		const known = this.networks.find(name);
		if (known !== undefined) return known;
		const network = this.networks.open(name);
		const { network: hostNetwork } = this.platform;
		if (name === DEFAULT_NETWORK && hostNetwork !== undefined) {
			network.addNat(new Nat(natEnvironment(this.hypervisor, hostNetwork), this.natOptions));
		}
		return network;
	}

	/** The network of an interface. One with a tap device is there for as long as interfaces are in it. */
	private async join({ bridge = DEFAULT_NETWORK, tap }: NetworkRequest) {
		if (tap === undefined) return { network: this.openNetwork(bridge), release: () => {} };
		const known = this.taps.get(tap);
		const joined = known ?? { network: this.openTapNetwork(tap), users: 0 };
		this.taps.set(tap, joined);
		joined.users++;
		let left = false;
		const release = (): void => {
			if (left) return;
			left = true;
			joined.users--;
			if (joined.users > 0) return;
			this.taps.delete(tap);
			joined.network.then(
				(network) => this.networks.remove(network),
				() => {},
			);
		};
		try {
			return { network: await joined.network, release };
		} catch (error) {
			release();
			throw error;
		}
	}

	private async openTapNetwork(name: string): Promise<VirtualNetwork> {
		const { openTap } = this.platform;
		const shown = `tap=${name}`;
		if (openTap === undefined) {
			throw new NetworkError(shown, "there are no tap devices on this platform", "Use the NAT (bridge=xenbr0)");
		}
		await this.closingTaps.get(name);
		let port: TapPort | undefined;
		try {
			const tap = await openTap(name, (frame) => port?.deliver(frame));
			port = new TapPort(tap, hostActivity(this.hypervisor));
			// No bridge can be called that.
			const network = this.networks.open(`tap:${name}`);
			port.link = network.switch.attach(port);
			let closed = false;
			network.onClose(() => {
				closed = true;
				port?.link?.detach();
				tap.close();
				this.closingTaps.set(name, tap.lost);
			});
			void tap.lost.then((why) => {
				if (!closed) this.hypervisor.log.write(`network: the tap device ${name} is gone: ${why}`);
			});
			return network;
		} catch (error) {
			if (!(error instanceof HostTapError)) throw error;
			throw new NetworkError(shown, error.reason, error.remedy, { cause: error });
		}
	}

	private async openForward(
		request: NetworkRequest,
		network: VirtualNetwork,
		wanted: Forward | string,
		target: OpenNetwork["target"],
	): Promise<Listener> {
		const forward = typeof wanted === "string" ? parseForward(wanted) : wanted;
		const { nat } = network;
		if (nat === undefined) {
			throw refusal(
				request,
				`the network ${network.name} has no way to the host`,
				`Forward ports in ${DEFAULT_NETWORK}`,
			);
		}
		try {
			// A guest that has crashed, and is kept, answers nobody.
			const ends = (): boolean => this.hypervisor.domains.get(target.domid ?? -1)?.shutdown !== undefined;
			return await nat.forward(forward, () => (ends() ? undefined : target.mac));
		} catch (error) {
			const code = (error as { code?: string }).code;
			const what = `${forward.protocol} port ${forward.address}:${forward.port}`;
			const reason = REASONS[code ?? ""] ?? (error instanceof Error ? error.message : String(error));
			throw new NetworkError(what, `the host cannot listen there: ${reason}`, "Give another port", { cause: error });
		}
	}

	private macOf(request: NetworkRequest, domid: number, devid: number): string {
		if (request.mac !== undefined) return formatMac(parseMac(request.mac) as Uint8Array);
		return formatMac(this.hypervisor.clock.deterministic ? deterministicMac(domid, devid) : randomMac());
	}

	/** The address that DHCP will give it. */
	private reserve({ network, request }: OpenNetwork, mac: string, hostName: string | undefined): string | undefined {
		const { nat } = network;
		if (nat === undefined) return request.ip;
		const wanted = request.ip === undefined ? undefined : parseIpv4(request.ip);
		const address = nat.dhcp.reserve(mac, request.hostName ?? hostName, wanted);
		if (address !== undefined) return formatIpv4(address);
		throw refusal(
			request,
			request.ip === undefined
				? "the network has no address left"
				: `the address ${request.ip} is not free in the network`,
			request.ip === undefined ? "Detach another interface first" : "Give another ip, or none",
		);
	}

	private writeNodes(name: DeviceName, { network, request }: OpenNetwork, mac: string, ip: string | undefined): void {
		const { domid, devid } = name;
		const { mtu, rate, trusted = true, vifname } = request;
		attachDevice(this.store, {
			...name,
			frontend: { handle: devid, mac, ...(mtu === undefined ? {} : { mtu }), trusted: trusted ? 1 : 0 },
			backend: {
				script: "vif-bridge",
				...(ip === undefined ? {} : { ip }),
				...(mtu === undefined ? {} : { mtu }),
				...(rate === undefined ? {} : { rate: `${rate.bytes},${rate.interval}` }),
				vifname: vifname ?? `vif${domid}.${devid}`,
				bridge: network.name,
				handle: devid,
				type: "vif",
				mac,
			},
		});
	}

	private freeNumber(domid: number): number {
		let devid = 0;
		while (deviceExists(this.store, nameOf(domid, devid))) devid++;
		return devid;
	}

	private information(domid: number, devid: number): NetworkInformation {
		const { frontend, backend } = devicePaths(nameOf(domid, devid));
		const read = (name: string): string | undefined => this.store.read(`${backend}/${name}`);
		// With several queues the first one's are shown, as xl does.
		const ofQueue = (name: string): number | undefined =>
			this.store.readNumber(`${frontend}/${name}`) ?? this.store.readNumber(`${frontend}/queue-0/${name}`);
		return {
			devid,
			mac: read("mac") ?? "",
			bridge: read("bridge") ?? "",
			vifname: read("vifname") ?? "",
			ip: read("ip"),
			state: this.store.readNumber(`${backend}/state`) ?? 0,
			transmitChannel: ofQueue("event-channel-tx") ?? ofQueue("event-channel"),
			receiveChannel: ofQueue("event-channel-rx") ?? ofQueue("event-channel"),
			transmitRing: ofQueue("tx-ring-ref"),
			receiveRing: ofQueue("rx-ring-ref"),
			forwards: (this.listeners.get(backend) ?? []).map(({ address, port }) => ({ address, port })),
			statistics: this.networks.vif(domid, devid)?.statistics,
			backend,
			frontend,
		};
	}
}

const REASONS: Readonly<Record<string, string>> = {
	EADDRINUSE: "another program uses the port",
	EACCES: "only a privileged program may use the port",
	EADDRNOTAVAIL: "the host does not have that address",
};

/** Closes the ports of interfaces that no guest has, or has any more. */
export function closeNetworks(networks: readonly OpenNetwork[]): void {
	for (const { listeners, release } of networks) {
		for (const listener of listeners) listener.close();
		release();
	}
}

function nameOf(domid: number, devid: number): DeviceName {
	return { domid, kind: "vif", devid };
}

function refusal(request: NetworkRequest, reason: string, remedy: string): NetworkError {
	const { bridge = DEFAULT_NETWORK, mac } = request;
	return new NetworkError(mac === undefined ? bridge : `mac=${mac},bridge=${bridge}`, reason, remedy);
}
