/**
 * The NAT's DHCP server (RFC 2131, RFC 2132): each Ethernet address gets an IPv4 address that stays its own while the network exists.
 */
import { get16, get32, put16, put32 } from "../frame.ts";
import { formatMac } from "../mac.ts";
import { broadcastOf, isInside, LIMITED_BROADCAST } from "./ipv4.ts";
import type { Station } from "./station.ts";
import { sendDatagram } from "./udp.ts";

export const DhcpPort = { server: 67, client: 68 } as const;

const Field = {
	op: 0,
	hardware: 1,
	xid: 4,
	flags: 10,
	ciaddr: 12,
	yiaddr: 16,
	siaddr: 20,
	giaddr: 24,
	chaddr: 28,
	cookie: 236,
	options: 240,
} as const;
const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const COOKIE = 0x63825363;
const BROADCAST_FLAG = 0x8000;

const Message = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;
const Option = {
	pad: 0,
	mask: 1,
	router: 3,
	dns: 6,
	hostName: 12,
	domain: 15,
	mtu: 26,
	broadcast: 28,
	requested: 50,
	lease: 51,
	message: 53,
	server: 54,
	renewal: 58,
	rebinding: 59,
	end: 255,
} as const;

const DEFAULT_MTU = 1500;
/** RFC 2132 8.12 .. a client need not take longer messages than 576 bytes: 548 without headers. */
const LEAST_LENGTH = 300;

export interface DhcpOptions {
	readonly gateway: number;
	readonly dns: number;
	/** The first address that is given to guests; the others follow it. */
	readonly firstGuest: number;
	/** The domain's name for option 15. */
	readonly domain: string | undefined;
	/** Seconds that a lease lasts. */
	readonly lease: number;
}

interface Lease {
	readonly address: number;
	/** It belongs to an interface that is attached: nobody else gets it. */
	reserved: boolean;
	hostName: string | undefined;
}

export class DhcpServer {
	/** By Ethernet address, as text. The first was used least recently. */
	private readonly leases = new Map<string, Lease>();
	private readonly taken = new Set<number>();

	constructor(
		private readonly station: Station,
		private readonly options: DhcpOptions,
	) {}

	/**
	 * Keeps an address for an interface, before it asks.
	 * @param wanted the address that it is to have, where that is said
	 * @returns undefined where the network has none left, or the wanted one belongs to another
	 */
	reserve(mac: string, hostName: string | undefined, wanted?: number): number | undefined {
		const known = this.leases.get(mac);
		if (known !== undefined && (wanted === undefined || wanted === known.address)) {
			known.reserved = true;
			known.hostName = hostName;
			return known.address;
		}
		if (wanted !== undefined && (!this.isForGuests(wanted) || this.isReserved(wanted))) return undefined;
		const address = wanted ?? this.freeAddress();
		if (address === undefined) return undefined;
		for (const [other, lease] of this.leases) if (lease.address === address || other === mac) this.forget(other);
		this.enter(mac, address, true, hostName);
		return address;
	}

	/** The interface is detached: its address may go to another when no other is left. */
	unreserve(mac: string): void {
		const lease = this.leases.get(mac);
		if (lease !== undefined) lease.reserved = false;
	}

	/** The address of an interface. */
	addressOf(mac: string): number | undefined {
		return this.leases.get(mac)?.address;
	}

	/** A message from port 68, sent by the station with the Ethernet address `sender`. */
	receive(message: Uint8Array, sender: Uint8Array): void {
		if (message.length < Field.options || message[Field.op] !== BOOT_REQUEST) return;
		if (get16(message, Field.hardware) !== 0x0106 || get32(message, Field.cookie) !== COOKIE) return;
		const options = readOptions(message);
		const mac = formatMac(message, Field.chaddr);
		const requested = options.get(Option.requested);
		const wanted = requested?.length === 4 ? get32(requested, 0) : get32(message, Field.ciaddr);
		const server = options.get(Option.server);
		const forUs = server === undefined || (server.length === 4 && get32(server, 0) === this.options.gateway);
		switch (options.get(Option.message)?.[0]) {
			case Message.discover: {
				const address = this.addressFor(mac);
				if (address !== undefined) this.reply(message, sender, Message.offer, address);
				break;
			}
			case Message.request: {
				// Another server's offer was taken.
				if (!forUs) break;
				const address = this.addressFor(mac);
				const right = address !== undefined && wanted === address;
				this.reply(message, sender, right ? Message.ack : Message.nak, right ? address : 0);
				break;
			}
			case Message.decline:
				this.decline(mac);
				break;
			case Message.inform:
				this.reply(message, sender, Message.ack, 0);
				break;
			default:
				// Release: the address stays the interface's own, as it would get it again.
				break;
		}
	}

	private addressFor(mac: string): number | undefined {
		const lease = this.leases.get(mac);
		if (lease !== undefined) {
			this.leases.delete(mac);
			this.leases.set(mac, lease);
			return lease.address;
		}
		const address = this.freeAddress();
		if (address === undefined) return undefined;
		this.enter(mac, address, false, undefined);
		return address;
	}

