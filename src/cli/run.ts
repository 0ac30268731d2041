/**
 * `paravirt run`: `paravirt boot` for who wants a guest and no configuration: a system's disk by its file's name, and a command whose exit
 * status is the command's own. Everything else is boot.ts's.
 */
import type { ArgsDef, CommandDef } from "citty";
import { pvGrub } from "../guests/pv-grub.ts";
import { bootGuest } from "./boot.ts";
import { checkGuestOptions } from "./boot-options.ts";
import { UsageError } from "./errors.ts";
import { argumentsOf, type GuestOptionName } from "./guest-options.ts";
import { Arguments, checkArguments } from "./options.ts";
import { createProgress } from "./progress.ts";

/** What the image's own grub.cfg says. */
const GRUB_SAYS = ["kernel", "ramdisk", "root", "append", "cmdline", "suite", "update", "share"] as const;

export const runCommandDefinition: CommandDef = { args: argumentsOf("run") };

/** @param rest the arguments behind "run" */
export async function runGuestCommand(rest: readonly string[]): Promise<void> {
	const end = rest.indexOf("--");
	const command = end < 0 ? undefined : rest.slice(end + 1);
	if (command?.length === 0)
		throw new UsageError("run: no command behind --", "Write a command behind it, or leave it out.");
	const given = new Arguments<GuestOptionName>(
		checkArguments(end < 0 ? rest : rest.slice(0, end), runCommandDefinition.args as ArgsDef),
	);
	const [image] = given.positionals;
	const ownKernel = given.has("own-kernel");
	if (ownKernel) checkOwnKernel(image, given, command);
	const disks = [...(image === undefined ? [] : [image]), ...given.all("disk")];
	const root = given.text("root");
	if (root !== undefined && given.has("cmdline")) {
		throw new UsageError("--root: --cmdline is the whole command line", "Leave --root out, or --cmdline.");
	}
	if (root !== undefined && disks.length === 0) throw new UsageError("--root: there is no disk", "Add --disk FILE.");
	const options = await checkGuestOptions(given, {
		kernel: given.text("kernel"),
		disks,
		append: given.text("append") ?? "",
		command,
	});
	if (ownKernel) return bootGuest({ ...options, kernel: await bootLoader() });
	const device = root ?? (image === undefined ? undefined : options.disks[0]?.vdev);
	if (device === undefined || options.cmdline !== undefined) return bootGuest(options);
	// A system wants to write; one that is booted does that itself, after it has checked the disk.
	const words = [`root=${device.startsWith("/") || device.includes("=") ? device : `/dev/${device}`}`, "rw"];
	return bootGuest({ ...options, append: [...words, options.append].join(" ").trimEnd() });
}

/** What the image's own grub.cfg says, nothing else can. @throws UsageError */
function checkOwnKernel(
	image: string | undefined,
	given: Arguments<GuestOptionName>,
	command: readonly string[] | undefined,
): void {
	if (image === undefined)
		throw new UsageError("--own-kernel: there is no image", "Write paravirt run IMAGE --own-kernel.");
	const other = GRUB_SAYS.find((name) => given.has(name));
	if (other !== undefined) {
		throw new UsageError(
			`--${other}: with --own-kernel the image's grub.cfg says what is booted`,
			"Leave one of them out.",
		);
	}
	if (command !== undefined) {
		throw new UsageError(
			"--own-kernel: a command needs paravirt's kernel and ramdisk",
			"Leave --own-kernel out, or type the command at the system's prompt.",
		);
	}
}

async function bootLoader(): Promise<string> {
	const progress = await createProgress();
	try {
		return await pvGrub(progress.listener);
	} finally {
		progress.stop();
	}
}
