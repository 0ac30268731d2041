/** Opens a disk's image by its format, with what it is made of: backing files, a server's, a temporary overlay. */
import { BlockError, type BlockFile, type BlockFiles, type BlockImage } from "../image.ts";
import { openHttp } from "./http.ts";
import { OverlayImage } from "./overlay.ts";
import { Qcow2Image } from "./qcow2/qcow2.ts";
import { RawImage } from "./raw.ts";

export interface ImageOptions {
	readonly format: "raw" | "qcow2";
	readonly readOnly: boolean;
	/** Writes go into a temporary overlay, which is gone with the image: kept in a file without a name (true too), or in memory. */
	readonly snapshot?: boolean | "memory" | "file" | undefined;
}

/** The first bytes of a format that a raw image must not be taken for, so that nobody's disk is overwritten by mistake. */
const QCOW2_MAGIC = [0x51, 0x46, 0x49, 0xfb];
/** Backing files of backing files: more is a ring. */
const MOST_BACKING = 64;

/** @throws BlockError */
export async function openImage(files: BlockFiles, target: string, options: ImageOptions): Promise<BlockImage> {
	const { snapshot } = options;
	if (snapshot === undefined || snapshot === false)
		return openFormat(files, target, options.format, options.readOnly, 0);
	const base = await openFormat(files, target, options.format, true, 0);
	if (options.readOnly) return base;
	return new OverlayImage(base, snapshot === "memory" ? undefined : await files.openTemporary());
}

async function openFormat(
	files: BlockFiles,
	target: string,
	format: "raw" | "qcow2",
	readOnly: boolean,
	depth: number,
): Promise<BlockImage> {
	if (depth > MOST_BACKING)
		throw new BlockError("malformed", target, "its backing files never end", "Look at it with `qemu-img info`");
	const file = await openFile(files, target, readOnly);
	try {
		if (format === "qcow2") {
			return await Qcow2Image.open(file, (name, backingFormat) =>
				openBacking(files, target, name, backingFormat, depth + 1),
			);
		}
		const head = new Uint8Array(4);
		await file.read(head, 0);
		if (!readOnly && QCOW2_MAGIC.every((byte, index) => head[index] === byte)) {
			throw new BlockError("malformed", target, "is a qcow2 image, not a raw one", "Say format=qcow2");
		}
		return new RawImage(file);
	} catch (error) {
		await file.close();
		throw error;
	}
}

function openFile(files: BlockFiles, target: string, readOnly: boolean): Promise<BlockFile> {
	if (!/^https?:\/\//.test(target)) return files.open(target, { readOnly });
	if (readOnly) return openHttp(target);
	throw new BlockError(
		"read-only",
		target,
		"a server's file can only be read",
		"Attach it with access r, or with snapshot",
	);
}

function openBacking(
	files: BlockFiles,
	of: string,
	name: string,
	format: string | undefined,
	depth: number,
): Promise<BlockImage> {
	if (/^(json|nbd|ssh|rbd|iscsi|gluster|fat):/.test(name)) {
		throw new BlockError(
			"unsupported",
			of,
			`its backing file is ${name}`,
			"Name a file: qemu-img rebase -u -F FORMAT -b FILE",
		);
	}
	if (format === undefined) {
		// Guessing would let a guest that has written a raw image decide what is read in its place.
		throw new BlockError(
			"unsupported",
			of,
			"does not say its backing file's format",
			"Say it: qemu-img rebase -u -F FORMAT -b FILE",
		);
	}
	if (format !== "raw" && format !== "qcow2") {
		throw new BlockError(
			"unsupported",
			of,
			`its backing file is of format ${format}`,
			"Convert that: qemu-img convert -O qcow2",
		);
	}
	const path = name.startsWith("file:") ? name.slice("file:".length) : name;
	return openFormat(files, /^https?:\/\//.test(path) ? path : files.resolve(of, path), format, true, depth);
}
