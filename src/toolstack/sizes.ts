/** Sizes of memory as people write them. */

const MIB = 2 ** 20;
const UNITS: Readonly<Record<string, number>> = { "": MIB, k: 2 ** 10, m: MIB, g: 2 ** 30, t: 2 ** 40 };

/** Bytes of "512M", "2G", "1.5GiB"; a number alone is MiB, as in xl's configuration. @returns undefined for what is no size */
export function parseSize(text: string): number | undefined {
	const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim());
	const size = match === null ? 0 : Number(match[1]) * (UNITS[(match[2] ?? "").toLowerCase()] as number);
	return size > 0 && size <= Number.MAX_SAFE_INTEGER ? Math.floor(size) : undefined;
}
