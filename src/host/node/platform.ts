/** Node.js as the platform of a machine. */
import { readFile } from "node:fs/promises";
import type { Platform } from "../platform.ts";
import { nodeBlockFiles } from "./block-files.ts";

export const nodePlatform: Platform = {
	milliseconds: () => performance.now(),
	cpuSeconds: () => {
		const { user, system } = process.cpuUsage();
		return (user + system) / 1e6;
	},
	residentBytes: () => process.memoryUsage.rss(),
	readFile: (name) => readFile(name),
	blockFiles: (synchronous) => nodeBlockFiles({ synchronous }),
};
