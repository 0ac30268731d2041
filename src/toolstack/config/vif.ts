/**
 * xl's specifications of network interfaces (xl-network-configuration(5)): KEY=VALUE, separated by commas. Every key is honoured or refused by
 * its name. And `--forward`, which is ours.
 */

import { formatMac, isStation, parseMac } from "../../devices/net/mac.ts";
import { parseIpv4 } from "../../devices/net/nat/ipv4.ts";
import type { Forward } from "../../devices/net/nat/nat.ts";
import { LEAST_MTU, MOST_MTU } from "../../devices/net/nat/nat.ts";
import type { Rate } from "../../devices/net/rate.ts";

/** xl's default bridge: the network that has a NAT. */
export const DEFAULT_NETWORK = "xenbr0";

/** What a specification says. */
export interface NetworkSpecification {
	/** "00:16:3e:01:02:03"; a new one where it is not said. */
	readonly mac?: string;
	/** The network's name; the one with the NAT where it is not said. */
	readonly bridge?: string;
	/** In place of a network: a tap device of the host, and who names it too. Ours, not xl's. */
	readonly tap?: string;
	/** The address that the network's DHCP gives it. */
	readonly ip?: string;
	/** What the guest may send. */
	readonly rate?: Rate;
	/** The interface's name on the host's side. */
	readonly vifname?: string;
	readonly mtu?: number;
	/** The number of the interface in the guest; the first free one where it is not said. */
	readonly devid?: number;
	/** Whether the guest is to trust the back end. */
	readonly trusted?: boolean;
}

/** A network that cannot be had: what, and what to do. */
export class NetworkError extends Error {
	override readonly name = "NetworkError";
	readonly code = "invalid-specification";

	constructor(
		readonly specification: string,
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(`network "${specification}": ${reason}`, options);
	}
}

const REFUSED: Readonly<Record<string, string>> = {
	gatewaydev: "routed networks (vif-route) do not exist here",
	netdev: "routed networks (vif-route) do not exist here",
	accel: "accelerated interfaces are not supported",
	forwarddev: "COLO replication is not supported",
};
const COLO = "COLO replication is not supported";
/** xl's name for the default way to connect an interface. */
const BRIDGE_SCRIPT = "vif-bridge";

/** Keys of real files that change nothing here, and with which values they are worth a word. */
const WITHOUT_EFFECT: Readonly<Record<string, (value: string) => string | undefined>> = {
	model: () => "a PV guest has no emulated network card",
	script: (value) =>
		value.slice(value.lastIndexOf("/") + 1) === BRIDGE_SCRIPT
			? undefined
			: "there are no hotplug scripts here, and the interface is connected to its network without one",
	type: (value) => (value === "vif" ? undefined : "a PV guest has its own driver alone"),
};
const MOST_DEVID = 255;

type Draft = { -readonly [K in keyof NetworkSpecification]: NetworkSpecification[K] };

/**
 * Reads an interface's specification; empty text is an interface with all that is usual.
 * @param note is told of what has no effect, in a sentence without its full stop
 * @throws NetworkError
 */
export function parseVif(text: string, note: (sentence: string) => void = () => {}): NetworkSpecification {
	const draft: Draft = {};
	const seen = new Set<string>();
	for (const part of text.split(",").map((each) => each.trim())) {
		if (part === "") continue;
		const equals = part.indexOf("=");
		const refuse = (reason: string, remedy: string): NetworkError => new NetworkError(text, reason, remedy);
		if (equals < 0) throw refuse(`"${part}" is not KEY=VALUE`, "Write for example mac=00:16:3e:01:02:03,bridge=lan");
		const key = part.slice(0, equals).trim();
		const value = part.slice(equals + 1).trim();
		if (seen.has(key)) throw refuse(`${key} is given twice`, "Give it once");
		seen.add(key);
		const reason = REFUSED[key] ?? (key.startsWith("colo") ? COLO : undefined);
		if (reason !== undefined) throw refuse(`${key} is not possible: ${reason}`, `Leave ${key} out`);
		const effect = Object.hasOwn(WITHOUT_EFFECT, key) ? WITHOUT_EFFECT[key] : undefined;
		if (effect !== undefined) {
			const without = effect(value);
			if (without !== undefined) note(`${key}=${value} has no effect: ${without}`);
			continue;
		}
		const read = KEYS[key];
		if (read === undefined)
			throw refuse(
				`there is no key ${key}`,
				`Keys are ${[...Object.keys(KEYS), ...Object.keys(WITHOUT_EFFECT)].join(", ")}`,
			);
		const problem = read(draft, value);
		if (problem !== undefined) throw refuse(`${key}=${value} is not possible`, problem);
	}
	if (draft.tap !== undefined && draft.bridge !== undefined) {
		throw new NetworkError(text, "tap and bridge exclude each other", "Leave one of them out");
	}
	return draft;
}

