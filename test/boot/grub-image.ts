/** Images of GRUB for Xen, made by Debian's tools (packages grub-common and grub-xen-bin) where the machine has them. */
import { existsSync } from "node:fs";

const { PATH = "" } = process.env;

export const hasGrub =
	existsSync("/usr/lib/grub/x86_64-xen/kernel.img") &&
	PATH.split(":").some((directory) => existsSync(`${directory}/grub-mkstandalone`));

/** What the tests' images need: all modules would make them ten times as large. */
export const MODULES =
	"normal echo halt test regexp true eval linux gzio xzio part_msdos part_gpt ext2 search configfile reboot sleep";
