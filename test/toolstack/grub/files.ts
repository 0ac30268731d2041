/** Files in memory, as the configurations under test speak of them. */
import type { FileKind, HostFiles } from "../../../src/toolstack/grub/index.ts";

/** @param contents text or bytes by path; "-> TARGET" is a symbolic link */
export function memoryFiles(contents: Readonly<Record<string, string | Uint8Array>>): HostFiles {
	return {
		async kindOf(path): Promise<FileKind> {
			const data = contents[path];
			if (typeof data === "string" && data.startsWith("-> ")) return { link: data.slice(3) };
			if (data !== undefined) return "file";
			return Object.keys(contents).some((name) => name.startsWith(`${path}/`)) ? "directory" : undefined;
		},
		async list(path) {
			const inside = Object.keys(contents).filter((name) => name.startsWith(`${path}/`));
			return [...new Set(inside.map((name) => name.slice(path.length + 1).split("/")[0] as string))];
		},
		async read(path) {
			const data = contents[path];
			if (data === undefined) throw new Error(`no ${path}`);
			return typeof data === "string" ? new TextEncoder().encode(data) : data;
		},
	};
}

function multibootImage(text: string): Uint8Array {
	const image = new Uint8Array(16384);
	new DataView(image.buffer).setUint32(152, 0xe85250d6, true);
	image.set(new TextEncoder().encode(text), 9000);
	return image;
}

/** What Xen's image looks like to a boot loader: a multiboot header, and the text of its version. */
export function imageOfXen(): Uint8Array {
	return multibootImage("Xen version %d.%d%s (%s)");
}

/** The same of tboot. */
export function imageOfTboot(): Uint8Array {
	return multibootImage("<3>*********************** TBOOT ***********************");
}
