/** Whether the host has what a configuration asks for, told before anything is created: files, and memory. */
import { access, constants } from "node:fs/promises";
import { tryConnect } from "../../daemon/start.ts";
import { PV_GRUB } from "../../guests/pv-grub.ts";
import type { ConfigReading } from "../../toolstack/config/domain-config.ts";
import type { ConfigError } from "../../toolstack/config/errors.ts";
import { MOST_MEMORY } from "../boot-options.ts";
import { fileError } from "../errors.ts";
import type { Session } from "./verb.ts";

const MIB = 2 ** 20;

/** A file that an option names. */
interface NeededFile {
	readonly option: string;
	readonly path: string;
	readonly writable: boolean;
}

function neededFiles({ config }: ConfigReading): readonly NeededFile[] {
	const { kernel, ramdisk, disks, shares } = config;
	return [
		// PV-GRUB's image is fetched.
		...(kernel === "" || kernel === PV_GRUB ? [] : [{ option: "kernel", path: kernel, writable: false }]),
		...(ramdisk === undefined ? [] : [{ option: "ramdisk", path: ramdisk, writable: false }]),
		...disks.flatMap(({ target, readOnly, snapshot }) =>
			target === undefined || /^https?:/.test(target)
				? []
				: [{ option: "disk", path: target, writable: !readOnly && !snapshot }],
		),
		...shares.map(({ path }) => ({ option: "p9", path, writable: false })),
	];
}

/** Bytes of memory for guests: those of the daemon that runs, or of one that would be started. */
async function totalMemory(session: Session): Promise<number> {
	const daemon = await tryConnect(session.paths);
	if (daemon === undefined) return MOST_MEMORY;
	try {
		return Math.min((await daemon.request("info", {})).totalMemory, MOST_MEMORY);
	} finally {
		daemon.close();
	}
}

/** What the host does not have, each with the option that asks for it. */
export async function hostProblems(reading: ConfigReading, session: Session): Promise<readonly ConfigError[]> {
	const { config, reader } = reading;
	const problems: ConfigError[] = [];
	for (const { option, path, writable } of neededFiles(reading)) {
		try {
			await access(path, constants.R_OK | (writable ? constants.W_OK : 0));
		} catch (error) {
			const { message, remedy } = fileError(path, error);
			problems.push(reader.invalid(option, message, remedy, error));
		}
	}
	const total = await totalMemory(session);
	if (config.memory > total) {
		const reason = `${config.memory / MIB} MiB is more than the ${Math.floor(total / MIB)} MiB that the host has`;
		problems.push(reader.invalid("memory", reason, "Give less"));
	}
	return problems;
}
