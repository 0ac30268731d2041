/** What others use of boot/: opening a kernel, building a domain from it, and saying what an image contains. */

export { type Compression, compressionOf, decompress, MAX_UNPACKED_SIZE } from "../../formats/compression/payload.ts";
export { ImageError, type ImageErrorCode } from "../../formats/errors.ts";
export { readKallsyms } from "../../formats/kallsyms.ts";
export {
	codeNames,
	type KernelSymbol,
	type SymbolAt,
	SymbolTable,
	symbolsFromKernel,
	symbolsFromSystemMap,
} from "../../formats/symbols.ts";
export {
	type BuildRequest,
	type BuiltDomain,
	buildDomain,
	type DomainMemory,
	type EntryState,
	type PageAt,
} from "./builder.ts";
export { fillHypercallPage } from "./hypercall-page.ts";
export { formatReport, inspectKernel, type KernelReport } from "./inspect.ts";
export { type KernelImage, openKernel } from "./kernel.ts";
export { offersPv, parseXenNotes, requirePv, type XenNote, type XenParameters } from "./notes.ts";
export { vmlinuxWithSymbols } from "./vmlinux.ts";
