/**
 * Debian packages through the machine's own apt, without root: apt-get with a state, a cache and a source list of its own in a
 * directory of the user's. The machine's mirror, proxy and keys are used, read-only; apt checks every signature.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GuestError } from "./errors.ts";
import type { Fraction } from "./progress.ts";
import {
	debianSources,
	formatSources,
	type PackageSource,
	parseDeb822,
	parseOneLine,
	parseStanza,
	suitesWith,
	withSuite,
} from "./sources.ts";
import { runTool } from "./tools.ts";

/** Where the machine keeps its sources: apt's Dir::Etc. */
const APT_CONFIGURATION = "/etc/apt";

/** apt tells its progress on this descriptor. */
const STATUS_OPTION = "APT::Status-Fd=3";

const NO_APT_REMEDY = "Give the files yourself, of any distribution: paravirt boot KERNEL --ramdisk FILE.";

export class Apt {
	private constructor(
		private readonly directory: string,
		private readonly suite: string | undefined,
		private readonly interruption: AbortSignal | undefined,
	) {}

	/**
	 * Prepares apt's private directories under `directory`.
	 * @param suite of the machine's Debian mirror ("trixie", "sid", ...); undefined: what the machine itself uses.
	 * @param interruption ends what apt does, as soon as it is aborted
	 * @param architecture of the packages, as Debian calls it
	 * @throws GuestError where the machine has no apt, or no Debian sources.
	 */
	static async prepare(
		directory: string,
		suite: string | undefined,
		interruption?: AbortSignal,
		architecture = "amd64",
	): Promise<Apt> {
		const configured = debianSources(await systemSources());
		if (configured.length === 0) {
			throw new GuestError(
				`no Debian package source in ${APT_CONFIGURATION}: is this a Debian machine?`,
				NO_APT_REMEDY,
				{ code: "no-tool" },
			);
		}
		const sources = suite === undefined ? configured : withSuite(configured, suite);
		for (const part of ["lists/partial", "archives/partial", "sources.list.d"]) {
			await mkdir(join(directory, part), { recursive: true });
		}
		await writeFile(join(directory, "status"), "");
		await writeFile(join(directory, "sources.list.d", "debian.sources"), formatSources(sources, architecture));
		await writeFile(join(directory, "apt.conf"), configuration(directory, suite, architecture));
		return new Apt(directory, suite, interruption);
	}

	/** Fetches the package lists. @throws GuestError */
	async update(progress: Fraction): Promise<void> {
		await this.run("apt-get", ["-q=2", "update"], progress).catch((error: unknown) => {
			const { suite } = this;
			if (suite === undefined || !(error instanceof GuestError) || !/no longer|not have a Release/.test(error.message))
				throw error;
			const remedy = "Give the name of one that there is: bookworm-backports, trixie, sid.";
			throw new GuestError(`the machine's Debian mirror has no suite ${suite}: ${error.message}`, remedy, {
				cause: error,
			});
		});
	}

	/**
	 * The fields of packages, each of the version that would be installed, by lower-case name.
	 * @throws GuestError if one of them is not there.
	 */
	async show(names: readonly string[]): Promise<ReadonlyMap<string, string>[]> {
		const text = await this.run("apt-cache", ["show", "--no-all-versions", ...names]);
		return text
			.split(/\n\n+/)
			.map(parseStanza)
			.filter((fields) => fields.size > 0);
	}

	/** Downloads packages, checks them against the signed lists, and returns the files' paths. */
	async download(names: readonly string[], progress: Fraction): Promise<string[]> {
		const archives = join(this.directory, "archives");
		await this.run("apt-get", ["-q=2", "download", ...names], progress, archives);
		const files = await readdir(archives);
		return names.map((name) => {
			const file = files.find((candidate) => candidate.startsWith(`${name}_`) && candidate.endsWith(".deb"));
			if (file === undefined) throw new GuestError(`apt-get downloaded no file for ${name}`, NO_APT_REMEDY);
			return join(archives, file);
		});
	}

	private run(tool: string, args: readonly string[], progress?: Fraction, cwd = this.directory): Promise<string> {
		const options = ["-c", join(this.directory, "apt.conf"), "-o", STATUS_OPTION];
		const title = [tool, ...args].join(" ");
		return runTool(tool, [...options, ...args], { cwd, progress, interruption: this.interruption, remedies, title });
	}
}

/** Unpacks a package's files below `directory`. */
export async function unpackPackage(file: string, directory: string): Promise<void> {
	await mkdir(directory, { recursive: true });
	await runTool("dpkg-deb", ["-x", file, directory], { cwd: directory, remedies });
}

/** The machine's package sources, Debian's and others. */
export async function systemSources(): Promise<PackageSource[]> {
	const parts = join(APT_CONFIGURATION, "sources.list.d");
	const files = (await readdir(parts).catch((): string[] => [])).sort().map((name) => join(parts, name));
	const sources: PackageSource[] = [];
	for (const file of [join(APT_CONFIGURATION, "sources.list"), ...files]) {
		const parse = file.endsWith(".sources") ? parseDeb822 : file.endsWith(".list") ? parseOneLine : undefined;
		if (parse !== undefined) sources.push(...parse(await readFile(file, "utf8").catch(() => "")));
	}
	return sources;
}

/**
 * apt.conf(5). The machine's own configuration is read first (proxies are set there); what this sets or clears wins.
 * The sandbox user exists to keep root's downloads from root's rights, and could not write to a user's directory.
 */
function configuration(directory: string, suite: string | undefined, architecture: string): string {
	const quoted = (path: string): string => `"${path}"`;
	return [
		"#clear APT::Update;",
		"#clear DPkg;",
		`Dir::State ${quoted(directory)};`,
		`Dir::State::lists ${quoted(join(directory, "lists"))};`,
		`Dir::State::status ${quoted(join(directory, "status"))};`,
		`Dir::Cache ${quoted(directory)};`,
		`Dir::Cache::archives ${quoted(join(directory, "archives"))};`,
		'Dir::Cache::pkgcache "";',
		'Dir::Cache::srcpkgcache "";',
		'Dir::Etc::sourcelist "/dev/null";',
		`Dir::Etc::sourceparts ${quoted(join(directory, "sources.list.d"))};`,
		`APT::Architecture "${architecture}";`,
		`APT::Architectures { "${architecture}"; };`,
		'APT::Sandbox::User "root";',
		'Acquire::Languages "none";',
		// A suite that has not all packages is preferred to the one beside it, even if Debian does not (backports).
		...(suite === undefined || suitesWith(suite).length === 1 ? [] : [`APT::Default-Release ${quoted(suite)};`]),
		"",
	].join("\n");
}

const NETWORK_REMEDY =
	"Check the network and the machine's apt sources, then try again; or give a kernel yourself: paravirt boot KERNEL.";
const remedies = { missing: NO_APT_REMEDY, failed: NETWORK_REMEDY };
