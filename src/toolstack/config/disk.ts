/**
 * xl's disk specifications (xl-disk-configuration(5)): `[TARGET, [FORMAT, [VDEV, [ACCESS]]]]` by position, KEY=VALUE and flags anywhere, and
 * the older forms with prefixes and "hdc:cdrom". What is a specification follows libxlu's lexer rule by rule (the tests compare the two);
 * what cannot be honoured is refused by its name.
 */
import { lexer, type Rule } from "./longest-match.ts";
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
	readonly code = "invalid-specification";

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

const SCRIPT = "there are no hotplug scripts here";
const COLO = "COLO replication is not supported";

/** Keys with values that set nothing of their own here, with the values that we can honour. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
	backend: ["", "0", "Domain-0"],
	backendtype: ["phy", "qdisk", "tap"],
	specification: ["xen"],
	grant_usage: ["1"],
};

/** A specification as far as it was read. */
class Draft {
	target?: string;
	format?: DiskFormat;
	vdev?: string;
	access?: string;
	cdrom = false;
	discard?: boolean;
	trusted = true;
	snapshot = false;
	/** With a prefix of the old form there is no format among the positions. */
	prefixed = false;
	private accessPlaced = false;

	constructor(private readonly specification: string) {}

	refuse(reason: string, remedy: string): never {
		throw new DiskSpecificationError(this.specification, reason, remedy);
	}

	/** A target or a vdev: an empty one may be said again. */
	setText(key: "target" | "vdev", value: string): void {
		if ((this[key] ?? "") !== "") this.refuse(`${key} is given twice`, "Give it once");
		this[key] = value;
	}

	setFormat(text: string): void {
		const format = text === "" ? "raw" : FORMATS.find((each) => each === text);
		if (format === undefined) {
			if (!OTHER_FORMATS.includes(text)) this.refuse(`unknown format ${text}`, "Give raw or qcow2");
			this.refuse(`format ${text} is not supported`, "Convert the image: qemu-img convert -O qcow2 OLD NEW");
		}
		if (this.format !== undefined && this.format !== format)
			this.refuse(`format is given twice: ${this.format} and ${format}`, "Give it once");
		this.format = format;
	}

	setAccess(text: string): void {
		if (!["", "r", "ro", "w", "rw"].includes(text)) this.refuse(`access ${text} is unknown`, "Give r or rw");
		this.access = text;
	}

	setDeviceType(text: string): void {
		if (text !== "cdrom" && text !== "disk") this.refuse(`devtype=${text} is unknown`, "Give disk or cdrom");
		this.cdrom = text === "cdrom";
	}

	/** The old form's "hdc:cdrom". @returns whether it is one */
	private setVdevAndType(text: string): boolean {
		const colon = text.lastIndexOf(":");
		if (colon < 0) return false;
		this.setText("vdev", text.slice(0, colon));
		this.setDeviceType(text.slice(colon + 1));
		return true;
	}

	/** A value without a key: it is the first of target, format, vdev and access that is not known yet. */
	place(text: string): void {
		const word = text.trimEnd();
		if (this.target === undefined) {
			this.target = text;
		} else if (!this.prefixed && this.format === undefined) {
			// ",hdc:cdrom,r": a drive without a CD.
			if (this.target === "" && this.setVdevAndType(word)) this.format = "empty";
			else this.setFormat(word);
		} else if (this.vdev === undefined) {
			if (!this.setVdevAndType(word)) this.vdev = word;
		} else if (!this.accessPlaced) {
			this.accessPlaced = true;
			this.setAccess(word);
		} else {
			this.refuse(`"${text}" is one value too many`, "Give further ones as KEY=VALUE");
		}
	}
}

type DiskRule = Rule<Draft>;

/** KEY=VALUE, up to a comma. */
function key(name: string, set: (draft: Draft, value: string, name: string) => void): DiskRule {
	return {
		pattern: new RegExp(`(${name})=([^,]*),?`, "y"),
		act: (draft, [, matched = "", value = ""]) => set(draft, value.trimEnd(), matched),
	};
}

/** A word that means something by itself. */
function flag(name: string, set: (draft: Draft) => void): DiskRule {
	return { pattern: new RegExp(`${name}(?:,|$)`, "y"), act: set };
}

/** A prefix of the old form: it counts as long as all that follows, so that nothing else begins with it. */
function prefix(names: string, set: (draft: Draft, name: string) => void): DiskRule {
	return {
		pattern: new RegExp(`(${names}):`, "y"),
		context: /.*/y,
		act: (draft, [, name = ""]) => {
			draft.prefixed = true;
			set(draft, name);
		},
	};
}

