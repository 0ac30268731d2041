/**
 * Run in a network namespace of its own by tap.test.ts: a station behind a tap device, which asks the host's kernel for its address (ARP) and
 * for an echo (ICMP). Prints what came back as JSON.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { checksum } from "../../../src/devices/net/checksum.ts";
import { openTap } from "../../../src/platform/node/tap.ts";

const NAME = "pvtest0";
const OWN = [0x00, 0x16, 0x3e, 1, 2, 3];
const OWN_IP = [192, 0, 2, 2];
const HOST_IP = [192, 0, 2, 1];

execFileSync("ip", ["link", "set", "lo", "up"]);
const frames: Buffer[] = [];
let heard: () => void = () => {};
const tap = await openTap(NAME, (frame) => {
	frames.push(Buffer.from(frame));
	heard();
});
execFileSync("ip", ["address", "add", `${HOST_IP.join(".")}/24`, "dev", NAME]);
execFileSync("sysctl", ["-qw", `net.ipv6.conf.${NAME}.disable_ipv6=1`]);

async function answer(wanted: (frame: Buffer) => boolean): Promise<Buffer> {
	for (;;) {
		const found = frames.find(wanted);
		if (found !== undefined) return found;
		await new Promise<void>((resolve) => {
			heard = resolve;
		});
	}
}

const arp = [0, 1, 8, 0, 6, 4, 0, 1, ...OWN, ...OWN_IP, 0, 0, 0, 0, 0, 0, ...HOST_IP];
tap.send(Uint8Array.from([255, 255, 255, 255, 255, 255, ...OWN, 8, 6, ...arp]));
const reply = await answer((frame) => frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 2);
const hostMac = [...reply.subarray(22, 28)];

// As large as the interface takes, so that a frame's end is where it was.
const echo = Buffer.alloc(14 + 1500, 0x5a);
echo.set([...hostMac, ...OWN, 8, 0, 0x45, 0, 0x05, 0xdc, 0, 1, 0, 0, 64, 1, 0, 0, ...OWN_IP, ...HOST_IP]);
echo.set([8, 0, 0, 0, 0, 7, 0, 1], 34);
echo.writeUInt16BE(checksum(echo, 14, 34), 24);
echo.writeUInt16BE(checksum(echo, 34, echo.length), 36);
tap.send(echo);
const back = await answer((frame) => frame.readUInt16BE(12) === 0x0800 && frame[23] === 1 && frame[34] === 0);

// Nothing is left of it when it is closed.
tap.close();
const why = await tap.lost;
for (let tries = 0; existsSync(`/sys/class/net/${NAME}`) && tries < 200; tries++)
	await new Promise((resolve) => setTimeout(resolve, 20));
const interfaces = execFileSync("ip", ["-br", "link"], { encoding: "utf8" });
console.log(
	JSON.stringify({
		answeredFor: [...reply.subarray(28, 32)],
		echoLength: back.length,
		echoIsSame: back.subarray(42).equals(echo.subarray(42)),
		gone: !interfaces.includes(NAME),
		why,
	}),
);
