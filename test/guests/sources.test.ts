import { describe, expect, it } from "vitest";
import { debianSources, formatSources, parseDeb822, parseOneLine, withSuite } from "../../src/guests/sources.ts";

const DEB822 = `# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: sid
Components: main

Types: deb-src
URIs: http://mirror.example/debian
Suites: sid
Components: main
`;

describe("package sources", () => {
	it("are read in deb822 format, with keys of many lines, without disabled ones and sources of source", () => {
		const sources = parseDeb822(DEB822);
		expect(sources.map((source) => source.suites)).toEqual([["bookworm", "bookworm-updates"], ["bookworm-security"]]);
		expect(sources[0]?.components).toEqual(["main", "contrib"]);
		expect(sources[1]?.signedBy?.split("\n")).toHaveLength(5);
	});

	it("are read in one-line format", () => {
		const text = [
			"deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian trixie main contrib # why",
			"# deb http://mirror.example/debian sid main",
			"deb-src http://mirror.example/debian trixie main",
			"deb https://vendor.example/apt stable main",
		].join("\n");
		const sources = parseOneLine(text);
		expect(sources).toEqual([
			{ uri: "http://mirror.example/debian", suites: ["trixie"], components: ["main", "contrib"], signedBy: "/k.gpg" },
			{ uri: "https://vendor.example/apt", suites: ["stable"], components: ["main"], signedBy: undefined },
		]);
		expect(debianSources(sources)).toEqual([sources[0]]);
	});

	it("are only Debian's, snapshots of it included", () => {
		const source = (uri: string) => ({ uri, suites: ["s"], components: ["main"], signedBy: undefined });
		const debian = ["http://a.example/debian", "http://b.example/archive/debian/20250520T000000Z", "file:/m/debian/"];
		const others = ["http://a.example/ubuntu", "http://a.example/debian-vendor", "https://deb.example/node_20.x"];
		expect(debianSources([...debian, ...others].map(source)).map(({ uri }) => uri)).toEqual(debian);
	});

	it("lead to another suite of the same mirror, with the same keys", () => {
		const sources = withSuite(debianSources(parseDeb822(DEB822)), "sid");
		expect(sources).toHaveLength(1);
		expect(parseDeb822(formatSources(sources))).toEqual([
			{
				uri: "http://mirror.example/debian",
				suites: ["sid"],
				components: ["main"],
				signedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
			},
		]);
	});

	it("have the whole suite beside one that has only some packages", () => {
		const suites = (suite: string) => withSuite(debianSources(parseDeb822(DEB822)), suite)[0]?.suites;
		expect(suites("trixie")).toEqual(["trixie"]);
		expect(suites("bookworm-backports")).toEqual(["bookworm-backports", "bookworm"]);
		expect(suites("bullseye-backports-sloppy")).toEqual(["bullseye-backports-sloppy", "bullseye"]);
		expect(suites("stable-proposed-updates")).toEqual(["stable-proposed-updates", "stable"]);
		expect(suites("experimental")).toEqual(["experimental", "sid"]);
	});

	it("are written as they were read", () => {
		const sources = debianSources(parseDeb822(DEB822)).map((source) => ({ ...source, components: ["main"] }));
		expect(parseDeb822(formatSources(sources))).toEqual(sources);
	});
});
