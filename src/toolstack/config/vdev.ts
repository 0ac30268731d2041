/**
 * Names of virtual disks and their numbers in xenstore (docs/man/xen-vbd-interface.7, libxl__device_disk_dev_number): what a
 * front end's directory is called.
 */

/** 202, Linux's major number of xvd; bits of the numbers for disks beyond the sixteenth. */
const XVD = 202 << 8;
const EXTENDED = 1 << 28;
const MOST_XVD = 2 ** 20 - 1;

/** "a" is 0, "z" 25, "aa" 26; -1 for what is no such name. */
function letters(text: string): number {
	let value = 0;
	for (const letter of text) value = value * 26 + (letter.charCodeAt(0) - 96);
	return value - 1;
}

function lettersOf(index: number): string {
	let text = "";
	for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) {
		text = String.fromCharCode(97 + ((rest - 1) % 26)) + text;
	}
	return text;
}

/**
 * The number of a disk: "xvda", "xvdaa3", "d2p1", "hdc", "sda", or a number itself (decimal or 0x...). libxl stops at hdd, the last that has
 * a number; files written for xend name hde and beyond. Linux's front end calls hda to hdd xvda to xvdd, so that hde is xvde.
 * @returns undefined where it is none
 */
export function diskNumber(name: string): number | undefined {
	const xvd = /^xvd([a-z]{1,4})(\d{0,3})$/.exec(name);
	const plain = /^d(\d{1,7})(?:p(\d{1,3}))?$/.exec(name);
	if (xvd !== null || plain !== null) {
		const disk = xvd === null ? Number(plain?.[1]) : letters(xvd[1] as string);
		const partition = Number((xvd === null ? plain?.[2] : xvd[2]) ?? 0);
		if (disk > MOST_XVD || partition > 255) return undefined;
		return disk <= 15 && partition <= 15 ? XVD | (disk << 4) | partition : EXTENDED + disk * 256 + partition;
	}
	if (/^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(name)) {
		const number = Number(name);
		return number < 2 ** 32 ? number : undefined;
	}
	const other = /^(hd|sd)([a-z])(\d{0,2})$/.exec(name);
	if (other === null) return undefined;
	const disk = letters(other[2] as string);
	const partition = Number(other[3] ?? 0);
	if (other[1] === "hd") {
		if (disk > 3) return disk <= 15 && partition <= 15 ? XVD | (disk << 4) | partition : undefined;
		return partition > 63 ? undefined : ((disk < 2 ? 3 : 22) << 8) | ((disk & 1) << 6) | partition;
	}
	return disk > 15 || partition > 15 ? undefined : (8 << 8) | (disk << 4) | partition;
}

/** The name of a disk's number: as Linux's blkfront calls it, or as it was named (hda, sda). A number that has none is itself. */
export function diskName(number: number): string {
	const suffix = (partition: number): string => (partition === 0 ? "" : String(partition));
	if (number >= EXTENDED && number < EXTENDED * 2) {
		return `xvd${lettersOf(Math.floor((number - EXTENDED) / 256))}${suffix(number & 255)}`;
	}
	const minor = number & 255;
	switch (number >> 8) {
		case 202:
			return `xvd${lettersOf(minor >> 4)}${suffix(minor & 15)}`;
		case 8:
			return `sd${lettersOf(minor >> 4)}${suffix(minor & 15)}`;
		case 3:
			return `hd${lettersOf(minor >> 6)}${suffix(minor & 63)}`;
		case 22:
			return `hd${lettersOf(2 + (minor >> 6))}${suffix(minor & 63)}`;
		default:
			return String(number);
	}
}
