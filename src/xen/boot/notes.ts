/**
 * What a kernel says of itself to Xen: its ELF notes (public/elfnote.h), or the `__xen_guest` string of kernels before 2.6.23.
 * The rules for what is missing or contradictory are libelf's (elf_xen_parse, elf_xen_note_check).
 */

import { cString, type ElfFile, type ElfNote } from "../../formats/elf.ts";
import { hex, ImageError } from "../../formats/errors.ts";
import { ElfNoteType, elfNoteDescriptions, featureNames, XEN_NOTE_OWNER } from "../abi/elfnote.ts";

export interface XenNote {
	readonly type: number;
	/** Without XEN_ELFNOTE_; the legacy key in an `__xen_guest` string. */
	readonly name: string;
	readonly value: string | number;
	/** The value as `inspect` shows it. */
	readonly text: string;
}

export interface XenParameters {
	/** Where they were found. */
	readonly source: "notes" | "__xen_guest";
	readonly notes: readonly XenNote[];
	/** Virtual addresses, signed; undefined where not given. */
	readonly entry: number | undefined;
	readonly hypercallPage: number | undefined;
	readonly virtBase: number | undefined;
	readonly paddrOffset: number | undefined;
	readonly initP2m: number | undefined;
	readonly hvStartLow: number | undefined;
	/** Physical 32-bit entry point: the kernel starts as a PVH guest too. */
	readonly phys32Entry: number | undefined;
	readonly xenVersion: string;
	readonly loader: string;
	readonly guestOs: string;
	readonly guestVersion: string;
	readonly paeMode: string;
	/** Bit sets of XENFEAT_*. `required` ones are supported too. */
	readonly supportedFeatures: number;
	readonly requiredFeatures: number;
	/** Required features that this version of the headers does not name. */
	readonly unknownFeatures: readonly string[];
	readonly suspendCancel: boolean;
	/** The ramdisk need not be in the initial mapping. */
	readonly modStartPfn: boolean;
}

type Mutable = { -readonly [K in keyof XenParameters]: XenParameters[K] } & {
	notes: XenNote[];
	unknownFeatures: string[];
};

function emptyParameters(source: XenParameters["source"]): Mutable {
	return {
		source,
		notes: [],
		entry: undefined,
		hypercallPage: undefined,
		virtBase: undefined,
		paddrOffset: undefined,
		initP2m: undefined,
		hvStartLow: undefined,
		phys32Entry: undefined,
		xenVersion: "",
		loader: "",
		guestOs: "",
		guestVersion: "",
		paeMode: "",
		supportedFeatures: 0,
		requiredFeatures: 0,
		unknownFeatures: [],
		suspendCancel: false,
		modStartPfn: false,
	};
}

/** A numeric note of one, two, four or eight bytes: unsigned, but eight bytes as an address; 0 for any other size. */
function numeric(data: Uint8Array): number {
	const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
	switch (data.length) {
		case 1:
			return view.getUint8(0);
		case 2:
			return view.getUint16(0, true);
		case 4:
			return view.getUint32(0, true);
		case 8:
			return view.getInt32(4, true) * 2 ** 32 + view.getUint32(0, true);
		default:
			return 0;
	}
}

/** Names of the features in a bit set, with numbers for those that have none. */
export function featureList(bits: number): string[] {
	const names: string[] = [];
	for (let bit = 0; bit < 32; bit++) {
		if ((bits >>> bit) & 1) names.push(featureNames[bit] ?? `feature ${bit}`);
	}
	return names;
}

/** "!writable_page_tables|pae_pgdir_above_4gb": a `!` marks what the kernel cannot do without. */
function addFeatures(list: string, into: Mutable): void {
	for (const item of list.split("|")) {
		const required = item.startsWith("!");
		const name = required ? item.slice(1) : item;
		const bit = featureNames.indexOf(name);
		if (bit < 0) {
			if (required) into.unknownFeatures.push(name);
			continue;
		}
		into.supportedFeatures |= 1 << bit;
		if (required) into.requiredFeatures |= 1 << bit;
	}
}

