/** How a guest with our ramdisk is ended by what people type. */
import { describe, expect, it } from "vitest";
import { runParavirt } from "../cli/program.ts";

/** What a kernel says before the command is typed. */
const BOOTED = "Run /init as init process";
/** Restarts, in a nested shell and by its other name. What does nothing would leave the guest running. */
const COMMANDS = ["sh -c 'sh -c reboot'", "shutdown -r now", "poweroff"];

describe("a guest's shell", () => {
	it("restarts and ends the machine", { timeout: 600_000 }, async () => {
		let typed = 0;
		const { status, stdout, stderr } = await runParavirt(["boot", "--timeout", "500"], {
			keepOpen: true,
			answer: (text) => (text.split(BOOTED).length - 1 > typed ? `${COMMANDS[typed++]}; sleep 1000\n` : ""),
		});
		const restart = "paravirt: the guest asked for a restart; starting it again\n";
		expect({ status, stderr }).toEqual({ status: 0, stderr: restart + restart });
		expect(stdout.split("reboot: Restarting system")).toHaveLength(3);
	});

	it("halts the machine", { timeout: 300_000 }, async () => {
		const input = "halt; sleep 1000\n";
		const { status, stderr } = await runParavirt(["boot", "--timeout", "200"], { input, keepOpen: true });
		expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
	});
});
