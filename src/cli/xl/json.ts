/** A domain's configuration as `xl list -l` and `xl create -n` print it: the names are those of libxl_domain_config. */
import type { DomainConfig } from "../../toolstack/config/domain-config.ts";
import { DEFAULT_NETWORK } from "../../toolstack/config/vif.ts";
import type { DomainInfo } from "../../toolstack/info.ts";

const KIB = 1024;

/** @param domain undefined where it is not created */
export function configJson(config: DomainConfig, domain?: DomainInfo): Record<string, unknown> {
	const online = domain?.wantedVcpus ?? config.vcpus;
	return {
		c_info: {
			type: "pv",
			name: domain?.name ?? config.name,
			uuid: domain?.uuid ?? config.uuid,
		},
		b_info: {
			max_vcpus: config.maximumVcpus,
			avail_vcpus: Array.from({ length: online }, (_, index) => index),
			max_memkb: config.maximumMemory / KIB,
			target_memkb: (domain?.memoryTarget ?? config.memory) / KIB,
			sched_params: { weight: domain?.weight ?? config.weight ?? 256, cap: domain?.cap ?? config.cap ?? 0 },
			max_grant_frames: config.maximumGrantFrames,
			max_maptrack_frames: config.maximumMaptrackFrames,
			event_channels: config.maximumEventChannels,
			kernel: config.kernel,
			cmdline: config.commandLine,
			ramdisk: config.ramdisk,
			"type.pv": {},
		},
		disks: config.disks.map((disk) => ({
			pdev_path: disk.target,
			vdev: disk.vdev,
			format: disk.format,
			readwrite: disk.readOnly ? 0 : 1,
			is_cdrom: disk.cdrom ? 1 : 0,
		})),
		nics: config.networks.map((network, index) => ({
			devid: network.devid ?? index,
			mac: network.mac,
			bridge: network.bridge ?? DEFAULT_NETWORK,
			ip: network.ip,
			mtu: network.mtu,
			ifname: network.vifname,
			rate_bytes_per_interval: network.rate?.bytes,
			rate_interval_usecs: network.rate?.interval,
			nictype: "vif",
		})),
		channels: config.channels.map(({ name, connection, path }, devid) => ({
			devid,
			name,
			[`connection.${connection}`]: path === undefined ? {} : { path },
		})),
		on_poweroff: config.onPoweroff,
		on_reboot: config.onReboot,
		on_watchdog: config.onWatchdog,
		on_crash: config.onCrash,
	};
}
