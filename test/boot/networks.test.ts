/**
 * Two of Debian's stock kernels and their network interfaces: the NAT (DHCP, ping, names, the host's loopback, a forwarded port), a switch
 * between them, and an interface that comes and goes.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { READY_QUERY } from "../../src/guests/session.ts";
import { type DomainEnd, type GuestDomain, Host, type NetworkInformation } from "../../src/index.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { complaints, debianImages, hypervisorComplaints } from "./guest.ts";

const MIB = 2 ** 20;
const PAGE = "x".repeat(3_000_000);
/** Bytes; of text, which is all that busybox's wget sends. */
const UPLOAD = 2_500_000;
const ANSWER = "from the guest";

/** A name server that knows every name's address to be 192.0.2.77. */
async function nameServer(): Promise<Socket> {
	const socket = createSocket("udp4", (bytes, from) => {
		const end = bytes.indexOf(0, 12) + 5;
		const isAddress = bytes.readUInt16BE(end - 4) === 1;
		const header = Buffer.from([bytes[0] ?? 0, bytes[1] ?? 0, 0x81, 0x80, 0, 1, 0, isAddress ? 1 : 0, 0, 0, 0, 0]);
		const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]);
		const reply = [header, bytes.subarray(12, end), ...(isAddress ? [record] : [])];
		socket.send(Buffer.concat(reply), from.port, from.address);
	});
	socket.bind(0, "127.0.0.1");
	await once(socket, "listening");
	return socket;
}

const FIRST = (port: number): string[] => [
	"echo '<<address'; ip -o -4 addr show eth0; ip route; cat /etc/resolv.conf; echo '>>'",
	"echo '<<queues'; ls -1 /sys/class/net/eth0/queues; echo '>>'",
	"echo '<<ping'; ping -c 2 10.0.2.2; echo '>>'",
	"echo '<<beyond'; ping -c 1 -W 1 192.0.2.1; echo '>>'",
	`echo '<<download'; wget -q -O - http://10.0.2.2:${port}/ | wc -c; echo '>>'`,
	`echo '<<upload'; yes 1234567 | head -c ${UPLOAD} >/tmp/z; wget -q -O - --post-file=/tmp/z http://10.0.2.2:${port}/; echo '>>'`,
	"echo '<<refused'; wget -q -O - http://10.0.2.2:1/ 2>&1; echo '>>'",
	"echo '<<name'; nslookup guest.example 2>&1 | tail -n 4; echo '>>'",
	`echo '${ANSWER}' >/tmp/index.html; httpd -p 80 -h /tmp; echo '<<'serving'>>'`,
];
/** Typed when the host has fetched that. */
const SENDING = [
	"ip addr add 192.168.9.1/24 dev eth1; ip link set eth1 up",
	"until dd if=/dev/zero bs=64k count=48 2>/dev/null | nc -w 5 192.168.9.2 5000; do sleep 1; done",
	"echo '<<'sent'>>'",
];
/** Typed when one interface has gone and another come. */
const AFTERWARDS = [
	// The guest is as slow with taking the one away as with finding the other.
	"until place=$(grep -ls 00:16:3e:00:00:05 /sys/class/net/*/address) && [ $(ls /sys/class/net | wc -w) = 3 ]; do sleep 0.1; done",
	"new=$(basename $(dirname $place)); echo '<<interfaces'; ls -1 /sys/class/net; echo '>>'",
	"ip link set eth0 down; ip link set $new up; udhcpc -i $new -n -q >/dev/null 2>&1",
	"echo '<<new'; ip -o -4 addr show $new; ping -c 1 10.0.2.2; echo '>>'",
	"poweroff -f",
];
const SECOND = [
	"ip addr add 192.168.9.2/24 dev eth0; ip link set eth0 up",
	// nc reads its input too, the commands that follow, and at its end closes its half, at which the other nc ends: it gets one without an end.
	"mkfifo /tmp/never; echo '<<received'; nc -l -p 5000 <>/tmp/never | wc -c; echo '>>'",
	"poweroff -f",
];