function describe(note: ElfNote): XenNote {
	const description = elfNoteDescriptions[note.type];
	if (description === undefined) {
		return { type: note.type, name: `note ${note.type}`, value: 0, text: `${note.data.length} bytes` };
	}
	const { name, kind } = description;
	if (kind === "string") {
		const value = cString(note.data);
		return { type: note.type, name, value, text: JSON.stringify(value) };
	}
	if (kind === "pairs") {
		const words: string[] = [];
		for (let at = 0; at + 16 <= note.data.length; at += 16) {
			words.push(
				`mask ${hex(numeric(note.data.subarray(at, at + 8)))} value ${hex(numeric(note.data.subarray(at + 8, at + 16)))}`,
			);
		}
		return { type: note.type, name, value: words.length, text: words.join(", ") };
	}
	if (kind === "words") {
		const words: string[] = [];
		for (let at = 0; at + 4 <= note.data.length; at += 4) words.push(hex(numeric(note.data.subarray(at, at + 4))));
		return { type: note.type, name, value: words.length, text: words.join(" ") };
	}
	const value = numeric(note.data);
	return { type: note.type, name, value, text: kind === "address" ? hex(value) : String(value) };
}

function apply(note: XenNote, into: Mutable): void {
	const text = typeof note.value === "string" ? note.value : "";
	const number = typeof note.value === "number" ? note.value : 0;
	switch (note.type) {
		case ElfNoteType.entry:
			into.entry = number;
			break;
		case ElfNoteType.hypercallPage:
			into.hypercallPage = number;
			break;
		case ElfNoteType.virtBase:
			into.virtBase = number;
			break;
		case ElfNoteType.paddrOffset:
			into.paddrOffset = number;
			break;
		case ElfNoteType.initP2m:
			into.initP2m = number;
			break;
		case ElfNoteType.hvStartLow:
			into.hvStartLow = number;
			break;
		case ElfNoteType.phys32Entry:
			into.phys32Entry = number;
			break;
		case ElfNoteType.xenVersion:
			into.xenVersion = text;
			break;
		case ElfNoteType.loader:
			into.loader = text;
			break;
		case ElfNoteType.guestOs:
			into.guestOs = text;
			break;
		case ElfNoteType.guestVersion:
			into.guestVersion = text;
			break;
		case ElfNoteType.paeMode:
			into.paeMode = text;
			break;
		case ElfNoteType.features:
			addFeatures(text, into);
			break;
		case ElfNoteType.supportedFeatures:
			into.supportedFeatures |= number;
			break;
		case ElfNoteType.suspendCancel:
			into.suspendCancel = number !== 0;
			break;
		case ElfNoteType.modStartPfn:
			into.modStartPfn = number !== 0;
			break;
		default:
			break;
	}
}

/** Legacy keys and the notes that replaced them; HYPERCALL_PAGE is a page number there. */
const LEGACY_KEYS: Readonly<Record<string, number>> = {
	VIRT_ENTRY: ElfNoteType.entry,
	HYPERCALL_PAGE: ElfNoteType.hypercallPage,
	VIRT_BASE: ElfNoteType.virtBase,
	ELF_PADDR_OFFSET: ElfNoteType.paddrOffset,
	XEN_VER: ElfNoteType.xenVersion,
	GUEST_OS: ElfNoteType.guestOs,
	GUEST_VER: ElfNoteType.guestVersion,
	LOADER: ElfNoteType.loader,
	PAE: ElfNoteType.paeMode,
	FEATURES: ElfNoteType.features,
	BSD_SYMTAB: ElfNoteType.bsdSymtab,
};
const LEGACY_NUMBERS: readonly number[] = [
	ElfNoteType.entry,
	ElfNoteType.hypercallPage,
	ElfNoteType.virtBase,
	ElfNoteType.paddrOffset,
];

/** A number as C's strtoull reads it with base 0, taken as a signed 64-bit address. */
function parseAddress(text: string): number {
	const match = /^\s*(0x[0-9a-f]+|[0-9]+)/i.exec(text);
	return match === null ? 0 : Number(BigInt.asIntN(64, BigInt(match[1] as string)));
}

/** "GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,..." */
function parseGuestString(section: string): XenParameters {
	const parameters = emptyParameters("__xen_guest");
	for (const item of section.split(",")) {
		if (item === "") continue;
		const equals = item.indexOf("=");
		const key = equals < 0 ? item : item.slice(0, equals);
		const text = equals < 0 ? "" : item.slice(equals + 1);
		const type = LEGACY_KEYS[key];
		const value = type !== undefined && LEGACY_NUMBERS.includes(type) ? parseAddress(text) : text;
		const note: XenNote = { type: type ?? -1, name: key, value, text };
		parameters.notes.push(note);
		if (type !== undefined) apply(note, parameters);
	}
	if (parameters.hypercallPage !== undefined) {
		parameters.hypercallPage = parameters.hypercallPage * 4096 + (parameters.virtBase ?? 0);
	}
	// Hypervisors of that time wanted the ELF file's physical addresses to be virtual ones.
	parameters.paddrOffset ??= parameters.virtBase ?? 0;
	return parameters;
}

