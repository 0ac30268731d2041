/**
 * Which variants of instructions execute most: samples a guest's boot (and whatever its ramdisk then does) every few hundred instructions and
 * prints the list for src/cpu/interpreter/hot.ts. With COUNT "warm", the list for warm.ts: all variants that are decoded and are not hot, in the
 * order of their first need.
 *
 *   npx tsx bench/hot-variants.ts KERNEL [RAMDISK] [COUNT] ["KERNEL ARGUMENTS"]
 */
import { readFileSync } from "node:fs";
import { Engine } from "../src/cpu/engine.ts";
import { HOT_VARIANTS } from "../src/cpu/interpreter/hot.ts";
import { Variants } from "../src/cpu/interpreter/variants.ts";
import { Exit } from "../src/cpu/processor.ts";
import { Host } from "../src/host/node.ts";

const INTERVAL = 499;
const MEMORY = 512 * 2 ** 20;

const [kernel, ramdisk, count = "320", commandLine = "console=hvc0"] = process.argv.slice(2);
if (kernel === undefined) throw new Error("usage: hot-variants.ts KERNEL [RAMDISK] [COUNT] [ARGUMENTS]");

const warm = count === "warm";
const needed = new Set<string>();
const { kindOf } = Variants.prototype;
const samples = new Map<string, number>();
const { run } = Engine.prototype;
if (warm) {
	const names = new Map<number, string>();
	Variants.prototype.kindOf = function noting(this: Variants, ...instruction): number {
		const kind = kindOf.apply(this, instruction);
		if (!names.has(kind)) names.set(kind, this.nameOf(kind) ?? "");
		needed.add(names.get(kind) as string);
		return kind;
	};
} else
	Engine.prototype.run = function sampled(this: Engine, fuel: number): Exit {
		let left = fuel;
		for (;;) {
			const before = this.executed;
			const exit = run.call(this, Math.min(left, INTERVAL));
			left -= this.executed - before;
			if (exit !== Exit.fuel || left <= 0) return exit;
			const name = this.variantAtRip();
			if (name !== undefined) samples.set(name, (samples.get(name) ?? 0) + 1);
		}
	};

const host = new Host({ memory: MEMORY + 64 * 2 ** 20, clock: "deterministic" });
const domain = await host.createDomain({
	kernel: readFileSync(kernel),
	...(ramdisk === undefined || ramdisk === "" ? {} : { ramdisk: readFileSync(ramdisk) }),
	commandLine,
	memory: MEMORY,
});
domain.console.onOutput((data) => process.stderr.write(data));
await domain.ended;

if (warm) {
	const list = [...needed].filter((name) => !HOT_VARIANTS.includes(name));
	process.stdout.write(`${list.map((name) => JSON.stringify(name)).join(",\n")}\n`);
	process.exit(0);
}
const total = [...samples.values()].reduce((sum, value) => sum + value, 0);
const sorted = [...samples].sort((a, b) => b[1] - a[1]).slice(0, Number(count));
const covered = sorted.reduce((sum, [, value]) => sum + value, 0);
process.stderr.write(`${sorted.length} of ${samples.size} variants cover ${((100 * covered) / total).toFixed(2)} %\n`);
process.stdout.write(`${sorted.map(([name]) => JSON.stringify(name)).join(",\n")}\n`);
process.exit(0);
