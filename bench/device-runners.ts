/** How each system runs the guest of bench/devices.ts, by what is measured. A further device or system is an entry here. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DeviceGuest } from "./device-guest.ts";

/** What every guest gets. */
export const GUEST_MIB = 512;

export const WHATS = ["disk", "host", "guests", "folder", "start", "idle", "system"] as const;
export type What = (typeof WHATS)[number];

/** What there is on the host for a run. */
export interface Setting {
	readonly guest: DeviceGuest;
	readonly directory: string;
	readonly image: string;
	readonly format: string;
	/** Of a Debian system, raw; "" where none is measured. */
	readonly system: string;
	/** A folder with a file in it. */
	readonly folder: string;
	/** Of a server on the host's loopback. */
	readonly port: number;
	readonly seconds: number;
	/** Seconds that an item of a disk or folder runs before it is measured. */
	readonly ramp: number;
	/** Part of the names of the items that are measured; "" for all. */
	readonly item: string;
}

export interface DeviceRunner {
	readonly name: string;
	readonly description: string;
	/** Programs with their arguments; the first one's output is the console of the guest that measures, and the run ends with it. */
	commands(what: What, setting: Setting): string[][];
}

const local = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const FILL_MIB = 400;

/** Words for guest/devices.init. */
function words(what: What | "serve", { port, seconds, ramp, item }: Setting): string {
	if (what === "system") return "quiet rw systemd.show_status=0 WHAT=system";
	return `quiet WHAT=${what} SECONDS=${seconds} RAMP=${ramp} PORT=${port} FILL=${FILL_MIB} "ITEM=${item}"`;
}

export const paravirt: DeviceRunner = {
	name: "paravirt",
	description: `this project, on Node.js ${process.version}`,
	commands(what, setting) {
		const { guest, image, format, folder, system } = setting;
		if (what === "guests") {
			const options = ["guests", "serve"].map((each) => `console=hvc0 ${words(each as What, setting)}`);
			const images = [guest.kernel, guest.ramdisk, String(GUEST_MIB)];
			return [[process.execPath, local("two-guests.mjs"), ...images, ...options]];
		}
		const devices: Partial<Record<What, string>> = {
			disk: `--disk=${image},${format},xvda,rw`,
			host: "--net=nat",
			folder: `--share=${folder}:share`,
			system: `--disk=${system},raw,xvda,rw,snapshot`,
		};
		const device = devices[what];
		return [
			[
				...[process.execPath, local("../dist/cli/main.js"), "boot", guest.kernel, `--ramdisk=${guest.ramdisk}`],
				...[`--memory=${GUEST_MIB}M`, `--append=${words(what, setting)}`, ...(device === undefined ? [] : [device])],
			],
		];
	},
};

const QEMU = "qemu-system-x86_64";

export const qemu: DeviceRunner = {
	name: "qemu",
	description: `QEMU TCG, q35, virtio; ${spawnSync(QEMU, ["--version"], { encoding: "utf8" }).stdout?.split("\n")[0] ?? ""}`,
	commands(what, setting) {
		const { guest, image, format, folder, system, directory } = setting;
		const one = (each: What | "serve", devices: readonly string[]): string[] => [
			...[QEMU, "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", String(GUEST_MIB)],
			...["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio", ...devices],
			...["-kernel", guest.kernel, "-initrd", guest.ramdisk, "-append", `console=ttyS0 ${words(each, setting)}`],
		];
		const disk = (drive: string): string[] => ["-drive", `${drive},if=none,id=d`, "-device", "virtio-blk-pci,drive=d"];
		const socket = (name: string, peer: string, mac: string): string[] => [
			"-netdev",
			`dgram,id=n,local.type=unix,local.path=${join(directory, name)},remote.type=unix,remote.path=${join(directory, peer)}`,
			...["-device", `virtio-net-pci,netdev=n,mac=${mac}`],
		];
		switch (what) {
			case "disk":
				return [one(what, disk(`file=${image},format=${format}`))];
			case "system":
				return [one(what, disk(`file=${system},format=raw,snapshot=on`))];
			case "host":
				return [one(what, ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"])];
			case "folder": {
				const share = `local,path=${folder},mount_tag=share,security_model=none,id=f`;
				return [one(what, ["-virtfs", share])];
			}
			case "guests":
				return [
					one("guests", socket("first", "second", "52:54:00:00:00:01")),
					one("serve", socket("second", "first", "52:54:00:00:00:02")),
				];
			default:
				return [one(what, [])];
		}
	},
};

export const DEVICE_RUNNERS: readonly DeviceRunner[] = [paravirt, qemu];

/** Why a runner cannot run here. */
export function missingProgram({ name }: DeviceRunner): string | undefined {
	return name === "qemu" && spawnSync(QEMU, ["--version"]).status !== 0 ? `${QEMU} is not installed` : undefined;
}
