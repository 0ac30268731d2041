/**
 * The tiers agree over a whole boot: Debian's kernel and a session, in the interpreter alone and with the translator, side by side. All registers are
 * compared at every exit, all memory now and then; a difference is named to the instruction. The translator gets whatever runs a few hundred times, so
 * that most of the kernel is in regions.
 */
import { expect, test } from "vitest";
import { READY_QUERY } from "../../src/guests/session.ts";
import { lockstep } from "../cpu/lockstep/lockstep.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { SESSION } from "./checks.ts";
import { debianImages } from "./guest.ts";

test.skipIf(!canAssemble)(
	"a boot of Debian's kernel is the same in both tiers, to the instruction",
	async () => {
		const commands = SESSION.map(({ command }) => command);
		const { kernel, ramdisk } = await debianImages();
		const result = await lockstep({
			kernel,
			ramdisk,
			commandLine: "console=hvc0 paravirt.input=pipe",
			memory: 256 * 2 ** 20,
			input: `${[...commands, "poweroff -f"].join("\n")}\n`,
			inputAfter: READY_QUERY,
			reference: { tier: "interpreter" },
			tested: { tier: "both", hotCount: 300 },
			memoryInterval: 300_000_000,
			limit: Number.POSITIVE_INFINITY,
		});
		if (!("agreement" in result)) throw new Error(result.divergence.culprit?.report ?? "they differ");
		const { instructions, translated } = result.agreement;
		expect(instructions).toBeGreaterThan(1e9);
		expect(translated / instructions).toBeGreaterThan(0.8);
	},
	900_000,
);
