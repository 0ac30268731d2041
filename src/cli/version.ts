/** The package's version. */
import { readFileSync } from "node:fs";
import { packageDirectory } from "../platform/node/package.ts";

export function packageVersion(): string {
	const description = JSON.parse(readFileSync(new URL("package.json", packageDirectory()), "utf8"));
	return String(description.version);
}
