/**
 * The machine's own package sources, read from apt's configuration: sources.list and sources.list.d in both formats
 * (sources.list(5)). From them comes a private list of Debian's archive alone, with the same mirror and the same keys, so that
 * nothing but Debian's signature decides what a guest is made of.
 */

/** A Debian archive as the machine's administrator configured it. */
export interface PackageSource {
	readonly uri: string;
	/** Suites or codenames, e.g. "bookworm", "bookworm-updates". */
	readonly suites: readonly string[];
	readonly components: readonly string[];
	/** The field Signed-By as it stands, which may be a key of many lines; undefined: apt's trusted keys. */
	readonly signedBy: string | undefined;
}

/** Reads a file in deb822 format (*.sources). */
export function parseDeb822(text: string): PackageSource[] {
	const sources: PackageSource[] = [];
	for (const stanza of text.split(/\n(?:[ \t]*\n)+/)) {
		const fields = parseStanza(stanza);
		const words = (field: string): string[] => (fields.get(field) ?? "").split(/\s+/).filter((word) => word !== "");
		if (fields.get("enabled")?.trim() === "no" || !words("types").includes("deb")) continue;
		for (const uri of words("uris")) {
			const signedBy = fields.get("signed-by");
			sources.push({ uri, suites: words("suites"), components: words("components"), signedBy });
		}
	}
	return sources;
}

/** The fields of a stanza, by lower-case name; lines that go on keep their line breaks. */
export function parseStanza(stanza: string): Map<string, string> {
	const fields = new Map<string, string>();
	let current: string | undefined;
	for (const line of stanza.split("\n")) {
		if (line.startsWith("#") || line.trim() === "") continue;
		if (/^[ \t]/.test(line) && current !== undefined) {
			fields.set(current, `${fields.get(current)}\n${line}`);
			continue;
		}
		const colon = line.indexOf(":");
		if (colon < 0) continue;
		current = line.slice(0, colon).toLowerCase();
		fields.set(current, line.slice(colon + 1).trim());
	}
	return fields;
}

/** Reads a file in the one-line format (*.list). */
export function parseOneLine(text: string): PackageSource[] {
	const sources: PackageSource[] = [];
	for (const line of text.split("\n")) {
		const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line.trim());
		if (match === null) continue;
		const [, options = "", uri = "", suite = "", components = ""] = match;
		const signedBy = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1];
		sources.push({ uri, suites: [suite], components: components.split(/\s+/).filter((word) => word !== ""), signedBy });
	}
	return sources;
}

/** Sources of Debian itself, by the path that every mirror has: ".../debian", ".../debian-security", also on snapshots. */
export function debianSources(sources: readonly PackageSource[]): PackageSource[] {
	return sources.filter(
		(source) => /\/debian(-security)?(\/|$)/.test(source.uri) && source.components.includes("main"),
	);
}

/** The same archive with another suite of it, for a kernel from there. */
export function withSuite(sources: readonly PackageSource[], suite: string): PackageSource[] {
	const main = sources.find((source) => !/-security(\/|$)/.test(source.uri));
	return main === undefined ? [] : [{ ...main, suites: suitesWith(suite) }];
}

/** Suites that have only some packages, and need another one beside them. */
const PARTIAL_SUITE = /^(.+?)-(?:backports|backports-sloppy|updates|proposed-updates)$/;
const EXPERIMENTAL = ["experimental", "rc-buggy"];

/** A suite, and the one that has the packages which it does not have itself. */
export function suitesWith(suite: string): string[] {
	const whole = EXPERIMENTAL.includes(suite) ? "sid" : PARTIAL_SUITE.exec(suite)?.[1];
	return whole === undefined ? [suite] : [suite, whole];
}

/** Writes sources in deb822 format, restricted to the packages of component main for the architecture of the guest. */
export function formatSources(sources: readonly PackageSource[], architecture = "amd64"): string {
	return sources
		.map((source) => {
			const lines = [
				"Types: deb",
				`URIs: ${source.uri}`,
				`Suites: ${source.suites.join(" ")}`,
				"Components: main",
				`Architectures: ${architecture}`,
				"Targets: Packages",
			];
			if (source.signedBy !== undefined) lines.push(`Signed-By: ${source.signedBy}`);
			return `${lines.join("\n")}\n`;
		})
		.join("\n");
}
