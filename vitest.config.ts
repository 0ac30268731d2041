import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
	test: {
		include: ["test/**/*.test.ts"],
		testTimeout: 120_000,
		hookTimeout: 300_000,
		pool: "forks",
		// Boots of stock kernels take most of the time, one processor each: two of them beside each other also on two processors.
		poolOptions: { forks: { maxForks: Math.max(2, availableParallelism() - 1) } },
	},
});
