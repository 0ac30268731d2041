/** The options of `paravirt boot` and `paravirt run`: parsing, --help and the check of docs/command.md are made from this table. */
import type { ArgsDef } from "citty";
import { CPU_VENDORS } from "../cpu/vendor.ts";
import { TraceCategory } from "../xen/trace.ts";

/** The commands that run a guest on the user's terminal. */
export type GuestCommand = "boot" | "run";

/** What --trace takes for the hypervisor's log: a trace too, for those who look on. */
export const LOG_TRACE = "log";
export const TRACES: readonly string[] = [...Object.keys(TraceCategory), LOG_TRACE];
export const CLOCKS = ["real", "deterministic"] as const;
export const TIERS = ["interpreter", "translator", "both"] as const;

/** An option. The text says what it does in a phrase, for --help; docs/command.md has the sentences. */
export interface GuestOption {
	/** What its value is; undefined: it is a flag, and has none. */
	readonly value?: string;
	readonly help: string;
	/** It may be given several times, and the help says so. */
	readonly repeatable?: true;
	/** The only command that has it; undefined: both, with the same meaning. */
	readonly only?: GuestCommand;
}

/** A name may have two rows, each for one command. */
export const GUEST_OPTIONS = [
	["kernel", { only: "run", value: "FILE", help: "vmlinuz or ELF kernel with Xen PV support (default: Debian's)" }],
	["ramdisk", { value: "FILE", help: "Initial ramdisk (default: busybox and the kernel's modules)" }],
	["append", { value: "ARGS", help: "Words to add to the kernel's command line" }],
	["cmdline", { value: "TEXT", help: "The kernel's command line, exactly: nothing of ours comes before it" }],
	["grub", { only: "boot", value: "FILE", help: "Boot what an entry of a grub.cfg, grub.conf or menu.lst describes" }],
	[
		"entry",
		{ only: "boot", value: "N", help: "That entry: its number, 1>2, or its title (default: the configuration's)" },
	],
	[
		"root",
		{
			only: "boot",
			value: "DIR",
			help: "Folder in which that configuration's paths begin (default: the one that its /boot is in)",
		},
	],
	["list", { only: "boot", help: "Print that configuration's entries, and boot nothing" }],
	[
		"root",
		{ only: "run", value: "DEVICE", help: "The disk or partition with the system (default: IMAGE's, /dev/xvda)" },
	],
	[
		"own-kernel",
		{ only: "run", help: "Boot the kernel on IMAGE by its own /boot/grub/grub.cfg, with Debian's PV-GRUB" },
	],
	["memory", { value: "SIZE", help: "The guest's memory, e.g. 2G (default: 512M)" }],
	["vcpus", { value: "N", help: "Number of virtual CPUs (default: 1)" }],
	[
		"disk",
		{
			value: "SPEC",
			repeatable: true,
			help: "A disk: an image's file, or as xl describes it, e.g. disk.qcow2,qcow2,xvda,rw (docs/disks.md)",
		},
	],
	[
		"share",
		{
			value: "PATH[:TAG][:ro]",
			repeatable: true,
			help: "A folder of the host, at /mnt/TAG with our ramdisk (docs/shares.md)",
		},
	],
	[
		"net",
		{
			value: "SPEC",
			repeatable: true,
			help: "A network interface: nat, or as xl describes it, e.g. bridge=lan (docs/networks.md)",
		},
	],
	[
		"forward",
		{
			value: "[ADDRESS:]PORT:PORT",
			repeatable: true,
			help: "A port of the host that leads to the guest's, e.g. 8080:80 or udp:5353:53",
		},
	],
	[
		"clock",
		{
			value: CLOCKS.join("|"),
			help: "deterministic: time is the number of executed instructions (default: real)",
		},
	],
	[
		"tier",
		{
			value: TIERS.join("|"),
			help: "How to execute: by the interpreter alone, or with the translator for hot code too; translator: for all code (default: both)",
		},
	],
	[
		"cpu-vendor",
		{
			value: CPU_VENDORS.join("|"),
			help: "Whose processor the guest finds, where makers differ (default: intel)",
		},
	],
	[
		"profile",
		{
			value: "FILE",
			help: "Write the guest's hottest functions to FILE: a table; a flame graph where FILE ends in .svg or .folded",
		},
	],
	["stats", { value: "FILE", help: "Write statistics to FILE as JSON" }],
	["trace", { value: "WHAT[,WHAT]", help: `Print on standard error as it happens: ${TRACES.join(", ")}` }],
	["no-reboot", { help: "End where the guest asks for a restart, instead of starting it again" }],
	["timeout", { value: "S", help: "End the guest after S seconds, with status 4" }],
	["suite", { value: "SUITE", help: "Debian suite to take the kernel from, e.g. trixie or sid" }],
	["update", { help: "Fetch Debian's current kernel even where one is in the cache" }],
] as const satisfies readonly (readonly [name: string, option: GuestOption])[];

export type GuestOptionName = (typeof GUEST_OPTIONS)[number][0];

/** What both commands take before their options' table. */
const POSITIONALS = {
	boot: {
		kernel: {
			type: "positional",
			required: false,
			description: "vmlinuz or ELF kernel with Xen PV support (default: Debian's, from the cache or the machine's apt)",
			valueHint: "KERNEL",
		},
	},
	run: {
		image: {
			type: "positional",
			required: false,
			description: "A disk image with a system: it is /dev/xvda, and booted (default: no disk, a shell on busybox)",
			valueHint: "IMAGE",
		},
	},
} as const satisfies Readonly<Record<GuestCommand, ArgsDef>>;

/** The table's rows for a command. */
export function optionsOf(command: GuestCommand): (readonly [GuestOptionName, GuestOption])[] {
	const rows: readonly (readonly [GuestOptionName, GuestOption])[] = GUEST_OPTIONS;
	return rows.filter(([, { only }]) => only === undefined || only === command);
}

/** A command's arguments, for the parser and --help. */
export function argumentsOf(command: GuestCommand): ArgsDef {
	const options = optionsOf(command).map(([name, { value, help, repeatable }]): [string, ArgsDef[string]] => {
		const description = repeatable ? `${help}; may be given several times` : help;
		return [
			name,
			value === undefined ? { type: "boolean", description } : { type: "string", description, valueHint: value },
		];
	});
	return { ...POSITIONALS[command], ...Object.fromEntries(options) };
}
