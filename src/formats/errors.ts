/**
 * Why an image cannot be booted. Everything in boot/ that meets a bad image, a bad ramdisk or impossible options throws an
 * ImageError: it names the file, the reason and what to do, so that the command line can print it as it is.
 */

export type ImageErrorCode =
	| "not-readable"
	| "not-a-kernel"
	| "truncated"
	| "malformed"
	| "corrupt-payload"
	| "unsupported-payload"
	| "too-large"
	| "wrong-architecture"
	| "no-xen-notes"
	| "unsupported-kernel"
	| "ramdisk-too-large"
	| "not-enough-memory"
	| "command-line-too-long";

export class ImageError extends Error {
	override readonly name = "ImageError";

	/**
	 * @param file the file as the user named it
	 * @param reason what is wrong, as a clause: "the image ends inside its payload"
	 * @param remedy what the user can do about it, as a sentence without its full stop
	 */
	constructor(
		readonly code: ImageErrorCode,
		readonly file: string,
		readonly reason: string,
		readonly remedy: string,
	) {
		super(`${file}: ${reason}. ${remedy}.`);
	}
}

/** What a decompressor throws: the payload's own trouble. payload.ts knows the file and makes an ImageError of it. */
export class PayloadError extends Error {
	override readonly name = "PayloadError";

	constructor(
		readonly kind: "truncated" | "corrupt" | "unsupported" | "too-large",
		message: string,
	) {
		super(message);
	}
}

/** Hexadecimal of a (signed) virtual address or an unsigned number, as kernels print it. */
export function hex(value: number): string {
	return value < 0 ? `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}` : `0x${value.toString(16)}`;
}

/** "12.3 MiB" of a number of bytes. */
export function mebibytes(size: number): string {
	return `${(size / 1048576).toFixed(1)} MiB`;
}

/** What to do about a file that is something else. */
export const wrongFileRemedy = "Use a bzImage or ELF kernel for x86-64, such as /boot/vmlinuz of a Debian machine";
