/**
 * What a kernel image says of itself: container, payload, Xen notes, the environments that it offers to run in, and its paravirt patch
 * sites. `paravirt inspect` prints the report; a program may use it as it is.
 */
import { formatProtocol } from "../../formats/bzimage.ts";
import type { Compression } from "../../formats/compression/payload.ts";
import type { ElfFile } from "../../formats/elf.ts";
import { hex, mebibytes } from "../../formats/errors.ts";
import { type KernelImage, openKernel } from "./kernel.ts";
import { featureList, offersPv, otherOwners, parseXenNotes } from "./notes.ts";
import { findPatchSites, type PatchSites } from "./patch-sites.ts";

export interface KernelReport {
	readonly file: string;
	readonly size: number;
	readonly format: KernelImage["format"];
	/** "2.15"; undefined where it is no bzImage. */
	readonly bootProtocol: string | undefined;
	/** Release, builder and time; empty where the image does not say. */
	readonly version: string;
	readonly compression: Compression | undefined;
	/** Bytes of the payload as it lies in the file, and of the ELF file in it. */
	readonly payloadSize: number;
	readonly kernelSize: number;
	/** The ELF file's own entry point. */
	readonly entry: number;
	readonly segments: readonly { readonly address: number; readonly size: number; readonly flags: string }[];
	readonly xen:
		| {
				readonly source: "notes" | "__xen_guest";
				readonly notes: readonly { readonly name: string; readonly text: string }[];
				readonly supportedFeatures: readonly string[];
				readonly requiredFeatures: readonly string[];
		  }
		| undefined;
	/** Whose notes it has in their place, in words; empty where it has none, or Xen's. */
	readonly otherNotes: string;
	/** "Xen PV", "Xen PVH", "PC": where the image can be started, and at which address. */
	readonly environments: readonly { readonly name: string; readonly entry: number }[];
	readonly patchSites: PatchSites | undefined;
}

const PT_LOAD = 1;
/** The protected-mode code of a bzImage starts 512 bytes before its 64-bit entry point. */
const ENTRY_64_OFFSET = 0x200;
const BANNER = "Linux version ";

/** The line that the kernel prints first, for images without a setup header. */
function findBanner(elf: ElfFile): string {
	const section = elf.section(".rodata");
	if (section === undefined) return "";
	const bytes = elf.contents(section);
	const first = BANNER.charCodeAt(0);
	for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
		let matched = 1;
		while (matched < BANNER.length && bytes[at + matched] === BANNER.charCodeAt(matched)) matched++;
		// "%s" follows in the format of another message.
		if (matched < BANNER.length || bytes[at + matched] === 0x25) continue;
		const end = bytes.indexOf(0x0a, at);
		if (end < 0) return "";
		return new TextDecoder("latin1").decode(bytes.subarray(at + BANNER.length, Math.min(end, at + 512)));
	}
	return "";
}

function environmentsOf(image: KernelImage): KernelReport["environments"] {
	const parameters = parseXenNotes(image.elf);
	const environments: { name: string; entry: number }[] = [];
	if (offersPv(parameters)) {
		environments.push({ name: "Xen PV", entry: parameters.entry ?? image.elf.entry });
	}
	if (parameters?.phys32Entry !== undefined) environments.push({ name: "Xen PVH", entry: parameters.phys32Entry });
	if (image.setup !== undefined) {
		environments.push({ name: "PC", entry: image.setup.preferredAddress + ENTRY_64_OFFSET });
	}
	return environments;
}

/**
 * Reads an image.
 * @param options.name the file's name for the report and for errors, which are ImageErrors
 */
export function inspectKernel(bytes: Uint8Array, options: { readonly name: string }): KernelReport {
	const image = openKernel(bytes, options.name);
	const { elf, setup } = image;
	const parameters = parseXenNotes(elf);
	return {
		file: image.file,
		size: image.size,
		format: image.format,
		bootProtocol: setup && formatProtocol(setup.protocol),
		version: setup?.kernelVersion || findBanner(elf),
		compression: image.compression,
		payloadSize: image.compressedSize,
		kernelSize: elf.bytes.length,
		entry: elf.entry,
		segments: elf.segments
			.filter(({ type }) => type === PT_LOAD)
			.map(({ virtualAddress, memorySize, flags }) => ({
				address: virtualAddress,
				size: memorySize,
				flags: `${flags & 4 ? "r" : "-"}${flags & 2 ? "w" : "-"}${flags & 1 ? "x" : "-"}`,
			})),
		xen: parameters && {
			source: parameters.source,
			notes: parameters.notes.map(({ name, text }) => ({ name, text })),
			supportedFeatures: featureList(parameters.supportedFeatures),
			requiredFeatures: featureList(parameters.requiredFeatures),
		},
		otherNotes: parameters === undefined ? otherOwners(elf) : "",
		environments: environmentsOf(image),
		patchSites: findPatchSites(elf),
	};
}

const LABEL_WIDTH = 20;

function line(label: string, value: string): string {
	return `  ${label.padEnd(LABEL_WIDTH)}${value}`;
}

function formatXen(report: KernelReport): string[] {
	if (report.xen === undefined) {
		const others = report.otherNotes === "" ? "" : ` (${report.otherNotes})`;
		return [`Xen: no notes; the kernel is not built for Xen${others}`];
	}
	const { source, notes, supportedFeatures, requiredFeatures } = report.xen;
	return [
		source === "notes" ? "Xen notes" : "Xen notes (a __xen_guest section, as before Linux 2.6.23)",
		...notes.map(({ name, text }) => line(name, text)),
		line("supports", supportedFeatures.join(", ") || "no optional features"),
		line("requires", requiredFeatures.join(", ") || "nothing"),
	];
}

function formatPatchSites(sites: PatchSites | undefined): string[] {
	if (sites === undefined) return ["Paravirt patch sites: none in the image"];
	const width = Math.max(...sites.operations.map(({ name }) => name.length)) + 2;
	return [
		`Paravirt patch sites: ${sites.total} calls of ${sites.operations.length} operations, from ${sites.source}`,
		sites.layout === undefined
			? line("names", "unknown: no known release has this many operations")
			: line("names", `as in ${sites.layout}`),
		line("native code", `${sites.nativeReplacements} sites are replaced by it outside Xen PV`),
		...sites.operations.map(({ name, count }) => `  ${name.padEnd(width)}${String(count).padStart(6)}`),
	];
}

/** The report as text, lines without a final newline. */
export function formatReport(report: KernelReport): string {
	const container =
		report.bootProtocol === undefined ? report.format : `${report.format}, boot protocol ${report.bootProtocol}`;
	return [
		`${report.file}: ${container}, ${mebibytes(report.size)}`,
		...(report.version === "" ? [] : [line("version", report.version)]),
		line(
			"payload",
			report.compression === undefined
				? `not compressed, ${mebibytes(report.kernelSize)}`
				: `${report.compression}, ${mebibytes(report.payloadSize)}, unpacks to ${mebibytes(report.kernelSize)}`,
		),
		line("ELF entry", hex(report.entry)),
		...report.segments.map(({ address, size, flags }) =>
			line("segment", `${hex(address)} ${flags} ${mebibytes(size)}`),
		),
		"",
		report.environments.length === 0 ? "Runs in no environment that is known here" : "Runs in",
		...report.environments.map(({ name, entry }) => line(name, `entry ${hex(entry)}`)),
		"",
		...formatXen(report),
		"",
		...formatPatchSites(report.patchSites),
	].join("\n");
}
