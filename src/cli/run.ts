/**
 * `paravirt run`: `paravirt boot` for who wants a guest and no configuration: disks by their files' names, and a command whose exit status is
 * the command's own. Everything else is boot.ts's.
 */
import { open } from "node:fs/promises";
import { type ArgsDef, type CommandDef, parseArgs } from "citty";
import { pvGrub } from "../guests/pv-grub.ts";
import { diskName, diskNumber } from "../toolstack/config/vdev.ts";
import { BOOT_ARGS, bootGuest, checkBootOptions } from "./boot.ts";
import { fileError, UsageError } from "./errors.ts";
import { checkArguments, repeatedValues } from "./options.ts";
import { createProgress } from "./progress.ts";

/** Of boot's options, those that run has too, with the same meaning. */
const SHARED = [
	"append",
	"memory",
	"vcpus",
	"clock",
	"stats",
	"trace",
	"no-reboot",
	"timeout",
	"suite",
	"update",
	"net",
	"forward",
	"share",
	"ramdisk",
] as const;

const DEFAULT_ROOT = "/dev/xvda";
const QCOW2_MAGIC = "QFI\xfb";
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

const args: ArgsDef = {
	image: {
		type: "positional",
		required: false,
		description: "A disk image with a system: it is /dev/xvda, and booted (default: no disk, a shell on busybox)",
		valueHint: "IMAGE",
	},
	disk: {
		type: "string",
		description: "A further disk: a raw or qcow2 image, or xl's FILE,FORMAT,VDEV,ACCESS; may be given several times",
		valueHint: "FILE",
	},
	root: {
		type: "string",
		description: `The disk or partition with the system (default: ${DEFAULT_ROOT})`,
		valueHint: "DEVICE",
	},
	kernel: {
		type: "string",
		description: "vmlinuz or ELF kernel with Xen PV support (default: Debian's)",
		valueHint: "FILE",
	},
	"own-kernel": {
		type: "boolean",
		description: "Boot the kernel on IMAGE by its own /boot/grub/grub.cfg, with Debian's PV-GRUB",
	},
	...Object.fromEntries(SHARED.flatMap((name) => (BOOT_ARGS[name] === undefined ? [] : [[name, BOOT_ARGS[name]]]))),
};

export const runCommandDefinition: CommandDef = {
	meta: {
		name: "run",
		description: "Run a guest, or a command in one: paravirt run [IMAGE] [OPTIONS] [-- COMMAND...]",
	},
	args,
};

/** @param rest the arguments behind "run" */
export async function runGuestCommand(rest: readonly string[]): Promise<void> {
	const end = rest.indexOf("--");
	const command = end < 0 ? undefined : rest.slice(end + 1);
	if (command?.length === 0)
		throw new UsageError("run: no command behind --", "Write a command behind it, or leave it out.");
	const own = checkArguments(end < 0 ? rest : rest.slice(0, end), args);
	const { image, root, kernel, append } = parseArgs(own, args) as Readonly<Record<string, string | undefined>>;
	const ownKernel = own.some((word) => word === "--own-kernel");
	if (ownKernel) checkOwnKernel(image, own, command);
	const disks = await diskSpecifications(image, repeatedValues(own, "disk"));
	if (root !== undefined && disks.length === 0) throw new UsageError("--root: there is no disk", "Add --disk FILE.");
	const device = root ?? (image === undefined || ownKernel ? undefined : DEFAULT_ROOT);
	const words = [
		// A system wants to write; one that is booted does that itself, after it has checked the disk.
		...(device === undefined
			? []
			: [`root=${device.startsWith("/") || device.includes("=") ? device : `/dev/${device}`}`, "rw"]),
		...(append === undefined ? [] : [append]),
	];
	const passed = own.filter((word) => SHARED.some((name) => name !== "append" && word.startsWith(`--${name}`)));
	const forBoot = [
		...passed,
		...disks.map((disk) => `--disk=${disk}`),
		...(words.length === 0 ? [] : [`--append=${words.join(" ")}`]),
		...(ownKernel ? ["--", await bootLoader()] : kernel === undefined ? [] : ["--", kernel]),
	];
	await bootGuest(checkBootOptions(parseArgs(forBoot, BOOT_ARGS) as Record<string, unknown>, forBoot, command));
}

/** What the image's own grub.cfg says, nothing else can. @throws UsageError */
function checkOwnKernel(
	image: string | undefined,
	own: readonly string[],
	command: readonly string[] | undefined,
): void {
	if (image === undefined)
		throw new UsageError("--own-kernel: there is no image", "Write paravirt run IMAGE --own-kernel.");
	const other = ["kernel", "ramdisk", "root", "append", "suite", "update", "share"].find((name) =>
		own.some((word) => word === `--${name}` || word.startsWith(`--${name}=`)),
	);
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

/** xl's specifications: an image alone gets its format by its first bytes, and the next disk's name. */
async function diskSpecifications(image: string | undefined, given: readonly string[]): Promise<string[]> {
	const files = [...(image === undefined ? [] : [image]), ...given];
	const taken = new Set(
		files.flatMap((file) => {
			const vdev = /(?:^|,)\s*(?:vdev=)?(xvd[a-z]+)\s*(?:,|$)/.exec(file.includes(",") ? file : "")?.[1];
			return vdev === undefined ? [] : [diskNumber(vdev)];
		}),
	);
	const specifications: string[] = [];
	for (const file of files) {
		if (file.includes(",")) {
			specifications.push(file);
			continue;
		}
		const number = [...LETTERS].map((letter) => diskNumber(`xvd${letter}`)).find((each) => !taken.has(each));
		if (number === undefined) throw new UsageError("--disk: too many disks", "Name them: FILE,FORMAT,VDEV,ACCESS.");
		taken.add(number);
		specifications.push(
			`format=${await formatOf(file)},vdev=${diskName(number)},access=${isAddress(file) ? "r" : "rw"},target=${file}`,
		);
	}
	return specifications;
}

async function formatOf(file: string): Promise<"raw" | "qcow2"> {
	if (isAddress(file)) return "raw";
	try {
		const handle = await open(file);
		try {
			const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
			return buffer.toString("latin1", 0, bytesRead) === QCOW2_MAGIC ? "qcow2" : "raw";
		} finally {
			await handle.close();
		}
	} catch (error) {
		throw fileError(file, error);
	}
}

function isAddress(file: string): boolean {
	return /^https?:\/\//.test(file);
}
