/** Our parser of disk specifications beside Xen's own, on a table and on random ones. */
import { describe, expect, it } from "vitest";
import { DiskSpecificationError, parseDisk } from "../../../src/toolstack/config/disk.ts";
import { xluDisks, xluMissing } from "./xlu.ts";

/** Without "trusted" and "untrusted": the manual of Debian's Xen 4.17 has them, its library's lexer does not. */
const TABLE = [
	"",
	"a",
	"/a,,xvda",
	"/a,raw,xvda,rw",
	"/a,qcow2,xvda,w,cdrom",
	" /a , raw, xvda, w",
	"raw:/a,xvda,w",
	"qcow2:/a,xvda,w",
	"qcow2:/a,raw,xvda,w",
	"file:/a,hda1,w",
	"phy:vg/a,xvda1,r",
	"tap:aio:/a,sda1,w",
	"tap2:aio:/a,xvda,w",
	"tap2:tapdisk:qcow2:/a,xvda,w",
	"tapdisk:/a,xvda,w",
	"ioemu:/a,hda,w",
	"phy:/a,ioemu:hde,w",
	"phy:/a,ioemu:hdc:cdrom,r",
	"file:/a,raw:xvda,w",
	"raw:qcow2:/a,xvda,w",
	"format=raw,raw:/a,xvda,w",
	"tap3:/a,xvda,w",
	"aio:b,xvda,w",
	"aio:,xvda:cdrom,r",
	",hdh:cdrom,r",
	",,hdc:cdrom,r",
	",hdc:disk,r",
	",hdc:floppy,r",
	"/a,hdc:cdrom,r",
	"/a,,hdc:cdrom:cdrom,r",
	"/a:b,,xvda",
	"/a,,xvda,w,w",
	"/a,,xvda,access=r,w",
	"/a,,xvda,w,access=r",
	"/a,,xvda,",
	"/a,,xvda,,",
	"/a,,xvda,,,",
	"/a,,,w",
	"/a,,vdev=,xvda",
	"/a,,xvda,vdev=xvda",
	"/a,,vdev=xvda,w",
	"/a,raw,format=raw,xvda",
	"/a,raw,format=qcow2,xvda",
	"/a,format=,xvda",
	"/a,vmdk,xvda",
	"target=/a",
	"vdev=xvda,target=/a,b=c,",
	",,xvda,target=/a",
	"/a,,xvda,target=/b",
	"target=,vdev=xvda",
	"vdev=hdc,cdrom",
	"vdev=hdc,cdrom,target=",
	"vdev=hdc,devtype=cdrom,devtype=disk,target=/a",
	"devtype=floppy,/a,,xvda",
	"/a,,xvda,cdromx",
	"/a,,xvda,discard,no-discard",
	"/a,,xvda,direct-io-safe,no-colo",
	"/a,,xvda,backend=0,backendtype=qdisk,specification=xen",
	"/a,,xvda,backendtype=fast",
	"/a,,xvda,specification=none",
	"/a=b,,xvda",
	"/a,,xvda,colour=red",
	"/a,,xvda,=,",
	"Format=raw,/a,,xvda",
	"format =raw,/a,,xvda",
	"nbd:/a,xvda,w",
	"/a,,xvda,script=x",
	"empty:/a,xvda,w",
	"x:,xvda,w",
	"xvda:y,,xvda",
];

const PIECES = [
	...["/a", "b", "raw", "qcow2", "vhd", "empty", "xvda", "xvdb1", "hdc", "hdh", "r", "w", "rw", "ro", "cdrom", "disk"],
	...[",", ",", ",", ",", ",", ":", ":", "=", " ", "\t", "-", "1"],
	...["raw:", "qcow2:", "qcow:", "phy:", "file:", "tap:", "tap2:", "tapdisk:", "aio:", "ioemu:", "nbd:", "z:"],
	...["format=", "vdev=", "access=", "target=", "devtype=", "backend=", "backendtype=", "script=", "colo", "discard"],
	...["no-discard", "direct-io-safe", ":cdrom", ",hdc:cdrom", "/a,,xvda", "specification="],
];

const BEGINNINGS = ["/a", "", "raw:/a", "tap2:aio:/a", "tap:qcow2:/a", "phy:/a", "format=qcow2,/a", "/a,raw", "/a,"];
const PARAMETERS = [
	...["xvda", "ioemu:hda", "hdc:cdrom", "w", "r", "", "raw", "qcow2", "cdrom", "discard", "no-discard", "access=ro"],
	...["vdev=xvdb", "devtype=disk", "devtype=cdrom", " xvdc", "backendtype=qdisk", "direct-io-safe", "target=/b,c"],
];

/** Refusals of what xl's parser takes, and what libxl or we cannot do. */
const OURS = [
	/^format (qcow|vhd|qed) is not supported/,
	/^(script|colo) is not supported/,
	/^the prefix \w+: is not supported/,
	/^(backend|backendtype|specification)=\S* is not supported/,
	/^vdev .* is no disk's name/s,
	/^target is missing/,
	/^format empty is for CD drives/,
];

function ours(specification: string): string {
	try {
		const { target, format, vdev, readOnly, cdrom, discard } = parseDisk(specification);
		return `target=${target ?? "-"} format=${format} vdev=${vdev} write=${readOnly ? 0 : 1} cdrom=${cdrom ? 1 : 0} discard=${discard === undefined ? "-" : Number(discard)}`;
	} catch (error) {
		if (!(error instanceof DiskSpecificationError)) throw error;
		return OURS.some((reason) => reason.test(error.reason)) ? `ours: ${error.reason}` : "refused";
	}
}

/** The fields of xl's that we have, in our words: an empty drive has no file. */
function theirs(line: string): string {
	if (line === "refused") return line;
	const [, fields = ""] = /^(.*) trusted=/.exec(line) ?? [];
	const usual = fields.replace(/ (vdev=\S+)\s+/, " $1 ");
	return usual.includes("format=empty") ? usual.replace(/^target=\S+/, "target=-") : usual;
}

function random(count: number): string[] {
	let seed = 7;
	const next = (below: number): number => {
		seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
		return (seed >>> 8) % below;
	};
	const pick = (from: readonly string[]): string => from[next(from.length)] as string;
	// Every other one has the shape of a specification.
	return Array.from({ length: count }, (_, index) =>
		index % 2 === 0
			? Array.from({ length: 1 + next(11) }, () => pick(PIECES)).join("")
			: [pick(BEGINNINGS), ...Array.from({ length: 1 + next(5) }, () => pick(PARAMETERS))].join(","),
	);
}

const missing = xluMissing();

describe.skipIf(missing !== undefined)(`disk specifications beside libxlutil (${missing ?? "installed"})`, () => {
	it("mean the same", () => {
		const all = [...TABLE, ...random(20_000)];
		const answers = xluDisks(all);
		expect(answers).toHaveLength(all.length);
		let taken = 0;
		for (const [index, specification] of all.entries()) {
			const [mine, xl] = [ours(specification), theirs(answers[index] as string)];
			// xl's lexer looks for the rest of what it does not understand, and at the end says nothing.
			if (mine.startsWith("ours: ") || specification.endsWith("=")) continue;
			// Blanks may stand after a value, too; xl takes them as part of it, and refuses most.
			if (xl === "refused" && /[ \t](?:[,:]|$)/.test(specification)) continue;
			expect([specification, mine]).toEqual([specification, xl]);
			if (xl !== "refused") taken++;
		}
		// The random ones are no mere refusals.
		expect(taken).toBeGreaterThan(1500);
	});
});
