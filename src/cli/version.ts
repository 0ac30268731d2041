/** The package's version. */
import { readFileSync } from "node:fs";

export function packageVersion(): string {
	// The same distance from src/cli and from dist/cli.
	const description = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
	return String(description.version);
}