/** The Xen parameters of a kernel, or undefined where it has none at all. Throws an ImageError where they are damaged. */
export function parseXenNotes(elf: ElfFile): XenParameters | undefined {
	const parameters = emptyParameters("notes");
	for (const note of elf.notes()) {
		if (note.owner !== XEN_NOTE_OWNER) continue;
		const described = describe(note);
		parameters.notes.push(described);
		apply(described, parameters);
	}
	if (parameters.notes.length > 0) return parameters;
	const section = elf.section("__xen_guest");
	return section === undefined ? undefined : parseGuestString(cString(elf.contents(section)));
}

/** Owners that are named in a message, and characters of each. */
const MOST_OWNERS = 4;
const MOST_OWNER_LENGTH = 20;

/**
 * For a message: who else has notes in an image, where a loader passes over them; empty where nobody has. It may be the owner alone that is
 * wrong: Debian's GNU Mach has all notes for Xen under the name "name".
 */
export function otherOwners(elf: ElfFile): string {
	const owners = [...new Set(elf.notes().map(({ owner }) => owner))].filter((owner) => owner !== XEN_NOTE_OWNER);
	const named = owners.slice(0, MOST_OWNERS).map((owner) => JSON.stringify(owner.slice(0, MOST_OWNER_LENGTH)));
	if (named.length === 0) return "";
	const more = owners.length > MOST_OWNERS ? " and others" : "";
	return `its notes are those of ${named.join(", ")}${more}, and only the owner "${XEN_NOTE_OWNER}" counts`;
}

/** Whether a kernel starts as a PV guest: it names an entry point, or is a loader-agnostic image whose ELF entry is it. */
export function offersPv(parameters: XenParameters | undefined): parameters is XenParameters {
	if (parameters === undefined) return false;
	if (parameters.entry !== undefined || parameters.source === "__xen_guest") return true;
	// Linux without CONFIG_XEN_PV has all other notes; its ELF entry point is the native one.
	return parameters.phys32Entry === undefined && !parameters.guestOs.startsWith("linux");
}

function withoutNotes(elf: ElfFile): string {
	const others = otherOwners(elf);
	return `it has no Xen notes, so it is not built for Xen${others === "" ? "" : ` (${others})`}`;
}

/**
 * The parameters of a kernel that can start as an unprivileged PV guest.
 * Throws an ImageError for any other, with libelf's reasons.
 */
export function requirePv(elf: ElfFile): XenParameters {
	const parameters = parseXenNotes(elf);
	const { file } = elf;
	if (!offersPv(parameters)) {
		throw new ImageError(
			"no-xen-notes",
			file,
			parameters === undefined
				? withoutNotes(elf)
				: "its Xen notes name no PV entry point, so it is built for Xen HVM or PVH only",
			"Use a kernel with CONFIG_XEN_PV=y, such as Debian's linux-image-amd64",
		);
	}
	const unsupported = (reason: string) =>
		new ImageError("unsupported-kernel", file, reason, "Use a Linux kernel with CONFIG_XEN_PV=y");
	if (!parameters.loader.startsWith("generic") && !parameters.guestOs.startsWith("linux")) {
		throw unsupported(`it is built neither for Xen's generic loader ("${parameters.loader}") nor is it Linux`);
	}
	if (!parameters.xenVersion.startsWith("xen-3.0")) {
		throw unsupported(`it is built for the Xen interface "${parameters.xenVersion}" and not for xen-3.0`);
	}
	const impossible = featureNames.indexOf("auto_translated_physmap");
	const dom0 = featureNames.indexOf("dom0");
	if ((parameters.requiredFeatures >>> dom0) & 1) throw unsupported("it runs only as a privileged domain (dom0)");
	if ((parameters.requiredFeatures >>> impossible) & 1) {
		throw unsupported("it requires auto_translated_physmap, which no supported Xen has");
	}
	if (parameters.unknownFeatures.length > 0) {
		throw unsupported(`it requires features that are not known: ${parameters.unknownFeatures.join(", ")}`);
	}
	if (parameters.paddrOffset !== undefined && parameters.virtBase === undefined) {
		throw unsupported("its note PADDR_OFFSET is set without VIRT_BASE");
	}
	return parameters;
}
