/** Debian's stock kernel and the store: what the guest finds, what it says of itself, and a shutdown that the toolstack asks for. */
import { beforeAll, describe, expect, it } from "vitest";
import { READY_QUERY } from "../../src/guests/session.ts";
import { type DomainEnd, Host } from "../../src/index.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { complaints, debianImages, hypervisorComplaints } from "./guest.ts";

const MIB = 2 ** 20;

/** A request on /dev/xen/xenbus: header and payload in the shell's octal escapes. */
function request(type: number, payload: string): string {
	const words = [type, 1, 0, payload.length + 1];
	const header = words.map((word) => `\\${word.toString(8)}\\0\\0\\0`).join("");
	return `printf '${header}${payload}\\0' >&3; dd bs=4096 count=1 <&3 2>/dev/null | tail -c +17; echo`;
}

const COMMANDS = [
	"ls /sys/bus/xen/devices | wc -l",
	"exec 3<>/dev/xen/xenbus",
	request(2, "name"),
	request(2, "vm"),
	request(1, "control"),
	request(2, "/local/domain/0/name"),
	"echo 4 commands done",
	"while :; do sleep 1; done",
];

describe.runIf(canAssemble)("Debian's kernel and xenstore", () => {
	let console = "";
	let end: DomainEnd;
	let log = "";
	let left: readonly string[] | undefined;
	const nodes = new Map<string, string | undefined>();
	const permissions = new Map<string, readonly string[] | undefined>();
	const released: (readonly string[] | undefined)[] = [];

	beforeAll(async () => {
		const { kernel, ramdisk } = await debianImages();
		const host = new Host({ memory: 300 * MIB, clock: "deterministic" });
		const commandLine = "console=hvc0 paravirt.input=pipe";
		let asked = false;
		let told = false;
		const domain = await host.createDomain(
			{ name: "d1", kernel, ramdisk, commandLine, memory: 256 * MIB },
			(created) => {
				created.console.onOutput((data) => {
					console += new TextDecoder().decode(data);
					if (!asked && console.includes(READY_QUERY)) {
						asked = true;
						created.console.write(`${COMMANDS.join("\n")}\n`);
					}
					if (told || !console.includes("commands done")) return;
					told = true;
					for (const path of ["domid", "control/feature-poweroff", "control/feature-reboot", "memory/target"]) {
						nodes.set(path, created.store.read(path));
					}
					for (const path of ["", "/control", "/control/shutdown", "/cpu/0/availability"]) {
						permissions.set(path, host.store.permissions(`/local/domain/1${path}`));
					}
					created.store.write("control/shutdown", "poweroff");
				});
			},
		);
		host.store.watch("@releaseDomain", () => released.push(host.store.list("/local/domain")));
		end = await Promise.race([domain.ended, host.failed]);
		nodes.set("shutdown", domain.store.read("control/shutdown"));
		log = host.log;
		domain.destroy();
		left = host.store.list("/local/domain");
		host.stop();
	}, 300_000);

	it("is on the bus, and the guest reads what libxl writes", () => {
		const text = console.replaceAll("\r\n", "\n").replaceAll("\0", "|");
		const output = text.slice(text.indexOf(READY_QUERY) + READY_QUERY.length);
		expect(output).toMatch(/^0\nd1\n\/vm\/[0-9a-f-]{36}\nshutdown\|feature-poweroff\|/);
		expect(output).toContain("|platform-feature-xs_reset_watches|\nEACCES|\n4 commands done");
	});

	it("tells what the guest can do, with libxl's permissions", () => {
		expect(Object.fromEntries(nodes)).toEqual({
			domid: "1",
			"control/feature-poweroff": "1",
			"control/feature-reboot": "1",
			"memory/target": "262144",
			shutdown: "",
		});
		expect(Object.fromEntries(permissions)).toEqual({
			"": ["n0", "r1"],
			"/control": ["n0", "r1"],
			"/control/shutdown": ["n1"],
			"/cpu/0/availability": ["n0", "r1"],
		});
	});

	it("shuts the guest down", () => {
		expect(end).toEqual({ reason: "poweroff", crashReason: undefined, crash: undefined, action: "preserve" });
		expect(console).toMatch(/reboot: (Power down|System halted)/);
		// Once when the watch was set, at the shutdown, and at the end, before the toolstack removes the domain's nodes.
		expect(released).toEqual([
			["0", "1"],
			["0", "1"],
			["0", "1"],
		]);
		expect(left).toEqual(["0"]);
	});

	it("gives neither the kernel nor the hypervisor a reason to complain", () => {
		expect(complaints(console)).toEqual([]);
		expect(console).not.toMatch(/xenbus.*(error|fail|timeout|waiting)/i);
		expect(hypervisorComplaints(log)).toEqual([]);
	});
});
