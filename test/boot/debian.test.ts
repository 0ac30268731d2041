import { beforeAll, describe, expect, it } from "vitest";
import { canAssemble } from "../host/echo-guest.ts";
import { PARALLEL_SESSION, SESSION } from "./checks.ts";
import { complaints, debianImages, hypervisorComplaints, runSession, type Session } from "./guest.ts";

const MACHINES = [
	{ vcpus: 1, checks: SESSION },
	{ vcpus: 4, checks: PARALLEL_SESSION },
];

describe.runIf(canAssemble).each(MACHINES)("Debian's kernel on $vcpus vCPUs", ({ vcpus, checks }) => {
	let session: Session;
	let again: Session;
	beforeAll(async () => {
		const images = await debianImages();
		session = await runSession(images, checks, { vcpus });
		again = await runSession(images, checks, { vcpus });
	}, 600_000);

	it.each(checks)("$name", ({ name, expected, status = 0 }) => {
		const answer = session.answers.get(name);
		if (typeof expected === "string") expect(answer).toEqual({ output: expected, status });
		else {
			expect(answer?.output).toMatch(expected);
			expect(answer?.status).toBe(status);
		}
	});

	it("powers off", () => {
		expect(session.end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined });
	});

	it("gives neither the kernel nor the hypervisor a reason to complain", () => {
		expect(complaints(session.console)).toEqual([]);
		expect(hypervisorComplaints(session.log)).toEqual([]);
	});

	it("repeats to the instruction", () => {
		expect(again.console).toBe(session.console);
		const counts = ({ statistics }: Session) => {
			const { instructions, guestSeconds, hypercalls, exceptions } = statistics;
			return { instructions, guestSeconds, hypercalls, exceptions };
		};
		expect(counts(again)).toEqual(counts(session));
	});
});
