/** The tests of a session with Debian's kernel, run twice. A file of tests for each number of vCPUs, so that they run beside each other. */
import { beforeAll, describe, expect, it } from "vitest";
import { canAssemble } from "../host/echo-guest.ts";
import { type Check, complaints, debianImages, hypervisorComplaints, runSession, type Session } from "./guest.ts";

export function testSession(vcpus: number, checks: readonly Check[]): void {
	describe.runIf(canAssemble)(`Debian's kernel, vCPUs: ${vcpus}`, () => {
		let session: Session;
		let again: Session;
		beforeAll(async () => {
			const images = await debianImages();
			session = await runSession(images, checks, { vcpus });
			again = await runSession(images, checks, { vcpus, processor: { emittedExits: false } });
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
			expect(session.end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined, action: "preserve" });
		});

		it("gives neither the kernel nor the hypervisor a reason to complain", () => {
			expect(complaints(session.console)).toEqual([]);
			expect(hypervisorComplaints(session.log)).toEqual([]);
		});

		it("repeats to the instruction, whether exits are dealt with in WebAssembly or not", () => {
			expect(again.console).toBe(session.console);
			const counts = ({ statistics }: Session) => {
				const { instructions, guestSeconds, hypercalls, exceptions, events } = statistics;
				return { instructions, guestSeconds, hypercalls, exceptions, events };
			};
			expect(counts(again)).toEqual(counts(session));
		});
	});
}
