/**
 * Debian's GRUB as a guest's kernel (package grub-xen-host): it looks on the guest's disks for /boot/grub/grub.cfg and boots what that says. The
 * machine's own, or the mirror's, kept in the user's cache.
 */
import { access, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeTemporary, temporaryDirectory, variableRemedy } from "../platform/node/directories.ts";
import { Apt, unpackPackage } from "./apt.ts";
import { cacheDirectory, makeComplete } from "./cache.ts";
import type { ProgressListener } from "./debian.ts";
import { GuestError } from "./errors.ts";

const PACKAGE = "grub-xen-host";
const FILE = "usr/lib/grub-xen/grub-x86_64-xen.bin";

/** Where the package has the image. */
export const PV_GRUB = `/${FILE}`;

/** Path of the image. @throws GuestError where there is none, nor a mirror to have it from */
export async function pvGrub(listener: ProgressListener): Promise<string> {
	const cached = join(cacheDirectory(), PACKAGE);
	for (const path of [PV_GRUB, join(cached, FILE)]) {
		const isThere = await access(path).then(
			() => true,
			() => false,
		);
		if (isThere) return path;
	}
	const temporary = makeTemporary(temporaryDirectory(), "paravirt-apt-", variableRemedy("TMPDIR"));
	try {
		const apt = await Apt.prepare(temporary, undefined);
		await apt.update(listener("Fetching package lists"));
		const [file] = await apt.download([PACKAGE], listener(`Fetching ${PACKAGE}`));
		await makeComplete(cached, async (directory) => {
			await unpackPackage(file as string, directory);
			await access(join(directory, FILE)).catch((cause: unknown) => {
				throw new GuestError(`${PACKAGE} has no ${FILE}`, "Boot the image with our kernel: leave --own-kernel out.", {
					cause,
				});
			});
		});
	} finally {
		await rm(temporary, { recursive: true, force: true });
	}
	return join(cached, FILE);
}