/** An interface's name in Linux. */
const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/;

/** Each takes a value; @returns what to give in its place where it is not possible */
const KEYS: Readonly<Record<string, (draft: Draft, value: string) => string | undefined>> = {
	mac: (draft, value) => {
		const mac = parseMac(value);
		if (mac === undefined || !isStation(mac)) return "Give six bytes such as 00:16:3e:01:02:03, not a group's address";
		draft.mac = formatMac(mac);
		return undefined;
	},
	bridge: (draft, value) => {
		if (!/^[\w.-]{1,64}$/.test(value)) return "Give a name of letters, digits, dots, dashes and underscores";
		draft.bridge = value;
		return undefined;
	},
	tap: (draft, value) => {
		if (!INTERFACE.test(value))
			return "Give the name of an interface: at most 15 letters, digits, dots, dashes and underscores";
		draft.tap = value;
		return undefined;
	},
	ip: (draft, value) => {
		if (parseIpv4(value) === undefined) return "Give one IPv4 address";
		draft.ip = value;
		return undefined;
	},
	rate: (draft, value) => {
		const rate = parseRate(value);
		if (rate === undefined)
			return "Give a number with K, M or G, then B/s or b/s, and @INTERVAL, for example 10Mb/s@50ms";
		draft.rate = rate;
		return undefined;
	},
	vifname: (draft, value) => {
		if (!/^[^\s/]{1,15}$/.test(value)) return "Give at most 15 characters without spaces and slashes";
		draft.vifname = value;
		return undefined;
	},
	backend: (_draft, value) => (value === "0" || value === "Domain-0" ? undefined : "Back ends are in Domain-0"),
	devid: (draft, value) => {
		const devid = wholeNumber(value, 0, MOST_DEVID);
		if (devid === undefined) return `Give a number from 0 to ${MOST_DEVID}`;
		draft.devid = devid;
		return undefined;
	},
	mtu: (draft, value) => {
		const mtu = wholeNumber(value, LEAST_MTU, MOST_MTU);
		if (mtu === undefined) return `Give a number from ${LEAST_MTU} to ${MOST_MTU}`;
		draft.mtu = mtu;
		return undefined;
	},
	trusted: (draft, value) => {
		if (value !== "0" && value !== "1") return "Give 0 or 1";
		draft.trusted = value === "1";
		return undefined;
	},
};

function wholeNumber(text: string, least: number, most: number): number | undefined {
	const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
	return value >= least && value <= most ? value : undefined;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1e3, M: 1e6, G: 1e9 };
const INTERVALS: Readonly<Record<string, number>> = { us: 1, ms: 1e3, s: 1e6, "": 1 };
const DEFAULT_INTERVAL = 50_000;
const MOST_RATE = 0xffff_ffff;

/** "10Mb/s", "250KB/s", "1MB/s@20ms", as libxlu_vif.c reads it; without an interval, 50 milliseconds. */
export function parseRate(text: string): Rate | undefined {
	const match = /^(\d+)([GMK]?)([Bb])\/s(?:@(\d+)(us|ms|s)?)?$/.exec(text);
	if (match === null) return undefined;
	const bytesPerSecond = (Number(match[1]) * (UNITS[match[2] ?? ""] as number)) / (match[3] === "b" ? 8 : 1);
	const interval = match[4] === undefined ? DEFAULT_INTERVAL : Number(match[4]) * (INTERVALS[match[5] ?? ""] as number);
	const bytes = Math.floor((bytesPerSecond * interval) / 1e6);
	return bytes > 0 && bytes <= MOST_RATE && interval > 0 && interval <= MOST_RATE ? { bytes, interval } : undefined;
}

/**
 * "8080:80", "127.0.0.1:8080:80", "udp:5353:53": a port of the host that leads to one of the guest. Without an address the host listens on its
 * loopback only. @throws NetworkError
 */
export function parseForward(text: string): Forward {
	const match = /^(?:(tcp|udp):)?(?:(\d+\.\d+\.\d+\.\d+):)?(\d{1,5}):(\d{1,5})$/.exec(text.trim());
	const remedy = "Give HOSTPORT:GUESTPORT, for example 8080:80, 0.0.0.0:8080:80 or udp:5353:53";
	if (match === null) throw new NetworkError(text, "that is no forward", remedy);
	const [, protocol = "tcp", address = "127.0.0.1", port, guestPort] = match;
	if (parseIpv4(address) === undefined) throw new NetworkError(text, `${address} is no address`, remedy);
	const [from, to] = [wholeNumber(port ?? "", 0, 65535), wholeNumber(guestPort ?? "", 1, 65535)];
	if (from === undefined || to === undefined) throw new NetworkError(text, "a port is from 1 to 65535", remedy);
	return { protocol: protocol as "tcp" | "udp", address, port: from, guestPort: to };
}
