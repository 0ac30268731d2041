/**
 * xl's disk specifications (xl-disk-configuration(5)): `[TARGET, [FORMAT, [VDEV, [ACCESS]]]]` by position, then KEY=VALUE and flags, or
 * the old `FORMAT:TARGET,VDEV,ACCESS`. Every key is honoured or refused by its name.
 */
import { diskNumber } from "./vdev.ts";

export type DiskFormat = "raw" | "qcow2" | "empty";

/** What a specification says. */
export interface DiskSpecification {
	/** A file, a block device, or an http(s) address; undefined for an empty CD drive. */
	readonly target: string | undefined;
	readonly format: DiskFormat;
	/** As the user wrote it. */
	readonly vdev: string;
	readonly readOnly: boolean;
	readonly cdrom: boolean;
	/** What the user says of discarding: offer it, do not, or (undefined) as the image can. */
	readonly discard: boolean | undefined;
	/** Whether the guest is to trust the back end. */
	readonly trusted: boolean;
	/** The guest's writes go nowhere but into a temporary overlay. Ours, not xl's. */
	readonly snapshot: boolean;
}

/** A disk specification that cannot be carried out: what, and what to do. */
export class DiskSpecificationError extends Error {
	override readonly name = "DiskSpecificationError";

	constructor(
		readonly specification: string,
		readonly reason: string,
		readonly remedy: string,
	) {
		super(`disk "${specification}": ${reason}`);
	}
}

const FORMATS: readonly DiskFormat[] = ["raw", "qcow2", "empty"];
/** Formats that libxl knows and we do not. */
const OTHER_FORMATS = ["qcow", "vhd", "qed"];
/** Prefixes of the old form, with the format that each means. */
const PREFIXES: Readonly<Record<string, DiskFormat>> = {
	raw: "raw",
	qcow2: "qcow2",
	file: "raw",
	phy: "raw",
	aio: "raw",
};
const POSITIONS = ["target", "format", "vdev", "access"] as const;
const REFUSED: Readonly<Record<string, string>> = {
	script: "there are no hotplug scripts here",
	colo: "COLO replication is not supported",
	"colo-host": "COLO replication is not supported",
	"colo-port": "COLO replication is not supported",
	"colo-export": "COLO replication is not supported",
	"active-disk": "COLO replication is not supported",
	"hidden-disk": "COLO replication is not supported",
};

interface Draft {
	target?: string;
	format?: string;
	vdev?: string;
	access?: string;
	cdrom: boolean;
	discard?: boolean;
	trusted: boolean;
	snapshot: boolean;
}

type Refuse = (reason: string, remedy: string) => never;

const FLAGS: Readonly<Record<string, (draft: Draft) => void>> = {
	cdrom: (draft) => {
		draft.cdrom = true;
	},
	discard: (draft) => {
		draft.discard = true;
	},
	"no-discard": (draft) => {
		draft.discard = false;
	},
	trusted: (draft) => {
		draft.trusted = true;
	},
	untrusted: (draft) => {
		draft.trusted = false;
	},
	snapshot: (draft) => {
		draft.snapshot = true;
	},
	// It tells a back end that O_DIRECT is safe; ours copies to and from the page cache, where it always is.
	"direct-io-safe": () => {},
	"no-colo": () => {},
};

/** Keys with values that set nothing of their own here, with the values that we can honour. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
	backend: ["0", "Domain-0"],
	backendtype: ["phy", "qdisk"],
	specification: ["xen"],
};

function setKey(draft: Draft, key: string, value: string, refuse: Refuse): void {
	const allowed = Object.hasOwn(FIXED, key) ? FIXED[key] : undefined;
	if (allowed !== undefined) {
		if (!allowed.includes(value))
			refuse(`${key}=${value} is not supported`, `Leave it out, or give ${allowed.join(" or ")}`);
	} else if (key === "devtype") {
		if (value !== "cdrom" && value !== "disk") refuse(`devtype=${value} is unknown`, "Give disk or cdrom");
		draft.cdrom = value === "cdrom";
	} else if (key === "target" || key === "format" || key === "vdev" || key === "access") {
		if (draft[key] !== undefined) refuse(`${key} is given twice`, "Give it once");
		draft[key] = value;
	} else {
		refuseKey(key, refuse);
	}
}

function refuseKey(key: string, refuse: Refuse): never {
	if (Object.hasOwn(REFUSED, key)) return refuse(`${key} is not supported: ${REFUSED[key]}`, "Leave it out");
	return refuse(`unknown parameter ${key}`, "xl-disk-configuration(5) lists them");
}

/** Words of a specification up to `target=`, which takes all that is left. */
function words(text: string): string[] {
	const found: string[] = [];
	let rest = text.trim();
	while (rest !== "") {
		if (/^target\s*=/.test(rest)) return [...found, rest];
		const comma = rest.indexOf(",");
		found.push((comma < 0 ? rest : rest.slice(0, comma)).trim());
		rest = comma < 0 ? "" : rest.slice(comma + 1).trim();
	}
	return found;
}

