/** Limits of the scheduling parameters, as sched_credit of Xen has them. */
import { ToolstackError } from "./errors.ts";
import type { SchedulingParameters } from "./options.ts";

const HIGHEST_WEIGHT = 65535;

/** @throws ToolstackError out-of-range */
export function checkScheduling(parameters: SchedulingParameters, vcpus: number): SchedulingParameters {
	const { weight, cap } = parameters;
	if (!Number.isInteger(weight) || weight < 1 || weight > HIGHEST_WEIGHT) {
		throw new ToolstackError("out-of-range", `${weight} is no weight`, `Give a number from 1 to ${HIGHEST_WEIGHT}`);
	}
	if (!Number.isInteger(cap) || cap < 0 || cap > vcpus * 100) {
		const most = vcpus * 100;
		throw new ToolstackError(
			"out-of-range",
			`${cap} is no cap`,
			`Give 0 for none, or 1 to ${most} hundredths of a processor`,
		);
	}
	return parameters;
}
