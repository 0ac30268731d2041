/**
 * From a file's bytes to an ELF kernel: what container it is in, unpacked. Accepts what libxenguest's loaders accept: a bzImage, an
 * ELF file, or an ELF file compressed as a whole.
 */
import { type BzImage, isBzImage, parseBzImage } from "../../formats/bzimage.ts";
import { type Compression, compressionOf, decompress } from "../../formats/compression/payload.ts";
import { ElfFile, isElf, wrongArchitecture } from "../../formats/elf.ts";
import { ImageError, wrongFileRemedy } from "../../formats/errors.ts";

export interface KernelImage {
	/** The name for messages. */
	readonly file: string;
	/** Of the file as given. */
	readonly size: number;
	readonly format: "bzImage" | "ELF";
	readonly setup: BzImage | undefined;
	/** How the ELF file was packed: in a bzImage, or the file as a whole. */
	readonly compression: Compression | undefined;
	readonly compressedSize: number;
	readonly elf: ElfFile;
}

/** Images of other machines that one may try by mistake: where their magic is, and whose it is. */
const FOREIGN: readonly { offset: number; magic: string; what: string }[] = [
	{ offset: 0x38, magic: "ARM\x64", what: "64-bit ARM" },
	{ offset: 0x38, magic: "RSC\x05", what: "RISC-V" },
	{ offset: 4, magic: "zimg", what: "another architecture (an EFI zboot image)" },
	{ offset: 0x24, magic: "\x18\x28\x6f\x01", what: "32-bit ARM" },
];

function hasMagic(bytes: Uint8Array, offset: number, magic: string): boolean {
	for (let i = 0; i < magic.length; i++) if (bytes[offset + i] !== magic.charCodeAt(i)) return false;
	return true;
}

function notAKernel(file: string, reason: string): ImageError {
	return new ImageError("not-a-kernel", file, reason, wrongFileRemedy);
}

/**
 * Unpacks a kernel image.
 * @param file the name for messages; errors are ImageErrors
 * @param known what the compressed part unpacks to, where the caller knows it from before
 */
export function openKernel(bytes: Uint8Array, file: string, known?: Uint8Array): KernelImage {
	if (bytes.length === 0) throw notAKernel(file, "it is empty");
	if (isElf(bytes)) {
		return {
			file,
			size: bytes.length,
			format: "ELF",
			setup: undefined,
			compression: undefined,
			compressedSize: bytes.length,
			elf: new ElfFile(bytes, file),
		};
	}
	if (isBzImage(bytes)) return openBzImage(bytes, file, known);
	for (const { offset, magic, what } of FOREIGN) {
		if (hasMagic(bytes, offset, magic)) throw wrongArchitecture(file, what);
	}
	const compression = compressionOf(bytes);
	if (compression === undefined) throw notAKernel(file, "it is neither a bzImage nor an ELF file");
	const unpacked = known ?? decompress(bytes, file);
	if (!isElf(unpacked)) throw notAKernel(file, `it is a ${compression} file, but what it contains is no ELF kernel`);
	return {
		file,
		size: bytes.length,
		format: "ELF",
		setup: undefined,
		compression,
		compressedSize: bytes.length,
		elf: new ElfFile(unpacked, file),
	};
}

function openBzImage(bytes: Uint8Array, file: string, known: Uint8Array | undefined): KernelImage {
	const setup = parseBzImage(bytes, file);
	if (!setup.is64Bit) throw wrongArchitecture(file, "32-bit x86");
	const { payload } = setup;
	// A bzImage may also carry its kernel as it is (CONFIG_KERNEL_UNCOMPRESSED).
	const compression = isElf(payload) ? undefined : compressionOf(payload);
	const kernel = isElf(payload) ? payload : (known ?? decompress(payload, file, { sizeAppended: true }));
	if (!isElf(kernel)) throw notAKernel(file, "its payload is no ELF kernel");
	return {
		file,
		size: bytes.length,
		format: "bzImage",
		setup,
		compression,
		compressedSize: payload.length,
		elf: new ElfFile(kernel, file),
	};
}
