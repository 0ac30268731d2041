/**
 * Which tier of the emulated processor runs cases: one, or both side by side. Both share one source of semantics, so their results must be the
 * same to the last bit, also where the manual leaves one undefined, and after the same number of instructions.
 */
import type { CpuVendor } from "../../../src/cpu/vendor.ts";
import { type CaseTier, EmulatedEngine, type Engine } from "./engine.ts";
import { type CaseBatch, Result, resultLength } from "./records.ts";

export const TIERS = ["interpreter", "translator", "both"] as const;
export type TierChoice = (typeof TIERS)[number];

export function isTierChoice(text: string): text is TierChoice {
	return (TIERS as readonly string[]).includes(text);
}

/** An engine whose share of translated instructions can be asked for: without it, a translator that never runs would look right. */
export interface TierEngine extends Engine {
	readonly translatedShare: number;
}

class OneTier implements TierEngine {
	constructor(private readonly engine: EmulatedEngine) {}

	run(batch: CaseBatch): Promise<Uint8Array> {
		return this.engine.run(batch);
	}

	get translatedShare(): number {
		const { instructions, translated } = this.engine.statistics;
		return translated / Math.max(1, instructions);
	}
}

/** A vector that no processor reports, in results of cases where the tiers differ. */
const TIERS_DIFFER = 0xee;

class BothTiers implements TierEngine {
	constructor(
		private readonly interpreter: EmulatedEngine,
		private readonly translator: EmulatedEngine,
	) {}

	/** The translator's results. Where the interpreter's differ they are spoilt, so that the comparison with the host reports the case. */
	async run(batch: CaseBatch): Promise<Uint8Array> {
		const expected = await this.interpreter.run(batch);
		const got = await this.translator.run(batch);
		const a = viewOf(expected);
		const b = viewOf(got);
		let atA = 0;
		let atB = 0;
		for (let index = 0; index < batch.count; index++) {
			const lengthA = resultLength(a, atA);
			const lengthB = resultLength(b, atB);
			const same = Buffer.compare(expected.subarray(atA, atA + lengthA), got.subarray(atB, atB + lengthB)) === 0;
			if (!same || this.interpreter.executed[index] !== this.translator.executed[index]) {
				console.error(
					`tiers differ in case ${index} of the batch: ${this.interpreter.executed[index]} and ` +
						`${this.translator.executed[index]} instructions${same ? "" : `; ${differing(a, atA, b, atB)}`}`,
				);
				b.setUint32(atB + Result.vector, TIERS_DIFFER, true);
			}
			atA += lengthA;
			atB += lengthB;
		}
		return got;
	}

	get translatedShare(): number {
		const { instructions, translated } = this.translator.statistics;
		return translated / Math.max(1, instructions);
	}
}

/** Names of the first words that differ. */
function differing(a: DataView, atA: number, b: DataView, atB: number): string {
	const names: string[] = [];
	const fields = Object.entries(Result).filter(([name]) => name !== "bytes" && name !== "maxBytes");
	for (let at = 0; at < Result.bytes && names.length < 6; at += 4) {
		const left = a.getUint32(atA + at, true);
		const right = b.getUint32(atB + at, true);
		if (left === right) continue;
		const [name, start] = fields.filter(([, offset]) => offset <= at).at(-1)!;
		names.push(`${name}+${at - start}: ${left.toString(16)} and ${right.toString(16)}`);
	}
	return names.join(", ") || "stores";
}

function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The project's own processor with the tiers asked for. */
export async function loadTier(choice: TierChoice, vendor: CpuVendor): Promise<TierEngine> {
	const load = (tier: CaseTier): Promise<EmulatedEngine> => EmulatedEngine.load(tier, vendor);
	if (choice !== "both") return new OneTier(await load(choice));
	return new BothTiers(await load("interpreter"), await load("translator"));
}