describe.runIf(canAssemble)("Debian's kernel and its network interfaces", () => {
	const consoles = ["", ""];
	const ends: DomainEnd[] = [];
	const interfaces: NetworkInformation[][] = [];
	let fetched = "";
	let detached = "";
	let log = "";
	const closers: (() => void)[] = [];

	const answer = (guest: number, name: string): string => {
		const text = (consoles[guest] ?? "").replaceAll("\r\n", "\n").replaceAll(/^\[ *\d+\.\d+\] .*\n/gm, "");
		return new RegExp(`<<${name}\n(.*?)>>\n`, "s").exec(text)?.[1] ?? `nothing:\n${text.slice(-2000)}`;
	};

	beforeAll(async () => {
		const server = createServer((request, response) => {
			let bytes = 0;
			request.on("data", (data: Buffer) => {
				bytes += data.length;
			});
			request.on("end", () => response.end(request.method === "POST" ? `${bytes} bytes\n` : PAGE));
		});
		server.listen(0, "127.0.0.1");
		const [names, { kernel, ramdisk }] = await Promise.all([nameServer(), debianImages(), once(server, "listening")]);
		closers.push(
			() => server.close(),
			() => names.close(),
		);
		const host = new Host({
			memory: 560 * MIB,
			clock: "deterministic",
			nat: { nameServers: [{ address: "127.0.0.1", port: names.address().port }] },
		});
		const common = { kernel, ramdisk, commandLine: "console=hvc0 paravirt.input=pipe", memory: 256 * MIB };
		const type = (index: number, commands: readonly string[], steps: Record<string, (domain: GuestDomain) => void>) => {
			const told = new Set<string>();
			return (created: GuestDomain): void => {
				const all = {
					[READY_QUERY]: (_: GuestDomain) => created.console.write(`${commands.join("\n")}\n`),
					...steps,
				};
				created.console.onOutput((data) => {
					consoles[index] += new TextDecoder().decode(data);
					for (const [text, act] of Object.entries(all)) {
						if (told.has(text) || !consoles[index]?.includes(text)) continue;
						told.add(text);
						act(created);
					}
				});
			};
		};
		const first = await host.createDomain(
			{
				...common,
				name: "first",
				vcpus: 2,
				networks: [{ forwards: ["127.0.0.1:0:80"] }, "bridge=lan,mac=00:16:3e:00:00:01"],
			},
			type(0, FIRST((server.address() as AddressInfo).port), {
				"<<serving>>": async (domain) => {
					interfaces.push([...domain.networks()]);
					const port = domain.networks()[0]?.forwards[0]?.port;
					fetched = await fetch(`http://127.0.0.1:${port}/`).then((response) => response.text(), String);
					domain.console.write(`${SENDING.join("\n")}\n`);
				},
				"<<sent>>": async (domain) => {
					detached = await domain.detachNetwork("00:16:3e:00:00:01");
					await domain.attachNetwork({ mac: "00:16:3e:00:00:05", devid: 5 });
					domain.console.write(`${AFTERWARDS.join("\n")}\n`);
				},
			}),
		);
		const second = await host.createDomain(
			{ ...common, name: "second", networks: ["bridge=lan"] },
			type(1, SECOND, {}),
		);
		const timer = setTimeout(() => [first, second].map((domain) => domain.destroy()), 1_500_000);
		ends.push(...(await Promise.race([Promise.all([first.ended, second.ended]), host.failed])));
		clearTimeout(timer);
		log = host.log;
		await first.destroy();
		await second.destroy();
		host.stop();
	}, 1_600_000);

	afterAll(() => {
		for (const close of closers) close();
	});

	it("gets its address, router and name server by DHCP", () => {
		expect(answer(0, "address")).toMatch(/inet 10\.0\.2\.15\/24/);
		expect(answer(0, "address")).toMatch(/default via 10\.0\.2\.2 dev eth0/);
		expect(answer(0, "address")).toMatch(/nameserver 10\.0\.2\.3/);
		// One for each virtual CPU.
		expect(answer(0, "queues")).toBe("rx-0\nrx-1\ntx-0\ntx-1\n");
		expect(interfaces[0]?.map(({ bridge, devid, ip, state }) => ({ bridge, devid, ip, state }))).toEqual([
			{ bridge: "xenbr0", devid: 0, ip: "10.0.2.15", state: 4 },
			{ bridge: "lan", devid: 1, ip: undefined, state: 4 },
		]);
	});

	it("reaches the gateway, the host's services and its name server, and is told what it cannot reach", () => {
		expect(answer(0, "ping")).toMatch(/2 packets transmitted, 2 packets received/);
		expect(answer(0, "beyond")).toMatch(/1 packets transmitted, 0 packets received/);
		expect(answer(0, "download")).toBe(`${PAGE.length}\n`);
		expect(answer(0, "upload")).toBe(`${UPLOAD} bytes\n`);
		expect(answer(0, "refused")).toMatch(/Connection refused/);
		expect(answer(0, "name")).toMatch(/192\.0\.2\.77/);
	});

	it("is reached through a forwarded port", () => {
		expect(fetched).toBe(`${ANSWER}\n`);
	});

	it("reaches another guest through a switch", () => {
		expect(answer(1, "received")).toBe(`${48 * 65536}\n`);
	});

	it("has interfaces come and go", () => {
		expect(detached).toBe("closed");
		expect(answer(0, "interfaces")).toMatch(/^eth0\neth[12]\nlo\n$/);
		expect(answer(0, "new")).toMatch(/inet 10\.0\.2\.\d+\/24.*1 packets received/s);
	});

	it("gives nobody a reason to complain", () => {
		expect(ends.map(({ reason }) => reason)).toEqual(["poweroff", "poweroff"]);
		expect(consoles.flatMap(complaints)).toEqual([]);
		expect(hypervisorComplaints(log)).toEqual([]);
	});
});
