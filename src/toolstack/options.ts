/** What a domain is to be, as xl.cfg says it; and what is done when it ends. */
import type { KernelImage } from "../xen/boot/index.ts";
import { ToolstackError } from "./errors.ts";

/** What becomes of a domain that has ended: xl.cfg's on_poweroff and its like. */
export const EndAction = {
	/** It is taken off the machine. */
	destroy: "destroy",
	/** That, and one like it is started. */
	restart: "restart",
	/** It stays for inspection under another name, and one like it is started. */
	renameRestart: "rename-restart",
	/** It stays for inspection. */
	preserve: "preserve",
	/** Its memory is written to a file of the host's core directory first. */
	coredumpDestroy: "coredump-destroy",
	coredumpRestart: "coredump-restart",
} as const;
export type EndAction = (typeof EndAction)[keyof typeof EndAction];

/** The action of that name. @throws ToolstackError unsupported for soft-reset, out-of-range for what is none */
export function parseEndAction(text: string): EndAction {
	const names: readonly string[] = Object.values(EndAction);
	if (names.includes(text)) return text as EndAction;
	const [code, reason] =
		text === "soft-reset"
			? (["unsupported", "a domain cannot be reset with its memory kept (soft-reset)"] as const)
			: (["out-of-range", `"${text}" is nothing that can be done when a domain ends`] as const);
	throw new ToolstackError(code, reason, `Choose one of ${names.join(", ")}`);
}

/** Actions by why the domain ended. */
export interface EndActions {
	readonly onPoweroff: EndAction;
	readonly onReboot: EndAction;
	readonly onCrash: EndAction;
	readonly onWatchdog: EndAction;
}

/** xl's own where a configuration says nothing. */
export const XL_END_ACTIONS: EndActions = {
	onPoweroff: "destroy",
	onReboot: "restart",
	onCrash: "destroy",
	onWatchdog: "destroy",
};

/** The library's: whoever awaits a domain's end may still look at it. */
export const LIBRARY_END_ACTIONS: EndActions = {
	onPoweroff: "preserve",
	onReboot: "preserve",
	onCrash: "preserve",
	onWatchdog: "preserve",
};

/** Shares of the processor (sched_credit). */
export interface SchedulingParameters {
	/** How much of the processor it gets beside others, 1 to 65535; 256 by default. */
	readonly weight: number;
	/** Hundredths of a processor that it may use at the most; 0 for no limit. */
	readonly cap: number;
}

/** What the builder makes a guest of. */
export interface GuestRequest {
	readonly name: string;
	/** Sixteen bytes; a new one where not given. */
	readonly uuid?: Uint8Array | undefined;
	readonly image: KernelImage;
	/** The kernel's file, for the names in a crash report. */
	readonly kernel: Uint8Array;
	/** Names for messages. */
	readonly kernelName: string;
	readonly ramdisk: Uint8Array | undefined;
	readonly ramdiskName: string;
	readonly commandLine: string;
	/** Bytes that it has, and may have at the most. */
	readonly memory: number;
	readonly maximumMemory: number;
	/** vCPUs that are online, and that there are. */
	readonly vcpus: number;
	readonly maximumVcpus: number;
	readonly scheduling: SchedulingParameters;
	/** xl.cfg's max_grant_frames, max_maptrack_frames (of 256 mappings each) and event_channels; Xen's defaults where not given. */
	readonly maximumGrantFrames?: number | undefined;
	readonly maximumMaptrackFrames?: number | undefined;
	readonly maximumEventChannels?: number | undefined;
	/** It does not run before it is unpaused. */
	readonly paused: boolean;
	/** Gets each piece of console output. */
	readonly onOutput: (data: Uint8Array) => void;
	/** Called when the guest has room for input again and none waits. */
	readonly onInputTaken: () => void;
}
