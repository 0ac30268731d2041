/**
 * What a configuration file of xl's makes of a domain: options in the host's words, or {@link ConfigError}s that name file, line and
 * option. Nothing is ignored in silence.
 */

import type { CpuVendor } from "../../cpu/vendor.ts";
import { ToolstackError } from "../errors.ts";
import { nearestName } from "../nearest.ts";
import { type EndAction, parseEndAction, XL_END_ACTIONS } from "../options.ts";
import { parseUuid } from "../uuid.ts";
import { ChannelError, type ChannelSpecification, parseChannel } from "./channel.ts";
import { checkCpuList } from "./cpu-list.ts";
import { CpuidError, parseCpuid } from "./cpuid.ts";
import { type DiskSpecification, DiskSpecificationError, parseDisk } from "./disk.ts";
import { ConfigError } from "./errors.ts";
import { CONFIG_OPTIONS } from "./options.ts";
import { type P9Specification, parseP9, ShareSpecificationError } from "./p9.ts";
import { isList, parseConfig, type Setting, type Settings } from "./parser.ts";
import { isOfKind, SettingsReader } from "./reader.ts";
import { NetworkError, type NetworkSpecification, parseVif } from "./vif.ts";

const MIB = 2 ** 20;
/** libxl's, where a configuration says nothing. */
const DEFAULT_MEMORY_MIB = 32;

/** A domain as a configuration describes it. Plain data: it goes to the daemon as JSON. */
export interface DomainConfig {
	readonly name: string;
	readonly uuid?: string;
	/** Paths are absolute. */
	readonly kernel: string;
	readonly ramdisk?: string;
	readonly commandLine: string;
	/** Bytes. */
	readonly memory: number;
	readonly maximumMemory: number;
	readonly vcpus: number;
	/** Whose processor it must be, where it says so. */
	readonly cpuVendor?: CpuVendor;
	readonly maximumVcpus: number;
	readonly weight?: number;
	readonly cap?: number;
	readonly onPoweroff: EndAction;
	readonly onReboot: EndAction;
	readonly onCrash: EndAction;
	readonly onWatchdog: EndAction;
	readonly maximumGrantFrames?: number;
	readonly maximumMaptrackFrames?: number;
	readonly maximumEventChannels?: number;
	readonly disks: readonly DiskSpecification[];
	readonly shares: readonly P9Specification[];
	readonly networks: readonly NetworkSpecification[];
	readonly channels: readonly ChannelSpecification[];
}

export interface ConfigContext {
	/** Makes a path absolute: the daemon has another working directory. */
	readonly resolve: (path: string) => string;
	/** Path of PV-GRUB's image: the kernel, if {@link wantsBootLoader}. */
	readonly bootLoader: string;
}

/** A configuration that was read as far as it can be. */
export interface ConfigReading {
	/** If there are no problems. */
	readonly config: DomainConfig;
	/** All that is wrong. */
	readonly problems: readonly ConfigError[];
	/** What is taken and has no effect, in sentences without their full stop. */
	readonly warnings: readonly string[];
	readonly reader: SettingsReader;
}

/**
 * The settings of a file, and of `KEY=VALUE` arguments behind it.
 * @param problem gets what is wrong; without it, it is thrown
 * @throws ConfigError
 */
export function parseWithOverrides(
	text: string,
	file: string,
	overrides: readonly string[],
	problem?: (error: ConfigError) => void,
): Settings {
	return overrides.reduce<Settings>(
		(settings, override) => parseConfig(override, "command line", settings, problem),
		parseConfig(text, file, new Map(), problem),
	);
}

/** Throws what is wrong: the only error, or all of them in the order of their lines. @throws ConfigError, AggregateError */
export function throwProblems(problems: readonly ConfigError[]): void {
	const [only] = problems;
	if (problems.length === 1) throw only;
	const sorted = problems.toSorted((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1));
	if (sorted.length > 1) throw new AggregateError(sorted, sorted.map(({ message }) => message).join("\n"));
}

/** @throws ConfigError, or AggregateError of several */
export function domainConfig(settings: Settings, file: string, context: ConfigContext): DomainConfig {
	const { config, problems } = readDomainConfig(settings, file, context);
	throwProblems(problems);
	return config;
}

/** Collects what is wrong. */
class Problems {
	readonly all: ConfigError[] = [];

	/** What `read` gives; or, if that is wrong, `otherwise`. */
	attempt<T, O>(read: () => T, otherwise: O): T | O {
		try {
			return read();
		} catch (error) {
			if (!(error instanceof ConfigError)) throw error;
			this.all.push(error);
			return otherwise;
		}
	}
}

