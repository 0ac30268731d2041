/** Where the recorded verdicts of real Xen 4.17 are. */
import { fileURLToPath } from "node:url";

export function verdictsFile(guest: string): string {
	return fileURLToPath(new URL(`verdicts/${guest}.txt`, import.meta.url));
}
