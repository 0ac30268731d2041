/** Ethernet addresses: their text, and those that guests get (xl-network-configuration(5): random ones of Xen's own OUI 00:16:3e). */
export const BROADCAST = "ff:ff:ff:ff:ff:ff";
const XEN_OUI: readonly number[] = [0x00, 0x16, 0x3e];

/** The six bytes of "00:16:3e:01:02:03"; undefined where the text is no address. */
export function parseMac(text: string): Uint8Array | undefined {
	if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)) return undefined;
	return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

const HEX = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, "0"));

/** The address at `at`. */
export function formatMac(bytes: Uint8Array, at = 0): string {
	let text = HEX[bytes[at] as number] as string;
	for (let index = 1; index < 6; index++) text += `:${HEX[bytes[at + index] as number]}`;
	return text;
}

/** The address at `at` as a number, for tables. */
export function macNumber(bytes: Uint8Array, at = 0): number {
	let value = 0;
	for (let index = 0; index < 6; index++) value = value * 256 + (bytes[at + index] as number);
	return value;
}

/** A group address: multicast or broadcast. */
export function isGroup(bytes: Uint8Array, at = 0): boolean {
	return ((bytes[at] as number) & 1) !== 0;
}

/** An address that an interface may have: not a group's, and not all zero. */
export function isStation(mac: Uint8Array): boolean {
	return mac.length === 6 && !isGroup(mac) && mac.some((byte) => byte !== 0);
}

/** A random address of Xen's. */
export function randomMac(): Uint8Array {
	const mac = new Uint8Array(6);
	crypto.getRandomValues(mac);
	mac.set(XEN_OUI);
	return mac;
}

/** The address of a domain's interface in a run that is to be repeatable. */
export function deterministicMac(domid: number, index: number): Uint8Array {
	return Uint8Array.from([...XEN_OUI, (domid >>> 8) & 0x7f, domid & 0xff, index & 0xff]);
}
