/**
 * Every option of xl.cfg(5) (of Xen 4.17), and how a PV guest of ours is treated that has it: honoured, refused by name with the reason, or
 * ignored with a warning, as xl ignores in a PV guest's file what is for other guests. A refused option may have the value that asks for
 * nothing, which is xl's own default for it: an empty list, or what `nothing` says.
 */

export type OptionKind = "string" | "number" | "boolean" | "list" | "string or list" | "string or boolean";

export interface HonouredOption {
	readonly kind: OptionKind;
	readonly treatment: "honoured";
}

/** One that is not for PV guests. */
export interface IgnoredOption {
	readonly treatment: "ignored";
}

export interface RefusedOption {
	readonly kind: OptionKind;
	readonly treatment: "refused";
	/** Why, as the end of "OPTION cannot be honoured: ...". */
	readonly reason: string;
	readonly remedy: string;
	/** Values that ask for nothing. */
	readonly nothing: readonly string[];
}

export type ConfigOption = HonouredOption | RefusedOption | IgnoredOption;

const LEAVE_OUT = "Leave it out";
const ARM = "it is for ARM";
const PASSTHROUGH = "there are no physical devices to pass through";
const DISPLAY = "there is no framebuffer yet; the guest's console is text (paravirt xl console)";
const USB = "there are no USB devices";

function honour(kind: OptionKind): HonouredOption {
	return { kind, treatment: "honoured" };
}

function refuse(kind: OptionKind, reason: string, nothing: readonly string[] = [], remedy = LEAVE_OUT): RefusedOption {
	return { kind, treatment: "refused", reason, remedy, nothing };
}

/** Several options that are refused alike. */
function alike(
	names: readonly string[],
	kind: OptionKind,
	reason: string,
	nothing: readonly string[] = [],
): Record<string, RefusedOption> {
	return Object.fromEntries(names.map((name) => [name, refuse(kind, reason, nothing)]));
}

function ignore(...names: readonly string[]): Record<string, IgnoredOption> {
	return Object.fromEntries(names.map((name) => [name, { treatment: "ignored" }]));
}

const OFF = ["0"];

