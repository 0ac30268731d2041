/** Progress of what takes long, on standard error: a bar on a terminal, else a line for each step. */
import type { SingleBar } from "cli-progress";
import type { ProgressListener } from "../guests/debian.ts";

export interface Progress {
	readonly listener: ProgressListener;
	/** Ends the last step's bar. */
	stop(): void;
}

export async function createProgress(output: NodeJS.WriteStream = process.stderr): Promise<Progress> {
	if (!output.isTTY) {
		const listener: ProgressListener = (step) => {
			output.write(`${step}\n`);
			return () => {};
		};
		return { listener, stop: () => {} };
	}
	const { Presets, SingleBar } = (await import("cli-progress")).default;
	let bar: SingleBar | undefined;
	const stop = (): void => {
		bar?.stop();
		bar = undefined;
	};
	const listener: ProgressListener = (step) => {
		stop();
		const format = `${step} {bar} {percentage}%`;
		const next = new SingleBar({ stream: output, format, barsize: 30 }, Presets.shades_classic);
		bar = next;
		next.start(1000, 0);
		return (done) => next.update(Math.round(done * 1000));
	};
	return { listener, stop };
}