/** Reads all of it, whatever is wrong with parts. */
export function readDomainConfig(settings: Settings, file: string, context: ConfigContext): ConfigReading {
	const { resolve } = context;
	const problems = new Problems();
	const warnings: string[] = [];
	// Of another kind of guest the other options need no words.
	const ofAnotherKind = problems.attempt(() => checkType(new SettingsReader(settings, file)), true) === true;
	const usable = new Map<string, Setting>();
	if (!ofAnotherKind) {
		for (const setting of settings.values()) {
			problems.attempt(() => {
				checkOption(setting);
				usable.set(setting.key, setting);
			}, undefined);
		}
	}
	const isSet = (key: string): boolean => ofAnotherKind || settings.has(key);
	const reader = new SettingsReader(usable, file);
	const get = <T>(read: () => T): T | undefined => problems.attempt(read, undefined);
	const number = (key: string, least?: number, most?: number): number | undefined =>
		get(() => reader.number(key, least, most));

	const name = reader.text("name") ?? "";
	if (name === "" && !(isSet("name") && !usable.has("name"))) {
		problems.all.push(missing(file, "name", 'Write name = "NAME"'));
	}
	const uuid = reader.text("uuid");
	if (uuid !== undefined && parseUuid(uuid) === undefined) {
		const remedy = "Give one as uuidgen makes it, such as 6c2ba4d4-2b23-4b4c-a1b6-ad1d1b7f6c07, or leave it out";
		problems.all.push(reader.invalid("uuid", `"${uuid}" is no UUID`, remedy));
	}
	const vcpus = number("vcpus", 1) ?? 1;
	const maximumVcpus = number("maxvcpus", 1) ?? vcpus;
	if (maximumVcpus < vcpus)
		problems.all.push(reader.invalid("maxvcpus", `${maximumVcpus} is less than vcpus`, "Give more"));
	for (const key of ["cpus", "cpus_soft"]) get(() => checkCpus(reader, key, warnings));
	const memory = number("memory", 1) ?? DEFAULT_MEMORY_MIB;
	const maximum = number("maxmem", 1) ?? memory;
	if (maximum < memory)
		problems.all.push(reader.invalid("maxmem", `${maximum} is less than memory`, "Give as much or more"));
	const kernel = reader.text("kernel") ?? "";
	if (
		kernel === "" &&
		!reader.has("bootloader") &&
		!wantsBootLoader(usable) &&
		(reader.has("kernel") || !isSet("kernel"))
	) {
		problems.all.push(missing(file, "kernel", 'Write kernel = "PATH" of a vmlinuz, or bootloader = "pygrub"'));
	}
	const boot = get(() => whatBoots(reader, context, warnings)) ?? { kernel: resolve(kernel), commandLine: "" };
	const resolveFile = (target: string): string => resolveTarget(target, resolve) as string;
	const list = <T>(key: string, parse: (text: string) => T, errorClass: SpecificationErrorClass): readonly T[] =>
		devices(reader, key, parse, errorClass, problems);
	const vif = (text: string): NetworkSpecification =>
		parseVif(text, (sentence) => warnings.push(`${reader.place("vif")}: vif "${text}": ${sentence}`));
	const config = {
		name,
		...optional("uuid", uuid),
		...boot,
		memory: memory * MIB,
		maximumMemory: maximum * MIB,
		vcpus,
		maximumVcpus,
		...optional(
			"cpuVendor",
			get(() => cpuVendor(reader)),
		),
		...optional("weight", number("cpu_weight", 1, 65535)),
		...optional("cap", number("cap", 0, 100 * maximumVcpus)),
		onPoweroff: get(() => action(reader, "on_poweroff")) ?? XL_END_ACTIONS.onPoweroff,
		onReboot: get(() => action(reader, "on_reboot")) ?? XL_END_ACTIONS.onReboot,
		onCrash: get(() => action(reader, "on_crash")) ?? XL_END_ACTIONS.onCrash,
		onWatchdog: get(() => action(reader, "on_watchdog")) ?? XL_END_ACTIONS.onWatchdog,
		...optional("maximumGrantFrames", number("max_grant_frames", 1)),
		...optional("maximumMaptrackFrames", number("max_maptrack_frames", 0)),
		...optional("maximumEventChannels", number("max_event_channels", 1)),
		disks: list("disk", (text) => resolved(parseDisk(text), "target", resolveFile), DiskSpecificationError),
		shares: list("p9", (text) => resolved(parseP9(text), "path", resolve), ShareSpecificationError),
		networks: list("vif", vif, NetworkError),
		channels: list("channel", (text) => resolved(parseChannel(text), "path", resolve), ChannelError),
	};
	const ignored = [...usable.keys()].filter((key) => CONFIG_OPTIONS[key]?.treatment === "ignored");
	if (ignored.length > 0) {
		const are = ignored.length === 1 ? "is" : "are";
		warnings.push(
			`${file}: ${ignored.join(", ")} ${are} for HVM and PVH guests and ignored, as xl does with a PV guest`,
		);
	}
	return { config, problems: problems.all, warnings, reader };
}

