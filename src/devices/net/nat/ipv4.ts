/** IPv4 addresses as numbers, and networks of them. */

/** The number of "10.0.2.2"; undefined where the text is no address. */
export function parseIpv4(text: string): number | undefined {
	if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return undefined;
	const bytes = text.split(".").map(Number);
	if (bytes.some((byte) => byte > 255)) return undefined;
	return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

export function formatIpv4(address: number): string {
	return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** A network: its first address, and the mask. */
export interface Subnet {
	readonly base: number;
	readonly mask: number;
}

/** The network of "10.0.2.0/24"; undefined where the text is none, or has no room for a gateway and a guest. */
export function parseSubnet(text: string): Subnet | undefined {
	const [address, bits, more] = text.split("/");
	const base = parseIpv4(address ?? "");
	const length = /^\d{1,2}$/.test(bits ?? "") ? Number(bits) : Number.NaN;
	if (base === undefined || more !== undefined || !(length >= 8 && length <= 29)) return undefined;
	const mask = (0xffffffff << (32 - length)) >>> 0;
	return (base & mask) >>> 0 === base ? { base, mask } : undefined;
}

export function isInside(address: number, { base, mask }: Subnet): boolean {
	return (address & mask) >>> 0 === base;
}

/** The address to which all in a network listen. */
export function broadcastOf({ base, mask }: Subnet): number {
	return (base | ~mask) >>> 0;
}

export const LIMITED_BROADCAST = 0xffffffff;

/** Loopback, multicast, reserved and "this network" addresses: no host beyond the gateway has one. */
export function isUnroutable(address: number): boolean {
	const first = address >>> 24;
	return first === 0 || first === 127 || first >= 224;
}
