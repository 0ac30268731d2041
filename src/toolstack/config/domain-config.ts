/**
 * What a configuration file of xl's makes of a domain: options in the host's words, or a {@link ConfigError} that names file, line and
 * option. Nothing is ignored.
 */

import type { CpuVendor } from "../../cpu/vendor.ts";
import { ToolstackError } from "../errors.ts";
import { nearestName } from "../nearest.ts";
import { type EndAction, parseEndAction, XL_END_ACTIONS } from "../options.ts";
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
}

/** The settings of a file, and of `KEY=VALUE` arguments behind it. @throws ConfigError */
export function parseWithOverrides(text: string, file: string, overrides: readonly string[]): Settings {
	return overrides.reduce<Settings>(
		(settings, override) => parseConfig(override, "command line", settings),
		parseConfig(text, file),
	);
}

/** @throws ConfigError */
export function domainConfig(settings: Settings, file: string, { resolve }: ConfigContext): DomainConfig {
	for (const setting of settings.values()) checkOption(setting);
	const reader = new SettingsReader(settings, file);
	checkType(reader);
	const kernel = reader.text("kernel");
	if (kernel === undefined || kernel === "") throw missing(file, "kernel", 'Write kernel = "PATH" of a vmlinuz');
	const name = reader.text("name");
	if (name === undefined || name === "") throw missing(file, "name", 'Write name = "NAME"');
	const vcpus = reader.number("vcpus", 1) ?? 1;
	const maximumVcpus = reader.number("maxvcpus", 1) ?? vcpus;
	if (maximumVcpus < vcpus) throw reader.invalid("maxvcpus", `${maximumVcpus} is less than vcpus`, "Give more");
	for (const key of ["cpus", "cpus_soft"]) checkCpus(reader, key);
	const memory = reader.number("memory", 1) ?? DEFAULT_MEMORY_MIB;
	const maximum = reader.number("maxmem", 1) ?? memory;
	if (maximum < memory) throw reader.invalid("maxmem", `${maximum} is less than memory`, "Give as much or more");
	const ramdisk = reader.text("ramdisk");
	const resolveFile = (target: string): string => resolveTarget(target, resolve) as string;
	return {
		name,
		...optional("uuid", reader.text("uuid")),
		kernel: resolve(kernel),
		...optional("ramdisk", ramdisk === undefined || ramdisk === "" ? undefined : resolve(ramdisk)),
		commandLine: commandLine(reader),
		memory: memory * MIB,
		maximumMemory: maximum * MIB,
		vcpus,
		maximumVcpus,
		...optional("cpuVendor", cpuVendor(reader)),
		...optional("weight", reader.number("cpu_weight", 1, 65535)),
		...optional("cap", reader.number("cap", 0, 100 * maximumVcpus)),
		onPoweroff: action(reader, "on_poweroff", XL_END_ACTIONS.onPoweroff),
		onReboot: action(reader, "on_reboot", XL_END_ACTIONS.onReboot),
		onCrash: action(reader, "on_crash", XL_END_ACTIONS.onCrash),
		onWatchdog: action(reader, "on_watchdog", XL_END_ACTIONS.onWatchdog),
		...optional("maximumGrantFrames", reader.number("max_grant_frames", 1)),
		...optional("maximumMaptrackFrames", reader.number("max_maptrack_frames", 0)),
		...optional("maximumEventChannels", reader.number("max_event_channels", 1)),
		disks: devices(reader, "disk", (text) => resolved(parseDisk(text), "target", resolveFile), DiskSpecificationError),
		shares: devices(reader, "p9", (text) => resolved(parseP9(text), "path", resolve), ShareSpecificationError),
		networks: devices(reader, "vif", parseVif, NetworkError),
		channels: devices(reader, "channel", (text) => resolved(parseChannel(text), "path", resolve), ChannelError),
	};
}

/** An option must be known, and its value of its kind; one that cannot be honoured may only ask for nothing. */
function checkOption({ key, value, file, line }: Setting): void {
	const option = Object.hasOwn(CONFIG_OPTIONS, key) ? CONFIG_OPTIONS[key] : undefined;
	if (option === undefined) {
		const nearest = nearestName(key, Object.keys(CONFIG_OPTIONS));
		const remedy = nearest === undefined ? "xl.cfg(5) lists the options" : `Did you mean ${nearest}?`;
		throw new ConfigError("unknown-option", file, line, `unknown option ${key}`, remedy);
	}
	if (!option.honoured) {
		const asksNothing = isList(value) ? value.items.length === 0 : option.nothing.includes(value.text);
		if (asksNothing) return;
		throw new ConfigError(
			"unsupported-option",
			file,
			line,
			`${key} cannot be honoured: ${option.reason}`,
			option.remedy,
		);
	}
	if (isOfKind(value, option.kind)) return;
	const shown = isList(value) ? "a list" : `"${value.text}"`;
	throw new ConfigError("invalid-value", file, line, `${key}: ${shown} is no ${option.kind}`, `Give a ${option.kind}`);
}

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

function checkCpus(reader: SettingsReader, key: string): void {
	const given = reader.textOrList(key);
	for (const list of typeof given === "string" ? [given] : (given ?? [])) {
		const problem = checkCpuList(list);
		if (problem !== undefined) throw reader.invalid(key, problem, 'The host has one CPU: give "all" or "0"');
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

function action(reader: SettingsReader, key: string, usual: EndAction): EndAction {
	const text = reader.text(key);
	if (text === undefined) return usual;
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

/** The devices of a list; an error in one names the option and where it is set. */
function devices<T>(
	reader: SettingsReader,
	key: string,
	parse: (text: string) => T,
	errorClass: new (...args: never) => SpecificationError,
): readonly T[] {
	return reader.list(key).map((text) => {
		try {
			return parse(text);
		} catch (error) {
			if (!(error instanceof errorClass)) throw error;
			throw reader.invalid(key, `"${text}": ${error.reason}`, error.remedy, error);
		}
	});
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
