/** The divergence finder: two machines with the same guest, compared; and the instruction at which they part. */
import { type Agreement, compareMachines, type DifferentStretch, guestOf, type LockstepOptions } from "./compare.ts";
import { watchedMachine } from "./machine.ts";
import { type Culprit, StretchSearch } from "./search.ts";

export interface Divergence {
	readonly different: DifferentStretch;
	/** Undefined where running the stretch again does not show it. */
	readonly culprit: Culprit | undefined;
}

export type LockstepResult = { readonly agreement: Agreement } | { readonly divergence: Divergence };

/** Runs a guest on two machines and finds where they part. */
export async function lockstep(options: LockstepOptions): Promise<LockstepResult> {
	const result = await compareMachines(options);
	if (!("stretch" in result)) return { agreement: result };
	return { divergence: { different: result, culprit: await search(options, result.stretch) } };
}

/** Runs the tested machine once more, up to the stretch, and looks into that. */
async function search(options: LockstepOptions, wanted: number): Promise<Culprit | undefined> {
	const { tested } = options;
	const guest = guestOf(options);
	let culprit: Culprit | undefined;
	let stretch = 0;
	let stop: () => void = () => {};
	let symbolAt: (address: number) => string | undefined = () => undefined;
	const machine = await watchedMachine({ ...guest, processor: tested }, (engine) => (fuel, run) => {
		if (stretch++ !== wanted) return run(fuel);
		culprit = new StretchSearch(engine, run, (address) => symbolAt(address)).find(fuel);
		stop();
		return run(0);
	});
	symbolAt = (address) => machine.symbolAt(address);
	stop = () => machine.stop();
	await machine.ended;
	return culprit;
}