/** An option must be known, and its value of its kind; one that cannot be honoured may only ask for nothing. */
function checkOption({ key, value, file, line }: Setting): void {
	const option = Object.hasOwn(CONFIG_OPTIONS, key) ? CONFIG_OPTIONS[key] : undefined;
	if (option === undefined) {
		const nearest = nearestName(key, Object.keys(CONFIG_OPTIONS));
		const remedy = nearest === undefined ? "xl.cfg(5) lists the options" : `Did you mean ${nearest}?`;
		throw new ConfigError("unknown-option", file, line, `unknown option ${key}`, remedy);
	}
	if (option.treatment === "ignored") return;
	if (option.treatment === "refused") {
		const asksNothing = isList(value) ? value.items.length === 0 : option.nothing.includes(value.text);
		if (asksNothing) return;
		const reason = `${key} cannot be honoured: ${option.reason}`;
		throw new ConfigError("unsupported-option", file, line, reason, option.remedy);
	}
	if (isOfKind(value, option.kind)) return;
	const shown = isList(value) ? "a list" : `"${value.text}"`;
	throw new ConfigError("invalid-value", file, line, `${key}: ${shown} is no ${option.kind}`, `Give a ${option.kind}`);
}

/** @throws ConfigError if it is a guest of another kind */
function checkType(reader: SettingsReader): void {
	const type = reader.text("type");
	const builder = reader.text("builder");
	const refuse = (key: string, value: string): ConfigError =>
		reader.invalid(key, `"${value}" guests are not supported`, `Write type = "pv", or leave it out`);
	if (type !== undefined && type !== "pv") throw refuse("type", type);
	if (type === undefined && builder !== undefined && builder !== "generic" && builder !== "linux") {
		throw refuse("builder", builder);
	}
}

/** Programs that read a guest's own configuration on the host, by the last part of their path; and firmware that does it in the guest. */
const BOOT_LOADERS = ["pygrub", "pvgrub"];
const FIRMWARES = ["pvgrub", "pvgrub64"];

/** Whether the guest's own configuration says what is booted. */
export function wantsBootLoader(settings: Settings): boolean {
	const text = (key: string): string => {
		const value = settings.get(key)?.value;
		return value === undefined || isList(value) ? "" : value.text;
	};
	return BOOT_LOADERS.includes(text("bootloader").split("/").at(-1) as string) || FIRMWARES.includes(text("firmware"));
}

/** What else says what is booted, which has no effect with a boot loader. */
const WITHOUT_LOADER = ["kernel", "ramdisk", "cmdline", "root", "extra", "bootloader_args"];

/** The kernel, or the boot loader that takes its place. */
function whatBoots(
	reader: SettingsReader,
	{ resolve, bootLoader }: ConfigContext,
	warnings: string[],
): Pick<DomainConfig, "kernel" | "ramdisk" | "commandLine"> {
	const loader = reader.text("bootloader") ?? "";
	const firmware = reader.text("firmware") ?? "";
	const key = loader !== "" ? "bootloader" : "firmware";
	if (loader !== "" ? BOOT_LOADERS.includes(loader.split("/").at(-1) as string) : FIRMWARES.includes(firmware)) {
		const hidden = WITHOUT_LOADER.filter((each) => reader.has(each));
		const others =
			hidden.length === 0 ? "" : `; ${hidden.join(", ")} ${hidden.length === 1 ? "has" : "have"} no effect`;
		const what = "PV-GRUB takes its place, and boots what /boot/grub/grub.cfg on the guest's disk says";
		warnings.push(`${reader.place(key)}: ${key} = "${loader || firmware}": ${what}${others}`);
		return { kernel: bootLoader, commandLine: "" };
	}
	if (loader !== "") {
		const remedy = 'Give bootloader = "pygrub", in whose place PV-GRUB boots, or kernel = "PATH"';
		throw reader.invalid("bootloader", `${loader} cannot be run: no program chooses what a guest boots`, remedy);
	}
	if (firmware !== "")
		warnings.push(`${reader.place("firmware")}: firmware = "${firmware}" is not for PV guests and ignored`);
	const ramdisk = reader.text("ramdisk");
	const kernel = reader.text("kernel") ?? "";
	return {
		kernel: kernel === "" ? "" : resolve(kernel),
		...optional("ramdisk", ramdisk === undefined || ramdisk === "" ? undefined : resolve(ramdisk)),
		commandLine: commandLine(reader),
	};
}

