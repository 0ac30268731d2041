/** Tap devices, in a network namespace of the test's own, where this machine lets one have that; and why there is none. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { TapPort } from "../../../src/devices/net/tap.ts";
import { parseVif } from "../../../src/toolstack/config/vif.ts";

const script = fileURLToPath(new URL("tap-station.ts", import.meta.url));
const module = new URL("../../../src/platform/node/tap.ts", import.meta.url).href;

const permitted =
	spawnSync("socat", ["-V"]).status === 0 &&
	spawnSync("unshare", ["-n", "ip", "tuntap", "add", "dev", "pvtest0", "mode", "tap"]).status === 0;

function node(before: readonly string[], args: readonly string[], env = process.env) {
	const [program, ...rest] = [...before, process.execPath, "--import", "tsx", ...args];
	return spawnSync(program as string, rest, { encoding: "utf8", env });
}

/** Tries to open a device, and prints the error. */
const TRY = `const { openTap } = await import(${JSON.stringify(module)});
await openTap(process.env.DEVICE, () => {}).then((tap) => tap.close(), ({ name, reason, remedy }) => console.log(name + ": " + reason + ". " + remedy));`;

describe.runIf(permitted)("a tap device", () => {
	it("carries frames to the host's kernel and back, and is gone at the end", () => {
		const { stdout, stderr } = node(["unshare", "-n"], [script]);
		expect(stderr).toBe("");
		expect(JSON.parse(stdout)).toMatchObject({
			answeredFor: [192, 0, 2, 1],
			echoLength: 1514,
			echoIsSame: true,
			gone: true,
		});
	});

	it("is refused with the reason", () => {
		const env = { ...process.env, DEVICE: "pvtest0" };
		const inNamespace = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"];
		const powerless = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
		expect(node([...inNamespace, ...powerless], ["-e", TRY], env).stdout).toMatch(
			/^HostTapError: you may not .*\. Make one that you may use as root \(ip tuntap add dev NAME mode tap user USER\)/,
		);
		expect(node(inNamespace, ["-e", TRY], { ...env, DEVICE: "lo" }).stdout).toMatch(
			/^HostTapError: there is an interface of that name that is no tap device\. /,
		);
	});
});

it("a tap device is refused where there is no socat", () => {
	const empty = mkdtempSync(join(tmpdir(), "paravirt-tap-"));
	const { stdout } = node([], ["-e", TRY], { ...process.env, PATH: empty, DEVICE: "pvtest0" });
	expect(stdout).toBe(
		"HostTapError: tap devices need the program socat, which is not there. Install socat, or use the NAT\n",
	);
	rmSync(empty, { recursive: true });
});

describe("a tap device's port", () => {
	const port = () => {
		const sent: Uint8Array[] = [];
		const tap = {
			name: "t",
			send: (frame: Uint8Array) => sent.push(frame.slice()),
			lost: new Promise<string>(() => {}),
			close: () => {},
		};
		return { sent, port: new TapPort(tap, () => {}) };
	};
	/** An IPv4 TCP frame with a payload. */
	const tcp = (payload: number): Uint8Array => {
		const bytes = new Uint8Array(14 + 40 + payload);
		const length = 40 + payload;
		bytes.set([8, 0, 0x45, 0, length >> 8, length & 255, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1], 12);
		bytes.set([0x50, 0x18], 14 + 20 + 12);
		return bytes;
	};

	it("cuts large segments, completes checksums, and refuses to make dust of a frame", () => {
		const { port: tap, sent } = port();
		tap.receive({ bytes: tcp(4000), checksumBlank: true, segmentSize: 1448 });
		expect(sent.map(({ length }) => length - 54)).toEqual([1448, 1448, 1104]);
		tap.receive({ bytes: tcp(100), checksumBlank: true, segmentSize: 0 });
		expect(sent).toHaveLength(4);
		expect(sent[3]?.subarray(14 + 20 + 16, 14 + 20 + 18)).not.toEqual(new Uint8Array(2));
		tap.receive({ bytes: tcp(4000), checksumBlank: true, segmentSize: 1 });
		tap.receive({ bytes: new Uint8Array(20), checksumBlank: true, segmentSize: 0 });
		expect(sent).toHaveLength(4);
	});

	it("is named in a specification, in place of a network", () => {
		expect(parseVif("tap=tap0,mac=00:16:3e:01:02:03")).toEqual({ tap: "tap0", mac: "00:16:3e:01:02:03" });
		expect(() => parseVif("tap=tap0,bridge=lan")).toThrow("tap and bridge exclude each other");
		expect(() => parseVif("tap=a name")).toThrow("tap=a name is not possible");
		expect(() => parseVif("tap=averylonginterfacename")).toThrow("is not possible");
	});
});
