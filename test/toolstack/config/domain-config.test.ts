import { describe, expect, it } from "vitest";
import { domainConfig, parseWithOverrides, readDomainConfig } from "../../../src/toolstack/config/domain-config.ts";
import { ConfigError } from "../../../src/toolstack/config/errors.ts";
import { CONFIG_OPTIONS } from "../../../src/toolstack/config/options.ts";

/** The options that xl.cfg(5) of Xen 4.17 documents, in its order. */
const DOCUMENTED =
	`name type builder pool vcpus maxvcpus cpus cpus_soft cpu_weight cap memory maxmem vnuma on_poweroff on_reboot
	on_watchdog on_crash on_soft_reset kernel ramdisk cmdline root extra firmware pvshim pvshim_path pvshim_cmdline pvshim_extra uuid seclabel
	init_seclabel max_grant_frames max_maptrack_frames max_grant_version nomigrate driver_domain device_tree passthrough
	xend_suspend_evtchn_compat vmtrace_buf_kb vpmu disk vif vtpm p9 pvcalls vfb channel rdm usbctrl usbdev pci pci_permissive
	pci_msitranslate pci_seize pci_power_mgmt gfx_passthru rdm_mem_boundary dtdev ioports iomem irqs max_event_channels vdispl dm_restrict
	device_model_user vsnd vkb tee bootloader bootloader_args e820_host boot hdtype hap oos shadow_memory bios bios_path_override pae acpi
	acpi_s3 acpi_s4 acpi_laptop_slate apic nx hpet altp2m altp2mhvm nestedhvm cpuid acpi_firmware smbios_firmware ms_vm_genid tsc_mode
	localtime rtc_timeoffset vpt_align timer_mode mmio_hole xen_platform_pci viridian videoram stdvga vga vnc vnclisten vncdisplay vncunused
	vncpasswd keymap sdl opengl nographic spice spicehost spiceport spicetls_port spicedisable_ticketing spicepasswd spiceagent_mouse
	spicevdagent spice_clipboard_sharing spiceusbredirection spice_image_compression spice_streaming_video serial soundhw vkb_device usb
	usbversion usbdevice vendor_device device_model_version device_model_override stubdomain_kernel stubdomain_cmdline stubdomain_ramdisk
	stubdomain_memory device_model_stubdomain_override device_model_stubdomain_seclabel device_model_args device_model_args_pv
	device_model_args_hvm gic_version vuart mca_caps msr_relaxed display xauthority`
		.trim()
		.split(/\s+/);

const LEAST = 'name="g"\nkernel="/boot/vmlinuz"\n';

function read(text: string, ...overrides: string[]): ReturnType<typeof domainConfig> {
	const resolve = (path: string): string => (path.startsWith("/") ? path : `/here/${path}`);
	return domainConfig(parseWithOverrides(text, "g.cfg", overrides), "g.cfg", { resolve, bootLoader: "/pv-grub" });
}

/** All that is wrong, and all that is warned of. */
function readAll(text: string): { readonly problems: readonly string[]; readonly warnings: readonly string[] } {
	const problems: ConfigError[] = [];
	const settings = parseWithOverrides(text, "g.cfg", [], (error) => problems.push(error));
	const reading = readDomainConfig(settings, "g.cfg", { resolve: (path) => path, bootLoader: "/pv-grub" });
	return {
		problems: [...problems, ...reading.problems].map(({ message }) => message),
		warnings: reading.warnings,
	};
}

function failure(text: string): string {
	try {
		read(text);
	} catch (error) {
		if (error instanceof ConfigError) return `${error.message}. ${error.remedy}.`;
		throw error;
	}
	return "none";
}