/** cmdline, or root and extra, which it replaces: one that it would hide is a mistake. */
function commandLine(reader: SettingsReader): string {
	const [whole, root, extra] = [reader.text("cmdline"), reader.text("root"), reader.text("extra")];
	if (whole === undefined) {
		return [root === undefined || root === "" ? "" : `root=${root}`, extra ?? ""]
			.filter((part) => part !== "")
			.join(" ");
	}
	const hidden = root !== undefined ? "root" : extra !== undefined ? "extra" : undefined;
	if (hidden === undefined) return whole;
	throw reader.invalid(hidden, "cmdline is given too, and replaces it", `Leave cmdline or ${hidden} out`);
}

/** Pinning is for hosts with several processors: a list must be one, and means nothing. */
function checkCpus(reader: SettingsReader, key: string, warnings: string[]): void {
	const given = reader.textOrList(key);
	const lists = typeof given === "string" ? [given] : (given ?? []);
	for (const list of lists) {
		const problem = checkCpuList(list);
		if (problem === undefined) continue;
		if (problem.kind === "not-a-list") {
			throw reader.invalid(key, problem.reason, 'Give a list such as "0-3,^1", or "all"');
		}
		const text = `${reader.place(key)}: ${key} = "${list}": virtual processors are not pinned, since ${problem.reason}`;
		if (!warnings.includes(text)) warnings.push(text);
	}
}

function cpuVendor(reader: SettingsReader): CpuVendor | undefined {
	try {
		return parseCpuid(reader.textOrList("cpuid"));
	} catch (error) {
		if (!(error instanceof CpuidError)) throw error;
		throw reader.invalid("cpuid", error.reason, error.remedy, error);
	}
}

function action(reader: SettingsReader, key: string): EndAction | undefined {
	const text = reader.text(key);
	if (text === undefined) return undefined;
	try {
		return parseEndAction(text);
	} catch (error) {
		if (!(error instanceof ToolstackError)) throw error;
		throw reader.invalid(key, error.reason, error.remedy, error);
	}
}

/** An error of a device's specification. */
interface SpecificationError extends Error {
	readonly reason: string;
	readonly remedy: string;
}

type SpecificationErrorClass = new (...args: never) => SpecificationError;

/** The devices of a list; an error in one names the option and where it is set, and that one is left out. */
function devices<T>(
	reader: SettingsReader,
	key: string,
	parse: (text: string) => T,
	errorClass: SpecificationErrorClass,
	problems: Problems,
): readonly T[] {
	const texts = problems.attempt(() => reader.list(key), []);
	return texts.flatMap((text) =>
		problems.attempt(() => {
			try {
				return [parse(text)];
			} catch (error) {
				if (!(error instanceof errorClass)) throw error;
				throw reader.invalid(key, `"${text}": ${error.reason}`, error.remedy, error);
			}
		}, []),
	);
}

/** A disk's file as an absolute path; an address stays as it is. */
export function resolveTarget(target: string | undefined, resolve: (path: string) => string): string | undefined {
	return target === undefined || /^https?:\/\//.test(target) ? target : resolve(target);
}

/** A specification with its path made absolute, where it has one. */
function resolved<K extends string, T extends { readonly [name in K]?: string | undefined }>(
	specification: T,
	key: K,
	resolve: (path: string) => string,
): T {
	const path = specification[key];
	return path === undefined ? specification : { ...specification, [key]: resolve(path) };
}

function missing(file: string, key: string, remedy: string): ConfigError {
	return new ConfigError("missing-option", file, 0, `${key} is missing`, remedy);
}

/** A property that there is only where it has a value. */
function optional<K extends string, T>(key: K, value: T | undefined): { readonly [name in K]?: T } {
	return (value === undefined ? {} : { [key]: value }) as { readonly [name in K]?: T };
}