	/** Somebody uses the address already: this interface gets another one. */
	private decline(mac: string): void {
		const lease = this.leases.get(mac);
		if (lease === undefined || lease.reserved) return;
		const address = this.freeAddress();
		if (address === undefined) return;
		this.forget(mac);
		this.enter(mac, address, false, lease.hostName);
	}

	private enter(mac: string, address: number, reserved: boolean, hostName: string | undefined): void {
		this.leases.set(mac, { address, reserved, hostName });
		this.taken.add(address);
	}

	private forget(mac: string): void {
		const lease = this.leases.get(mac);
		if (lease === undefined) return;
		this.leases.delete(mac);
		this.taken.delete(lease.address);
	}

	private isForGuests(address: number): boolean {
		const { subnet, own } = this.station;
		return (
			isInside(address, subnet) && address !== subnet.base && address !== broadcastOf(subnet) && !own.includes(address)
		);
	}

	private isReserved(address: number): boolean {
		for (const lease of this.leases.values()) if (lease.address === address && lease.reserved) return true;
		return false;
	}

	private freeAddress(): number | undefined {
		const last = broadcastOf(this.station.subnet);
		for (let address = this.options.firstGuest; address < last; address++) {
			if (!this.taken.has(address) && !this.station.own.includes(address)) return address;
		}
		for (const [mac, lease] of this.leases) {
			if (lease.reserved) continue;
			this.forget(mac);
			return lease.address;
		}
		return undefined;
	}

	private reply(request: Uint8Array, sender: Uint8Array, type: number, address: number): void {
		const { gateway } = this.options;
		const message = new Uint8Array(1024);
		message.set(request.subarray(0, Field.cookie));
		// Neither server name nor file.
		message.fill(0, Field.chaddr + 16, Field.cookie);
		message[Field.op] = BOOT_REPLY;
		message[3] = 0;
		put16(message, 8, 0);
		if (type === Message.nak) put32(message, Field.ciaddr, 0);
		put32(message, Field.yiaddr, address);
		put32(message, Field.siaddr, type === Message.nak ? 0 : gateway);
		put32(message, Field.cookie, COOKIE);
		let at: number = Field.options;
		const add = (option: number, value: readonly number[] | Uint8Array): void => {
			message[at] = option;
			message[at + 1] = value.length;
			message.set(value, at + 2);
			at += 2 + value.length;
		};
		add(Option.message, [type]);
		add(Option.server, word(gateway));
		if (type !== Message.nak) this.addParameters(add, formatMac(request, Field.chaddr), address !== 0);
		message[at++] = Option.end;
		const ciaddr = get32(request, Field.ciaddr);
		const broadcast = type === Message.nak || (get16(request, Field.flags) & BROADCAST_FLAG) !== 0;
		const destination = broadcast
			? LIMITED_BROADCAST
			: ciaddr !== 0
				? ciaddr
				: address === 0
					? LIMITED_BROADCAST
					: address;
		sendDatagram(this.station, {
			source: gateway,
			sourcePort: DhcpPort.server,
			destination,
			destinationPort: DhcpPort.client,
			bytes: message.subarray(0, Math.max(LEAST_LENGTH, at)),
			mac: broadcast ? new Uint8Array(6).fill(0xff) : sender,
		});
	}

	private addParameters(
		add: (option: number, value: readonly number[] | Uint8Array) => void,
		mac: string,
		leased: boolean,
	): void {
		const { dns, domain, gateway, lease } = this.options;
		const { mtu, subnet } = this.station;
		if (leased) {
			add(Option.lease, word(lease));
			add(Option.renewal, word(Math.floor(lease / 2)));
			add(Option.rebinding, word(Math.floor((lease * 7) / 8)));
		}
		add(Option.mask, word(subnet.mask));
		add(Option.router, word(gateway));
		add(Option.dns, word(dns));
		add(Option.broadcast, word(broadcastOf(subnet)));
		const hostName = this.leases.get(mac)?.hostName;
		if (hostName !== undefined) add(Option.hostName, text(hostName));
		if (domain !== undefined) add(Option.domain, text(domain));
		if (mtu !== DEFAULT_MTU) add(Option.mtu, [mtu >>> 8, mtu & 0xff]);
	}
}

function word(value: number): number[] {
	return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

function text(value: string): Uint8Array {
	return new TextEncoder().encode(value).subarray(0, 255);
}

/** The options of a message; those behind one that does not fit are not there. */
function readOptions(message: Uint8Array): Map<number, Uint8Array> {
	const options = new Map<number, Uint8Array>();
	for (let at: number = Field.options; at < message.length; ) {
		const option = message[at] as number;
		if (option === Option.end) break;
		if (option === Option.pad) {
			at++;
			continue;
		}
		const end = at + 2 + (message[at + 1] ?? 256);
		if (end > message.length) break;
		options.set(option, message.subarray(at + 2, end));
		at = end;
	}
	return options;
}
