/**
 * Kernel modules: what a module says of itself (.modinfo), which others it needs, and the index files that modprobe reads.
 * Debian's packages carry no modules.dep (depmod makes it when they are installed), so it is made here, for the few modules that a
 * guest gets. Pure functions over bytes; where the files come from is the caller's business.
 */

/** What a module's .modinfo section tells. */
export interface ModuleInfo {
	/** As the kernel names it: with underscores. */
	readonly name: string;
	readonly depends: readonly string[];
	/** Patterns by which the kernel asks for it, e.g. "fs-ext4" or "xen:vbd". */
	readonly aliases: readonly string[];
	/** "release SMP preempt ...": the first word is the kernel's release. */
	readonly versionMagic: string;
}

/** A module that was chosen, uncompressed. */
export interface KernelModule {
	readonly info: ModuleInfo;
	/** Path below /lib/modules/RELEASE, ending in ".ko". */
	readonly path: string;
	readonly data: Uint8Array;
}

/** Where modules come from: a kernel's /lib/modules/RELEASE. */
export interface ModuleSource {
	/** Paths of all module files below it, compressed ones included (".ko", ".ko.xz", ...). */
	readonly paths: readonly string[];
	/** Names or paths of what is built into the kernel: the lines of modules.builtin. */
	readonly builtin: readonly string[];
	/** The uncompressed bytes of a module. */
	read(path: string): Promise<Uint8Array>;
}

export class ModuleError extends Error {
	override readonly name = "ModuleError";
}

const ELF_MAGIC = 0x464c457f;

/** Reads the .modinfo section of a 64-bit ELF module. */
export function readModuleInfo(module: Uint8Array, path: string): ModuleInfo {
	const section = modinfoSection(module);
	if (section === undefined) throw new ModuleError(`${path}: not a kernel module: no .modinfo section`);
	const pairs = new TextDecoder()
		.decode(section)
		.split("\0")
		.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] as const);
	const all = (key: string): string[] => pairs.filter((pair) => pair[0] === key).map((pair) => pair[1]);
	return {
		name: all("name")[0] ?? moduleName(path),
		depends: all("depends").flatMap((list) => list.split(",").filter((name) => name !== "")),
		aliases: all("alias"),
		versionMagic: all("vermagic")[0] ?? "",
	};
}

/** Section headers: elf(5), Elf64_Ehdr and Elf64_Shdr. */
function modinfoSection(module: Uint8Array): Uint8Array | undefined {
	const view = new DataView(module.buffer, module.byteOffset, module.byteLength);
	if (module.length < 64 || view.getUint32(0, true) !== ELF_MAGIC) return undefined;
	const u64 = (offset: number): number => view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
	const headers = u64(0x28);
	const headerSize = view.getUint16(0x3a, true);
	const count = view.getUint16(0x3c, true);
	const names = headers + view.getUint16(0x3e, true) * headerSize;
	if (headerSize < 64 || headers + count * headerSize > module.length || names + 64 > module.length) return undefined;
	const bytes = (header: number): Uint8Array => {
		const start = u64(header + 0x18);
		return module.subarray(start, start + u64(header + 0x20));
	};
	const nameTable = bytes(names);
	const decoder = new TextDecoder();
	for (let index = 0; index < count; index++) {
		const header = headers + index * headerSize;
		const start = view.getUint32(header, true);
		const end = nameTable.indexOf(0, start);
		if (decoder.decode(nameTable.subarray(start, end)) === ".modinfo") return bytes(header);
	}
	return undefined;
}

/** The kernel's name of the module in a file: "kernel/drivers/block/xen-blkfront.ko.xz" is "xen_blkfront". */
export function moduleName(path: string): string {
	const file = path.slice(path.lastIndexOf("/") + 1);
	return file.replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}

/**
 * Chooses modules by name, with all that they depend on. A name that the kernel has built in, or does not have at all, is left
 * out: which drivers are modules differs from kernel to kernel.
 * @throws ModuleError where a dependency of a chosen module is missing, or a file is no module.
 */
export async function resolveModules(source: ModuleSource, names: readonly string[]): Promise<KernelModule[]> {
	const paths = new Map(source.paths.map((path) => [moduleName(path), path]));
	const builtin = new Set(source.builtin.map(moduleName));
	const chosen = new Map<string, KernelModule>();
	const add = async (name: string, neededBy: string | undefined): Promise<void> => {
		if (chosen.has(name)) return;
		const path = paths.get(name);
		if (path === undefined) {
			if (neededBy === undefined || builtin.has(name)) return;
			throw new ModuleError(`module ${neededBy} needs ${name}, which the kernel does not have`);
		}
		const data = await source.read(path);
		const info = readModuleInfo(data, path);
		chosen.set(name, { info, path: path.replace(/\.ko\.\w+$/, ".ko"), data });
		for (const dependency of info.depends) await add(dependency.replaceAll("-", "_"), name);
	};
	for (const name of names) await add(name.replaceAll("-", "_"), undefined);
	return [...chosen.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * modules.dep: a line for each module, with everything that it needs, directly or not. modprobe loads a line from its end to its
 * beginning, so a module stands before what it needs itself.
 */
export function modulesDep(modules: readonly KernelModule[]): string {
	const byName = new Map(modules.map((module) => [moduleName(module.path), module]));
	return modules
		.map((module) => {
			const ordered: KernelModule[] = [];
			const visit = (current: KernelModule): void => {
				if (ordered.includes(current)) return;
				for (const name of current.info.depends) {
					const next = byName.get(name.replaceAll("-", "_"));
					if (next !== undefined) visit(next);
				}
				ordered.push(current);
			};
			visit(module);
			const dependencies = ordered.slice(0, -1).reverse();
			return `${[`${module.path}:`, ...dependencies.map((dependency) => dependency.path)].join(" ")}\n`;
		})
		.join("");
}

/** modules.alias: under which other names a module is asked for. */
export function modulesAlias(modules: readonly KernelModule[]): string {
	return modules
		.flatMap((module) => module.info.aliases.map((alias) => `alias ${alias} ${moduleName(module.path)}\n`))
		.join("");
}

/**
 * /etc/filesystems: what `mount` tries, in this order, if no type is given, beside those that are in the kernel already. Asked for one, the kernel
 * has its module loaded by the alias "fs-TYPE".
 */
export function fileSystems(modules: readonly KernelModule[]): string {
	const names = modules.flatMap(({ info }) => info.aliases.flatMap((alias) => /^fs-(.+)$/.exec(alias)?.[1] ?? []));
	return DISK_FILE_SYSTEMS.filter((name) => names.includes(name))
		.map((name) => `${name}\n`)
		.join("");
}

/** Those that are on a disk. ext4 mounts its forerunners too. */
const DISK_FILE_SYSTEMS = ["ext4", "squashfs"];
