/** Opens a disk's image by its format, with what it is made of: backing files, a server's, a temporary overlay. */
import { BlockError, type BlockFiles, type BlockImage } from "../image.ts";
import { RawImage } from "./raw.ts";

export interface ImageOptions {
	readonly format: "raw" | "qcow2";
	readonly readOnly: boolean;
}

/** The first bytes of formats that a raw image must not be taken for, so that nobody's disk is overwritten by mistake. */
const QCOW2_MAGIC = [0x51, 0x46, 0x49, 0xfb];

/**
 * Opens a file as an image.
 * @throws BlockError
 */
export async function openImage(files: BlockFiles, target: string, options: ImageOptions): Promise<BlockImage> {
	const file = await files.open(target, { readOnly: options.readOnly });
	try {
		const head = new Uint8Array(4);
		await file.read(head, 0);
		const looksLikeQcow2 = QCOW2_MAGIC.every((byte, index) => head[index] === byte);
		if (options.format === "raw") {
			if (looksLikeQcow2 && !options.readOnly) {
				throw new BlockError("malformed", target, "is a qcow2 image, not a raw one", "Say format=qcow2");
			}
			return new RawImage(file);
		}
		throw new BlockError("unsupported", target, "qcow2", "");
	} catch (error) {
		await file.close();
		throw error;
	}
}