export const CONFIG_OPTIONS: Readonly<Record<string, ConfigOption>> = {
	// What it is
	name: honour("string"),
	type: honour("string"),
	builder: honour("string"),
	uuid: honour("string"),
	pool: refuse("string", "there are no CPU pools beside the one that all domains are in", ["Pool-0"]),
	seclabel: refuse("string", "there is no XSM security policy"),
	init_seclabel: refuse("string", "there is no XSM security policy"),

	// Processors and memory
	vcpus: honour("number"),
	maxvcpus: honour("number"),
	cpus: honour("string or list"),
	cpus_soft: honour("string or list"),
	cpu_weight: honour("number"),
	cap: honour("number"),
	memory: honour("number"),
	maxmem: honour("number"),
	vnuma: refuse("list", "PV guests have no virtual NUMA nodes, as with xl"),

	// How it ends
	on_poweroff: honour("string"),
	on_reboot: honour("string"),
	on_watchdog: honour("string"),
	on_crash: honour("string"),
	on_soft_reset: refuse(
		"string",
		"a PV guest cannot be reset with its memory kept; one that asks for it is treated as on_crash says",
		["soft-reset"],
	),

	// What it boots
	kernel: honour("string"),
	ramdisk: honour("string"),
	cmdline: honour("string"),
	root: honour("string"),
	extra: honour("string"),
	// pygrub and pvgrub: PV-GRUB takes their place.
	bootloader: honour("string"),
	bootloader_args: honour("string or list"),
	firmware: honour("string"),
	...ignore("pvshim", "pvshim_path", "pvshim_cmdline", "pvshim_extra"),

	// Limits and features
	max_grant_frames: honour("number"),
	max_maptrack_frames: honour("number"),
	max_event_channels: honour("number"),
	max_grant_version: refuse("number", "guests may use both versions of grant tables", ["2"]),
	// There is no migration, and the time-stamp counter is invariant: this is how it is anyway.
	nomigrate: honour("boolean"),
	driver_domain: refuse("boolean", "guests cannot serve devices to others yet", OFF),
	device_tree: refuse("string", ARM),
	passthrough: refuse("string", PASSTHROUGH, ["disabled", "default"]),
	xend_suspend_evtchn_compat: refuse("boolean", "guests cannot be suspended yet", OFF),
	vmtrace_buf_kb: refuse("number", "there is no Intel Processor Trace", OFF),
	vpmu: refuse("boolean", ARM, OFF),
	e820_host: refuse("boolean", PASSTHROUGH, OFF),
	cpuid: honour("string or list"),
	tsc_mode: refuse("string", "the time-stamp counter is virtual and runs at 1 GHz for all", ["default", "0"]),
	localtime: refuse("boolean", "all guests have the host's time, in UTC", OFF),
	rtc_timeoffset: refuse("number", "all guests have the host's time, in UTC", OFF),
	msr_relaxed: refuse("boolean", "registers that a guest does not have fault, as they do with xl's default", OFF),

	// Devices
	disk: honour("list"),
	vif: honour("list"),
	p9: honour("list"),
	channel: honour("list"),
	vtpm: refuse("list", "there is no virtual TPM"),
	pvcalls: refuse("list", "there is no PV calls back end"),
	vfb: refuse("list", DISPLAY),
	vdispl: refuse("list", "there is no virtual display"),
	vsnd: refuse("list", "there is no virtual sound card"),
	vkb: refuse("list", "there is no virtual keyboard yet; the guest's console is text (paravirt xl console)"),
	tee: refuse("string", ARM, ["none"]),
	...alike(["usbctrl", "usbdev"], "list", USB),
	...alike(["pci", "dtdev", "ioports", "iomem", "irqs"], "list", PASSTHROUGH),
	...alike(["pci_permissive", "pci_msitranslate", "pci_seize", "pci_power_mgmt"], "boolean", PASSTHROUGH, OFF),
	gfx_passthru: refuse("string or boolean", PASSTHROUGH, OFF),
	rdm: refuse("string", PASSTHROUGH),
	rdm_mem_boundary: refuse("number", PASSTHROUGH),

	// With a PV guest these stand for a framebuffer
	...alike(["vnc", "sdl", "opengl"], "boolean", DISPLAY, OFF),
	...alike(["vncunused"], "boolean", DISPLAY),
	...alike(["vnclisten", "vncpasswd", "keymap", "display", "xauthority"], "string", DISPLAY),
	vncdisplay: refuse("number", DISPLAY),

	// HVM and PVH guests, their paging and their device model
	...ignore("boot", "hdtype", "bios", "bios_path_override", "vga", "vendor_device", "mca_caps", "mmio_hole"),
	...ignore("acpi_firmware", "smbios_firmware", "ms_vm_genid", "timer_mode", "soundhw", "hap", "oos", "shadow_memory"),
	...ignore("pae", "acpi", "acpi_s3", "acpi_s4", "acpi_laptop_slate", "apic", "nx", "hpet", "vpt_align"),
	...ignore("altp2m", "altp2mhvm", "nestedhvm", "xen_platform_pci", "viridian", "videoram", "stdvga", "nographic"),
	...ignore("vkb_device", "usb", "usbversion", "usbdevice", "serial"),
	...ignore("spice", "spicehost", "spiceport", "spicetls_port", "spicedisable_ticketing", "spicepasswd"),
	...ignore("spiceagent_mouse", "spicevdagent", "spice_clipboard_sharing", "spiceusbredirection"),
	...ignore("spice_image_compression", "spice_streaming_video"),
	...ignore("device_model_version", "device_model_override", "device_model_stubdomain_override"),
	...ignore("device_model_stubdomain_seclabel", "device_model_args", "device_model_args_pv", "device_model_args_hvm"),
	...ignore("stubdomain_kernel", "stubdomain_cmdline", "stubdomain_ramdisk", "stubdomain_memory"),
	...ignore("dm_restrict", "device_model_user"),

	// ARM
	gic_version: refuse("string", ARM),
	vuart: refuse("string", ARM),
};
