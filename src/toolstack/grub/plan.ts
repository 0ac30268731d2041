/** From what an entry has loaded to what is booted here: files of the host, a command line, and what Xen's options say of the guest. */
import { GrubError } from "./errors.ts";
import type { GrubFiles } from "./files.ts";
import { commandLineOf, type Loaded, type LoadedFile } from "./loaded.ts";
import { isForTboot, isTboot, isXen, type ModuleUse, modulesOfXen, readImage, readModule } from "./modules.ts";
import { parseXenOptions, type XenOptions } from "./xen-options.ts";

export interface BootPlan {
	/** Paths of the host. */
	readonly kernel: string;
	/** In the order in which the kernel gets them, one behind the other. */
	readonly ramdisks: readonly string[];
	readonly commandLine: string;
	/** Where the entry loads Xen. */
	readonly xen: XenOptions | undefined;
	/** What is different from what the entry asks for, in sentences without their full stop. */
	readonly notices: readonly string[];
}

/**
 * The word that grub-mkconfig puts before a module's arguments, and the one that older documents recommend: boot loaders before GRUB 2
 * handed over the file's name there, which Xen takes away.
 */
const PLACEHOLDERS = ["placeholder", "dummy=dummy", "dummy"];

function withoutPlaceholder(words: readonly string[]): readonly string[] {
	return PLACEHOLDERS.includes(words[0] ?? "") ? words.slice(1) : words;
}

async function planLinux(loaded: Loaded & { readonly kind: "linux" }, files: GrubFiles): Promise<BootPlan> {
	const { kernel, ramdisks } = loaded;
	return {
		kernel: await files.need(kernel.path, kernel),
		ramdisks: await needAll(ramdisks, files),
		commandLine: commandLineOf(kernel.words),
		xen: undefined,
		notices: [],
	};
}

function needAll(loaded: readonly LoadedFile[], files: GrubFiles): Promise<string[]> {
	return Promise.all(loaded.map((file) => files.need(file.path, file)));
}

async function planMultiboot(loaded: Loaded & { readonly kind: "multiboot" }, files: GrubFiles): Promise<BootPlan> {
	const image = await readImage(loaded.kernel, files);
	if (isXen(image)) return planXen(loaded.kernel, loaded.modules, files);
	if (!isTboot(image)) {
		throw new GrubError(
			loaded.kernel,
			`"${loaded.kernel.path}" is a multiboot kernel that is neither Xen nor tboot, or no multiboot kernel`,
			"Choose an entry that loads Linux or Xen, with --entry.",
		);
	}
	return planTboot(loaded, files);
}

/** tboot measures what the first module is and starts it, with the modules that are not for tboot itself. */
async function planTboot(
	{ kernel: tboot, modules }: Loaded & { readonly kind: "multiboot" },
	files: GrubFiles,
): Promise<BootPlan> {
	const [kernel, ...others] = modules;
	if (kernel === undefined) throw new GrubError(tboot, "tboot is loaded without a module", "Correct the entry.");
	const ours: LoadedFile[] = [];
	for (const other of others) if (!isForTboot(await readModule(other, files))) ours.push(other);
	const notice = `the entry loads tboot (${tboot.path}): nothing is measured here, and its first module is what is booted`;
	const rest = isXen(await readImage(kernel, files))
		? await planXen(kernel, ours, files)
		: await planLinux({ kind: "linux", kernel: plain(kernel), ramdisks: ours.slice(0, 1) }, files);
	return { ...rest, notices: [notice, ...rest.notices] };
}

function plain(file: LoadedFile): LoadedFile {
	return { ...file, words: withoutPlaceholder(file.words) };
}

async function planXen(hypervisor: LoadedFile, modules: readonly LoadedFile[], files: GrubFiles): Promise<BootPlan> {
	const [kernel] = modules;
	if (kernel === undefined) {
		throw new GrubError(hypervisor, "Xen is loaded without a module, so there is no dom0 kernel", "Correct the entry.");
	}
	const xen = parseXenOptions(withoutPlaceholder(hypervisor.words), hypervisor);
	const notices = [
		`the entry loads Xen (${hypervisor.path}): its dom0 kernel is booted as an unprivileged guest of paravirt's own hypervisor`,
	];
	if (xen.notApplicable.length > 0) {
		notices.push(`options of Xen that do not apply here: ${xen.notApplicable.join(" ")}`);
	}
	const uses = await modulesOfXen(modules, xen.microcode, files);
	for (const [index, module] of modules.entries()) {
		const use = uses[index] as ModuleUse;
		if (use !== "kernel" && use !== "ramdisk") notices.push(`${UNUSED[use]} is not used: ${module.path}`);
	}
	return {
		kernel: await files.need(kernel.path, kernel),
		ramdisks: await needAll(
			modules.filter((_, index) => uses[index] === "ramdisk"),
			files,
		),
		commandLine: commandLineOf([...withoutPlaceholder(kernel.words), ...xen.dom0Words]),
		xen,
		notices,
	};
}

/** What notices call a module that nothing is done with. */
const UNUSED: Readonly<Record<Exclude<ModuleUse, "kernel" | "ramdisk">, string>> = {
	microcode: "the processor's microcode",
	policy: "the XSM policy",
	unused: "a further module of Xen's",
};

/** @throws GrubError if a file is missing, or it is neither Linux nor Xen; ImageError if Xen's image cannot be unpacked */
export function planBoot(loaded: Loaded, files: GrubFiles): Promise<BootPlan> {
	return loaded.kind === "linux" ? planLinux(loaded, files) : planMultiboot(loaded, files);
}