describe("options of xl.cfg", () => {
	it("are those of the manual, all of them", () => {
		expect(Object.keys(CONFIG_OPTIONS).sort()).toEqual([...DOCUMENTED].sort());
	});

	const refused = Object.entries(CONFIG_OPTIONS).flatMap(([key, option]) =>
		option.treatment === "refused" ? [[key, option] as const] : [],
	);
	it.each(refused)("%s is refused by name where it asks for something", (key, option) => {
		const value = option.kind === "list" ? "['something']" : "'7'";
		expect(failure(`${LEAST}${key}=${value}`)).toMatch(
			new RegExp(`^g\\.cfg:3: ${key} cannot be honoured: .+\\. .+\\.$`),
		);
		for (const nothing of option.nothing) expect(failure(`${LEAST}${key}="${nothing}"`)).toBe("none");
		if (option.kind === "list") expect(failure(`${LEAST}${key}=[]`)).toBe("none");
	});

	it("of HVM guests are ignored with one warning, as xl does it", () => {
		const text = `${LEAST}serial="pty"\nacpi=1\nboot=5\nhap=1\ndevice_model_args=["-x"]\n`;
		expect(readAll(text)).toEqual({
			problems: [],
			warnings: [
				"g.cfg: serial, acpi, boot, hap, device_model_args are for HVM and PVH guests and ignored, as xl does with a PV guest",
			],
		});
	});

	it("of a file for another guest need no words", () => {
		for (const type of ['type="hvm"', 'type="pvh"', 'builder="hvm"']) {
			const { problems, warnings } = readAll(`${type}\nvnc=1\npci=["1"]\nmemory="x"\nserial="pty"\n`);
			expect(problems).toEqual([expect.stringMatching(/^g\.cfg:1: (?:type|builder): "\w+" guests are not supported$/)]);
			expect(warnings).toEqual([]);
		}
	});

	it("are wrong all at once", () => {
		const text = `nam = 1
kernel = [ "a" ]
memory = "lots"
vcpus = 0
name = oops
uuid = "zzz"
vnc = 1
disk = [ 'a,vhd,xvda', 'b,,nothing', 'c,,xvdc' ]
vif = [ 'mac=1' ]
on_crash = "explode"
cmdline = "a"
extra = "b"
cap = "-1"
maxmem = -1
`;
		expect(readAll(text).problems).toEqual([
			'g.cfg:14: unexpected "-1"',
			'g.cfg:5: "oops" where a value belongs',
			"g.cfg:1: unknown option nam",
			"g.cfg:2: kernel: a list is no string",
			'g.cfg:3: memory: "lots" is no number',
			"g.cfg:7: vnc cannot be honoured: there is no framebuffer yet; the guest's console is text (paravirt xl console)",
			"g.cfg: name is missing",
			'g.cfg:6: uuid: "zzz" is no UUID',
			"g.cfg:4: vcpus: 0 is not possible",
			"g.cfg:12: extra: cmdline is given too, and replaces it",
			"g.cfg:13: cap: -1 is not possible",
			'g.cfg:10: on_crash: "explode" is nothing that can be done when a domain ends',
			'g.cfg:8: disk: "a,vhd,xvda": format vhd is not supported',
			'g.cfg:8: disk: "b,,nothing": vdev nothing is no disk\'s name',
			'g.cfg:9: vif: "mac=1": mac=1 is not possible',
		]);
		expect(() => read(text.replace("name = oops", 'name = "x"').replace("maxmem = -1", ""))).toThrow(AggregateError);
	});

	it.each([
		['bootloader="pygrub"', 'g.cfg:1: bootloader = "pygrub": PV-GRUB takes its place'],
		['bootloader="/usr/lib/xen-4.17/bin/pygrub"', "g.cfg:1: bootloader = "],
		['firmware="pvgrub64"', 'g.cfg:1: firmware = "pvgrub64": PV-GRUB takes its place'],
	])("%s is PV-GRUB", (line, warning) => {
		const text = `${line}\nname="g"\n`;
		expect(read(text)).toMatchObject({ kernel: "/pv-grub", commandLine: "" });
		expect(readAll(text)).toEqual({ problems: [], warnings: [expect.stringContaining(warning)] });
		expect(readAll(`${text}kernel="/k"\nextra="quiet"\n`).warnings).toEqual([
			expect.stringContaining("on the guest's disk says; kernel, extra have no effect"),
		]);
	});

	it("other boot loaders are refused, and no kernel is missed then", () => {
		expect(readAll('name="g"\nbootloader="/opt/loader"\n').problems).toEqual([
			"g.cfg:2: bootloader: /opt/loader cannot be run: no program chooses what a guest boots",
		]);
		expect(readAll(`${LEAST}firmware="ovmf"\n`)).toEqual({
			problems: [],
			warnings: ['g.cfg:3: firmware = "ovmf" is not for PV guests and ignored'],
		});
	});

	it("that pin processors are taken with a note", () => {
		const text = `${LEAST}cpus="0-1"\ncpus_soft=["2","2","0"]\n`;
		expect(readAll(text)).toEqual({
			problems: [],
			warnings: [
				'g.cfg:3: cpus = "0-1": virtual processors are not pinned, since the host has no CPU 1',
				'g.cfg:4: cpus_soft = "2": virtual processors are not pinned, since the host has no CPU 2',
			],
		});
	});

	it("that change nothing of interfaces are taken with a note", () => {
		const vif = "mac=00:16:3e:01:02:03,model=rtl8139,type=ioemu,script=/etc/xen/scripts/vif-openvswitch,bridge=lan";
		expect(read(`${LEAST}vif=['${vif}']`).networks).toEqual([{ mac: "00:16:3e:01:02:03", bridge: "lan" }]);
		expect(readAll(`${LEAST}vif=['${vif}']`)).toEqual({
			problems: [],
			warnings: [
				expect.stringContaining("model=rtl8139 has no effect: a PV guest has no emulated network card"),
				expect.stringContaining("type=ioemu has no effect"),
				expect.stringContaining("script=/etc/xen/scripts/vif-openvswitch has no effect: there are no hotplug scripts"),
			],
		});
		expect(readAll(`${LEAST}vif=['script=vif-bridge,type=vif']`).warnings).toEqual([]);
	});

	it("make a domain", () => {
		const text = `# Debian's /etc/xen/xlexample.pvlinux, and more
name = "example.pvlinux"
uuid = "6c2ba4d4-2b23-4b4c-a1b6-ad1d1b7f6c07"
kernel = "vmlinuz"; ramdisk = "/boot/initrd.gz"
extra = "root=/dev/xvda1"
memory = 128
maxmem = "512"
vcpus = 2
maxvcpus = 0x4
cpu_weight = 512
cap = 150
cpus = "all"; cpus_soft = [ "0", "0-0" ]
on_crash = 'coredump-destroy'
on_reboot = "destroy"
max_grant_frames = 64
max_event_channels = 1023
nomigrate = 1
disk = [ 'guest.img,raw,xvda,rw', 'http://example.org/cd.iso,raw,xvdb,r' ]
vnc = 0
`;
		expect(read(text)).toMatchObject({
			name: "example.pvlinux",
			uuid: "6c2ba4d4-2b23-4b4c-a1b6-ad1d1b7f6c07",
			kernel: "/here/vmlinuz",
			ramdisk: "/boot/initrd.gz",
			commandLine: "root=/dev/xvda1",
			memory: 128 * 2 ** 20,
			maximumMemory: 512 * 2 ** 20,
			vcpus: 2,
			maximumVcpus: 4,
			weight: 512,
			cap: 150,
			onPoweroff: "destroy",
			onReboot: "destroy",
			onCrash: "coredump-destroy",
			onWatchdog: "destroy",
			maximumGrantFrames: 64,
			maximumEventChannels: 1023,
			disks: [
				{ target: "/here/guest.img", vdev: "xvda", readOnly: false },
				{ target: "http://example.org/cd.iso", vdev: "xvdb", readOnly: true },
			],
			shares: [],
		});
	});

	it("have xl's defaults", () => {
		expect(read(LEAST)).toEqual({
			name: "g",
			kernel: "/boot/vmlinuz",
			commandLine: "",
			memory: 32 * 2 ** 20,
			maximumMemory: 32 * 2 ** 20,
			vcpus: 1,
			maximumVcpus: 1,
			onPoweroff: "destroy",
			onReboot: "restart",
			onCrash: "destroy",
			onWatchdog: "destroy",
			disks: [],
			shares: [],
			networks: [],
			channels: [],
		});
		expect(read(`${LEAST}root="/dev/xvda1 ro"\nextra="quiet"`).commandLine).toBe("root=/dev/xvda1 ro quiet");
		expect(read(`${LEAST}builder="generic"`).name).toBe("g");
	});

	it("are replaced by those of the command line", () => {
		expect(read(LEAST, "memory=64", 'name="h"; vcpus=3')).toMatchObject({ name: "h", memory: 64 * 2 ** 20, vcpus: 3 });
	});

	it.each([
		['kernel="k"', "g.cfg: name is missing."],
		['name="g"', "g.cfg: kernel is missing."],
		[`${LEAST}memroy=5`, "g.cfg:3: unknown option memroy. Did you mean memory?."],
		[`${LEAST}memory="lots"`, 'g.cfg:3: memory: "lots" is no number. Give a number.'],
		[`${LEAST}memory=[1]`, "g.cfg:3: memory: a list is no number."],
		[`${LEAST}disk="a"`, 'g.cfg:3: disk: "a" is no list.'],
		[`${LEAST}memory=0`, "g.cfg:3: memory: 0 is not possible. Give 1 or more."],
		[`${LEAST}memory=2\nmaxmem=1`, "g.cfg:4: maxmem: 1 is less than memory."],
		[`${LEAST}vcpus=2\nmaxvcpus=1`, "g.cfg:4: maxvcpus: 1 is less than vcpus."],
		[`${LEAST}cap=500`, "g.cfg:3: cap: 500 is not possible. Give 0 to 100."],
		[`${LEAST}cpus="3-1"`, 'g.cfg:3: cpus: "3-1" is no range.'],
		[`${LEAST}cpus="zero"`, 'g.cfg:3: cpus: "zero" is no list of CPUs.'],
		[`${LEAST}type="hvm"`, 'g.cfg:3: type: "hvm" guests are not supported.'],
		[`${LEAST}builder="hvm"`, 'g.cfg:3: builder: "hvm" guests are not supported.'],
		[`${LEAST}on_crash="explode"`, 'g.cfg:3: on_crash: "explode" is nothing'],
		[`${LEAST}on_poweroff="soft-reset"`, "g.cfg:3: on_poweroff: "],
		[`${LEAST}cmdline="a"\nextra="b"`, "g.cfg:4: extra: cmdline is given too"],
		[`${LEAST}disk=['x,vhd,xvda,rw']`, 'g.cfg:3: disk: "x,vhd,xvda,rw": format vhd is not supported.'],
	])("%j is refused", (text, message) => {
		expect(failure(text)).toContain(message);
	});

	it("has channels, with a pty or a socket at the host's end", () => {
		const text = `${LEAST}channel=["connection=pty,name=one", " name = org.x.agent , connection=SOCKET , path=run/agent "]`;
		expect(read(text).channels).toEqual([
			{ name: "one", connection: "pty" },
			{ name: "org.x.agent", connection: "socket", path: "/here/run/agent" },
		]);
	});

	it.each([
		["connection=pty", "the name is missing. Write name=NAME"],
		["name=a", "the connection is missing. Write connection=pty or"],
		["name=a,connection=pipe", "there is no connection pipe"],
		["name=a,connection=socket", "the socket's path is missing. Write path=PATH"],
		["name=a,connection=pty,path=/dev/x", "a pty's path cannot be chosen"],
		["name=a,connection=pty,backend=disks", "backend=disks is not supported"],
		["name=a,name=b,connection=pty", "name is given twice"],
		["name=a=b,connection=pty", "the value of name has one of = and"],
		["name=,connection=pty", "name has no value"],
		["name=a,connection=pty,type=x", '"type" is unknown'],
	])("channel %j is refused", (channel, message) => {
		expect(failure(`${LEAST}channel=['${channel}']`)).toContain(`g.cfg:3: channel: "${channel}": ${message}`);
	});
});
