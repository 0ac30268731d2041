/**
 * Makes `npx paravirt` run this checkout's command: npm links the commands of dependencies into node_modules/.bin, but not those of
 * the package itself, and npx would go and install a copy.
 */
import { chmodSync, existsSync, rmSync, symlinkSync } from "node:fs";

const command = "dist/cli/main.js";
const link = "node_modules/.bin/paravirt";

chmodSync(command, 0o755);
if (process.platform !== "win32" && existsSync("node_modules/.bin")) {
	rmSync(link, { force: true });
	symlinkSync(`../../${command}`, link);
}
