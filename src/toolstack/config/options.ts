/**
 * Every option of xl.cfg(5) (of Xen 4.17), and how a PV guest of ours is treated that has it: honoured, or refused by name with the reason.
 * A refused option may have the value that asks for nothing, which is xl's own default for it: an empty list, or what `nothing` says.
 */

export type OptionKind = "string" | "number" | "boolean" | "list" | "string or list" | "string or boolean";

export interface HonouredOption {
	readonly kind: OptionKind;
	readonly honoured: true;
}

export interface RefusedOption {
	readonly kind: OptionKind;
	readonly honoured: false;
	/** Why, as the end of "OPTION cannot be honoured: ...". */
	readonly reason: string;
	readonly remedy: string;
	/** Values that ask for nothing. */
	readonly nothing: readonly string[];
}

export type ConfigOption = HonouredOption | RefusedOption;

const LEAVE_OUT = "Leave it out";
const HVM = "it is for HVM and PVH guests, and paravirt runs PV guests";
const DEVICE_MODEL = "it is for a device model (QEMU), which PV guests here do without";
const ARM = "it is for ARM";
const PASSTHROUGH = "there are no physical devices to pass through";
const DISPLAY = "there is no framebuffer yet; the guest's console is text (paravirt xl console)";
const USB = "there are no USB devices";
const SHADOW = "it is about paging in hardware or by shadow tables, and PV guests have neither";

function honour(kind: OptionKind): HonouredOption {
	return { kind, honoured: true };
}

function refuse(kind: OptionKind, reason: string, nothing: readonly string[] = [], remedy = LEAVE_OUT): RefusedOption {
	return { kind, honoured: false, reason, remedy, nothing };
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
	bootloader: refuse(
		"string",
		"there is no boot loader that runs on the host",
		[],
		"Give kernel = \"PATH\" of a kernel, or of a PV-GRUB image (Debian's grub-xen-bin), which loads the kernel from the guest's disk",
	),
	bootloader_args: refuse("string or list", "there is no boot loader that runs on the host"),
	firmware: refuse(
		"string",
		"there is no firmware of paravirt's own",
		[],
		'Give kernel = "/usr/lib/grub-xen/grub-x86_64-xen.bin" (Debian\'s grub-xen-bin) in place of pvgrub64',
	),
	...alike(["pvshim"], "boolean", HVM, OFF),
	...alike(["pvshim_path", "pvshim_cmdline", "pvshim_extra"], "string", HVM),

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
	mca_caps: refuse("list", HVM),
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
	dm_restrict: refuse("boolean", DEVICE_MODEL, OFF),
	device_model_user: refuse("string", DEVICE_MODEL),

	// With a PV guest these stand for a framebuffer
	...alike(["vnc", "sdl", "opengl"], "boolean", DISPLAY, OFF),
	...alike(["vncunused"], "boolean", DISPLAY),
	...alike(["vnclisten", "vncpasswd", "keymap", "display", "xauthority"], "string", DISPLAY),
	vncdisplay: refuse("number", DISPLAY),

	// HVM and PVH guests
	...alike(["boot", "hdtype", "bios", "bios_path_override", "vga", "vendor_device"], "string", HVM),
	...alike(["acpi_firmware", "smbios_firmware", "ms_vm_genid", "timer_mode", "soundhw"], "string", HVM),
	...alike(["hap", "oos"], "boolean", SHADOW),
	shadow_memory: refuse("number", SHADOW),
	...alike(["pae", "acpi", "acpi_s3", "acpi_s4", "apic", "nx", "hpet", "vpt_align"], "boolean", HVM),
	...alike(["acpi_laptop_slate", "altp2mhvm", "nestedhvm"], "boolean", HVM, OFF),
	altp2m: refuse("string", HVM, ["disabled"]),
	mmio_hole: refuse("number", HVM),
	xen_platform_pci: refuse("boolean", HVM),
	viridian: refuse("string or list", HVM, OFF),
	videoram: refuse("number", HVM),
	...alike(["stdvga", "nographic", "vkb_device", "usb"], "boolean", HVM, OFF),
	usbversion: refuse("number", HVM),
	usbdevice: refuse("string or list", HVM),
	serial: refuse("string or list", HVM),
	...alike(["spice", "spicevdagent", "spice_clipboard_sharing"], "boolean", HVM, OFF),
	...alike(["spicedisable_ticketing", "spiceagent_mouse"], "boolean", HVM),
	...alike(["spicehost", "spicepasswd", "spice_image_compression", "spice_streaming_video"], "string", HVM),
	...alike(["spiceport", "spicetls_port", "spiceusbredirection"], "number", HVM),
	...alike(
		["device_model_version", "device_model_override", "device_model_stubdomain_seclabel"],
		"string",
		DEVICE_MODEL,
	),
	...alike(["stubdomain_kernel", "stubdomain_cmdline", "stubdomain_ramdisk"], "string", DEVICE_MODEL),
	stubdomain_memory: refuse("number", DEVICE_MODEL),
	device_model_stubdomain_override: refuse("boolean", DEVICE_MODEL, OFF),
	...alike(["device_model_args", "device_model_args_pv", "device_model_args_hvm"], "list", DEVICE_MODEL),

	// ARM
	gic_version: refuse("string", ARM),
	vuart: refuse("string", ARM),
};
