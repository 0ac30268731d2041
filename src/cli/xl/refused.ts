/** Verbs of xl that paravirt does not have, and why. Each is refused by its name. */

const MIGRATION = "domains cannot be saved and resumed yet";
const POOLS = "there is one CPU pool, and it cannot be changed";
const PASSTHROUGH = "there are no physical devices to pass through";
const USB = "there are no USB devices";
const RDT = "there is no Intel Resource Director Technology";
const XSM = "there is no XSM security policy";
const MODELS = "there are no device models (QEMU)";
const TPM = "there is no virtual TPM";
const DISPLAY = "there is no framebuffer yet";
const SOUND = "there is no virtual sound card";
const DRIVES = "drives whose medium changes are not supported yet; use block-attach and block-detach";

function alike(reason: string, ...names: readonly string[]): Record<string, string> {
	return Object.fromEntries(names.map((name) => [name, reason]));
}

export const REFUSED_VERBS: Readonly<Record<string, string>> = {
	...alike(MIGRATION, "save", "restore", "migrate", "migrate-receive", "remus", "suspend", "resume"),
	...alike(POOLS, "cpupool-create", "cpupool-list", "cpupool-destroy", "cpupool-rename", "cpupool-cpu-add"),
	...alike(POOLS, "cpupool-cpu-remove", "cpupool-migrate", "cpupool-numa-split"),
	...alike(PASSTHROUGH, "pci-attach", "pci-detach", "pci-list", "pci-assignable-list", "pci-assignable-add"),
	...alike(PASSTHROUGH, "pci-assignable-remove"),
	...alike(USB, "usbctrl-attach", "usbctrl-detach", "usbdev-attach", "usbdev-detach", "usb-list"),
	...alike(RDT, "psr-hwinfo", "psr-cmt-attach", "psr-cmt-detach", "psr-cmt-show", "psr-cat-set", "psr-cat-show"),
	...alike(RDT, "psr-mba-set", "psr-mba-show"),
	...alike(XSM, "getenforce", "setenforce", "loadpolicy"),
	...alike(MODELS, "qemu-monitor-command", "devd"),
	...alike(TPM, "vtpm-attach", "vtpm-detach", "vtpm-list"),
	...alike(DISPLAY, "vncviewer", "vdispl-attach", "vdispl-detach", "vdispl-list"),
	...alike(DISPLAY, "vkb-attach", "vkb-detach", "vkb-list"),
	...alike(SOUND, "vsnd-attach", "vsnd-detach", "vsnd-list"),
	...alike(DRIVES, "cd-insert", "cd-eject"),
	...alike("the scheduler has weights and caps: use sched-credit", "sched-credit2", "sched-rtds"),
	...alike("the hypervisor has no debug keys", "debug-keys"),
	...alike("the hypervisor has no parameters that could be set", "set-parameters"),
	...alike("it is deprecated; use trigger", "button-press"),
	...alike("what a domain was created from stays as it is; destroy it and create it anew", "config-update"),
	...alike("frames of domains are not shared", "sharing"),
	...alike("memory is not claimed before it is taken", "claims"),
	...alike(PASSTHROUGH, "dt-overlay"),
};
