/** Kernel modules in a directory of the host: a kernel's lib/modules/RELEASE, as a package or the machine itself has it. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Output } from "../formats/compression/output.ts";
import { decompressXz } from "../formats/compression/xz.ts";
import { decompressZstd } from "../formats/compression/zstd.ts";
import { ModuleError, type ModuleSource } from "./modules.ts";

/** No module is larger; the largest of Debian's, uncompressed, has some 10 MiB. */
const MODULE_LIMIT = 64 * 2 ** 20;

function decompressed(data: Uint8Array, decompress: (input: Uint8Array, output: Output) => void): Uint8Array {
	const output = new Output(MODULE_LIMIT, data.length * 4);
	decompress(data, output);
	return output.bytes.slice(0, output.length);
}

const DECOMPRESSORS: Readonly<Record<string, (data: Uint8Array) => Uint8Array>> = {
	ko: (data) => data,
	xz: (data) => decompressed(data, decompressXz),
	zst: (data) => decompressed(data, decompressZstd),
	gz: (data) => gunzipSync(data, { maxOutputLength: MODULE_LIMIT }),
};

/** The modules below `directory`; one that does not exist has none. */
export async function moduleDirectory(directory: string): Promise<ModuleSource> {
	const names = await readdir(directory, { recursive: true }).catch((): string[] => []);
	const builtin = await readFile(join(directory, "modules.builtin"), "utf8").catch(() => "");
	return {
		paths: names.filter((name) => /\.ko(\.\w+)?$/.test(name)),
		builtin: builtin.split("\n").filter((line) => line !== ""),
		read: async (path) => {
			const format = path.slice(path.lastIndexOf(".") + 1);
			const decompress = DECOMPRESSORS[format];
			if (decompress === undefined) throw new ModuleError(`${path}: modules compressed as .${format} cannot be read`);
			try {
				return decompress(await readFile(join(directory, path)));
			} catch (error) {
				throw new ModuleError(`${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
			}
		},
	};
}
