/**
 * The hash of a packet's addresses and ports by which it is steered to a queue (public/io/netif.h, "Hash types"), configured by the guest over
 * the control ring; where it is not, any fixed function of them will do.
 */

import { IpProtocol, Ipv4, Ipv6, type Transport, transportHeader } from "../../devices/net/frame.ts";
import { HashAlgorithm, HashType } from "../../xen/abi/netif.ts";
import type { FrameHash } from "./receive.ts";

export const MOST_KEY = 40;
export const MOST_MAPPING = 128;
/** All types: a bit each. */
export const HASH_TYPES = 0b1111;

/** The Toeplitz hash: for each bit of the input that is set, the 32 bits of the key that begin there. */
export function toeplitz(key: Uint8Array, input: Uint8Array): number {
	let hash = 0;
	let window = 0;
	for (let index = 0; index < 4; index++) window = (window << 8) | (key[index] ?? 0);
	for (let at = 0; at < input.length; at++) {
		const byte = input[at] as number;
		const next = key[at + 4] ?? 0;
		for (let bit = 7; bit >= 0; bit--) {
			if ((byte >>> bit) & 1) hash ^= window;
			window = (window << 1) | ((next >>> bit) & 1);
		}
	}
	return hash >>> 0;
}

export class Steering {
	algorithm: number = HashAlgorithm.none;
	flags = 0;
	key = new Uint8Array(MOST_KEY);
	/** Queue by hash; empty: the hash modulo the number of queues. */
	mapping = new Uint32Array(0);

	constructor(readonly queues: number) {}

	/** The hash that the guest has asked for; undefined where it has not, or the packet has none of its types. */
	hash(bytes: Uint8Array): FrameHash | undefined {
		if (this.algorithm !== HashAlgorithm.toeplitz || this.flags === 0) return undefined;
		const transport = transportHeader(bytes);
		if (transport === undefined) return undefined;
		const isTcp = transport.protocol === IpProtocol.tcp && transport.at + 4 <= transport.end;
		const [alone, withPorts] =
			transport.version === 4 ? [HashType.ipv4, HashType.ipv4Tcp] : [HashType.ipv6, HashType.ipv6Tcp];
		for (const [type, ports] of [[withPorts, true] as const, [alone, false] as const]) {
			if ((this.flags & (1 << type)) === 0 || (ports && !isTcp)) continue;
			const value = toeplitz(this.key, hashInput(bytes, transport, ports));
			return { type, algorithm: this.algorithm, value };
		}
		return undefined;
	}

	/** The queue for a frame. */
	queueFor(bytes: Uint8Array, hash: FrameHash | undefined): number {
		if (this.queues === 1) return 0;
		if (hash === undefined) return this.anyQueue(bytes);
		const { mapping } = this;
		const queue = mapping.length === 0 ? hash.value : (mapping[hash.value % mapping.length] as number);
		return queue % this.queues;
	}

	/** Packets of a connection stay in one queue, so that they stay in their order. */
	private anyQueue(bytes: Uint8Array): number {
		const transport = transportHeader(bytes);
		if (transport === undefined) return 0;
		const ports =
			(transport.protocol === IpProtocol.tcp || transport.protocol === IpProtocol.udp) &&
			transport.at + 4 <= transport.end;
		let sum = 0;
		for (const byte of hashInput(bytes, transport, ports)) sum = (sum * 31 + byte) >>> 0;
		return sum % this.queues;
	}
}

/** Both addresses, and both ports. */
function hashInput(bytes: Uint8Array, { at, network, version }: Transport, ports: boolean): Uint8Array {
	const [start, end] =
		version === 4 ? [network + Ipv4.source, network + Ipv4.header] : [network + Ipv6.source, network + Ipv6.header];
	if (!ports) return bytes.subarray(start, end);
	const input = new Uint8Array(end - start + 4);
	input.set(bytes.subarray(start, end));
	input.set(bytes.subarray(at, at + 4), end - start);
	return input;
}
