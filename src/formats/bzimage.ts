/**
 * The bzImage container of x86 Linux: a real-mode setup block whose header says where the compressed kernel lies.
 * Fields: Linux's Documentation/x86/boot.rst ("The Linux/x86 Boot Protocol").
 */
import { cString } from "./elf.ts";
import { ImageError, wrongFileRemedy } from "./errors.ts";

const SECTOR = 512;
const SETUP_SECTS = 0x1f1;
/** Size of what follows the setup code, in paragraphs of 16 bytes; signatures lie behind it. */
const SYSSIZE = 0x1f4;
const PARAGRAPH = 16;
const BOOT_FLAG = 0x1fe;
const HEADER = 0x202;
const VERSION = 0x206;
const KERNEL_VERSION = 0x20e;
const LOAD_FLAGS = 0x211;
const RELOCATABLE = 0x234;
const XLOADFLAGS = 0x236;
const COMMAND_LINE_SIZE = 0x238;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const PREFERRED_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
const HEADER_END = 0x264;
/** "HdrS" */
const HEADER_MAGIC = 0x5372_6448;
/** The first protocol version that says where the payload is (Linux 2.6.24). */
const PAYLOAD_VERSION = 0x0208;
const XLOADFLAGS_VERSION = 0x020c;
const LOADED_HIGH = 1;
const XLF_KERNEL_64 = 1;
/** setup_sects where the header says 0. */
const DEFAULT_SETUP_SECTS = 4;

export interface BzImage {
	/** Boot protocol: 0x020f is 2.15. */
	readonly protocol: number;
	/** What `file` shows: release, builder, compile time. Empty where the image has none. */
	readonly kernelVersion: string;
	readonly setupSize: number;
	readonly payloadOffset: number;
	readonly payloadLength: number;
	readonly relocatable: boolean;
	readonly commandLineSize: number;
	readonly preferredAddress: number;
	/** Memory that the kernel needs to unpack itself. */
	readonly initSize: number;
	/** The header says that the kernel has a 64-bit entry point. */
	readonly is64Bit: boolean;
	/** The compressed kernel with the size that Linux's build appends to it. */
	readonly payload: Uint8Array;
}

export function isBzImage(bytes: Uint8Array): boolean {
	if (bytes.length < HEADER + 4) return false;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	return view.getUint16(BOOT_FLAG, true) === 0xaa55 && view.getUint32(HEADER, true) === HEADER_MAGIC;
}

/** Reads the setup header. Throws an ImageError that names `file`. */
export function parseBzImage(bytes: Uint8Array, file: string): BzImage {
	const truncated = (where: string) =>
		new ImageError("truncated", file, `it ends inside ${where}`, "The file is incomplete: fetch or copy it again");
	if (!isBzImage(bytes)) {
		throw new ImageError("not-a-kernel", file, "it has no Linux setup header", wrongFileRemedy);
	}
	if (bytes.length < HEADER_END) throw truncated("its setup header");
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const protocol = view.getUint16(VERSION, true);
	if (protocol < PAYLOAD_VERSION || !(view.getUint8(LOAD_FLAGS) & LOADED_HIGH)) {
		throw new ImageError(
			"unsupported-kernel",
			file,
			`its boot protocol ${formatProtocol(protocol)} does not say where the kernel lies`,
			"Use Linux 2.6.24 or later, or the ELF vmlinux of this kernel",
		);
	}
	const setupSize = ((view.getUint8(SETUP_SECTS) || DEFAULT_SETUP_SECTS) + 1) * SECTOR;
	const payloadOffset = setupSize + view.getUint32(PAYLOAD_OFFSET, true);
	const payloadLength = view.getUint32(PAYLOAD_LENGTH, true);
	if (payloadOffset + payloadLength > bytes.length) throw truncated("its payload");
	// The size is rounded up to a paragraph.
	if (setupSize + view.getUint32(SYSSIZE, true) * PARAGRAPH >= bytes.length + PARAGRAPH) {
		throw truncated("the code behind its payload");
	}
	const versionAt = view.getUint16(KERNEL_VERSION, true);
	return {
		protocol,
		kernelVersion: versionAt === 0 ? "" : cString(bytes, versionAt + SECTOR, Math.min(setupSize, bytes.length)),
		setupSize,
		payloadOffset,
		payloadLength,
		relocatable: view.getUint8(RELOCATABLE) !== 0,
		commandLineSize: view.getUint32(COMMAND_LINE_SIZE, true),
		preferredAddress: view.getUint32(PREFERRED_ADDRESS + 4, true) * 2 ** 32 + view.getUint32(PREFERRED_ADDRESS, true),
		initSize: view.getUint32(INIT_SIZE, true),
		is64Bit: protocol < XLOADFLAGS_VERSION || (view.getUint16(XLOADFLAGS, true) & XLF_KERNEL_64) !== 0,
		payload: bytes.subarray(payloadOffset, payloadOffset + payloadLength),
	};
}

/** "2.15" of 0x020f. */
export function formatProtocol(protocol: number): string {
	return `${protocol >> 8}.${String(protocol & 0xff).padStart(2, "0")}`;
}
