/** Where this package is. */
import { existsSync } from "node:fs";

/** The package's own directory, whether it runs from its sources or from what the build has made of them. */
export function packageDirectory(): URL {
	for (let directory = new URL(".", import.meta.url); ; directory = new URL("..", directory)) {
		if (existsSync(new URL("package.json", directory))) return directory;
		if (directory.pathname === new URL("..", directory).pathname)
			throw new Error("paravirt is not in a package: no package.json above it");
	}
}
