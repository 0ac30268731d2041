/** Node.js as the platform of a machine. */
import { type FileHandle, open, readFile, rm } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { ImageError } from "../../formats/errors.ts";
import { ToolstackError } from "../../toolstack/errors.ts";
import type { Platform, WritableFile } from "../platform.ts";
import { nodeBlockFiles } from "./block-files.ts";
import { openChannel } from "./channel.ts";
import { refusalOf } from "./directories.ts";
import { openNodeFolder } from "./folder.ts";
import { nodeNetwork } from "./network.ts";
import { openTap } from "./tap.ts";

/** The host's own, looked up once: Node.js makes it anew, through a getter, each time that a program names it. */
const { performance } = globalThis;

export const nodePlatform: Platform = {
	milliseconds: () => performance.now(),
	cpuSeconds: () => {
		const { user, system } = process.cpuUsage();
		return (user + system) / 1e6;
	},
	residentBytes: () => process.memoryUsage.rss(),
	readFile: readImage,
	gunzip,
	blockFiles: (synchronous) => nodeBlockFiles({ synchronous }),
	network: nodeNetwork,
	openFolder: openNodeFolder,
	createFile,
	openChannel,
	openTap,
};

async function readImage(name: string): Promise<Uint8Array> {
	try {
		return await readFile(name);
	} catch (error) {
		const { code = "", message } = error as NodeJS.ErrnoException;
		throw new ImageError("not-readable", name, UNREADABLE[code] ?? message, "Check the path");
	}
}

const UNREADABLE: Readonly<Record<string, string>> = {
	ENOENT: "no such file",
	EACCES: "permission denied",
	EISDIR: "it is a directory",
	ENOTDIR: "a part of the path is no directory",
};

function gunzip(data: Uint8Array, limit: number): Uint8Array | undefined {
	try {
		const unpacked = gunzipSync(data, { maxOutputLength: limit });
		// zlib takes several members, and ignores what follows the last: then the sizes differ.
		const size = new DataView(data.buffer, data.byteOffset + data.length - 4, 4).getUint32(0, true);
		return unpacked.length === size ? unpacked : undefined;
	} catch {
		return undefined;
	}
}

/** Whole pages of zeros become holes: most of a core dump's. Others than its owner cannot read the file. */
export async function createFile(name: string): Promise<WritableFile> {
	const file = await open(name, "w", 0o600).catch((error: unknown) => {
		throw notWritable(name, error);
	});
	let position = 0;
	let failed = false;
	const explained = async (action: () => Promise<unknown>): Promise<void> => {
		try {
			await action();
		} catch (error) {
			failed = true;
			throw notWritable(name, error);
		}
	};
	const writePiece = async (piece: Uint8Array): Promise<void> => {
		let from = 0;
		const flush = async (end: number): Promise<void> => {
			if (end > from) await writeAll(file, piece.subarray(from, end), position + from);
		};
		for (let at = 0; at + HOLE <= piece.length; at += HOLE) {
			if (!isZero(piece, at)) continue;
			await flush(at);
			from = at + HOLE;
		}
		await flush(piece.length);
		position += piece.length;
	};
	return {
		write: (piece) => explained(() => writePiece(piece)),
		async close() {
			try {
				if (!failed) await explained(() => file.truncate(position));
			} finally {
				const isFile = (await file.stat()).isFile();
				await file.close();
				// A part of one is of no use, and takes the room that was not enough.
				if (failed && isFile) await rm(name, { force: true });
			}
		},
	};
}

function notWritable(name: string, error: unknown): ToolstackError {
	const [code, reason] = refusalOf(error);
	const remedy = code === "full" ? "Free some space, or name another file" : "Name a file that can be written";
	return new ToolstackError("not-writable", `${name}: ${reason}`, remedy, { cause: error });
}

const HOLE = 4096;
const ZEROS = new Uint8Array(HOLE);

function isZero(bytes: Uint8Array, at: number): boolean {
	return Buffer.compare(bytes.subarray(at, at + HOLE), ZEROS) === 0;
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
	for (let done = 0; done < bytes.length; ) {
		const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
		done += bytesWritten;
	}
}
