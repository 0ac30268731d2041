/**
 * ICMP (RFC 792): echo requests to the NAT's own addresses are answered, and guests are told of what does not arrive. An unprivileged program
 * cannot send echo requests on the host's network, so those to others are answered by "administratively prohibited".
 */
import { checksum } from "../checksum.ts";
import { get16, IpProtocol, Ipv4, put16 } from "../frame.ts";
import type { Station } from "./station.ts";

const Type = { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11 } as const;
/** Codes of "destination unreachable". */
export const Unreachable = { network: 0, host: 1, protocol: 2, port: 3, prohibited: 13 } as const;

const Icmp = { type: 0, code: 1, checksum: 2, header: 8 } as const;
/** Error messages in a second (RFC 1812 4.3.2.8). */
const RATE = 100;
/** Bytes of the packet that an error is about, behind its header. */
const QUOTED = 8;

export class IcmpResponder {
	private tokens = RATE;
	private filledAt = 0;

	constructor(
		private readonly station: Station,
		private readonly gateway: number,
		private readonly now: () => number,
	) {}

	/** An ICMP message of a guest's: `packet` is the IPv4 packet, with `header` bytes before the message. */
	receive(packet: Uint8Array, header: number, source: number, destination: number): void {
		const message = packet.subarray(header);
		if (message.length < Icmp.header || checksum(message, 0, message.length) !== 0) return;
		if (message[Icmp.type] !== Type.echo) return;
		if (!this.station.own.includes(destination)) {
			this.unreachable(packet, header, source, Unreachable.prohibited);
			return;
		}
		const reply = message.slice();
		reply[Icmp.type] = Type.echoReply;
		this.send(destination, source, reply);
	}

	/** Tells a guest that its packet does not arrive. */
	unreachable(packet: Uint8Array, header: number, guest: number, code: number): void {
		this.error(packet, header, guest, Type.unreachable, code);
	}

	/** Tells a guest that its packet may not go further. */
	timeExceeded(packet: Uint8Array, header: number, guest: number): void {
		this.error(packet, header, guest, Type.timeExceeded, 0);
	}

	private error(packet: Uint8Array, header: number, guest: number, type: number, code: number): void {
		// RFC 1122 3.2.2: no errors about errors, nor about later fragments.
		const ofError = packet[Ipv4.protocol] === IpProtocol.icmp && packet[header] !== Type.echo;
		if (ofError || (get16(packet, Ipv4.fragment) & 0x1fff) !== 0 || !this.mayTell()) return;
		const quoted = packet.subarray(0, Math.min(packet.length, header + QUOTED));
		const message = new Uint8Array(Icmp.header + quoted.length);
		message[Icmp.type] = type;
		message[Icmp.code] = code;
		message.set(quoted, Icmp.header);
		this.send(this.gateway, guest, message);
	}

	private send(source: number, destination: number, message: Uint8Array): void {
		put16(message, Icmp.checksum, 0);
		put16(message, Icmp.checksum, checksum(message, 0, message.length));
		this.station.sendInFragments({
			source,
			destination,
			protocol: IpProtocol.icmp,
			length: message.length,
			write: (bytes, at) => bytes.set(message, at),
		});
	}

	private mayTell(): boolean {
		const now = this.now();
		this.tokens = Math.min(RATE, this.tokens + ((now - this.filledAt) * RATE) / 1000);
		this.filledAt = now;
		if (this.tokens < 1) return false;
		this.tokens--;
		return true;
	}
}