/** @throws DiskSpecificationError */
export function parseDisk(specification: string): DiskSpecification {
	const refuse: Refuse = (reason, remedy) => {
		throw new DiskSpecificationError(specification, reason, remedy);
	};
	const draft: Draft = { cdrom: false, trusted: true, snapshot: false };
	const prefix = /^([a-z][a-z0-9]*):(?!\/\/)/.exec(specification.trim());
	let text = specification;
	let positions: readonly (typeof POSITIONS)[number][] = POSITIONS;
	if (prefix !== null) {
		const format = prefix[1] as string;
		if (OTHER_FORMATS.includes(format)) checkFormat(format, refuse);
		if (!Object.hasOwn(PREFIXES, format))
			refuse(`unknown prefix ${format}:`, `Give one of ${Object.keys(PREFIXES).join(", ")}`);
		draft.format = PREFIXES[format] as DiskFormat;
		positions = ["target", "vdev", "access"];
		text = specification.trim().slice(prefix[0].length);
	}
	let position = 0;
	for (const word of words(text)) {
		const key = /^([a-z][-a-z0-9]*)\s*=\s*(.*)$/s.exec(word);
		if (key !== null) {
			setKey(draft, key[1] as string, key[2] as string, refuse);
		} else if (Object.hasOwn(FLAGS, word)) {
			FLAGS[word]?.(draft);
		} else if (Object.hasOwn(REFUSED, word)) {
			refuseKey(word, refuse);
		} else {
			const name = positions[position++];
			if (name === undefined) refuse(`"${word}" is one value too many`, "Give further ones as KEY=VALUE");
			else if (word !== "") setKey(draft, name, word, refuse);
		}
	}
	return finish(draft, refuse);
}

function checkFormat(format: string, refuse: Refuse): DiskFormat {
	const known = FORMATS.find((each) => each === format);
	if (known !== undefined) return known;
	if (OTHER_FORMATS.includes(format)) {
		return refuse(`format ${format} is not supported`, "Convert the image: qemu-img convert -O qcow2 OLD NEW");
	}
	return refuse(`unknown format ${format}`, "Give raw or qcow2");
}

function finish(draft: Draft, refuse: Refuse): DiskSpecification {
	const format = checkFormat(draft.format ?? "raw", refuse);
	let { vdev, cdrom } = draft;
	// The old form's "hdc:cdrom".
	if (vdev?.endsWith(":cdrom") === true) {
		cdrom = true;
		vdev = vdev.slice(0, -":cdrom".length);
	}
	if (vdev === undefined) return refuse("vdev is missing", "Name the guest's disk, for example vdev=xvda");
	if (diskNumber(vdev) === undefined)
		return refuse(`vdev ${vdev} is no disk's name`, "Give one such as xvda, xvdb, ...");
	const { access = cdrom ? "r" : "rw" } = draft;
	const target = draft.target === "" ? undefined : draft.target;
	if (!["r", "ro", "w", "rw"].includes(access)) refuse(`access ${access} is unknown`, "Give r or rw");
	if (target === undefined && format !== "empty") {
		if (!cdrom) return refuse("target is missing", "Name the image's file");
	}
	const empty = target === undefined || format === "empty";
	if (empty && !cdrom) return refuse("format empty is for CD drives", "Name an image, or add devtype=cdrom");
	return {
		target: empty ? undefined : target,
		format: empty ? "empty" : format,
		vdev,
		readOnly: cdrom || (access.startsWith("r") && access !== "rw"),
		cdrom,
		discard: draft.discard,
		trusted: draft.trusted,
		snapshot: draft.snapshot,
	};
}
