/** --disk: xl's specifications, or an image's file alone, which gets its format by its first bytes and the next disk's name. */
import { open } from "node:fs/promises";
import { type DiskSpecification, DiskSpecificationError, parseDisk } from "../toolstack/config/disk.ts";
import { diskName, diskNumber } from "../toolstack/config/vdev.ts";
import { fileError, UsageError } from "./errors.ts";

const QCOW2_MAGIC = "QFI\xfb";
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/** @throws UsageError, FileError */
export async function checkDisks(given: readonly string[]): Promise<DiskSpecification[]> {
	const disks = given.map((text) => (text.includes(",") ? checkDisk(text, text) : undefined));
	const taken = new Set(disks.flatMap((disk) => (disk === undefined ? [] : [diskNumber(disk.vdev)])));
	return Promise.all(
		disks.map((disk, index) => {
			if (disk !== undefined) return disk;
			const number = [...LETTERS].map((letter) => diskNumber(`xvd${letter}`)).find((each) => !taken.has(each));
			if (number === undefined) throw new UsageError("--disk: too many disks", "Name them: FILE,FORMAT,VDEV,ACCESS.");
			taken.add(number);
			return imageDisk(given[index] as string, diskName(number));
		}),
	);
}

function checkDisk(specification: string, given: string): DiskSpecification {
	try {
		return parseDisk(specification);
	} catch (error) {
		if (!(error instanceof DiskSpecificationError)) throw error;
		throw new UsageError(`--disk ${given}: ${error.reason}`, error.remedy);
	}
}

async function imageDisk(file: string, vdev: string): Promise<DiskSpecification> {
	const access = isAddress(file) ? "r" : "rw";
	return checkDisk(`format=${await formatOf(file)},vdev=${vdev},access=${access},target=${file}`, file);
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