const refuseKey =
	(reason: string) =>
	(draft: Draft, _: string, name: string): void =>
		draft.refuse(`${name} is not supported: ${reason}`, "Leave it out");

const RULES: readonly DiskRule[] = [
	{ pattern: /[ \t\n]+/y, context: /(?:[^ \t\n].*)?/y, act: () => {} },
	key("format", (draft, value) => draft.setFormat(value)),
	key("access", (draft, value) => draft.setAccess(value)),
	key("vdev", (draft, value) => draft.setText("vdev", value)),
	key("devtype", (draft, value) => draft.setDeviceType(value)),
	key(Object.keys(FIXED).join("|"), (draft, value, name) => {
		const allowed = FIXED[name] as readonly string[];
		if (!allowed.includes(value)) {
			const remedy = `Leave it out, or give ${allowed.filter((each) => each !== "").join(" or ")}`;
			draft.refuse(`${name}=${value} is not supported`, remedy);
		}
	}),
	key("script", refuseKey(SCRIPT)),
	key("colo-host|colo-port|colo-export|active-disk|hidden-disk", refuseKey(COLO)),
	flag("colo", (draft) => draft.refuse(`colo is not supported: ${COLO}`, "Leave it out")),
	flag("no-colo", () => {}),
	flag("cdrom", (draft) => draft.setDeviceType("cdrom")),
	flag("discard", (draft) => {
		draft.discard = true;
	}),
	flag("no-discard", (draft) => {
		draft.discard = false;
	}),
	flag("trusted", (draft) => {
		draft.trusted = true;
	}),
	flag("untrusted", (draft) => {
		draft.trusted = false;
	}),
	flag("snapshot", (draft) => {
		draft.snapshot = true;
	}),
	// It tells a back end that O_DIRECT is safe; ours copies to and from the page cache, where it always is.
	flag("direct-io-safe", () => {}),
	// What is left, commas included.
	{
		pattern: /target=(.*)/sy,
		act: (draft, [, value = ""]) => draft.setText("target", value.replace(/,$/, "")),
	},
	prefix("raw|qcow2?|vhd", (draft, name) => draft.setFormat(name)),
	prefix("iscsi|e?nbd|drbd", (draft, name) =>
		draft.refuse(`the prefix ${name}: is not supported: ${SCRIPT}`, "Name a file or a block device"),
	),
	prefix("tapdisk|tap2?|aio|ioemu|file|phy", () => {}),
	// Ours: addresses, which xl takes for a prefix.
	{ pattern: /(https?:\/\/[^,]*),?/y, context: /.*/y, act: (draft, [, address = ""]) => draft.place(address) },
	{
		pattern: /([a-z][a-z0-9]*:)/y,
		context: /(?:[^a-z0-9].*)?/y,
		act: (draft, [, name = ""]) =>
			draft.refuse(
				`unknown prefix ${name}`,
				"Known are raw, qcow2, file, phy, tap, tap2, tapdisk, aio and ioemu; a file's name with a colon goes last, as target=NAME",
			),
	},
	{ pattern: /([^=,]*),|([^=,]+)$/y, act: (draft, [, ended, last]) => draft.place(ended ?? last ?? "") },
	{
		pattern: /([^=,]*)=/y,
		act: (draft, [, name = ""]) =>
			draft.refuse(
				`unknown parameter ${name}`,
				'xl-disk-configuration(5) lists them; a file\'s name with "=" goes last, as target=NAME',
			),
	},
];

const read = lexer(RULES);

/** @throws DiskSpecificationError */
export function parseDisk(specification: string): DiskSpecification {
	const draft = new Draft(specification);
	read(specification, draft);
	return finish(draft);
}

function finish(draft: Draft): DiskSpecification {
	const { vdev, cdrom, target = "" } = draft;
	if (vdev === undefined) draft.refuse("vdev is missing", "Name the guest's disk, for example vdev=xvda");
	if (diskNumber(vdev) === undefined)
		draft.refuse(`vdev ${vdev} is no disk's name`, "Give one such as xvda, xvdb, ...");
	const empty = target === "" || draft.format === "empty";
	if (empty && !cdrom) {
		if (draft.format === "empty") draft.refuse("format empty is for CD drives", "Name an image, or add devtype=cdrom");
		draft.refuse("target is missing", "Name the image's file");
	}
	return {
		target: empty ? undefined : target,
		format: empty ? "empty" : (draft.format ?? "raw"),
		vdev,
		readOnly: cdrom || draft.access === "r" || draft.access === "ro",
		cdrom,
		discard: draft.discard,
		trusted: draft.trusted,
		snapshot: draft.snapshot,
	};
}
